//! A database in a file, by SQLite.
//!
//! Nothing here writes to it, and nothing is asked on a thread that relays.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, types::ValueRef};
use tokio::sync::Semaphore;

use super::{Rows, Statement, one_line};
use crate::{
    DependsOn,
    sources::{Answering, CannotSay, Question, Remote, fields::Value},
};

/// After so many steps of its machine, some microseconds, SQLite looks whether a statement is still wanted.
const STEPS: i32 = 10_000;

/// How many questions are asked at a time.
const CONNECTIONS: usize = 4;

/// A database in a file, and what it is asked.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The file.
    pub file: PathBuf,
    /// Looks a user up.
    pub query: Statement,
}

/// A database in a file.
pub(crate) struct Sqlite {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

struct Shared {
    settings: SqliteSettings,
    /// How long to wait for whoever writes.
    patience: Duration,
    idle: Mutex<Vec<Opened>>,
}

struct Opened {
    connection: Connection,
    /// Which file it was: another may stand under its name by now.
    identity: Identity,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// Ends a statement when nobody waits for it any more.
struct Ender(Arc<AtomicBool>);

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sqlite {
    /// Prepares to ask; the file need not be there. `deadline` is how long an answer may take.
    pub(crate) fn new(settings: SqliteSettings, deadline: Duration) -> Self {
        let shared = Shared { settings, patience: deadline.mul_f64(0.5), idle: Mutex::default() };
        Self { shared: Arc::new(shared), permits: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

impl Remote for Sqlite {
    fn depends_on(&self) -> DependsOn {
        self.shared.settings.query.placeholders().collect()
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let permit = permit.map_err(|_| CannotSay::unavailable("the source is closed"))?;
            let shared = Arc::clone(&self.shared);
            let over = Arc::new(AtomicBool::new(false));
            let ender = Ender(Arc::clone(&over));
            let values = shared.settings.query.values(&question.query, &question.key, "");
            let asked = tokio::task::spawn_blocking(move || {
                let rows = shared.look_up(&values, over);
                drop(permit);
                rows
            });
            let rows = asked.await.map_err(|_| CannotSay::unavailable("the question crashed"))?;
            drop(ender);
            rows?.into_said()
        })
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.shared.settings.file).finish()
    }
}

impl Shared {
    /// Looks a user up, until it is over.
    fn look_up(&self, values: &[String], over: Arc<AtomicBool>) -> Result<Rows, CannotSay> {
        let mut opened = self.take()?;
        let is_over = move || over.load(Ordering::Relaxed);
        let asked_now_and_then = opened.connection.progress_handler(STEPS, Some(is_over));
        asked_now_and_then.map_err(|error| cannot(&error))?;
        let rows = rows(&opened.connection, &self.settings.query, values)?;
        self.idle.lock().push(opened);
        Ok(rows)
    }

    /// An open connection to the file that now has the name.
    fn take(&self) -> Result<Opened, CannotSay> {
        let file = &self.settings.file;
        let identity = Identity::of(file)
            .map_err(|error| CannotSay::unavailable(format_args!("{}: {error}", file.display())))?;
        {
            let mut idle = self.idle.lock();
            idle.retain(|opened| opened.identity == identity);
            if let Some(opened) = idle.pop() {
                return Ok(opened);
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(file, flags)?;
            connection.busy_timeout(self.patience)?;
            Ok(Opened { connection, identity })
        };
        open().map_err(|error| cannot(&error))
    }
}

impl Identity {
    fn of(file: &Path) -> io::Result<Self> {
        let data = fs::metadata(file)?;
        Ok(Self { device: data.dev(), inode: data.ino() })
    }
}

fn rows(connection: &Connection, query: &Statement, values: &[String]) -> Result<Rows, CannotSay> {
    let failed = |error: rusqlite::Error| cannot(&error);
    let mut statement = connection.prepare_cached(query.text()).map_err(failed)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut answer = statement.query(rusqlite::params_from_iter(values)).map_err(failed)?;
    let mut rows = Rows::default();
    while let Some(row) = answer.next().map_err(failed)? {
        let value = |index| match row.get_ref(index).map_err(failed)? {
            ValueRef::Null => Ok(Value::Null),
            ValueRef::Integer(number) => Ok(Value::Integer(number)),
            ValueRef::Real(_) => Ok(Value::Other("a number with a point")),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                Ok(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text))
            }
        };
        rows.add(names.iter().enumerate().map(|(index, name)| (name.as_str(), value(index))))?;
    }
    Ok(rows)
}

fn cannot(error: &rusqlite::Error) -> CannotSay {
    let detail = one_line(&error.to_string());
    match error.sqlite_error_code() {
        // Of this question's values.
        Some(ErrorCode::TypeMismatch | ErrorCode::TooBig) => CannotSay::misconfigured(detail),
        _ => CannotSay::unavailable(detail),
    }
}
