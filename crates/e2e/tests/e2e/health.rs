//! Back ends that die and come back, and servers that stand for each other.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, ports, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub, Talk},
};
use testkit::{scripted::Client, wait};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        users_of_a_dead_back_end_try_later_at_once_until_one_finds_it_alive,
        a_client_that_is_banned_marks_no_back_end_down,
        a_back_end_is_looked_at_where_nobody_logs_in,
        the_test_user_s_login_says_whether_a_back_end_lives,
        a_user_s_sessions_are_all_on_one_server_of_a_store,
        a_placed_user_is_never_sent_to_another_store,
    ]
}

const NO_LOOKS: &str =
    "[health]\nlook_every = \"0s\"\nrest = \"100ms\"\nlongest_rest = \"200ms\"\n";

fn stays(mut talk: Talk) -> io::Result<()> {
    talk.rest().map(drop)
}

/// A server on this port to which names are told as they are.
fn plain(port: u16) -> Stub {
    let words = ImapWords { before: "IMAP4rev1 LITERAL+".to_owned(), ..ImapWords::default() };
    Stub::start_at(port, move |mut talk| {
        talk.send(&format!("* OK [CAPABILITY {}] ready\r\n", words.before))?;
        if talk.imap_login(&words)? { stays(talk) } else { Ok(()) }
    })
}

/// How a back end's IMAP service is.
fn health(door: &Door, name: &str) -> String {
    let list = door.json(&["backend", "list"]);
    let row = list.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    let health = row["health"].as_str().unwrap();
    let imap = health.strip_prefix("imap ").and_then(|rest| rest.split_once(','));
    imap.map_or(health, |(imap, _)| imap).to_owned()
}

fn becomes(door: &Door, name: &str, wanted: &str) {
    let so = wait::until(SOON, || health(door, name) == wanted);
    assert!(so, "{name} is {}, not {wanted}; the log:\n{}", health(door, name), door.log_text());
}

fn log_in(door: &Door, user: &str) -> Client {
    let mut client = door.raw_imap();
    client.ask(&format!("l LOGIN {user} {}", password(user)), "l OK").unwrap();
    client
}

fn users_of_a_dead_back_end_try_later_at_once_until_one_finds_it_alive(_: &House) {
    let [dead] = ports();
    let alive = Stub::imap(stays);
    let rest = format!(
        "{NO_LOOKS}{}{}[[directory]]\nsource = \"table\"\n{}",
        backend("dead", dead, dead),
        backend("alive", alive.port(), alive.port()),
        everybody_at("dead"),
    );
    let door = Door::open(&usual(&rest));
    door.does(&["user", "place", "elsewhere", "alive", "--mail-is-already-there"]);
    for user in ["anna", "bert", "cleo"] {
        let answer = door.imap_answer(user, &password(user));
        assert!(answer.contains("[UNAVAILABLE]"), "{answer}");
    }
    assert_eq!(health(&door, "dead"), "down");
    door.line(|line| line.contains("back end is down") && line.contains("backend-connect"));
    log_in(&door, "elsewhere");
    // Of many at a time one tries, and the others are told what is known.
    let told = wait::until(SOON, || {
        let answer = door.imap_answer("dora", &password("dora"));
        assert!(answer.contains("[UNAVAILABLE]"), "{answer}");
        door.log_text().contains("reason=backend-down")
    });
    assert!(told, "{}", door.log_text());
    let _back = Stub::imap_at(dead, stays);
    let answers = || door.imap_answer("emil", &password("emil")).contains("OK");
    assert!(wait::until(SOON, answers), "{}", door.log_text());
    assert_eq!(health(&door, "dead"), "returning");
    door.line(|line| line.contains("back end is back"));
}

