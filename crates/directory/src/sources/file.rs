//! The source `file`: a text map or a TOML file, held in memory and read again when it changes.
//!
//! Nothing here asks back ends, and nothing here forgets: a file that is gone or wrong leaves the
//! users read before in force.

mod read;
mod watch;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use model::CanonicalUser;
use parking_lot::Mutex;

use self::watch::{Seen, Watch};
use super::Found;

pub(crate) use self::read::Reader;
pub use self::read::{FileProblem, Problems};

use self::read::Users;

/// How long a look-up waits for a changed file to be read. After that it goes on with the users read
/// before: a file on a server that hangs must not hang the logins.
const PATIENCE: Duration = Duration::from_secs(2);

/// Settings of the source `file`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileSettings {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: FileFormat,
    /// How often to look whether it has changed, at most. A change is taken over once the file has
    /// been still for as long, so that a half-written one is not.
    pub check_every: Duration,
}

impl FileSettings {
    /// Settings for a file whose format follows from its name: TOML if it ends in `.toml`, else a
    /// text map. It is looked at once a second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let is_toml = path.extension().is_some_and(|ending| ending == "toml");
        Self {
            path,
            format: if is_toml { FileFormat::Toml } else { FileFormat::Map },
            check_every: Duration::from_secs(1),
        }
    }
}

/// How a file of users is written. Names are read as if a client had typed them: the name rules are
/// applied to them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileFormat {
    /// One `user: [user@]host[:port]` or `user: backend` to a line, as Perdition's text maps.
    Map,
    /// `[users]` with `"name" = "ANSWER"` or
    /// `"name" = { backend = "ANSWER", user = "there", password = "there" }`.
    Toml,
}

#[derive(Debug)]
pub(crate) struct File {
    opened_at: Instant,
    /// When to look again, in milliseconds after `opened_at`.
    look_at: AtomicU64,
    look_every: u64,
    map: Arc<Map>,
}

/// What the look-ups and the thread that reads the file share.
#[derive(Debug)]
struct Map {
    reader: Reader,
    users: ArcSwap<Users>,
    watch: Mutex<Watch>,
}

impl File {
    /// Reads the file for the first time.
    pub(crate) fn open(reader: Reader) -> Result<Self, FileProblem> {
        let every = reader.settings.check_every;
        let mut watch = Watch::new(every);
        watch.begin(&reader.settings.path);
        let map =
            Map { users: ArcSwap::from_pointee(reader.read()?), watch: Mutex::new(watch), reader };
        Ok(Self {
            opened_at: Instant::now(),
            look_at: AtomicU64::new(0),
            look_every: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
            map: Arc::new(map),
        })
    }

    pub(super) async fn find(&self, user: &CanonicalUser) -> Option<Found> {
        if self.is_time_to_look() {
            let map = Arc::clone(&self.map);
            let looked = tokio::task::spawn_blocking(move || map.look());
            // Whether it was in time or not, there are users to find.
            let _ = tokio::time::timeout(PATIENCE, looked).await;
        }
        self.map.users.load().get(user).cloned()
    }

    /// True for one of the look-ups in each interval.
    fn is_time_to_look(&self) -> bool {
        let now = u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let look_at = self.look_at.load(Ordering::Relaxed);
        let next = now.saturating_add(self.look_every);
        now >= look_at
            && self
                .look_at
                .compare_exchange(look_at, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl Map {
    /// Reads the file if it has changed and come to rest.
    fn look(&self) {
        // Somebody else is looking.
        let Some(mut watch) = self.watch.try_lock() else {
            return;
        };
        let path = &self.reader.settings.path;
        let shown = path.display();
        match watch.look(path) {
            Seen::Gone => {
                tracing::error!("`{shown}` is gone: the users read from it before stay in force");
            }
            Seen::Same => {}
            Seen::Changed => match self.reader.read() {
                // It was written to meanwhile: what was read may be half of it.
                _ if !watch.confirm(path) => {}
                // A disk that was full, or an editor that died, leaves an empty file.
                Ok(users) if users.is_empty() && !self.users.load().is_empty() => {
                    tracing::error!(
                        "`{shown}` holds no users any more: those read from it before stay in force"
                    );
                }
                Ok(users) => {
                    tracing::info!("read `{shown}` again: {} users", users.len());
                    self.users.store(Arc::new(users));
                }
                Err(problem) => {
                    tracing::error!("{problem}; the users read from it before stay in force")
                }
            },
        }
    }
}
