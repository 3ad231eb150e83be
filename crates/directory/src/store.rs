//! The embedded store: which user is where, and who said so when, in one SQLite file.
//!
//! Nothing here knows the back ends or asks other sources. Every function blocks on the disk: a
//! daemon calls all but [`Store::find`] on a thread that may block.

mod changes;
mod import;
mod pages;
mod readers;
mod schema;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use model::{CanonicalUser, Secret, UserName};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior};

use self::readers::Readers;
use crate::{Answer, Place};

pub(crate) use self::pages::{ListedMailbox, Page, Settle, StoredMailbox, Swap};
pub use self::{
    import::{Import, ImportFormat, ImportReport, WrongLines},
    pages::{Renamed, ShardRun, StoredPool},
};

/// How long a writer waits for another process that writes.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// Why the store cannot say, or cannot do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed: the file is damaged, locked for too long, or the disk refuses.
    #[error("the user table cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// A folder or file cannot be made or looked at.
    #[error("`{path}` cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text to import cannot be read.
    #[error("the text to import cannot be read: {0}")]
    Input(std::io::Error),
    /// The file was made by a later release.
    #[error(
        "the user table has version {found}, and this release knows versions up to {known}: \
         use the release that wrote it"
    )]
    Newer {
        /// The file's version.
        found: usize,
        /// The latest version known here.
        known: usize,
    },
    /// The file is another program's.
    #[error("`{0}` is a database of another program")]
    NotOurs(PathBuf),
    /// The file was exchanged or removed while in use, which SQLite cannot follow.
    #[error(
        "`{0}` was exchanged or removed while in use: stop posthouse before you restore it, remove \
         its `-wal` and `-shm` files, and start again"
    )]
    Replaced(PathBuf),
    /// A row holds what no release writes.
    #[error("the user table's row of `{user}` cannot be used: {what}")]
    Row {
        /// Whose row.
        user: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file system cannot hold a database that several processes use.
    #[error("`{0}` is on a file system without shared memory files: use a local disk")]
    Unshared(PathBuf),
}

/// Where a user is, as stored.
#[derive(Clone, Debug)]
pub struct Home {
    /// Where, and as whom; none if that is left to a pool.
    pub answer: Option<Answer>,
    /// His password at the back end, where one is stored.
    pub password: Option<Secret>,
    /// What his password is compared with: `{SCHEME}` and what that scheme makes of a password.
    pub verifier: Option<Secret>,
    /// What stands for his mailbox whatever his name is.
    pub id: Option<Box<str>>,
    /// Whether he may not log in.
    pub disabled: bool,
    /// When this was last changed.
    pub changed_at: SystemTime,
}

/// Which users to list.
#[derive(Clone, Debug)]
pub struct Range {
    /// What their names begin with.
    pub prefix: String,
    /// The last user of the page before.
    pub after: Option<CanonicalUser>,
    /// How many at most.
    pub limit: usize,
}

/// One user in a list. A list never holds a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Who.
    pub user: CanonicalUser,
    /// Where, and as whom; none if that is left to a pool.
    pub answer: Option<Answer>,
    /// Whether a password is stored, or what one is compared with.
    pub has_password: bool,
    /// When this was last changed.
    pub changed_at: SystemTime,
}

/// What becomes of a stored password.
#[derive(Clone, Debug)]
pub enum PasswordChange {
    /// It is removed.
    Forget,
    /// It stays as it is.
    Keep,
    /// It is replaced.
    Set(Secret),
}

/// What an act came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// The user was not there before.
    Added,
    /// The user was there and is now elsewhere, or has another name or password there.
    Changed,
    /// The user was there and is not any more.
    Removed,
    /// All was so before.
    Unchanged,
}

/// One line of the history. It says that a password was changed and never which it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// Who did it.
    pub actor: String,
    /// To what kind of thing: `user`, `shard`, `pool` or `backend`.
    pub about: String,
    /// To which.
    pub subject: String,
    /// What: `place`, `assign`, `import`, `remove`, `rename`, `change-id`, `set-password`, `forget-password`, `open`,
    /// `add-backend`, `place-shards`, `drain`, `enable`, `hold` or `release`.
    pub act: String,
    /// What was so before it, such as his answer.
    pub before: Option<String>,
    /// What is so after it.
    pub after: Option<String>,
}

