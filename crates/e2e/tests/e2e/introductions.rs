//! What is said to a back end before the login: of the client, by the client's program, and when.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{
    cases,
    door::{Door, backend, everybody_at, listening},
    house::House,
    runner::Case,
    secrets::password,
    stub::{Stub, Talk},
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_clients_own_id_goes_on_behind_ours_and_only_where_that_is_set,
        what_is_said_of_a_client_before_tls_reaches_no_back_end,
        a_login_follows_at_once_where_the_back_end_can_take_it,
        a_login_waits_for_each_answer_where_the_back_end_cannot_take_it_at_once,
    ]
}

const TRUSTING: &str = "trusted_networks = [\"127.0.0.0/8\"]";
const NATIVE: &str = "identity = \"native\"\n";

/// A back end that believes XCLIENT, and takes a login whoever comes.
fn taking_xclient() -> Stub {
    Stub::start(|mut talk| {
        talk.send("+OK [XCLIENT] ready\r\n")?;
        while !talk.line()?.starts_with("XCLIENT") {
            talk.send("+OK\r\n.\r\n")?;
        }
        talk.send("+OK\r\n")?;
        talk.pop3_login()?;
        talk.rest().map(|_| ())
    })
}

fn opened(imap: &Stub, pop3: &Stub, listener: &str, table: &str) -> Door {
    let backend = backend("a", imap.port(), pop3.port());
    Door::open(&listening(listener, &(backend + table + &everybody_at("a"))))
}

fn log_in_by_imap(client: &mut Client) {
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
}

fn log_in_by_pop3(client: &mut Client) {
    client.ask("USER anna", "+OK").unwrap();
    client.ask(&format!("PASS {}", password("anna")), "+OK").unwrap();
}

/// The lists of all IDs, in order.
fn ids(heard: &str) -> Vec<&str> {
    heard.lines().filter_map(|line| Some(line.split_once(" ID ")?.1)).collect()
}

