//! A database behind an ODBC driver, which other processes ask: `posthouse-worker`, one for each connection.
//!
//! No driver's code ever runs in this process. One that crashes or hangs costs its worker, and the question that it
//! was asked.

mod connection_string;
#[cfg(test)]
mod tests;
mod worker;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use proto::worker::{Cell, Failure as Told, LONGEST_VALUE, Open, Report};

use super::{
    Each, MOST_ROWS, OTHER_TYPE, STATEMENT_SHARE, Statement, Times, one_line,
    pool::{Driver, Failure, Fault, Job, Pool},
    statement::Change,
};
use crate::{
    DependsOn,
    sources::{Answering, CannotSay, Question, Remote, fields::Value},
};

use self::worker::{Lost, Worker};

pub use self::connection_string::{ConnectionString, InvalidConnectionString};

/// A database behind an ODBC driver, and what it is asked.
#[derive(Clone, Debug)]
pub struct OdbcSettings {
    /// How to connect to it. None: whoever we are may not read that.
    pub connection: Option<ConnectionString>,
    /// Where the worker's program may be: the first of these that is there.
    pub programs: Vec<PathBuf>,
    /// How many workers there are at most, each with a connection.
    pub connections: usize,
    /// Looks a user up.
    pub query: Statement,
}

/// A database behind an ODBC driver.
pub(crate) struct Odbc {
    workers: Pool<Workers>,
    query: Arc<Statement>,
}

impl Odbc {
    /// Prepares to ask; neither driver nor worker need be there. `deadline` is how long an answer may take.
    pub(crate) fn new(settings: &OdbcSettings, deadline: Duration) -> Self {
        let times =
            Times { statement: deadline.mul_f64(STATEMENT_SHARE), connect: deadline.mul_f64(0.5) };
        let workers = Workers {
            connection: settings.connection.clone(),
            programs: settings.programs.clone(),
            statement: Arc::clone(settings.query.text()),
            times,
        };
        Self {
            workers: Pool::new(workers, settings.connections, times),
            query: Arc::new(settings.query.clone()),
        }
    }
}

impl Remote for Odbc {
    fn depends_on(&self) -> DependsOn {
        self.query.placeholders().collect()
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move {
            let values = self.query.values(&question.query, &question.key, Change::default());
            let job = Job { statement: Arc::clone(&self.query), values };
            self.workers.look_up(job).await?.into_said()
        })
    }
}

impl fmt::Debug for Odbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Odbc").field("query", &self.query).finish_non_exhaustive()
    }
}

/// How workers are started, and asked.
struct Workers {
    connection: Option<ConnectionString>,
    programs: Vec<PathBuf>,
    statement: Arc<str>,
    times: Times,
}

impl Driver for Workers {
    type Connection = Worker;

    fn servers(&self) -> usize {
        1
    }

    async fn connect(&self, _: usize) -> Result<Worker, CannotSay> {
        let unread = || CannotSay::unavailable("the connection string could not be read");
        let connection = self.connection.as_ref().ok_or_else(unread)?;
        let mut worker = Worker::start(&self.programs)?;
        let open = Open {
            connection: connection.secret().clone(),
            statement: self.statement.to_string(),
            connect_seconds: seconds(self.times.connect),
            statement_seconds: seconds(self.times.statement),
            // One more tells that there are too many.
            rows: u32::try_from(MOST_ROWS + 1).unwrap_or(u32::MAX),
        };
        let lost = match worker.open(open).await {
            Ok(Report::Opened) => return Ok(worker),
            Ok(Report::Failed(told)) => return Err(CannotSay::unavailable(self.words(told))),
            Ok(_) => Lost::OutOfTurn,
            Err(lost) => lost,
        };
        Err(CannotSay::unavailable(worker.told(&lost).await))
    }

    async fn read(&self, worker: &mut Worker, job: &Job, each: Each<'_>) -> Result<(), Failure> {
        match self.answer(worker, job, each).await {
            Ok(answered) => answered,
            Err(Lost::TooLong(invalid)) => {
                let detail = format_args!("the question makes {invalid}");
                Err(Failure { cannot: CannotSay::misconfigured(detail), fault: Fault::Question })
            }
            Err(lost) => {
                let cannot = CannotSay::unavailable(worker.told(&lost).await);
                Err(Failure { cannot, fault: Fault::Connection })
            }
        }
    }
}

impl Workers {
    /// Asks a worker, and reads all of its answer, so that it can be asked again.
    async fn answer(
        &self,
        worker: &mut Worker,
        job: &Job,
        each: Each<'_>,
    ) -> Result<Result<(), Failure>, Lost> {
        worker.ask(job.values.clone()).await?;
        let names: Vec<String> = match worker.hear().await? {
            Report::Columns(names) => names.into_iter().map(str::to_owned).collect(),
            Report::Failed(told) => return Ok(Err(self.failure(told))),
            _ => return Err(Lost::OutOfTurn),
        };
        let mut wrong = None;
        for _ in 0..=MOST_ROWS + 1 {
            match worker.hear().await? {
                Report::Row(cells) if cells.len() == names.len() => {
                    let values = names.iter().zip(cells);
                    let mut columns = values.map(|(name, cell)| (name.as_str(), value(name, cell)));
                    wrong = wrong.or_else(|| each(&mut columns).err());
                }
                Report::End => {
                    let unusable = |cannot| Failure { cannot, fault: Fault::Question };
                    return Ok(wrong.map_or(Ok(()), |cannot| Err(unusable(cannot))));
                }
                Report::Failed(told) => return Ok(Err(self.failure(told))),
                _ => break,
            }
        }
        Err(Lost::OutOfTurn)
    }

    /// What became of a statement, by its SQLSTATE: class 22 is of this question's values; HYT00, PostgreSQL's
    /// 57014 and ODBC 2's S1T00 of its time.
    fn failure(&self, told: Told<'_>) -> Failure {
        let words = self.words(told);
        match told.state {
            state if state.starts_with("22") => {
                Failure { cannot: CannotSay::misconfigured(words), fault: Fault::Question }
            }
            "HYT00" | "57014" | "S1T00" => {
                Failure { cannot: CannotSay::unavailable(words), fault: Fault::Question }
            }
            _ => Failure { cannot: CannotSay::unavailable(words), fault: Fault::Connection },
        }
    }

    /// A driver's words, without what it may have read in the connection string.
    fn words(&self, told: Told<'_>) -> String {
        let hidden = |connection: &ConnectionString| connection.without_secrets(told.text);
        let text = one_line(&self.connection.as_ref().map(hidden).unwrap_or_default());
        if told.state.is_empty() { text } else { format!("{text} ({})", one_line(told.state)) }
    }
}

/// Whole seconds, and one at least: 0 means for ever.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

fn value<'c>(name: &str, cell: Cell<'c>) -> Result<Value<'c>, CannotSay> {
    Ok(match cell {
        Cell::Boolean(yes) => Value::Boolean(yes),
        Cell::Bytes(bytes) => Value::Bytes(bytes),
        Cell::Integer(number) => Value::Integer(number),
        Cell::Long => {
            let name: String = name.escape_debug().take(100).collect();
            return Err(CannotSay::misconfigured(format_args!(
                "`{name}` has more than {LONGEST_VALUE} bytes; no more are read"
            )));
        }
        Cell::Null => Value::Null,
        Cell::Other => Value::Other(OTHER_TYPE),
        Cell::Text(text) => Value::Text(text),
    })
}
