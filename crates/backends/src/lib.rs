//! How a back end is reached: its addresses, TLS, our login there, and what it can do.
//!
//! Nothing here knows a client's connection or words an answer to one.

mod capabilities;
mod direct;
mod enter;
mod flights;
mod health;
mod identity;
mod look;
mod names;
mod secrets;
mod settings;
mod status;
mod stores;
mod watch;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use model::{BackendName, Host, Protocol, Target};
use transport::{
    Sources,
    tls::{ClientTls, ClientTlsError},
};

pub use direct::Directions;
pub use enter::{Entered, Failure};
pub use health::HealthSettings;
pub use identity::Client;
pub use look::Seen;
pub use settings::{
    BackendSettings, Deadlines, Identities, IdentityMode, LoginMode, Ports, Settings, StartError,
    TestUser, Tls, Trusted,
};
pub use status::{BackendStatus, LastFailure, LocalPorts};
pub use stores::Lease;

use crate::{
    capabilities::Capabilities,
    flights::Flights,
    health::{Healths, RetryBudget, Turn},
    names::Names,
    status::Counters,
    stores::Stores,
};

/// All back ends.
pub struct Backends {
    table: HashMap<BackendName, Arc<Backend>>,
    names: Names,
    capabilities: Capabilities,
    deadlines: Deadlines,
    own: Vec<SocketAddr>,
    retries: RetryBudget,
    stores: Stores,
    look_every: Duration,
    /// The protocols that clients may come by.
    served: OnceLock<Vec<Protocol>>,
}

/// One back end.
struct Backend {
    settings: BackendSettings,
    /// There unless the mode is [`Tls::None`].
    tls: Option<ClientTls>,
    sources: Sources,
    counters: Counters,
    flights: Flights,
    health: Healths,
    /// What leads here.
    itself: Target,
}

impl Backends {
    /// Prepares all back ends and reads what was known of them. Nobody is spoken to yet.
    ///
    /// # Errors
    /// [`StartError`] if the roots to judge a back end's certificate by, or our own certificate, cannot be had.
    pub fn prepare(settings: Settings) -> Result<Arc<Self>, StartError> {
        let mut table = HashMap::new();
        let ports = transport::usable_ports();
        let logins_at_once = settings.logins_at_once;
        let health_settings = settings.health;
        let look_every = health_settings.look_every;
        for settings in settings.backends {
            let backend = settings.name.clone();
            let tls = match settings.tls {
                Tls::None => None,
                Tls::Implicit | Tls::StartTls => Some(
                    client_tls(&settings)
                        .map_err(|problem| StartError { backend: backend.clone(), problem })?,
                ),
            };
            let sources = Sources::new(settings.source_addresses.clone(), ports);
            let counters = Counters::default();
            let flights = Flights::new(settings.logins_at_once.unwrap_or(logins_at_once));
            let health = Healths::new(&health_settings);
            let itself = Target::backend(backend.clone());
            let prepared = Backend { settings, tls, sources, counters, flights, health, itself };
            table.insert(backend, Arc::new(prepared));
        }
        let capabilities = Capabilities::read(&settings.state, &table);
        let (deadlines, own) = (settings.deadlines, settings.own);
        Ok(Arc::new(Self {
            table,
            names: Names::default(),
            capabilities,
            deadlines,
            own,
            retries: RetryBudget::new(),
            stores: Stores::default(),
            look_every,
            served: OnceLock::new(),
        }))
    }

    /// Begins to resolve names and to ask for capabilities, in the background and for ever. Must be
    /// called within the runtime.
    pub fn start(self: &Arc<Self>, protocols: &[Protocol]) {
        let served = self.served.get_or_init(|| protocols.to_vec());
        for backend in self.table.values() {
            if let Some(tls) = &backend.tls {
                tokio::spawn(tls.clone().follow_files());
            }
            for host in &backend.settings.hosts {
                if let Host::Name(name) = host {
                    self.names.follow(name);
                }
            }
            for protocol in served {
                if !self.look_every.is_zero() {
                    tokio::spawn(watch::for_ever(Arc::clone(self), Arc::clone(backend), *protocol));
                }
                let probing =
                    capabilities::probe_for_ever(Arc::clone(self), Arc::clone(backend), *protocol);
                tokio::spawn(probing);
            }
        }
    }

    /// Whether nobody should be sent to a back end who could as well go elsewhere: no service of it that we
    /// use works.
    pub fn is_down(&self, name: &BackendName) -> bool {
        let Some(backend) = self.table.get(name) else { return false };
        let served = self.served.get().map_or(&[][..], Vec::as_slice);
        !served.is_empty() && served.iter().all(|protocol| backend.health.of(*protocol).is_down())
    }

    /// Whether any back end is told who the client is.
    pub fn are_told(&self, protocol: Protocol) -> bool {
        let told =
            |backend: &Arc<Backend>| backend.settings.identity.of(protocol) != IdentityMode::None;
        self.table.values().any(told)
    }

    /// What the back ends have in common before login, as far as is known.
    pub fn offer(&self, protocol: Protocol) -> Arc<[String]> {
        self.capabilities.offer(protocol)
    }

    /// The state of each back end, by name.
    pub fn list(&self) -> Vec<BackendStatus> {
        let mut list: Vec<_> =
            self.table.values().map(|backend| status::of(backend, &self.capabilities)).collect();
        list.sort_by(|one, other| one.name.cmp(&other.name));
        list
    }
}

impl Backend {
    /// Tells the log when it has gone, and when it is back.
    fn tell(&self, protocol: Protocol, turn: Option<Turn>) {
        let backend = &self.settings.name;
        match turn {
            Some(Turn::Down) => {
                let last = self.counters.last_failure();
                let reason = last.as_ref().map_or("", |last| last.reason.word());
                let detail = last.as_ref().map_or("", |last| &last.detail);
                tracing::warn!(%backend, %protocol, reason, detail, "back end is down");
            }
            Some(Turn::Up) => {
                tracing::info!(%backend, %protocol, "back end is back; it gets its logins step by step");
            }
            None => {}
        }
    }
}

fn client_tls(settings: &BackendSettings) -> Result<ClientTls, ClientTlsError> {
    match &settings.certificate {
        own if settings.tls_legacy => ClientTls::legacy(&settings.verify, own.as_ref()),
        Some(files) => ClientTls::with_certificate(&settings.verify, files),
        None => ClientTls::new(&settings.verify),
    }
}
