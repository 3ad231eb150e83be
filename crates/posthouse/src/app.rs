//! The wiring list: what is made in which order, how it stops. Nothing here decides anything about a
//! connection.

pub(crate) mod control;
mod log;
pub(crate) mod process;

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use admin::{Desk, StateLock, Users, prepare_state};
use directory::Directory;
use model::Protocol;
use nix::unistd::User;
use proxy::{Bound, ListenerSettings, ListenerTls, Running};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use transport::tls::{CertificateFiles, ServerSettings, ServerTls, make_self_signed};

use crate::{
    cli::Failure,
    config::{Certificates, Config, Listener, Mistakes, Privacy},
};

/// How long the start waits for somebody who acts on users at this moment, or for a predecessor that
/// is about to give up the folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long requests on the control socket may go on when the program stops.
const CONTROL_PATIENCE: Duration = Duration::from_secs(2);

/// Logins under way at one back end, at most, unless it has a number of its own. An attack with wrong passwords
/// fills it too: Dovecot holds each for up to 17 seconds.
const LOGINS_AT_ONCE: usize = 1000;

/// How long sessions may take to say goodbye when they have to end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// Serves until told to stop.
pub(crate) fn serve(config: Config, warnings: &Mistakes) -> Result<(), Failure> {
    let open_files = process::raise_open_files();
    process::forbid_core_dumps().map_err(|error| Failure::new(format!("core dumps: {error}")))?;
    let user = process::account(config.user.as_deref())?;
    prepare_state(&config.state, process::owner(user.as_ref()))?;
    let lock = StateLock::take(&config.state, LOCK_PATIENCE)?;
    let settings = proxy_settings(&config, open_files, user.as_ref())?;
    let bound = proxy::bind(&settings)?;
    let answers = answer::bind(&config.answers)?;
    if let Some(user) = &user {
        process::give_state_files(&config.state, user)?;
        process::drop_privileges(user)?;
    }
    let logging = log::begin(config.log)
        .map_err(|error| Failure::new(format!("the log cannot be started: {error}")))?;
    tell_warnings(&config, warnings, &settings, open_files);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.get())
        .thread_name("posthouse")
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))?;
    let report_lost = logging.report_lost();
    runtime.block_on(async move {
        tokio::spawn(report_lost);
        run(config, settings, bound, answers, lock).await
    })?;
    stop_runtime(runtime);
    Ok(())
}

/// From the first task to the last.
async fn run(
    config: Config,
    settings: proxy::Settings,
    bound: Bound,
    answers: answer::Bound,
    lock: StateLock,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    ignore_other_signals()?;
    let directory = Arc::new(Directory::open(directory_settings(&config)?)?);
    let backends = backends::Backends::prepare(backends::Settings {
        backends: config.backends.clone(),
        deadlines: config.deadlines,
        health: config.health.clone(),
        logins_at_once: logins_at_once(settings.limits.connections),
        own: config.addresses(),
        state: config.state.clone(),
    })?;
    let living = Arc::clone(&backends);
    directory.place_on_the_living(Arc::new(move |name| !living.is_down(name)));
    let socket = control::open(&config.state, &lock)?;
    let answering = answer::serve(answers, &directory, &backends)
        .map_err(|error| Failure::new(format!("answering: {error}")))?;
    let serving = proxy::serve(bound, &settings, Arc::clone(&directory), Arc::clone(&backends));
    let proxy = Arc::new(serving.map_err(|error| Failure::new(format!("listening: {error}")))?);
    let desk = Desk {
        users: users(&directory),
        directory,
        backends,
        proxy: Arc::clone(&proxy),
        version: env!("CARGO_PKG_VERSION"),
        started_at: SystemTime::now(),
    };
    let (stop_control, stopped) = oneshot::channel::<()>();
    let api = web::serve(socket, Arc::new(desk), async {
        // It stops when it is told to, and when nobody could tell it any more.
        let _ = stopped.await;
    });
    let control =
        Control { task: tokio::spawn(api), stop: stop_control, state: config.state, lock };
    tell_ready(&settings);
    let first = signals.next().await;
    tracing::info!(signal = first, connections = proxy.connections(), "stopping");
    proxy.stop_listening().await;
    drop(answering);
    control.give_up().await;
    finish(&proxy, config.grace, &mut signals).await;
    tracing::info!("stopped");
    Ok(())
}

