//! Databases that are told where users are: by an operator, and at a first login; and their lists of users.

use std::{collections::HashSet, thread};

use e2e::{
    cases,
    database::Database,
    door::{Door, backend, usual},
    house::House,
    programs::text,
    runner::Case,
    secrets::password,
    stub::Stub,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_user_is_placed_in_the_database_that_knows_him,
        a_users_place_in_a_file_of_sqlite_is_written_there,
        a_statement_that_does_something_else_leaves_nothing_behind,
        who_is_moved_by_two_at_once_is_where_one_of_them_said,
        a_first_login_is_written_to_the_database_once_and_for_good,
        the_users_of_a_database_are_listed_as_it_gives_them,
    ]
}

const COLUMNS: &str = "name VARCHAR(100), backend VARCHAR(100)";
const ASSIGN: &str =
    "UPDATE @ SET backend = :backend WHERE name = :user AND COALESCE(backend, '') = :old_backend";
const THERE: &str = "--mail-is-already-there";

fn stub() -> Stub {
    Stub::imap(|mut talk| talk.rest().map(drop))
}

/// The source that asks a table, and is told by a statement in which `@` stands for it.
fn source(database: Database<'_>, table: &str, assign: &str, keys: &str) -> String {
    let query = format!("SELECT backend FROM {table} WHERE name = :user");
    let assign = assign.replace('@', table);
    database.source(&query, &format!("name = \"users\"\nassign = '''{assign}'''\n{keys}"))
}

/// Back ends `a`, `b` and `c` at one stub.
fn open(stub: &Stub, rest: &str) -> Door {
    let backends: String = ["a", "b", "c"].map(|name| backend(name, stub.port(), 1)).concat();
    Door::open(&usual(&(backends + rest)))
}

fn is_at(door: &Door, user: &str) -> String {
    door.json(&["user", "look-up", user])["backend"].as_str().unwrap_or_default().to_owned()
}

/// What a command says that must not be done.
fn refused(door: &Door, arguments: &[&str]) -> String {
    let output = door.command(arguments).unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

fn a_user_is_placed_in_the_database_that_knows_him(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        let rows = "('anna', 'a'), ('bob', 'a'), ('eve', NULL), ('fay', 'fay.there@a')";
        database.table("placed", COLUMNS, rows);
        let door = open(&stub, &source(database, "placed", ASSIGN, ""));
        assert_eq!(is_at(&door, "anna"), "a");
        // Nothing is looked for elsewhere that has not been brought there.
        let said = refused(&door, &["user", "place", "anna", "b"]);
        assert!(said.contains(THERE), "{said}");
        let said = door.does(&["user", "place", "Anna", "b", THERE]);
        assert_eq!(said, "anna: changed, on b\n");
        // What was remembered counts no more.
        assert_eq!(is_at(&door, "anna"), "b");
        let stored = |name: &str| {
            database
                .execute(&format!("SELECT backend FROM placed WHERE name = '{name}'"))
                .trim()
                .to_owned()
        };
        assert_eq!((stored("anna").as_str(), stored("bob").as_str()), ("b", "a"));
        let said = door.does(&["user", "place", "anna", "b"]);
        assert_eq!(said, "anna: unchanged, on b\n");
        // Who has no home has no mail that could be lost. His name there stays.
        assert_eq!(door.does(&["user", "place", "eve", "c"]), "eve: added, on c\n");
        assert_eq!(stored("eve"), "c");
        door.does(&["user", "place", "fay", "b", THERE]);
        assert_eq!(stored("fay"), "fay.there@b");
        for (arguments, expected) in [
            (&["user", "place", "anna", "nosuch", THERE][..], "nosuch"),
            (&["user", "place", "anna", "c", "--as", "other", THERE], "only where he is"),
            (&["user", "place", "nobody", "c"], "no table"),
        ] {
            let said = refused(&door, arguments);
            assert!(said.contains(expected), "{said}");
        }
        // Somebody changed it, and what is remembered here is old.
        assert_eq!(is_at(&door, "bob"), "a");
        database.execute("UPDATE placed SET backend = 'c' WHERE name = 'bob'");
        let said = refused(&door, &["user", "place", "bob", "b", THERE]);
        assert!(said.contains("look again"), "{said}");
        assert_eq!((stored("bob").as_str(), is_at(&door, "bob").as_str()), ("c", "c"));
        let history = door.does(&["user", "history", "anna"]);
        let line = history.lines().find(|line| line.contains("assign")).unwrap();
        assert!(line.contains(" a ") && line.trim_end().ends_with('b'), "{history}");
        let audit = door.line(|line| line.contains("act=user-place") && line.contains("user=anna"));
        assert!(audit.contains("source=users") && audit.contains("change=changed"), "{audit}");
        drop(door);
        database.execute("DROP TABLE placed");
    }
}

