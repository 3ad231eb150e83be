//! What a client may not do before login, and how many may come.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, backend, everybody_at, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::{
    mail_clients::{ImapClient, Security},
    scripted::Client,
    wire::{Trust, Wire},
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        the_thirty_first_command_is_the_last,
        failed_logins_count_as_commands,
        a_line_or_a_literal_that_is_too_long_ends_the_connection_or_is_refused,
        a_line_may_have_8_kib_and_a_literal_4_kib_and_not_a_byte_more,
        limits_before_login_are_those_that_are_set,
        a_browser_is_sent_away_without_its_own_words,
        an_address_that_has_its_share_does_not_keep_others_out,
        an_address_that_logs_in_too_often_does_not_keep_others_out,
        a_full_house_takes_nobody_until_somebody_leaves,
        silent_handshakes_of_one_address_do_not_keep_others_out,
        handshakes_in_flight_give_way_to_a_quiet_address_and_end_by_themselves,
    ]
}

fn echo() -> Stub {
    Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    })
}

fn opened(stub: &Stub, limits: &str) -> Door {
    let rest = format!("{limits}{}{}", backend("a", stub.port(), stub.port()), everybody_at("a"));
    Door::open(&usual(&rest))
}

fn the_thirty_first_command_is_the_last(_: &House) {
    let stub = echo();
    let door = opened(&stub, "");
    let mut imap = door.raw_imap();
    for _ in 0..30 {
        imap.ask("n NOOP", "n OK").unwrap();
    }
    imap.send("n NOOP\r\n").unwrap();
    let end = String::from_utf8(imap.read_to_end().unwrap()).unwrap();
    assert!(end.starts_with("* BYE ") && end.matches('\n').count() == 1, "{end}");
    let mut pop3 = door.raw_pop3();
    for _ in 0..30 {
        pop3.ask("NOOP", "+OK").unwrap();
    }
    pop3.send("NOOP\r\n").unwrap();
    let end = String::from_utf8(pop3.read_to_end().unwrap()).unwrap();
    assert!(end.starts_with("-ERR ") && end.matches('\n').count() == 1, "{end}");
    for protocol in ["imap", "pop3"] {
        door.line(|line| line.contains("client-too-many-commands") && line.contains(protocol));
    }
    // After login nobody counts.
    let mut imap = door.raw_imap();
    imap.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    for _ in 0..100 {
        imap.ask("n NOOP", "n OK").unwrap();
    }
}

fn failed_logins_count_as_commands(_: &House) {
    let stub = echo();
    let rest = backend("a", stub.port(), stub.port());
    let door = Door::open(&usual(&rest));
    let mut client = door.raw_imap();
    let mut refused = 0;
    while client.ask(&format!("l LOGIN anna {}", password("guess")), "l NO").is_ok() {
        refused += 1;
        assert!(refused <= 30);
    }
    assert_eq!(refused, 30);
}

fn a_line_or_a_literal_that_is_too_long_ends_the_connection_or_is_refused(_: &House) {
    let stub = echo();
    let door = opened(&stub, "");
    let long = "x".repeat(8300);
    for (mut client, start, bye) in
        [(door.raw_imap(), "n NOOP ", "* BYE "), (door.raw_pop3(), "NOOP ", "-ERR ")]
    {
        // Without a line end: what is too long already need not be read to its end.
        client.send(format!("{start}{long}")).unwrap();
        let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
        assert!(end.starts_with(bye), "{end}");
    }
    door.line(|line| line.contains("client-line-too-long"));
    // A synchronizing literal is refused, and the connection is still of use.
    let mut client = door.raw_imap();
    client.ask("l LOGIN {4097}", "l NO").unwrap();
    client.ask("n NOOP", "n OK").unwrap();
    // One that comes unasked cannot be refused otherwise.
    client.send(format!("l LOGIN {{999999+}}\r\n{long}")).unwrap();
    let end = client.read_to_end().unwrap_or_default();
    assert!(!String::from_utf8_lossy(&end).contains("OK"), "{end:?}");
    door.line(|line| line.contains("client-literal-too-long"));
    let name = "x".repeat(5000);
    assert!(!stub.heard().contains(&name));
}

fn a_line_may_have_8_kib_and_a_literal_4_kib_and_not_a_byte_more(_: &House) {
    let stub = echo();
    let door = opened(&stub, "");
    let imap = || (door.raw_imap(), "n NOOP ", "n BAD", "* BYE Line too long");
    let pop3 = || (door.raw_pop3(), "NOOP ", "-ERR", "-ERR Line too long");
    for client in [&imap as &dyn Fn() -> _, &pop3] {
        let (mut longest, start, answer, _) = client();
        // Without its end.
        let line = start.to_owned() + &"x".repeat((8 << 10) - start.len());
        longest.ask(&line, answer).unwrap();
        longest.ask(start.trim(), "").unwrap();
        let (mut longer, _, _, bye) = client();
        longer.send(format!("{line}x\r\n")).unwrap();
        let end = String::from_utf8(longer.read_to_end().unwrap()).unwrap();
        assert_eq!(end.lines().collect::<Vec<_>>(), [bye]);
    }
    let secret = password(&"s".repeat(4096 - password("").len()));
    for plus in ["", "+"] {
        let mut client = door.raw_imap();
        client.send(format!("l LOGIN anna {{4096{plus}}}\r\n")).unwrap();
        if plus.is_empty() {
            client.expect("+ OK\r\n").unwrap();
        }
        client.ask(&secret, "l OK").unwrap();
    }
    let mut client = door.raw_imap();
    client.ask("l LOGIN anna {4097}", "l NO [TOOBIG]").unwrap();
    client.ask("n NOOP", "n OK").unwrap();
    client.send("l LOGIN anna {4097+}\r\n").unwrap();
    let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    assert_eq!(end, "* BYE Literal too long\r\n");
}

