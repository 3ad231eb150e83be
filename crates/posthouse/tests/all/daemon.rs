//! With a daemon.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::{fs::MetadataExt, net::UnixStream},
};

use nix::{sys::signal::Signal, unistd::Uid};
use serde_json::Value;
use testkit::wait;

use crate::program::{Daemon, Done, PATIENCE, Place, line};

fn connect(place: &Place) -> TcpStream {
    let client = TcpStream::connect(place.imap).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Sends bytes to the control socket and reads until it closes.
fn raw(place: &Place, request: &str) -> String {
    let mut socket = UnixStream::connect(place.state("control.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn ask(place: &Place, what: &str, body: &str) -> String {
    let length = body.len();
    raw(
        place,
        &format!(
            "{what} HTTP/1.1\r\nHost: posthouse\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ),
    )
}

#[test]
fn a_daemon_greets_clients_and_does_what_its_operator_asks_for() {
    let place = Place::new();
    let daemon = place.serve();
    assert!(daemon.log().contains(&place.imap.to_string()), "{}", daemon.log());
    assert!(line(&mut connect(&place)).starts_with("* OK"));
    place.run(&["user", "place", "Anna", "a"]).good();
    daemon.wait_for("act=user-place");
    daemon.wait_for("actor=socket:");
    let shown = place.run(&["user", "show", "anna", "--json"]).good().json();
    assert_eq!(shown["backend"], "a");
    assert!(shown["history"][0]["actor"].as_str().unwrap().starts_with("socket:"), "{shown}");
    assert_eq!(place.run(&["user", "list"]).good().out, "anna\ta\n");
    assert_eq!(place.run(&["session", "list", "--json"]).good().json(), Value::Array(vec![]));
    let backends = place.run(&["backend", "list", "--json"]).good().json();
    assert_eq!((&backends[0]["name"], &backends[1]["name"]), (&"a".into(), &"b".into()));
    assert!(place.run(&["backend", "list"]).good().out.contains("LAST FAILURE"));
    let kick = place.run(&["session", "kick", "0123456789abcdef"]);
    assert_eq!(kick.status, Some(1));
    assert!(kick.err.contains("there is no session"), "{kick:?}");
    place.run(&["user", "remove", "anna"]).good();
    assert_eq!(place.run(&["user", "show", "anna"]).status, Some(1));
}

#[test]
fn a_big_import_goes_through_the_daemon() {
    let place = Place::new();
    let daemon = place.serve();
    let text: String = (0..30_000)
        .map(|number| format!("user{number}:{}\n", if number % 2 == 0 { "a" } else { "b" }))
        .collect();
    let imported = place
        .run_with(&["user", "import", "--format", "perdition", "-", "--json"], &text)
        .good()
        .json();
    assert_eq!((&imported["added"], &imported["written"]), (&30_000.into(), &true.into()));
    daemon.wait_for("act=user-import");
    let list = place.run(&["user", "list", "--json"]).good().json();
    assert_eq!(list.as_array().unwrap().len(), 30_000);
}

#[test]
fn an_import_that_breaks_off_changes_nothing() {
    let place = Place::new();
    let _daemon = place.serve();
    let mut socket = UnixStream::connect(place.state("control.sock")).unwrap();
    let lines = "anna:a\nbert:b\n";
    let head = "POST /api/v1/import/users?format=perdition HTTP/1.1\r\nHost: posthouse\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    write!(socket, "{head}{:x}\r\n{lines}\r\n", lines.len()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    // It may answer with an error or close; either way it is done with it afterwards.
    let _ = socket.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    assert_eq!(place.run(&["user", "list"]).good().out, "");
}

#[test]
fn the_api_refuses_with_a_status_a_word_and_a_sentence() {
    let place = Place::new();
    let _daemon = place.serve();
    for (what, body, status, word) in [
        ("GET /api/v1/users/nobody", "", "404", "not-found"),
        ("GET /api/v2/users", "", "404", "not-found"),
        ("PATCH /api/v1/users/anna", "", "400", "invalid"),
        ("PUT /api/v1/users/anna", "{", "400", "invalid"),
        ("PUT /api/v1/users/anna", "{\"backend\": \"nowhere\"}", "400", "invalid"),
        ("PUT /api/v1/users/anna", "{\"backend\": \"a\", \"colour\": \"red\"}", "400", "invalid"),
        ("PUT /api/v1/users/an%0D%0Ana", "{\"backend\": \"a\"}", "400", "invalid"),
        ("GET /api/v1/users?limit=many", "", "400", "invalid"),
        ("POST /api/v1/sessions/kick", "{\"session\": \"7\"}", "400", "invalid"),
        ("POST /api/v1/cache/flush", "{\"user\": \"\"}", "400", "invalid"),
    ] {
        let answer = ask(&place, what, body);
        let (head, json) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        let json: Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["error"]["word"], word, "{what}: {answer}");
        assert!(json["error"]["message"].as_str().unwrap().len() > 5, "{answer}");
    }
    let too_long = format!("{{\"backend\": \"{}\"}}", "a".repeat(70_000));
    assert!(ask(&place, "PUT /api/v1/users/anna", &too_long).starts_with("HTTP/1.1 4"));
    let status = ask(&place, "GET /api/v1/status", "");
    assert!(status.starts_with("HTTP/1.1 200 ") && status.contains("\"pid\""), "{status}");
}

#[test]
fn a_daemon_lists_its_sources_and_forgets_what_they_said() {
    let place = Place::new();
    let _daemon = place.serve();
    let listed = place.run(&["source", "list"]).good().out;
    assert!(listed.contains("table") && listed.contains("here"), "{listed}");
    let all = place.run(&["cache", "flush"]).good().out;
    assert!(all.contains("is forgotten"), "{all}");
    let one = place.run(&["cache", "flush", "Anna"]).good().out;
    assert!(one.contains("said of anna is forgotten"), "{one}");
}

#[test]
fn names_of_any_kind_reach_the_daemon_as_they_are() {
    let place = Place::new();
    let _daemon = place.serve();
    for name in ["a/b", "a%2fb", "jürgen+x y@example.org", "..", "?&#"] {
        place.run(&["user", "place", name, "a"]).good();
        assert_eq!(place.run(&["user", "show", name, "--json"]).good().json()["user"], name);
    }
}

#[test]
fn the_state_folder_serves_one_daemon() {
    let place = Place::new();
    let daemon = place.serve();
    let other = Place::new();
    let config = fs::read_to_string(other.config()).unwrap();
    let shared = place.folder.path().join("state");
    other.configure(&config.replace("\"state\"", &format!("\"{}\"", shared.display())));
    let refused = other.run(&["serve"]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains(&format!("in use by process {}", daemon.pid())), "{refused:?}");
    assert!(place.state("control.sock").exists());
}

#[test]
fn no_memory_image_is_written_and_the_control_socket_is_its_owner_s_alone() {
    let place = Place::new();
    let daemon = place.serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let core: Vec<_> = limits
        .lines()
        .filter_map(|line| line.strip_prefix("Max core file size"))
        .flat_map(str::split_whitespace)
        .collect();
    // Of 1 alone the kernel makes nothing at all, not even for a program that takes images.
    assert_eq!(core, ["1", "1", "bytes"]);
    assert_eq!(fs::metadata(place.state("control.sock")).unwrap().mode() & 0o077, 0);
    // What is made later is under the umask that was there before.
    let mask = |process: &str| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        status.lines().find(|line| line.starts_with("Umask:")).unwrap().to_owned()
    };
    assert_eq!(mask(&daemon.pid().to_string()), mask("self"));
}

#[test]
fn an_address_that_is_taken_is_told_in_one_sentence() {
    let place = Place::new();
    let _taken = std::net::TcpListener::bind(place.imap).unwrap();
    let refused = place.run(&["serve"]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains(&place.imap.to_string()), "{refused:?}");
    assert_eq!(refused.err.lines().count(), 1, "{refused:?}");
}

#[test]
fn what_a_killed_daemon_leaves_behind_is_in_nobody_s_way() {
    let place = Place::new();
    let mut daemon = place.serve();
    daemon.signal(Signal::SIGKILL);
    daemon.ended(PATIENCE);
    assert!(place.state("control.sock").exists());
    place.run(&["user", "place", "anna", "a"]).good();
    let _next = place.serve();
    assert_eq!(place.run(&["user", "list"]).good().out, "anna\ta\n");
}

#[test]
fn with_no_connection_left_a_signal_ends_it_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::with("grace = \"5m\"");
        let mut daemon = place.serve();
        daemon.signal(signal);
        assert!(daemon.ended(PATIENCE).success(), "{}", daemon.log());
        assert!(!place.state("control.sock").exists());
        daemon.wait_for("stopped");
    }
}

