//! Databases that speak SQL: PostgreSQL, MySQL or MariaDB over a network, SQLite in a file, and others behind ODBC.
//!
//! No value ever becomes a part of a statement: all are bound to parameters. Nothing here remembers an answer.

mod list;
mod listen;
mod mysql;
mod odbc;
mod pool;
mod postgres;
mod sqlite;
mod statement;
mod writing;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use model::{Host, HostPort, Secret};
use sqlx::{AssertSqlSafe, Column, Database, Encode, Executor, IntoArguments, Row, Type};

use super::{
    Answering, Assigner, Assigning, Assignment, CannotSay, Found, Question, Remote, Said,
    cached::Forgetter,
    fields::{Fields, Value},
};
use crate::{DependsOn, Rules};

pub use self::{
    list::{ListProblem, SourceUser, list_users},
    odbc::{ConnectionString, InvalidConnectionString, OdbcSettings},
    sqlite::SqliteSettings,
    statement::{Dialect, InvalidStatement, Statement, Task},
};
pub(crate) use self::{odbc::Odbc, sqlite::Sqlite};
use self::{
    pool::{Failure, Fault, Job, Pool},
    statement::Change,
    writing::Writing,
};

/// Sets our password and the files of TLS, which the options of both kinds of servers call the same, but for the
/// authorities.
macro_rules! with_files {
    ($options:expr, $server:expr, $authorities:ident) => {{
        let mut options = $options;
        if let Some(password) = &$server.password {
            options = options.password(&String::from_utf8_lossy(password.reveal()));
        }
        if let SqlTls::Required { ca_file, certificate, .. } = &$server.tls {
            if let Some(file) = ca_file {
                options = options.$authorities(file);
            }
            if let Some((certificate, key)) = certificate {
                options = options.ssl_client_cert(certificate).ssl_client_key(key);
            }
        }
        options
    }};
}
use with_files;

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
    /// Writes where a user is.
    pub assign: Option<Statement>,
    /// Gives all users.
    pub list: Option<Statement>,
    /// The channel on which PostgreSQL tells of changes.
    pub listen: Option<String>,
}

/// A database over a network.
pub(crate) struct Sql {
    server: Server,
    query: Arc<Statement>,
    assign: Option<Arc<Statement>>,
    /// How long an answer may take.
    deadline: Duration,
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
        Self {
            server,
            query: Arc::new(settings.query.clone()),
            assign: settings.assign.clone().map(Arc::new),
            deadline,
            listening,
        }
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
            let values = self.query.values(&question.query, &question.key, Change::default());
            let job = Job { statement: Arc::clone(&self.query), values };
            let rows = match &self.server {
                Server::MySql(pool) => pool.look_up(job).await?,
                Server::Postgres(pool) => pool.look_up(job).await?,
            };
            rows.into_said()
        })
    }

    fn assigner(&self) -> Option<&dyn Assigner> {
        self.assign.is_some().then_some(self)
    }
}

impl Assigner for Sql {
    fn assign(&self, assignment: Assignment) -> Assigning<'_> {
        Box::pin(async move {
            let Some(assign) = self.assign.clone() else { return Err(no_statement()) };
            let writing = Writing { assignment, query: Arc::clone(&self.query), assign };
            let write = async {
                match &self.server {
                    Server::MySql(pool) => pool.write(&writing).await,
                    Server::Postgres(pool) => pool.write(&writing).await,
                }
            };
            // There are four statements, and a connection.
            let written = tokio::time::timeout(self.deadline.saturating_mul(2), write).await;
            written.unwrap_or_else(|_| Err(perhaps_written("the database does not answer")))
        })
    }
}

/// Nobody asks a source to write that cannot.
fn no_statement() -> CannotSay {
    CannotSay::misconfigured("it has no `assign`")
}

/// The database may have done it, or not.
fn perhaps_written(why: impl fmt::Display) -> CannotSay {
    CannotSay::unavailable(format_args!("it cannot be said whether it was written: {why}"))
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

impl Times {
    /// A list of all users takes as long as it does.
    const FOR_LISTS: Self = Self { connect: Duration::from_secs(10), statement: Duration::ZERO };
}

/// The names of a row's columns, and their values.
type Columns<'c, 'v> = &'c mut dyn Iterator<Item = (&'v str, Result<Value<'v>, CannotSay>)>;

/// Takes a row; an error ends the answer.
type Each<'e> = &'e mut (dyn FnMut(Columns<'_, '_>) -> Result<(), CannotSay> + Send);

/// What differs between databases of which rows are read.
struct Reading<DB: Database> {
    value: for<'v> fn(&'v DB::Row, usize) -> Result<Value<'v>, CannotSay>,
    failure: fn(&sqlx::Error) -> Failure,
}

/// Prepares a statement, or takes it prepared, and binds its values.
fn bound<DB>(job: &Job) -> sqlx::query::Query<'static, DB, DB::Arguments>
where
    DB: Database,
    String: for<'v> Encode<'v, DB> + Type<DB>,
{
    let query = sqlx::query(AssertSqlSafe(Arc::clone(job.statement.text())));
    job.values.iter().fold(query, |query, value| query.bind(value.clone()))
}

/// Runs a statement that gives rows.
async fn read<DB>(
    connection: &mut DB::Connection,
    job: &Job,
    each: Each<'_>,
    reading: Reading<DB>,
) -> Result<(), Failure>
where
    DB: Database,
    DB::Arguments: IntoArguments<DB>,
    String: for<'v> Encode<'v, DB> + Type<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let Reading { value, failure } = reading;
    let mut answer = bound::<DB>(job).fetch(connection);
    while let Some(row) = answer.try_next().await.map_err(|error| failure(&error))? {
        let columns = row.columns().iter();
        let mut columns = columns.map(|column| (column.name(), value(&row, column.ordinal())));
        // What follows may be long.
        each(&mut columns).map_err(|cannot| Failure { cannot, fault: Fault::Interrupted })?;
    }
    Ok(())
}

/// What a database has of one user, and how it writes where he is.
struct Known {
    /// In its own words.
    place: String,
    /// Whether his name there stands with the place.
    names_user: bool,
    found: Found,
}

/// What the rows of an answer say together.
#[derive(Default)]
struct Rows {
    first: Option<Fields>,
    count: usize,
}

impl Rows {
    /// Takes a row.
    fn add(&mut self, columns: Columns<'_, '_>) -> Result<(), CannotSay> {
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
        Ok(Said::from(self.into_known()?.map(|known| known.found)))
    }

    fn into_known(self) -> Result<Option<Known>, CannotSay> {
        let Some(fields) = self.first else { return Ok(None) };
        let (place, names_user) = (fields.place_text().to_owned(), fields.names_user_with_place());
        Ok(Some(Known { place, names_user, found: fields.into_found()? }))
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