fn limits_before_login_are_those_that_are_set(_: &House) {
    let stub = echo();
    let set = "[limits]\ncommands = 6\nline = 1000\nsasl_line = 20000\nliteral = 512\n";
    let door = opened(&stub, set);
    let ends = |mut client: Client, line: &str, bye: &str| {
        client.send(format!("{line}\r\n")).unwrap();
        let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
        assert_eq!(end.lines().collect::<Vec<_>>(), [bye]);
    };
    for (client, again, start, answer, sasl, bye) in [
        (door.raw_imap(), door.raw_imap(), "n NOOP ", "n BAD", "a AUTHENTICATE PLAIN ", "* BYE"),
        (door.raw_pop3(), door.raw_pop3(), "NOOP ", "-ERR", "AUTH PLAIN ", "-ERR"),
    ] {
        let filled =
            |start: &str, length: usize| start.to_owned() + &"!".repeat(length - start.len());
        let mut longest = client;
        longest.ask(&filled(start, 1000), answer).unwrap();
        // No base64, and read to its end all the same.
        longest.ask(&filled(sasl, 20_000), "").unwrap();
        for _ in 2..6 {
            longest.ask(start.trim(), "").unwrap();
        }
        ends(longest, start.trim(), &format!("{bye} Too many commands before login"));
        ends(again, &filled(start, 1001), &format!("{bye} Line too long"));
    }
    let mut longest = door.raw_imap();
    longest.ask("l LOGIN anna {513}", "l NO [TOOBIG]").unwrap();
    longest.send("l LOGIN anna {512}\r\n").unwrap();
    longest.expect("+ OK\r\n").unwrap();
    longest.ask(&password(&"s".repeat(512 - password("").len())), "l OK").unwrap();
    ends(
        door.raw_imap(),
        &format!("a AUTHENTICATE PLAIN {}", "!".repeat(20_000)),
        "* BYE Line too long",
    );
}

fn a_browser_is_sent_away_without_its_own_words(_: &House) {
    let stub = echo();
    let door = opened(&stub, "");
    let request = "POST /script HTTP/1.1\r\nHost: localhost\r\n\r\na LOGIN anna b\r\n";
    for mut client in [door.raw_imap(), door.raw_pop3()] {
        client.send(request).unwrap();
        let answer = client.read_to_end().unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.matches('\n').count() <= 1, "{answer}");
        assert!(!answer.contains("script") && !answer.contains("Host"), "{answer}");
    }
    assert!(!stub.heard().contains("anna"));
    // A client that begins TLS on the clear port is told by an end at once.
    let refused = Client::connect_tls(("127.0.0.1", door.imap), "localhost", &Trust::Anything);
    assert!(refused.is_err());
    door.line(|line| line.contains("client-protocol"));
}

/// A connection from another loopback address; whether it is greeted.
pub(crate) fn greeted(from: Ipv4Addr, port: u16) -> Result<Wire, String> {
    use std::net::SocketAddr;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let mut wire = Wire::over(socket.into()).unwrap();
    wire.set_deadline(Duration::from_secs(15));
    let first = wire.read_line().map_err(|error| error.to_string())?.unwrap_or_default();
    let first = String::from_utf8(first).unwrap();
    if first.starts_with("* OK") { Ok(wire) } else { Err(first) }
}

fn log_in(wire: &mut Wire) {
    wire.send(format!("l LOGIN anna {}\r\n", password("anna")).as_bytes()).unwrap();
    let answer = wire.read_line().unwrap().unwrap();
    assert!(answer.starts_with(b"l OK"), "{}", answer.escape_ascii());
}

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

fn an_address_that_has_its_share_does_not_keep_others_out(_: &House) {
    let stub = echo();
    let door = opened(&stub, "[limits]\nconnections_per_address = 3\n");
    let mut held: Vec<_> = (0..3).map(|_| greeted(HERE, door.imap).unwrap()).collect();
    // A session counts as a connection.
    log_in(&mut held[0]);
    let refused = greeted(HERE, door.imap).unwrap_err();
    assert!(refused.starts_with("* BYE [UNAVAILABLE]"), "{refused}");
    let other = greeted(ELSEWHERE, door.imap).unwrap();
    door.line(|line| line.contains("limit-address") && line.contains("127.0.0.1"));
    drop(held.pop());
    let again = testkit::wait::poll(e2e::door::SOON, || greeted(HERE, door.imap).ok());
    assert!(again.is_some());
    drop(other);
}

