//! How sessions and clients hear that it is over, where the relay follows the protocol and where it
//! does not.

use std::{
    sync::{Mutex, mpsc::channel},
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, backend, everybody_at, listening, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub},
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        whoever_is_kicked_hears_a_goodbye_where_the_relay_follows_the_protocol,
        a_second_signal_says_goodbye_to_every_session,
        without_it_a_session_just_ends,
        a_goodbye_waits_for_the_end_of_a_response,
        a_client_before_login_hears_a_goodbye_and_holds_nobody_up,
        compression_is_not_offered_and_refused_where_the_relay_follows_the_protocol,
        compression_is_the_back_ends_affair_where_the_relay_is_blind,
    ]
}

const CLEAN: &str = "clean_bye = true";

/// Well under the time that a client gets to read its last words.
const AT_ONCE: Duration = Duration::from_millis(1500);

/// A back end that answers every command, and takes IDLE.
fn idling() -> Stub {
    Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            if command == "IDLE" {
                talk.send("+ idling\r\n")?;
                while talk.line()? != "DONE" {}
            }
            talk.send(&format!("{tag} OK done\r\n"))?;
        }
    })
}

fn echo_pop3() -> Stub {
    Stub::pop3(|mut talk| {
        loop {
            talk.line()?;
            talk.send("+OK done\r\n")?;
        }
    })
}

fn rest(imap: &Stub, pop3: &Stub) -> String {
    backend("a", imap.port(), pop3.port()) + &everybody_at("a")
}

fn under_tls(door: &Door, port: u16) -> Client {
    let mut client = Client::connect_tls(("127.0.0.1", port), "localhost", &door.trust()).unwrap();
    client.set_deadline(e2e::door::SOON);
    client.read_line().unwrap();
    client
}

/// Sessions of one user, with the beginning of what each hears as a goodbye: IMAP after an answer and
/// within IDLE, POP3, each in clear and under TLS.
fn sessions(door: &Door) -> Vec<(Client, &'static str)> {
    let mut sessions = Vec::new();
    for idles in [false, true] {
        for mut client in [door.raw_imap(), under_tls(door, door.imaps)] {
            client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
            client.ask("n NOOP", "n OK").unwrap();
            if idles {
                client.ask("i IDLE", "+ ").unwrap();
            }
            sessions.push((client, "* BYE "));
        }
    }
    for mut client in [door.raw_pop3(), under_tls(door, door.pop3s)] {
        client.ask("USER anna", "+OK").unwrap();
        client.ask(&format!("PASS {}", password("anna")), "+OK").unwrap();
        client.ask("NOOP", "+OK").unwrap();
        sessions.push((client, "-ERR "));
    }
    sessions
}

/// One line of goodbye, and then an end that is none by an accident.
fn assert_goodbye(client: &mut Client, begins: &str, why: &str) {
    let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    assert!(end.starts_with(begins) && end.ends_with("\r\n"), "{end}");
    assert!(end.contains(why) && end.matches('\n').count() == 1, "{end}");
}

fn ended(door: &Door, reason: &str, count: usize) {
    let ends = || {
        let lines = door.log_lines();
        lines.iter().filter(|line| line.contains(&format!("reason={reason}"))).count() == count
    };
    assert!(testkit::wait::until(e2e::door::SOON, ends), "{}", door.log_text());
}

fn whoever_is_kicked_hears_a_goodbye_where_the_relay_follows_the_protocol(_: &House) {
    let (imap, pop3) = (idling(), echo_pop3());
    let door = Door::open(&listening(CLEAN, &rest(&imap, &pop3)));
    let mut sessions = sessions(&door);
    let told = door.does(&["session", "kick", "--user", "anna"]);
    assert!(told.contains("6 sessions ended"), "{told}");
    for (client, begins) in &mut sessions {
        assert_goodbye(client, begins, "administrator");
    }
    ended(&door, "kicked", sessions.len());
}

fn a_second_signal_says_goodbye_to_every_session(_: &House) {
    let (imap, pop3) = (idling(), echo_pop3());
    let mut door = Door::open(&listening(CLEAN, &rest(&imap, &pop3)));
    let mut sessions = sessions(&door);
    door.terminate().unwrap();
    door.line(|line| line.contains("stopping"));
    door.terminate().unwrap();
    for (client, begins) in &mut sessions {
        assert_goodbye(client, begins, "shutting down");
    }
    let count = sessions.len();
    drop(sessions);
    assert!(door.wait_exit(e2e::door::SOON).unwrap().success(), "{}", door.log_text());
    ended(&door, "shutdown", count);
}

