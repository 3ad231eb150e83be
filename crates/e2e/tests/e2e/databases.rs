//! PostgreSQL, MariaDB and SQLite as sources of users.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    database::Database,
    door::{Door, SOON, backend, usual},
    house::{House, Kind, Person},
    programs::{limited, printed},
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::{
    servers::{mariadb::Mariadb, postgres::Postgres},
    wait, workspace,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        users_of_a_database_come_to_their_mail,
        users_of_a_file_of_sqlite_come_to_their_mail,
        a_users_name_is_never_more_than_a_value,
        an_answer_of_no_use_is_told_by_its_column_and_harms_nobody_else,
        a_database_that_refuses_us_is_no_refusal_of_users,
        a_databases_certificate_is_verified,
        nothing_of_the_environment_counts_for_postgresql,
        a_changed_row_counts_within_two_seconds_where_postgresql_tells_of_it,
        a_database_gets_no_more_connections_than_it_is_allowed,
        while_postgresql_is_down_or_hangs_known_users_come_in_and_others_try_later,
        while_mariadb_is_down_or_hangs_known_users_come_in_and_others_try_later,
        every_example_of_a_source_lets_its_users_in,
    ]
}

const USERS: &str = "name VARCHAR(600), backend VARCHAR(200), there VARCHAR(200), off BOOLEAN";

fn stub() -> Stub {
    Stub::imap(|mut talk| talk.rest().map(drop))
}

/// Two back ends, `a` and `b`, at one stub, and this source.
fn open(stub: &Stub, source: &str) -> Door {
    let backends = backend("a", stub.port(), 1) + &backend("b", stub.port(), 1);
    Door::open(&usual(&(backends + source)))
}

fn comes_in(door: &Door, name: &str) -> bool {
    door.imap_answer(name, &password(name)).starts_with("OK")
}

fn assert_answer(door: &Door, name: &str, expected: &str) {
    let answer = door.imap_answer(name, &password("anybody"));
    if !answer.starts_with(expected) {
        // The last words may still be on their way.
        door.wait_log(Duration::from_millis(200), |_| false);
        panic!("{name}: {answer}; the log:\n{}", door.log_text());
    }
}

const IN: &str = "OK";
const UNKNOWN: &str = "NO [AUTHENTICATIONFAILED]";
const TRY_LATER: &str = "NO [UNAVAILABLE]";

fn users_of_a_database_come_to_their_mail(house: &House) {
    for database in Database::shared(house) {
        let Person { name, password } = house.person(Kind::Maildir);
        let rows = format!(
            "('anna@example.org', 'maildir', '{name}', FALSE), ('eve@example.org', 'maildir', '{name}', TRUE),
             ('homeless@example.org', NULL, NULL, NULL)"
        );
        database.table("mailusers", USERS, &rows);
        let query = "SELECT backend, there AS \"user\", off AS disabled -- who's :where?
            FROM mailusers WHERE name = :local || '@' || :domain";
        let query = match database {
            Database::Postgres(_) => query.to_owned(),
            Database::Mariadb(_) => query
                .replace(":local || '@' || :domain", "CONCAT(:local, '@', :domain)")
                .replace('"', "`"),
        };
        let source = database.source(&query, "connections = 2");
        let door = Door::open(&usual(&(house.backend(Kind::Maildir) + &source)));
        let person = Person { name: "Anna@Example.org".to_owned(), password: password.clone() };
        drop(door.logged_in(&person));
        assert!(door.pop3_answer("anna@example.org", &password).starts_with("+OK"));
        for name in ["eve@example.org", "nobody@example.org"] {
            assert_answer(&door, name, UNKNOWN);
        }
        assert_answer(&door, "homeless@example.org", TRY_LATER);
        let checked = door.does(&["check"]);
        assert!(
            checked.contains(&format!("posthouse@127.0.0.1:{}/mail", database.port())),
            "{checked}"
        );
        let shown = door.does(&["user", "look-up", "anna@example.org"]);
        assert!(shown.contains(database.word()) && shown.contains(&name), "{shown}");
        assert!(!(checked + &shown + &door.log_text()).contains("door of the house"));
    }
}

