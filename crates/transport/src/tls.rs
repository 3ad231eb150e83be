//! TLS by rustls: certificates by SNI that follow their files, verification of back ends, resumption.
//! Towards back ends that know only old TLS, by OpenSSL, where that is built in.

pub(crate) mod asked;
mod client;
mod clients;
pub(crate) mod engine;
mod files;
mod hints;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod own;
mod resume;
mod server;
pub(crate) mod session;

pub use client::{ClientTls, ClientTlsError, LEGACY, Verify};
pub use clients::{ClientCertificates, NamesNobody, UserField};
pub use files::{CertificateFiles, TlsFileError, make_self_signed};
pub use hints::certificate_refused;
pub use server::{Accepted, ServerSettings, ServerTls};

/// Whether a handshake failed because the client asked by ALPN for another protocol (RFC 7301; ALPACA).
pub fn is_alpn_mismatch(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::NoApplicationProtocol))
}

/// Whether a handshake failed because of the client's certificate, or because it has shown none.
pub fn is_client_certificate(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}
