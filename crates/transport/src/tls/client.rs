//! TLS towards back ends: whom we believe.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        ClientSessionStore, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    sign::CertifiedKey,
};

use super::{
    files::{CertificateFiles, TlsFileError, read_certificates, read_key_pair},
    hints,
    own::OwnCertificate,
    resume::{Asked, Sessions},
};

/// Whether back ends can be spoken to in TLS 1.0 and 1.1: the feature `legacy-tls` was built in.
pub const LEGACY: bool = cfg!(feature = "legacy-tls");

/// How a back end's certificate is judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verify {
    /// Any certificate. Only where the network is trusted; said in the configuration.
    Nothing,
    /// The certificate itself, by the SHA-256 of its DER form: one of these.
    Pins(Vec<[u8; 32]>),
    /// A chain to a root and the right name. The roots are those in the file, or the system's. A
    /// certificate that itself stands in the file needs no chain: the right name is enough.
    Roots {
        /// PEM file with one or more certificates.
        file: Option<PathBuf>,
    },
}

impl Default for Verify {
    fn default() -> Self {
        Self::Roots { file: None }
    }
}

/// TLS towards a back end cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// A file cannot be used: that of the roots, our own certificate or its key.
    #[error(transparent)]
    File(#[from] TlsFileError),
    /// The feature `legacy-tls` was not built in.
    #[error(
        "this program was built without old TLS: build it with `cargo build --release -p posthouse \
         --features legacy-tls`"
    )]
    NoLegacy,
    /// The system has no roots.
    #[error(
        "no root certificates were found on this system: install ca-certificates or set ca_file"
    )]
    NoSystemRoots,
    /// The TLS library refuses them.
    #[error("the root certificates cannot be used: {0}")]
    Unusable(String),
}

/// The TLS settings towards one back end.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub(super) library: Library,
}

/// Who speaks TLS, by which settings.
#[derive(Clone, Debug)]
pub(super) enum Library {
    #[cfg(feature = "legacy-tls")]
    Legacy(super::legacy::Context),
    Rustls(Arc<ClientConfig>, Option<Arc<OwnCertificate<CertifiedKey>>>),
}

impl ClientTls {
    /// Prepares TLS 1.0 to 1.2 towards a back end that speaks nothing newer, whose keys and ciphers are
    /// as old. Its certificate is judged as any other's. Every connection shakes hands in full. Where it
    /// asks for a certificate, it is shown ours, if there is one.
    ///
    /// # Errors
    /// [`ClientTlsError`] if the roots, or our own certificate, cannot be had.
    #[cfg(feature = "legacy-tls")]
    pub fn legacy(verify: &Verify, own: Option<&CertificateFiles>) -> Result<Self, ClientTlsError> {
        Ok(Self { library: Library::Legacy(super::legacy::Context::new(verify, own)?) })
    }

    /// Refuses to prepare TLS 1.0 to 1.2, which was not built in.
    ///
    /// # Errors
    /// [`ClientTlsError::NoLegacy`], always.
    #[cfg(not(feature = "legacy-tls"))]
    pub fn legacy(_: &Verify, _: Option<&CertificateFiles>) -> Result<Self, ClientTlsError> {
        Err(ClientTlsError::NoLegacy)
    }

    /// Prepares TLS 1.2 and 1.3 towards a back end. Sessions are remembered and resumed, until it asks for
    /// a certificate.
    ///
    /// # Errors
    /// [`ClientTlsError`] if the roots cannot be had.
    pub fn new(verify: &Verify) -> Result<Self, ClientTlsError> {
        Ok(Self { library: Library::Rustls(Arc::new(config(verify, None)?), None) })
    }

    /// The same, with a certificate of our own for a back end that asks for one.
    ///
    /// # Errors
    /// [`ClientTlsError`] if the roots, or our own certificate, cannot be had.
    pub fn with_certificate(
        verify: &Verify,
        files: &CertificateFiles,
    ) -> Result<Self, ClientTlsError> {
        let own = Arc::new(OwnCertificate::load(files, read_key_pair)?);
        let config = config(verify, Some(Arc::clone(&own)))?;
        Ok(Self { library: Library::Rustls(Arc::new(config), Some(own)) })
    }

    /// Follows the files of our own certificate for ever; done at once where there is none.
    pub async fn follow_files(self) {
        match self.library {
            #[cfg(feature = "legacy-tls")]
            Library::Legacy(context) => context.follow_files().await,
            Library::Rustls(_, Some(own)) => own.follow_files().await,
            Library::Rustls(_, None) => {}
        }
    }

    /// What an operator can do about a handshake that failed with these settings; nothing where the error
    /// says it all.
    pub fn hint(&self, error: &io::Error) -> Option<&'static str> {
        match &self.library {
            #[cfg(feature = "legacy-tls")]
            Library::Legacy(_) => error.get_ref()?.downcast_ref::<super::legacy::Failure>()?.hint(),
            Library::Rustls(..) => hints::of_failed(error),
        }
    }
}

