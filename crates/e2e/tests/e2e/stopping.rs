//! How the program stops, and how the next one starts beside it.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, LISTENERS, SOON, backend, everybody_at, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use nix::sys::signal::Signal;
use testkit::{posthouse::new_folder, scripted::Client, wait};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        without_a_session_it_stops_at_once,
        a_session_goes_on_and_its_end_is_the_end,
        the_next_instance_starts_beside_one_that_has_sessions_left,
        when_the_grace_time_is_over_sessions_are_closed,
        sessions_are_closed_one_by_one_in_the_last_part_of_the_grace_time,
        a_second_signal_closes_sessions_now,
        a_client_before_login_does_not_hold_the_end_up_for_longer_than_the_grace_time,
        after_a_crash_it_starts_again_with_all_users,
    ]
}

/// Well under any grace time.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A back end that answers every line of a session.
fn echo() -> Stub {
    Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    })
}

fn config(head: &str, stub: &Stub) -> String {
    format!("{head}\n{LISTENERS}{}{}", backend("a", stub.port(), stub.port()), everybody_at("a"))
}

fn logged_in(door: &Door) -> Client {
    let mut client = door.raw_imap();
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    client
}

fn answers(client: &mut Client) {
    client.ask("n NOOP", "n OK").unwrap();
}

/// Whether nobody listens on any port.
fn is_closed(door: &Door) -> bool {
    let ports = [door.imap, door.imaps, door.pop3, door.pop3s];
    ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_err())
}

fn without_a_session_it_stops_at_once(_: &House) {
    let stub = echo();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut door = Door::open(&config("state = \"state\"", &stub));
        let mut client = logged_in(&door);
        answers(&mut client);
        drop(client);
        door.line(|line| line.contains("session ended"));
        let began = Instant::now();
        door.signal(signal).unwrap();
        assert!(door.wait_exit(AT_ONCE).unwrap().success(), "{}", door.log_text());
        assert!(began.elapsed() < AT_ONCE);
        assert!(is_closed(&door));
    }
}

fn a_session_goes_on_and_its_end_is_the_end(_: &House) {
    let stub = echo();
    let mut door = Door::open(&config("state = \"state\"\ngrace = \"5m\"", &stub));
    let mut clear = logged_in(&door);
    let mut tls =
        Client::connect_tls(("127.0.0.1", door.imaps), "localhost", &door.trust()).unwrap();
    tls.read_line().unwrap();
    tls.ask(&format!("l LOGIN bert {}", password("bert")), "l OK").unwrap();
    door.terminate().unwrap();
    assert!(wait::until(SOON, || is_closed(&door)), "{}", door.log_text());
    for client in [&mut clear, &mut tls] {
        answers(client);
    }
    drop(clear);
    door.line(|line| line.contains("session ended") && line.contains("user=anna"));
    answers(&mut tls);
    assert!(door.wait_exit(Duration::ZERO).is_none());
    drop(tls);
    assert!(door.wait_exit(AT_ONCE).unwrap().success(), "{}", door.log_text());
}