/// Lets sessions go on for the time of grace, in whose last part they end one by one, or until a second
/// signal, and ends what is left.
async fn finish(proxy: &Running, grace: Duration, signals: &mut Signals) {
    let why = tokio::select! {
        () = proxy.drained() => return,
        () = proxy.wind_down(grace) => "the grace time is over",
        signal = signals.next() => signal,
    };
    tracing::info!(connections = proxy.connections(), why, "ending what is left");
    proxy.end_all();
    if timeout(CLOSE_PATIENCE, proxy.drained()).await.is_err() {
        tracing::warn!(connections = proxy.connections(), "ended without goodbye");
    }
}

/// Tasks that wait for a name server cannot be interrupted, and nobody waits for them.
fn stop_runtime(runtime: Runtime) {
    runtime.shutdown_background();
}

/// The API at work, and what it is the holder of.
struct Control {
    task: JoinHandle<std::io::Result<()>>,
    stop: oneshot::Sender<()>,
    state: PathBuf,
    lock: StateLock,
}

impl Control {
    /// Gives the socket and the state folder up to whoever comes next. The lock goes last: an act
    /// that is under way is finished under it.
    async fn give_up(self) {
        control::remove(&self.state);
        // The receiver is gone only if the API has ended by itself.
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        match timeout(CONTROL_PATIENCE, self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the control socket failed"),
            Ok(Err(error)) => tracing::error!(%error, "the control socket failed"),
            Err(_) => abort.abort(),
        }
        drop(self.lock);
    }
}

/// The signals that stop the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one's name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(format!("signals: {error}")))
}

/// Signals by which other programs are told to read their files again would end this one, with all
/// its sessions: they are told of and do nothing.
fn ignore_other_signals() -> Result<(), Failure> {
    let mut hangup = listen(SignalKind::hangup())?;
    let mut user1 = listen(SignalKind::user_defined1())?;
    let mut user2 = listen(SignalKind::user_defined2())?;
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = hangup.recv() => "SIGHUP",
                _ = user1.recv() => "SIGUSR1",
                _ = user2.recv() => "SIGUSR2",
            };
            tracing::warn!(signal, "signal ignored: a change of the configuration needs a restart");
        }
    });
    Ok(())
}

/// How many logins may be under way at one back end: one that hangs leaves most connections to the others.
fn logins_at_once(connections: usize) -> usize {
    (connections / 4).clamp(1, LOGINS_AT_ONCE)
}

fn proxy_settings(
    config: &Config,
    open_files: u64,
    user: Option<&User>,
) -> Result<proxy::Settings, Failure> {
    let mut tls = LoadedTls { user, loaded: Vec::new() };
    let listener = |listener: &Listener| listener_settings(listener, &mut tls);
    let listeners = config.listeners.iter().map(listener).collect::<Result<_, _>>()?;
    let possible = process::connections(open_files);
    let connections = config.limits.connections.unwrap_or(possible).min(possible);
    let limits = proxy::Limits { connections, ..config.limits.others };
    Ok(proxy::Settings { listeners, limits })
}

fn listener_settings(
    listener: &Listener,
    tls: &mut LoadedTls<'_>,
) -> Result<ListenerSettings, Failure> {
    let mut load = |certificates: &Certificates| tls.load(certificates, listener.protocol);
    Ok(ListenerSettings {
        name: listener.name.as_str().into(),
        protocol: listener.protocol,
        addresses: listener.addresses.clone(),
        tls: match &listener.tls {
            Privacy::Implicit(certificates) => ListenerTls::Implicit(load(certificates)?),
            Privacy::None => ListenerTls::None,
            Privacy::StartTls(certificates) => ListenerTls::StartTls(load(certificates)?),
        },
        allow_clear_logins: listener.allow_clear_logins,
        capabilities: listener.capabilities.as_deref().map(Into::into),
        mechanisms: listener.mechanisms,
        relay_text: listener.relay_text,
        clean_bye: listener.clean_bye,
        forward_client_id: listener.forward_client_id,
        connections: listener.connections,
        proxy_networks: listener.proxy_networks.clone(),
        trusted_networks: listener.trusted_networks.clone(),
    })
}

