//! Out of file descriptors: whoever is in goes on, the others wait, and nothing spins.

use std::{io::ErrorKind, time::Duration};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, usual},
    house::House,
    processes, programs,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![without_a_descriptor_newcomers_wait_and_nothing_spins]
}

/// How long it is watched. Accepting is tried ten times a second.
const WATCHED: Duration = Duration::from_millis(700);
/// What it may use of a processor meanwhile: with as many tries as there can be, it would be all.
const BUSY: Duration = Duration::from_millis(200);

/// Sets how many descriptors a process may have; those that it has stay.
fn allow(door: &Door, files: &str) {
    let limit = format!("--nofile={files}:");
    let mut prlimit = programs::program("prlimit");
    programs::printed(&prlimit.args(["--pid", &door.pid().to_string(), &limit]).output().unwrap());
}

/// How many it may have at the most.
fn most(door: &Door) -> String {
    let mut prlimit = programs::program("prlimit");
    let arguments = ["--nofile", "--output=HARD", "--noheadings", "--raw", "--pid"];
    prlimit.args(arguments).arg(door.pid().to_string());
    programs::printed(&prlimit.output().unwrap()).trim().to_owned()
}

fn log_in(client: &mut Client) -> String {
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l ").unwrap().concat()
}

fn without_a_descriptor_newcomers_wait_and_nothing_spins(_: &House) {
    let imap = Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    });
    let pop3 = Stub::pop3(|mut talk| talk.rest().map(|_| ()));
    let rest = backend("a", imap.port(), pop3.port()) + &everybody_at("a");
    let mut door = Door::open(&usual(&rest));
    door.wait_probed("a");
    let [mut session, mut greeted] = [door.raw_imap(), door.raw_imap()];
    assert!(log_in(&mut session).starts_with("l OK"));
    let most = most(&door);
    // Fewer than it has: none is left.
    allow(&door, "3");
    let connect = |_| Client::connect(("127.0.0.1", door.imap)).unwrap();
    let mut waiting: Vec<_> = (0..20).map(connect).collect();
    let line = door.line(|line| line.contains("not accepted"));
    assert!(line.contains(" error ") && line.contains("Too many open files"), "{line}");
    let before = processes::processor_time(door.pid());
    waiting[0].set_deadline(WATCHED);
    let heard = waiting[0].read_line();
    assert!(heard.is_err_and(|error| error.kind() == ErrorKind::TimedOut));
    let used = processes::processor_time(door.pid()) - before;
    assert!(used < BUSY, "{used:?} within {WATCHED:?}");
    // A login needs one: that is our fault and not the back end's.
    assert_eq!(log_in(&mut greeted), "l NO [UNAVAILABLE] Try again later");
    door.line(|line| line.contains("login refused") && line.contains("reason=limit-descriptors "));
    session.ask("n NOOP", "n OK").unwrap();
    assert_eq!(door.log_text().matches("not accepted").count(), 1, "{}", door.log_text());
    allow(&door, &most);
    for client in &mut waiting {
        client.set_deadline(SOON);
        assert!(client.read_line().unwrap().starts_with("* OK"));
    }
    assert!(log_in(&mut greeted).starts_with("l OK"));
    assert_eq!(door.json(&["backend", "list"])[0]["failures"], 0);
    drop((session, greeted, waiting));
    door.terminate().unwrap();
    assert!(door.wait_exit(SOON).is_some());
}