#[test]
fn the_first_signal_gives_up_listeners_socket_and_lock_and_lets_connections_go_on() {
    let place = Place::with("grace = \"5m\"");
    let mut daemon = place.serve();
    let mut client = connect(&place);
    line(&mut client);
    daemon.signal(Signal::SIGTERM);
    assert!(wait::until(PATIENCE, || TcpStream::connect(place.imap).is_err()));
    assert!(wait::until(PATIENCE, || !place.state("control.sock").exists()));
    // Here, under the lock, while the old one is still there.
    place.run(&["user", "place", "anna", "a"]).good();
    client.write_all(b"a NOOP\r\n").unwrap();
    assert!(line(&mut client).starts_with("a OK"), "{}", daemon.log());
    assert!(daemon.runs());
    drop(client);
    assert!(daemon.ended(PATIENCE).success());
}

#[test]
fn a_second_signal_ends_what_is_left() {
    let place = Place::with("grace = \"5m\"");
    let mut daemon = place.serve();
    let mut client = connect(&place);
    line(&mut client);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for("stopping");
    assert!(daemon.runs());
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended(PATIENCE).success());
}

#[test]
fn other_signals_are_told_of_and_do_nothing() {
    let place = Place::new();
    let mut daemon = place.serve();
    let mut client = connect(&place);
    line(&mut client);
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        daemon.signal(signal);
        daemon.wait_for(&format!(
            "signal ignored: a change of the configuration needs a restart signal={signal}"
        ));
    }
    client.write_all(b"a NOOP\r\n").unwrap();
    assert!(line(&mut client).starts_with("a OK"), "{}", daemon.log());
    assert!(daemon.runs());
}