fn users_of_a_file_of_sqlite_come_to_their_mail(house: &House) {
    let Person { name, password } = house.person(Kind::Maildir);
    let source = "[[directory]]\nsource = \"sqlite\"\nfile = \"users.sqlite\"\n\
        query = \"SELECT backend, there AS user FROM users WHERE name = :user\"\n";
    let door = Door::open_with(&usual(&(house.backend(Kind::Maildir) + source)), &[], |folder| {
        let made = rusqlite::Connection::open(folder.join("users.sqlite")).unwrap();
        let rows = format!("INSERT INTO users VALUES ('anna', 'maildir', '{name}')");
        made.execute_batch(&format!("CREATE TABLE users (name, backend, there); {rows}")).unwrap();
    });
    drop(door.logged_in(&Person { name: "anna".to_owned(), password }));
    assert_answer(&door, "bob", UNKNOWN);
    std::fs::remove_file(door.folder().join("users.sqlite")).unwrap();
    assert_answer(&door, "carl", TRY_LATER);
    door.line(|line| line.contains("users.sqlite: No such file"));
}

fn a_users_name_is_never_more_than_a_value(house: &House) {
    let names = [
        "' OR '1'='1",
        "'; DROP TABLE quoted; --",
        "\\' OR 1=1 #",
        "\\",
        "\" OR \"\"=\"",
        "x' UNION SELECT 'a' -- ",
        "a') OR ('a'='a",
        "%",
        "_",
        "$1",
        "?",
        ":user",
        "$$",
        "*/ OR 1=1 /*",
        "\u{2019} OR 1=1",
        "\u{ff07} OR 1=1",
        "1",
        "NULL",
    ];
    let stub = stub();
    for database in Database::shared(house) {
        database.table("quoted", USERS, "('o''neil', 'a', NULL, FALSE), ('1 ', 'a', NULL, FALSE)");
        let query =
            "SELECT backend FROM quoted WHERE name = :user AND ':user' = ':user' AND off = FALSE";
        let door = open(&stub, &database.source(query, "[directory.cache]\nnot_found = \"0s\""));
        assert_answer(&door, "o'neil", IN);
        for name in names.into_iter().filter(|name| *name != "1") {
            assert_answer(&door, name, UNKNOWN);
        }
        let left = database.execute("SELECT COUNT(*) FROM quoted");
        assert_eq!(left.trim(), "2");
    }
}