fn a_users_place_in_a_file_of_sqlite_is_written_there(_: &House) {
    let stub = stub();
    let source = "[[directory]]\nsource = \"sqlite\"\nfile = \"users.sqlite\"\n\
        query = \"SELECT backend FROM users WHERE name = :user\"\n\
        assign = \"UPDATE users SET backend = :backend WHERE name = :user\"\n\
        list = \"SELECT name, backend FROM users\"\n";
    let backends: String = ["a", "b"].map(|name| backend(name, stub.port(), 1)).concat();
    let door = Door::open_with(&usual(&(backends + source)), &[], |folder| {
        let made = rusqlite::Connection::open(folder.join("users.sqlite")).unwrap();
        let rows = "INSERT INTO users VALUES ('anna', 'a'), ('twin', 'a'), ('twin', 'a')";
        made.execute_batch(&format!("CREATE TABLE users (name, backend); {rows}")).unwrap();
    });
    assert_eq!(is_at(&door, "anna"), "a");
    door.does(&["user", "place", "anna", "b", THERE]);
    assert_eq!(is_at(&door, "anna"), "b");
    let said = refused(&door, &["user", "place", "twin", "b", THERE]);
    assert!(said.contains("changes 2 rows"), "{said}");
    let listed = door.does(&["user", "list", "--source", "sqlite"]);
    assert_eq!(listed, "anna\tb\ntwin\ta\ntwin\ta\n");
}

fn a_statement_that_does_something_else_leaves_nothing_behind(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        database.table(
            "kept",
            COLUMNS,
            "('anna', 'a'), ('bob', 'a'), ('twin', 'a'), ('twin', 'a')",
        );
        for (user, assign, expected) in [
            (
                "anna",
                "UPDATE @ SET backend = :backend WHERE name = CONCAT('x', :user)",
                "changes no row",
            ),
            ("anna", "UPDATE @ SET backend = :backend WHERE :user <> ''", "changes 4 rows"),
            ("twin", "UPDATE @ SET backend = :backend WHERE name = :user", "changes 2 rows"),
            (
                "anna",
                "UPDATE @ SET backend = 'c' WHERE name = :user AND :backend <> ''",
                "names another back end",
            ),
            (
                "anna",
                "UPDATE @ SET backend = :backend, name = 'gone' WHERE name = :user",
                "says something else",
            ),
            ("anna", "UPDATE nosuch SET backend = :backend WHERE name = :user", "nosuch"),
            ("anna", "SELECT :backend, :user", "nothing was written"),
        ] {
            let door = open(&stub, &source(database, "kept", assign, ""));
            let said = refused(&door, &["user", "place", user, "b", THERE]);
            assert!(said.contains(expected), "{assign}: {said}");
            assert_eq!(is_at(&door, user), "a");
            let moved = "SELECT COUNT(*) FROM kept WHERE backend <> 'a' OR name = 'gone'";
            assert_eq!(database.execute(moved).trim(), "0", "{assign}");
        }
        database.execute("DROP TABLE kept");
    }
}

fn who_is_moved_by_two_at_once_is_where_one_of_them_said(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        database.table("raced", &format!("{COLUMNS}, PRIMARY KEY (name)"), "('anna', 'a')");
        // Without `:old_backend` it is up to the database.
        let assign = "UPDATE @ SET backend = :backend WHERE name = :user";
        let doors = [(); 2].map(|()| {
            open(&stub, &source(database, "raced", assign, "[directory.cache]\nfound = \"0s\""))
        });
        let mut is = "a".to_owned();
        for _ in 0..8 {
            let others: Vec<_> = ["a", "b", "c"].into_iter().filter(|name| *name != is).collect();
            let said: Vec<_> = thread::scope(|scope| {
                let place = |(door, to): (&Door, &'static str)| {
                    door.command(&["user", "place", "anna", to, THERE]).unwrap()
                };
                let pairs = [(&doors[0], others[0]), (&doors[1], others[1])];
                let running = pairs.map(|pair| scope.spawn(move || place(pair)));
                running.into_iter().map(|running| running.join().unwrap()).collect()
            });
            let done = |index: usize| said[index].status.success();
            assert!(done(0) || done(1), "{} {}", text(&said[0]), text(&said[1]));
            is = database.execute("SELECT backend FROM raced").trim().to_owned();
            // Whoever was told that it was done is right, or it was done after him by somebody who saw it.
            let winner = others.iter().position(|other| *other == is).unwrap();
            assert!(done(winner), "{is}: {} {}", text(&said[0]), text(&said[1]));
        }
        drop(doors);
        database.execute("DROP TABLE raced");
    }
}

