//! A certificate authority for tests, and certificates from it, as PEM files.
//! Nothing here is fit for anything but loopback.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
    date_time_ymd,
};

/// Names that every server certificate here holds.
pub const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Kind of a key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA over P-256: made and used in no time.
    Ecdsa,
    /// RSA with 2048 bits: what the bench measures.
    Rsa2048,
}

/// Why no certificate came to be.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// The generator refused, most likely a name.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// A file could not be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
}

/// PEM files of one server or client.
#[derive(Debug, Clone)]
pub struct CertFiles {
    /// Certificate of the authority, for clients to trust.
    pub ca: PathBuf,
    /// Its certificate chain.
    pub cert: PathBuf,
    /// Its private key (PKCS #8), readable by the owner alone.
    pub key: PathBuf,
}

/// A certificate authority with a key in memory.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    kind: KeyKind,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn new_key(kind: KeyKind) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyKind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    }
}

impl Authority {
    /// A new authority; it and all it issues have keys of one kind.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn new(kind: KeyKind) -> Result<Self, CertError> {
        let key = new_key(kind)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Posthouse test authority");
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), kind, pem })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certificate and key, as PEM, of a server with exactly these names (DNS names and IP addresses).
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, names: &[&str]) -> Result<(String, String), CertError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        self.sign(params, names.first().map_or("localhost", String::as_str))
    }

    /// Certificate and key, as PEM, of a client whose subject is nothing but this common name.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn issue_client(&self, common_name: &str) -> Result<(String, String), CertError> {
        self.sign(Self::of_client()?, common_name)
    }

    /// The same, out of date for many years.
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn issue_old_client(&self, common_name: &str) -> Result<(String, String), CertError> {
        let mut params = Self::of_client()?;
        params.not_after = date_time_ymd(2001, 12, 31);
        self.sign(params, common_name)
    }

    fn of_client() -> Result<CertificateParams, CertError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = DistinguishedName::new();
        Ok(params)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        common_name: &str,
    ) -> Result<(String, String), CertError> {
        let key = new_key(self.kind)?;
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name.push(DnType::CommonName, common_name);
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok((cert.pem(), key.serialize_pem()))
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem` into `folder`, the server's for loopback and `names`.
    ///
    /// # Errors
    /// When a name is none or a file cannot be written.
    pub fn write_into(&self, folder: &Path, names: &[&str]) -> Result<CertFiles, CertError> {
        let names: Vec<&str> = LOOPBACK_NAMES.iter().chain(names).copied().collect();
        self.write(folder, "", &self.issue(&names)?)
    }

    /// Writes `ca.pem`, `NAME-cert.pem` and `NAME-key.pem` of a client into `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_client_into(
        &self,
        folder: &Path,
        common_name: &str,
    ) -> Result<CertFiles, CertError> {
        self.write(folder, &format!("{common_name}-"), &self.issue_client(common_name)?)
    }

    fn write(
        &self,
        folder: &Path,
        prefix: &str,
        (cert, key): &(String, String),
    ) -> Result<CertFiles, CertError> {
        let file = |name: String, text: &str| {
            let path = folder.join(name);
            write_private(&path, text)
                .map_err(|source| CertError::Write { path: path.clone(), source })?;
            Ok::<_, CertError>(path)
        };
        Ok(CertFiles {
            ca: file("ca.pem".to_owned(), &self.pem)?,
            cert: file(format!("{prefix}cert.pem"), cert)?,
            key: file(format!("{prefix}key.pem"), key)?,
        })
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use io::Write;
    let mut options = fs::File::options();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

/// A new authority and one server certificate from it, written into `folder`; the server's is for loopback and `names`.
///
/// # Errors
/// As [`Authority::write_into`].
pub fn write_into(folder: &Path, names: &[&str], kind: KeyKind) -> Result<CertFiles, CertError> {
    Authority::new(kind)?.write_into(folder, names)
}
