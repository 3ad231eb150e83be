//! Users in a constant database that another program makes, by rules, and by a hash.

use std::{
    fs,
    path::{Path, PathBuf},
};

use e2e::{
    cases,
    door::{Door, SOON, backend, usual},
    house::House,
    load::Load,
    programs::{limited, printed},
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub},
};
use testkit::{
    peers::{self, Peer},
    wait,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_database_that_tinycdb_makes_is_exchanged_under_load_and_each_login_sees_one_or_the_other,
        rules_lead_to_back_ends_and_names_that_look_like_rules_are_names,
        everybody_is_spread_by_a_hash,
    ]
}

const UNKNOWN: &str = "NO [AUTHENTICATIONFAILED]";

/// Two back ends, and what follows.
fn config([a, b]: [&Stub; 2], source: &str) -> String {
    usual(&(backend("a", a.port(), 1) + &backend("b", b.port(), 1) + source))
}

/// Makes a database of lines `KEY VALUE` by `cdb`, which writes beside it and renames.
fn make(path: &Path, lines: &str) {
    let text = path.with_extension("txt");
    fs::write(&text, lines).unwrap();
    let cdb = peers::ensure(Peer::Tinycdb).unwrap();
    let mut make = cdb.command("usr/bin/cdb").unwrap();
    make.args(["-c", "-m", "-t"]).arg(path.with_extension("new")).arg(path).arg(text);
    printed(&limited(&make).output().unwrap());
}

fn lines(users: u64, place: &str) -> String {
    (0..users).map(|number| format!("user{number} {place}\n")).collect()
}

fn a_database_that_tinycdb_makes_is_exchanged_under_load_and_each_login_sees_one_or_the_other(
    _: &House,
) {
    const USERS: u64 = 500;
    let [a, b] = ["a", "b"].map(Stub::named);
    let source = "[[directory]]\nsource = \"cdb\"\nfile = \"users.cdb\"\n";
    let door = Door::open_with(&config([&a, &b], source), &[], |folder| {
        make(&folder.join("users.cdb"), &lines(USERS, "a"));
    });
    let path: PathBuf = door.folder().join("users.cdb");
    assert!(door.imap_answer("nobody", &password("x")).starts_with(UNKNOWN));
    let load = Load::begin(door.imap, 40, 20, |number| format!("user{}", number * 7 % USERS));
    for (place, there) in [("b", &b), ("a", &a)] {
        let before = there.heard().len();
        make(&path, &lines(USERS, place));
        // The load has taken it over.
        assert!(wait::until(SOON, || there.heard().len() > before + 1000), "{}", door.log_text());
    }
    // One that is cut off changes nothing.
    let whole = fs::read(&path).unwrap();
    fs::write(path.with_extension("part"), &whole[..whole.len() / 2]).unwrap();
    fs::rename(path.with_extension("part"), &path).unwrap();
    door.line(|line| line.contains("cut off"));
    let answered = load.answered();
    assert!(wait::until(SOON, || load.answered() > answered + 40));
    for login in load.end() {
        let home = login.answer.unwrap();
        assert!(matches!(home.as_deref(), Ok("a" | "b")), "{}: {home:?}", login.name);
    }
}

/// A back end to which names are told as they are.
fn told() -> Stub {
    let words = ImapWords { before: "IMAP4rev1 LITERAL+".to_owned(), ..ImapWords::default() };
    Stub::imap_with(words, |mut talk| talk.rest().map(drop))
}

fn rules_lead_to_back_ends_and_names_that_look_like_rules_are_names(_: &House) {
    let [a, b] = [told(), told()];
    let source = "[[directory]]\nsource = \"regex\"\nrules = [\n\
        { match = '^(?<local>[^@]*)@example\\.net$', backend = \"b\", user = \"${local}\" },\n]\n\
        [[directory]]\nsource = \"regex\"\nfile = \"popmap.re\"\n";
    let door = Door::open_with(&config([&a, &b], source), &[], |folder| {
        fs::write(folder.join("popmap.re"), "^[a-m].*@example\\.org$: a\n").unwrap();
    });
    let answer = |name: &str| door.imap_answer(name, &password("x"));
    assert!(answer("Anna@Example.net").starts_with("OK"));
    b.wait_heard("anna");
    assert!(!b.heard().contains("example"), "{}", b.heard());
    assert!(answer("bert@example.org").starts_with("OK"));
    a.wait_heard("bert@example.org");
    // None of these is more than a name, and the dot of a rule is no other letter.
    for name in [
        "zoe@example.org",
        "anna@exampleXnet",
        "^.*$",
        ".*",
        "(anna)@example.net.evil",
        "${local}@example.com",
        "a(((((((((((((((((((((a@example.com",
    ] {
        assert!(answer(name).starts_with(UNKNOWN), "{name}: {}", answer(name));
    }
    // A replacement within a name is part of it.
    assert!(answer("$1@example.net").starts_with("OK"));
    b.wait_heard("$1");
}

fn everybody_is_spread_by_a_hash(_: &House) {
    let [a, b] = [told(), told()];
    let pool = "[pool.main]\nbackends = [\"a\", \"b\"]\n\
        [[directory]]\nsource = \"hash\"\npool = \"main\"\n";
    let door = Door::open(&config([&a, &b], pool));
    for number in 0..30 {
        assert!(door.imap_answer(&format!("user{number}"), &password("x")).starts_with("OK"));
    }
    let logins = [&a, &b].map(|stub| stub.heard().matches("LOGIN ").count());
    assert!(logins[0] + logins[1] == 30 && logins.iter().all(|count| *count > 2), "{logins:?}");
    // Nobody has left a row.
    assert_eq!(door.does(&["user", "export", "--mailboxes"]).lines().count(), 1);
}
