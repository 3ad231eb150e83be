//! Databases behind ODBC: PostgreSQL and SQLite by their drivers, in a worker that may crash and hang.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    database::Database,
    door::{Door, SOON, backend, everybody_at, usual},
    house::{House, Kind, Person},
    odbc::{Drivers, source, workers},
    processes::status,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testkit::{
    servers::postgres::{self, Postgres},
    wait,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        users_behind_odbc_come_to_their_mail,
        a_users_name_is_never_more_than_a_value_of_a_driver,
        an_answer_of_no_use_from_a_driver_harms_nobody_else,
        a_driver_that_refuses_us_is_no_refusal_of_users,
        posthouse_starts_and_serves_without_a_worker,
        a_worker_has_nothing_but_its_pipes_and_ends_with_posthouse,
        while_a_worker_is_killed_or_hangs_nobody_is_told_no,
        while_a_database_behind_odbc_is_down_or_hangs_nobody_is_told_no,
    ]
}

const USERS: &str = "name VARCHAR(600), backend VARCHAR(200), there VARCHAR(200), off BOOLEAN";
const QUERY: &str = "SELECT backend FROM users WHERE name = :user";

/// So that each login asks.
const BRIEFLY: &str = "[directory.cache]\nfound = \"0s\"\nnot_found = \"0s\"\ndeadline = \"1s\"";

const IN: &str = "OK";
const UNKNOWN: &str = "NO [AUTHENTICATIONFAILED]";
const TRY_LATER: &str = "NO [UNAVAILABLE]";

fn stub() -> Stub {
    Stub::imap(|mut talk| talk.rest().map(drop))
}

/// Two back ends, `a` and `b`, at one stub, and this source.
fn config(stub: &Stub, source: &str) -> String {
    usual(&(backend("a", stub.port(), 1) + &backend("b", stub.port(), 1) + source))
}

fn assert_answer(door: &Door, name: &str, expected: &str) {
    let answer = door.imap_answer(name, &password("anybody"));
    if !answer.starts_with(expected) {
        // The last words may still be on their way.
        door.wait_log(Duration::from_millis(200), |_| false);
        panic!("{name}: {answer}; the log:\n{}", door.log_text());
    }
}

fn answers(door: &Door, name: &str, expected: &str) -> bool {
    door.imap_answer(name, &password("anybody")).starts_with(expected)
}

