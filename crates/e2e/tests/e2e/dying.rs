//! A back end that dies under sessions: what its clients see of it, and when.

use std::{
    fs,
    io::{self, ErrorKind},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, listening, usual},
    house::House,
    runner::Case,
    secrets::password,
    stub::{Stub, Talk},
};
use testkit::{scripted::Client, wait};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_back_end_that_ends_amid_a_session_has_its_word_and_nothing_is_acknowledged_for_it,
        clients_of_a_back_end_that_dies_are_disconnected_one_by_one,
    ]
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Close,
    Hang,
    Reset,
}

const ENDS: [End; 3] = [End::Close, End::Hang, End::Reset];

/// One step of a session: the back end waits for these words of the client, then says that.
type Step = (&'static str, &'static str);

/// A session up to the moment in which the back end ends.
struct Scene {
    protocol: &'static str,
    steps: &'static [Step],
}

const fn imap(steps: &'static [Step]) -> Scene {
    Scene { protocol: "imap", steps }
}

const fn pop3(steps: &'static [Step]) -> Scene {
    Scene { protocol: "pop3", steps }
}

const SCENES: [Scene; 11] = [
    // Idle, and in IDLE.
    imap(&[]),
    imap(&[("i IDLE\r\n", "+ idling\r\n")]),
    // A command without an answer, half a response, a literal cut in two.
    imap(&[("n NOOP\r\n", "")]),
    imap(&[("f FETCH 1 ALL\r\n", "* 1 FETCH (FLAGS")]),
    imap(&[("f FETCH 1 BODY[]\r\n", "* 1 FETCH (BODY[] {100}\r\nhalf a mess")]),
    // A message half sent, and one that nobody answers for.
    imap(&[("a APPEND INBOX {10}\r\n", "+ go\r\n"), ("01234", "")]),
    imap(&[("a APPEND INBOX {10}\r\n", "+ go\r\n"), ("0123456789\r\n", "")]),
    imap(&[("a APPEND INBOX {10+}\r\n0123456789\r\nb NOOP\r\n", "* 1 EXISTS\r\n")]),
    pop3(&[]),
    pop3(&[("RETR 1\r\n", "+OK\r\nSubject: half a mess")]),
    // A message deleted and the mailbox not closed.
    pop3(&[("DELE 1\r\n", "+OK\r\n"), ("QUIT\r\n", "")]),
];

fn play(mut talk: Talk, steps: &[Step], end: End) -> io::Result<()> {
    for (hear, say) in steps {
        let heard = talk.wire().read_exact(hear.len())?;
        assert_eq!(String::from_utf8_lossy(&heard), *hear);
        talk.send(say)?;
    }
    match end {
        End::Close => Ok(()),
        End::Hang => talk.rest().map(|_| ()),
        End::Reset => talk.reset(),
    }
}

fn stub(scene: &'static Scene, end: End) -> Stub {
    match scene.protocol {
        "imap" => Stub::imap(move |talk| play(talk, scene.steps, end)),
        _ => Stub::pop3(move |talk| play(talk, scene.steps, end)),
    }
}

/// Somebody logged in, in clear or under TLS.
fn logged_in(door: &Door, protocol: &str, user: &str, tls: bool) -> Client {
    let secret = password(user);
    let imap = protocol == "imap";
    let port = match (imap, tls) {
        (true, true) => door.imaps,
        (true, false) => door.imap,
        (false, true) => door.pop3s,
        (false, false) => door.pop3,
    };
    let mut client = Client::connect(("127.0.0.1", port)).unwrap();
    if tls {
        client = client.start_tls("localhost", &door.trust()).unwrap();
    }
    client.set_deadline(SOON);
    client.read_line().unwrap();
    if imap {
        client.ask(&format!("l LOGIN {user} {secret}"), "l OK").unwrap();
    } else {
        client.ask(&format!("USER {user}"), "+OK").unwrap();
        client.ask(&format!("PASS {secret}"), "+OK").unwrap();
    }
    client
}

