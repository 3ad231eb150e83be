//! Where connections to a back end come from.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use e2e::{
    cases,
    door::{Door, backend, everybody_at, usual},
    house::House,
    programs::text,
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub},
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_back_end_is_reached_from_the_listed_addresses_in_turn,
        without_an_address_to_come_from_users_are_told_to_try_later,
        check_warns_of_addresses_that_nothing_can_come_from,
    ]
}

/// A back end that remembers where its users came from.
fn remembering() -> (Stub, Arc<Mutex<Vec<IpAddr>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let remembered = Arc::clone(&seen);
    let stub = Stub::imap_with(ImapWords::default(), move |mut talk| {
        remembered.lock().unwrap().push(talk.wire().tcp().peer_addr()?.ip());
        talk.rest().map(drop)
    });
    (stub, seen)
}

fn opened(stub: &Stub, sources: &str) -> Door {
    let keys = format!("source_addresses = [{sources}]\n");
    let rest = backend("a", stub.port(), stub.port()) + &keys + &everybody_at("a");
    Door::open(&usual(&rest))
}

fn log_in(door: &Door) -> Client {
    let mut client = door.raw_imap();
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    client
}

fn a_back_end_is_reached_from_the_listed_addresses_in_turn(_: &House) {
    let (stub, seen) = remembering();
    // The first is no host's (RFC 1112 section 4), the second of another family.
    let door = opened(&stub, r#""240.0.0.1", "::1", "127.0.0.2", "127.0.0.3""#);
    let held: Vec<_> = (0..6).map(|_| log_in(&door)).collect();
    let seen = seen.lock().unwrap().clone();
    let from = |ip: &str| seen.iter().filter(|seen| seen.to_string() == ip).count();
    assert!(from("127.0.0.2") >= 2 && from("127.0.0.3") >= 2, "{seen:?}");
    assert_eq!(from("127.0.0.2") + from("127.0.0.3"), held.len());
    let listed = door.json(&["backend", "list"]);
    let ports = &listed[0]["local_ports"];
    assert!(ports["used"].as_u64() >= Some(2), "{listed}");
    assert_eq!(ports["alarm"], false);
    let shown = door.does(&["backend", "list"]);
    assert!(shown.contains("0 % of "), "{shown}");
}

fn without_an_address_to_come_from_users_are_told_to_try_later(_: &House) {
    let (stub, _) = remembering();
    let door = opened(&stub, "\"240.0.0.1\"");
    door.line(|line| line.contains("nothing can connect from 240.0.0.1"));
    let answer = door.imap_answer("anna", &password("anna"));
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    let line = door.line(|line| line.contains("reason=backend-no-port"));
    assert!(line.contains("240.0.0.1"), "{line}");
    let listed = door.json(&["backend", "list"]);
    assert_eq!(listed[0]["last_failure"]["reason"], "backend-no-port");
}

fn check_warns_of_addresses_that_nothing_can_come_from(_: &House) {
    let (stub, _) = remembering();
    let door = opened(&stub, r#""::1""#);
    let checked = text(&door.command(&["check"]).unwrap());
    assert!(checked.contains("no source address is an IPv4 address"), "{checked}");
    assert!(checked.contains("is good."), "{checked}");
    // The kernel's choice serves all the same.
    drop(log_in(&door));
}