fn without_it_a_session_just_ends(_: &House) {
    let (imap, pop3) = (idling(), echo_pop3());
    let door = Door::open(&usual(&rest(&imap, &pop3)));
    let mut sessions = sessions(&door);
    door.does(&["session", "kick", "--user", "anna"]);
    for (client, _) in &mut sessions {
        assert_eq!(client.read_to_end().unwrap(), b"");
    }
    ended(&door, "kicked", sessions.len());
}

fn a_goodbye_waits_for_the_end_of_a_response(_: &House) {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let stub = Stub::imap(move |mut talk| {
        talk.line()?;
        talk.send("* 1 FETCH (BODY[] {20}\r\n0123456789")?;
        gate.lock().unwrap().recv().ok();
        talk.send("0123456789)\r\nf OK done\r\n")?;
        talk.rest().map(|_| ())
    });
    let door = Door::open(&listening(CLEAN, &rest(&stub, &stub)));
    let mut client = door.raw_imap();
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    client.send("f FETCH 1 BODY[]\r\n").unwrap();
    client.expect("* 1 FETCH (BODY[] {20}\r\n0123456789").unwrap();
    door.does(&["session", "kick", "--user", "anna"]);
    go.send(()).unwrap();
    client.expect("0123456789)\r\n").unwrap();
    let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    let last = end.lines().last().unwrap_or_default();
    assert!(last.starts_with("* BYE "), "{end}");
}

fn a_client_before_login_hears_a_goodbye_and_holds_nobody_up(_: &House) {
    let (imap, pop3) = (idling(), echo_pop3());
    let mut door = Door::open(&format!("grace = \"5m\"\n{}", usual(&rest(&imap, &pop3))));
    // All of them stay until the end, and not one says a word.
    let mut silent = [
        (door.raw_imap(), "* BYE "),
        (under_tls(&door, door.imaps), "* BYE "),
        (door.raw_pop3(), "-ERR "),
        (under_tls(&door, door.pop3s), "-ERR "),
    ];
    let mut between = door.raw_imap();
    between.ask("a AUTHENTICATE PLAIN", "+ ").unwrap();
    let no_handshake = Client::connect(("127.0.0.1", door.imaps)).unwrap();
    door.terminate().unwrap();
    door.line(|line| line.contains("stopping"));
    assert!(door.wait_exit(Duration::ZERO).is_none());
    let began = Instant::now();
    door.terminate().unwrap();
    assert!(door.wait_exit(e2e::door::SOON).unwrap().success(), "{}", door.log_text());
    assert!(began.elapsed() < AT_ONCE, "{:?}\n{}", began.elapsed(), door.log_text());
    for (client, begins) in &mut silent {
        assert_goodbye(client, begins, "");
    }
    assert_goodbye(&mut between, "* BYE ", "");
    drop(no_handshake);
}

/// A back end that can compress, and says so whenever it is asked.
fn compressing() -> Stub {
    let after = "IMAP4rev1 COMPRESS=DEFLATE IDLE".to_owned();
    let words = ImapWords { after, ..ImapWords::default() };
    Stub::imap_with(words, |mut talk| {
        loop {
            let line = talk.line()?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            if command == "CAPABILITY" {
                talk.send("* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE X-LAST\r\n")?;
            }
            talk.send(&format!("{tag} OK done\r\n"))?;
        }
    })
}

/// What login and CAPABILITY say, and the answer to COMPRESS.
fn about_compression(door: &Door) -> [String; 3] {
    let mut client = door.raw_imap();
    let login = client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    let list = client.ask("c CAPABILITY", "c OK").unwrap();
    let answer = client.ask("z COMPRESS DEFLATE", "z ").unwrap();
    // Whatever that was: the session goes on.
    client.ask("n NOOP", "n OK").unwrap();
    [login, list, answer].map(|lines| lines.join("\n"))
}

fn compression_is_not_offered_and_refused_where_the_relay_follows_the_protocol(_: &House) {
    let stub = compressing();
    let door = Door::open(&listening(CLEAN, &rest(&stub, &stub)));
    let [login, list, answer] = about_compression(&door);
    assert!(login.contains("IDLE") && !login.contains("COMPRESS"), "{login}");
    assert!(list.contains("X-LAST") && !list.contains("COMPRESS"), "{list}");
    assert!(answer.starts_with("z NO "), "{answer}");
    assert!(!stub.heard().contains("COMPRESS"), "{}", stub.heard());
}

fn compression_is_the_back_ends_affair_where_the_relay_is_blind(_: &House) {
    let stub = compressing();
    let door = Door::open(&usual(&rest(&stub, &stub)));
    let [login, list, answer] = about_compression(&door);
    assert!(login.contains("COMPRESS=DEFLATE"), "{login}");
    assert!(list.contains("COMPRESS=DEFLATE"), "{list}");
    assert!(answer.starts_with("z OK "), "{answer}");
    assert!(stub.heard().contains("z COMPRESS DEFLATE"), "{}", stub.heard());
}