pub(super) fn config(
    verify: &Verify,
    own: Option<Arc<OwnCertificate<CertifiedKey>>>,
) -> Result<ClientConfig, ClientTlsError> {
    let provider = Arc::new(default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match verify {
        Verify::Nothing => Arc::new(Pinned { pins: None, provider: Arc::clone(&provider) }),
        Verify::Pins(pins) => {
            Arc::new(Pinned { pins: Some(pins.clone()), provider: Arc::clone(&provider) })
        }
        Verify::Roots { file: None } => by_chain(system_roots()?, &provider)?,
        Verify::Roots { file: Some(file) } => {
            let listed = read_certificates(file)?;
            let chain = by_chain(file_roots(file, &listed)?, &provider)?;
            Arc::new(Listed { listed, chain })
        }
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientTlsError::Unusable(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let sessions = Arc::new(Sessions::new());
    config.resumption = Resumption::store(Arc::clone(&sessions) as Arc<dyn ClientSessionStore>);
    config.client_auth_cert_resolver = Arc::new(Asked { sessions, own });
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    // Single unreadable files are common on real systems and no reason to trust fewer of the rest.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(ClientTlsError::NoSystemRoots) } else { Ok(roots) }
}

fn by_chain(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, ClientTlsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| ClientTlsError::Unusable(error.to_string()))
}

fn file_roots(
    file: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| TlsFileError::new(file, error))?;
    }
    Ok(roots)
}

/// Believes what a chain to the roots of a file proves, and a certificate that stands in that file by
/// itself. The latter is what a server signed by itself shows: as a root it may sign others, and by
/// the rules for chains (RFC 5280) it is no end entity then.
#[derive(Debug)]
struct Listed {
    listed: Vec<CertificateDer<'static>>,
    chain: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Listed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let proved = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        // Dates are looked at before chains and uses: with these errors they are in order.
        let unproved = matches!(
            proved,
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer
                    | CertificateError::BadSignature
                    | CertificateError::Other(_)
            ))
        );
        if unproved && self.listed.iter().any(|listed| listed == end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        proved
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Believes certificates by their digest, or (without pins) all; the handshake's signature is checked
/// in either case.
#[derive(Debug)]
struct Pinned {
    pins: Option<Vec<[u8; 32]>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(pins) = &self.pins else { return Ok(ServerCertVerified::assertion()) };
        let seen = digest::digest(&digest::SHA256, end_entity);
        if pins.iter().any(|pin| pin.as_slice() == seen.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        let hex: String = seen.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Err(Error::General(format!("the certificate is not the pinned one; its SHA-256 is {hex}")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate for `mail.test`, signed by itself, as `openssl req -x509` makes one: it says of
    /// itself that it is an authority.
    fn own_authority(until: i32) -> rcgen::Certificate {
        let mut params = CertificateParams::new(vec!["mail.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(until, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    /// Judges a certificate for a name by a `ca_file` that holds `listed`.
    fn judge(listed: &str, shown: &CertificateDer<'_>, name: &'static str) -> Result<(), Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, listed).unwrap();
        let listed = read_certificates(&file).unwrap();
        let roots = file_roots(&file, &listed).unwrap();
        let chain = by_chain(roots, &Arc::new(default_provider())).unwrap();
        let name = ServerName::try_from(name).unwrap();
        // 2025-06-01
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_748_736_000));
        Listed { listed, chain }.verify_server_cert(shown, &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn a_certificate_that_stands_in_the_ca_file_itself_is_believed_for_its_name() {
        let own = own_authority(2099);
        judge(&own.pem(), own.der(), "mail.test").unwrap();
        let wrong = judge(&own.pem(), own.der(), "other.test").unwrap_err();
        assert!(wrong.to_string().contains("name"), "{wrong}");
        // Another one of the same names and uses is not it.
        judge(&own_authority(2099).pem(), own.der(), "mail.test").unwrap_err();
    }

    #[test]
    fn what_stands_in_the_ca_file_and_is_out_of_date_is_not_believed() {
        let old = own_authority(2000);
        let wrong = judge(&old.pem(), old.der(), "mail.test").unwrap_err();
        assert!(wrong.to_string().contains("expired"), "{wrong}");
    }

    #[test]
    fn a_certificate_in_the_ca_file_goes_without_its_authority_and_an_authority_goes_as_ever() {
        let key = KeyPair::generate().unwrap();
        let authority = own_authority(2099);
        let issuer_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&issuer_key).unwrap();
        let issuer = Issuer::new(params, issuer_key);
        let params = CertificateParams::new(vec!["mail.test".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        judge(&leaf.pem(), leaf.der(), "mail.test").unwrap();
        judge(&root.pem(), leaf.der(), "mail.test").unwrap();
        judge(&authority.pem(), leaf.der(), "mail.test").unwrap_err();
    }
}
