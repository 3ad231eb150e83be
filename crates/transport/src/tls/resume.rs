//! TLS sessions with a back end that are resumed, and those that must not be.
//!
//! OpenSSL ends a handshake in which a session is resumed, wherever a server asks for certificates and has
//! not told the library which sessions are its own (`SSL_CTX_set_session_id_context`), as Dovecot 2.3 has
//! not. Nothing here reads a file.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustls::{
    NamedGroup, SignatureScheme,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
    },
    pki_types::ServerName,
    sign::CertifiedKey,
};

use super::own::OwnCertificate;

/// TLS sessions remembered for resumption with one back end.
const SESSIONS: usize = 1024;

/// The sessions with one back end: remembered until it asks for a certificate, and never again then.
#[derive(Debug)]
pub(super) struct Sessions {
    cache: ClientSessionMemoryCache,
    asked: AtomicBool,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { cache: ClientSessionMemoryCache::new(SESSIONS), asked: AtomicBool::new(false) }
    }

    fn may_be_resumed(&self) -> bool {
        !self.asked.load(Ordering::Relaxed)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.cache.set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.cache.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        if self.may_be_resumed() {
            self.cache.set_tls12_session(name, session);
        }
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.cache.tls12_session(name).filter(|_| self.may_be_resumed())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.cache.remove_tls12_session(name);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if self.may_be_resumed() {
            self.cache.insert_tls13_ticket(name, ticket);
        }
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.cache.take_tls13_ticket(name).filter(|_| self.may_be_resumed())
    }
}

/// Hears a back end ask for a certificate, and shows our own where there is one.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) sessions: Arc<Sessions>,
    pub(super) own: Option<Arc<OwnCertificate<CertifiedKey>>>,
}

impl ResolvesClientCert for Asked {
    /// Shown whatever authorities the back end names: whether it believes us is its own to say.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.sessions.asked.store(true, Ordering::Relaxed);
        self.own.as_ref().map(|own| own.pair())
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}