fn an_address_that_logs_in_too_often_does_not_keep_others_out(_: &House) {
    let stub = echo();
    let limits = "[limits]\nlogins_per_address = 1\nlongest_login_wait = \"10ms\"\n";
    let door = opened(&stub, limits);
    let answers = |from: Ipv4Addr, user: &str| {
        let mut wire = greeted(from, door.imap).unwrap();
        wire.send(format!("l LOGIN {user} {}\r\n", password(user)).as_bytes()).unwrap();
        String::from_utf8(wire.read_line().unwrap().unwrap()).unwrap()
    };
    // Every one by another user: twenty seconds' worth come at once.
    let all: Vec<_> = (0..40).map(|number| answers(HERE, &format!("user{number}"))).collect();
    assert!(all[..20].iter().all(|answer| answer.starts_with("l OK")), "{all:?}");
    let refused = all.iter().find(|answer| !answer.starts_with("l OK")).unwrap();
    assert!(refused.starts_with("l NO [LIMIT]"), "{refused}");
    let line = door.line(|line| line.contains("reason=limit-logins"));
    assert!(line.contains("client=127.0.0.1:"), "{line}");
    assert!(answers(ELSEWHERE, "anna").starts_with("l OK"));
}

fn a_full_house_takes_nobody_until_somebody_leaves(_: &House) {
    let stub = echo();
    let door = opened(&stub, "[limits]\nconnections = 4\nconnections_per_address = 0\n");
    let mut held: Vec<_> = (0..4).map(|_| greeted(HERE, door.imap).unwrap()).collect();
    let refused = greeted(ELSEWHERE, door.imap).unwrap_err();
    assert!(refused.starts_with("* BYE [UNAVAILABLE]"), "{refused}");
    let mut pop3 = Client::connect(("127.0.0.1", door.pop3)).unwrap();
    assert!(pop3.read_line().unwrap().starts_with("-ERR [SYS/TEMP]"));
    // Those inside are not disturbed, and the operator gets in.
    log_in(&mut held[0]);
    assert_eq!(door.json(&["session", "list"]).as_array().unwrap().len(), 1);
    drop(held.pop());
    let again = testkit::wait::poll(e2e::door::SOON, || greeted(ELSEWHERE, door.imap).ok());
    assert!(again.is_some());
}

/// A connection from a loopback address that says nothing.
fn silent(from: Ipv4Addr, port: u16) -> Wire {
    use std::net::SocketAddr;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let mut wire = Wire::over(socket.into()).unwrap();
    wire.set_deadline(Duration::from_secs(15));
    wire
}

/// Under TLS, by STARTTLS and from the first byte.
fn assert_tls(door: &Door) {
    let trust = Trust::Anything;
    let mut tls = Client::connect_tls(("127.0.0.1", door.imaps), "localhost", &trust).unwrap();
    tls.set_deadline(e2e::door::SOON);
    assert!(tls.read_line().unwrap().starts_with("* OK"));
    let security = Security::StartTls(trust);
    ImapClient::connect(("127.0.0.1", door.imap), &security).unwrap();
}

fn silent_handshakes_of_one_address_do_not_keep_others_out(_: &House) {
    let stub = echo();
    let limits = "[limits]\nconnections_per_address = 0\nhandshakes = 256\n";
    let door = opened(&stub, &format!("{limits}handshakes_per_address = 0\n"));
    // One too many, of the address that has the most; which one is met is for the scheduler to say.
    let _held: Vec<_> = (0..257).map(|_| silent(ELSEWHERE, door.imaps)).collect();
    door.line(|line| line.contains("reason=limit-handshakes"));
    assert_tls(&door);
}

fn handshakes_in_flight_give_way_to_a_quiet_address_and_end_by_themselves(_: &House) {
    let stub = echo();
    let limits = "[limits]\nhandshakes_per_address = 2\nhandshake_wait = \"2s\"\n";
    let door = opened(&stub, limits);
    // A handshake behind STARTTLS counts like another, each at its own listener.
    let starting = || {
        let mut starting = greeted(ELSEWHERE, door.imap).unwrap();
        starting.send(b"s STARTTLS\r\n").unwrap();
        assert!(starting.read_line().unwrap().unwrap().starts_with(b"s OK"));
        starting
    };
    let began = Instant::now();
    let silent = || silent(ELSEWHERE, door.imaps);
    // Of the three at a listener one has no place; which one is for the scheduler to say.
    let all = [starting(), starting(), starting(), silent(), silent(), silent()];
    let lines = || door.log_text().matches("reason=limit-handshakes").count();
    assert!(testkit::wait::until(e2e::door::SOON, || lines() == 2), "{}", door.log_text());
    assert_tls(&door);
    // Whoever says nothing is cut, and long before `client_wait`.
    for mut silent in all {
        assert!(silent.read_to_end().unwrap_or_default().is_empty());
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    door.line(|line| line.contains("reason=client-timeout") && line.contains("handshake"));
    assert_eq!(lines(), 2);
}
