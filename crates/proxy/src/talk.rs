//! The conversation with a client before login: what comes before the first words, TLS, and how long we
//! wait for it.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use backends::Client;
use directory::Placeholder;
use model::{DnsName, Reason, UserName};
use proto::{
    front::{Event, Front},
    identity::{self, Claims, Identity, SessionName, Transport},
    proxy_protocol::{self, Header, Parsed},
};
use tokio::time::timeout;
use transport::{Lost, Received, Stream, converse, tls::Accepted};

use crate::{
    limits::Admission,
    login::{Attempt, no_room},
    session::{End, Visitor},
};

/// How long a client that we send away may take to read our last words.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);
/// The same for one that finds no place, and when the program is stopping, which many a client would hold up
/// that says nothing and stays.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The conversation with a client, and how long we still wait for it.
pub(crate) struct Talk<'v> {
    pub(crate) client: Stream,
    pub(crate) visitor: &'v mut Visitor,
    /// What is left of the time that the client may take in all. Our own look-ups and the back end's
    /// verdict do not count.
    pub(crate) patience: Duration,
    /// What a proxy before us said of the client, where we believe it.
    pub(crate) claims: Claims,
    /// The name by which the client called us in the TLS handshake, with us or with a load balancer.
    pub(crate) server_name: Option<DnsName>,
    /// TLS between the client and a load balancer, as its PROXY header tells.
    pub(crate) tls_before: Option<proxy_protocol::Tls>,
}

