//! One connection to an LDAP server: TLS, bind, search.
//!
//! Nothing here knows what an answer says of a user, or has a deadline: whoever waits no longer drops what it waits
//! for, and the connection with it.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchOptions, StdStream,
    asn1::{StructureTag, Tag, parse_tag},
};
use model::{Host, HostPort, Secret};
use rustls_pki_types::ServerName;
use transport::{Sources, Stream, tls::ClientTls};

use super::{
    LdapScope, LdapTls,
    guard::{self, Fault, Incoming, Request},
};

/// The `StartTLS` operation (RFC 4511 section 4.14.1), with message id 1.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// More entries than one are too many already; more than this are not waited for.
const MOST_ENTRIES: usize = 8;

/// Why a server did not do what it was asked.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// It is not there, does not answer in time, or goes away: another one may.
    Down(String),
    /// It cannot say it of this user; another server may.
    Question(String),
    /// Its answer cannot be used.
    Answer(String),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Answer(what) => Self::Answer(what.to_owned()),
            Fault::Lost(what) => Self::Down(what),
        }
    }
}

/// How servers are connected to.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) mode: LdapTls,
    /// The kernel picks the local address.
    pub(super) sources: Sources,
    /// None where `mode` is.
    pub(super) tls: Option<ClientTls>,
    /// How long a server may take for all that it is asked.
    pub(super) limit: Duration,
}

/// What is searched for.
pub(super) struct Search<'s> {
    pub(super) base: &'s str,
    pub(super) scope: LdapScope,
    pub(super) filter: &'s str,
    pub(super) attributes: Vec<String>,
}

/// What a search brought.
pub(super) struct Searched {
    /// At most a few more than one.
    pub(super) entries: Vec<StructureTag>,
    /// Whether the server names others that may hold more.
    pub(super) refers: bool,
    pub(super) result: LdapResult,
}

pub(super) struct Connection {
    ldap: Ldap,
    fault: Arc<OnceLock<Fault>>,
    opened: Instant,
    limit: Duration,
}

impl Connection {
    /// Connects, with TLS where that is set. It has to be called within a tokio runtime.
    pub(super) async fn open(server: &HostPort, way: &Way) -> Result<Self, Trouble> {
        let down = |error: &dyn ToString| Trouble::Down(error.to_string());
        let addresses = addresses(server, way.mode.port()).await?;
        let connected = transport::connect(addresses, &way.sources, way.limit).await;
        let (mut stream, address) = connected.map_err(|error| down(&error))?;
        if let Some(tls) = &way.tls {
            if way.mode == LdapTls::StartTls {
                start_tls(&mut stream).await?;
            }
            let name = server_name(&server.host, address);
            stream.connect_tls(tls, name).await.map_err(|error| match tls.hint(&error) {
                Some(hint) => Trouble::Down(format!("TLS: {error} ({hint})")),
                None => Trouble::Down(format!("TLS: {error}")),
            })?;
        }
        let ours = std::os::unix::net::UnixStream::pair().and_then(|(ours, its)| {
            ours.set_nonblocking(true)?;
            Ok((tokio::net::UnixStream::from_std(ours)?, its))
        });
        let (ours, its) = ours.map_err(|error| down(&error))?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(its));
        let opened = LdapConnAsync::with_settings(settings, "ldapi:///").await;
        let (driver, ldap) = opened.map_err(|error| down(&error))?;
        let fault = Arc::new(OnceLock::new());
        tokio::spawn(guard::carry(stream, ours, Arc::clone(&fault)));
        tokio::spawn(async move {
            // Its error is ours, and told as a fault.
            let _ = driver.drive().await;
        });
        Ok(Self { ldap, fault, opened: Instant::now(), limit: way.limit })
    }

    /// Whether it can be used for another operation.
    pub(super) fn is_usable(&mut self, max_age: Duration) -> bool {
        !self.ldap.is_closed() && self.fault.get().is_none() && self.opened.elapsed() < max_age
    }

    /// Becomes somebody by name and password (RFC 4513 section 5.1.3). The password is not empty: that would be
    /// an unauthenticated bind, which succeeds and proves nothing.
    pub(super) async fn bind(&mut self, dn: &str, password: &str) -> Result<LdapResult, Trouble> {
        let result = self.ldap.simple_bind(dn, password).await;
        result.map_err(|error| self.trouble(&error))
    }

    /// Becomes whom our certificate says.
    pub(super) async fn bind_external(&mut self) -> Result<LdapResult, Trouble> {
        let result = self.ldap.sasl_external_bind().await;
        result.map_err(|error| self.trouble(&error))
    }

    /// Searches for one entry.
    pub(super) async fn search(&mut self, search: &Search<'_>) -> Result<Searched, Trouble> {
        let searched = self.collect(search).await;
        searched.map_err(|error| self.trouble(&error))
    }

    async fn collect(&mut self, search: &Search<'_>) -> Result<Searched, LdapError> {
        let seconds = i32::try_from(self.limit.as_secs().max(1)).unwrap_or(i32::MAX);
        // The second entry shows that there is not one only.
        let options = SearchOptions::new().sizelimit(2).timelimit(seconds);
        let scope = match search.scope {
            LdapScope::Base => Scope::Base,
            LdapScope::One => Scope::OneLevel,
            LdapScope::Subtree => Scope::Subtree,
        };
        let asking = self.ldap.with_search_options(options);
        let attributes = search.attributes.clone();
        let mut stream =
            asking.streaming_search(search.base, scope, search.filter, attributes).await?;
        let (mut entries, mut references) = (Vec::new(), 0);
        while let Some(entry) = stream.next().await? {
            if entry.is_ref() {
                references += 1;
            } else {
                entries.push(entry.0);
            }
            if entries.len() > MOST_ENTRIES || references > 1000 {
                return Err(LdapError::EndOfStream);
            }
        }
        let result = stream.finish().await;
        Ok(Searched { entries, refers: references > 0, result })
    }

    /// What is wrong, from whoever noticed it first.
    fn trouble(&self, error: &LdapError) -> Trouble {
        match (self.fault.get(), error) {
            (Some(fault), _) => fault.clone().into(),
            (None, LdapError::FilterParsing) => {
                Trouble::Answer("the filter is none with this user's name in it".into())
            }
            (None, error) => Trouble::Down(error.to_string()),
        }
    }
}

