//! What a source answers, and which configured back end that means.
//!
//! Nothing here guesses: an answer that leads to no back end, or to several, is a mistake in the
//! configuration and said to be one.

use std::{collections::HashMap, fmt, str::FromStr};

use model::{BackendName, Host, HostPort, Protocol, Target, UserName};

/// A place as a source names it, not yet looked up: the name of a back end, or an address
/// (`host`, `host:port`, `[2001:db8::1]:143`). Many texts can be both; the name goes first.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    // At least one of the two is there.
    name: Option<BackendName>,
    address: Option<HostPort>,
}

impl FromStr for Place {
    type Err = InvalidAnswer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = BackendName::new(text).ok();
        let address = text.parse().ok();
        if name.is_none() && address.is_none() {
            return Err(InvalidAnswer::Place);
        }
        Ok(Self { name, address })
    }
}

impl From<BackendName> for Place {
    fn from(name: BackendName) -> Self {
        let address = name.as_str().parse().ok();
        Self { name: Some(name), address }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.address) {
            (Some(name), _) => name.fmt(f),
            (None, Some(address)) => address.fmt(f),
            (None, None) => Ok(()),
        }
    }
}

/// A source's answer `[user@]place`: who the user is there, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The user's name at the back end; the name by which we know him if there is none.
    pub user: Option<UserName>,
    /// Where his mail is.
    pub place: Place,
}

/// Why a text is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidAnswer {
    /// There is neither a name nor an address.
    #[error("it is neither the name of a back end nor `host`, `host:port` or `[IPv6]:port`")]
    Place,
    /// What is before the last `@` is no user name.
    #[error("what is before the last `@` is not a user name: {0}")]
    User(#[from] model::InvalidUserName),
}

impl FromStr for Answer {
    type Err = InvalidAnswer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('@') {
            Some((user, place)) => {
                Ok(Self { user: Some(UserName::new(user)?), place: place.parse()? })
            }
            None => Ok(Self { user: None, place: text.parse()? }),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{user}@{}", self.place),
            None => self.place.fmt(f),
        }
    }
}

/// What the directory has to know of a back end to recognise it in an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownBackend {
    /// Its name in the configuration.
    pub name: BackendName,
    /// Its addresses, as configured.
    pub hosts: Vec<Host>,
    /// Its port for IMAP.
    pub imap_port: u16,
    /// Its port for POP3.
    pub pop3_port: u16,
    /// Whether it judges a client's own proof. The others let in whom we name.
    pub judges: bool,
}

impl KnownBackend {
    /// Its port for a protocol.
    pub fn port(&self, protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Imap => self.imap_port,
            Protocol::Pop3 => self.pop3_port,
        }
    }
}

/// Why a place leads to no back end. Each is a mistake in the configuration or in a source's data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unresolved {
    /// Several back ends have the address, and no port says which.
    #[error(
        "`{place}` is the address of several back ends ({backends}) and no {}port decides between \
         them: answer with the name of one",
        protocol.map_or_else(String::new, |protocol| format!("{protocol} "))
    )]
    Ambiguous {
        /// The place.
        place: String,
        /// Their names, separated by commas.
        backends: String,
        /// The protocol that asked; none where no protocol's port decides.
        protocol: Option<Protocol>,
    },
    /// No back end has the name or the address, and the source has no template.
    #[error(
        "`{place}` is neither the name nor the address of a configured back end: correct the entry, \
         configure the back end, or give the source a template"
    )]
    Nowhere {
        /// The place.
        place: String,
    },
}

/// The configured back ends, by name and by address.
#[derive(Clone, Debug, Default)]
pub struct Backends {
    by_name: HashMap<BackendName, KnownBackend>,
    by_host: HashMap<Host, Vec<BackendName>>,
}

impl Backends {
    /// Takes the back ends of a configuration; their names differ.
    pub fn new(backends: Vec<KnownBackend>) -> Self {
        let mut known = Self::default();
        for backend in backends {
            for host in &backend.hosts {
                let names = known.by_host.entry(host.clone()).or_default();
                if !names.contains(&backend.name) {
                    names.push(backend.name.clone());
                }
            }
            known.by_name.insert(backend.name.clone(), backend);
        }
        known
    }

