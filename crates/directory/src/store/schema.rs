//! The tables, and how a file of an earlier release becomes one of this release.
//!
//! Nothing here reads or writes a user.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;

/// Says in the file's header whose it is: the bytes `PstH`.
const APPLICATION_ID: i64 = 0x5073_7448;

/// Each entry leads from the version of its index to the next. Entries are never changed.
const MIGRATIONS: &[&str] = &[FIRST, PLACEMENT];

const FIRST: &str = "
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
";

/// Users without a home of their own, what their passwords are compared with, and where pools have placed
/// mailboxes. The key of the cluster is made once: by it mailboxes are spread over shards, for ever.
const PLACEMENT: &str = "
    CREATE TABLE users_with_more (
        name TEXT NOT NULL PRIMARY KEY,
        place TEXT,
        user_there TEXT,
        password BLOB,
        password_hash BLOB,
        id TEXT,
        disabled INTEGER NOT NULL DEFAULT 0,
        changed_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO users_with_more (name, place, user_there, password, changed_at)
        SELECT name, place, user_there, password, changed_at FROM users ORDER BY name;
    DROP TABLE users;
    ALTER TABLE users_with_more RENAME TO users;
    ALTER TABLE history RENAME COLUMN user TO subject;
    ALTER TABLE history ADD COLUMN about TEXT NOT NULL DEFAULT 'user';

    CREATE TABLE cluster (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        key BLOB NOT NULL CHECK (length(key) = 16)
    ) STRICT;
    INSERT INTO cluster (one, key) VALUES (1, randomblob(16));

    CREATE TABLE pools (
        name TEXT NOT NULL PRIMARY KEY,
        place TEXT NOT NULL,
        version INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE members (
        pool TEXT NOT NULL,
        version INTEGER NOT NULL,
        backend TEXT NOT NULL,
        PRIMARY KEY (pool, version, backend)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pages (
        pool TEXT NOT NULL,
        shard INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        backend TEXT,
        since INTEGER NOT NULL,
        PRIMARY KEY (pool, shard)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER epochs_only_grow BEFORE UPDATE ON pages WHEN new.epoch <= old.epoch
        BEGIN SELECT raise(ABORT, 'the epoch of a page only grows'); END;
    CREATE TABLE overrides (
        pool TEXT NOT NULL,
        shard INTEGER NOT NULL,
        fingerprint INTEGER NOT NULL,
        mailbox TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        backend TEXT NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (pool, shard, fingerprint)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE mailboxes (
        name TEXT NOT NULL PRIMARY KEY,
        id TEXT NOT NULL,
        given INTEGER NOT NULL,
        pool TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE loads (
        pool TEXT NOT NULL,
        backend TEXT NOT NULL,
        users INTEGER NOT NULL,
        PRIMARY KEY (pool, backend)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER load_of_a_new_override AFTER INSERT ON overrides BEGIN
        INSERT INTO loads (pool, backend, users) VALUES (new.pool, new.backend, 1)
            ON CONFLICT (pool, backend) DO UPDATE SET users = users + 1;
    END;
    CREATE TRIGGER load_of_a_changed_override AFTER UPDATE OF backend ON overrides BEGIN
        UPDATE loads SET users = users - 1 WHERE pool = old.pool AND backend = old.backend;
        INSERT INTO loads (pool, backend, users) VALUES (new.pool, new.backend, 1)
            ON CONFLICT (pool, backend) DO UPDATE SET users = users + 1;
    END;

    CREATE TABLE drained (backend TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE holds (
        about TEXT NOT NULL,
        subject TEXT NOT NULL,
        PRIMARY KEY (about, subject)
    ) STRICT, WITHOUT ROWID;
";

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