/// The store. Reading is done by one connection per thread, writing by one at a time.
#[derive(Debug)]
pub struct Store {
    readers: Readers,
    writer: Mutex<Connection>,
}

impl Store {
    /// The name of the database within the state folder.
    pub const FILE: &str = "directory.sqlite";

    /// Opens the store in a state folder. Folder and file are made if they are missing, for their
    /// owner alone: there may be passwords inside.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done, or the file is damaged, newer, or not ours.
    pub fn open(state: &Path) -> Result<Self, StoreError> {
        let path = state.join(Self::FILE);
        make_private(state, &path)?;
        let mut writer = schema::open(&path)?;
        writer.busy_timeout(WRITER_PATIENCE)?;
        schema::migrate(&mut writer, &path)?;
        let readers = Readers::new(path)?;
        let writer = Mutex::new(writer);
        Ok(Self { readers, writer })
    }

    /// Finds a user. It takes microseconds and is meant to be called wherever one is.
    ///
    /// # Errors
    /// [`StoreError`] if nobody can say; that is not a "no".
    pub fn find(&self, user: &CanonicalUser) -> Result<Option<Home>, StoreError> {
        self.readers.with(|connection| find(connection, user))
    }

    /// Lists users in the order of their names' bytes.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done.
    pub fn list(&self, range: &Range) -> Result<Vec<Listed>, StoreError> {
        let after = range.after.as_ref().map_or("", CanonicalUser::as_str);
        // Of two lower bounds the higher one counts. A name that is the prefix itself belongs to it.
        let sql = "SELECT place, user_there, coalesce(password, password_hash) IS NOT NULL, changed_at, name FROM users \
                   WHERE name > ?1 AND name >= ?2 AND (?3 IS NULL OR name < ?3) ORDER BY name LIMIT ?4";
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        self.readers.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let end = past(&range.prefix);
            let mut rows = statement.query((after, &range.prefix, end, limit))?;
            let mut listed = Vec::new();
            while let Some(row) = rows.next()? {
                let name: String = row.get(4)?;
                listed.push(Listed {
                    answer: stored_answer(row, &name)?,
                    user: stored_user(name)?,
                    has_password: row.get(2)?,
                    changed_at: stored_time(row, 3)?,
                });
            }
            Ok(listed)
        })
    }

    /// Counts users by the place stored for them. It reads the whole table.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done.
    pub fn count_by_place(&self) -> Result<Vec<(Place, u64)>, StoreError> {
        let sql = "SELECT place, count(*) FROM users WHERE place IS NOT NULL GROUP BY place ORDER BY place";
        self.readers.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(())?;
            let mut counts = Vec::new();
            while let Some(row) = rows.next()? {
                let place: String = row.get(0)?;
                counts.push((stored_place(&place, "some user")?, row.get(1)?));
            }
            Ok(counts)
        })
    }

    /// The newest events, of one user or of all, newest first.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done.
    pub fn history(
        &self,
        user: Option<&CanonicalUser>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let sql = match user {
            Some(_) => {
                "SELECT subject, act, before, at, actor, after, about FROM history \
                 WHERE subject = ?1 AND about = 'user' ORDER BY id DESC LIMIT ?2"
            }
            None => {
                "SELECT subject, act, before, at, actor, after, about FROM history \
                 WHERE ?1 IS NULL ORDER BY id DESC LIMIT ?2"
            }
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query((user.map(CanonicalUser::as_str), limit))?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(Event {
                    at: stored_time(row, 3)?,
                    actor: row.get(4)?,
                    about: row.get(6)?,
                    subject: row.get(0)?,
                    act: row.get(1)?,
                    before: row.get(2)?,
                    after: row.get(5)?,
                });
            }
            Ok(events)
        })
    }

    /// Says where a user is. Whether the place leads to a back end is for the caller to check
    /// ([`crate::Backends::check`]). `actor` is who does this, for the history.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done; then nothing was changed.
    pub fn place(
        &self,
        actor: &str,
        user: &CanonicalUser,
        answer: &Answer,
        password: PasswordChange,
    ) -> Result<Change, StoreError> {
        self.write(|transaction| {
            let by = changes::By::now(actor, "place");
            let placed = changes::place(transaction, &by, user, Some(answer))?;
            let secret = changes::change_password(transaction, &by, user, &password)?;
            Ok(if placed == Change::Unchanged { secret } else { placed })
        })
    }

    /// Notes in the history what a source was told of a user.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done.
    pub(crate) fn note_assigned(
        &self,
        actor: &str,
        user: &CanonicalUser,
        before: Option<&str>,
        after: &str,
    ) -> Result<(), StoreError> {
        let by = changes::By::now(actor, "assign");
        self.write(|transaction| by.note(transaction, ("user", user.as_str()), before, Some(after)))
    }

    /// Forgets a user. An unknown one is [`Change::Unchanged`].
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be done; then nothing was changed.
    pub fn remove(&self, actor: &str, user: &CanonicalUser) -> Result<Change, StoreError> {
        let by = changes::By::now(actor, "remove");
        self.write(|transaction| changes::remove(transaction, &by, user))
    }

    /// The writing connection, for tests that damage what is stored.
    #[cfg(test)]
    pub(crate) fn writer(&self) -> parking_lot::MutexGuard<'_, Connection> {
        self.writer.lock()
    }

    /// Runs an act in one transaction, which is undone if the act fails.
    fn write<T>(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.readers.check_file()?;
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = act(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// Makes folder and file for their owner alone. The file is never opened here if it exists: closing
/// it would drop the locks that SQLite holds on it in this process.
fn make_private(state: &Path, path: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| StoreError::File { path, source }
    };
    let folder = fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
    folder.map_err(failed(state))?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match file {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(path)(error)),
        Ok(_) => Ok(()),
        Err(_) => {
            let mode = fs::metadata(path).map_err(failed(path))?.mode();
            if mode & 0o077 == 0 {
                return Ok(());
            }
            let owner_only = fs::Permissions::from_mode(mode & 0o700);
            fs::set_permissions(path, owner_only).map_err(failed(path))
        }
    }
}

