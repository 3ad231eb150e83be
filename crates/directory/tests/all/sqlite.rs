//! A database in a file, by SQLite.

use std::{fs, path::Path, time::Duration};

use directory::{
    CacheSettings, Dialect, SourceKind, SourceSettings, SqliteSettings, Statement, Task,
};
use model::Reason;
use rusqlite::Connection;
use tempfile::tempdir;

use super::{ask, everybody, open, said, source};

const USERS: &str = "CREATE TABLE users (name TEXT PRIMARY KEY, backend, user, disabled);";
const QUERY: &str = "SELECT backend, user, disabled FROM users WHERE name = :user";

fn make(file: &Path, sql: &str) {
    Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

/// A source that remembers nothing.
fn sqlite(file: &Path, query: &str) -> SourceSettings {
    let query = Statement::parse(query, Dialect::Sqlite, Task::LookUp).unwrap();
    let settings = SqliteSettings { file: file.to_owned(), query, assign: None, list: None };
    let cache = CacheSettings {
        found: Duration::ZERO,
        not_found: Duration::ZERO,
        stale_for: Duration::ZERO,
        deadline: Duration::from_millis(1500),
        ..CacheSettings::default()
    };
    SourceSettings { cache, ..source("sqlite", SourceKind::Sqlite(settings)) }
}

#[tokio::test]
async fn users_are_found_by_a_query() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("users.sqlite");
    make(
        &file,
        &format!(
            "{USERS} INSERT INTO users VALUES ('bob', 'a', 'robert', 0), ('o''neil', 'b', NULL, NULL)"
        ),
    );
    let directory = open(folder.path(), vec![sqlite(&file, QUERY)]);
    assert_eq!(said(&directory, "Bob").await, "bob -> robert@a");
    assert_eq!(said(&directory, "o'neil").await, "o'neil -> o'neil@b");
    for name in ["eve", "' OR '1'='1", "'; DROP TABLE users; --", "%", "?1", ":user", "\" OR 1=1"] {
        assert_eq!(said(&directory, name).await, format!("unknown {}", name.to_lowercase()));
    }
    assert_eq!(said(&directory, "bob").await, "bob -> robert@a");
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_search() {
    let folder = tempdir().unwrap();
    let missing = folder.path().join("missing.sqlite");
    let broken = folder.path().join("broken.sqlite");
    fs::write(&broken, "this is no database, however long it is. ".repeat(40)).unwrap();
    let empty = folder.path().join("empty.sqlite");
    make(&empty, "CREATE TABLE other (x);");
    for (file, expected) in
        [(&missing, "No such file"), (&broken, "not a database"), (&empty, "no such table")]
    {
        let directory = open(folder.path(), vec![sqlite(file, QUERY), everybody("b")]);
        let unavailable = ask(&directory, "bob").await.unwrap_err();
        assert_eq!(unavailable.reason, Reason::DirectoryUnavailable);
        assert!(unavailable.detail.contains(expected), "{unavailable}");
    }
    assert!(!missing.exists());
}

#[tokio::test]
async fn answers_of_no_use_are_told_by_their_column() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("users.sqlite");
    make(
        &file,
        &format!(
            "{USERS} INSERT INTO users VALUES ('ok', 'a', NULL, 'no'), ('number', 1, NULL, 0),
             ('real', 1.5, NULL, 0), ('control', 'a', 'x'||char(10)||'y', 0), ('big', zeroblob(1048576), NULL, 0),
             ('bytes', x'ff', NULL, 0), ('perhaps', 'a', NULL, 'perhaps')"
        ),
    );
    let directory = open(folder.path(), vec![sqlite(&file, QUERY)]);
    for (name, expected) in [
        ("number", "`backend` is a number"),
        ("real", "`backend` is a number with a point"),
        ("control", "`user` holds a line end"),
        ("big", "`backend` has 1048576 bytes"),
        ("bytes", "`backend` is not UTF-8"),
        ("perhaps", "`disabled` is neither"),
    ] {
        let unavailable = ask(&directory, name).await.unwrap_err();
        assert_eq!(unavailable.reason, Reason::DirectoryMisconfigured, "{name}");
        assert!(unavailable.detail.contains(expected), "{unavailable}");
    }
    assert_eq!(said(&directory, "ok").await, "ok -> ok@a");
    for (query, expected) in [
        ("SELECT backend FROM users WHERE :user = :user AND name IN ('ok', 'control')", ""),
        ("SELECT name AS backend FROM users WHERE :user = :user", "several rows that differ"),
        ("SELECT 'a' AS backend FROM users, users, users WHERE :user = :user", "more than 16 rows"),
        ("SELECT 'a' AS backend, 'b' AS backend WHERE :user = :user", "`backend` twice"),
        ("SELECT 'a' AS backend, 1 AS colour WHERE :user = :user", "`colour`"),
    ] {
        let directory = open(folder.path(), vec![sqlite(&file, query)]);
        match ask(&directory, "ok").await {
            Ok(_) => assert_eq!(expected, ""),
            Err(unavailable) => {
                assert!(
                    !expected.is_empty() && unavailable.detail.contains(expected),
                    "{unavailable}"
                );
            }
        }
    }
}

#[tokio::test]
async fn another_file_of_that_name_is_taken_up() {
    let folder = tempdir().unwrap();
    let (file, new) = (folder.path().join("users.sqlite"), folder.path().join("new.sqlite"));
    make(&file, &format!("{USERS} INSERT INTO users VALUES ('bob', 'a', NULL, 0)"));
    make(&new, &format!("{USERS} INSERT INTO users VALUES ('bob', 'b', NULL, 0)"));
    let directory = open(folder.path(), vec![sqlite(&file, QUERY)]);
    assert_eq!(said(&directory, "bob").await, "bob -> bob@a");
    fs::rename(&new, &file).unwrap();
    assert_eq!(said(&directory, "bob").await, "bob -> bob@b");
    make(&file, "UPDATE users SET backend = 'a'");
    assert_eq!(said(&directory, "bob").await, "bob -> bob@a");
}

#[tokio::test]
async fn while_somebody_writes_for_long_nobody_is_told_no() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("users.sqlite");
    make(&file, &format!("{USERS} INSERT INTO users VALUES ('bob', 'a', NULL, 0)"));
    let directory = open(folder.path(), vec![sqlite(&file, QUERY)]);
    let writer = Connection::open(&file).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let unavailable = ask(&directory, "bob").await.unwrap_err();
    assert!(unavailable.detail.contains("locked"), "{unavailable}");
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(said(&directory, "bob").await, "bob -> bob@a");
}

#[tokio::test]
async fn a_query_that_does_not_end_is_ended() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("users.sqlite");
    make(&file, &format!("{USERS} INSERT INTO users VALUES ('bob', 'a', NULL, 0)"));
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT 'a' AS backend FROM n WHERE i < 0 AND :user LIKE 'endless%'
        UNION ALL SELECT 'a' WHERE :user NOT LIKE 'endless%'";
    let directory = open(folder.path(), vec![sqlite(&file, endless)]);
    let names = ["endless1", "endless2", "endless3", "endless4", "endless5", "endless6"];
    let asked = names.map(|name| ask(&directory, name));
    for asked in futures_util::future::join_all(asked).await {
        assert_eq!(asked.unwrap_err().reason, Reason::DirectoryUnavailable);
    }
    // Had they not been ended, no turn would be left.
    for _ in 0..5 {
        assert_eq!(said(&directory, "bob").await, "bob -> bob@a");
    }
}
