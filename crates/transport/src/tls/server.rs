//! TLS towards clients: certificates by SNI that follow their files.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use model::Protocol;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider, sign::any_supported_type},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};

/// How often the files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A certificate with its chain, and its key, both PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The certificate, then the chain.
    pub certificate: PathBuf,
    /// The private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// What a listener needs for TLS.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The first is shown to clients that name no host, or one that no certificate is for; the others
    /// are picked by SNI, by the names in them.
    pub certificates: Vec<CertificateFiles>,
    /// The protocol, whose ALPN identifier is the only one accepted (none at all is accepted too).
    pub protocol: Protocol,
}

/// A certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct TlsFileError {
    /// Which file.
    pub file: PathBuf,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl TlsFileError {
    fn new(file: &Path, problem: impl ToString) -> Self {
        Self { file: file.to_owned(), problem: problem.to_string() }
    }
}

/// The TLS of a listener. New certificates count for new connections.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    files: Vec<CertificateFiles>,
    /// How the files looked before they were read.
    read: Stamps,
    /// Whether somebody follows the files already.
    followed: AtomicBool,
}

impl ServerTls {
    /// Reads the certificates and keys.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file and what is wrong with it.
    pub fn load(settings: ServerSettings) -> Result<Arc<Self>, TlsFileError> {
        let files = settings.certificates;
        let read = stamps(&files);
        let table = ArcSwap::from_pointee(Table::read(&files)?);
        let certificates = Arc::new(Certificates(table));
        let unusable = |error: rustls::Error| TlsFileError::new(Path::new("TLS"), error);
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![settings.protocol.alpn().to_vec()];
        // Tickets only: nothing is kept here for clients that never come back.
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let (config, followed) = (Arc::new(config), AtomicBool::new(false));
        Ok(Arc::new(Self { config, certificates, files, read, followed }))
    }

    /// The library's settings.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Follows the files for ever: when one has changed, all are read again. Files that cannot be used
    /// are reported once, and the certificates in use stay. Of several who call this for one TLS (it
    /// may serve several listeners) the first one does it, and the others are done at once.
    pub async fn follow_files(self: Arc<Self>) {
        if self.followed.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut seen = self.read.clone();
        let mut every = tokio::time::interval(WATCH_EVERY);
        loop {
            every.tick().await;
            let now = stamps(&self.files);
            if now == seen {
                continue;
            }
            seen = now;
            match Table::read(&self.files) {
                Ok(table) => {
                    self.certificates.0.store(Arc::new(table));
                    tracing::info!(file = %self.first_file(), "certificate reloaded");
                }
                Err(error) => {
                    tracing::error!(%error, "new certificate not used, the old one stays")
                }
            }
        }
    }

    fn first_file(&self) -> String {
        self.files.first().map(|files| files.certificate.display().to_string()).unwrap_or_default()
    }
}

/// What tells that a file is another one: time, size and inode; nothing where it is missing.
type Stamps = Vec<Option<(SystemTime, u64, u64)>>;

fn stamps(files: &[CertificateFiles]) -> Stamps {
    use std::os::unix::fs::MetadataExt;
    let stamp = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len(), data.ino()))
    };
    files.iter().flat_map(|files| [stamp(&files.certificate), stamp(&files.key)]).collect()
}

/// The certificates in use.
#[derive(Debug)]
struct Certificates(ArcSwap<Table>);

#[derive(Debug)]
struct Table {
    default: Arc<CertifiedKey>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Table {
    fn read(files: &[CertificateFiles]) -> Result<Self, TlsFileError> {
        let mut default = None;
        let mut by_name = HashMap::new();
        for files in files {
            let key = Arc::new(read_key_pair(files)?);
            for name in dns_names(&key, files)? {
                by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
            default.get_or_insert(key);
        }
        let missing = || TlsFileError::new(Path::new("certificate"), "none is configured");
        Ok(Self { default: default.ok_or_else(missing)?, by_name })
    }

    /// The certificate for exactly this name, else for `*.` its parent (RFC 6125 section 6.4.3).
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.load();
        let named = hello.server_name().and_then(|name| table.find(name));
        Some(Arc::clone(named.unwrap_or(&table.default)))
    }
}

fn read_key_pair(files: &CertificateFiles) -> Result<CertifiedKey, TlsFileError> {
    let bad_chain = |problem: String| TlsFileError::new(&files.certificate, problem);
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| match error {
            pem::Error::Io(error) => bad_chain(format!("cannot be read: {error}")),
            error => bad_chain(format!("cannot be read as PEM certificates: {error}")),
        })?;
    if chain.is_empty() {
        return Err(bad_chain("holds no PEM certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        let problem = match error {
            pem::Error::Io(error) => format!("cannot be read: {error}"),
            error => format!("no private key in it: {error}"),
        };
        TlsFileError::new(&files.key, problem)
    })?;
    let key = any_supported_type(&key).map_err(|error| TlsFileError::new(&files.key, error))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            let of = files.certificate.display();
            Err(TlsFileError::new(&files.key, format!("is not the key of the certificate in {of}")))
        }
        _ => Ok(pair),
    }
}

/// The DNS names that a certificate is for, in lower case.
fn dns_names(pair: &CertifiedKey, files: &CertificateFiles) -> Result<Vec<String>, TlsFileError> {
    let bad = |problem: String| TlsFileError::new(&files.certificate, problem);
    let certificate = pair.end_entity_cert().map_err(|error| bad(error.to_string()))?;
    let certificate = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| bad(format!("not a certificate: {error}")))?;
    Ok(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// Makes a certificate for `localhost`, the loopback addresses and this host's name, signed by
/// itself, where both files are missing. The key file is readable by its owner only.
///
/// # Errors
/// [`TlsFileError`] if one of the two is there and the other is not, or they cannot be written.
pub fn make_self_signed(files: &CertificateFiles) -> Result<(), TlsFileError> {
    match (files.certificate.exists(), files.key.exists()) {
        (true, true) => return Ok(()),
        (true, false) => {
            return Err(TlsFileError::new(&files.key, "is missing beside its certificate"));
        }
        (false, true) => {
            return Err(TlsFileError::new(&files.certificate, "is missing beside its key"));
        }
        (false, false) => {}
    }
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(host) = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()) {
        names.push(host);
    }
    let failed = |error: rcgen::Error| TlsFileError::new(&files.certificate, error);
    let made = rcgen::generate_simple_self_signed(names).map_err(failed)?;
    write_new(&files.key, &made.signing_key.serialize_pem(), 0o600)?;
    write_new(&files.certificate, &made.cert.pem(), 0o644)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), TlsFileError> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?
            .write_all(text.as_bytes())
    };
    write().map_err(|error| TlsFileError::new(path, error))
}
