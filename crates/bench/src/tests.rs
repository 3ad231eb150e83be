//! The load generator against the stub, with nothing between.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::load::{self, Direction, Target};
use crate::stub::{Ports, Settings, Stub};

fn stub() -> Ports {
    Stub::bind(Settings::anywhere()).unwrap().spawn().unwrap()
}

fn clear(address: SocketAddr) -> Target {
    Target { address, tls: None }
}

/// Sends all of `said` and returns what comes until the stub closes.
fn converse(address: SocketAddr, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(said).unwrap();
    let lines = BufReader::new(stream).lines();
    lines.map(|line| line.unwrap() + "\n").collect()
}

#[test]
fn every_visit_is_let_in_and_ends() {
    let done = load::visits(&clear(stub().imap), 3, 20).unwrap();
    assert_eq!(done.operations, 20);
}

#[test]
fn messages_of_any_size_are_carried_whole_in_both_directions() {
    let target = clear(stub().imap);
    for bytes in [1, 65, 300_000] {
        for direction in [Direction::Append, Direction::Fetch] {
            let done = load::transfer(&target, direction, 2, 5, bytes).unwrap();
            assert_eq!(done.bytes, 5 * bytes);
        }
    }
}

#[test]
fn short_responses_come_in_whole_lines_and_at_least_as_many_bytes() {
    let target = clear(stub().imap);
    let done = load::transfer(&target, Direction::Rows, 1, 2, 300_000).unwrap();
    assert!(done.bytes > 600_000, "{done:?}");
    let said = b"a LOGIN n p\r\nb SELECT bytes-1\r\nc FETCH 1:* FLAGS\r\nd LOGOUT\r\n";
    let answer = converse(stub().imap, said);
    assert!(answer.contains("\n* 2 FETCH (UID 2 FLAGS (\\Seen))\n"));
    assert!(answer.contains("))\nc OK"));
}

#[test]
fn idle_sessions_are_still_there_when_they_end() {
    let held = load::hold(&clear(stub().imap), 4, 50).unwrap();
    held.log_out().unwrap();
    load::noops(&clear(stub().imap), 2, 100).unwrap();
}

#[test]
fn imap_commands_may_be_pipelined_and_carry_literals() {
    let said = b"a LOGIN {4}\r\nname {6+}\r\nsecret\r\nb AUTHENTICATE PLAIN AG4AcA==\r\n\
        c APPEND INBOX {5+}\r\na b c\r\nd SELECT bytes-4\r\ne UID FETCH 1 BODY[]\r\n\
        f CAPABILITY\r\ng XYZZY\r\nh LOGOUT\r\n";
    let answer = converse(stub().imap, said);
    let wanted =
        ["+ go on\n", "a OK", "b OK", "c OK", "{4}\nxx\n)\ne OK", "LITERAL+", "g BAD", "h OK"];
    for part in wanted {
        assert!(answer.contains(part), "{part} is not in {answer}");
    }
}

#[test]
fn pop3_gives_a_message_and_ends() {
    let answer = converse(stub().pop3, b"CAPA\r\nUSER n\r\nPASS p\r\nSTAT\r\nRETR 1\r\nQUIT\r\n");
    assert!(answer.contains("SASL PLAIN\n"));
    assert!(answer.contains("+OK 1 65536\n"));
    assert!(answer.ends_with("xx\n.\n+OK\n"));
}

#[test]
fn nginx_is_sent_to_the_listener_of_its_protocol() {
    let ports = stub();
    let answer = converse(ports.auth_http, b"GET / HTTP/1.0\r\nAuth-Protocol: pop3\r\n\r\n");
    assert!(answer.contains(&format!("Auth-Port: {}\n", ports.pop3.port())));
}
