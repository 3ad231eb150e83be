//! TLS towards back ends: whom we believe.

use std::{path::PathBuf, sync::Arc};

use aws_lc_rs::digest;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

/// TLS sessions remembered for resumption, over all back ends.
const SESSIONS: usize = 1024;

/// How a back end's certificate is judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verify {
    /// Any certificate. Only where the network is trusted; said in the configuration.
    Nothing,
    /// The certificate itself, by the SHA-256 of its DER form: one of these.
    Pins(Vec<[u8; 32]>),
    /// A chain to a root and the right name. The roots are those in the file, or the system's.
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

/// The roots to judge by cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read or holds no certificate.
    #[error("{}: {problem}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system has no roots.
    #[error(
        "no root certificates were found on this system: install ca-certificates or set ca_file"
    )]
    NoSystemRoots,
    /// The TLS library refuses them.
    #[error("the root certificates cannot be used: {0}")]
    Unusable(String),
}

/// The TLS settings towards one back end. Sessions are remembered and resumed.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// Prepares TLS towards a back end.
    ///
    /// # Errors
    /// [`RootsError`] if the roots cannot be had.
    pub fn new(verify: &Verify) -> Result<Self, RootsError> {
        let provider = Arc::new(default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match verify {
            Verify::Nothing => Arc::new(Pinned { pins: None, provider: Arc::clone(&provider) }),
            Verify::Pins(pins) => {
                Arc::new(Pinned { pins: Some(pins.clone()), provider: Arc::clone(&provider) })
            }
            Verify::Roots { file } => {
                let roots = Arc::new(file.as_ref().map_or_else(system_roots, file_roots)?);
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(|error| RootsError::Unusable(error.to_string()))?
            }
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| RootsError::Unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self(Arc::new(config)))
    }

    /// The library's settings.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn system_roots() -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    // Single unreadable files are common on real systems and no reason to trust fewer of the rest.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(RootsError::NoSystemRoots) } else { Ok(roots) }
}

fn file_roots(file: &PathBuf) -> Result<RootCertStore, RootsError> {
    let failed = |problem: String| RootsError::File { file: file.clone(), problem };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it holds no PEM certificate".into())) } else { Ok(roots) }
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
