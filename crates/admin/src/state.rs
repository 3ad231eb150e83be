//! The state folder and the lock that says who may write there. Nothing here knows what lies in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The folder within the state folder where it is remembered what was migrated.
pub const MIGRATIONS: &str = "migrate";

/// The lock's file within the state folder.
const LOCK: &str = "lock";

/// How often a taken lock is tried again.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the state folder {}: {problem}", path.display())]
pub struct StateError {
    path: PathBuf,
    problem: String,
}

/// Makes the state folder where it is missing, for its owner alone: there may be passwords inside.
/// Where we are root and `owner` (user and group) is given, the folder becomes his.
///
/// # Errors
/// [`StateError`] if it cannot be made, is something else than a folder, is writable by others, or would
/// have to be taken from root although other things lie in it.
pub fn prepare_state(path: &Path, owner: Option<(u32, u32)>) -> Result<(), StateError> {
    let failed = |problem| StateError { path: path.to_owned(), problem };
    let io_failed = |error: io::Error| failed(error.to_string());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io_failed)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_failed(error));
        }
        _ => {}
    }
    let data = fs::metadata(path).map_err(io_failed)?;
    if !data.is_dir() {
        return Err(failed("it is no folder".into()));
    }
    // Who can write there can replace the table of users.
    if data.permissions().mode() & 0o022 != 0 {
        let problem = "others can write there: chmod 700 it, or name a folder of its own";
        return Err(failed(problem.into()));
    }
    let Some((uid, gid)) = owner.filter(|(uid, _)| *uid != data.uid()) else { return Ok(()) };
    // A slip like `state = "/var/lib"` must not give that away.
    if !is_ours(path).map_err(io_failed)? {
        let problem = "other things lie in it, and it is not the configured user's: name a folder \
                       that is new or empty, or chown it";
        return Err(failed(problem.into()));
    }
    chown(path, Some(uid), Some(gid)).map_err(io_failed)
}

/// Whether nothing lies in a folder, or a state: what migrations remember may be there before a daemon is.
fn is_ours(path: &Path) -> io::Result<bool> {
    if path.join(LOCK).exists() {
        return Ok(true);
    }
    let mut entries = fs::read_dir(path)?;
    entries.try_fold(true, |ours, entry| Ok(ours && entry?.file_name() == MIGRATIONS))
}

/// The right to write in the state folder: held by the daemon while it serves, else by who acts on
/// users without a daemon. It ends with this value, and with the process in any case.
#[derive(Debug)]
pub struct StateLock {
    // Locked as long as it is open.
    _file: File,
}

/// The lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock's file cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: io::Error,
    },
    /// Another process has it.
    #[error(
        "{} is in use by {holder}: stop that one first, or give this one another state folder",
        path.display()
    )]
    Held {
        /// The state folder.
        path: PathBuf,
        /// Who has it, as far as he said.
        holder: String,
    },
}

impl StateLock {
    /// Takes the lock of a state folder; waits for it no longer than `patience`. Blocks.
    ///
    /// # Errors
    /// [`LockError`] if another process keeps it, or its file cannot be used.
    pub fn take(state: &Path, patience: Duration) -> Result<Self, LockError> {
        let path = state.join(LOCK);
        let failed = |problem| LockError::File { path: path.clone(), problem };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(problem)) => return Err(failed(problem)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    let holder = holder(&mut file);
                    return Err(LockError::Held { path: state.to_owned(), holder });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(TRY_EVERY),
            }
        }
        // For people who wonder who has it; nobody else goes by it.
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut number = String::new();
    let read = file.rewind().and_then(|()| file.take(32).read_to_string(&mut number));
    match (read, number.trim()) {
        (Ok(_), number) if !number.is_empty() => format!("process {number}"),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_is_made_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep/state");
        prepare_state(&state, None).unwrap();
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        prepare_state(&state, None).unwrap();
    }

    #[test]
    fn a_state_folder_where_others_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = prepare_state(folder.path(), None).unwrap_err().to_string();
        assert!(refused.contains("chmod 700"), "{refused}");
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_never_given_away() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(MIGRATIONS)).unwrap();
        assert!(is_ours(folder.path()).unwrap());
        fs::write(folder.path().join("precious"), "").unwrap();
        let refused = prepare_state(folder.path(), Some((u32::MAX - 7, 0))).unwrap_err();
        assert!(refused.to_string().contains("other things lie in it"), "{refused}");
    }

    #[test]
    fn a_file_in_the_place_of_the_state_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::write(&state, "").unwrap();
        assert!(prepare_state(&state, None).is_err());
    }

    #[test]
    fn the_lock_has_one_holder_who_is_named_and_is_free_when_he_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let held = StateLock::take(folder.path(), Duration::ZERO).unwrap();
        let refused = StateLock::take(folder.path(), Duration::from_millis(50)).unwrap_err();
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        StateLock::take(folder.path(), Duration::ZERO).unwrap();
    }
}