    /// Whether a back end of this name is configured.
    pub fn knows(&self, name: &BackendName) -> bool {
        self.by_name.contains_key(name)
    }

    /// The back end of this name.
    pub fn get(&self, name: &BackendName) -> Option<&KnownBackend> {
        self.by_name.get(name)
    }

    /// Finds the back end that a place means to a client of `protocol`: the one with that name, else
    /// the one with that address, else `template` at that address.
    ///
    /// # Errors
    /// [`Unresolved`] if it leads to none, or to several.
    pub fn resolve(
        &self,
        place: &Place,
        template: Option<&BackendName>,
        protocol: Protocol,
    ) -> Result<Target, Unresolved> {
        if let Some(name) = place.name.as_ref().filter(|name| self.knows(name)) {
            return Ok(Target::backend(name.clone()));
        }
        let nowhere = || Unresolved::Nowhere { place: place.to_string() };
        let address = place.address.as_ref().ok_or_else(nowhere)?;
        match self.by_host.get(&address.host).map(Vec::as_slice) {
            Some([name]) => Ok(self.at(name, None, address.port, protocol)),
            Some(names) => self.one_of(names, place, address.port, protocol),
            None => {
                let template = template.filter(|name| self.knows(name));
                let template = template.ok_or_else(nowhere)?;
                let host = Some(address.host.clone());
                Ok(self.at(template, host, address.port, protocol))
            }
        }
    }

    /// Whether a place leads to a back end for at least one protocol.
    ///
    /// # Errors
    /// [`Unresolved`] if it leads to none, or to several, whatever the protocol.
    pub fn check(&self, place: &Place, template: Option<&BackendName>) -> Result<(), Unresolved> {
        let mut result = Ok(());
        for protocol in Protocol::ALL {
            result = self.resolve(place, template, protocol).map(drop);
            if result.is_ok() {
                break;
            }
        }
        result.map_err(|unresolved| match unresolved {
            Unresolved::Ambiguous { place, backends, .. } => {
                Unresolved::Ambiguous { place, backends, protocol: None }
            }
            unresolved @ Unresolved::Nowhere { .. } => unresolved,
        })
    }

    /// A back end's target; a port that is its own is not worth a word.
    fn at(
        &self,
        name: &BackendName,
        host: Option<Host>,
        port: Option<u16>,
        protocol: Protocol,
    ) -> Target {
        let own = self.by_name.get(name).map(|known| known.port(protocol));
        Target { backend: name.clone(), host, port: port.filter(|port| Some(*port) != own) }
    }

