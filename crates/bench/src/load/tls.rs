//! TLS as an ordinary client speaks it, without resumption and without looking at the certificate.
//! Nothing here is fit for a connection that leaves the machine.

use std::sync::Arc;

use anyhow::Result;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Which key exchanges the client offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KeyExchange {
    /// X25519 and P-256, which every peer has: all do the same work.
    #[default]
    Classic,
    /// X25519MLKEM768 first, as newer clients do; who does not know it falls back to X25519.
    PostQuantum,
}

/// Settings of a TLS 1.3 client that makes a full handshake each time.
///
/// # Errors
/// When the crypto provider lacks what TLS 1.3 needs.
pub(crate) fn client_config(exchange: KeyExchange) -> Result<Arc<ClientConfig>> {
    let mut provider = default_provider();
    provider.kx_groups = match exchange {
        KeyExchange::Classic => vec![kx_group::X25519, kx_group::SECP256R1],
        KeyExchange::PostQuantum => {
            vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1]
        }
    };
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnybody { schemes }))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes any certificate: the peers' are self-signed, and the client's work is not measured.
#[derive(Debug)]
struct TrustAnybody {
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
