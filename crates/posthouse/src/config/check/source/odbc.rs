//! Sources behind ODBC: what can be said of them without a driver, and where the worker is.

use std::{env, path::PathBuf};

use ::directory::{ConnectionString, Dialect, OdbcSettings, SourceKind};

use super::{
    super::secrets::{given_or_in_file, secret_file},
    sql,
};
use crate::config::{
    Purpose, file,
    mistake::Mistake,
    read::{At, Reader},
};

/// The worker's program.
const WORKER: &str = "posthouse-worker";

/// A database behind an ODBC driver.
pub(super) fn database(
    at: &At<file::Source>,
    table: &file::OdbcSource,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<SourceKind> {
    let query = sql::query(at, &table.query, Dialect::Odbc, reader);
    let connections = sql::connections(&table.connections, 1, reader);
    let programs = programs(at, table, purpose, reader);
    let connection = connection(at, table, purpose, reader);
    Some(SourceKind::Odbc(Box::new(OdbcSettings {
        connection,
        programs,
        connections,
        query: query?,
    })))
}

fn connection(
    at: &At<file::Source>,
    table: &file::OdbcSource,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<ConnectionString> {
    let (given, file) = (&table.connection, &table.connection_file);
    if given.is_absent() && file.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `connection`");
        reader.note(mistake.help("write connection = \"DSN=NAME\", or connection_file"));
        return None;
    }
    let reads_file = purpose.reads_secret_of_source(file);
    let secret =
        given_or_in_file("the connection", (given, file), reads_file, reader, secret_file)?;
    let in_file = || file.given().map(|file| &file.span);
    let span = given.given().map(|given| &given.span).or_else(in_file)?;
    match ConnectionString::new(secret) {
        Ok(connection) => Some(connection),
        Err(invalid) => {
            let title = format!("this is no connection string: {invalid}");
            reader.note(Mistake::error(span, title).help("it looks like DSN=mail;UID=posthouse"));
            None
        }
    }
}

/// Where the worker's program may be.
fn programs(
    at: &At<file::Source>,
    table: &file::OdbcSource,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Vec<PathBuf> {
    let given = table.worker.given();
    let programs = given.map_or_else(usual_programs, |given| vec![given.value.clone()]);
    if purpose.reads_files() && !programs.iter().any(|program| program.is_file()) {
        let places: Vec<_> = programs.iter().map(|place| place.display().to_string()).collect();
        let title = format!("there is no {WORKER} at {}", places.join(" or "));
        let span = given.map_or(&at.span, |given| &given.span);
        let help = "without it this source cannot say anything: install it, or set `worker`";
        reader.note(Mistake::warning(span, title).help(help));
    }
    programs
}

/// Beside this program, and in libexec of where both are installed.
fn usual_programs() -> Vec<PathBuf> {
    let Ok(program) = env::current_exe() else { return vec![PathBuf::from(WORKER)] };
    let mut folders = program.ancestors().skip(1);
    let beside = folders.next().map(|folder| folder.join(WORKER));
    let in_libexec = folders.next().map(|folder| folder.join("libexec").join(WORKER));
    beside.into_iter().chain(in_libexec).collect()
}