fn a_clients_own_id_goes_on_behind_ours_and_only_where_that_is_set(_: &House) {
    const PROGRAM: &str = r#"("name" "Mail" "version" "1")"#;
    for (table, forward, ours, its) in
        [("", true, 0, 1), (NATIVE, true, 1, 1), (NATIVE, false, 1, 0), ("", false, 0, 0)]
    {
        let stub = Stub::taking_id("NAMESPACE");
        let listener = format!("forward_client_id = {forward}");
        let door = opened(&stub, &stub, &listener, table);
        let mut client = door.raw_imap();
        let claim =
            r#"("name" "Mail" "X-Originating-IP" "203.0.113.9" "x-forward-a" "b" "version" "1")"#;
        let answer = client.ask(&format!("i ID {claim}"), "i OK").unwrap();
        assert_eq!(answer[0], r#"* ID ("name" "Posthouse")"#);
        // Nobody has been asked: the answer is ours.
        assert_eq!(ids(&stub.heard()), [""; 0]);
        log_in_by_imap(&mut client);
        let heard = stub.heard();
        let all = ids(&heard);
        let (first, rest) = all.split_at(ours);
        for list in first {
            assert!(list.contains(r#""x-originating-ip" "127.0.0.1""#), "{heard}");
        }
        assert_eq!(rest, vec![PROGRAM; its], "{heard}");
    }
}

fn what_is_said_of_a_client_before_tls_reaches_no_back_end(_: &House) {
    let (imap, pop3) = (Stub::taking_id("NAMESPACE"), taking_xclient());
    let listener = format!("{TRUSTING}\nforward_client_id = true");
    let door = opened(&imap, &pop3, &listener, NATIVE);
    let claim = r#"i ID ("name" "Mail" "x-originating-ip" "203.0.113.9" "x-proxy-ttl" "1")"#;
    let mut client = door.raw_imap();
    client.ask(claim, "i OK").unwrap();
    client.ask("s STARTTLS", "s OK").unwrap();
    log_in_by_imap(&mut client.start_tls("localhost", &door.trust()).unwrap());
    let heard = imap.heard();
    assert!(ids(&heard).len() == 1 && !heard.contains("Mail"), "{heard}");
    let mut client = door.raw_pop3();
    client.ask("XCLIENT ADDR=203.0.113.9 TTL=1", "+OK").unwrap();
    client.ask("STLS", "+OK").unwrap();
    log_in_by_pop3(&mut client.start_tls("localhost", &door.trust()).unwrap());
    for (heard, here) in [(heard, "\"127.0.0.1\""), (pop3.heard(), "ADDR=127.0.0.1 ")] {
        assert!(heard.contains(here) && !heard.contains("203.0.113.9"), "{heard}");
    }
}

/// How long nothing may be heard that must not come yet.
const STILL: Duration = Duration::from_millis(150);

/// The other side has said nothing more, and waits.
fn is_still(talk: &mut Talk, early: &AtomicUsize) {
    talk.wire().set_deadline(STILL);
    let waits = talk.line().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
    early.fetch_add(usize::from(!waits), Ordering::SeqCst);
    talk.wire().set_deadline(e2e::door::SOON);
}

/// Hears what says who the client is and the beginning of the login behind it, before it answers either.
fn hearing_all_at_once(greeting: &'static str, login: &'static str) -> Stub {
    Stub::start(move |mut talk| {
        talk.send(greeting)?;
        let first = loop {
            let line = talk.line()?;
            if line.contains("ID ") || line.starts_with("XCLIENT") {
                break line;
            }
        };
        let second = talk.line()?;
        if !second.contains(login) {
            return Ok(());
        }
        if login == "USER" {
            talk.send("+OK\r\n+OK\r\n")?;
            talk.line()?;
            talk.send("+OK\r\n")?;
        } else {
            let tag = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
            let (first, second) = (tag(&first), tag(&second));
            talk.send(&format!("{first} OK\r\n{second} OK [CAPABILITY IMAP4rev1] in\r\n"))?;
        }
        talk.rest().map(|_| ())
    })
}

fn a_login_follows_at_once_where_the_back_end_can_take_it(_: &House) {
    let imap = hearing_all_at_once("* OK [CAPABILITY IMAP4rev1 ID] ready\r\n", "LOGIN");
    let pop3 = hearing_all_at_once("+OK [XCLIENT] ready\r\n", "USER");
    let door = opened(&imap, &pop3, "", NATIVE);
    log_in_by_imap(&mut door.raw_imap());
    log_in_by_pop3(&mut door.raw_pop3());
}

fn a_login_waits_for_each_answer_where_the_back_end_cannot_take_it_at_once(_: &House) {
    let early = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&early);
    let imap = Stub::start(move |mut talk| {
        talk.send("* OK [CAPABILITY IMAP4rev1 ID] ready\r\n")?;
        // Ours, the client's, the login.
        for word in ["x-originating-ip", "Mail", "LOGIN"] {
            let line = talk.line()?;
            let Some((tag, _)) = line.split_once(' ').filter(|_| line.contains(word)) else {
                return talk.send("* BYE what\r\n");
            };
            is_still(&mut talk, &seen);
            talk.send(&format!("{tag} OK [CAPABILITY IMAP4rev1] done\r\n"))?;
        }
        talk.rest().map(|_| ())
    });
    let seen = Arc::clone(&early);
    let pop3 = Stub::start(move |mut talk| {
        talk.send("+OK [XCLIENT] ready\r\n")?;
        for word in ["XCLIENT", "USER", "PASS"] {
            if !talk.line()?.starts_with(word) {
                return talk.send("-ERR what\r\n");
            }
            is_still(&mut talk, &seen);
            talk.send("+OK\r\n")?;
        }
        talk.rest().map(|_| ())
    });
    let table = format!("{NATIVE}pipelining = false\n");
    let door = opened(&imap, &pop3, "forward_client_id = true", &table);
    let mut client = door.raw_imap();
    client.ask(r#"i ID ("name" "Mail")"#, "i OK").unwrap();
    log_in_by_imap(&mut client);
    log_in_by_pop3(&mut door.raw_pop3());
    assert_eq!(early.load(Ordering::SeqCst), 0);
}
