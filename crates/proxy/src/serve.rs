//! Listening: who comes in is counted, gets a task of its own, or is sent away.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use backends::Backends;
use directory::Directory;
use model::{Protocol, Reason, SessionId};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use transport::{Listener, Stream};

use crate::{
    Bound, ListenerSettings, Sessions, Settings,
    closing::Closing,
    faults::{Faults, survive},
    handshakes::Handshakes,
    limits::{Admission, Door, Gate},
    login::no_room,
    refusal::Refusals,
    session::{Shared, Visitor, line_about, live},
    settings::within,
    throttle::Throttle,
};

/// How long accepting rests when the kernel has no descriptor or memory for us.
const REST: Duration = Duration::from_millis(100);
/// At most one line in this time about connections that were turned away or not accepted.
const QUIET: Duration = Duration::from_secs(10);

/// The proxy at work.
pub struct Running {
    shared: Arc<Shared>,
    listening: Mutex<Vec<JoinHandle<()>>>,
}

/// Begins to serve. Must be called within the runtime.
///
/// # Errors
/// Those of the kernel when sockets are registered with the runtime.
pub fn serve(
    bound: Bound,
    settings: &Settings,
    directory: Arc<Directory>,
    backends: Arc<Backends>,
) -> io::Result<Running> {
    let sessions = Sessions::new(&settings.limits);
    tokio::spawn(Arc::clone(&sessions).sweep(settings.limits.idle));
    let used = |protocol: &Protocol| {
        bound.listeners.iter().any(|(listener, _)| listener.protocol == *protocol)
    };
    backends.start(&Protocol::ALL.into_iter().filter(used).collect::<Vec<_>>());
    let shared = Arc::new(Shared {
        directory,
        backends,
        sessions,
        door: Arc::new(Door::new(&settings.limits)),
        throttle: Throttle::new(&settings.limits),
        refusals: Refusals::default(),
        closing: Closing::default(),
        faults: Faults::default(),
        limits: settings.limits,
        greeting_name: "Posthouse".into(),
    });
    let ids = Arc::new(Ids::new());
    let mut listening = Vec::new();
    for (listener, sockets) in bound.listeners {
        let listener = Arc::new(listener);
        if let Some(server) = listener.tls.server() {
            listening.push(tokio::spawn(Arc::clone(server).follow_files()));
        }
        let gate = Arc::new(Gate::new(listener.connections));
        let handshakes = Handshakes::new(&settings.limits);
        for socket in sockets {
            let place = Place {
                socket: Listener::register(socket)?,
                listener: Arc::clone(&listener),
                gate: Arc::clone(&gate),
                handshakes: Arc::clone(&handshakes),
                shared: Arc::clone(&shared),
                ids: Arc::clone(&ids),
            };
            listening.push(tokio::spawn(listen(place)));
        }
    }
    Ok(Running { shared, listening: Mutex::new(listening) })
}

impl Running {
    /// Who is logged in.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.shared.sessions
    }

    /// Open connections, before login and after.
    pub fn connections(&self) -> usize {
        self.shared.door.open()
    }

    /// Closes the listening sockets. Connections go on.
    pub async fn stop_listening(&self) {
        let listening = std::mem::take(&mut *self.listening.lock());
        for task in &listening {
            task.abort();
        }
        for task in listening {
            // Aborted, which is what was asked for: the socket is closed when the task is gone.
            let _ = task.await;
        }
    }

    /// Returns when no connection is left.
    pub async fn drained(&self) {
        self.shared.door.emptied().await;
    }

    /// Lets sessions go on for the time of grace and ends them one by one in its last part, which is as long
    /// as that of a dead back end's sessions and half of the grace at most.
    pub async fn wind_down(&self, grace: Duration) {
        let spread = self.shared.limits.disconnect_spread.min(grace / 2);
        tokio::time::sleep(grace.saturating_sub(spread)).await;
        self.shared.sessions.end_evenly(Reason::Shutdown, spread).await;
    }

    /// Ends all connections, before login and after, each with a goodbye.
    pub fn end_all(&self) {
        self.shared.sessions.end_all(Reason::Shutdown);
        self.shared.closing.begin();
    }
}

/// Numbers connections.
struct Ids {
    start: u32,
    next: AtomicU32,
}

impl Ids {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The seconds wrap in 2106; what counts is that the next start has others.
        let start = u32::try_from(now.as_secs() & u64::from(u32::MAX)).unwrap_or_default();
        Self { start, next: AtomicU32::new(1) }
    }

    fn next(&self) -> SessionId {
        SessionId::new(self.start, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// One listening socket, and what its connections share.
struct Place {
    socket: Listener,
    listener: Arc<ListenerSettings>,
    gate: Arc<Gate>,
    handshakes: Arc<Handshakes>,
    shared: Arc<Shared>,
    ids: Arc<Ids>,
}

/// Accepts for ever.
async fn listen(place: Place) {
    let Place { socket, listener, gate, handshakes, shared, ids } = place;
    let mut complaints = Complaints::default();
    loop {
        let (client, address) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                complaints.tell(|times| {
                    tracing::error!(listener = %listener.name, %error, times, "not accepted");
                });
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        match let_in(&listener, &gate, &shared, address) {
            Ok(admission) => {
                let visitor = Box::new(Visitor {
                    id: ids.next(),
                    client: address,
                    connected: None,
                    since: Instant::now(),
                    listener: Arc::clone(&listener),
                    handshakes: Arc::clone(&handshakes),
                    shared: Arc::clone(&shared),
                });
                tokio::spawn(guarded(client, visitor, admission));
            }
            Err(reason) => {
                complaints.tell(|times| {
                    line_about!(
                        reason,
                        listener = %listener.name, client = %address, %reason, times,
                        "connection turned away"
                    );
                });
                turn_away(&client, &listener, reason);
            }
        }
    }
}

/// Counts a connection in. Behind a proxy the address is the proxy's, and the client's own is counted when
/// it is known.
fn let_in(
    listener: &ListenerSettings,
    gate: &Arc<Gate>,
    shared: &Shared,
    address: SocketAddr,
) -> Result<Admission, Reason> {
    if listener.is_behind_proxy() && !within(&listener.proxy_networks, address.ip()) {
        return Err(Reason::ClientProxyHeader);
    }
    let mut admission = shared.door.admit(gate)?;
    if !listener.is_behind_proxy() {
        admission.count_for(address.ip())?;
    }
    Ok(admission)
}

/// A connection's life. A panic, which would be a fault of ours, ends this one only and is told.
///
/// Not an async function: that would keep a second copy of all that it is given.
pub(crate) fn guarded(
    client: Stream,
    visitor: Box<Visitor>,
    admission: Admission,
) -> impl Future<Output = ()> + Send {
    let (id, shared) = (visitor.id, Arc::clone(&visitor.shared));
    survive(live(client, visitor, admission), move || shared.faults.tell(id))
}

/// Says why, and closes. Nobody waits here: the next client may be one that finds a place.
fn turn_away(client: &Stream, listener: &ListenerSettings, reason: Reason) {
    let words = no_room(listener.protocol, &listener.tls, reason);
    if !words.is_empty() {
        client.say_at_once(&words);
    }
}

/// Keeps a complaint from filling the log.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    times: u64,
}

impl Complaints {
    /// Tells with the number of times since the last line, unless that was just now.
    fn tell(&mut self, tell: impl FnOnce(u64)) {
        self.times = self.times.saturating_add(1);
        if self.last.is_none_or(|last| last.elapsed() >= QUIET) {
            tell(self.times);
            self.last = Some(Instant::now());
            self.times = 0;
        }
    }
}
