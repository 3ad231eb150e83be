//! Sessions that are held between two commands, and that tell what they change, before a real server.

use std::time::Duration;

use e2e::{
    cases,
    house::{House, Kind, Person},
    inside::Inside,
    runner::Case,
};
use model::{CanonicalUser, Change, Scope, UserName};
use proxy::Hold;
use testkit::{servers::Service, wire::Wire};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_session_is_held_when_its_command_was_answered_and_goes_on_when_released,
        a_session_that_began_blind_is_told_of_and_goes_on,
        whoever_follows_hears_which_mailboxes_a_client_changes,
    ]
}

const AT_ONCE: Duration = Duration::ZERO;
const PATIENCE: Duration = Duration::from_secs(10);
const MESSAGE: &str = "Subject: held\r\n\r\ntext\r\n";

fn open(house: &House) -> (Inside, Person, CanonicalUser) {
    let person = house.person(Kind::Maildir);
    let user = CanonicalUser::declare(UserName::new(person.name.clone()).unwrap());
    (Inside::open(house.port(Kind::Maildir, Service::Imap)), person, user)
}

fn hold(inside: &Inside, user: &CanonicalUser, patience: Duration) -> Vec<Hold> {
    let held = inside.wait(inside.sessions().hold(user, patience));
    held.iter().map(|session| session.hold).collect()
}

fn a_session_is_held_when_its_command_was_answered_and_goes_on_when_released(house: &House) {
    let (inside, person, user) = open(house);
    // Who is held from the start is followed.
    assert!(hold(&inside, &user, PATIENCE).is_empty());
    let mut client = inside.logged_in(&person);
    let entered = || inside.sessions().holds(&user).len() == 1;
    assert!(testkit::wait::until(e2e::door::SOON, entered));
    assert_eq!(hold(&inside, &user, PATIENCE), [Hold::Held]);
    inside.sessions().release(&user);
    client.select("INBOX").unwrap();

    let announced = format!("x APPEND INBOX {{{}}}\r\n", MESSAGE.len());
    let wire = client.wire();
    wire.send(announced.as_bytes()).unwrap();
    heard_up_to(wire, "+");
    assert_eq!(hold(&inside, &user, AT_ONCE), [Hold::InFlight]);
    wire.send(format!("{MESSAGE}\r\ny SEARCH SUBJECT held\r\n").as_bytes()).unwrap();
    heard_up_to(wire, "x OK");
    assert_eq!(hold(&inside, &user, PATIENCE), [Hold::Held]);

    // Somebody else is served meanwhile, and nothing of this one moves.
    let moved = || {
        let of = |view: &&proxy::SessionView| view.user == user;
        let list = inside.sessions().list();
        list.iter().find(of).map(|view| (view.bytes_in, view.bytes_out)).unwrap()
    };
    wire.send(b"z NOOP\r\n").unwrap();
    let before = moved();
    let mut other = inside.logged_in(&house.person(Kind::Maildir));
    assert!(other.command("NOOP").unwrap().is_ok());
    assert_eq!(moved(), before);

    assert!(inside.sessions().release(&user));
    let heard = heard_up_to(client.wire(), "z OK");
    assert!(heard.contains("* SEARCH 1") && heard.contains("y OK"), "{heard}");
}

/// All lines up to one that begins so.
fn heard_up_to(wire: &mut Wire, last: &str) -> String {
    let mut heard = String::new();
    loop {
        let line = String::from_utf8(wire.read_line().unwrap().unwrap()).unwrap();
        heard.push_str(&line);
        heard.push('\n');
        if line.starts_with(last) {
            return heard;
        }
    }
}

fn a_session_that_began_blind_is_told_of_and_goes_on(house: &House) {
    let (inside, person, user) = open(house);
    let mut blind = inside.logged_in(&person);
    // The answer to the login comes before the session is one.
    assert!(blind.command("NOOP").unwrap().is_ok());
    assert_eq!(hold(&inside, &user, PATIENCE), [Hold::Blind]);
    assert!(blind.command("NOOP").unwrap().is_ok());
    let later = inside.logged_in(&person);
    let both = || inside.sessions().holds(&user).len() == 2;
    assert!(testkit::wait::until(e2e::door::SOON, both));
    assert_eq!(hold(&inside, &user, PATIENCE), [Hold::Blind, Hold::Held]);
    inside.sessions().release(&user);
    blind.logout().unwrap();
    later.logout().unwrap();
}

fn whoever_follows_hears_which_mailboxes_a_client_changes(house: &House) {
    let (inside, person, user) = open(house);
    let mut changes = inside.sessions().changes(16).unwrap();
    let mut client = inside.logged_in(&person);
    assert!(client.command("CREATE Archive").unwrap().is_ok());
    client.append("INBOX", MESSAGE.as_bytes()).unwrap();
    client.select("INBOX").unwrap();
    for command in ["NOOP", "FETCH 1 BODY.PEEK[]", "STORE 1 +FLAGS (\\Flagged)", "COPY 1 Archive"] {
        assert!(client.command(command).unwrap().is_ok(), "{command}");
    }
    for (scope, mailbox) in [
        (Scope::List, Some("Archive")),
        (Scope::Named, Some("INBOX")),
        (Scope::Selected, None),
        (Scope::Named, Some("Archive")),
    ] {
        let Change::Mailbox(change) = inside.wait(changes.next()) else {
            panic!("there was room");
        };
        assert_eq!(change.user, user);
        assert_eq!(change.scope, scope);
        assert_eq!(change.mailbox.as_deref(), mailbox.map(str::as_bytes));
    }
    client.logout().unwrap();
}
