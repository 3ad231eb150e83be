//! Clients that come through a proxy in front of us, which says in a PROXY header who they are.

use std::{net::Ipv4Addr, time::Instant};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, listening},
    headers::{v1, v2, v2_local, v2_of_tls, v2_with_checksum},
    house::House,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::{scripted::Client, wire::Wire};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_header_of_either_version_says_who_the_client_is,
        tls_begins_right_behind_the_header,
        what_comes_with_the_header_is_not_lost,
        a_proxy_may_speak_for_itself,
        whoever_has_no_header_or_a_broken_one_is_not_greeted,
        a_checksum_that_is_wrong_is_no_header,
        whoever_keeps_the_header_back_is_sent_away_and_others_are_served,
        a_network_that_is_not_listed_is_not_greeted,
        connections_count_for_the_clients_and_not_for_the_proxy,
        tls_that_ends_at_a_load_balancer_is_told_to_the_back_end,
        who_guesses_through_a_webmail_keeps_himself_out_and_not_the_user,
    ]
}

const CLIENT: &str = "192.0.2.7:45678";

fn echo() -> Stub {
    Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    })
}

fn opened(stub: &Stub) -> Door {
    opened_with(stub, "")
}

/// Only 127.0.0.1 is a proxy.
fn opened_with(stub: &Stub, limits: &str) -> Door {
    let rest = limits.to_owned() + &backend("a", stub.port(), stub.port()) + &everybody_at("a");
    Door::open(&listening("proxy_networks = [\"127.0.0.1/32\"]", &rest))
}

/// A connection on which the header has been sent.
fn with_header(port: u16, header: &[u8]) -> Client {
    let mut client = Client::connect(("127.0.0.1", port)).unwrap();
    client.set_deadline(SOON);
    client.send(header).unwrap();
    client
}

fn log_in(client: &mut Client, user: &str) {
    let greeting = client.read_line().unwrap();
    assert!(greeting.starts_with("* OK "), "{greeting}");
    client.ask(&format!("l LOGIN {user} {}", password(user)), "l OK").unwrap();
}

/// What the end of this user's session says of the client.
fn logged_client(door: &Door, user: &str) -> String {
    let line =
        door.line(|line| line.contains("session ended") && line.contains(&format!("user={user} ")));
    let (_, rest) = line.split_once(" client=").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

fn a_header_of_either_version_says_who_the_client_is(_: &House) {
    let stub = echo();
    let door = opened(&stub);
    let v6 = "[2001:db8::7]:45678";
    for (user, header, client) in [
        ("anna", v1(CLIENT), CLIENT),
        ("bert", v2(CLIENT), CLIENT),
        ("carla", v1(v6), v6),
        ("dora", v2(v6), v6),
    ] {
        let mut session = with_header(door.imap, &header);
        log_in(&mut session, user);
        let listed = door.json(&["session", "list", "--user", user]);
        assert_eq!(listed[0]["client"], client, "{listed}");
        drop(session);
        assert_eq!(logged_client(&door, user), client);
    }
}

fn tls_begins_right_behind_the_header(_: &House) {
    let stub = echo();
    let door = opened(&stub);
    for (user, header) in [("anna", v1(CLIENT)), ("bert", v2(CLIENT))] {
        let client = with_header(door.imaps, &header);
        let mut client = client.start_tls("localhost", &door.trust()).unwrap();
        log_in(&mut client, user);
        drop(client);
        assert_eq!(logged_client(&door, user), CLIENT);
    }
}

fn what_comes_with_the_header_is_not_lost(_: &House) {
    let stub = echo();
    let door = opened(&stub);
    for header in [v1(CLIENT), v2(CLIENT)] {
        let mut all = header;
        all.extend(b"n NOOP\r\n");
        let mut client = with_header(door.imap, &all);
        client.read_line().unwrap();
        assert!(client.read_line().unwrap().starts_with("n OK"));
        // However it is cut.
        let (last, first) = all.split_last().unwrap();
        let (one, two) = first.split_at(9);
        let mut client = with_header(door.imap, one);
        client.send(two).unwrap();
        client.send([*last]).unwrap();
        client.read_line().unwrap();
        assert!(client.read_line().unwrap().starts_with("n OK"));
    }
}

fn a_proxy_may_speak_for_itself(_: &House) {
    let stub = echo();
    let door = opened(&stub);
    for (user, header) in [("anna", b"PROXY UNKNOWN\r\n".to_vec()), ("bert", v2_local())] {
        let mut session = with_header(door.imap, &header);
        let own = session.wire().tcp().local_addr().unwrap().to_string();
        log_in(&mut session, user);
        drop(session);
        assert_eq!(logged_client(&door, user), own);
    }
}

fn whoever_has_no_header_or_a_broken_one_is_not_greeted(_: &House) {
    let stub = echo();
    let door = opened(&stub);
    let mut of_another_version = v2(CLIENT);
    of_another_version[12] = 0x31;
    for bad in [
        b"n NOOP\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.777 198.51.100.1 45678 143\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 45678\r\n".to_vec(),
        b"proxy TCP4 192.0.2.7 198.51.100.1 45678 143\r\n".to_vec(),
        [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(),
        of_another_version,
    ] {
        let mut client = with_header(door.imap, &bad);
        // Closed or reset, whichever the client sees first.
        let heard = client.read_to_end().unwrap_or_default();
        assert_eq!(heard, b"", "{}", bad.escape_ascii());
    }
    let lines = || {
        let lines = door.log_lines();
        lines.iter().filter(|line| line.contains("reason=client-proxy-header")).count()
    };
    assert!(testkit::wait::until(SOON, || lines() == 6), "{}", door.log_text());
    assert!(!stub.heard().contains("LOGIN"));
}

fn a_checksum_that_is_wrong_is_no_header(_: &House) {
    let stub = echo();
    let door = opened(&stub);
    log_in(&mut with_header(door.imap, &v2_with_checksum(CLIENT, 0)), "anna");
    assert_eq!(logged_client(&door, "anna"), CLIENT);
    let mut client = with_header(door.imap, &v2_with_checksum(CLIENT, 1));
    assert_eq!(client.read_to_end().unwrap_or_default(), b"");
    door.line(|line| line.contains("reason=client-proxy-header"));
}

fn whoever_keeps_the_header_back_is_sent_away_and_others_are_served(_: &House) {
    let stub = echo();
    let door = opened_with(&stub, "[limits]\nclient_wait = \"1s\"\n");
    let began = Instant::now();
    let (v1, v2) = (v1(CLIENT), v2(CLIENT));
    // Nothing, and all but the last byte.
    let kept_back = [&b""[..], &v1[..v1.len() - 1], &v2[..v2.len() - 1]];
    let waiting: Vec<_> = [door.imap, door.imaps, door.pop3]
        .into_iter()
        .flat_map(|port| kept_back.map(|part| with_header(port, part)))
        .collect();
    log_in(&mut with_header(door.imap, &v2), "anna");
    for mut client in waiting {
        assert_eq!(client.read_to_end().unwrap_or_default(), b"");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let lines = || door.log_text().matches("reason=client-proxy-header").count();
    assert!(testkit::wait::until(SOON, || lines() == 9), "{}", door.log_text());
}

fn a_network_that_is_not_listed_is_not_greeted(_: &House) {
    use std::net::SocketAddr;
    let stub = echo();
    let door = opened(&stub);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, 7), 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, door.imap)).into()).unwrap();
    let mut wire = Wire::over(socket.into()).unwrap();
    wire.set_deadline(SOON);
    // Gone before it is read, perhaps.
    wire.send(&v1(CLIENT)).ok();
    let heard = wire.read_to_end().unwrap_or_default();
    assert!(!heard.starts_with(b"* OK"), "{}", heard.escape_ascii());
    door.line(|line| line.contains("client-proxy-header") && line.contains("127.0.0.7"));
}