/// Plays a scene as its client, who must hear what the back end said and nothing beyond.
fn watch(door: &Door, scene: &Scene, end: End, user: &str, tls: bool) {
    let mut client = logged_in(door, scene.protocol, user, tls);
    let what = format!("{user} {:?} {end:?} tls {tls}", scene.steps);
    for (say, hear) in scene.steps {
        client.send(say).unwrap();
        // What a reset overtakes may be lost.
        if end != End::Reset {
            client.expect(hear).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
    if end == End::Hang {
        client.set_deadline(Duration::from_millis(200));
    }
    let ended = client.read_to_end();
    match (end, ended) {
        (End::Close, Ok(rest)) => assert_eq!(rest, b"", "{what}"),
        (End::Hang, Err(error)) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{what}"),
        (End::Reset, Err(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}"),
        (_, other) => panic!("{what}: {other:?}"),
    }
    // One that closes would have the back end close as well: either may be first.
    client.reset().unwrap();
    let reason = match end {
        End::Close => "backend-closed",
        End::Hang => "client-lost",
        End::Reset => "backend-lost",
    };
    let line =
        door.line(|line| line.contains("session ended") && line.contains(&format!("user={user} ")));
    assert!(line.ends_with(&format!("reason={reason}")), "{what}: {line}");
    assert_eq!(line.contains(" warn "), end == End::Reset, "{what}: {line}");
}

fn a_back_end_that_ends_amid_a_session_has_its_word_and_nothing_is_acknowledged_for_it(_: &House) {
    let mut config = String::new();
    let mut users = String::new();
    let mut plays = Vec::new();
    for (number, scene) in SCENES.iter().enumerate() {
        for end in ENDS {
            let name = format!("s{number}{end:?}").to_lowercase();
            let stub = stub(scene, end);
            config += &backend(&name, stub.port(), stub.port());
            for user in [format!("{name}clear"), format!("{name}tls")] {
                users += &format!("{user}:{name}\n");
            }
            plays.push((name, scene, end, stub));
        }
    }
    config += "[[directory]]\nsource = \"file\"\nfile = \"users.map\"\n";
    for clean_bye in ["clean_bye = false", "clean_bye = true"] {
        let door = Door::open_with(&listening(clean_bye, &config), &[], |folder| {
            fs::write(folder.join("users.map"), &users).unwrap();
        });
        let door = &door;
        thread::scope(|scope| {
            for (name, scene, end, _) in &plays {
                scope.spawn(move || {
                    watch(door, scene, *end, &format!("{name}clear"), false);
                    watch(door, scene, *end, &format!("{name}tls"), true);
                });
            }
        });
    }
}

fn clients_of_a_back_end_that_dies_are_disconnected_one_by_one(_: &House) {
    const CLIENTS: usize = 200;
    let held = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
    let stub = Stub::imap({
        let held = Arc::clone(&held);
        move |mut talk| {
            held.lock().unwrap().push(talk.wire().tcp().try_clone()?);
            talk.rest().map(|_| ())
        }
    });
    let limits = "[limits]\nconnections_per_address = 0\ndisconnect_spread = \"10s\"\n";
    let rest = format!("{limits}{}{}", backend("a", stub.port(), stub.port()), everybody_at("a"));
    let door = Door::open(&usual(&rest));
    let log_in = || {
        let mut client = door.raw_imap();
        client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
        client
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| log_in()).collect();
    let in_all = |count| wait::until(SOON, || held.lock().unwrap().len() == count);
    assert!(in_all(CLIENTS));
    let died = Instant::now();
    for connection in held.lock().unwrap().drain(..) {
        connection.shutdown(Shutdown::Both).unwrap();
    }
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let ends: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                scope.spawn(move || {
                    assert_eq!(client.read_to_end().unwrap(), b"");
                    died.elapsed()
                })
            })
            .collect();
        ends.into_iter().map(|end| end.join().unwrap()).collect()
    });
    took.sort();
    // A hundred at once, and a hundred in each second.
    assert!(took[CLIENTS - 1] > Duration::from_millis(900), "{:?}", took[CLIENTS - 1]);
    assert!(took[CLIENTS - 1] - took[0] > Duration::from_millis(500), "{took:?}");
    assert!(took[CLIENTS - 1] < Duration::from_secs(8), "{:?}", took[CLIENTS - 1]);
    door.line(|line| {
        line.contains("many sessions lost their back end") && line.contains("backend=a")
    });
    // One who leaves in the ordinary way is not kept.
    let mut client = log_in();
    client.send("q LOGOUT\r\n").unwrap();
    // The stub says OK before it notes the connection.
    assert!(in_all(1));
    let began = Instant::now();
    held.lock().unwrap().drain(..).for_each(|one| one.shutdown(Shutdown::Both).unwrap());
    client.read_to_end().unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
