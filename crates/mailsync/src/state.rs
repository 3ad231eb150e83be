//! What is remembered of a pair: which message is which, what both ends had agreed on, and what was about to
//! be done when the process died.
//!
//! Nothing here knows an end. One SQLite file a pair, and one process at a time: the lock is the kernel's, so
//! that it ends with the process.

mod intents;
mod rows;
mod schema;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior, ffi::ErrorCode};

pub(crate) use self::{
    intents::{Intended, Intent},
    rows::{MailboxMemory, Pairing, Single, Summary},
};

/// What can be done in a transaction.
pub(crate) mod record {
    pub(crate) use super::{intents::*, rows::*};
}

/// Why a pair's memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is not what we wrote.
    #[error(
        "`{path}` is damaged ({what}): restore it from a backup, or move it away together with its \
         `-wal` and `-shm` files; without it the next run compares both ends message by message and \
         copies only what is missing"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// SQLite failed otherwise: the disk is full, or refuses.
    #[error("`{path}` cannot be used: {source}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A folder or file cannot be made or looked at.
    #[error("`{path}` cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the pair.
    #[error("another process works on this pair: it holds `{0}`")]
    Locked(PathBuf),
    /// The file was made by a later release.
    #[error(
        "`{path}` has version {found}, and this release knows versions up to {known}: use the release \
         that wrote it"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The file's version.
        found: usize,
        /// The latest version known here.
        known: usize,
    },
    /// The file is of another pair, or another program's.
    #[error("`{path}` belongs to {whose}")]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// To whom.
        whose: String,
    },
}

/// The memory of one pair, and the lock on it. Clones share both.
#[derive(Clone, Debug)]
pub struct PairState(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    database: Mutex<Connection>,
    path: PathBuf,
    /// Held, never read.
    _lock: File,
}

/// Longer than what another program that looks into the file takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

impl PairState {
    /// Opens the memory of a pair in a folder, and takes the lock on it. Folder and files are made if they
    /// are missing, for their owner alone. `left` and `right` are the names of the ends ([`crate::End::name`]).
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(folder: &Path, left: &str, right: &str) -> Result<Self, StateError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| StateError::File { path, source }
        };
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed(folder))?;
        let stem = stem(left, right);
        let lock = folder.join(format!("{stem}.lock"));
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&lock).map_err(failed(&lock))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StateError::Locked(lock.clone()),
            TryLockError::Error(source) => StateError::File { path: lock.clone(), source },
        })?;
        let path = folder.join(format!("{stem}.sqlite"));
        let made = options.open(&path).map_err(failed(&path))?;
        drop(made);
        let database = schema::open(&path, left, right)?;
        let shared = Shared { database: Mutex::new(database), path, _lock: file };
        Ok(Self(Arc::new(shared)))
    }

    /// Forgets what is remembered of a pair. The lock must be free.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn forget(folder: &Path, left: &str, right: &str) -> Result<(), StateError> {
        let state = Self::open(folder, left, right)?;
        for suffix in ["", "-wal", "-shm"] {
            let mut path = state.0.path.clone().into_os_string();
            path.push(suffix);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::File { path: path.into(), source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Runs an act in one transaction, on a thread that may block. It is on disk when this is ready, and it
    /// is done as a whole even if nobody waits for it any more.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        let shared = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut database = shared.database.lock();
            let done = in_transaction(&mut database, act);
            done.map_err(|error| failure(&shared.path, error))
        });
        match done.await {
            Ok(done) => done,
            Err(_) => Err(StateError::File {
                path: self.0.path.clone(),
                source: io::Error::other("the thread that wrote it has ended"),
            }),
        }
    }
}

fn in_transaction<T>(
    database: &mut Connection,
    act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = act(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// The name of a pair's files: the same for the same pair, and not a way out of the folder whatever the ends
/// are called.
fn stem(left: &str, right: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("posthouse mailsync 2026 name of a pair");
    for name in [left, right] {
        hasher.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(name.as_bytes());
    }
    let hash = hasher.finalize().to_hex();
    let tell = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    let told: String = left.rsplit('/').next().unwrap_or(left).chars().take(40).map(tell).collect();
    format!("{}-{}", told.trim_start_matches('.'), hash.get(..16).unwrap_or_default())
}

fn failure(path: &Path, source: rusqlite::Error) -> StateError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StateError::Damaged { path, what: source.to_string() }
        }
        // What a column holds is not what was written there.
        None => StateError::Damaged { path, what: source.to_string() },
        Some(_) => StateError::Database { path, source },
    }
}

#[cfg(test)]
mod tests;