fn a_first_login_is_written_to_the_database_once_and_for_good(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        let names: Vec<String> = (0..6).map(|number| format!("new{number}")).collect();
        let rows: Vec<_> = names.iter().map(|name| format!("('{name}', NULL)")).collect();
        database.table("first", &format!("{COLUMNS}, PRIMARY KEY (name)"), &rows.join(", "));
        let pool =
            "pool = \"main\"\n[pool.main]\nplace = \"user\"\nbackends = [\"a\", \"b\", \"c\"]\n";
        // Two front doors that do not know of each other, and each client makes several connections.
        let doors = [(); 2].map(|()| open(&stub, &source(database, "first", ASSIGN, pool)));
        thread::scope(|scope| {
            for name in &names {
                for door in &doors {
                    for _ in 0..2 {
                        scope.spawn(move || {
                            let said = door.imap_answer(name, &password(name));
                            assert!(said.starts_with("OK"), "{said}; {}", door.log_text());
                        });
                    }
                }
            }
        });
        let mut homes = HashSet::new();
        for name in &names {
            let stored =
                database.execute(&format!("SELECT backend FROM first WHERE name = '{name}'"));
            let stored = stored.trim().to_owned();
            for door in &doors {
                door.does(&["cache", "flush", name]);
                assert_eq!(is_at(door, name), stored);
            }
            homes.insert(stored);
        }
        assert!(
            homes.len() > 1 && homes.iter().all(|home| ["a", "b", "c"].contains(&home.as_str()))
        );
        let noted: usize = doors
            .iter()
            .map(|door| door.does(&["user", "history", &names[0]]).matches("first-login").count())
            .sum();
        assert_eq!(noted, 1);
        // Nobody whom the database does not know gets a home.
        let said = doors[0].imap_answer("nobody", &password("nobody"));
        assert!(said.starts_with("NO [AUTHENTICATIONFAILED]"), "{said}");
        assert_eq!(database.execute("SELECT COUNT(*) FROM first").trim(), "6");
        drop(doors);
        database.execute("DROP TABLE first");
    }
}

fn the_users_of_a_database_are_listed_as_it_gives_them(house: &House) {
    let stub = stub();
    for database in Database::shared(house) {
        let rows: Vec<_> = (0..2000).map(|number| format!("('user{number:04}', 'a')")).collect();
        database.table("listed", COLUMNS, &rows.join(", "));
        database.execute("INSERT INTO listed VALUES ('zoe', NULL)");
        let list = "list = \"SELECT name, backend, CASE name WHEN 'zoe' THEN 'z' END AS there FROM listed ORDER BY name\"\n";
        let list = list.replace(
            "AS there",
            if matches!(database, Database::Postgres(_)) { "AS \\\"user\\\"" } else { "AS `user`" },
        );
        let door = open(&stub, &source(database, "listed", ASSIGN, &list));
        let listed = door.does(&["user", "list", "--source", "users"]);
        assert_eq!(listed.lines().count(), 2001);
        assert!(listed.starts_with("user0000\ta\n") && listed.ends_with("zoe\t\tz\n"), "{listed}");
        let listed = door.json(&["user", "list", "--source", "users"]);
        assert_eq!(listed[2000]["as"], "z");
        // One row that is of no use is told, and the others are listed.
        database.execute("INSERT INTO listed VALUES (NULL, 'b')");
        let said = refused(&door, &["user", "list", "--source", "users"]);
        assert!(
            said.contains("user0000\ta") && said.contains("the row has no `name`"),
            "{}",
            &said[said.len() - 300..]
        );
        let said = refused(&door, &["user", "list", "--source", "nosuch"]);
        assert!(said.contains("there are: users"), "{said}");
        drop(door);
        database.execute("DROP TABLE listed");
    }
}
