//! How long a client is waited for before it logs in.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, backend, everybody_at, usual},
    house::House,
    runner::Case,
    stub::Stub,
};
use testkit::wire::Wire;

pub(crate) fn cases() -> Vec<Case> {
    cases![a_client_is_waited_for_a_minute_before_login_in_all]
}

/// How long a client is waited for in all, and for its handshake (`handshake_wait`).
const MINUTE: Duration = Duration::from_secs(60);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A busy machine, and a client that does not close.
const LATEST: Duration = Duration::from_secs(75);

/// Waits for the end of a connection, which comes no earlier than after `least`, saying something now and then; what
/// was heard last.
fn outwait(port: u16, says: &str, every: Duration, least: Duration) -> String {
    let began = Instant::now();
    let mut wire = Wire::over(TcpStream::connect(("127.0.0.1", port)).unwrap()).unwrap();
    wire.set_deadline(every);
    let mut last = String::new();
    loop {
        match wire.read_line() {
            Ok(Some(line)) => last = String::from_utf8(line).unwrap(),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                // What is said does not buy more time.
                wire.send(says.as_bytes()).unwrap();
            }
            Ok(None) | Err(_) => break,
        }
        assert!(began.elapsed() < LATEST, "still open; heard {last:?}");
    }
    assert!(
        began.elapsed() + Duration::from_secs(2) > least,
        "closed after {:?} with {last:?}",
        began.elapsed()
    );
    last
}

fn a_client_is_waited_for_a_minute_before_login_in_all(_: &House) {
    let stub = Stub::imap(|mut talk| talk.rest().map(|_| ()));
    let rest = backend("a", stub.port(), stub.port()) + &everybody_at("a");
    let door = Door::open(&usual(&rest));
    let (often, never) = (Duration::from_secs(7), LATEST);
    thread::scope(|scope| {
        let silent = scope.spawn(|| outwait(door.imap, "", never, MINUTE));
        let talking = scope.spawn(|| outwait(door.imap, "n NOOP\r\n", often, MINUTE));
        let dripping = scope.spawn(|| outwait(door.imap, "l", often, MINUTE));
        let pop3 = scope.spawn(|| outwait(door.pop3, "NOOP\r\n", often, MINUTE));
        let began = Instant::now();
        assert_eq!(outwait(door.imaps, "", never, HANDSHAKE), "");
        assert!(began.elapsed() < HANDSHAKE * 3, "{:?}", began.elapsed());
        for imap in [silent, talking, dripping] {
            let last = imap.join().unwrap();
            assert!(last.starts_with("* BYE "), "{last}");
        }
        let last = pop3.join().unwrap();
        assert!(last.starts_with("-ERR "), "{last}");
    });
    door.line(|line| line.contains("client-timeout"));
}
