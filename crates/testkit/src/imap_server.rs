//! A little IMAP server in memory with the habits and faults of real ones, for tests of whoever speaks with it.
//! Nothing here shares code with the product's own IMAP: an error that both made would not be seen.
//!
//! ```no_run
//! # use testkit::imap_server::{Act, ImapServer, Mail, Profile, Rule};
//! let server = ImapServer::start(Profile::dovecot()).unwrap();
//! server.world().add_account("alice", "sesame");
//! server.world().deliver("alice", "INBOX", Mail::new("Subject: x\r\n\r\nhello\r\n"));
//! server.rule(Rule::new("APPEND", Act::Answer("NO [OVERQUOTA] full")).nth(3));
//! // connect to server.address() ...
//! ```
//!
//! It runs in threads of its own, so that tests with and without a runtime can use it, and ends with its handle.

mod append;
mod command;
mod connection;
mod fault;
mod fetch;
mod folders;
mod profile;
mod search;
mod selected;
mod session;
mod store;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustls::ServerConfig;
use tempfile::TempDir;

use crate::certs::{self, KeyKind};
use crate::wire::server_config;
use crate::workspace;

use self::connection::Connection;
use self::session::Session;

pub use self::fault::{Act, Cut, Rule};
pub use self::profile::{Profile, Quirk};
pub use self::store::{Held, Mail, World};

/// How connections are made private.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Privacy {
    /// Not at all.
    #[default]
    Clear,
    /// By STARTTLS, which it offers; it takes logins in clear as well.
    StartTls,
    /// By TLS from the first byte.
    Tls,
}

/// Bytes of one connection so far, TLS not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// From the client.
    pub received: usize,
    /// To the client.
    pub sent: usize,
}

/// What all connections share.
struct Shared {
    profile: Profile,
    privacy: Privacy,
    tls: Option<Arc<ServerConfig>>,
    world: Arc<Mutex<World>>,
    faults: Mutex<fault::Faults>,
    connections: Mutex<Vec<Known>>,
    /// Commands in order, as they were understood.
    log: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// A connection.
struct Known {
    /// While it lives.
    tcp: Option<TcpStream>,
    traffic: Arc<Mutex<Traffic>>,
}

/// A server on a loopback port.
pub struct ImapServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    certificates: Option<TempDir>,
}

impl ImapServer {
    /// Starts one in clear.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn start(profile: Profile) -> io::Result<Self> {
        Self::start_with(profile, Privacy::Clear)
    }

    /// Starts one.
    ///
    /// # Errors
    /// When there is no socket, or no certificate can be made.
    pub fn start_with(profile: Profile, privacy: Privacy) -> io::Result<Self> {
        let certificates = match privacy {
            Privacy::Clear => None,
            Privacy::StartTls | Privacy::Tls => Some(certificates()?),
        };
        let (certificates, tls) = certificates.unzip();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            world: Arc::new(Mutex::new(World::new(&profile))),
            profile,
            privacy,
            tls,
            faults: Mutex::default(),
            connections: Mutex::default(),
            log: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept_all(&listener, &shared)
        });
        Ok(Self { address, shared, acceptor: Some(acceptor), certificates })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// PEM file of the authority behind its certificate, which is for loopback; none in clear.
    #[must_use]
    pub fn ca(&self) -> Option<PathBuf> {
        self.certificates.as_ref().map(|folder| folder.path().join("ca.pem"))
    }

    /// What it holds. While the guard lives, no command is served.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// Adds a fault to commands; the first that fits a command is taken.
    pub fn rule(&self, rule: Rule) {
        lock(&self.shared.faults).rules.push(rule);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        *lock(&self.shared.faults) = fault::Faults::default();
    }

    /// Cuts the connection that comes next; several calls are for several connections, in order.
    pub fn cut_next(&self, cut: Cut) {
        lock(&self.shared.faults).cuts.push_back(Some(cut));
    }

    /// Lets the connection that comes next live, before those of later [`Self::cut_next`].
    pub fn spare_next(&self) {
        lock(&self.shared.faults).cuts.push_back(None);
    }

    /// Lets at most so many connections live at a time; others are told BYE.
    pub fn limit_connections(&self, most: usize) {
        lock(&self.shared.faults).most_connections = Some(most);
    }

    /// Closes all connections, as a crash would.
    pub fn drop_connections(&self) {
        for tcp in lock(&self.shared.connections).iter().filter_map(|known| known.tcp.as_ref()) {
            // The client may have closed it already.
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }

    /// The bytes of each connection so far, in the order in which they came.
    #[must_use]
    pub fn traffic(&self) -> Vec<Traffic> {
        lock(&self.shared.connections).iter().map(|known| *lock(&known.traffic)).collect()
    }

    /// The commands so far, in order, without literals: `APPEND`, `UID FETCH`, ... with their arguments.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        lock(&self.shared.log).clone()
    }

    fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.drop_connections();
        if let Some(acceptor) = self.acceptor.take() {
            // Wakes the acceptor, which then sees that it is to stop.
            if TcpStream::connect(self.address).is_ok() {
                let _ = acceptor.join();
            }
        }
    }
}

impl Drop for ImapServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A test that panicked while it held a lock has failed already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn certificates() -> io::Result<(TempDir, Arc<ServerConfig>)> {
    let folder = workspace::temporary_folder("imap")?;
    let files = certs::write_into(folder.path(), &[], KeyKind::Ecdsa).map_err(io::Error::other)?;
    let config = server_config(&files.cert, &files.key)?;
    Ok((folder, config))
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(second) = tcp.try_clone() else {
            continue;
        };
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let mut connections = lock(&shared.connections);
        let alive = connections.iter().filter(|known| known.tcp.is_some()).count();
        let (cut, refused) = {
            let mut faults = lock(&shared.faults);
            let refused = faults.most_connections.is_some_and(|most| alive >= most);
            (faults.cuts.pop_front().flatten(), refused)
        };
        let number = connections.len();
        connections.push(Known { tcp: Some(second), traffic: Arc::clone(&traffic) });
        drop(connections);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            if let Ok(connection) = Connection::new(tcp, traffic, cut) {
                // Whoever is cut off needs no goodbye.
                let _ = Session::new(&shared, connection).live(refused);
            }
            if let Some(known) = lock(&shared.connections).get_mut(number) {
                known.tcp = None;
            }
        });
    }
}
