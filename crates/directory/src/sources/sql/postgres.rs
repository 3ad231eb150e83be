//! PostgreSQL: connections that only read unless a transaction is to write, and the values of its columns.
//!
//! Nothing here decides what a column means.

use std::path::Path;

use model::Host;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Decode, Row, TypeInfo, ValueRef,
    postgres::{
        PgConnectOptions, PgConnection, PgDatabaseError, PgRow, PgSslMode, PgTypeKind, PgValueRef,
    },
};

use super::{
    Each, OTHER_TYPE, Reading, SqlServer, SqlTls, Times, bound,
    pool::{Driver, Failure, Fault, Job, Writer},
    read, refused, unreadable, with_files, words,
};
use crate::sources::{CannotSay, fields::Value};

/// PostgreSQL servers with the same users.
pub(super) struct Postgres {
    options: Vec<PgConnectOptions>,
    times: Times,
}

impl Postgres {
    pub(super) fn new(server: &SqlServer, times: Times) -> Self {
        let options = match &server.socket {
            Some(socket) => {
                let (folder, port) = socket_of(socket);
                vec![options(server).socket(folder).port(port)]
            }
            None => {
                let at = |(host, port): &(Host, u16)| {
                    options(server).host(&host.to_string()).port(*port)
                };
                server.hosts.iter().map(at).collect()
            }
        };
        Self { options, times }
    }

    /// How to connect to each.
    pub(super) fn options(&self) -> &[PgConnectOptions] {
        &self.options
    }

    /// How long a connection may take.
    pub(super) fn times(&self) -> Times {
        self.times
    }
}

/// The folder and the port of a socket, `FOLDER/.s.PGSQL.PORT`; of a folder alone, the usual port.
fn socket_of(path: &Path) -> (&Path, u16) {
    let port = path.file_name().and_then(|name| name.to_str()?.strip_prefix(".s.PGSQL."));
    match (port.and_then(|port| port.parse().ok()), path.parent()) {
        (Some(port), Some(folder)) => (folder, port),
        _ => (path, 5432),
    }
}

fn options(server: &SqlServer) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass()
        .username(&server.user)
        .database(&server.database)
        .application_name("posthouse")
        // A pooler before the database knows no such parameter.
        .extra_float_digits(None)
        .disable_statement_logging();
    let options = match &server.tls {
        SqlTls::None => options.ssl_mode(PgSslMode::Disable),
        SqlTls::Required { verify: true, .. } => options.ssl_mode(PgSslMode::VerifyFull),
        SqlTls::Required { verify: false, .. } => options.ssl_mode(PgSslMode::Require),
    };
    // What is left open here would be taken from variables such as PGPASSWORD.
    let options = options.password("").ssl_root_cert_from_pem(Vec::new());
    with_files!(options, server, ssl_root_cert)
}

impl Driver for Postgres {
    type Connection = PgConnection;

    fn servers(&self) -> usize {
        self.options.len()
    }

    async fn connect(&self, server: usize) -> Result<PgConnection, CannotSay> {
        let Some(options) = self.options.get(server) else {
            return Err(CannotSay::unavailable("there is no server"));
        };
        let mut connection = options.connect().await.map_err(|error| refused(&error))?;
        let milliseconds = self.times.statement.as_millis();
        let session = format!(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET statement_timeout = {milliseconds}"
        );
        let set = sqlx::raw_sql(AssertSqlSafe(session)).execute(&mut connection).await;
        set.map_err(|error| refused(&error))?;
        Ok(connection)
    }

    async fn read(
        &self,
        connection: &mut PgConnection,
        job: &Job,
        each: Each<'_>,
    ) -> Result<(), Failure> {
        read::<sqlx::Postgres>(connection, job, each, Reading { value, failure }).await
    }
}

impl Writer for Postgres {
    async fn begin(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        // A row that somebody has changed since it was looked up cannot be written then.
        run(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE").await
    }

    async fn execute(&self, connection: &mut PgConnection, job: &Job) -> Result<u64, Failure> {
        let done = bound::<sqlx::Postgres>(job).execute(connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| failure(&error))
    }

    async fn commit(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        run(connection, "COMMIT").await
    }

    async fn rollback(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        run(connection, "ROLLBACK").await
    }
}

async fn run(connection: &mut PgConnection, statement: &'static str) -> Result<(), Failure> {
    let done = sqlx::raw_sql(statement).execute(connection).await;
    done.map(drop).map_err(|error| failure(&error))
}

/// What became of a statement.
fn failure(error: &sqlx::Error) -> Failure {
    let answer = match error {
        sqlx::Error::Database(answer) => answer.try_downcast_ref::<PgDatabaseError>(),
        _ => None,
    };
    // PostgreSQL, appendix A: 57014 is of this question's time, class 40 of others who write at the same moment.
    let code = answer.map_or("", PgDatabaseError::code);
    match answer {
        Some(_) if is_of_values(code) => {
            Failure { cannot: CannotSay::misconfigured(words(error)), fault: Fault::Question }
        }
        Some(_) if code == "57014" => {
            Failure { cannot: CannotSay::unavailable(words(error)), fault: Fault::Question }
        }
        Some(_) if code.starts_with("40") => {
            Failure { cannot: CannotSay::unavailable(words(error)), fault: Fault::Overtaken }
        }
        _ => Failure { cannot: refused(error), fault: Fault::Connection },
    }
}

/// Whether an error is of this question's values: what does not fit (class 22), several rows where there can be one
/// (class 21), or what a function says itself (P0001). PostgreSQL, appendix A.
fn is_of_values(code: &str) -> bool {
    code.starts_with("22") || code.starts_with("21") || code == "P0001"
}

fn value(row: &PgRow, index: usize) -> Result<Value<'_>, CannotSay> {
    let raw = row.try_get_raw(index).map_err(|error| refused(&error))?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().into_owned();
    let value = match kind.name().to_ascii_uppercase().as_str() {
        "BOOL" => Value::Boolean(decoded(raw)?),
        "INT2" => Value::Integer(decoded::<i16>(raw)?.into()),
        "INT4" => Value::Integer(decoded::<i32>(raw)?.into()),
        "INT8" => Value::Integer(decoded(raw)?),
        // Filled up with spaces that nobody wrote.
        "CHAR" => Value::Bytes(bytes(&raw)?.trim_ascii_end()),
        "BYTEA" | "TEXT" | "VARCHAR" | "NAME" | "\"CHAR\"" | "UNKNOWN" | "CITEXT" => {
            Value::Bytes(bytes(&raw)?)
        }
        _ if matches!(kind.kind(), PgTypeKind::Enum(_)) => Value::Bytes(bytes(&raw)?),
        _ => Value::Other(OTHER_TYPE),
    };
    Ok(value)
}

fn decoded<'r, T: Decode<'r, sqlx::Postgres>>(raw: PgValueRef<'r>) -> Result<T, CannotSay> {
    T::decode(raw).map_err(|error| unreadable(&error))
}

fn bytes<'r>(raw: &PgValueRef<'r>) -> Result<&'r [u8], CannotSay> {
    raw.as_bytes().map_err(|error| unreadable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_user_s_rows_are_like_is_no_failure_of_the_server() {
        for code in ["22003", "22P02", "21000", "P0001"] {
            assert!(is_of_values(code), "{code}");
        }
        for code in ["", "42P01", "28P01", "57014", "57P01", "P0002", "XX000"] {
            assert!(!is_of_values(code), "{code}");
        }
    }
}
