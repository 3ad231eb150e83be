//! The tables, and how a file of an earlier release becomes one of this release.
//!
//! Nothing here reads or writes a user.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;

/// Says in the file's header whose it is: the bytes `PstH`.
const APPLICATION_ID: i64 = 0x5073_7448;

/// Each entry leads from the version of its index to the next. Entries are never changed.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE users (
        name TEXT NOT NULL PRIMARY KEY,
        place TEXT NOT NULL,
        user_there TEXT,
        password BLOB,
        changed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        actor TEXT NOT NULL,
        user TEXT NOT NULL,
        act TEXT NOT NULL,
        before TEXT,
        after TEXT
    ) STRICT;
    CREATE INDEX history_of_user ON history (user);
    CREATE TRIGGER history_is_not_changed BEFORE UPDATE ON history
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
    CREATE TRIGGER history_is_not_removed BEFORE DELETE ON history
        BEGIN SELECT raise(ABORT, 'the history is append-only'); END;
"];

/// Opens the writing connection.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// Checks whose file it is and brings it up to date.
pub(super) fn migrate(writer: &mut Connection, path: &Path) -> Result<(), StoreError> {
    check_owner(writer, path)?;
    let mode: String = writer.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Unshared(path.to_owned()));
    }
    // FULL: a change that was confirmed outlives a power cut. secure_delete: a password that was
    // removed is overwritten.
    writer.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF; \
         PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -65536;",
    )?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: usize = transaction.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    let known = MIGRATIONS.len();
    if version > known {
        return Err(StoreError::Newer { found: version, known });
    }
    for step in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    if version < known {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    Ok(())
}

fn check_owner(writer: &Connection, path: &Path) -> Result<(), StoreError> {
    let header = "SELECT (SELECT application_id FROM pragma_application_id), \
                  (SELECT count(*) FROM sqlite_schema)";
    let (owner, tables): (i64, i64) =
        writer.query_row(header, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
    if owner != APPLICATION_ID && (owner != 0 || tables != 0) {
        return Err(StoreError::NotOurs(path.to_owned()));
    }
    Ok(())
}
