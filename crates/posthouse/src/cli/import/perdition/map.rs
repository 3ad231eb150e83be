//! Perdition's maps (`map_library`, `map_library_opt`, `query_key`) as sources.
//!
//! Nothing here opens a map.

mod database;
mod ldap;

use std::path::Path;

use self::database::Client;

use super::file::Settings;
use crate::cli::import::{Draft, Place, Unusable, draft::Table};

/// What a map is, by the name of its library.
const LIBRARIES: &[&str] =
    &["gdbm", "bdb", "cdb", "nis", "posix_regex", "mysql", "postgresql", "odbc", "ldap", "daemon"];

/// The source in a map's place; none where no map is asked.
pub(super) fn source(
    settings: &mut Settings,
    draft: &mut Draft,
    whole: &Place,
) -> Result<Option<Table>, Unusable> {
    let at = settings.place("map_library");
    let library = settings.take("map_library");
    let library = library.map_or_else(|| "libperditiondb_gdbm.so".to_owned(), |set| set.value);
    let option = settings.take("map_library_opt").map(|set| set.value).unwrap_or_default();
    let from_database = settings.take("username_from_database");
    let keys = keys(settings, draft)?;
    if library.is_empty() {
        return Ok(None);
    }
    let file = Path::new(&library).file_name().map(|name| name.to_string_lossy().into_owned());
    let file = file.unwrap_or_default();
    let kind = LIBRARIES.iter().find(|kind| file.starts_with(&format!("libperditiondb_{kind}.")));
    let Some(kind) = kind else {
        let shown = library.escape_debug();
        return Err(at.unusable(format!("map_library: `{shown}` is none of Perdition's own")));
    };
    if from_database.is_none() {
        let said = "username_from_database is not set: Perdition ignores USER@ in what the map says; here it counts";
        draft.remark(whole, said);
    }
    let mut source = Table::new("[[directory]]");
    let has_keys = !keys.is_empty();
    match *kind {
        "mysql" => source = database::source(Client::MySql, &option, has_keys, draft, &at),
        "postgresql" => {
            source = database::source(Client::PostgreSql, &option, has_keys, draft, &at)
        }
        "odbc" => source = database::source(Client::Odbc, &option, has_keys, draft, &at),
        "ldap" => source = ldap::source(&option, has_keys, from_database.is_some(), draft, &at)?,
        "cdb" => {
            source.text("source", "cdb").text("file", or(&option, "/etc/perdition/popmap.cdb"));
        }
        "posix_regex" => {
            source.text("source", "regex").text("file", or(&option, "/etc/perdition/popmap.re"));
            source.text("format", "perdition");
        }
        other => {
            draft.remark(
                &at,
                format!(
                    "map_library: the embedded table takes the place of this map; fill it: {}",
                    fill(other, &option)
                ),
            );
            source.comment(&fill(other, &option)).text("source", "table");
        }
    }
    if !keys.is_empty() {
        source.texts("keys", &keys);
    }
    source.text("template", "store");
    Ok(Some(source))
}

fn or<'t>(given: &'t str, usual: &'t str) -> &'t str {
    if given.is_empty() { usual } else { given }
}

/// How the table is filled from a map that is none of our sources.
fn fill(kind: &str, option: &str) -> String {
    let import = "posthouse user import --format perdition";
    match kind {
        "gdbm" => format!(
            "{import} TEXT, with the text that {} was made of (gdbmtool FILE list prints it)",
            or(option, "/etc/perdition/popmap.gdbm.db")
        ),
        "bdb" => format!(
            "{import} TEXT, with the text that {} was made of (db_dump -p FILE prints it)",
            or(option, "/etc/perdition/popmap.bdb.db")
        ),
        "nis" => format!(
            "ypcat -k {} | sed 's/[[:space:]]/:/' | {import} -",
            or(option, "user_mail_server")
        ),
        _ => format!(
            "{import} TEXT, with what the daemon knows; or let it speak HTTP, for source = \"http\""
        ),
    }
}

/// `query_key` under our names.
fn keys(settings: &mut Settings, draft: &mut Draft) -> Result<Vec<String>, Unusable> {
    let Some(set) = settings.take("query_key") else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    for format in set.value.split(',') {
        let mut key = String::new();
        let mut has_port = false;
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' => match rest.next() {
                    Some('U') => key.push_str("{user}"),
                    Some('u') => key.push_str("{local}"),
                    Some('d') => key.push_str("{domain}"),
                    Some('D') => key.push('@'),
                    Some('i') => key.push_str("{client_ip}"),
                    Some('I') => key.push_str("{server_ip}"),
                    Some('p' | 'P') => has_port = true,
                    Some('\\') => key.push('\\'),
                    other => {
                        let shown =
                            other.map_or_else(String::new, |c| c.escape_debug().to_string());
                        return Err(set
                            .at
                            .unusable(format!("query_key: `\\{shown}` means nothing")));
                    }
                },
                '{' | '}' => key.extend([c, c]),
                c => key.push(c),
            }
        }
        if has_port {
            let shown = format.escape_debug();
            draft.remark(&set.at, format!("query_key {shown}: a key cannot hold a port; left out"));
        } else {
            keys.push(key);
        }
    }
    if keys.iter().eq(["{user}"]) {
        keys.clear();
    }
    Ok(keys)
}
