//! TLS by rustls: certificates by SNI that follow their files, verification of back ends, resumption.
//! Towards back ends that know only old TLS, by OpenSSL, where that is built in.

mod client;
pub(crate) mod engine;
mod hints;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod server;
pub(crate) mod session;

pub use client::{ClientTls, LEGACY, RootsError, Verify};
pub use server::{CertificateFiles, ServerSettings, ServerTls, TlsFileError, make_self_signed};

/// Whether a handshake failed because the client asked by ALPN for another protocol (RFC 7301; ALPACA).
pub fn is_alpn_mismatch(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::NoApplicationProtocol))
}
