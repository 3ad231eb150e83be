//! The shape of the configuration file: every table, every key, and the type of its value. Nothing
//! here decides what follows from them; `check` does.

mod answer;
mod http;
mod ldap;
mod pool;
mod source;
mod sql;
mod tokens;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use model::{Host, HostPort, Mechanism, Protocol, Secret, UserName};
use toml::{Spanned, de::DeValue};

use super::read::{Field, Keyed, Listed, Literally, Named, Read, Reader, Tables, table};

pub(super) use self::{
    answer::Answer,
    http::{Contract, HttpSource, Method, header},
    ldap::{LdapAttributes, LdapScopeWord, LdapSource},
    pool::{PlaceWord, PolicyWord, Pool},
    source::{
        Cache, Common, Gives, OnError, RegexFormat, RegexRule, RegexSource, SOURCE_WORDS, Source,
        SourceShape, StaticSource, Verify,
    },
    sql::{OdbcSource, SqlSource, SqlTlsMode, SqliteSource},
    tokens::TokensTable,
};

table! {
    /// The whole file.
    File, "the file" {
        /// The folder for what must outlive a restart.
        "state" = state: PathBuf,
        /// The user to become after the listeners are bound.
        "user" = user: String,
        /// Worker threads.
        "workers" = workers: u32,
        /// How long sessions may go on after SIGTERM.
        "grace" = grace: Duration,
        "log" = log: Log,
        "listener" = listeners: Tables<Listener>,
        "limits" = limits: Limits,
        "deadlines" = deadlines: Deadlines,
        "health" = health: Health,
        "backend" = backends: Named<Backend>,
        "pool" = pools: Named<Pool>,
        "names" = names: Names,
        "passwords" = passwords: Passwords,
        "tokens" = tokens: TokensTable,
        "directory" = directory: Tables<Source>,
        "answer" = answers: Tables<Answer>,
    }
}

table! {
    /// What is logged, and how it looks.
    Log, "[log]" {
        "format" = format: LogFormat,
        "level" = level: LogLevel,
    }
}

table! {
    /// Where clients connect to.
    Listener, "[[listener]]" {
        /// How log and messages call it; default PROTOCOL-PORT.
        "name" = name: String,
        "protocol" = protocol: Protocol,
        /// One address or several; the port may be left out.
        "address" = addresses: Listed<ListenAddress>,
        "tls" = tls: TlsMode,
        "allow_clear_logins" = allow_clear_logins: bool,
        /// With `key`: the only certificate.
        "certificate" = certificate: PathBuf,
        "key" = key: PathBuf,
        /// In place of `certificate` and `key`: several, chosen by the name the client asks for.
        "certificates" = certificates: Tables<Pair>,
        /// Authorities whose certificates clients may show.
        "client_ca_file" = client_ca_file: PathBuf,
        "client_certificate" = client_certificate: ClientCertificate,
        /// Which field of a client's certificate names the user.
        "client_certificate_user" = client_certificate_user: CertificateUser,
        /// Whether `serve` makes the files when they are missing.
        "self_signed" = self_signed: bool,
        /// In place of what the back ends have.
        "capabilities" = capabilities: Listed<Capability>,
        /// The ways to log in that are offered.
        "mechanisms" = mechanisms: Listed<Mechanism>,
        /// Whether the back end's own words reach the client with a refusal.
        "relay_text" = relay_text: bool,
        /// Whether a client hears a goodbye when its session is ended.
        "clean_bye" = clean_bye: bool,
        /// Whether what a client says of its own program goes on to the back end.
        "forward_client_id" = forward_client_id: bool,
        /// Whose connections begin with a PROXY header; with any, nobody else may come in.
        "proxy_networks" = proxy_networks: Listed<IpNet>,
        /// Whose word we take for who the client is.
        "trusted_networks" = trusted_networks: Listed<IpNet>,
        /// Connections of this listener; 0 is no limit of its own.
        "connections" = connections: u32,
    }
}

table! {
    /// A certificate (with its chain) and its key.
    Pair, "certificates" {
        "certificate" = certificate: PathBuf,
        "key" = key: PathBuf,
    }
}