fn find(connection: &Connection, user: &CanonicalUser) -> Result<Option<Home>, StoreError> {
    let sql = "SELECT place, user_there, password, changed_at, password_hash, id, disabled \
               FROM users WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([user.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let secret = |column| {
        let stored: Option<Vec<u8>> = row.get(column)?;
        stored.map(Secret::new).transpose().map_err(|error| bad_row(user.as_str(), error))
    };
    let id: Option<String> = row.get(5)?;
    Ok(Some(Home {
        answer: stored_answer(row, user.as_str())?,
        password: secret(2)?,
        verifier: secret(4)?,
        id: id.map(String::into_boxed_str),
        disabled: row.get(6)?,
        changed_at: stored_time(row, 3)?,
    }))
}

/// The answer in the columns 0 and 1 of a row; none if the row leaves the place open.
fn stored_answer(row: &Row<'_>, user: &str) -> Result<Option<Answer>, StoreError> {
    let place: Option<String> = row.get(0)?;
    let Some(place) = place else { return Ok(None) };
    let user_there: Option<String> = row.get(1)?;
    let user_there = user_there.map(UserName::new).transpose();
    Ok(Some(Answer {
        user: user_there.map_err(|error| bad_row(user, error))?,
        place: stored_place(&place, user)?,
    }))
}

fn stored_place(place: &str, user: &str) -> Result<Place, StoreError> {
    place.parse().map_err(|error| bad_row(user, error))
}

fn stored_user(name: String) -> Result<CanonicalUser, StoreError> {
    match UserName::new(name.as_str()) {
        Ok(user) => Ok(CanonicalUser::declare(user)),
        Err(error) => Err(bad_row(&name, error)),
    }
}

/// A time, stored as milliseconds since 1970.
fn stored_time(row: &Row<'_>, column: usize) -> Result<SystemTime, StoreError> {
    let since: u64 = row.get(column)?;
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(since));
    time.ok_or_else(|| bad_row("some user", "a time is out of range"))
}

fn bad_row(user: &str, what: impl ToString) -> StoreError {
    StoreError::Row { user: user.to_owned(), what: what.to_string() }
}

/// The least text that is greater than every text with this prefix; none if there is no such text.
fn past(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests;
