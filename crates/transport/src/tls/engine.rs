//! One TLS connection, by whichever library speaks it, without IO.

use std::{io, sync::Arc};

use rustls::{
    ProtocolVersion, ServerConfig,
    pki_types::{CertificateDer, ServerName},
};

#[cfg(feature = "legacy-tls")]
use super::legacy;
use super::{
    client::{ClientTls, Library},
    session::{Progress, Session},
};
use crate::scratch::Outgoing;

/// One TLS connection.
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub(crate) enum Engine {
    /// Towards a back end that speaks nothing newer.
    #[cfg(feature = "legacy-tls")]
    Legacy(legacy::Session),
    Rustls(Session),
}

/// The same expression on whichever library it is, its error as one of the kernel's.
macro_rules! by_library {
    ($engine:expr, $session:ident => $work:expr) => {
        match $engine {
            #[cfg(feature = "legacy-tls")]
            Self::Legacy($session) => $work.map_err(io::Error::other),
            Self::Rustls($session) => $work.map_err(io::Error::other),
        }
    };
}

impl Engine {
    /// The server's side of a new connection.
    pub(crate) fn server(config: Arc<ServerConfig>) -> io::Result<Self> {
        Session::server(config).map(Self::Rustls).map_err(io::Error::other)
    }

    /// The client's side of a new connection.
    pub(crate) fn client(tls: &ClientTls, name: ServerName<'static>) -> io::Result<Self> {
        match &tls.library {
            #[cfg(feature = "legacy-tls")]
            Library::Legacy(context) => {
                context.session(&name).map(Self::Legacy).map_err(io::Error::other)
            }
            Library::Rustls(config, _) => {
                let session = Session::client(Arc::clone(config), name);
                session.map(Self::Rustls).map_err(io::Error::other)
            }
        }
    }

    /// The version agreed on, as it stands in the log.
    pub(crate) fn version(&self) -> &'static str {
        match self {
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(session) => session.version(),
            Self::Rustls(session) => match session.version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                Some(ProtocolVersion::TLSv1_2) => "1.2",
                _ => "unknown",
            },
        }
    }

    /// The peer's certificates, after the handshake; not told of old servers.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(_) => None,
            Self::Rustls(session) => session.peer_certificates(),
        }
    }

    /// How many bytes are kept: the next ones are read to the buffer behind that many.
    pub(crate) fn kept(&self) -> usize {
        match self {
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(_) => 0,
            Self::Rustls(session) => session.kept(),
        }
    }

    /// Whether it owns no buffer of ours.
    #[cfg(test)]
    pub(crate) fn holds_nothing(&self) -> bool {
        match self {
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(session) => session.holds_nothing(),
            Self::Rustls(session) => session.kept_capacity() == 0,
        }
    }

    /// Whether the peer has said close_notify.
    pub(crate) fn peer_closed(&self) -> bool {
        match self {
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(session) => session.peer_closed(),
            Self::Rustls(session) => session.peer_closed(),
        }
    }

    /// Takes the `count` bytes that were read to `buffer` behind [`Self::kept`] ones: plain bytes go to
    /// `plain`, what TLS itself has to say to `outgoing`, the alert of an error included.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        count: usize,
        plain: &mut Vec<u8>,
        outgoing: &mut Outgoing,
    ) -> io::Result<Progress> {
        by_library!(self, session => session.receive(buffer, count, plain, outgoing))
    }

    /// Fails once the connection has failed.
    pub(crate) fn check(&self) -> io::Result<()> {
        by_library!(self, session => session.check())
    }

    /// Encrypts `plain` to the end of `outgoing`.
    pub(crate) fn encrypt(&mut self, plain: &[u8], outgoing: &mut Outgoing) -> io::Result<()> {
        by_library!(self, session => session.encrypt(plain, outgoing))
    }

    /// Adds close_notify to the end of `outgoing`; nothing where the connection is not open.
    pub(crate) fn close(&mut self, outgoing: &mut Outgoing) {
        match self {
            #[cfg(feature = "legacy-tls")]
            Self::Legacy(session) => session.close(outgoing),
            Self::Rustls(session) => session.close(outgoing),
        }
    }
}
