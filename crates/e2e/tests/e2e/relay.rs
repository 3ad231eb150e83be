//! After login: what one side does reaches the other, and memory does not grow with what is on its way.

use std::{
    io::{ErrorKind, Write},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    chance::Chance,
    door::{Door, SOON, backend, everybody_at, usual},
    house::House,
    processes::resident,
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub, Talk},
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_client_that_has_said_all_still_gets_the_answer,
        what_a_back_end_says_before_it_closes_reaches_the_client,
        a_reset_of_the_back_end_reaches_the_client,
        a_reset_of_the_client_reaches_the_back_end,
        what_a_client_pipelines_behind_its_login_reaches_the_back_end_byte_for_byte,
        a_slow_reader_holds_the_back_end_back_and_memory_does_not_grow,
        a_slow_back_end_holds_the_client_back_and_memory_does_not_grow,
        small_answers_are_not_held_back,
        large_transfers_arrive_byte_for_byte_both_ways_at_once,
    ]
}

const LARGE: usize = 20 << 20;
/// More than the buffers of one session, less than a fifth of what is on its way.
const GROWTH: usize = 4 << 20;

fn opened(stub: &Stub) -> Door {
    Door::open(&usual(&(backend("a", stub.port(), stub.port()) + &everybody_at("a"))))
}

/// Logged in, in clear or under TLS.
fn logged_in(door: &Door, tls: bool) -> Client {
    let mut client = if tls {
        let trust = door.trust();
        let mut client =
            Client::connect_tls(("127.0.0.1", door.imaps), "localhost", &trust).unwrap();
        client.read_line().unwrap();
        client
    } else {
        door.raw_imap()
    };
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    client.set_deadline(Duration::from_secs(30));
    client
}

fn a_client_that_has_said_all_still_gets_the_answer(_: &House) {
    let text = "x".repeat(1 << 20);
    let answer = text.clone();
    let stub = Stub::imap(move |mut talk| {
        // The end of what the client says comes first.
        assert_eq!(talk.rest()?, b"q QUESTION\r\n");
        talk.send(&answer)
    });
    let door = opened(&stub);
    for tls in [false, true] {
        let mut client = logged_in(&door, tls);
        client.send("q QUESTION\r\n").unwrap();
        client.wire().close_sending().unwrap();
        assert!(client.read_to_end().unwrap() == text.as_bytes(), "tls {tls}");
    }
    for _ in 0..2 {
        door.line(|line| line.contains("session ended") && line.contains("reason=client-closed"));
    }
}

fn what_a_back_end_says_before_it_closes_reaches_the_client(_: &House) {
    let text = format!("{}* BYE going down\r\n", "* OK words\r\n".repeat(50_000));
    let answer = text.clone();
    let stub = Stub::imap(move |mut talk| {
        talk.line()?;
        talk.send(&answer)?;
        // As servers do it that know TCP: a close with unread input would take the words back.
        talk.wire().close_sending()?;
        talk.rest().map(|_| ())
    });
    let door = opened(&stub);
    for tls in [false, true] {
        let mut client = logged_in(&door, tls);
        client.send("n NOOP\r\n").unwrap();
        // What a client says that does not know yet eats nothing.
        let mut got = client.wire().read_exact(12).unwrap();
        client.send("n NOOP\r\n").ok();
        got.extend(client.read_to_end().unwrap());
        assert!(got == text.as_bytes(), "tls {tls}: {} of {}", got.len(), text.len());
    }
}

fn a_reset_of_the_back_end_reaches_the_client(_: &House) {
    let stub = Stub::imap(|mut talk| {
        talk.line()?;
        talk.reset()
    });
    let door = opened(&stub);
    let mut client = logged_in(&door, false);
    client.send("n NOOP\r\n").unwrap();
    let end = client.read_to_end().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset, "{end}");
    door.line(|line| line.contains("session ended") && line.contains("reason=backend-lost"));
}

fn a_reset_of_the_client_reaches_the_back_end(_: &House) {
    let (told, ends) = channel();
    let told = Mutex::new(told);
    let stub = Stub::imap(move |mut talk| {
        talk.line()?;
        let end = talk.rest().map_err(|error| error.kind());
        told.lock().unwrap().send(end).ok();
        Ok(())
    });
    let door = opened(&stub);
    let mut client = logged_in(&door, false);
    client.send("n NOOP\r\n").unwrap();
    stub.wait_heard("n NOOP");
    client.reset().unwrap();
    assert_eq!(ends.recv_timeout(SOON).unwrap(), Err(ErrorKind::ConnectionReset));
    door.line(|line| line.contains("session ended") && line.contains("reason=client-lost"));
}

fn what_a_client_pipelines_behind_its_login_reaches_the_back_end_byte_for_byte(_: &House) {
    let mut chance = Chance::new(17);
    let bytes: Vec<u8> = (0..70_000).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let stub = Stub::imap({
        let heard = Arc::clone(&heard);
        move |mut talk| {
            let rest = talk.rest()?;
            *heard.lock().unwrap() = rest.clone();
            talk.wire().send(&rest)
        }
    });
    let door = opened(&stub);
    // However it is cut: all at once, within the login, just behind it.
    for cut in [0, 5, 12, 40, 50] {
        let mut all = format!("l LOGIN anna {}\r\n", password("cut")).into_bytes();
        all.extend_from_slice(&bytes);
        let mut client = door.raw_imap();
        client.send(&all[..cut]).unwrap();
        client.send(&all[cut..]).unwrap();
        client.wire().close_sending().unwrap();
        let welcome = client.read_line().unwrap();
        assert!(welcome.starts_with("l OK"), "{welcome}");
        assert!(client.read_to_end().unwrap() == bytes, "cut at {cut}");
        assert!(*heard.lock().unwrap() == bytes, "cut at {cut}");
    }
}

