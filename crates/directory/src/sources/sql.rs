//! Databases that speak SQL: PostgreSQL, MySQL or MariaDB over a network, SQLite in a file, and others behind ODBC.
//!
//! No value ever becomes a part of a statement: all are bound to parameters. Nothing here remembers an answer.

mod listen;
mod mysql;
mod odbc;
mod pool;
mod postgres;
mod sqlite;
mod statement;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use model::{Host, HostPort, Secret};

use super::{
    Answering, CannotSay, Question, Remote, Said,
    cached::Forgetter,
    fields::{Fields, Value},
};
use crate::{DependsOn, Rules};

use self::pool::{Job, Pool};
pub(crate) use self::{odbc::Odbc, sqlite::Sqlite};
pub use self::{
    odbc::{ConnectionString, InvalidConnectionString, OdbcSettings},
    sqlite::SqliteSettings,
    statement::{Dialect, InvalidStatement, Statement, Task},
};

/// So many rows may say the same of one user; more are read of none.
const MOST_ROWS: usize = 16;

/// Of the time that an answer may take, how much a statement gets: what is left is for hearing why it was ended.
const STATEMENT_SHARE: f64 = 0.75;

/// Where a database server is, and how to log in there.
#[derive(Clone, Debug)]
pub struct SqlServer {
    /// Hosts, tried in turn. None: the socket.
    pub hosts: Vec<(Host, u16)>,
    /// Its Unix socket; of PostgreSQL the folder will do.
    pub socket: Option<PathBuf>,
    /// The database.
    pub database: String,
    /// Who we are there.
    pub user: String,
    /// Our password there, if it asks for one.
    pub password: Option<Secret>,
    /// Under what TLS.
    pub tls: SqlTls,
}

/// Who we are, where, and in which database. Never the password.
impl fmt::Display for SqlServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.user)?;
        match &self.socket {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => {
                for (index, (host, port)) in self.hosts.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    let at = HostPort { host: host.clone(), port: Some(*port) };
                    write!(f, "{comma}{at}")?;
                }
            }
        }
        write!(f, "/{}", self.database)
    }
}

/// How a connection to a database is kept private.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SqlTls {
    /// It is not.
    None,
    /// By TLS, without which nothing is asked.
    Required {
        /// Whether the certificate has to be that of the host.
        verify: bool,
        /// Authorities to trust beside the public ones.
        ca_file: Option<PathBuf>,
        /// Our own certificate and its key.
        certificate: Option<(PathBuf, PathBuf)>,
    },
}

/// A database over a network, and what it is asked.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// Whose SQL it speaks. SQLite has [`SqliteSettings`], and ODBC [`OdbcSettings`].
    pub dialect: Dialect,
    /// Where it is.
    pub server: SqlServer,
    /// How many connections it gets at most, that of `listen` among them.
    pub connections: usize,
    /// Looks a user up.
    pub query: Statement,
    /// The channel on which PostgreSQL tells of changes.
    pub listen: Option<String>,
}

/// A database over a network.
pub(crate) struct Sql {
    server: Server,
    query: Arc<Statement>,
    listening: Option<listen::Listening>,
}

enum Server {
    MySql(Pool<mysql::MySql>),
    Postgres(Pool<postgres::Postgres>),
}

impl Sql {
    /// Prepares to ask; the database need not be there. `deadline` is how long an answer may take.
    pub(crate) fn new(
        settings: &SqlSettings,
        deadline: Duration,
        rules: &Rules,
        forgetter: Forgetter,
    ) -> Self {
        let hosts = u32::try_from(settings.server.hosts.len().max(1)).unwrap_or(1);
        let times =
            Times { statement: deadline.mul_f64(STATEMENT_SHARE), connect: deadline / (hosts + 1) };
        let listening = settings.listen.as_ref().map(|channel| {
            let channel = channel.clone();
            let servers = postgres::Postgres::new(&settings.server, times);
            listen::Listening::new(servers, channel, rules.clone(), forgetter)
        });
        // The one that listens is one of them.
        let asking = settings.connections.saturating_sub(usize::from(listening.is_some())).max(1);
        let server = match settings.dialect {
            Dialect::MySql => {
                Server::MySql(Pool::new(mysql::MySql::new(&settings.server, times), asking, times))
            }
            Dialect::Odbc | Dialect::Postgres | Dialect::Sqlite => {
                let driver = postgres::Postgres::new(&settings.server, times);
                Server::Postgres(Pool::new(driver, asking, times))
            }
        };
        Self { server, query: Arc::new(settings.query.clone()), listening }
    }
}

impl Remote for Sql {
    fn depends_on(&self) -> DependsOn {
        self.query.placeholders().collect()
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move {
            if let Some(listening) = &self.listening {
                listening.begin();
            }
            let values = self.query.values(&question.query, &question.key, "");
            let job = Job { statement: Arc::clone(&self.query), values };
            let rows = match &self.server {
                Server::MySql(pool) => pool.look_up(job).await?,
                Server::Postgres(pool) => pool.look_up(job).await?,
            };
            rows.into_said()
        })
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql").field("query", &self.query).finish_non_exhaustive()
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// A connection to one host, logged in.
    connect: Duration,
    /// A statement, at the server.
    statement: Duration,
}

/// What the rows of an answer say together.
#[derive(Default)]
struct Rows {
    first: Option<Fields>,
    count: usize,
}

impl Rows {
    /// Takes a row: the names of its columns and their values.
    fn add<'v>(
        &mut self,
        columns: impl Iterator<Item = (&'v str, Result<Value<'v>, CannotSay>)>,
    ) -> Result<(), CannotSay> {
        self.count += 1;
        if self.count > MOST_ROWS {
            let detail = format!("the query gives more than {MOST_ROWS} rows for one user");
            return Err(CannotSay::misconfigured(detail));
        }
        let mut fields = Fields::default();
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in columns {
            fields.set(name, value?)?;
            if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                let detail = format!("the query gives the column `{name}` twice");
                return Err(CannotSay::misconfigured(detail));
            }
            names.push(name);
        }
        match &self.first {
            Some(first) if !first.is_same(&fields) => Err(CannotSay::misconfigured(
                "the query gives several rows that differ for one user",
            )),
            Some(_) => Ok(()),
            None => {
                self.first = Some(fields);
                Ok(())
            }
        }
    }

    fn into_said(self) -> Result<Said, CannotSay> {
        let found = self.first.map(Fields::into_found).transpose()?;
        Ok(Said::from(found))
    }
}

/// A value whose type no column has that means something here: a date, an address, a number with a point.
const OTHER_TYPE: &str = "of another type";

fn unreadable(error: impl fmt::Display) -> CannotSay {
    CannotSay::misconfigured(one_line(&format!("a value cannot be read: {error}")))
}

/// Why it cannot say, in the words of the server where these are its.
fn refused(error: &sqlx::Error) -> CannotSay {
    CannotSay::unavailable(words(error))
}

fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(answer) => one_line(answer.message()),
        error => one_line(&error.to_string()),
    }
}

/// What a server said, fit for a line of the log.
fn one_line(text: &str) -> String {
    let fits = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(fits).take(300).collect()
}
