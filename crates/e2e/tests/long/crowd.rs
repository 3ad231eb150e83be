//! Thousands of sessions that do nothing cost little, and do not slow down those that do something.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, LISTENERS, SOON, backend, everybody_at},
    house::House,
    processes::resident,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use nix::sys::resource::{Resource, getrlimit};
use testkit::{process::raise_open_file_limit, scripted::Client};

pub(crate) fn cases() -> Vec<Case> {
    cases![among_five_thousand_idle_sessions_logins_are_quick_and_memory_is_small]
}

/// Half of them in clear, half under TLS.
const SESSIONS: usize = 5000;
/// Of one session on average, in the program that is built for debugging too.
const BYTES_EACH: usize = 32 << 10;
/// Clients that log in at a time.
const CLIENTS: usize = 8;

fn echo() -> Stub {
    Stub::imap(|mut talk| {
        talk.wire().set_deadline(Duration::from_secs(3600));
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    })
}

fn log_in(door: &Door, number: usize) -> Client {
    let mut client = if number.is_multiple_of(2) {
        Client::connect(("127.0.0.1", door.imap)).unwrap()
    } else {
        Client::connect_tls(("127.0.0.1", door.imaps), "localhost", &door.trust()).unwrap()
    };
    client.set_deadline(Duration::from_secs(30));
    client.read_line().unwrap();
    let name = format!("user{number}");
    client.ask(&format!("l LOGIN {name} {}", password(&name)), "l OK").unwrap();
    client
}

fn among_five_thousand_idle_sessions_logins_are_quick_and_memory_is_small(_: &House) {
    raise_open_file_limit();
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let needed = u64::try_from(SESSIONS * 2 + 500).unwrap();
    assert!(files >= needed, "{needed} open files are needed, {files} allowed: see `ulimit -Hn`");
    let stub = echo();
    let config = format!(
        "state = \"state\"\ngrace = \"5m\"\n{LISTENERS}[limits]\nconnections_per_address = 0\n{}{}",
        backend("a", stub.port(), stub.port()),
        everybody_at("a")
    );
    let mut door = Door::open(&config);
    // What all share is there before anything is counted.
    for number in 0..20 {
        drop(log_in(&door, number));
    }
    let before = resident(door.pid());
    let mut held: Vec<Client> = thread::scope(|scope| {
        let some = |first: usize| (first..SESSIONS).step_by(CLIENTS);
        let door = &door;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| {
                scope.spawn(move || {
                    some(first).map(|number| log_in(door, number)).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let each = resident(door.pid()).saturating_sub(before) / SESSIONS;
    println!("{each} bytes for each of {SESSIONS} idle sessions");
    assert!(each < BYTES_EACH, "{each} bytes for each session");
    let mut took: Vec<Duration> = (0..100)
        .map(|number| {
            let began = Instant::now();
            drop(log_in(&door, number));
            began.elapsed()
        })
        .collect();
    took.sort();
    println!("logins beside them: median {:?}, slowest {:?}", took[50], took[99]);
    assert!(took[90] < Duration::from_millis(500), "{took:?}");
    let began = Instant::now();
    let listed = door.json(&["session", "list"]);
    assert!(listed.as_array().unwrap().len() >= SESSIONS);
    assert!(began.elapsed() < SOON);
    for client in &mut held {
        client.ask("n NOOP", "n OK").unwrap();
    }
    door.terminate().unwrap();
    door.line(|line| line.contains("stopping"));
    assert!(TcpStream::connect(("127.0.0.1", door.imap)).is_err());
    held[SESSIONS - 1].ask("n NOOP", "n OK").unwrap();
    door.terminate().unwrap();
    assert!(door.wait_exit(SOON).unwrap().success());
    drop(held);
    drop(stub);
}
