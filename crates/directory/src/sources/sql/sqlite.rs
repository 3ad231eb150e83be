//! A database in a file, by SQLite.
//!
//! Nothing here writes to it but by a statement of the administrator's, and nothing is asked on a thread that relays.

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
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, types::ValueRef};
use tokio::sync::Semaphore;

use super::{
    Each, Known, Rows, Statement, no_statement, one_line, perhaps_written, pool::Job,
    statement::Change, writing::Writing,
};
use crate::{
    DependsOn,
    sources::{
        Answering, Assigned, Assigner, Assigning, Assignment, CannotSay, Question, Remote,
        fields::Value,
    },
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
    /// Writes where a user is.
    pub assign: Option<Statement>,
    /// Gives all users.
    pub list: Option<Statement>,
}

/// A database in a file.
pub(crate) struct Sqlite {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

struct Shared {
    file: PathBuf,
    query: Arc<Statement>,
    assign: Option<Arc<Statement>>,
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
    pub(crate) fn new(settings: &SqliteSettings, deadline: Duration) -> Self {
        let shared = Shared {
            file: settings.file.clone(),
            query: Arc::new(settings.query.clone()),
            assign: settings.assign.clone().map(Arc::new),
            patience: deadline.mul_f64(0.5),
            idle: Mutex::default(),
        };
        Self { shared: Arc::new(shared), permits: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

impl Remote for Sqlite {
    fn depends_on(&self) -> DependsOn {
        self.shared.query.placeholders().collect()
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let permit = permit.map_err(|_| CannotSay::unavailable("the source is closed"))?;
            let shared = Arc::clone(&self.shared);
            let over = Arc::new(AtomicBool::new(false));
            let ender = Ender(Arc::clone(&over));
            let values = shared.query.values(&question.query, &question.key, Change::default());
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

    fn assigner(&self) -> Option<&dyn Assigner> {
        self.shared.assign.is_some().then_some(self)
    }
}

impl Assigner for Sqlite {
    fn assign(&self, assignment: Assignment) -> Assigning<'_> {
        Box::pin(async move {
            let shared = Arc::clone(&self.shared);
            let Some(assign) = shared.assign.clone() else { return Err(no_statement()) };
            let writing = Writing { assignment, query: Arc::clone(&shared.query), assign };
            // It waits no longer than for whoever else writes.
            let written = tokio::task::spawn_blocking(move || shared.write(&writing));
            written.await.unwrap_or_else(|_| Err(perhaps_written("the act crashed")))
        })
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.shared.file).finish()
    }
}

impl Shared {
    /// Looks a user up, until it is over.
    fn look_up(&self, values: &[String], over: Arc<AtomicBool>) -> Result<Rows, CannotSay> {
        let mut opened = self.take()?;
        let is_over = move || over.load(Ordering::Relaxed);
        let asked_now_and_then = opened.connection.progress_handler(STEPS, Some(is_over));
        asked_now_and_then.map_err(|error| cannot(&error))?;
        let rows = rows(&opened.connection, &self.query, values)?;
        self.idle.lock().push(opened);
        Ok(rows)
    }

    /// Writes in one transaction, which no other writer can be in at the same time.
    fn write(&self, writing: &Writing) -> Result<Assigned, CannotSay> {
        let failed = |error: rusqlite::Error| cannot(&error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.file, flags).map_err(failed)?;
        connection.busy_timeout(self.patience).map_err(failed)?;
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        // Dropped, it is undone.
        let transaction = begun.map_err(failed)?;
        let known = || -> Result<Option<Known>, CannotSay> {
            for job in writing.look_ups() {
                let known = rows(&transaction, &job.statement, &job.values)?.into_known()?;
                if known.is_some() {
                    return Ok(known);
                }
            }
            Ok(None)
        };
        let Some((job, before)) = writing.statement(known()?) else {
            return Ok(Assigned::Outdated);
        };
        let changed = execute(&transaction, &job).map_err(failed)?;
        Writing::check_count(changed)?;
        writing.check_after(before, known()?)?;
        transaction.commit().map_err(failed)?;
        Ok(Assigned::Done)
    }

    /// An open connection to the file that now has the name.
    fn take(&self) -> Result<Opened, CannotSay> {
        let file = &self.file;
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

/// Runs a statement that changes rows; how many. Of one that gives rows too, all are taken.
fn execute(connection: &Connection, job: &Job) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare(job.statement.text())?;
    let mut answer = statement.query(rusqlite::params_from_iter(&job.values))?;
    while answer.next()?.is_some() {}
    drop(answer);
    Ok(connection.changes())
}

/// Gives all rows of a list to `each`.
pub(super) fn list(file: &Path, list: &Statement, each: Each<'_>) -> Result<(), CannotSay> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(|error| cannot(&error))?;
    read(&connection, list, &[], each)
}

fn rows(connection: &Connection, query: &Statement, values: &[String]) -> Result<Rows, CannotSay> {
    let mut rows = Rows::default();
    read(connection, query, values, &mut |columns| rows.add(columns))?;
    Ok(rows)
}

fn read(
    connection: &Connection,
    query: &Statement,
    values: &[String],
    each: Each<'_>,
) -> Result<(), CannotSay> {
    let failed = |error: rusqlite::Error| cannot(&error);
    let mut statement = connection.prepare_cached(query.text()).map_err(failed)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut answer = statement.query(rusqlite::params_from_iter(values)).map_err(failed)?;
    while let Some(row) = answer.next().map_err(failed)? {
        let value = |index| match row.get_ref(index).map_err(failed)? {
            ValueRef::Null => Ok(Value::Null),
            ValueRef::Integer(number) => Ok(Value::Integer(number)),
            ValueRef::Real(_) => Ok(Value::Other("a number with a point")),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                Ok(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text))
            }
        };
        let mut columns =
            names.iter().enumerate().map(|(index, name)| (name.as_str(), value(index)));
        each(&mut columns)?;
    }
    Ok(())
}

fn cannot(error: &rusqlite::Error) -> CannotSay {
    let detail = one_line(&error.to_string());
    match error.sqlite_error_code() {
        // Of this question's values.
        Some(ErrorCode::TypeMismatch | ErrorCode::TooBig) => CannotSay::misconfigured(detail),
        _ => CannotSay::unavailable(detail),
    }
}
