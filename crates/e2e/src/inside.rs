//! The front door within this process, for what no operator's word asks of it yet.
//! Nothing here reads a configuration: one clear IMAP listener, one back end that holds everybody's mail.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use backends::{BackendSettings, Backends, Deadlines, Identities, LoginMode, Ports, Settings, Tls};
use directory::{
    Answer, Directory, KnownBackend, RuleSettings, Rules, SourceKind, SourceSettings,
    StaticSettings, passwords::PasswordSettings,
};
use model::{BackendName, Host, Mechanisms, Protocol};
use proxy::{Limits, ListenerSettings, ListenerTls, Running, Sessions};
use tempfile::TempDir;
use testkit::{
    mail_clients::{ImapClient, Security},
    ports::HeldPorts,
    workspace,
};
use tokio::runtime::{Builder, Runtime};
use transport::tls::Verify;

use crate::house::Person;

const HOST: [u8; 4] = [127, 0, 0, 1];

/// A front door that ends when it is dropped.
pub struct Inside {
    proxy: Running,
    address: SocketAddr,
    runtime: Runtime,
    _state: TempDir,
}

impl Inside {
    /// Before the IMAP server at a port.
    pub fn open(backend: u16) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = workspace::temporary_folder("inside").unwrap();
        let held = HeldPorts::take(1).unwrap();
        let address = SocketAddr::from((HOST, held.numbers().unwrap()[0]));
        drop(held);
        let settings = proxy::Settings {
            listeners: vec![listener(address)],
            limits: Limits::with_connections(100),
        };
        let directory = Directory::open(directory(backend, &state)).unwrap();
        let within = runtime.enter();
        let backends = Backends::prepare(backends(backend, &state)).unwrap();
        let bound = proxy::bind(&settings).unwrap();
        let proxy = proxy::serve(bound, &settings, Arc::new(directory), backends).unwrap();
        drop(within);
        Self { proxy, address, runtime, _state: state }
    }

    /// Who is logged in.
    pub fn sessions(&self) -> &Sessions {
        self.proxy.sessions()
    }

    /// Somebody's session.
    pub fn logged_in(&self, person: &Person) -> ImapClient {
        let mut client = ImapClient::connect(self.address, &Security::Clear).unwrap();
        client.login(&person.name, &person.password).unwrap();
        client
    }

    /// What comes of some work that must not take long.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let limited = async { tokio::time::timeout(crate::door::SOON, work).await };
        self.runtime.block_on(limited).unwrap()
    }
}

fn name() -> BackendName {
    BackendName::new("a").unwrap()
}

fn hosts() -> Vec<Host> {
    vec![Host::Ip(HOST.into())]
}

fn listener(address: SocketAddr) -> ListenerSettings {
    ListenerSettings {
        name: "imap".into(),
        protocol: Protocol::Imap,
        addresses: vec![address],
        tls: ListenerTls::None,
        allow_clear_logins: true,
        capabilities: None,
        mechanisms: Mechanisms::default(),
        relay_text: false,
        clean_bye: false,
        forward_client_id: false,
        connections: 0,
        proxy_networks: Vec::new(),
        trusted_networks: Vec::new(),
    }
}

fn directory(backend: u16, state: &TempDir) -> directory::Settings {
    let answer = Answer { user: None, place: name().into() };
    directory::Settings {
        rules: Rules::new(RuleSettings::default()).unwrap(),
        chain: vec![SourceSettings::new("all", SourceKind::Static(StaticSettings { answer }))],
        backends: vec![KnownBackend {
            name: name(),
            hosts: hosts(),
            imap_port: backend,
            pop3_port: 0,
            judges: true,
        }],
        passwords: PasswordSettings::default(),
        tokens: None,
        pools: directory::Pools::default(),
        state: state.path().to_owned(),
    }
}

fn backends(backend: u16, state: &TempDir) -> Settings {
    Settings {
        backends: vec![BackendSettings {
            name: name(),
            hosts: hosts(),
            ports: Ports { imap: backend, pop3: 0 },
            tls: Tls::None,
            tls_legacy: false,
            verify: Verify::Nothing,
            certificate: None,
            login: LoginMode::Forward,
            identity: Identities::default(),
            pipelining: true,
            logins_at_once: None,
            same_store: None,
            test_user: None,
            source_addresses: Vec::new(),
        }],
        logins_at_once: 1000,
        deadlines: Deadlines { connect: Duration::from_secs(5), ..Deadlines::default() },
        own: Vec::new(),
        health: backends::HealthSettings::default(),
        state: state.path().to_owned(),
    }
}