fn an_answer_of_no_use_is_told_by_its_column_and_harms_nobody_else(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        let (big, blob, date) = match database {
            Database::Postgres(_) => ("repeat('x', 1048576)", "'\\x610d0a62ff'::bytea", "now()"),
            Database::Mariadb(_) => ("repeat('x', 1048576)", "x'610d0a62ff'", "now()"),
        };
        database.table(
            "odd",
            "name VARCHAR(20), backend TEXT",
            "('anna', 'a'), ('twice', 'a'), ('twice', 'a'), ('torn', 'a'), ('torn', 'b'),
             ('lines', 'a\r\nDELE 1'), ('wild', 'nosuch'), ('user', 'x\ty@a')",
        );
        let backend = format!("CASE name WHEN 'big' THEN {big} ELSE backend END");
        database.execute("INSERT INTO odd VALUES ('big', 'a')");
        let several = format!("SELECT {backend} AS backend FROM odd WHERE name = :user");
        let door = open(&stub, &database.source(&several, ""));
        assert_answer(&door, "anna", IN);
        assert_answer(&door, "twice", IN);
        for (name, expected) in [
            ("torn", "several rows that differ"),
            ("lines", "`backend` holds a line end"),
            ("big", "`backend` has 1048576 bytes"),
            ("wild", "`nosuch` is neither the name nor the address"),
            ("user", "`backend` is no answer"),
        ] {
            assert_answer(&door, name, TRY_LATER);
            let line = door.line(|line| line.contains(expected));
            assert!(line.contains("reason=directory-misconfigured"), "{line}");
        }
        assert_answer(&door, "anna", IN);
        drop(door);
        for (columns, expected) in [
            ("7 AS backend", "`backend` is a number, not a text"),
            (&*format!("{date} AS backend"), "`backend` is of another type, not a text"),
            ("'a' AS backend, 'perhaps' AS disabled", "`disabled` is neither yes nor no"),
            ("'h' AS host, 70000 AS port", "`port` is none from 1 to 65535"),
            ("'a' AS backend, 'red' AS colour", "a field `colour`"),
            ("'a' AS backend, 'b' AS backend", "`backend` twice"),
            (&*format!("{blob} AS backend"), "`backend` is not UTF-8"),
            (&*format!("'a' AS backend, {blob} AS password"), "`password` holds a control"),
        ] {
            let door = open(
                &stub,
                &database.source(&format!("SELECT {columns} WHERE :user = 'anna'"), ""),
            );
            assert_answer(&door, "bob", UNKNOWN);
            assert_answer(&door, "anna", TRY_LATER);
            let line = door.line(|line| line.contains(expected));
            assert!(line.contains("reason=directory-misconfigured"), "{line}");
        }
    }
}

fn a_database_that_refuses_us_is_no_refusal_of_users(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        let query = "SELECT 'a' AS backend WHERE :user = 'anna'";
        for (query, keys, expected) in [
            (
                query,
                "password = \"wrong\"",
                &["password authentication failed", "Access denied"][..],
            ),
            (query, "database = \"other\"", &["does not exist", "Access denied"]),
            ("SELECT backend FROM nothing WHERE name = :user", "", &["nothing"]),
            ("SELECT backend FRM users WHERE name = :user", "", &["syntax"]),
            ("INSERT INTO mailusers VALUES (:user)", "", &["read-only", "READ ONLY"]),
            (
                "SELECT backend FROM mailusers WHERE name = :user FOR UPDATE",
                "",
                &["mailusers", "read-only", "READ ONLY"],
            ),
        ] {
            let door = open(&stub, &database.source(query, keys));
            for name in ["anna", "bob"] {
                assert_answer(&door, name, TRY_LATER);
            }
            let told = |line: &str| expected.iter().any(|expected| line.contains(expected));
            door.line(|line| line.contains("a source cannot say") && told(line));
        }
    }
}

fn a_databases_certificate_is_verified(house: &House) {
    let stub = stub();
    let query = "SELECT 'a' AS backend WHERE :user = 'anna'";
    for database in Database::shared(house) {
        let foreign = format!("ca_file = \"{}\"", stub.certificates().ca.display());
        let door = open(&stub, &database.source(query, &foreign));
        assert_answer(&door, "anna", TRY_LATER);
        door.line(|line| line.contains("a source cannot say") && line.contains("certificate"));
        drop(door);
        let socket = format!("socket = \"{}\"", database.socket().display());
        for keys in ["", "tls = \"none\"", "tls_verify = false", &socket] {
            let door = open(&stub, &database.source(query, keys));
            assert_answer(&door, "anna", IN);
        }
    }
}

