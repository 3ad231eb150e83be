//! What is known of each back end, for the operator.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use model::{BackendName, Host, Protocol, Reason};
use parking_lot::Mutex;
use serde::Serialize;
use transport::PortsUsed;

use crate::{Backend, capabilities::Capabilities};

/// Counts since the start.
#[derive(Default)]
pub(crate) struct Counters {
    logins: AtomicU64,
    failures: AtomicU64,
    last_failure: Mutex<Option<LastFailure>>,
}

impl Counters {
    pub(crate) fn logged_in(&self) {
        self.logins.fetch_add(1, Ordering::Relaxed);
    }

    /// The last login that failed through its fault.
    pub(crate) fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure.lock().clone()
    }

    /// Counts a login that was turned away before the back end was asked: what came before tells why.
    pub(crate) fn turned_away(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a login that failed through the back end's fault.
    pub(crate) fn failed(&self, reason: Reason, detail: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        *self.last_failure.lock() =
            Some(LastFailure { at: seconds, reason, detail: detail.into() });
    }
}

/// The last login that failed through the back end's fault.
#[derive(Clone, Debug, Serialize)]
pub struct LastFailure {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Why.
    pub reason: Reason,
    /// What was seen.
    pub detail: String,
}

/// How many local ports are in use between one local address and the back end. There are no more
/// connections than ports.
#[derive(Clone, Debug, Serialize)]
pub struct LocalPorts {
    /// The local address; none where the kernel picks it.
    pub source: Option<IpAddr>,
    /// The back end's address.
    pub destination: SocketAddr,
    /// Those in use.
    pub used: usize,
    /// Those that there are.
    pub usable: usize,
    /// The share in use, in percent.
    pub percent: usize,
    /// Whether so many are in use that more source addresses are needed.
    pub alarm: bool,
}

impl From<PortsUsed> for LocalPorts {
    fn from(ports: PortsUsed) -> Self {
        let PortsUsed { source, destination, open, usable } = ports;
        let (percent, alarm) = (ports.percent(), ports.is_alarming());
        Self { source, destination, used: open, usable, percent, alarm }
    }
}

/// The state of a back end.
#[derive(Clone, Debug, Serialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: BackendName,
    /// Its addresses as configured.
    pub hosts: Vec<Host>,
    /// Its IMAP port.
    pub imap_port: u16,
    /// Its POP3 port.
    pub pop3_port: u16,
    /// How it is told there who the client is: `none`, `native`, `proxy-v1`, `proxy-v2`.
    pub imap_identity: &'static str,
    /// The same at its POP3 port.
    pub pop3_identity: &'static str,
    /// How the connection to it is made private: `none`, `starttls`, `implicit`; behind the latter two
    /// ` (legacy)` where old TLS is spoken.
    pub tls: &'static str,
    /// As whom we log in there: `forward`, `master`.
    pub login: &'static str,
    /// The local addresses from which it is connected to; none where the kernel picks one.
    pub source_addresses: Vec<IpAddr>,
    /// The local ports of the pair of addresses that has the most connections; none before the first.
    pub local_ports: Option<LocalPorts>,
    /// How it is: `up`, `down`, or `returning`, when it gets its logins step by step; by protocol where that
    /// differs, as in `imap up, pop3 down`.
    pub health: String,
    /// Logins that it accepted since the start.
    pub logins: u64,
    /// Logins that failed through its fault since the start.
    pub failures: u64,
    /// Logins under way there now.
    pub logins_under_way: usize,
    /// How many there may be.
    pub logins_at_once: usize,
    /// The last of the failures that it was asked in.
    pub last_failure: Option<LastFailure>,
    /// Its IMAP capabilities before login, as last heard.
    pub imap_capabilities: Option<Vec<String>>,
    /// Its POP3 capabilities before login, as last heard.
    pub pop3_capabilities: Option<Vec<String>>,
}

fn health(backend: &Backend) -> String {
    let word = |protocol| backend.health.of(protocol).word(Instant::now());
    let (imap, pop3) = (word(Protocol::Imap), word(Protocol::Pop3));
    if imap == pop3 { imap.to_owned() } else { format!("imap {imap}, pop3 {pop3}") }
}

pub(crate) fn of(backend: &Backend, capabilities: &Capabilities) -> BackendStatus {
    let settings = &backend.settings;
    BackendStatus {
        name: settings.name.clone(),
        hosts: settings.hosts.clone(),
        imap_port: settings.ports.imap,
        pop3_port: settings.ports.pop3,
        imap_identity: settings.identity.imap.word(),
        pop3_identity: settings.identity.pop3.word(),
        tls: settings.tls_word(),
        login: settings.login.word(),
        source_addresses: settings.source_addresses.clone(),
        local_ports: backend.sources.fullest().map(LocalPorts::from),
        health: health(backend),
        logins: backend.counters.logins.load(Ordering::Relaxed),
        failures: backend.counters.failures.load(Ordering::Relaxed),
        logins_under_way: backend.flights.of_the_busiest(),
        logins_at_once: backend.flights.most(),
        last_failure: backend.counters.last_failure(),
        imap_capabilities: capabilities.of(&settings.name, Protocol::Imap),
        pop3_capabilities: capabilities.of(&settings.name, Protocol::Pop3),
    }
}