/// The TLS of the listeners so far. Listeners of one protocol with the same files share theirs, so that
/// the files are followed, and told of, once.
struct LoadedTls<'u> {
    /// Whom certificates are made for.
    user: Option<&'u User>,
    loaded: Vec<(ServerSettings, Arc<ServerTls>)>,
}

impl LoadedTls<'_> {
    fn load(
        &mut self,
        certificates: &Certificates,
        protocol: Protocol,
    ) -> Result<Arc<ServerTls>, Failure> {
        let Certificates { files, self_signed, clients } = certificates;
        let settings =
            ServerSettings { certificates: files.clone(), protocol, clients: clients.clone() };
        if let Some((_, tls)) = self.loaded.iter().find(|(loaded, _)| *loaded == settings) {
            return Ok(Arc::clone(tls));
        }
        if *self_signed {
            for files in files {
                make_certificate(files, self.user)?;
            }
        }
        let tls = ServerTls::load(settings.clone())?;
        self.loaded.push((settings, Arc::clone(&tls)));
        Ok(tls)
    }
}

/// Makes the two files where they are missing, readable to whom we are about to become.
fn make_certificate(files: &CertificateFiles, user: Option<&User>) -> Result<(), Failure> {
    let missing = !files.key.exists();
    make_self_signed(files)?;
    if let Some(user) = user.filter(|_| missing) {
        process::give_file(&files.key, user)?;
        process::give_file(&files.certificate, user)?;
    }
    Ok(())
}

/// What the directory has to know of the configuration.
pub(crate) fn directory_settings(config: &Config) -> Result<directory::Settings, Failure> {
    Ok(directory::Settings {
        rules: directory::Rules::new(config.rules.clone())?,
        chain: config.sources.clone(),
        backends: config.known_backends.clone(),
        pools: config.pools.clone(),
        state: config.state.clone(),
        passwords: config.passwords,
        tokens: config.tokens.clone(),
    })
}

/// The table, for the operator's acts on users.
pub(crate) fn users(directory: &Directory) -> Option<Users> {
    Some(Users {
        store: Arc::clone(directory.table()?),
        rules: directory.rules().clone(),
        backends: directory.backends().clone(),
        template: directory.table_template().cloned(),
        has_pool: directory.table_has_pool(),
    })
}

fn tell_warnings(
    config: &Config,
    warnings: &Mistakes,
    settings: &proxy::Settings,
    open_files: u64,
) {
    for (line, what) in warnings.warnings() {
        tracing::warn!(line, "configuration: {what}");
    }
    if let Some(wanted) =
        config.limits.connections.filter(|wanted| *wanted > settings.limits.connections)
    {
        tracing::warn!(
            wanted,
            possible = settings.limits.connections,
            open_files,
            "the limit on open files leaves room for fewer connections than configured"
        );
    }
    if let Some(user) = config.user.as_deref().filter(|user| !process::is(user)) {
        tracing::warn!(user, "only root can become the configured user; we stay who we are");
    }
    let files: BTreeSet<&Path> = config.listeners.iter().flat_map(private_files).collect();
    for file in files {
        if let Err(error) = File::open(file) {
            let file = file.display();
            tracing::warn!(%file, %error, "this file cannot be read again when it changes");
        }
    }
}

fn private_files(listener: &Listener) -> Vec<&Path> {
    match &listener.tls {
        Privacy::Implicit(certificates) | Privacy::StartTls(certificates) => certificates
            .files
            .iter()
            .flat_map(|files| [files.certificate.as_path(), files.key.as_path()])
            .chain(certificates.clients.iter().map(|clients| clients.authorities.as_path()))
            .collect(),
        Privacy::None => Vec::new(),
    }
}

fn tell_ready(settings: &proxy::Settings) {
    let listeners: Vec<_> = settings
        .listeners
        .iter()
        .flat_map(|listener| {
            listener.addresses.iter().map(|address| format!("{}={address}", listener.name))
        })
        .collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        connections = settings.limits.connections,
        listeners = listeners.join(","),
        "ready"
    );
}
