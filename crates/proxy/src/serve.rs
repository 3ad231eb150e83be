//! Listening: who comes in is counted, gets a task of its own, or is sent away.

use std::{
    io,
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
    limits::Door,
    login::no_room,
    session::{Shared, Visitor, live},
};

/// How long accepting rests when the kernel has no descriptor or memory for us.
const REST: Duration = Duration::from_millis(100);
/// At most one line in this time about connections that were turned away or not accepted.
const QUIET: Duration = Duration::from_secs(10);
/// How long a client without a place may take to take our last words.
const TURNED_AWAY: Duration = Duration::from_millis(100);

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
    let sessions = Sessions::new();
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
        client_wait: settings.limits.client_wait,
        greeting_name: "Posthouse".into(),
    });
    let ids = Arc::new(Ids::new());
    let mut listening = Vec::new();
    for (listener, sockets) in bound.listeners {
        let listener = Arc::new(listener);
        if let Some(server) = listener.tls.server() {
            listening.push(tokio::spawn(Arc::clone(server).follow_files()));
        }
        for socket in sockets {
            let socket = Listener::register(socket)?;
            let (listener, shared, ids) =
                (Arc::clone(&listener), Arc::clone(&shared), Arc::clone(&ids));
            listening.push(tokio::spawn(listen(socket, listener, shared, ids)));
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

    /// Ends all sessions. Connections before login end with the runtime.
    pub fn end_all(&self) {
        self.shared.sessions.end_all(Reason::Shutdown);
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

/// Accepts for ever.
async fn listen(
    socket: Listener,
    listener: Arc<ListenerSettings>,
    shared: Arc<Shared>,
    ids: Arc<Ids>,
) {
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
        match shared.door.admit(address.ip()) {
            Ok(admission) => {
                let visitor = Visitor {
                    id: ids.next(),
                    client: address,
                    since: Instant::now(),
                    listener: Arc::clone(&listener),
                    shared: Arc::clone(&shared),
                };
                tokio::spawn(live(client, visitor, admission));
            }
            Err(reason) => {
                complaints.tell(|times| {
                    tracing::warn!(
                        listener = %listener.name, client = %address, %reason, times,
                        "connection turned away"
                    );
                });
                turn_away(client, &listener, reason).await;
            }
        }
    }
}

/// Says why, as far as the socket takes it at once, and closes.
async fn turn_away(mut client: Stream, listener: &ListenerSettings, reason: Reason) {
    let words = no_room(listener.protocol, &listener.tls, reason);
    if !words.is_empty() {
        // A fresh socket takes a line at once; the limit is for the one that does not.
        let _ = tokio::time::timeout(TURNED_AWAY, client.write_all(&words)).await;
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
