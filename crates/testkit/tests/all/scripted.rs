//! Scripted servers and clients against each other.

use testkit::scripted::{Client, ScriptedClient, ScriptedServer};
use testkit::wire::Trust;

const STARTTLS: &str = r"
S: * OK ready
C~ (?<tag>\S+) STARTTLS
S: ${tag} OK begin
TLS
C- a\x00b
S: * BYE
";

#[test]
fn both_roles_play_the_same_dialogue_through_starttls() {
    let server = ScriptedServer::start(STARTTLS).unwrap();
    let dialogue =
        STARTTLS.replace(r"C~ (?<tag>\S+) STARTTLS", "C: a1 STARTTLS").replace("${tag}", "a1");
    let client = ScriptedClient::new(&format!("{dialogue}END")).unwrap();
    client.trusting("localhost", Trust::Ca(server.ca())).play(server.address()).unwrap();
    server.finish().unwrap();
}

#[test]
fn a_server_reports_the_line_where_the_client_left_the_dialogue() {
    let server = ScriptedServer::start("S: hello\nC: good\nC: bye").unwrap();
    let mut client = Client::connect(server.address()).unwrap();
    client.expect("hello\r\n").unwrap();
    client.send("good\r\nmorning\r\n").unwrap();
    let failure = server.finish().unwrap_err();
    assert_eq!(failure.line, 3);
    assert!(failure.what.contains("morning"), "{failure}");
}

#[test]
fn bytes_sent_behind_the_switch_to_tls_reach_the_handshake() {
    let server = ScriptedServer::start("C: STARTTLS\nS: OK\nTLS\nC: inside").unwrap();
    let mut client = Client::connect(server.address()).unwrap();
    client.send("STARTTLS\r\nLOGIN a b\r\n").unwrap();
    client.expect("OK\r\n").unwrap();
    assert_eq!(server.finish().unwrap_err().line, 3);
}

#[test]
fn a_reset_is_seen_as_a_reset_and_silence_as_nothing() {
    let server = ScriptedServer::start_each(&["C: go\nRESET", "S: hello\nSILENT"]).unwrap();
    let mut first = Client::connect(server.address()).unwrap();
    first.send("go\r\n").unwrap();
    assert_eq!(first.read_line().unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let mut second = Client::connect(server.address()).unwrap();
    second.expect("hello\r\n").unwrap();
    second.send("anything\r\n").unwrap();
    drop(second);
    server.finish().unwrap();
}

#[test]
fn nobody_coming_is_a_failure_and_a_probe_is_none() {
    let server = ScriptedServer::start("S: hello\nC: go").unwrap();
    drop(Client::connect(server.address()).unwrap());
    let mut client = Client::connect(server.address()).unwrap();
    client.send("go\r\n").unwrap();
    assert_eq!(client.read_until_line_starting("hel").unwrap(), ["hello"]);
    server.finish().unwrap();
    let lonely = ScriptedServer::start_each(&["C: go"]).unwrap();
    assert!(lonely.finish().is_err());
}
