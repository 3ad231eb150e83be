//! Users in an LDAP directory: found by a search or by name, their passwords judged by a bind.
//!
//! Nothing here remembers what was said of a user, or takes a server's refusal to answer for a "no".

mod connection;
mod entry;
mod escape;
mod guard;
mod results;
mod servers;
mod settings;

use std::{fmt, sync::Once, time::Instant};

use ldap3::asn1::StructureTag;
use tokio::time::timeout;
use transport::{
    Sources,
    tls::{ClientTls, ClientTlsError},
};

pub use self::settings::{
    InvalidFilter, LdapField, LdapFilter, LdapLogin, LdapScope, LdapSettings, LdapTls, LdapUsers,
};
use self::{
    connection::{Connection, Search, Searched, Trouble, Way, as_text},
    escape::escaped,
    results::Proved,
    servers::{Seat, Server, Servers},
};
use super::{Answering, CannotSay, Found, Offer, Question, Remote, Said};
use crate::{DependsOn, Template};

/// Fits every entry (RFC 4512 section 2.4).
const ANY: &str = "(objectClass=*)";
/// Asks for no attribute (RFC 4511 section 4.5.1.8).
const NONE: &str = "1.1";

/// A directory of users behind LDAP.
pub(crate) struct Ldap {
    settings: LdapSettings,
    way: Way,
    servers: Servers,
    /// Whether our own certificate is followed where it is renewed.
    following: Once,
}

impl From<CannotSay> for Trouble {
    fn from(cannot: CannotSay) -> Self {
        Self::Answer(cannot.detail)
    }
}

impl Ldap {
    /// Prepares to ask; no server need be there.
    ///
    /// # Errors
    /// [`ClientTlsError`] if the files for TLS cannot be used.
    pub(crate) fn new(settings: LdapSettings) -> Result<Self, ClientTlsError> {
        let tls = match (settings.tls, &settings.own_certificate) {
            (LdapTls::None, _) => None,
            (_, None) => Some(ClientTls::new(&settings.certificate)?),
            (_, Some(own)) => Some(ClientTls::with_certificate(&settings.certificate, own)?),
        };
        let sources = Sources::new(Vec::new(), transport::usable_ports());
        let way = Way { mode: settings.tls, sources, tls, limit: settings.timeout };
        let servers = Servers::new(&settings.servers, settings.connections);
        Ok(Self { settings, way, servers, following: Once::new() })
    }

    /// Asks the servers in turn.
    async fn ask_servers(&self, question: &Question) -> Result<Said, CannotSay> {
        let servers = self.servers.worth_asking(Instant::now()).map_err(CannotSay::unavailable)?;
        if let Some(tls) = &self.way.tls {
            self.following.call_once(|| drop(tokio::spawn(tls.clone().follow_files())));
        }
        let (limit, mut wrong, mut works) = (self.settings.timeout, Vec::new(), false);
        for server in servers {
            let asked = timeout(limit, self.ask_server(server, question)).await;
            let slow = |_| Err(Trouble::Down(format!("no answer within {limit:?}")));
            match asked.unwrap_or_else(slow) {
                Ok(said) => {
                    server.works();
                    return Ok(said);
                }
                Err(Trouble::Answer(detail)) => {
                    server.works();
                    return Err(CannotSay::misconfigured(format_args!("{}: {detail}", server.at)));
                }
                Err(Trouble::Question(detail)) => {
                    server.works();
                    works = true;
                    wrong.push(format!("{}: {detail}", server.at));
                }
                Err(Trouble::Down(detail)) => {
                    server.failed(&detail, Instant::now());
                    wrong.push(format!("{}: {detail}", server.at));
                }
            }
        }
        let wrong = wrong.join("; ");
        Err(if works { CannotSay::of_question(wrong) } else { CannotSay::unavailable(wrong) })
    }

    async fn ask_server(&self, server: &Server, question: &Question) -> Result<Said, Trouble> {
        let password = match question.offer.as_ref().filter(|_| self.settings.bind) {
            None => None,
            Some(offer) => match password(offer) {
                None => return Ok(Said::Refused { wait: None, text: None }),
                password => password,
            },
        };
        match &self.settings.users {
            LdapUsers::Named(dn) => self.ask_by_name(server, question, dn, password).await,
            LdapUsers::Searched { base, scope, filter } => {
                let at = base.render(&question.query, &question.key, escaped);
                let filter = filter.render(&question.query, &question.key);
                let search = self.search(&at, *scope, &filter);
                let Some(entry) = self.one_entry(server, &search, base).await? else {
                    return Ok(Said::Unknown);
                };
                let found = entry::found(&entry, &self.settings.attributes)?;
                let Some(password) = password else { return Ok(Said::Found(found)) };
                let (proved, connection, seat) =
                    self.prove(server, entry::name(&entry)?, password).await?;
                server.binds.put(connection, seat);
                Ok(said(proved, found))
            }
        }
    }

