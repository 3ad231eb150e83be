//! Sources that speak SQL: what can be said of them without asking them.

use ::directory::{
    Dialect, Placeholder, SourceKind, SqlServer, SqlSettings, SqlTls, SqliteSettings, Statement,
    Task,
};
use model::{HostPort, Secret};

use super::super::{
    listener::pair,
    refuse,
    secrets::{given_or_in_file, secret_file},
};
use crate::config::{
    Purpose,
    file::{self, SqlTlsMode},
    mistake::Mistake,
    read::{At, Field, Listed, Literally, Reader},
};

/// Connections to a database, unless it is set: look-ups are short, and their answers are remembered.
const CONNECTIONS: u32 = 4;

/// More connections than any database likes to keep for one client.
const MOST_CONNECTIONS: u32 = 100;

/// A database over a network.
pub(super) fn server(
    at: &At<file::Source>,
    table: &file::SqlSource,
    dialect: Dialect,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<SourceKind> {
    let addresses = addresses(at, table, reader);
    for (missing, key) in
        [(table.database.is_absent(), "database"), (table.user.is_absent(), "user")]
    {
        if missing {
            let mistake = Mistake::error(&at.span, format!("this source has no `{key}`"));
            reader.note(mistake.help(format!("write {key} = \"NAME\"")));
        }
    }
    let query = query(at, &table.query, dialect, reader);
    let tls = tls(table, &addresses, purpose, reader);
    let listen = listen(table, dialect, reader);
    let least = if table.listen.given().is_some() { 2 } else { 1 };
    let connections = connections(&table.connections, least, reader);
    let password = password(table, purpose, reader);
    let port = match dialect {
        Dialect::MySql => 3306,
        Dialect::Odbc | Dialect::Postgres | Dialect::Sqlite => 5432,
    };
    let with_port = |at: &HostPort| (at.host.clone(), at.port.unwrap_or(port));
    Some(SourceKind::Sql(Box::new(SqlSettings {
        dialect,
        server: SqlServer {
            hosts: addresses.iter().map(|at| with_port(&at.value)).collect(),
            socket: table.socket.value().cloned(),
            database: table.database.value()?.clone(),
            user: table.user.value()?.clone(),
            password,
            tls,
        },
        connections,
        query: query?,
        listen,
    })))
}

/// A database in a file.
pub(super) fn file(
    at: &At<file::Source>,
    table: &file::SqliteSource,
    reader: &mut Reader<'_>,
) -> Option<SourceKind> {
    if table.file.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `file`");
        reader.note(mistake.help("write file = \"users.sqlite\""));
    }
    let query = query(at, &table.query, Dialect::Sqlite, reader);
    Some(SourceKind::Sqlite(SqliteSettings { file: table.file.value()?.clone(), query: query? }))
}

fn addresses(
    at: &At<file::Source>,
    table: &file::SqlSource,
    reader: &mut Reader<'_>,
) -> Vec<At<HostPort>> {
    let listed: &[_] = table.addresses.value().map_or(&[], |Listed(listed)| listed);
    match (&table.addresses, &table.socket) {
        (Field::Absent, Field::Absent) => {
            let mistake = Mistake::error(&at.span, "this source has no `address`");
            reader.note(mistake.help("write address = \"HOST\" or socket = \"PATH\""));
        }
        (Field::Given(addresses), Field::Given(socket)) => {
            let title = "the database is at an address or at a socket, not at both";
            reader.note(Mistake::error(&socket.span, title).other(&addresses.span, "and here"));
        }
        (Field::Given(addresses), _) if listed.is_empty() => {
            reader.note(Mistake::error(&addresses.span, "there is no address in this list"));
        }
        _ => {}
    }
    listed.to_vec()
}

