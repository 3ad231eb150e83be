//! MySQL and MariaDB: connections that only read unless a transaction is to write, and the values of their columns.
//!
//! Nothing here decides what a column means.

use model::Host;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Decode, Row, TypeInfo, ValueRef,
    mysql::{
        MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode,
        MySqlValueRef,
    },
};

use super::{
    Each, OTHER_TYPE, Reading, SqlServer, SqlTls, Times, bound,
    pool::{Driver, Failure, Fault, Job, Writer},
    read, refused, unreadable, with_files, words,
};
use crate::sources::{CannotSay, fields::Value};

/// Of MySQL: there is no variable of this name.
const UNKNOWN_VARIABLE: u16 = 1193;
/// A statement took too long: MariaDB's number and MySQL's, and that it waited for a lock.
const TOO_LONG: [u16; 3] = [1969, 3024, 1205];
/// A value of the question does not fit: numbers out of range, texts that are no dates, several rows where there can be
/// one, and what a program in the database says itself (SIGNAL).
const OF_VALUES: [u16; 6] = [1242, 1264, 1292, 1365, 1644, 1690];
/// Two who write wait for each other, and this one gave way.
const DEADLOCK: u16 = 1213;

/// MySQL servers with the same users.
pub(super) struct MySql {
    options: Vec<MySqlConnectOptions>,
    times: Times,
}

impl MySql {
    pub(super) fn new(server: &SqlServer, times: Times) -> Self {
        let options = match &server.socket {
            Some(file) => vec![options(server).socket(file)],
            None => {
                let at = |(host, port): &(Host, u16)| {
                    options(server).host(&host.to_string()).port(*port)
                };
                server.hosts.iter().map(at).collect()
            }
        };
        Self { options, times }
    }
}

fn options(server: &SqlServer) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .username(&server.user)
        .database(&server.database)
        // The server's own ways: a statement means what it means in the administrator's client.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .disable_statement_logging();
    let options = match &server.tls {
        SqlTls::None => options.ssl_mode(MySqlSslMode::Disabled),
        SqlTls::Required { verify: true, .. } => options.ssl_mode(MySqlSslMode::VerifyIdentity),
        SqlTls::Required { verify: false, .. } => options.ssl_mode(MySqlSslMode::Required),
    };
    with_files!(options, server, ssl_ca)
}

impl Driver for MySql {
    type Connection = MySqlConnection;

    fn servers(&self) -> usize {
        self.options.len()
    }

    async fn connect(&self, server: usize) -> Result<MySqlConnection, CannotSay> {
        let Some(options) = self.options.get(server) else {
            return Err(CannotSay::unavailable("there is no server"));
        };
        let mut connection = options.connect().await.map_err(|error| refused(&error))?;
        run(&mut connection, "SET SESSION TRANSACTION READ ONLY".to_owned()).await?;
        let time = self.times.statement;
        let of_mariadb = format!("SET SESSION max_statement_time = {:.3}", time.as_secs_f64());
        if !run(&mut connection, of_mariadb).await? {
            let of_mysql = format!("SET SESSION max_execution_time = {}", time.as_millis());
            run(&mut connection, of_mysql).await?;
        }
        Ok(connection)
    }

    async fn read(
        &self,
        connection: &mut MySqlConnection,
        job: &Job,
        each: Each<'_>,
    ) -> Result<(), Failure> {
        read::<sqlx::MySql>(connection, job, each, Reading { value, failure }).await
    }
}

impl Writer for MySql {
    async fn begin(&self, connection: &mut MySqlConnection) -> Result<(), Failure> {
        // What is looked up is locked until the commit.
        let isolation = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE";
        done(connection, isolation).await?;
        done(connection, "START TRANSACTION READ WRITE").await
    }

    async fn execute(&self, connection: &mut MySqlConnection, job: &Job) -> Result<u64, Failure> {
        let done = bound::<sqlx::MySql>(job).execute(connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| failure(&error))
    }

    async fn commit(&self, connection: &mut MySqlConnection) -> Result<(), Failure> {
        done(connection, "COMMIT").await
    }

    async fn rollback(&self, connection: &mut MySqlConnection) -> Result<(), Failure> {
        done(connection, "ROLLBACK").await
    }
}

async fn done(connection: &mut MySqlConnection, statement: &'static str) -> Result<(), Failure> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(drop).map_err(|error| failure(&error))
}

/// Sets a variable; whether the server knows it.
async fn run(connection: &mut MySqlConnection, statement: String) -> Result<bool, CannotSay> {
    match sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await {
        Ok(_) => Ok(true),
        Err(error) if number(&error) == Some(UNKNOWN_VARIABLE) => Ok(false),
        Err(error) => Err(refused(&error)),
    }
}

fn number(error: &sqlx::Error) -> Option<u16> {
    let sqlx::Error::Database(answer) = error else { return None };
    Some(answer.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// What became of a statement.
fn failure(error: &sqlx::Error) -> Failure {
    match number(error) {
        Some(number) if OF_VALUES.contains(&number) => {
            let cannot = CannotSay::misconfigured(words(error));
            Failure { cannot, fault: Fault::Question }
        }
        Some(number) if TOO_LONG.contains(&number) => {
            Failure { cannot: refused(error), fault: Fault::Question }
        }
        Some(DEADLOCK) => Failure { cannot: refused(error), fault: Fault::Overtaken },
        _ => Failure { cannot: refused(error), fault: Fault::Connection },
    }
}

fn value(row: &MySqlRow, index: usize) -> Result<Value<'_>, CannotSay> {
    let raw = row.try_get_raw(index).map_err(|error| refused(&error))?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().into_owned();
    let value = match kind.name() {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Value::Integer(decoded(raw)?)
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
        | "BIGINT UNSIGNED" | "BIT" => {
            let number = i64::try_from(decoded::<u64>(raw)?);
            Value::Integer(number.map_err(unreadable)?)
        }
        "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" | "SET"
        | "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            Value::Bytes(decoded(raw)?)
        }
        _ => Value::Other(OTHER_TYPE),
    };
    Ok(value)
}

fn decoded<'r, T: Decode<'r, sqlx::MySql>>(raw: MySqlValueRef<'r>) -> Result<T, CannotSay> {
    T::decode(raw).map_err(|error| unreadable(&error))
}