table! {
    /// How much is allowed.
    Limits, "[limits]" {
        /// Connections in all; default from the limit on open files.
        "connections" = connections: u32,
        /// Connections from one address; 0 is no limit.
        "connections_per_address" = connections_per_address: u32,
        /// Logins per second from one address; 0 is no limit.
        "logins_per_address" = logins_per_address: u32,
        /// Logins per second of one user; 0 is no limit.
        "logins_per_user" = logins_per_user: u32,
        /// How long a login that comes too early may be held back.
        "longest_login_wait" = longest_login_wait: Duration,
        /// How long after its beginning a refused login is answered.
        "failure_delay" = failure_delay: Duration,
        /// Sessions of one user; 0 is no limit.
        "sessions_per_user" = sessions_per_user: u32,
        /// How long we wait for a client before its login, in all.
        "client_wait" = client_wait: Duration,
        /// Commands before login.
        "commands" = commands: u32,
        /// Bytes in a line before login.
        "line" = line: u32,
        /// Bytes in a line before login that carries a SASL response.
        "sasl_line" = sasl_line: u32,
        /// Bytes in a literal before login.
        "literal" = literal: u32,
        /// What a proxy may take for its PROXY header.
        "proxy_header_wait" = proxy_header_wait: Duration,
        /// TLS handshakes in flight at one listener; 0 is no limit.
        "handshakes" = handshakes: u32,
        /// TLS handshakes in flight from one address; 0 is no limit.
        "handshakes_per_address" = handshakes_per_address: u32,
        /// What a TLS handshake may take.
        "handshake_wait" = handshake_wait: Duration,
        /// The silence that ends a session.
        "idle" = idle: Duration,
        /// The time over which the many clients of a back end that dies are told so.
        "disconnect_spread" = disconnect_spread: Duration,
    }
}

table! {
    /// How long to wait for a back end.
    Deadlines, "[deadlines]" {
        /// For the connection, per address.
        "connect" = connect: Duration,
        /// For the TLS handshake and the greeting.
        "greeting" = greeting: Duration,
        /// For everything up to the answer to the login.
        "login" = login: Duration,
    }
}

table! {
    /// How it is judged whether a back end lives.
    Health, "[health]" {
        /// How many users and clients must have met a failure in a row,
        "failures" = failures: u32,
        /// and within which time.
        "window" = window: Duration,
        /// How often each is looked at; "0s" for never.
        "look_every" = look_every: Duration,
        /// How many looks in a row must fail.
        "looks" = looks: u32,
        /// How long one that is down is left alone, at first,
        "rest" = rest: Duration,
        /// and at most.
        "longest_rest" = longest_rest: Duration,
        /// How long after its return until it gets as many logins as ever.
        "slow_start" = slow_start: Duration,
    }
}

table! {
    /// A server that holds mail.
    Backend, "[backend.NAME]" {
        /// One host or several, tried in turn.
        "address" = addresses: Listed<Host>,
        "imap_port" = imap_port: u16,
        "pop3_port" = pop3_port: u16,
        /// The local addresses to connect from, in turn.
        "source_addresses" = source_addresses: Listed<IpAddr>,
        "tls" = tls: TlsMode,
        /// Whether it knows only TLS 1.0 to 1.2 and what went with them.
        "tls_legacy" = tls_legacy: bool,
        /// Whether the certificate is verified.
        "verify" = verify: bool,
        /// Authorities to trust in place of the system's.
        "ca_file" = ca_file: PathBuf,
        /// SHA-256 of the back end's own certificate, in place of verifying by authorities.
        "pin_sha256" = pin_sha256: Listed<[u8; 32]>,
        /// With `key`: what we show to a back end that asks for a certificate.
        "certificate" = certificate: PathBuf,
        "key" = key: PathBuf,
        /// Its share of what is new in a pool, beside the others.
        "weight" = weight: u32,
        /// What sources can ask for, for new mailboxes.
        "tags" = tags: Listed<String>,
        /// How it is told who the client is.
        "identity" = identity: Identity,
        /// In place of `identity`, for one protocol.
        "imap_identity" = imap_identity: Identity,
        "pop3_identity" = pop3_identity: Identity,
        /// Whether the login may follow before the answer to what was said before it.
        "pipelining" = pipelining: bool,
        /// Logins under way there at a time.
        "logins_at_once" = logins_at_once: u32,
        /// The store that it shares with others of the same word.
        "same_store" = same_store: String,
        /// Who is logged in to see whether it lives.
        "test_user" = test_user: UserName,
        "test_password_file" = test_password_file: PathBuf,
        "test_password" = test_password: Secret,
        "login" = login: Login,
        /// Who may log in on everybody's behalf, for `master` and `authzid`.
        "master_user" = master_user: UserName,
        /// What stands between the user's name and the master's.
        "master_separator" = master_separator: String,
        "master_secret_file" = master_secret_file: PathBuf,
        "master_secret" = master_secret: Secret,
        /// What it believes of us, for `trusted`.
        "trusted_by" = trusted_by: TrustedBy,
        /// What is sent in place of a password, for `trusted`.
        "trusted_secret" = trusted_secret: Secret,
    }
}

