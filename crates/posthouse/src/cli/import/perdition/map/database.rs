//! Perdition's maps in MySQL, PostgreSQL and behind ODBC as sources.
//!
//! Nothing here asks a database.

use super::or;
use crate::cli::import::{Draft, Place, draft::Table};

/// `host1,host2:port:database:table:user:password:server column:user column:port column`, with Perdition's defaults.
const DEFAULTS: [&str; 9] = [
    "localhost",
    "0",
    "dbPerdition",
    "tblPerdition",
    "perdition",
    "perdition",
    "servername",
    "user",
    "port",
];

/// Where the password is to be put: what is printed here may be read by others.
const PASSWORD_FILE: &str = "/etc/posthouse/map.password";
/// The same, with all else that ODBC is told.
const CONNECTION_FILE: &str = "/etc/posthouse/map.connection";

/// Which client library the map used.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Client {
    MySql,
    /// Its database is the name of a data source; that knows where it is.
    Odbc,
    PostgreSql,
}

impl Client {
    fn source(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Odbc => "odbc",
            Self::PostgreSql => "postgres",
        }
    }

    /// What is otherwise than it was.
    fn differences(self) -> &'static str {
        match self {
            Self::MySql => {
                "map_library_opt: an answer is remembered for five minutes ([directory.cache]); Perdition asked at \
                 each login"
            }
            Self::Odbc => {
                "map_library_opt: an answer is remembered for five minutes ([directory.cache]); rows that say \
                 different things of one user are a mistake, where Perdition took the first; and where there is a \
                 column with the port, the server's has neither USER@ nor a port"
            }
            Self::PostgreSql => {
                "map_library_opt: an answer is remembered for five minutes ([directory.cache]), and a value with a \
                 space in it is not cut there; Perdition asked at each login"
            }
        }
    }
}

/// The source that asks the same of the same table.
pub(super) fn source(
    client: Client,
    option: &str,
    has_keys: bool,
    draft: &mut Draft,
    at: &Place,
) -> Table {
    let given: Vec<&str> = option.split(':').collect();
    let field = |index: usize| {
        let default = DEFAULTS.get(index).copied().unwrap_or_default();
        or(given.get(index).copied().unwrap_or_default(), default)
    };
    let database = match client {
        // Its documents say so, and its code has small letters.
        Client::PostgreSql if given.get(2).is_none_or(|name| name.is_empty()) => "dbperdition",
        _ => field(2),
    };
    let mut source = Table::new("[[directory]]");
    source.text("source", client.source());
    if client == Client::Odbc {
        connection(&mut source, database, field(4));
    } else {
        server(&mut source, client, field(0), field(1));
        source.text("database", database).text("user", field(4));
        source.comment(
            "Write the password of map_library_opt into this file, for posthouse alone to read.",
        );
        source.text("password_file", PASSWORD_FILE);
    }
    // An empty field means that there is no such column; one that is left out, the usual.
    let port = match given.get(8) {
        Some(&"") => None,
        _ => Some(field(8)),
    };
    let names = [Some(field(3)), Some(field(6)), Some(field(7)), port];
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "_$.".contains(c));
    if let Some(odd) = names.into_iter().flatten().find(|name| !is_name(name)) {
        let shown = odd.escape_debug();
        let said =
            format!("map_library_opt: `{shown}` is taken for a name in the query; look at it");
        draft.remark(at, said);
    }
    source.text("query", &query(client, field(3), (field(6), field(7), port), has_keys));
    draft.remark(at, client.differences());
    source
}

/// What ODBC is told, but for the password.
fn connection(source: &mut Table, data_source: &str, user: &str) {
    let line = format!("DSN={};UID={};PWD=", in_braces(data_source), in_braces(user));
    source.comment(&format!(
        "Write one line into this file, for posthouse alone to read: {line} and behind it the password of \
         map_library_opt."
    ));
    source.text("connection_file", CONNECTION_FILE);
}

/// A value of a connection string, in braces if it needs them.
fn in_braces(value: &str) -> String {
    if value.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
        return value.to_owned();
    }
    format!("{{{}}}", value.replace('}', "}}"))
}

/// Where it is, as the client library understood it.
fn server(source: &mut Table, client: Client, hosts: &str, port: &str) {
    if client == Client::MySql && hosts == "localhost" {
        source.comment("MySQL's library takes localhost for its socket.");
        source.text("socket", "/run/mysqld/mysqld.sock");
        return;
    }
    let port = Some(port).filter(|port| !matches!(*port, "" | "0"));
    let address = |host: &str| match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let hosts: Vec<_> = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    let addresses: Vec<_> = hosts.iter().map(|host| address(host)).collect();
    source.texts("address", &addresses);
    if hosts.iter().all(|host| matches!(*host, "localhost" | "127.0.0.1" | "::1")) {
        source.text("tls", "none");
    } else {
        source.comment(
            "Perdition asked in clear. Here nothing is asked without TLS and the right certificate; ca_file = \"FILE\" \
             names your own authority.",
        );
    }
}

/// What Perdition asked, with the port behind the server where there is one.
fn query(
    client: Client,
    table: &str,
    (server, user, port): (&str, &str, Option<&str>),
    has_keys: bool,
) -> String {
    let key = if has_keys { ":key" } else { ":user" };
    // Behind ODBC nobody knows which quotes the database takes; Perdition set none.
    let quote = match client {
        Client::MySql => "`",
        Client::Odbc => "",
        Client::PostgreSql => "\"",
    };
    let columns = match (client, port) {
        (_, None) => format!("{server} AS backend"),
        (Client::MySql, Some(port)) => format!(
            "CONCAT({server}, COALESCE(CONCAT(':', NULLIF(CONCAT({port}), '')), '')) AS backend"
        ),
        // How texts are put together, each has its own way.
        (Client::Odbc, Some(port)) => format!("{server} AS host, {port} AS port"),
        (Client::PostgreSql, Some(port)) => {
            format!("{server} || COALESCE(':' || NULLIF({port}::text, ''), '') AS backend")
        }
    };
    format!("SELECT {columns} FROM {table} WHERE {quote}{user}{quote} = {key}")
}
