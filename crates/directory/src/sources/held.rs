//! A file that is held, and read again when it changes.
//!
//! Nothing here knows what is in it, and nothing here forgets: a file that is gone or wrong leaves what was
//! read before in force.

mod watch;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use self::watch::{Seen, Watch};

/// How long a look-up waits for a changed file to be read. After that it goes on with what was read
/// before: a file on a server that hangs must not hang the logins.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Reads one file.
pub(crate) trait Reread: fmt::Debug + Send + Sync + 'static {
    /// What is made of it.
    type Content: fmt::Debug + Send + Sync;
    /// Why it cannot be used.
    type Problem: fmt::Display;
    /// What it is made of, for the log.
    const ENTRIES: &'static str;

    /// The file.
    fn path(&self) -> &Path;

    /// Reads it, all or nothing.
    fn read(&self) -> Result<Self::Content, Self::Problem>;

    /// How many entries there are.
    fn count(content: &Self::Content) -> u64;
}

/// What was read last, and by whom it is read again.
#[derive(Debug)]
pub(crate) struct Held<R: Reread> {
    opened_at: Instant,
    /// When to look again, in milliseconds after `opened_at`.
    look_at: AtomicU64,
    look_every: u64,
    shared: Arc<Shared<R>>,
}

/// What the look-ups and the thread that reads the file share.
#[derive(Debug)]
struct Shared<R: Reread> {
    reader: R,
    content: ArcSwap<R::Content>,
    watch: Mutex<Watch>,
}

impl<R: Reread> Held<R> {
    /// Reads the file for the first time. Every `every` it is looked at, at most; a change is taken over
    /// once the file has been still for as long.
    pub(super) fn open(reader: R, every: Duration) -> Result<Self, R::Problem> {
        let mut watch = Watch::new(every);
        watch.begin(reader.path());
        let content = ArcSwap::from_pointee(reader.read()?);
        Ok(Self {
            opened_at: Instant::now(),
            look_at: AtomicU64::new(0),
            look_every: u64::try_from(every.as_millis()).unwrap_or(u64::MAX),
            shared: Arc::new(Shared { reader, content, watch: Mutex::new(watch) }),
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        self.shared.reader.path()
    }

    /// What it holds.
    pub(super) async fn content(&self) -> Arc<R::Content> {
        if self.is_time_to_look() {
            let shared = Arc::clone(&self.shared);
            let looked = tokio::task::spawn_blocking(move || shared.look());
            // Whether it was in time or not, there is something to go by.
            let _ = tokio::time::timeout(PATIENCE, looked).await;
        }
        self.shared.content.load_full()
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

impl<R: Reread> Shared<R> {
    /// Reads the file if it has changed and come to rest.
    fn look(&self) {
        // Somebody else is looking.
        let Some(mut watch) = self.watch.try_lock() else {
            return;
        };
        let path = self.reader.path();
        let (shown, entries) = (path.display(), R::ENTRIES);
        match watch.look(path) {
            Seen::Gone => {
                tracing::error!(
                    "`{shown}` is gone: the {entries} read from it before stay in force"
                );
            }
            Seen::Same => {}
            Seen::Changed => match self.reader.read() {
                // It was written to meanwhile: what was read may be half of it.
                _ if !watch.confirm(path) => {}
                // A disk that was full, or an editor that died, leaves an empty file.
                Ok(content) if R::count(&content) == 0 && R::count(&self.content.load()) > 0 => {
                    tracing::error!(
                        "`{shown}` holds no {entries} any more: those read from it before stay in force"
                    );
                }
                Ok(content) => {
                    tracing::info!("read `{shown}` again: {} {entries}", R::count(&content));
                    self.content.store(Arc::new(content));
                }
                Err(problem) => {
                    tracing::error!("{problem}; the {entries} read from it before stay in force");
                }
            },
        }
    }
}
