//! MySQL and MariaDB: connections that can only read, and the values of their columns.
//!
//! Nothing here decides what a column means.

use std::sync::Arc;

use futures_util::TryStreamExt;
use model::Host;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Decode, Row, TypeInfo, ValueRef,
    mysql::{
        MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlRow, MySqlSslMode,
        MySqlValueRef,
    },
};

use super::{
    OTHER_TYPE, Rows, SqlServer, SqlTls, Times,
    pool::{Driver, Failure, Fault, Job},
    refused, unreadable, words,
};
use crate::sources::{CannotSay, fields::Value};

/// Of MySQL: there is no variable of this name.
const UNKNOWN_VARIABLE: u16 = 1193;
/// A statement took too long: MariaDB's number and MySQL's, and that it waited for a lock.
const TOO_LONG: [u16; 3] = [1969, 3024, 1205];
/// A value of the question does not fit: numbers out of range, texts that are no dates, several rows where there can be
/// one, and what a program in the database says itself (SIGNAL).
const OF_VALUES: [u16; 6] = [1242, 1264, 1292, 1365, 1644, 1690];

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
    let mut options = MySqlConnectOptions::new()
        .username(&server.user)
        .database(&server.database)
        // The server's own ways: a statement means what it means in the administrator's client.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .disable_statement_logging();
    if let Some(password) = &server.password {
        options = options.password(&String::from_utf8_lossy(password.reveal()));
    }
    match &server.tls {
        SqlTls::None => options.ssl_mode(MySqlSslMode::Disabled),
        SqlTls::Required { verify, ca_file, certificate } => {
            let mode = if *verify { MySqlSslMode::VerifyIdentity } else { MySqlSslMode::Required };
            options = options.ssl_mode(mode);
            if let Some(file) = ca_file {
                options = options.ssl_ca(file);
            }
            if let Some((certificate, key)) = certificate {
                options = options.ssl_client_cert(certificate).ssl_client_key(key);
            }
            options
        }
    }
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

    async fn look_up(&self, connection: &mut MySqlConnection, job: &Job) -> Result<Rows, Failure> {
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(job.statement.text())));
        for value in &job.values {
            query = query.bind(value);
        }
        let mut rows = Rows::default();
        let mut answer = query.fetch(connection);
        while let Some(row) = answer.try_next().await.map_err(|error| failure(&error))? {
            let columns = row.columns().iter();
            let columns = columns.map(|column| (column.name(), value(&row, column.ordinal())));
            // What follows may be long.
            rows.add(columns).map_err(|cannot| Failure { cannot, fault: Fault::Interrupted })?;
        }
        Ok(rows)
    }
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