/// What a secret is to a library that wants text (RFC 4513 section 5.1.3: UTF-8); nothing for other bytes.
pub(super) fn as_text(password: &Secret) -> Option<&str> {
    std::str::from_utf8(password.reveal()).ok()
}

async fn addresses(server: &HostPort, port: u16) -> Result<Vec<SocketAddr>, Trouble> {
    let port = server.port.unwrap_or(port);
    match &server.host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => match tokio::net::lookup_host((&**name, port)).await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err(Trouble::Down(format!("the name cannot be resolved: {error}"))),
        },
    }
}

/// The name that the certificate must be for.
fn server_name(host: &Host, address: SocketAddr) -> ServerName<'static> {
    let by_address = ServerName::IpAddress(address.ip().into());
    match host {
        Host::Ip(_) => by_address,
        Host::Name(name) => ServerName::try_from(name.to_string()).unwrap_or(by_address),
    }
}

/// Asks for TLS. Nothing may follow the answer in clear: it could be anybody's.
async fn start_tls(stream: &mut Stream) -> Result<(), Trouble> {
    let sent = stream.write_all(START_TLS).await;
    sent.map_err(|error| Trouble::Down(error.to_string()))?;
    let mut incoming = Incoming::default();
    let answer = loop {
        if let Some(answer) = incoming.next(Some(Request::START_TLS))? {
            break answer;
        }
        incoming.receive(stream).await?;
    };
    if !incoming.is_empty() {
        return Err(Trouble::Down("something in clear follows the answer to StartTLS".into()));
    }
    let refused = || Trouble::Down("the answer to StartTLS cannot be read".into());
    let (_, message) = parse_tag(&answer).map_err(|_| refused())?;
    let body = guard::parts(&message).and_then(|parts| parts.get(1)).ok_or_else(refused)?;
    // The guard has looked at what this reads.
    let result = LdapResult::from(Tag::StructureTag(body.clone()));
    if result.rc != 0 {
        return Err(Trouble::Down(format!(
            "StartTLS is refused: {}",
            super::results::told(&result)
        )));
    }
    Ok(())
}