fn the_next_instance_starts_beside_one_that_has_sessions_left(_: &House) {
    let (stub, state) = (echo(), new_folder().unwrap());
    let head = format!("state = \"{}\"\ngrace = \"5m\"", state.path().display());
    let text = config(&head, &stub);
    let mut old = Door::open(&text);
    // One at a time: whoever comes too early is told so.
    let other = testkit::posthouse::run(&old.folder().join("posthouse.toml"), &["serve"]).unwrap();
    assert!(!other.status.success());
    let mut session = logged_in(&old);
    old.terminate().unwrap();
    old.line(|line| line.contains("stopping"));
    // The same ports, the same state folder, at once.
    let same = text
        .replace("@IMAP@", &old.imap.to_string())
        .replace("@IMAPS@", &old.imaps.to_string())
        .replace("@POP3@", &old.pop3.to_string())
        .replace("@POP3S@", &old.pop3s.to_string());
    let new = Door::open(&same);
    answers(&mut session);
    let mut client = Client::connect(("127.0.0.1", old.imap)).unwrap();
    client.read_line().unwrap();
    client.ask(&format!("l LOGIN bert {}", password("bert")), "l OK").unwrap();
    let listed = new.json(&["session", "list"]);
    let users: Vec<_> =
        listed.as_array().unwrap().iter().map(|row| row["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["bert"], "{listed}");
    drop(session);
    assert!(old.wait_exit(AT_ONCE).unwrap().success(), "{}", old.log_text());
    answers(&mut client);
    // The old one's end took nothing away from the new one.
    assert_eq!(new.json(&["session", "list"]).as_array().unwrap().len(), 1);
}

fn when_the_grace_time_is_over_sessions_are_closed(_: &House) {
    let stub = echo();
    let mut door = Door::open(&config("state = \"state\"\ngrace = \"1s\"", &stub));
    let mut client = logged_in(&door);
    let began = Instant::now();
    door.terminate().unwrap();
    door.line(|line| line.contains("stopping"));
    answers(&mut client);
    assert_eq!(client.read_to_end().unwrap(), b"");
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(door.wait_exit(AT_ONCE).unwrap().success(), "{}", door.log_text());
    door.line(|line| line.contains("session ended") && line.contains("reason=shutdown"));
}

fn sessions_are_closed_one_by_one_in_the_last_part_of_the_grace_time(_: &House) {
    let stub = echo();
    let mut door = Door::open(&config("state = \"state\"\ngrace = \"3s\"", &stub));
    let mut clients: Vec<_> = (0..3).map(|_| logged_in(&door)).collect();
    let began = Instant::now();
    door.terminate().unwrap();
    for (number, client) in clients.iter_mut().enumerate() {
        answers(client);
        assert_eq!(client.read_to_end().unwrap(), b"");
        let turn = Duration::from_millis(1900 + 500 * number as u64);
        assert!(began.elapsed() >= turn, "{number}: {:?}", began.elapsed());
    }
    assert!(door.wait_exit(AT_ONCE).unwrap().success(), "{}", door.log_text());
}

fn a_second_signal_closes_sessions_now(_: &House) {
    let stub = echo();
    let mut door = Door::open(&config("state = \"state\"\ngrace = \"5m\"", &stub));
    let mut client = logged_in(&door);
    door.terminate().unwrap();
    door.line(|line| line.contains("stopping"));
    answers(&mut client);
    let began = Instant::now();
    door.terminate().unwrap();
    assert_eq!(client.read_to_end().unwrap(), b"");
    assert!(door.wait_exit(AT_ONCE).unwrap().success(), "{}", door.log_text());
    assert!(began.elapsed() < AT_ONCE);
    door.line(|line| line.contains("session ended") && line.contains("reason=shutdown"));
}

fn a_client_before_login_does_not_hold_the_end_up_for_longer_than_the_grace_time(_: &House) {
    let stub = echo();
    let mut door = Door::open(&config("state = \"state\"\ngrace = \"1s\"", &stub));
    let mut client = door.raw_imap();
    door.terminate().unwrap();
    door.line(|line| line.contains("stopping"));
    answers(&mut client);
    assert!(door.wait_exit(AT_ONCE + AT_ONCE).unwrap().success(), "{}", door.log_text());
    // Whether by a farewell, an end or a reset: it is told.
    assert!(
        !matches!(client.read_to_end(), Err(error) if error.kind() == std::io::ErrorKind::TimedOut)
    );
}

fn after_a_crash_it_starts_again_with_all_users(_: &House) {
    let (stub, state) = (echo(), new_folder().unwrap());
    let rest = backend("a", stub.port(), stub.port());
    let text = usual(&rest).replace("\"state\"", &format!("\"{}\"", state.path().display()));
    let mut door = Door::open(&text);
    door.does(&["user", "place", "anna", "a"]);
    let session = logged_in(&door);
    door.kill();
    drop(session);
    let door = Door::open(&text);
    logged_in(&door);
    assert!(door.does(&["user", "list"]).contains("anna"));
}