fn tls(
    table: &file::SqlSource,
    addresses: &[At<HostPort>],
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> SqlTls {
    if table.socket.given().is_some() {
        refuse!(reader, table, [tls, ca_file, certificate, key], "a socket needs no TLS");
        return SqlTls::None;
    }
    let mode = table.tls.or(SqlTlsMode::Verified);
    let span = table.tls.given().map_or(0..0, |given| given.span.clone());
    if mode == SqlTlsMode::None {
        refuse!(reader, table, [ca_file, certificate, key], "this source has tls = \"none\"");
        if let Some(out) = addresses.iter().find(|at| !at.value.host.is_loopback()) {
            let title = "what the database says crosses the network in clear, passwords too";
            let mistake = Mistake::warning(&span, title).other(&out.span, "not this machine");
            reader.note(mistake.help("leave `tls` out, and set ca_file"));
        }
        return SqlTls::None;
    }
    if mode == SqlTlsMode::Unverified {
        refuse!(reader, table, [ca_file], "tls = \"unverified\" believes every certificate");
        let title = "the database's certificate is not verified: whoever stands between can say \
                     where users are";
        reader.note(Mistake::warning(&span, title).help("leave `tls` out, and set ca_file"));
    }
    let certificate = pair(&table.certificate, &table.key, reader);
    let certificate = certificate.map(|files| (files.certificate, files.key));
    for file in
        [&table.ca_file, &table.certificate, &table.key].into_iter().filter_map(Field::given)
    {
        if purpose.reads_files()
            && let Err(error) = std::fs::File::open(&file.value)
        {
            let title = format!("{} cannot be read: {error}", file.value.display());
            reader.note(Mistake::error(&file.span, title));
        }
    }
    let ca_file = table.ca_file.value().cloned();
    SqlTls::Required { verify: mode == SqlTlsMode::Verified, ca_file, certificate }
}

fn password(table: &file::SqlSource, purpose: Purpose, reader: &mut Reader<'_>) -> Option<Secret> {
    let reads_file = purpose.reads_secret_of_source(&table.password_file);
    let given = (&table.password, &table.password_file);
    given_or_in_file("the password", given, reads_file, reader, secret_file)
}

/// How many connections a database gets, of which it needs so many.
pub(super) fn connections(field: &Field<u32>, least: u32, reader: &mut Reader<'_>) -> usize {
    let count = field.or(CONNECTIONS);
    if let Some(given) = field.given()
        && !(least..=MOST_CONNECTIONS).contains(&count)
    {
        let title = format!("a number from {least} to {MOST_CONNECTIONS} is expected here");
        let mistake = Mistake::error(&given.span, title);
        reader.note(if least == 2 { mistake.help("one of them listens") } else { mistake });
    }
    usize::try_from(count).unwrap_or(1)
}

fn listen(table: &file::SqlSource, dialect: Dialect, reader: &mut Reader<'_>) -> Option<String> {
    let given = table.listen.given()?;
    if dialect != Dialect::Postgres {
        refuse!(reader, table, [listen], "only PostgreSQL tells of changes");
    } else if given.value.is_empty()
        || given.value.len() > 63
        || given.value.contains(char::is_control)
    {
        let mistake = Mistake::error(&given.span, "this is not the name of a channel");
        reader.note(mistake.help("it has 1 to 63 bytes, as in listen = \"users_changed\""));
    }
    Some(given.value.clone())
}

/// The statement that looks a user up.
pub(super) fn query(
    at: &At<file::Source>,
    field: &Field<Literally>,
    dialect: Dialect,
    reader: &mut Reader<'_>,
) -> Option<Statement> {
    if field.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `query`");
        let help = "write query = \"SELECT backend FROM users WHERE name = :user\"";
        reader.note(mistake.help(help));
    }
    let given = field.given()?;
    let query = statement(given, dialect, Task::LookUp, reader)?;
    if query.placeholders().next().is_none() {
        let title = "this query asks for nobody: it says the same of every user";
        reader
            .note(Mistake::error(&given.span, title).help("write `:user` where his name belongs"));
    }
    let uses_key = query.placeholders().any(|placeholder| placeholder == Placeholder::Key);
    if let Some(keys) = at.value.common.keys.given().filter(|_| !uses_key) {
        let title = "the query does not use the keys";
        let mistake = Mistake::error(&keys.span, title).other(&given.span, "this one");
        reader.note(mistake.help("write `:key` in it, or leave `keys` out"));
    }
    Some(query)
}

fn statement(
    given: &At<Literally>,
    dialect: Dialect,
    task: Task,
    reader: &mut Reader<'_>,
) -> Option<Statement> {
    let Literally(text) = &given.value;
    match Statement::parse(text, dialect, task) {
        Ok(statement) => Some(statement),
        Err(invalid) => {
            let place = reader.within(&given.span, text, &invalid.at);
            reader.note(Mistake::error(&place, invalid.to_string()));
            None
        }
    }
}