fn nothing_of_the_environment_counts_for_postgresql(house: &House) {
    let stub = stub();
    let database = Database::Postgres(house.postgres());
    let foreign = stub.certificates().ca.display().to_string();
    let environment = [
        ("PGPASSWORD", "wrong"),
        ("PGSSLMODE", "disable"),
        ("PGSSLROOTCERT", &foreign),
        ("PGHOST", "192.0.2.1"),
        ("PGPORT", "1"),
        ("PGDATABASE", "other"),
        ("PGUSER", "other"),
    ];
    let query = "SELECT 'a' AS backend WHERE :user = 'anna'";
    let opened = |keys| {
        let rest = backend("a", stub.port(), 1) + &database.source(query, keys);
        Door::open_with(&usual(&rest), &environment, |_| {})
    };
    assert_answer(&opened(""), "anna", IN);
    // The right password is in the environment only.
    let mut with_password = environment;
    with_password[0].1 = testkit::servers::postgres::PASSWORD;
    let source = database.source(query, "");
    let own = format!("password = \"{}\"\n", testkit::servers::postgres::PASSWORD);
    let rest = backend("a", stub.port(), 1) + &source.replace(&own, "");
    let door = Door::open_with(&usual(&rest), &with_password, |_| {});
    assert_answer(&door, "anna", TRY_LATER);
    door.line(|line| line.contains("password authentication failed"));
}

fn a_changed_row_counts_within_two_seconds_where_postgresql_tells_of_it(house: &House) {
    let database = Database::Postgres(house.postgres());
    database.table("told", USERS, "('anna', 'a', NULL, FALSE), ('bob', 'a', NULL, FALSE)");
    database.execute(
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_notify('users', upper(OLD.name)); RETURN NULL; END $$;
         CREATE TRIGGER tell AFTER UPDATE ON told FOR EACH ROW EXECUTE FUNCTION tell();",
    );
    let stub = stub();
    let source =
        database.source("SELECT backend FROM told WHERE name = :user", "listen = \"users\"");
    let door = open(&stub, &source);
    let backend = |name| door.json(&["user", "look-up", name])["backend"].clone();
    assert_eq!(backend("anna"), "a");
    assert_eq!(backend("bob"), "a");
    let listens = "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    assert!(wait::until(SOON, || database.execute(listens).trim() != "0"));
    // Before it listened everything may have been forgotten once.
    assert_eq!((backend("anna"), backend("bob")), ("a".into(), "a".into()));
    let changed = Instant::now();
    database.execute("UPDATE told SET backend = 'b' WHERE name = 'anna'");
    assert!(wait::until(SOON, || backend("anna") == "b"));
    assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    // Nobody told of this one, and of nobody in particular.
    database.execute("ALTER TABLE told DISABLE TRIGGER tell; UPDATE told SET backend = 'b'");
    assert_eq!(backend("bob"), "a");
    database.execute("NOTIFY users");
    assert!(wait::until(SOON, || backend("bob") == "b"));
    // What changed while the connection was gone counts when it is back.
    database.execute("UPDATE told SET backend = 'a'");
    assert_eq!(backend("bob"), "b");
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    database.execute(ended);
    assert!(wait::until(SOON, || backend("bob") == "a"));
}

fn a_database_gets_no_more_connections_than_it_is_allowed(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        let mine = format!("limited_{}", database.word());
        let (sleep, count) = match database {
            Database::Postgres(_) => (
                "pg_sleep(0.02)",
                format!(
                    "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%{mine}%' AND pid <> pg_backend_pid()"
                ),
            ),
            Database::Mariadb(_) => (
                "SLEEP(0.02)",
                "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'limited'"
                    .to_owned(),
            ),
        };
        let mut keys = "connections = 3".to_owned();
        if let Database::Mariadb(_) = database {
            database.execute(
                "CREATE USER limited IDENTIFIED BY 'limited'; GRANT ALL ON mail.* TO limited",
            );
            keys += "\nuser = \"limited\"\npassword = \"limited\"";
        }
        database.table(&mine, USERS, "('anna', 'a', NULL, FALSE)");
        let query = format!(
            "SELECT 'a' AS backend FROM (SELECT {sleep} AS slept FROM {mine}) AS slow WHERE :user <> '' AND slept IS NOT NULL"
        );
        let door = open(&stub, &database.source(&query, &keys));
        let (done, mut most) = (AtomicBool::new(false), 0);
        thread::scope(|scope| {
            let log_in = |worker: usize| {
                let door = &door;
                move || {
                    (0..8).for_each(|user| assert!(comes_in(door, &format!("u{worker}x{user}"))))
                }
            };
            let workers: Vec<_> = (0..12).map(|worker| scope.spawn(log_in(worker))).collect();
            let watcher = scope.spawn(|| {
                let mut most = 0;
                while !done.load(Ordering::SeqCst) {
                    most = most.max(database.execute(&count).trim().parse::<usize>().unwrap());
                }
                most
            });
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            done.store(true, Ordering::SeqCst);
            most = watcher.join().unwrap();
        });
        assert!((2..=3).contains(&most), "{most}");
    }
}