fn a_client_that_is_banned_marks_no_back_end_down(_: &House) {
    let refusals = Arc::new(AtomicU32::new(0));
    let refused = Arc::clone(&refusals);
    let stub = Stub::start(move |mut talk| {
        talk.send("* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n")?;
        let line = talk.line()?;
        if line.contains("friend") {
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n"))?;
            return stays(talk);
        }
        refused.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let rest = format!("{NO_LOOKS}{}{}", backend("a", stub.port(), 1), everybody_at("a"));
    let door = Door::open(&usual(&rest));
    for number in 0..10 {
        let user = format!("banned{number}");
        let answer = door.imap_answer(&user, &password(&user));
        assert!(answer.contains("[UNAVAILABLE]"), "{answer}");
    }
    assert!(refusals.load(Ordering::SeqCst) >= 10);
    assert_eq!(health(&door, "a"), "up");
    log_in(&door, "friend");
}

fn a_back_end_is_looked_at_where_nobody_logs_in(_: &House) {
    let [port] = ports();
    let table = "[health]\nlook_every = \"50ms\"\n";
    let rest = format!("{table}{}{}", backend("a", port, port), everybody_at("a"));
    let door = Door::open(&usual(&rest));
    becomes(&door, "a", "down");
    let _back = Stub::imap_at(port, stays);
    becomes(&door, "a", "returning");
    log_in(&door, "anna");
}

fn the_test_user_s_login_says_whether_a_back_end_lives(_: &House) {
    let words = ImapWords::default();
    // It greets, and lets nobody in.
    let stub = Stub::start(move |mut talk| {
        talk.send(&format!("* OK [CAPABILITY {}] ready\r\n", words.before))?;
        while let Ok(line) = talk.line() {
            let tag = line.split(' ').next().unwrap_or_default().to_owned();
            talk.send(&format!("{tag} NO [UNAVAILABLE] no disk\r\n"))?;
        }
        Ok(())
    });
    let tester = format!("test_user = \"tester\"\ntest_password = \"{}\"\n", password("tester"));
    let table = "[health]\nlook_every = \"50ms\"\n";
    let a = backend("a", stub.port(), stub.port());
    let door = Door::open(&usual(&format!("{table}{a}{tester}{}", everybody_at("a"))));
    becomes(&door, "a", "down");
    let answer = door.imap_answer("anna", &password("anna"));
    assert!(answer.contains("[UNAVAILABLE]"), "{answer}");
}

fn a_user_s_sessions_are_all_on_one_server_of_a_store(_: &House) {
    let [first, second] = ports();
    let second = plain(second);
    let store = "same_store = \"nfs\"\n";
    let rest = format!(
        "{NO_LOOKS}{}{store}{}{store}{}",
        backend("a", first, first),
        backend("b", second.port(), second.port()),
        everybody_at("a"),
    );
    let door = Door::open(&usual(&rest));
    let one = log_in(&door, "anna");
    let heard = |stub: &Stub| {
        let heard = stub.heard();
        heard.lines().filter(|line| line.contains("LOGIN") && line.contains("anna")).count()
    };
    assert_eq!(heard(&second), 1);
    let at_home = plain(first);
    // It lives again, but her session is open at the other.
    let two = log_in(&door, "anna");
    assert_eq!((heard(&at_home), heard(&second)), (0, 2));
    let bert = log_in(&door, "bert");
    at_home.wait_heard("bert");
    drop((one, two, bert));
    let ended = || door.json(&["session", "list"]).as_array().unwrap().is_empty();
    assert!(wait::until(SOON, ended), "{}", door.log_text());
    log_in(&door, "anna");
    at_home.wait_heard("anna");
}

fn a_placed_user_is_never_sent_to_another_store(_: &House) {
    let [dead, other] = ports();
    let other = plain(other);
    let rest = format!(
        "{NO_LOOKS}{}same_store = \"one\"\n{}same_store = \"two\"\n{}",
        backend("a", dead, dead),
        backend("b", other.port(), other.port()),
        everybody_at("a"),
    );
    let door = Door::open(&usual(&rest));
    for user in ["anna", "bert", "cleo", "dora", "emil"] {
        let answer = door.imap_answer(user, &password(user));
        assert!(answer.contains("[UNAVAILABLE]"), "{answer}");
    }
    for user in ["anna", "emil"] {
        assert!(!other.heard().contains(user), "{}", other.heard());
    }
}
