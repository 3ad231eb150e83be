use model::{CanonicalUser, Protocol, UserName};
use proptest::prelude::*;

use super::*;

const DIALECTS: [Dialect; 4] = [Dialect::MySql, Dialect::Odbc, Dialect::Postgres, Dialect::Sqlite];

fn parsed(text: &str, dialect: Dialect) -> Result<Statement, InvalidStatement> {
    Statement::parse(text, dialect, Task::LookUp)
}

fn text(text: &str, dialect: Dialect) -> String {
    parsed(text, dialect).unwrap().text.to_string()
}

#[test]
fn parameters_are_numbered_as_the_database_likes() {
    let written = "SELECT b FROM u WHERE n=:user AND (d = :domain OR n = :user)";
    let wanted = [
        "SELECT b FROM u WHERE n=? AND (d = ? OR n = ?)",
        "SELECT b FROM u WHERE n=? AND (d = ? OR n = ?)",
        "SELECT b FROM u WHERE n=$1 AND (d = $2 OR n = $1)",
        "SELECT b FROM u WHERE n=?1 AND (d = ?2 OR n = ?1)",
    ];
    let user = CanonicalUser::declare(UserName::new("bob@x").unwrap());
    let query = Query::without_client(user, Protocol::Imap);
    for (dialect, wanted) in DIALECTS.into_iter().zip(wanted) {
        let statement = parsed(written, dialect).unwrap();
        assert_eq!(&**statement.text(), wanted);
        let values = statement.values(&query, "bob@x", Change::default());
        let bound = if matches!(dialect, Dialect::MySql | Dialect::Odbc) {
            &["bob@x", "x", "bob@x"][..]
        } else {
            &["bob@x", "x"]
        };
        assert_eq!(values, bound);
    }
}

#[test]
fn what_is_quoted_or_commented_is_left_alone() {
    for same in [
        "SELECT ':user', 'it''s :user', \":user\", \"a\"\":user\"",
        "SELECT 1 -- :usr it's\n, 2",
        "SELECT 1 /* :usr ' \" */ , 2",
        "SELECT 1; ;-- :usr",
    ] {
        for dialect in [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite] {
            let kept = same.split(';').next().unwrap();
            assert_eq!(text(same, dialect), kept, "{dialect:?}");
        }
    }
    for same in [
        "SELECT a::text, b :: int, a[1:2], a[:2], x := 1",
        "SELECT $$ :usr ' $$, $t$ :usr $$ $t$, a$b$c",
        "SELECT E'\\':usr', e'\\\\', 'a\\', type':usr'",
        "SELECT 1 /* a /* b */ :usr */, data ? 'x'",
    ] {
        assert_eq!(text(same, Dialect::Postgres), same);
    }
    for same in
        ["SELECT 'it\\'s :usr', \"\\\":usr\", `a:b`, @a := 1", "SELECT 1 # :usr '\n, @@version"]
    {
        assert_eq!(text(same, Dialect::MySql), same);
    }
    for same in ["SELECT [a:b ' ], `a:b`, '\\'", "SELECT 1 /* :usr"] {
        assert_eq!(text(same, Dialect::Sqlite), same);
    }
    for same in [
        "SELECT {fn UCASE(a)}, `a:b`, a[1:2], '\\', @@x, ':user', \"a\"\":user\"",
        "SELECT /*+ INDEX(a:b) */ 1",
    ] {
        assert_eq!(text(same, Dialect::Odbc), same);
    }
    let commented = "SELECT 1 -- who's :where?\n, 2/* :usr ' ? */, 3; ;-- :usr";
    assert_eq!(text(commented, Dialect::Odbc), "SELECT 1  \n, 2 , 3");
    assert_eq!(text("SELECT {fn UCASE(:user)}", Dialect::Odbc), "SELECT {fn UCASE(?)}");
    assert_eq!(text("SELECT 5--:user\n", Dialect::MySql), "SELECT 5--?\n");
    assert_eq!(text("SELECT :client_ip::inet", Dialect::Postgres), "SELECT $1::inet");
    assert_eq!(text("SELECT '\\', :user", Dialect::Postgres), "SELECT '\\', $1");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let place = |text: &str, dialect| {
        let wrong = parsed(text, dialect).unwrap_err();
        (text[wrong.at.clone()].to_owned(), wrong.what)
    };
    for (text, part, words) in [
        ("SELECT :usr", ":usr", "`:usr` is no parameter; there are :user"),
        ("SELECT :backend", ":backend", "is no parameter"),
        ("SELECT 'a", "'", "no end"),
        ("SELECT 1; DROP TABLE x", "DROP TABLE x", "only one statement"),
        ("SELECT a\0", "\0", "NUL"),
        (" -- nothing\n ; ", " -- nothing\n ; ", "no statement"),
        ("SELECT a:user", ":user", "begins behind"),
    ] {
        for dialect in DIALECTS {
            let (at, what) = place(text, dialect);
            assert_eq!(at, part, "{dialect:?}");
            assert!(what.contains(words), "{what}");
        }
    }
    for (text, dialect) in [
        ("SELECT $1", Dialect::Postgres),
        ("SELECT $a$ x", Dialect::Postgres),
        ("SELECT ?", Dialect::MySql),
        ("SELECT ?", Dialect::Odbc),
        ("SELECT ?1", Dialect::Sqlite),
        ("SELECT @a", Dialect::Sqlite),
        ("SELECT 1 /* ", Dialect::Postgres),
    ] {
        assert!(parsed(text, dialect).is_err(), "{text}");
    }
}

#[test]
fn only_who_assigns_names_a_back_end_and_a_list_names_nothing() {
    let text = "UPDATE u SET b = :backend WHERE n = :user AND b = :old_backend";
    let assign = Statement::parse(text, Dialect::Postgres, Task::Assign).unwrap();
    assert!(assign.names_backend());
    assert_eq!(&**assign.text(), "UPDATE u SET b = $1 WHERE n = $2 AND b = $3");
    let user = CanonicalUser::declare(UserName::new("bob@x").unwrap());
    let query = Query::without_client(user, Protocol::Imap);
    let change = Change { backend: "new", old_backend: "old" };
    assert_eq!(assign.values(&query, "key", change), ["new", "bob@x", "old"]);
    // A row that many share is nobody's.
    for text in ["UPDATE u SET b = :backend WHERE n = :key", "UPDATE u SET b = :client_ip"] {
        let wrong = Statement::parse(text, Dialect::Postgres, Task::Assign).unwrap_err();
        assert!(wrong.what.contains("there are :user, :local, :domain, :backend, :old_backend"));
    }
    assert!(Statement::parse("SELECT :user", Dialect::Postgres, Task::List).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_and_places_are_within_it(
        text in "([a-zE:;'\"`$?@#\\[\\]/* \n\\\\é-]|::|/\\*|\\*/|--|:user|\\$x\\$)*",
    ) {
        for dialect in DIALECTS {
            match parsed(&text, dialect) {
                Ok(statement) => {
                    let used = statement.placeholders().count();
                    prop_assert!(used <= text.matches(":user").count());
                }
                Err(wrong) => prop_assert!(text.get(wrong.at).is_some()),
            }
        }
    }
}