impl Talk<'_> {
    /// Reads the PROXY header that comes before all else, and goes by the address it gives.
    pub(crate) async fn hear_proxy(&mut self, admission: &mut Admission) -> Result<(), End> {
        let shared = Arc::clone(&self.visitor.shared);
        let since = Instant::now();
        let patience = self.patience.min(shared.limits.proxy_header_wait);
        let header = timeout(patience, self.read_header());
        let header = shared.closing.unless_begun(header).await;
        self.patience = self.patience.saturating_sub(since.elapsed());
        let header = match header {
            Some(Ok(header)) => header?,
            Some(Err(_)) => return Err(End::new(Reason::ClientProxyHeader, "no header in time")),
            None => return Err(End::new(Reason::Shutdown, "before the PROXY header")),
        };
        // Without addresses (LOCAL, UNKNOWN) the proxy speaks for itself.
        if let Some(addresses) = header.addresses {
            self.visitor.client = addresses.client;
            self.visitor.connected = Some(addresses.connected);
        }
        self.server_name = header.server_name;
        self.tls_before = header.tls;
        match admission.count_for(self.visitor.client.ip()) {
            Ok(()) => Ok(()),
            Err(reason) => {
                let listener = &self.visitor.listener;
                let words = no_room(listener.protocol, &listener.tls, reason);
                // As to a client without a proxy: no longer than a fresh socket needs.
                let _ = timeout(LAST_WORDS, self.client.write_all(&words)).await;
                Err(End::new(reason, ""))
            }
        }
    }

    async fn read_header(&mut self) -> Result<Header, End> {
        let mut read = Vec::new();
        loop {
            let mut parsed = Parsed::NeedMore;
            let received = self.client.receive_some(|bytes| {
                let before = read.len();
                read.extend_from_slice(bytes);
                parsed = proxy_protocol::parse(&read);
                match &parsed {
                    Parsed::Done { used, .. } => used.saturating_sub(before),
                    Parsed::Bad(_) | Parsed::NeedMore => bytes.len(),
                }
            });
            match received.await {
                Ok(Received::Bytes(_)) => {}
                Ok(Received::Closed) => return Err(End::new(Reason::NoLogin, "")),
                Err(error) => return Err(End::new(Reason::ClientLost, error)),
            }
            match parsed {
                Parsed::Bad(bad) => return Err(End::new(Reason::ClientProxyHeader, bad)),
                Parsed::Done { header, .. } => return Ok(header),
                Parsed::NeedMore => {}
            }
        }
    }

    /// Does the TLS handshake; gives back whom the client's certificate names, if it has shown one.
    pub(crate) async fn start_tls(&mut self) -> Result<Option<UserName>, End> {
        let Some(tls) = self.visitor.listener.tls.server().map(Arc::clone) else {
            return Err(End::new(Reason::Internal, "TLS without a certificate"));
        };
        let shared = Arc::clone(&self.visitor.shared);
        let since = Instant::now();
        let address = self.visitor.client.ip();
        let place =
            self.visitor.handshakes.begin(address).map_err(|reason| End::new(reason, ""))?;
        let patience = self.patience.min(shared.limits.handshake_wait);
        let handshake = timeout(patience, place.unless_cut(tls.accept(&mut self.client)));
        let Some(result) = shared.closing.unless_begun(handshake).await else {
            // It could not read any words.
            return Err(End::new(Reason::Shutdown, "in the TLS handshake"));
        };
        self.patience = self.patience.saturating_sub(since.elapsed());
        match result {
            Ok(Some(Ok(accepted))) => Ok(self.accepted(accepted)),
            Ok(None) => {
                Err(End::new(Reason::LimitHandshakes, "for a newcomer from another address"))
            }
            Ok(Some(Err(error))) => {
                // Unread input would turn the close into a reset, which eats the alert.
                self.client.close_and_drain(GOODBYE).await;
                Err(End::new(tls_reason(&error), error))
            }
            Err(_) => Err(End::new(Reason::ClientTimeout, "in the TLS handshake")),
        }
    }

    fn accepted(&mut self, accepted: Accepted) -> Option<UserName> {
        if accepted.server_name.is_some() {
            self.server_name = accepted.server_name;
        }
        match accepted.certificate? {
            Ok(user) => Some(user),
            // Whoever has a password may come in by that.
            Err(nobody) => {
                tracing::info!(
                    target: "login",
                    session = %self.visitor.id,
                    protocol = %self.visitor.listener.protocol,
                    client = %self.visitor.client,
                    detail = %nobody,
                    "no login by this certificate"
                );
                None
            }
        }
    }

    /// Goes on until the machine has something to decide.
    pub(crate) async fn converse(&mut self, front: &mut Front) -> Result<Event, End> {
        let since = Instant::now();
        let shared = Arc::clone(&self.visitor.shared);
        let conversation = timeout(self.patience, converse(&mut self.client, front));
        let Some(result) = shared.closing.unless_begun(conversation).await else {
            return Err(self.send_away(Reason::Shutdown).await);
        };
        self.patience = self.patience.saturating_sub(since.elapsed());
        match result {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(Lost::Closed)) => Err(End::new(Reason::NoLogin, "")),
            Ok(Err(Lost::Broken(error))) => Err(End::new(Reason::ClientLost, error)),
            Err(_) => Err(self.send_away(Reason::ClientTimeout).await),
        }
    }

    /// Says why and closes.
    pub(crate) async fn send_away(&mut self, reason: Reason) -> End {
        let words = proto::farewell(self.visitor.listener.protocol, reason);
        let limit = if reason == Reason::Shutdown { LAST_WORDS } else { GOODBYE };
        // It may not even read that; the close below has its own limit.
        let _ = timeout(limit, self.client.write_all(&words)).await;
        self.client.close_and_drain(limit).await;
        End::new(reason, "")
    }

    /// The name that the client asked for by TLS, by its own word or a proxy's where that counts.
    fn asked_for(&self) -> Option<&DnsName> {
        self.claims.server_name.as_ref().or(self.server_name.as_ref())
    }

    /// Whether the client's own connection is private, by its own word or a proxy's where that counts.
    fn transport(&self) -> Transport {
        let tls = self.client.tls_version().is_some() || self.tls_before.is_some();
        let seen = if tls { Transport::Tls } else { Transport::Insecure };
        self.claims.transport.unwrap_or(seen)
    }

    /// The version of TLS that the client speaks, with us or with a load balancer; as `1.3`.
    fn tls_version(&self) -> Option<Box<str>> {
        let before = || self.tls_before.as_ref()?.version.as_deref()?.strip_prefix("TLSv");
        self.client.tls_version().or_else(before).map(Box::from)
    }

    /// Where the client connected to, by its own word or a proxy's where that counts.
    fn connected(&self) -> Result<SocketAddr, End> {
        match self.claims.connected.or(self.visitor.connected) {
            Some(connected) => Ok(connected),
            None => {
                self.client.local_address().map_err(|error| End::new(Reason::ClientLost, error))
            }
        }
    }

    /// What the directory may want to know of the `number`th attempt.
    pub(crate) fn attempt(&self, number: u32) -> Result<Attempt, End> {
        let asked = self.visitor.shared.directory.depends_on().contains(Placeholder::ServerIp);
        Ok(Attempt {
            number,
            client_ip: self.claims.client.unwrap_or(self.visitor.client).ip(),
            server_ip: if asked { Some(self.connected()?.ip()) } else { None },
            server_name: self.asked_for().map(|name| name.as_str().into()),
            tls: self.transport() == Transport::Tls,
        })
    }

    /// Who a back end is told that the client is.
    pub(crate) fn seen_by_back_ends(&self, front: &Front) -> Result<Client, End> {
        let visitor = &self.visitor;
        let claims = &self.claims;
        let ttl = identity::ttl_onwards(claims.ttl)
            .ok_or_else(|| End::new(Reason::Loop, "too many proxies"))?;
        let ip = claims.client.unwrap_or(visitor.client).ip();
        let id = front.client_id().filter(|_| visitor.listener.forward_client_id).cloned();
        if !visitor.shared.backends.are_told(visitor.listener.protocol) {
            return Ok(Client { ip, identity: None, id, tls: None });
        }
        let connected = self.connected()?;
        let ours = || SessionName::new(&visitor.id.to_string());
        let session = claims.session.clone().or_else(ours);
        let identity = Identity {
            client: claims.client.unwrap_or(visitor.client),
            connected,
            forward: claims.forward.clone(),
            server_name: self.asked_for().cloned(),
            session: session.ok_or_else(|| End::new(Reason::Internal, "no session name"))?,
            transport: self.transport(),
            ttl,
        };
        Ok(Client { ip, identity: Some(Arc::new(identity)), id, tls: self.tls_version() })
    }
}

/// Tells a client that asked for another protocol, or whose certificate is not believed, from one that
/// failed otherwise.
fn tls_reason(error: &io::Error) -> Reason {
    if transport::tls::is_alpn_mismatch(error) {
        Reason::ClientAlpn
    } else if transport::tls::is_client_certificate(error) {
        Reason::ClientCertificate
    } else {
        Reason::ClientTls
    }
}