#[test]
fn a_daemon_looks_up_exports_and_takes_names_as_they_are_typed() {
    let place = Place::new();
    let daemon = place.serve();
    place.run(&["user", "place", "anna", "a"]).good();
    let found = place.run(&["user", "look-up", " ANNA", "--json"]).good().json();
    assert_eq!((&found["user"], &found["source"]), (&"anna".into(), &"table".into()));
    assert_eq!(place.run(&["user", "look-up", "nobody"]).status, Some(1));
    let export = place.run(&["user", "export", "--with-passwords"]).good().out;
    assert_eq!(
        export,
        "user,backend,user_there,id,disabled,password,password_hash\nanna,a,,,no,,\n"
    );
    daemon.wait_for("act=user-export-passwords");
    place.run(&["session", "kick", "--user", " ANNA "]).good();
    daemon.wait_for("act=session-kick");
    assert!(daemon.log().contains("user=anna kicked=0"), "{}", daemon.log());
    assert_eq!(place.run(&["session", "list", "--user", " "]).status, Some(1));
}

#[test]
fn who_loses_his_row_is_asked_of_other_sources_with_a_daemon_and_without() {
    let place = Place::new();
    place.add(
        "[[directory]]\nsource = \"table\"\n[[directory]]\nsource = \"static\"\nbackend = \"b\"\n",
    );
    let moves = |refused: Done| {
        assert_eq!(refused.status, Some(1), "{refused:?}");
        assert!(refused.err.contains("is looked for at"), "{refused:?}");
        assert!(refused.err.contains("--mail-is-already-there"), "{refused:?}");
    };
    let try_all = || {
        moves(place.run(&["user", "place", "anna", "a"]));
        place.run(&["user", "place", "anna", "a", "--mail-is-already-there"]).good();
        moves(place.run(&["user", "remove", "anna"]));
        moves(place.run(&["user", "rename", "anna", "anne"]));
        place.run(&["user", "rename", "anna", "anne", "--mail-is-already-there"]).good();
        place.run(&["user", "remove", "anne", "--mail-is-already-there"]).good();
        assert_eq!(place.run(&["user", "list"]).good().out, "");
    };
    try_all();
    let _daemon = place.serve();
    try_all();
}

