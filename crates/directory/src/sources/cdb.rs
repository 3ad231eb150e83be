//! The source `cdb`: a constant database, asked where it lies and opened again when it is replaced.
//!
//! Nothing here applies the name rules to what is in it: a key is found if its bytes are those that are asked
//! for.

mod database;
#[cfg(test)]
mod database_tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    CannotSay, Found,
    held::{Held, PATIENCE, Reread},
};
use crate::{Answer, FileProblem};

use self::database::{Database, Failure};

/// Settings of the source `cdb`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CdbSettings {
    /// The file.
    pub path: PathBuf,
    /// How often to look whether it has been replaced, at most.
    pub check_every: Duration,
}

impl CdbSettings {
    /// Settings for a file that is looked at once a second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), check_every: Duration::from_secs(1) }
    }
}

/// How many look for a key at the same time: where the disk hangs, as many threads do, and others are told so.
const SEATS: usize = 64;

#[derive(Debug)]
pub(crate) struct Cdb {
    held: Held<Opener>,
    seats: Arc<Semaphore>,
}

impl Cdb {
    /// Opens the database for the first time.
    pub(crate) fn open(settings: &CdbSettings) -> Result<Self, FileProblem> {
        let opener = Opener(settings.path.clone());
        let held = Held::open(opener, settings.check_every)?;
        Ok(Self { held, seats: Arc::new(Semaphore::new(SEATS)) })
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<Found>, CannotSay> {
        let database = self.held.content().await;
        let shown = self.held.path().display();
        let wanted = key.as_bytes().to_vec();
        let value = on_disk(&self.seats, PATIENCE, move || database.find(&wanted)).await;
        let value = value.map_err(|what| {
            CannotSay::unavailable(format_args!("`{shown}` cannot be read: {what}"))
        })?;
        let value = value.map_err(|failure| match failure {
            Failure::Damaged(what) => CannotSay::misconfigured(format_args!("`{shown}` {what}")),
            Failure::Replaced => CannotSay::unavailable(format_args!(
                "`{shown}` was written to in its place: write beside it and rename"
            )),
            Failure::Unreadable(error) => {
                CannotSay::unavailable(format_args!("`{shown}` cannot be read: {error}"))
            }
        })?;
        let Some(value) = value else { return Ok(None) };
        match answer(&value) {
            Ok(answer) => Ok(Some(answer.into())),
            Err(what) => Err(CannotSay::misconfigured(format_args!(
                "`{shown}`: the value of `{}` cannot be used: {what}",
                key.escape_debug()
            ))),
        }
    }
}

/// Does what may hang, if there is a seat, where nobody else has to wait for it.
async fn on_disk<T: Send + 'static>(
    seats: &Arc<Semaphore>,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let done = async {
        let seat = Arc::clone(seats).acquire_owned().await.map_err(|closed| closed.to_string())?;
        let work = spawn_blocking(move || {
            let done = work();
            drop(seat);
            done
        });
        work.await.map_err(|lost| lost.to_string())
    };
    let late = |_| Err(format!("no answer within {patience:?}"));
    timeout(patience, done).await.unwrap_or_else(late)
}

/// The answer in a value.
fn answer(value: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(value).map_err(|_| "it is not UTF-8".to_owned())?;
    text.trim().parse().map_err(|error: crate::InvalidAnswer| error.to_string())
}

/// Opens the database anew.
#[derive(Debug)]
struct Opener(PathBuf);

impl Reread for Opener {
    type Content = Database;
    type Problem = FileProblem;
    const ENTRIES: &'static str = "keys";

    fn path(&self) -> &Path {
        &self.0
    }

    fn read(&self) -> Result<Database, FileProblem> {
        let path = self.0.clone();
        Database::open(&self.0).map_err(|failure| match failure {
            Failure::Damaged(what) => FileProblem::Damaged { path, what: what.to_owned() },
            Failure::Replaced => {
                FileProblem::Damaged { path, what: "is being written to".to_owned() }
            }
            Failure::Unreadable(source) => FileProblem::Unreadable { path, source },
        })
    }

    fn count(database: &Database) -> u64 {
        database.keys()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_hangs_no_login() {
        let seats = Arc::new(Semaphore::new(1));
        let (release, hangs) = mpsc::channel::<()>();
        let hanging = on_disk(&seats, Duration::from_millis(50), move || hangs.recv().is_ok());
        assert!(hanging.await.unwrap_err().contains("no answer"));
        // Nor does it take more and more threads.
        assert_eq!(seats.available_permits(), 0);
        assert!(on_disk(&seats, Duration::from_millis(50), || ()).await.is_err());
        release.send(()).unwrap();
        assert_eq!(on_disk(&seats, PATIENCE, || 7).await, Ok(7));
    }
}