/// A file of SQLite with this table of users.
fn sqlite(file: &Path, columns: &str, rows: &str) {
    let made = rusqlite::Connection::open(file).unwrap();
    let sql = format!("CREATE TABLE users ({columns}); INSERT INTO users VALUES {rows}");
    made.execute_batch(&sql).unwrap();
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

fn users_behind_odbc_come_to_their_mail(house: &House) {
    let drivers = Drivers::ensure();
    let Person { name, password } = house.person(Kind::Maildir);
    let rows = format!(
        "('anna@example.org', 'maildir', '{name}', FALSE), ('gr\u{fc}n', 'maildir', '{name}', NULL),
         ('eve@example.org', 'maildir', '{name}', TRUE), ('homeless@example.org', NULL, NULL, NULL)"
    );
    let query = "SELECT backend, there AS \"user\", off AS disabled -- who's :where?
        FROM table_of_users WHERE name = :user AND (:domain = '' OR name LIKE '%' || :domain)";
    Database::Postgres(house.postgres()).table("mailusers_odbc", USERS, &rows);
    let folder = testkit::posthouse::new_folder().unwrap();
    let file = folder.path().join("users.sqlite");
    sqlite(&file, USERS, &rows);
    for (connection, table) in
        [(drivers.postgres(house.postgres()), "mailusers_odbc"), (drivers.sqlite(&file), "users")]
    {
        let source =
            source("", &query.replace("table_of_users", table), "connection_file = \"odbc\"");
        let config = usual(&(house.backend(Kind::Maildir) + &source));
        let door = Door::open_with(&config, &drivers.environment(), |folder| {
            let file = folder.join("odbc");
            fs::write(&file, format!("{connection}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        });
        let person = Person { name: "Anna@Example.org".to_owned(), password: password.clone() };
        drop(door.logged_in(&person));
        assert!(door.pop3_answer("anna@example.org", &password).starts_with("+OK"));
        assert!(door.imap_answer("gr\u{fc}n", &password).starts_with(IN), "{}", door.log_text());
        for name in ["eve@example.org", "nobody@example.org", "gr\u{fa}n", "grn"] {
            assert_answer(&door, name, UNKNOWN);
        }
        assert_answer(&door, "homeless@example.org", TRY_LATER);
        let checked = door.does(&["check"]);
        assert!(checked.contains("odbc") && checked.contains("DRIVER=/"), "{checked}");
        let shown = door.does(&["user", "look-up", "anna@example.org"]);
        assert!(shown.contains("odbc") && shown.contains(&name), "{shown}");
        assert!(!(checked + &shown + &door.log_text()).contains(postgres::PASSWORD));
    }
}

fn a_users_name_is_never_more_than_a_value_of_a_driver(house: &House) {
    let drivers = Drivers::ensure();
    let names = [
        "' OR '1'='1",
        "'; DROP TABLE quoted_odbc; --",
        "\\' OR 1=1 #",
        "\\",
        "\" OR \"\"=\"",
        "x' UNION SELECT 'a' -- ",
        "a') OR ('a'='a",
        "%",
        "_",
        "?",
        ":user",
        "{fn NOW()}",
        "{d '2026-01-01'}",
        "$$",
        "*/ OR 1=1 /*",
        "\u{2019} OR 1=1",
        "\u{ff07} OR 1=1",
        "\u{1f600}",
        "NULL",
    ];
    let stub = stub();
    let rows = "('o''neil', 'a', NULL, FALSE), ('1 ', 'a', NULL, FALSE)";
    let postgres = Database::Postgres(house.postgres());
    postgres.table("quoted_odbc", USERS, rows);
    let folder = testkit::posthouse::new_folder().unwrap();
    let file = folder.path().join("users.sqlite");
    sqlite(&file, USERS, rows);
    for (connection, table) in
        [(drivers.postgres(house.postgres()), "quoted_odbc"), (drivers.sqlite(&file), "users")]
    {
        let query = format!(
            "SELECT backend FROM {table} WHERE name = :user AND ':user' = ':user' AND backend <> :user"
        );
        let cache = "[directory.cache]\nnot_found = \"0s\"";
        let door = drivers.open(&config(&stub, &source(&connection, &query, cache)));
        assert_answer(&door, "o'neil", IN);
        for name in names {
            assert_answer(&door, name, UNKNOWN);
        }
    }
    assert_eq!(postgres.execute("SELECT COUNT(*) FROM quoted_odbc").trim(), "2");
}

fn an_answer_of_no_use_from_a_driver_harms_nobody_else(house: &House) {
    let (drivers, stub) = (Drivers::ensure(), stub());
    let connection = drivers.postgres(house.postgres());
    Database::Postgres(house.postgres()).table(
        "odd_odbc",
        "name VARCHAR(20), backend TEXT",
        "('anna', 'a'), ('twice', 'a'), ('twice', 'a'), ('torn', 'a'), ('torn', 'b'),
         ('lines', 'a\r\nDELE 1'), ('wild', 'nosuch'), ('big', 'a')",
    );
    let big = "CASE name WHEN 'big' THEN repeat('x', 1048576) ELSE backend END";
    let query = format!("SELECT {big} AS backend FROM odd_odbc WHERE name = :user");
    let door = drivers.open(&config(&stub, &source(&connection, &query, "connections = 1")));
    for name in ["anna", "twice"] {
        assert_answer(&door, name, IN);
    }
    let worker = workers(&door);
    for (name, expected) in [
        ("torn", "several rows that differ"),
        ("lines", "`backend` holds a line end"),
        ("big", "`backend` has more than 4096 bytes"),
        ("wild", "`nosuch` is neither the name nor the address"),
    ] {
        assert_answer(&door, name, TRY_LATER);
        let line = door.line(|line| line.contains(expected));
        assert!(line.contains("reason=directory-misconfigured"), "{line}");
    }
    assert_answer(&door, "bob", UNKNOWN);
    assert_eq!(workers(&door), worker, "an answer of no use has cost the worker");
    drop(door);
    for (columns, expected) in [
        ("7 AS backend", "`backend` is a number, not a text"),
        ("7.0::numeric(9,0) AS backend", "`backend` is a number, not a text"),
        ("now() AS backend", "`backend` is of another type, not a text"),
        ("'a' AS backend, 'perhaps' AS disabled", "`disabled` is neither yes nor no"),
        ("'h' AS host, 70000 AS port", "`port` is none from 1 to 65535"),
        ("'a' AS backend, 'red' AS colour", "a field `colour`"),
        ("'a' AS backend, 'b' AS backend", "`backend` twice"),
        ("'\\x610d0a62ff'::bytea AS backend", "`backend` is not UTF-8"),
        ("'a' AS backend, '\\x610d0a62'::bytea AS password", "`password` holds a control"),
    ] {
        let query = format!("SELECT {columns} WHERE CAST(:user AS text) = 'anna'");
        let door = drivers.open(&config(&stub, &source(&connection, &query, "")));
        assert_answer(&door, "bob", UNKNOWN);
        assert_answer(&door, "anna", TRY_LATER);
        let line = door.line(|line| line.contains(expected));
        assert!(line.contains("reason=directory-misconfigured"), "{line}");
    }
}

fn a_driver_that_refuses_us_is_no_refusal_of_users(house: &House) {
    let (drivers, stub) = (Drivers::ensure(), stub());
    let good = drivers.postgres(house.postgres());
    let database = Database::Postgres(house.postgres());
    database.table("kept_odbc", "name VARCHAR(20), backend TEXT", "('anna', 'a')");
    let query = "SELECT backend FROM kept_odbc WHERE name = :user";
    let wrong = good.replace(&format!("PWD={{{}}}", postgres::PASSWORD), "PWD=0penSesame-wrong");
    let insert = "INSERT INTO kept_odbc VALUES (:user, 'a')";
    let delete = "DELETE FROM kept_odbc WHERE name = :user RETURNING backend";
    for (connection, query, expected) in [
        (&*wrong, query, "authentication failed"),
        ("DSN=nowhere", query, "Data source name not found"),
        ("DRIVER=/nowhere/driver.so", query, "/nowhere/driver.so"),
        (&good, "SELECT backend FROM nothing WHERE name = :user", "nothing"),
        (&good, "SELECT backend FRM users WHERE name = :user", "syntax"),
        (&good, insert, "it is no query"),
    ] {
        let door = drivers.open(&config(&stub, &source(connection, query, "")));
        for name in ["anna", "bob"] {
            assert_answer(&door, name, TRY_LATER);
        }
        door.line(|line| line.contains("a source cannot say") && line.contains(expected));
    }
    // What a statement changes is undone, whatever it says.
    let door = drivers.open(&config(&stub, &source(&good, delete, BRIEFLY)));
    for _ in 0..3 {
        assert_answer(&door, "anna", IN);
    }
    drop(door);
    assert_eq!(database.execute("SELECT name FROM kept_odbc").trim(), "anna");
}

fn posthouse_starts_and_serves_without_a_worker(_: &House) {
    let stub = stub();
    let nowhere = source("DSN=mail", QUERY, "worker = \"/nowhere/posthouse-worker\"");
    let door = Door::open(&config(&stub, &nowhere));
    assert_answer(&door, "anna", TRY_LATER);
    door.line(|line| line.contains("there is no worker at /nowhere/posthouse-worker"));
    let checked = door.json(&["check"])["warnings"].to_string();
    assert!(checked.contains("there is no posthouse-worker at /nowhere"), "{checked}");
    drop(door);
    // A source before it is not kept waiting.
    let both = everybody_at("a") + &nowhere;
    let door = Door::open(&config(&stub, &both));
    assert_answer(&door, "anna", IN);
}

fn a_worker_has_nothing_but_its_pipes_and_ends_with_posthouse(house: &House) {
    let (drivers, stub) = (Drivers::ensure(), stub());
    let connection = drivers.postgres(house.postgres());
    let query = "SELECT 'a' AS backend WHERE CAST(:user AS text) <> ''";
    let door = drivers.open(&config(&stub, &source(&connection, query, BRIEFLY)));
    assert!(workers(&door).is_empty(), "it is started when it is needed");
    assert_answer(&door, "anna", IN);
    let [worker] = *workers(&door) else { panic!("{:?}", workers(&door)) };
    let read = |name: &str| fs::read(format!("/proc/{worker}/{name}")).unwrap();
    for name in ["cmdline", "environ"] {
        let text = String::from_utf8_lossy(&read(name)).into_owned();
        assert!(!text.contains(postgres::PASSWORD) && !text.contains("UID="), "{text}");
    }
    let limits = String::from_utf8(read("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("1"), "{core}");
    assert_eq!(status(worker, "Threads"), "2");
    let mut held: Vec<_> = fs::read_dir(format!("/proc/{worker}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .map(|target| target.split(':').next().unwrap().to_owned())
        .collect();
    held.sort();
    let nothing = "/dev/null";
    assert_eq!(held, [nothing, nothing, nothing, "pipe", "pipe", "socket"]);
    // Whoever stops it does not stop it from ending.
    signal(worker, Signal::SIGSTOP);
    door.signal(Signal::SIGKILL).unwrap();
    let gone = || !Path::new(&format!("/proc/{worker}/fd")).exists();
    assert!(wait::until(SOON, gone), "the worker outlives Posthouse");
}

fn while_a_worker_is_killed_or_hangs_nobody_is_told_no(house: &House) {
    let (drivers, stub) = (Drivers::ensure(), stub());
    Database::Postgres(house.postgres()).table(
        "killed_odbc",
        USERS,
        "('anna', 'a', NULL, FALSE), ('bob', 'b', NULL, FALSE)",
    );
    let connection = drivers.postgres(house.postgres());
    let query = "SELECT backend FROM killed_odbc WHERE name = :user";
    let keys = format!("connections = 1\n{BRIEFLY}");
    let door = drivers.open(&config(&stub, &source(&connection, query, &keys)));
    assert_answer(&door, "anna", IN);
    for _ in 0..3 {
        let [worker] = *workers(&door) else { panic!("{:?}", workers(&door)) };
        signal(worker, Signal::SIGKILL);
        assert_answer(&door, "bob", IN);
        assert_answer(&door, "carl", UNKNOWN);
    }
    let [worker] = *workers(&door) else { panic!("{:?}", workers(&door)) };
    signal(worker, Signal::SIGSTOP);
    let began = Instant::now();
    assert_answer(&door, "anna", IN);
    assert_answer(&door, "carl", TRY_LATER);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(wait::until(SOON, || answers(&door, "carl", UNKNOWN)), "{}", door.log_text());
    let left = workers(&door);
    assert!(left.len() == 1 && left != [worker], "the one that hung was killed: {left:?}");
}

fn while_a_database_behind_odbc_is_down_or_hangs_nobody_is_told_no(_: &House) {
    let (drivers, stub) = (Drivers::ensure(), stub());
    let mut server = Postgres::start().unwrap();
    Database::Postgres(&server).table(
        "users",
        USERS,
        "('anna', 'a', NULL, FALSE), ('bob', 'b', NULL, FALSE)",
    );
    let source = source(&drivers.postgres(&server), QUERY, BRIEFLY);
    server.stop();
    let door = drivers.open(&config(&stub, &source));
    assert_answer(&door, "anna", TRY_LATER);
    server.start_again().unwrap();
    assert!(wait::until(SOON, || answers(&door, "anna", IN)), "{}", door.log_text());
    server.pause().unwrap();
    assert_answer(&door, "bob", TRY_LATER);
    let began = Instant::now();
    for _ in 0..3 {
        assert_answer(&door, "anna", IN);
        assert_answer(&door, "carl", TRY_LATER);
    }
    // One tries it now and then, and the others do not wait.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    server.resume().unwrap();
    assert!(wait::until(SOON, || answers(&door, "bob", IN)), "{}", door.log_text());
    server.stop();
    assert_answer(&door, "carl", TRY_LATER);
    assert_answer(&door, "anna", IN);
    server.start_again().unwrap();
    assert!(wait::until(SOON, || answers(&door, "carl", UNKNOWN)), "{}", door.log_text());
}