    /// Picks from back ends of one host the one whose port the answer names.
    fn one_of(
        &self,
        names: &[BackendName],
        place: &Place,
        port: Option<u16>,
        protocol: Protocol,
    ) -> Result<Target, Unresolved> {
        let has_port = |name: &&BackendName| {
            let known = self.by_name.get(*name);
            port.is_some() && known.map(|known| known.port(protocol)) == port
        };
        let mut fitting = names.iter().filter(has_port);
        match (fitting.next(), fitting.next()) {
            (Some(name), None) => Ok(Target::backend(name.clone())),
            _ => Err(Unresolved::Ambiguous {
                place: place.to_string(),
                backends: names.iter().map(BackendName::as_str).collect::<Vec<_>>().join(", "),
                protocol: Some(protocol),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> BackendName {
        BackendName::new(text).unwrap()
    }

    fn known(backend: &str, hosts: &[&str], imap_port: u16, pop3_port: u16) -> KnownBackend {
        KnownBackend {
            name: name(backend),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            imap_port,
            pop3_port,
            judges: true,
        }
    }

    /// `a` and `b` share a host; `c` has two; `store` bears the name of a host of `c`.
    fn backends() -> Backends {
        Backends::new(vec![
            known("a", &["127.0.0.1"], 10143, 10110),
            known("b", &["127.0.0.1"], 11143, 11110),
            known("c", &["c.example.org", "2001:db8::1", "store"], 143, 110),
            known("store", &["store.example.org"], 143, 110),
        ])
    }

    fn resolve(text: &str, protocol: Protocol) -> Result<Target, Unresolved> {
        backends().resolve(&text.parse().unwrap(), None, protocol)
    }

    fn target(backend: &str, host: Option<&str>, port: Option<u16>) -> Target {
        Target { backend: name(backend), host: host.map(|host| host.parse().unwrap()), port }
    }

    #[test]
    fn the_last_at_sign_parts_the_user_from_the_place() {
        let answer: Answer = "bob@example.org@[::1]:143".parse().unwrap();
        assert_eq!(answer.user.unwrap().as_str(), "bob@example.org");
        assert_eq!(answer.place.to_string(), "[::1]:143");
        assert_eq!("a".parse::<Answer>().unwrap().user, None);
        for bad in ["", "@a", "bob@", "a b", "a:0", "a:b", "bo\nb@a", "::1]:1"] {
            assert!(bad.parse::<Answer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_configured_name_goes_before_an_address() {
        assert_eq!(resolve("store", Protocol::Imap), Ok(target("store", None, None)));
        assert_eq!(resolve("store:143", Protocol::Imap), Ok(target("c", None, None)));
    }

    #[test]
    fn an_address_means_the_back_end_that_has_it() {
        for text in ["C.example.org.", "2001:db8::1", "[2001:0db8::1]:143"] {
            assert_eq!(resolve(text, Protocol::Imap), Ok(target("c", None, None)), "{text}");
        }
        assert_eq!(
            resolve("c.example.org:1143", Protocol::Pop3),
            Ok(target("c", None, Some(1143)))
        );
    }

    #[test]
    fn a_port_decides_between_back_ends_of_one_host_for_the_protocol_that_asks() {
        assert_eq!(resolve("127.0.0.1:11143", Protocol::Imap), Ok(target("b", None, None)));
        assert_eq!(resolve("127.0.0.1:10110", Protocol::Pop3), Ok(target("a", None, None)));
        for text in ["127.0.0.1", "127.0.0.1:11143", "127.0.0.1:1"] {
            assert!(
                matches!(resolve(text, Protocol::Pop3), Err(Unresolved::Ambiguous { .. })),
                "{text}"
            );
        }
        let place = "127.0.0.1:11143".parse().unwrap();
        assert_eq!(backends().check(&place, None), Ok(()));
        // Which protocols are served is not asked, so none is named.
        let ambiguous = backends().check(&"127.0.0.1".parse().unwrap(), None).unwrap_err();
        assert!(ambiguous.to_string().contains("(a, b) and no port decides"), "{ambiguous}");
    }

    #[test]
    fn a_template_lends_its_settings_to_an_address_nobody_has() {
        let with = |text: &str, template: &str| {
            let place = text.parse().unwrap();
            backends().resolve(&place, Some(&name(template)), Protocol::Imap)
        };
        assert_eq!(with("d.example.org", "a"), Ok(target("a", Some("d.example.org"), None)));
        assert_eq!(
            with("d.example.org:993", "a"),
            Ok(target("a", Some("d.example.org"), Some(993)))
        );
        assert_eq!(with("c.example.org", "a"), Ok(target("c", None, None)));
        assert!(matches!(with("127.0.0.1", "c"), Err(Unresolved::Ambiguous { .. })));
        assert!(matches!(with("d.example.org", "missing"), Err(Unresolved::Nowhere { .. })));
    }

    #[test]
    fn what_leads_nowhere_says_what_to_do() {
        let said = resolve("d.example.org:143", Protocol::Imap).unwrap_err();
        let said = said.to_string();
        assert!(said.contains("`d.example.org:143`") && said.contains("template"), "{said}");
    }

    proptest! {
        #[test]
        fn no_answer_leads_to_a_back_end_that_is_not_configured(
            text in prop_oneof![
                "\\PC{0,30}",
                "([a-z]{1,3}@)?(a|b|c|d|store|127\\.0\\.0\\.1|\\[2001:db8::1\\])(:[0-9]{1,5})?",
            ],
            template in proptest::option::of("a|b|c|missing"),
            imap: bool,
        ) {
            let protocol = if imap { Protocol::Imap } else { Protocol::Pop3 };
            let template = template.map(|template| name(&template));
            if let Ok(answer) = text.parse::<Answer>() {
                let found = backends().resolve(&answer.place, template.as_ref(), protocol);
                if let Ok(found) = found {
                    prop_assert!(backends().knows(&found.backend));
                }
                prop_assert_eq!(answer.to_string().parse::<Answer>(), Ok(answer));
            }
        }
    }
}