table! {
    /// How stored passwords are checked here.
    Passwords, "[passwords]" {
        /// Whether what is stored may be the password itself.
        "allow_plain" = allow_plain: bool,
        /// Whether what has no scheme is the password itself.
        "plain_without_scheme" = plain_without_scheme: bool,
        /// Threads that compute hashes.
        "threads" = threads: u32,
        /// Logins that may wait for them.
        "queue" = queue: u32,
        /// How long one may wait.
        "patience" = patience: Duration,
        /// How long a password that was right is not computed again.
        "remember_for" = remember_for: Duration,
        /// How many of those.
        "remember_most" = remember_most: u32,
        /// What SCRAM shows for names that nobody has.
        "scram_iterations" = scram_iterations: u32,
        /// What a stored hash may ask for: megabytes,
        "most_megabytes" = most_megabytes: u32,
        /// passes over them,
        "most_passes" = most_passes: u32,
        /// the logarithm of bcrypt's rounds,
        "most_bcrypt_cost" = most_bcrypt_cost: u32,
        /// and the rounds of the others.
        "most_rounds" = most_rounds: u32,
    }
}

table! {
    /// What is done to a user name before it is looked up.
    Names, "[names]" {
        "trim" = trim: bool,
        "lower_case" = lower_case: bool,
        /// Characters that may stand for `@`.
        "delimiters" = delimiters: String,
        /// The character that begins a detail, as `+` in user+detail@domain.
        "detail" = detail: Character,
        /// `true` for every domain, or the domains to strip.
        "strip_domain" = strip_domain: StripDomain,
        /// Where a name has no domain.
        "add_domain" = add_domain: String,
        "rewrite" = rewrite: Tables<Rewrite>,
    }
}

table! {
    /// One regular expression and what takes its place.
    Rewrite, "rewrite" {
        "match" = pattern: Literally,
        "replace" = replacement: Literally,
    }
}

/// Declares a type whose values are a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($word:literal = $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum $name {
            $($variant,)*
        }

        impl Read for $name {
            fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
                reader.word(value, $what, &[$(($word, Self::$variant)),*])
            }
        }
    };
}
pub(super) use words;

words! {
    /// How lines of the log look.
    LogFormat, "a log format" {
        "text" = Text,
        "json" = Json,
    }
}

words! {
    /// The least important lines that are logged.
    LogLevel, "a log level" {
        "error" = Error,
        "warn" = Warn,
        "info" = Info,
        "debug" = Debug,
        "trace" = Trace,
    }
}

words! {
    /// When TLS begins.
    TlsMode, "a TLS mode" {
        "implicit" = Implicit,
        "starttls" = StartTls,
        "none" = None,
    }
}

words! {
    /// How a user is logged in to a back end.
    Login, "a login mode" {
        "forward" = Forward,
        "master" = Master,
        "authzid" = Authzid,
        "password" = Password,
        "trusted" = Trusted,
    }
}