/// Sends as much as is taken, in pieces; how much that was.
fn send_until_refused(wire: &mut impl Write, all: usize) -> usize {
    let piece = [b'x'; 64 << 10];
    let mut sent = 0;
    while sent < all {
        match wire.write(&piece[..piece.len().min(all - sent)]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

fn a_slow_reader_holds_the_back_end_back_and_memory_does_not_grow(_: &House) {
    let (told, refused) = channel();
    let told = Mutex::new(told);
    let stub = Stub::imap(move |mut talk| {
        talk.line()?;
        let mut tcp = talk.wire().tcp().try_clone()?;
        // Nobody takes anything for as long: the way is full.
        tcp.set_write_timeout(Some(Duration::from_secs(1)))?;
        let sent = send_until_refused(&mut tcp, LARGE);
        told.lock().unwrap().send(sent).ok();
        tcp.set_write_timeout(Some(Duration::from_secs(30)))?;
        tcp.write_all(&vec![b'x'; LARGE - sent])
    });
    let door = opened(&stub);
    // The first session costs what all share.
    for tls in [false, true] {
        drop(logged_in(&door, tls));
    }
    for tls in [false, true] {
        let before = resident(door.pid());
        let mut client = logged_in(&door, tls);
        client.send("f FETCH\r\n").unwrap();
        let sent = refused.recv_timeout(SOON).unwrap();
        assert!(sent < LARGE, "all was taken though nobody read");
        let grown = resident(door.pid()).saturating_sub(before);
        assert!(grown < GROWTH, "tls {tls}: {grown} bytes more while {sent} were on their way");
        let got = client.wire().read_exact(LARGE).unwrap();
        assert!(got.iter().all(|byte| *byte == b'x'));
        let grown = resident(door.pid()).saturating_sub(before);
        assert!(grown < GROWTH, "tls {tls}: {grown} bytes more in the end");
    }
}

fn a_slow_back_end_holds_the_client_back_and_memory_does_not_grow(_: &House) {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let stub = Stub::imap(move |mut talk| {
        talk.line()?;
        gate.lock().unwrap().recv().ok();
        let got = talk.wire().read_exact(LARGE)?.len();
        talk.send(&format!("a OK {got}\r\n"))
    });
    let door = opened(&stub);
    drop(logged_in(&door, false));
    let before = resident(door.pid());
    let mut client = logged_in(&door, false);
    client.send("a APPEND\r\n").unwrap();
    let mut tcp = client.wire().tcp().try_clone().unwrap();
    tcp.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let sent = send_until_refused(&mut tcp, LARGE);
    assert!(sent < LARGE, "all was taken though nobody read");
    let grown = resident(door.pid()).saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes more while {sent} were on their way");
    go.send(()).unwrap();
    tcp.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    tcp.write_all(&vec![b'x'; LARGE - sent]).unwrap();
    assert_eq!(client.read_line().unwrap(), format!("a OK {LARGE}"));
}

fn small_answers_are_not_held_back(_: &House) {
    const VISITS: u32 = 50;
    let stub = Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            // Two writes: Nagle's algorithm would hold the second back for a delayed acknowledgement.
            talk.send("* OK first\r\n")?;
            talk.send(&format!("{tag} OK second\r\n"))?;
        }
    });
    let door = opened(&stub);
    for tls in [false, true] {
        let mut client = logged_in(&door, tls);
        let began = Instant::now();
        for _ in 0..VISITS {
            client.send("n ").unwrap();
            client.ask("NOOP", "n OK").unwrap();
        }
        let each = began.elapsed() / VISITS;
        assert!(each < Duration::from_millis(20), "tls {tls}: {each:?} for each visit");
    }
}

fn large_transfers_arrive_byte_for_byte_both_ways_at_once(_: &House) {
    let stub = Stub::start(|mut talk: Talk| {
        talk.send("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n")?;
        talk.imap_login(&ImapWords::default())?;
        let (mut from, mut to) = (talk.wire().tcp().try_clone()?, talk.wire().tcp().try_clone()?);
        std::io::copy(&mut from, &mut to)?;
        to.shutdown(std::net::Shutdown::Write)
    });
    let door = opened(&stub);
    let mut chance = Chance::new(4);
    let piece: Vec<u8> = (0..65_521).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
    let all: Arc<Vec<u8>> = Arc::new(piece.iter().copied().cycle().take(LARGE).collect());
    for _ in 0..2 {
        let mut client = logged_in(&door, false);
        let mut tcp = client.wire().tcp().try_clone().unwrap();
        tcp.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        let (sender, sent): (Sender<()>, Receiver<()>) = channel();
        let sending = Arc::clone(&all);
        thread::spawn(move || {
            tcp.write_all(&sending).unwrap();
            tcp.shutdown(std::net::Shutdown::Write).unwrap();
            sender.send(()).ok();
        });
        let got = client.read_to_end().unwrap();
        assert!(got == **all, "{} bytes came back", got.len());
        sent.recv_timeout(SOON).unwrap();
    }
}