fn connections_count_for_the_clients_and_not_for_the_proxy(_: &House) {
    let stub = echo();
    let door = opened_with(&stub, "[limits]\nconnections_per_address = 2\n");
    let greeted = |address: &str| {
        let mut client = with_header(door.imap, &v2(address));
        let greeting = client.read_line().unwrap();
        if greeting.starts_with("* OK") { Ok(client) } else { Err(greeting) }
    };
    let held: Vec<_> = [CLIENT, CLIENT, "192.0.2.8:1", "192.0.2.9:1"]
        .iter()
        .map(|at| greeted(at).unwrap())
        .collect();
    let refused = greeted(CLIENT).unwrap_err();
    assert!(refused.starts_with("* BYE [UNAVAILABLE]"), "{refused}");
    door.line(|line| line.contains("reason=limit-address") && line.contains("192.0.2.7"));
    assert!(greeted("192.0.2.8:2").is_ok());
    drop(held);
    assert!(testkit::wait::until(SOON, || greeted(CLIENT).is_ok()), "{}", door.log_text());
}

fn tls_that_ends_at_a_load_balancer_is_told_to_the_back_end(_: &House) {
    for (header, transport) in [(v2_of_tls(CLIENT), "TLS"), (v2(CLIENT), "insecure")] {
        let stub = Stub::taking_id("NAMESPACE");
        let keys = "identity = \"native\"\n";
        let rest = backend("a", stub.port(), stub.port()) + keys + &everybody_at("a");
        let door = Door::open(&listening("proxy_networks = [\"127.0.0.1/32\"]", &rest));
        log_in(&mut with_header(door.imap, &header), "anna");
        let said = format!("\"x-client-transport\" \"{transport}\"");
        assert!(stub.heard().contains(&said), "{}", stub.heard());
    }
}

fn who_guesses_through_a_webmail_keeps_himself_out_and_not_the_user(_: &House) {
    let stub = echo();
    let limits = "[limits]\nlogins_per_user = 1\nlongest_login_wait = \"10ms\"\n";
    let rest = limits.to_owned() + &backend("a", stub.port(), stub.port()) + &everybody_at("a");
    let door = Door::open(&listening("trusted_networks = [\"127.0.0.1/32\"]", &rest));
    let answer = |from: &str| {
        let mut webmail = door.raw_imap();
        webmail.ask(&format!("i ID (\"x-originating-ip\" \"{from}\")"), "i OK").unwrap();
        webmail.send(format!("l LOGIN anna {}\r\n", password("anna"))).unwrap();
        webmail.read_line().unwrap()
    };
    let refused = (0..100).map(|_| answer("192.0.2.66")).find(|it| !it.starts_with("l OK"));
    assert!(refused.unwrap().starts_with("l NO [LIMIT]"));
    let own = answer("192.0.2.7");
    assert!(own.starts_with("l OK"), "{own}");
}