words! {
    /// Whether clients must show a certificate.
    ClientCertificate, "a rule for certificates of clients" {
        "optional" = Optional,
        "required" = Required,
    }
}

words! {
    /// Which field of a certificate names the user.
    CertificateUser, "a field of a certificate" {
        "common-name" = CommonName,
        "email" = Email,
    }
}

words! {
    /// What a back end believes of us.
    TrustedBy, "what a back end can believe of us" {
        "address" = Address,
        "certificate" = Certificate,
    }
}

words! {
    /// How a back end is told who the client is.
    Identity, "a way to tell who the client is" {
        "none" = None,
        "proxy-v1" = ProxyV1,
        "proxy-v2" = ProxyV2,
        "native" = Native,
    }
}

/// Where to listen: an IP address and perhaps a port.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenAddress {
    pub(super) ip: IpAddr,
    /// 0 lets the kernel pick one.
    pub(super) port: Option<u16>,
}

impl Read for ListenAddress {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "an address to listen on", |text| {
            if let Ok(address) = text.parse::<SocketAddr>() {
                return Ok(Self { ip: address.ip(), port: Some(address.port()) });
            }
            match text.parse::<HostPort>() {
                Ok(HostPort { host: Host::Ip(ip), port }) => Ok(Self { ip, port }),
                _ => Err("write an IP address, with a port or without, as in \"[::]:993\", \
                          \"0.0.0.0:993\" or \"127.0.0.1\""),
            }
        })
    }
}

/// A host, and perhaps its port.
impl Read for HostPort {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a host with or without a port", str::parse)
    }
}

impl Read for Mechanism {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        // Of a TLS connection we know nothing that it could be bound to.
        let offered = Self::ALL.into_iter().filter(|one| *one != Self::ScramSha256Plus);
        let words: Vec<_> = offered.map(|mechanism| (mechanism.word(), mechanism)).collect();
        reader.word(value, "a way to log in", &words)
    }
}

/// An address of one host.
impl Read for IpAddr {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "an IP address", |text| match text.parse::<Self>() {
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() => {
                Err("it is no host's own address")
            }
            Ok(ip) => Ok(ip),
            Err(_) => Err("write it as in \"10.0.0.1\" or \"2001:db8::1\""),
        })
    }
}

/// A network, or a single address.
impl Read for IpNet {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a network", |text| {
            if let Ok(address) = text.parse::<IpAddr>() {
                return Ok(Self::from(address));
            }
            let wrong = "write it as in \"10.0.0.0/8\", \"2001:db8::/32\" or \"10.0.0.1\"";
            let network: Self = text.parse().map_err(|_| wrong.to_owned())?;
            let first = network.trunc();
            // Of the two one is a slip, and which one cannot be known.
            if first == network {
                Ok(network)
            } else {
                Err(format!("its first address is {first}"))
            }
        })
    }
}

/// A capability's name: printable ASCII without spaces.
#[derive(Clone, Debug)]
pub(super) struct Capability(pub(super) String);

impl Read for Capability {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a capability", |text| {
            // An atom of IMAP (RFC 3501 section 9): it is written on a protocol line as it is.
            let fits = |byte: u8| byte.is_ascii_graphic() && !br#"(){%*"\]"#.contains(&byte);
            if text.is_empty() || !text.bytes().all(fits) {
                return Err("it is one word of printable characters");
            }
            Ok(Self(text.to_owned()))
        })
    }
}

/// One character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Character(pub(super) char);

impl Read for Character {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a character", |text| {
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(character), None) => Ok(Self(character)),
                _ => Err("write one"),
            }
        })
    }
}

/// Whose domains are stripped.
#[derive(Clone, Debug)]
pub(super) enum StripDomain {
    Always,
    Listed(Vec<String>),
    Never,
}

impl Read for StripDomain {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        if let DeValue::Boolean(yes) = value.get_ref() {
            return Some(if *yes { Self::Always } else { Self::Never });
        }
        let Listed(domains) = Listed::<String>::read(value, reader)?;
        Some(Self::Listed(domains.into_iter().map(|at| at.value).collect()))
    }
}
