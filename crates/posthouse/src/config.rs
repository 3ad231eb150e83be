//! The configuration: read once at the top, checked as a whole, and turned into what each room needs.
//! Nothing here speaks to anybody or changes a file.

mod check;
mod expand;
mod file;
#[cfg(test)]
mod manual;
mod mistake;
mod read;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use ::directory::{
    KnownBackend, Pools, RuleSettings, SourceSettings, passwords::PasswordSettings,
    tokens::TokenSettings,
};
use backends::{BackendSettings, Deadlines, HealthSettings};
use ipnet::IpNet;
use model::{Mechanisms, Protocol};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use transport::tls::{CertificateFiles, ClientCertificates};

pub(crate) use file::{LogFormat, LogLevel};
pub(crate) use mistake::{Mistakes, ToldMistake};

use self::{
    file::File,
    mistake::Mistake,
    read::{Read, Reader},
};

/// Where the configuration is looked for when nothing else is said.
pub(crate) const DEFAULT_PATH: &str = "/etc/posthouse/posthouse.toml";

/// The state folder of a service, when nothing else is said.
pub(crate) const SYSTEM_STATE: &str = "/var/lib/posthouse";

/// The longest file that is read, in bytes: a configuration, and no disk image by mistake.
const MAX_BYTES: u64 = 4 << 20;

/// A configuration in which nothing contradicts anything.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The folder for what must outlive a restart.
    pub(crate) state: PathBuf,
    /// The user to become after the listeners are bound.
    pub(crate) user: Option<String>,
    pub(crate) workers: NonZeroUsize,
    /// How long sessions may go on after the first signal to stop.
    pub(crate) grace: Duration,
    pub(crate) log: Log,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) limits: Limits,
    /// How long to wait for a back end.
    pub(crate) deadlines: Deadlines,
    /// How it is judged whether a back end lives.
    pub(crate) health: HealthSettings,
    /// Empty where the configuration was read to [`Purpose::Act`].
    pub(crate) backends: Vec<BackendSettings>,
    pub(crate) known_backends: Vec<KnownBackend>,
    pub(crate) pools: Pools,
    pub(crate) rules: RuleSettings,
    pub(crate) sources: Vec<SourceSettings>,
    /// Servers that only say where users are.
    pub(crate) answers: Vec<answer::Settings>,
    /// How stored passwords are checked here.
    pub(crate) passwords: PasswordSettings,
    /// How tokens are; none where only back ends judge them.
    pub(crate) tokens: Option<TokenSettings>,
}

/// What is logged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: LogLevel,
}

/// Where clients connect to. Certificates are read when the program starts to serve.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tls: Privacy,
    pub(crate) allow_clear_logins: bool,
    pub(crate) capabilities: Option<Vec<String>>,
    pub(crate) mechanisms: Mechanisms,
    pub(crate) relay_text: bool,
    pub(crate) clean_bye: bool,
    pub(crate) forward_client_id: bool,
    /// Whose connections begin with a PROXY header; with any, nobody else may come in.
    pub(crate) proxy_networks: Vec<IpNet>,
    /// Whose word we take for who the client is.
    pub(crate) trusted_networks: Vec<IpNet>,
    /// Connections of this listener; 0 is no limit of its own.
    pub(crate) connections: usize,
}

/// When TLS begins, and with which certificates.
#[derive(Clone, Debug)]
pub(crate) enum Privacy {
    Implicit(Certificates),
    None,
    StartTls(Certificates),
}

/// The certificates of a listener, the default first.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pub(crate) files: Vec<CertificateFiles>,
    /// Whether missing files are made when the program starts to serve.
    pub(crate) self_signed: bool,
    /// Whether clients are asked for a certificate, and which ones are believed.
    pub(crate) clients: Option<ClientCertificates>,
}

/// How much is allowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections in all; without a number, as many as the limit on open files leaves room for.
    pub(crate) connections: Option<usize>,
    /// All others.
    pub(crate) others: proxy::Limits,
}

impl Config {
    /// The addresses at which we listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().flat_map(|listener| listener.addresses.clone()).collect()
    }
}

/// What the configuration is read for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// For an act of the operator, who need not be allowed to read certificates and secrets.
    Act,
    /// To check: as to serve, and what will go wrong later is foreseen.
    Check,
    /// To serve: every file that is named must be there and of use.
    Serve,
}

impl Purpose {
    /// Whether every file that is named is read.
    fn reads_files(self) -> bool {
        self != Self::Act
    }
}

/// What the configuration is read in: all that does not stand in the file.
pub(crate) struct Surroundings<'s> {
    pub(crate) purpose: Purpose,
    /// The environment's variables.
    pub(crate) variable: &'s dyn Fn(&str) -> Option<String>,
    /// Whether we are root, and may become another user.
    pub(crate) root: bool,
    /// Whether [`SYSTEM_STATE`] is there and ours.
    pub(crate) owns_system_state: bool,
}

/// There is no configuration to go by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("{}: the configuration cannot be read: {source}{}", path.display(), hint(source))]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: the configuration is not UTF-8 (byte {at})", path.display())]
    NotUtf8 { path: PathBuf, at: usize },
    #[error("{}: the configuration is longer than {MAX_BYTES} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error("{} in the configuration", count(.0.errors()))]
    Mistaken(Mistakes),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; name it with --config FILE",
        io::ErrorKind::PermissionDenied => "; run this as its owner",
        _ => "",
    }
}

fn count(errors: usize) -> String {
    match errors {
        1 => "1 mistake".to_owned(),
        errors => format!("{errors} mistakes"),
    }
}

/// Reads and checks the configuration in a file. Gives back warnings beside it.
///
/// # Errors
/// [`Unusable`], with all mistakes at once where there are any.
pub(crate) fn load(path: &Path, around: &Surroundings<'_>) -> Result<(Config, Mistakes), Unusable> {
    let unreadable = |source| Unusable::Unreadable { path: path.to_owned(), source };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_BYTES {
        return Err(Unusable::TooLong { path: path.to_owned() });
    }
    let source = String::from_utf8(fs::read(path).map_err(unreadable)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Unusable::NotUtf8 { path: path.to_owned(), at }
    })?;
    let whole = std::path::absolute(path).map_err(unreadable)?;
    parse(&source, path, whole.parent().unwrap_or_else(|| Path::new("/")), around)
}

/// Checks the configuration in a text; `folder` is where relative paths count from.
pub(crate) fn parse(
    source: &str,
    path: &Path,
    folder: &Path,
    around: &Surroundings<'_>,
) -> Result<(Config, Mistakes), Unusable> {
    let mut reader = Reader::new(source, folder, around.variable);
    let (document, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        // The line may hold a secret that could not be told from the rest.
        reader.hidden.extend(mistake::secrets_on_line(source, &span));
        reader.note(Mistake::error(&span, format!("this is not TOML: {}", error.message())));
    }
    let whole = Spanned::new(document.span(), DeValue::Table(document.into_inner()));
    let file = File::read(&whole, &mut reader).unwrap_or_default();
    // What a broken document lacks may well stand in the part that could not be read.
    let config = errors.is_empty().then(|| check::config(&file, around, &mut reader));
    let found = Mistakes::new(path, source, &reader.hidden, reader.mistakes);
    match config {
        Some(config) if !found.are_fatal() => Ok((config, found)),
        _ => Err(Unusable::Mistaken(found)),
    }
}
