//! Certificates and keys in files: read, looked at for changes, made for trying things out.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

/// How often files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A certificate with its chain, and its key, both PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The certificate, then the chain.
    pub certificate: PathBuf,
    /// The private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Whether both can be used and fit; they are read for it.
    ///
    /// # Errors
    /// [`TlsFileError`] names the file and what is wrong with it.
    pub fn check(&self) -> Result<(), TlsFileError> {
        read_key_pair(self).map(|_| ())
    }

    /// Both.
    pub(super) fn paths(&self) -> [PathBuf; 2] {
        [self.certificate.clone(), self.key.clone()]
    }
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
    pub(super) fn new(file: &Path, problem: impl ToString) -> Self {
        Self { file: file.to_owned(), problem: problem.to_string() }
    }

    /// The two do not fit.
    pub(super) fn of_another_key(files: &CertificateFiles) -> Self {
        let of = files.certificate.display();
        Self::new(&files.key, format!("is not the key of the certificate in {of}"))
    }
}

/// What tells that a file is another one: time, size and inode; nothing where it is missing.
pub(super) type Stamps = Vec<Option<(SystemTime, u64, u64)>>;

pub(super) fn stamps(files: &[PathBuf]) -> Stamps {
    let stamp = |path: &PathBuf| {
        let data = fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len(), data.ino()))
    };
    files.iter().map(stamp).collect()
}

/// Follows files for ever: `changed` is called when one has become another than it was at `read`.
pub(super) async fn follow(files: &[PathBuf], read: &Stamps, mut changed: impl FnMut()) {
    let mut seen = read.clone();
    let mut every = tokio::time::interval(WATCH_EVERY);
    loop {
        every.tick().await;
        let now = stamps(files);
        if now != seen {
            seen = now;
            changed();
        }
    }
}

/// Reads the certificates in a PEM file.
pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let bad = |problem: String| TlsFileError::new(file, problem);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| match error {
            pem::Error::Io(error) => bad(format!("cannot be read: {error}")),
            error => bad(format!("cannot be read as PEM certificates: {error}")),
        })?;
    if certificates.is_empty() {
        return Err(bad("holds no PEM certificate".into()));
    }
    Ok(certificates)
}

/// Reads a private key, which is wiped in the end.
pub(super) fn read_key(file: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, TlsFileError> {
    let bad = |problem: String| TlsFileError::new(file, problem);
    let text = fs::read(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let text = Zeroizing::new(text);
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let locked = memchr::memmem::find(&text, b"ENCRYPTED").is_some();
        let hint = if locked { " (it is locked by a passphrase)" } else { "" };
        bad(format!("no private key in it: {error}{hint}"))
    })?;
    Ok(Zeroizing::new(key))
}

/// Reads a certificate and its key, which must fit.
pub(super) fn read_key_pair(files: &CertificateFiles) -> Result<CertifiedKey, TlsFileError> {
    let chain = read_certificates(&files.certificate)?;
    let key = read_key(&files.key)?;
    // The library keeps its own copy.
    let key = any_supported_type(&key).map_err(|error| TlsFileError::new(&files.key, error))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(TlsFileError::of_another_key(files))
        }
        _ => Ok(pair),
    }
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
