//! What is set for listeners and sessions.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use model::{Mechanisms, Protocol};
use proto::front;
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
    /// The ways to log in that are offered.
    pub mechanisms: Mechanisms,
    /// Whether the back end's own words, and its ALERTs, reach the client with a refusal. Off: a foreign
    /// server's words may tell which users exist.
    pub relay_text: bool,
    /// Whether the relay follows the protocol, so that a client hears a goodbye between two responses when
    /// its session is ended. Off: the blind relay costs less.
    pub clean_bye: bool,
    /// Whether what a client says of its own program (IMAP `ID`) goes on to the back end, behind ours.
    pub forward_client_id: bool,
    /// Connections of this listener, before login and after; 0 is no limit of its own.
    pub connections: usize,
    /// The networks whose proxies speak here with a PROXY header before all else. With any, nobody else
    /// may come in: whether there is a header is never guessed.
    pub proxy_networks: Vec<IpNet>,
    /// The networks whose word (IMAP `ID`, POP3 XCLIENT) we take for who the client is.
    pub trusted_networks: Vec<IpNet>,
}

impl ListenerSettings {
    /// Whether clients come behind a PROXY header.
    pub(crate) fn is_behind_proxy(&self) -> bool {
        !self.proxy_networks.is_empty()
    }
}

/// Whether an address lies in one of the networks.
pub(crate) fn within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
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
    /// Sessions of one user; 0 is no limit. 0: many back ends have one of their own, and a family shares
    /// a mailbox from many devices.
    pub sessions_per_user: usize,
    /// Logins per second from one address beyond a burst of 20 seconds' worth; what comes earlier waits, longer
    /// each time, up to [`Self::longest_wait`]; 0 is no limit. 50: a webmail server logs in anew for
    /// each page.
    pub logins_per_address: u32,
    /// The same for one user from one address; ten times as many failures of one user from everywhere delay
    /// him and never refuse him. 10: many devices that wake at once; programs that "warm up" mailboxes come
    /// by the hundred.
    pub logins_per_user: u32,
    /// The longest wait of a login that comes too early; one that would have to wait longer is refused. 10 s:
    /// most programs give up after 30.
    pub longest_wait: Duration,
    /// How long after its beginning a refused login is answered, beside a length drawn from recent refusals,
    /// so that an unknown name and a wrong password look alike. 2 s, as Dovecot.
    pub failure_delay: Duration,
    /// What the client may take before login, in all, of waiting for it. 60 s: a person types a password in a
    /// terminal.
    pub client_wait: Duration,
    /// What the client may say before login.
    pub before_login: front::Limits,
    /// What a proxy may take for its header, within [`Self::client_wait`]. 5 s: the specification asks for 3 at
    /// least, so that one lost packet may be sent again.
    pub proxy_header_wait: Duration,
    /// TLS handshakes in flight at one listener; 0 is no limit. In a full house the address with the most loses one to
    /// a newcomer. 1,000: a handshake takes some 50 kB and a millisecond of a processor.
    pub handshakes: usize,
    /// TLS handshakes in flight from one address; 0 is no limit. 50: with the 100 ms that a handshake takes
    /// over a distance these are 500 new connections per second.
    pub handshakes_per_address: usize,
    /// What a TLS handshake may take, within [`Self::client_wait`]. 10 s: no person takes part in it.
    pub handshake_wait: Duration,
    /// Silence after login, in both directions, that ends a session. 35 minutes: RFC 9051 section 5.4 lets
    /// clients rely on 30.
    pub idle: Duration,
    /// The time over which the clients of a back end that dies are told so, where they are many; none tells
    /// all at once. 30 s: programs come back at once, and a back end that starts again must bear it.
    pub disconnect_spread: Duration,
}

impl Limits {
    /// The limits where only the number of connections is known.
    pub fn with_connections(connections: usize) -> Self {
        Self {
            connections,
            connections_per_address: 100,
            sessions_per_user: 0,
            logins_per_address: 50,
            logins_per_user: 10,
            longest_wait: Duration::from_secs(10),
            failure_delay: Duration::from_secs(2),
            client_wait: Duration::from_secs(60),
            before_login: front::Limits::default(),
            proxy_header_wait: Duration::from_secs(5),
            handshakes: 1000,
            handshakes_per_address: 50,
            handshake_wait: Duration::from_secs(10),
            idle: Duration::from_secs(35 * 60),
            disconnect_spread: Duration::from_secs(30),
        }
    }
}