/// A database server of one test's own.
trait Server {
    fn end(&mut self);
    fn start_again(&mut self) -> std::io::Result<()>;
    fn hang(&self) -> std::io::Result<()>;
    fn go_on(&self) -> std::io::Result<()>;
    fn database(&self) -> Database<'_>;
}

macro_rules! servers {
    ($($kind:ident),*) => {
        $(impl Server for $kind {
            fn end(&mut self) {
                self.stop();
            }

            fn start_again(&mut self) -> std::io::Result<()> {
                $kind::start_again(self).map_err(std::io::Error::other)
            }

            fn hang(&self) -> std::io::Result<()> {
                self.pause().map_err(std::io::Error::other)
            }

            fn go_on(&self) -> std::io::Result<()> {
                self.resume().map_err(std::io::Error::other)
            }

            fn database(&self) -> Database<'_> {
                Database::$kind(self)
            }
        })*
    };
}
servers!(Mariadb, Postgres);

fn while_postgresql_is_down_or_hangs_known_users_come_in_and_others_try_later(_: &House) {
    while_it_is_down_or_hangs(Postgres::start().unwrap());
}

fn while_mariadb_is_down_or_hangs_known_users_come_in_and_others_try_later(_: &House) {
    while_it_is_down_or_hangs(Mariadb::start().unwrap());
}

fn while_it_is_down_or_hangs(mut server: impl Server) {
    let rows = "('anna', 'a', NULL, FALSE), ('bob', 'b', NULL, FALSE)";
    server.database().table("users", USERS, rows);
    let source = server.database().source(QUERY, BRIEFLY);
    server.end();
    let stub = stub();
    let door = open(&stub, &source);
    assert_answer(&door, "anna", TRY_LATER);
    server.start_again().unwrap();
    assert!(wait::until(SOON, || comes_in(&door, "anna")));
    server.hang().unwrap();
    down(&door);
    server.go_on().unwrap();
    assert!(wait::until(SOON, || comes_in(&door, "bob")));
    server.end();
    assert_answer(&door, "carl", TRY_LATER);
    assert_answer(&door, "anna", IN);
    server.start_again().unwrap();
    assert!(wait::until(SOON, || door.imap_answer("carl", &password("carl")).starts_with(UNKNOWN)));
    assert_answer(&door, "anna", IN);
}

fn every_example_of_a_source_lets_its_users_in(_: &House) {
    let mut lab = Command::new(workspace::built_program("source-lab").unwrap());
    let said = printed(&limited(lab.env("CHECK", "1")).output().unwrap());
    assert!(said.matches("\nok ").count() >= 8 && !said.contains("not ok"), "{said}");
}

const QUERY: &str = "SELECT backend FROM users WHERE name = :user";

/// So that each login asks.
const BRIEFLY: &str = "[directory.cache]\nfound = \"0s\"\nnot_found = \"0s\"\ndeadline = \"1s\"";

/// What becomes of logins while the database hangs.
fn down(door: &Door) {
    assert_answer(door, "bob", TRY_LATER);
    let began = Instant::now();
    for _ in 0..3 {
        assert_answer(door, "anna", IN);
        assert_answer(door, "carl", TRY_LATER);
    }
    // One tries it now and then, and the others do not wait.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    door.line(|line| line.contains("a source cannot say"));
}
