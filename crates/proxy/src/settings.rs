//! What is set for listeners and sessions.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use model::Protocol;
use transport::tls::ServerTls;

/// The settings of this room.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients come in.
    pub listeners: Vec<ListenerSettings>,
    /// What a client may take.
    pub limits: Limits,
}

/// Where clients come in.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Its name, in logs.
    pub name: Arc<str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Its addresses.
    pub addresses: Vec<SocketAddr>,
    /// How connections are made private.
    pub tls: ListenerTls,
    /// Whether passwords may come in clear text.
    pub allow_clear_logins: bool,
    /// What is offered before login in place of what the back ends have in common.
    pub capabilities: Option<Arc<[String]>>,
}

/// How the connections of a listener are made private.
#[derive(Clone, Debug)]
pub enum ListenerTls {
    /// TLS from the first byte.
    Implicit(Arc<ServerTls>),
    /// Not at all.
    None,
    /// By STARTTLS or STLS.
    StartTls(Arc<ServerTls>),
}

impl ListenerTls {
    /// The certificates, if there are any.
    pub fn server(&self) -> Option<&Arc<ServerTls>> {
        match self {
            Self::Implicit(server) | Self::StartTls(server) => Some(server),
            Self::None => None,
        }
    }
}

/// What a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all, before login and after. The default follows from RLIMIT_NOFILE: a session
    /// takes two descriptors.
    pub connections: usize,
    /// Connections from one address (an IPv6 client counts by its /64); 0 is no limit.
    /// 100: an office behind one address, with several connections per mail program.
    pub connections_per_address: usize,
    /// What the client may take before login, in all, of waiting for it. 60 s: a person types a password in a
    /// terminal.
    pub client_wait: Duration,
    /// Silence after login, in both directions, that ends a session. 35 minutes: RFC 9051 section 5.4 lets
    /// clients rely on 30.
    pub idle: Duration,
}

impl Limits {
    /// The limits where only the number of connections is known.
    pub fn with_connections(connections: usize) -> Self {
        Self {
            connections,
            connections_per_address: 100,
            client_wait: Duration::from_secs(60),
            idle: Duration::from_secs(35 * 60),
        }
    }
}
