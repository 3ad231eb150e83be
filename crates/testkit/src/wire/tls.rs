//! TLS for [`Wire`], in both roles; bytes already read in clear are given to the handshake.
//! Nothing here reads a certificate from the host.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
};

use super::{Stream, Wire};

/// Whom a client believes.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Any certificate at all.
    Anything,
    /// Those issued by the authority in this PEM file.
    Ca(PathBuf),
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing or none.
    #[error("cannot use {path}: {source}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// rustls refuses the settings.
    #[error("TLS settings: {0}")]
    Settings(#[from] rustls::Error),
    /// The peer's name is none.
    #[error("{0:?} is no server name")]
    Name(String),
    /// The handshake failed.
    #[error("TLS handshake: {0}")]
    Handshake(#[from] io::Error),
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Handshake(source) => source,
            other => Self::other(other),
        }
    }
}

impl Trust {
    /// The settings of a client that believes so; one shared value per kind, so that sessions resume.
    ///
    /// # Errors
    /// When the file of the authority cannot be used.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        match self {
            Self::Anything => {
                static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
                    let builder = ClientConfig::builder().dangerous();
                    let verifier = Arc::new(Believer);
                    Arc::new(
                        builder.with_custom_certificate_verifier(verifier).with_no_client_auth(),
                    )
                });
                Ok(Arc::clone(&CONFIG))
            }
            Self::Ca(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate)?;
                }
                let builder = ClientConfig::builder().with_root_certificates(roots);
                Ok(Arc::new(builder.with_no_client_auth()))
            }
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TlsError::Pem { path: path.to_path_buf(), source })
}

/// The settings of a server with the certificate and key in these PEM files.
///
/// # Errors
/// When they cannot be used.
pub fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|source| TlsError::Pem { path: key.to_path_buf(), source })?;
    let builder = ServerConfig::builder().with_no_client_auth();
    Ok(Arc::new(builder.with_single_cert(chain, key)?))
}

impl Wire {
    /// Goes on under TLS as the client of a server called `name`.
    ///
    /// # Errors
    /// When the handshake fails, times out, or the server is not believed.
    pub fn into_tls_client(self, name: &str, trust: &Trust) -> Result<Self, TlsError> {
        self.into_tls_client_with(name, trust.client_config()?)
    }

    /// As [`Wire::into_tls_client`], with settings made by the caller.
    ///
    /// # Errors
    /// As [`Wire::into_tls_client`].
    pub fn into_tls_client_with(
        self,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> Result<Self, TlsError> {
        let deadline = self.deadline;
        let server =
            ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        let connection = ClientConnection::new(config, server)?;
        let mut tls = StreamOwned::new(connection, self.into_socket()?);
        tls.sock.tcp.set_read_timeout(Some(deadline))?;
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Self::under_tls(Stream::Client(Box::new(tls)), deadline))
    }

    /// Goes on under TLS as the server.
    ///
    /// # Errors
    /// When the handshake fails or times out.
    pub fn into_tls_server(self, config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let deadline = self.deadline;
        let connection = ServerConnection::new(config)?;
        let mut tls = StreamOwned::new(connection, self.into_socket()?);
        tls.sock.tcp.set_read_timeout(Some(deadline))?;
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(Self::under_tls(Stream::Server(Box::new(tls)), deadline))
    }

    fn under_tls(stream: Stream, deadline: Duration) -> Self {
        Self { stream, buffer: Vec::new(), deadline }
    }
}

/// Believes every certificate, and still checks that the peer has its key.
#[derive(Debug)]
struct Believer;

fn provider() -> &'static CryptoProvider {
    static PROVIDER: LazyLock<CryptoProvider> =
        LazyLock::new(rustls::crypto::aws_lc_rs::default_provider);
    &PROVIDER
}

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