    /// Asks for an entry whose name is known. Where nothing is set as whom to read it, the user reads it himself.
    async fn ask_by_name(
        &self,
        server: &Server,
        question: &Question,
        template: &Template,
        password: Option<&str>,
    ) -> Result<Said, Trouble> {
        let dn = template.render(&question.query, &question.key, escaped);
        let search = self.search(&dn, LdapScope::Base, ANY);
        let Some(password) = password else {
            let entry = self.one_entry(server, &search, template).await?;
            return self.found(entry.as_ref());
        };
        let (proved, mut connection, seat) = self.prove(server, &dn, password).await?;
        let itself = matches!(self.settings.login, LdapLogin::Anonymous);
        let entry = match proved {
            Proved::Right if self.settings.attributes.is_empty() => None,
            Proved::Right if itself => {
                let mut searched = connection.search(&search).await?;
                results::of_search(&searched)?;
                let unreadable = || {
                    let detail = "the user got in, and may not read his own entry: set bind_dn";
                    Trouble::Answer(detail.into())
                };
                Some(searched.entries.pop().ok_or_else(unreadable)?)
            }
            Proved::Right => self.one_entry(server, &search, template).await?,
            Proved::Nobody => {
                self.nobody_below(server, template).await?;
                None
            }
            Proved::Wrong => None,
        };
        server.binds.put(connection, seat);
        let found = match &entry {
            Some(entry) => entry::found(entry, &self.settings.attributes)?,
            None => Found::default(),
        };
        Ok(said(proved, found))
    }

    fn found(&self, entry: Option<&StructureTag>) -> Result<Said, Trouble> {
        let found =
            entry.map(|entry| entry::found(entry, &self.settings.attributes)).transpose()?;
        Ok(found.into())
    }

    fn search<'s>(&self, base: &'s str, scope: LdapScope, filter: &'s str) -> Search<'s> {
        let mut attributes: Vec<String> = Vec::new();
        for (_, attribute) in &self.settings.attributes {
            if !attributes.contains(attribute) {
                attributes.push(attribute.clone());
            }
        }
        if attributes.is_empty() {
            attributes.push(NONE.to_owned());
        }
        Search { base, scope, filter, attributes }
    }

    /// The only entry that fits; none if it is certain that none does. `base` is what the search's base was made
    /// of.
    async fn one_entry(
        &self,
        server: &Server,
        search: &Search<'_>,
        base: &Template,
    ) -> Result<Option<StructureTag>, Trouble> {
        let mut searched = self.run(server, search).await?;
        if !results::of_search(&searched)? {
            self.nobody_below(server, base).await?;
            return Ok(None);
        }
        if searched.entries.is_empty() && searched.refers && !self.settings.ignore_referrals {
            let detail = "the server refers to others that may know this user: ask those, or set a \
                          narrower base or ignore_referrals";
            return Err(Trouble::Answer(detail.into()));
        }
        Ok(searched.entries.pop())
    }

    /// What is not there can mean a user who is not, or a base that was written wrong, or may not be seen by us.
    /// It is the user if the part of the base is there that is the same for all.
    async fn nobody_below(&self, server: &Server, base: &Template) -> Result<(), Trouble> {
        let missing = || Trouble::Answer("the base of the search is not there, or hidden".into());
        let fixed = base.fixed_end().filter(|_| base.placeholders().next().is_some());
        let search = self.search(fixed.ok_or_else(missing)?, LdapScope::Base, ANY);
        let searched = self.run(server, &search).await?;
        let there = results::of_search(&searched)? && !searched.entries.is_empty();
        if there { Ok(()) } else { Err(missing()) }
    }

    /// Searches as whom we look for users. A connection that was idle may have been closed by the server just
    /// now: then another one is used.
    async fn run(&self, server: &Server, search: &Search<'_>) -> Result<Searched, Trouble> {
        let seat = server.searches.seat().await?;
        while let Some(mut idle) = server.searches.take(self.settings.max_age) {
            match idle.search(search).await {
                Err(Trouble::Down(_)) => {}
                searched => {
                    server.searches.put(idle, seat);
                    return searched;
                }
            }
        }
        let mut connection = Connection::open(&server.at, &self.way).await?;
        match &self.settings.login {
            LdapLogin::Anonymous => {}
            LdapLogin::External => results::of_own_bind(&connection.bind_external().await?)?,
            LdapLogin::Simple { dn, password } => {
                let text = as_text(password);
                let text =
                    text.ok_or_else(|| Trouble::Answer("our password is not UTF-8".into()))?;
                results::of_own_bind(&connection.bind(dn, text).await?)?;
            }
        }
        let searched = connection.search(search).await?;
        server.searches.put(connection, seat);
        Ok(searched)
    }

    /// Tries a user's password.
    async fn prove(
        &self,
        server: &Server,
        dn: &str,
        password: &str,
    ) -> Result<(Proved, Connection, Seat), Trouble> {
        let seat = server.binds.seat().await?;
        while let Some(mut idle) = server.binds.take(self.settings.max_age) {
            match idle.bind(dn, password).await {
                Err(Trouble::Down(_)) => {}
                result => return Ok((results::of_user_bind(&result?)?, idle, seat)),
            }
        }
        let mut connection = Connection::open(&server.at, &self.way).await?;
        let result = connection.bind(dn, password).await?;
        Ok((results::of_user_bind(&result)?, connection, seat))
    }
}

/// A password that can be tried; none if it is certainly wrong. An empty one would be an unauthenticated bind
/// (RFC 4513 section 5.1.2), which succeeds and proves nothing; and passwords are UTF-8 (section 5.1.3).
fn password(offer: &Offer) -> Option<&str> {
    as_text(&offer.password).filter(|password| !password.is_empty())
}

fn said(proved: Proved, found: Found) -> Said {
    match proved {
        Proved::Right => Said::Found(Found { judged: true, ..found }),
        Proved::Wrong => Said::Refused { wait: None, text: None },
        Proved::Nobody => Said::Unknown,
    }
}

impl Remote for Ldap {
    fn depends_on(&self) -> DependsOn {
        self.settings.users.placeholders().into_iter().collect()
    }

    fn judges(&self) -> bool {
        self.settings.bind
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move { self.ask_servers(&question).await })
    }
}

impl fmt::Debug for Ldap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ldap").field("servers", &self.servers).finish_non_exhaustive()
    }
}