#[test]
fn the_grace_time_ends() {
    let place = Place::with("grace = \"100ms\"");
    let mut daemon = place.serve();
    let mut client = connect(&place);
    line(&mut client);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.ended(PATIENCE).success());
    assert!(daemon.log().contains("the grace time is over"), "{}", daemon.log());
}

#[test]
fn a_new_daemon_can_start_while_the_old_one_drains() {
    let place = Place::with("grace = \"5m\"");
    let mut old = place.serve();
    let mut client = connect(&place);
    line(&mut client);
    old.signal(Signal::SIGTERM);
    old.wait_for("stopping");
    let _new = place.serve();
    assert!(line(&mut connect(&place)).starts_with("* OK"));
    assert!(old.runs());
}

#[test]
fn the_log_is_json_where_the_configuration_says_so() {
    let place = Place::new();
    place.add("[log]\nformat = \"json\"\n");
    let daemon = place.serve();
    let log = daemon.log();
    let ready = log.lines().find(|line| line.contains("\"ready\"")).unwrap();
    let ready: Value = serde_json::from_str(ready).unwrap();
    assert_eq!((&ready["message"], &ready["level"]), (&"ready".into(), &"info".into()));
    assert_eq!(ready["pid"], daemon.pid());
}

#[test]
fn a_self_signed_certificate_is_made_at_the_first_start_only() {
    let place = Place::new();
    place.add(
        "[[listener]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:0\"\ncertificate = \"cert.pem\"\n\
         key = \"key.pem\"\nself_signed = true\n",
    );
    let certificate = place.folder.path().join("cert.pem");
    let key = place.folder.path().join("key.pem");
    drop(place.serve());
    let first = fs::read(&certificate).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    drop(place.serve());
    assert_eq!(fs::read(&certificate).unwrap(), first);
}

#[test]
fn root_becomes_the_configured_user_for_good() {
    if !Uid::effective().is_root() {
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let place = Place::with("user = \"nobody\"");
    // What root placed before the first start belongs to the user too.
    place.run(&["user", "place", "anna", "a"]).good();
    let mut daemon = place.serve();
    // Root acted, whoever the folder belongs to.
    let shown = place.run(&["user", "show", "anna", "--json"]).good().json();
    assert_eq!(shown["history"][0]["actor"], "here:root");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let ids = format!("{0}\t{0}\t{0}\t{0}", nobody.uid);
    assert!(status.contains(&format!("Uid:\t{ids}\n")), "{status}");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");
    for file in ["", "control.sock", "directory.sqlite", "lock"] {
        let owner = fs::metadata(place.state(file)).unwrap().uid();
        assert_eq!(owner, nobody.uid.as_raw(), "{file}");
    }
    place.run(&["user", "place", "bert", "b"]).good();
    daemon.signal(Signal::SIGTERM);
    daemon.ended(PATIENCE);
    // And what root does after it.
    place.run(&["user", "place", "carl", "b"]).good();
    let next = Daemon::start(&place);
    next.wait_for("ready");
    let carl = place.run(&["user", "show", "carl", "--json"]).good().json();
    assert_eq!(carl["history"][0]["actor"], "here:root");
    assert_eq!(place.run(&["user", "list"]).good().out, "anna\ta\nbert\tb\ncarl\tb\n");
}
