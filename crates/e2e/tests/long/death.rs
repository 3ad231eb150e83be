//! A back end that is killed under thousands of sessions and starts again: its users come back one by one.

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::Door,
    house::House,
    processes::{peak, resident},
    runner::Case,
};
use testkit::scripted::Client;

use crate::crowd::{SESSIONS, StubProcess, door, fill, log_in, need_files};

pub(crate) fn cases() -> Vec<Case> {
    cases![users_of_a_back_end_that_is_killed_come_back_one_by_one]
}

/// Over which they are to be disconnected.
const SPREAD: Duration = Duration::from_secs(30);
/// Each looks after its share of the clients.
const WATCHERS: usize = 4;
/// What the proxy may need beyond what the idle sessions do.
const GROWTH: usize = 24 << 20;

/// Whether the connection has ended, or its end has begun.
fn has_ended(client: &mut Client) -> bool {
    let tcp = client.wire().tcp();
    tcp.set_nonblocking(true).unwrap();
    let seen = tcp.peek(&mut [0]);
    tcp.set_nonblocking(false).unwrap();
    !seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Lets each client come back as soon as it has lost its session; when that was, and how long its login took.
fn come_back(door: &Door, mut clients: Vec<Client>, died: Instant) -> Vec<(Duration, Duration)> {
    let mut back = Vec::new();
    let mut sessions = Vec::new();
    while !clients.is_empty() {
        assert!(died.elapsed() < SPREAD * 3, "{} were not disconnected", clients.len());
        let round = Instant::now();
        for mut client in std::mem::take(&mut clients) {
            if !has_ended(&mut client) {
                clients.push(client);
                continue;
            }
            let lost = died.elapsed();
            let began = Instant::now();
            sessions.push(log_in(door, sessions.len()));
            back.push((lost, began.elapsed()));
        }
        // The machine has other things to do than to be asked.
        thread::sleep(Duration::from_millis(50).saturating_sub(round.elapsed()));
    }
    for session in &mut sessions {
        session.ask("n NOOP", "n OK").unwrap();
    }
    back
}

fn users_of_a_back_end_that_is_killed_come_back_one_by_one(_: &House) {
    need_files(SESSIONS * 2 + 500);
    let mut stub = StubProcess::start();
    let door = door(&stub, "");
    let (mut held, _) = fill(&door);
    let before = resident(door.pid());
    let died = Instant::now();
    stub.kill();
    let _again = StubProcess::start_at(stub.port());
    let share = held.len().div_ceil(WATCHERS);
    let shares: Vec<Vec<Client>> =
        (0..WATCHERS).map(|_| held.split_off(held.len().saturating_sub(share))).collect();
    let mut back: Vec<(Duration, Duration)> = thread::scope(|scope| {
        let door = &door;
        let watchers: Vec<_> = shares
            .into_iter()
            .map(|clients| scope.spawn(move || come_back(door, clients, died)))
            .collect();
        watchers.into_iter().flat_map(|watcher| watcher.join().unwrap()).collect()
    });
    assert_eq!(back.len(), SESSIONS);
    back.sort();
    let in_second = |second: u64| back.iter().filter(|(lost, _)| lost.as_secs() == second).count();
    let by_second: Vec<_> = (0..SPREAD.as_secs() + 5).map(in_second).collect();
    let (last, grown) = (back[SESSIONS - 1].0, peak(door.pid()).saturating_sub(before));
    let mut took: Vec<_> = back.iter().map(|(_, took)| *took).collect();
    took.sort();
    println!(
        "disconnected by second: {by_second:?}, the last after {last:?}; logins: median {:?}, p99 {:?}; \
         {grown} bytes more",
        took[SESSIONS / 2],
        took[SESSIONS * 99 / 100]
    );
    assert!(last > SPREAD * 8 / 10 && last < SPREAD * 3 / 2, "{last:?}");
    // A hundred at once, and an even share of the others in each second; a busy machine may be late.
    let fair = SESSIONS / 30;
    assert!(by_second.iter().all(|count| *count <= 100 + fair * 2), "{by_second:?}");
    assert!(took[SESSIONS * 99 / 100] < Duration::from_secs(2), "{:?}", took[SESSIONS * 99 / 100]);
    assert!(grown < GROWTH, "{grown} bytes more");
}
