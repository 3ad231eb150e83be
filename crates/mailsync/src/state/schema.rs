//! The tables, and how a file of an earlier release becomes one of this release.
//!
//! Nothing here reads or writes a message.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{PATIENCE, StateError, failure};

/// Says in the file's header whose it is: the bytes `PstS`.
const APPLICATION_ID: i64 = 0x5073_7453;

/// Each entry leads from the version of its index to the next. Entries are never changed.
const MIGRATIONS: &[&str] = &[FIRST];

/// Flags are the bits of system flags and a row of `keywords`. What a row says of a message without a UID
/// on one side follows from `standing`.
const FIRST: &str = "
    CREATE TABLE pair (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        left TEXT NOT NULL,
        right TEXT NOT NULL
    ) STRICT;
    CREATE TABLE mailboxes (
        id INTEGER PRIMARY KEY,
        left_raw BLOB NOT NULL UNIQUE,
        right_raw BLOB NOT NULL UNIQUE,
        left_path TEXT NOT NULL,
        right_path TEXT NOT NULL,
        left_validity INTEGER,
        right_validity INTEGER,
        left_uid_next INTEGER,
        right_uid_next INTEGER,
        left_modseq INTEGER,
        right_modseq INTEGER,
        left_messages INTEGER,
        right_messages INTEGER,
        selection BLOB,
        suspended TEXT,
        summary TEXT
    ) STRICT;
    CREATE TABLE keywords (
        id INTEGER PRIMARY KEY,
        words TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
        left_uid INTEGER,
        right_uid INTEGER,
        fingerprint BLOB,
        size INTEGER,
        body BLOB,
        flags INTEGER NOT NULL,
        keywords INTEGER NOT NULL REFERENCES keywords (id),
        left_unholdable TEXT,
        right_unholdable TEXT,
        standing INTEGER NOT NULL,
        said TEXT
    ) STRICT;
    CREATE UNIQUE INDEX messages_by_left ON messages (mailbox, left_uid) WHERE left_uid IS NOT NULL;
    CREATE UNIQUE INDEX messages_by_right ON messages (mailbox, right_uid) WHERE right_uid IS NOT NULL;
    CREATE TABLE intents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
        to_right INTEGER NOT NULL,
        validity INTEGER NOT NULL,
        uid_next INTEGER NOT NULL,
        looked INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX intents_of_mailbox ON intents (mailbox);
    CREATE TABLE intended (
        intent INTEGER NOT NULL REFERENCES intents (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        size INTEGER NOT NULL,
        body BLOB NOT NULL,
        seconds INTEGER,
        zone INTEGER,
        flags INTEGER NOT NULL,
        keywords INTEGER NOT NULL REFERENCES keywords (id),
        PRIMARY KEY (intent, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tombstones (
        id INTEGER PRIMARY KEY,
        mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
        on_right INTEGER NOT NULL,
        uid INTEGER NOT NULL,
        fingerprint BLOB,
        moved_to TEXT,
        at INTEGER NOT NULL
    ) STRICT;
";

/// Opens a pair's file and brings it up to date.
pub(super) fn open(path: &Path, left: &str, right: &str) -> Result<Connection, StateError> {
    let failed = |error| failure(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut database = Connection::open_with_flags(path, flags).map_err(failed)?;
    database.busy_timeout(PATIENCE).map_err(failed)?;
    check_owner(&database, path)?;
    // FULL: an intent that was confirmed outlives a power cut; SQLite would lose it else.
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                   PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 16777216;";
    database.execute_batch(pragmas).map_err(failed)?;
    migrate(&mut database, path)?;
    check_pair(&database, path, left, right)?;
    Ok(database)
}

fn check_owner(database: &Connection, path: &Path) -> Result<(), StateError> {
    let header = "SELECT (SELECT application_id FROM pragma_application_id), \
                  (SELECT count(*) FROM sqlite_schema)";
    let read = database.query_row(header, (), |row| Ok((row.get(0)?, row.get(1)?)));
    let (owner, tables): (i64, i64) = read.map_err(|error| failure(path, error))?;
    if owner != APPLICATION_ID && (owner != 0 || tables != 0) {
        let whose = "another program".to_owned();
        return Err(StateError::NotOurs { path: path.to_owned(), whose });
    }
    Ok(())
}

fn migrate(database: &mut Connection, path: &Path) -> Result<(), StateError> {
    let failed = |error| failure(path, error);
    let transaction =
        database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let found: usize =
        transaction.query_row("PRAGMA user_version", (), |row| row.get(0)).map_err(failed)?;
    let known = MIGRATIONS.len();
    if found > known {
        return Err(StateError::Newer { path: path.to_owned(), found, known });
    }
    for step in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    if found < known {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// A file that was renamed would take one pair's map for another's.
fn check_pair(
    database: &Connection,
    path: &Path,
    left: &str,
    right: &str,
) -> Result<(), StateError> {
    let failed = |error| failure(path, error);
    let whose: Option<(String, String)> = database
        .query_row("SELECT left, right FROM pair", (), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(failed)?;
    match whose {
        Some((ours, theirs)) if (&*ours, &*theirs) == (left, right) => Ok(()),
        Some((ours, theirs)) => {
            let whose = format!("the pair of {ours} and {theirs}");
            Err(StateError::NotOurs { path: path.to_owned(), whose })
        }
        None => {
            let insert = "INSERT INTO pair (one, left, right) VALUES (1, ?1, ?2)";
            database.execute(insert, (left, right)).map(|_| ()).map_err(failed)
        }
    }
}
