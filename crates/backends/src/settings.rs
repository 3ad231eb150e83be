//! What is set for back ends.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use model::{BackendName, Host, Protocol, Secret, UserName};
use transport::tls::{CertificateFiles, ClientTlsError, Verify};

use crate::HealthSettings;

/// The settings of this room.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The back ends.
    pub backends: Vec<BackendSettings>,
    /// How long to wait for a back end.
    pub deadlines: Deadlines,
    /// Logins under way at one back end, of each protocol, where it has no number of its own.
    pub logins_at_once: usize,
    /// The addresses at which we listen ourselves: a back end there is a loop and never entered.
    pub own: Vec<SocketAddr>,
    /// The state folder, where the last good lists of capabilities are kept.
    pub state: PathBuf,
    /// How health is judged.
    pub health: HealthSettings,
}

/// How long to wait for a back end.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the TCP connection, per address. 2 s: one lost SYN is sent again after one second.
    pub connect: Duration,
    /// For the TLS handshake and the greeting. 5 s: a server that forks per connection answers under load.
    pub greeting: Duration,
    /// For everything up to the verdict. 60 s: Dovecot holds a refusal for up to 17 s.
    pub verdict: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            greeting: Duration::from_secs(5),
            verdict: Duration::from_secs(60),
        }
    }
}

/// One back end.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// Its name in the configuration.
    pub name: BackendName,
    /// Its addresses, tried in turn.
    pub hosts: Vec<Host>,
    /// Its ports.
    pub ports: Ports,
    /// The local addresses to connect from, in turn; the kernel picks one where none is of the family.
    pub source_addresses: Vec<IpAddr>,
    /// How the connection is made private.
    pub tls: Tls,
    /// Whether it knows only TLS 1.0 to 1.2 and what went with them. Only where that was built in
    /// ([`transport::tls::LEGACY`]).
    pub tls_legacy: bool,
    /// How its certificate is judged.
    pub verify: Verify,
    /// Our own certificate, where it asks for one.
    pub certificate: Option<CertificateFiles>,
    /// As whom we log in.
    pub login: LoginMode,
    /// How it is told who the client is.
    pub identity: Identities,
    /// The name of the store that it shares with others of the same word: each of them is as good as it.
    pub same_store: Option<Arc<str>>,
    /// Who is logged in to see whether it lives; with none, its greeting has to do.
    pub test_user: Option<TestUser>,
    /// Whether the login may follow without waiting for the answer to what was said before it. Not with
    /// servers that lose what comes too early.
    pub pipelining: bool,
    /// Logins under way there at a time; those beyond are told to try later. One that hangs holds no more
    /// of our connections.
    pub logins_at_once: Option<usize>,
}

impl BackendSettings {
    /// How the connection is made private, for lists.
    pub fn tls_word(&self) -> &'static str {
        match (self.tls, self.tls_legacy) {
            (Tls::Implicit, true) => "implicit (legacy)",
            (Tls::StartTls, true) => "starttls (legacy)",
            (tls, _) => tls.word(),
        }
    }
}

/// A user who exists only to be logged in.
#[derive(Clone, Debug)]
pub struct TestUser {
    /// His name at the back end.
    pub name: UserName,
    /// His password there.
    pub password: Secret,
}

/// How a back end is told who the client is, by protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identities {
    /// For IMAP.
    pub imap: IdentityMode,
    /// For POP3.
    pub pop3: IdentityMode,
}

impl Identities {
    /// The same for all protocols.
    pub fn all(mode: IdentityMode) -> Self {
        Self { imap: mode, pop3: mode }
    }

    /// The mode for a protocol.
    pub fn of(&self, protocol: Protocol) -> IdentityMode {
        match protocol {
            Protocol::Imap => self.imap,
            Protocol::Pop3 => self.pop3,
        }
    }
}

/// How a back end is told who the client is. One way only: Dovecot judges whether to believe `ID` and
/// XCLIENT by the address that a PROXY header gives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IdentityMode {
    /// By IMAP `ID`, or XCLIENT.
    Native,
    /// Not at all.
    #[default]
    None,
    /// By a PROXY header of version 1, before anything else.
    ProxyV1,
    /// By a PROXY header of version 2, which can also tell of TLS.
    ProxyV2,
}

impl IdentityMode {
    /// The word in settings and lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::None => "none",
            Self::ProxyV1 => "proxy-v1",
            Self::ProxyV2 => "proxy-v2",
        }
    }
}

/// The port for each protocol.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For IMAP.
    pub imap: u16,
    /// For POP3.
    pub pop3: u16,
}

impl Ports {
    /// The port for a protocol.
    pub fn of(&self, protocol: Protocol) -> u16 {
        match protocol {
            Protocol::Imap => self.imap,
            Protocol::Pop3 => self.pop3,
        }
    }
}

/// How the connection to a back end is made private.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tls {
    /// TLS from the first byte.
    Implicit,
    /// Not at all.
    None,
    /// By STARTTLS or STLS, without which nothing is said.
    StartTls,
}

impl Tls {
    /// The word in settings and lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::None => "none",
            Self::StartTls => "starttls",
        }
    }
}

/// As whom we log in to a back end. In all modes but `forward` the back end does not judge the client's
/// own secret; then it is compared with the one that the directory knows.
#[derive(Clone, Debug)]
pub enum LoginMode {
    /// By SASL PLAIN as `user` (authentication identity) on behalf of the user (authorization identity), as
    /// Cyrus wants it of its proxies.
    Authzid {
        /// Whose secret is shown.
        user: UserName,
        /// That secret.
        secret: Secret,
    },
    /// As the user, with the client's own secret; the back end judges it.
    Forward,
    /// As the master user on the user's behalf: `user`, separator, `master`.
    Master {
        /// The master user's name.
        user: UserName,
        /// What stands between the two names; Dovecot's `auth_master_user_separator`.
        separator: Box<str>,
        /// The master user's secret.
        secret: Secret,
    },
    /// As the user, with the secret that the directory knows.
    Password,
    /// As the user, without a secret: the back end believes us.
    Trusted(Trusted),
}

/// What a back end believes that takes logins without a secret.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// Our address (Dovecot's `nopassword` with `allow_nets`); a password is sent that says nothing.
    Address {
        /// What is sent in place of a secret.
        dummy: Secret,
    },
    /// Our certificate: SASL EXTERNAL with the user as authorization identity.
    Certificate,
}

impl LoginMode {
    /// The word in settings and lists.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Authzid { .. } => "authzid",
            Self::Forward => "forward",
            Self::Master { .. } => "master",
            Self::Password => "password",
            Self::Trusted(_) => "trusted",
        }
    }
}

/// A back end's settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("back end `{backend}`: {problem}")]
pub struct StartError {
    /// Which back end.
    pub backend: BackendName,
    /// Why.
    #[source]
    pub problem: ClientTlsError,
}
