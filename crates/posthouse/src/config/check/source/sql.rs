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
    Purpose, Surroundings,
    file::{self, SourceShape, SqlTlsMode},
    mistake::Mistake,
    read::{At, Field, Listed, Literally, Reader, Tables},
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
    let assign = assign(at, &table.assign, dialect, reader);
    let list = list(&table.list, dialect, reader);
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
        assign,
        list,
        listen,
    })))
}

/// Warns of variables that the library for PostgreSQL takes for settings, and that nothing here can overrule.
pub(in crate::config::check) fn environment(
    sources: &Field<Tables<file::Source>>,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) {
    let tables: &[_] = sources.value().map_or(&[], |tables| &tables.0);
    for at in tables {
        let Some(SourceShape::Postgres(table)) = &at.value.shape else { continue };
        let in_clear = table.tls.value() == Some(&SqlTlsMode::None);
        let has_tls = !in_clear && table.socket.is_absent();
        for (variable, counts) in [
            ("PGOPTIONS", true),
            ("PGSSLCERT", has_tls && table.certificate.is_absent()),
            ("PGSSLKEY", has_tls && table.key.is_absent()),
        ] {
            if counts && (around.variable)(variable).is_some() {
                let title =
                    format!("the variable {variable} of the environment counts for this source");
                let help = format!("start posthouse without it: env -u {variable} posthouse ...");
                reader.note(Mistake::warning(&at.span, title).help(help));
            }
        }
    }
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
    let assign = assign(at, &table.assign, Dialect::Sqlite, reader);
    let list = list(&table.list, Dialect::Sqlite, reader);
    let file = table.file.value()?.clone();
    Some(SourceKind::Sqlite(SqliteSettings { file, query: query?, assign, list }))
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
        let because = "a socket needs no TLS";
        refuse!(reader, table, [tls, tls_verify, ca_file, certificate, key], because);
        return SqlTls::None;
    }
    if let Some(off) = table.tls.given().filter(|given| given.value == SqlTlsMode::None) {
        let because = "this source has tls = \"none\"";
        refuse!(reader, table, [tls_verify, ca_file, certificate, key], because);
        if let Some(out) = addresses.iter().find(|at| !at.value.host.is_loopback()) {
            let title = "what the database says crosses the network in clear, passwords too";
            let mistake = Mistake::warning(&off.span, title).other(&out.span, "not this machine");
            reader.note(mistake.help("leave `tls` out, and set ca_file"));
        }
        return SqlTls::None;
    }
    let unverified = table.tls_verify.given().filter(|verify| !verify.value);
    if let Some(off) = unverified {
        refuse!(reader, table, [ca_file], "tls_verify = false believes every certificate");
        let title = "the database's certificate is not verified: whoever stands between can say \
                     where users are";
        let help = "leave `tls_verify` out, and set ca_file";
        reader.note(Mistake::warning(&off.span, title).help(help));
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
    SqlTls::Required { verify: unverified.is_none(), ca_file, certificate }
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

/// The statement that writes where a user is: about him alone.
fn assign(
    at: &At<file::Source>,
    field: &Field<Literally>,
    dialect: Dialect,
    reader: &mut Reader<'_>,
) -> Option<Statement> {
    let given = field.given()?;
    if at.value.common.gives.value() == Some(&file::Gives::Attributes) {
        let title = "a source of attributes says nothing of places";
        reader.note(Mistake::error(&given.span, title).help("leave `assign` out"));
    }
    let assign = statement(given, dialect, Task::Assign, reader)?;
    let names_user = assign
        .placeholders()
        .any(|placeholder| matches!(placeholder, Placeholder::User | Placeholder::Local));
    for (named, title, help) in [
        (assign.names_backend(), "this statement writes no back end", "write `:backend`"),
        (
            names_user,
            "this statement would change everybody",
            "write `:user` where his name belongs",
        ),
    ] {
        if !named {
            reader.note(Mistake::error(&given.span, title).help(help));
        }
    }
    Some(assign)
}

fn list(field: &Field<Literally>, dialect: Dialect, reader: &mut Reader<'_>) -> Option<Statement> {
    statement(field.given()?, dialect, Task::List, reader)
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
