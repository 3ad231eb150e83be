//! A back end whose processes are stopped: its users are told to try later, and others notice nothing.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, usual},
    house::{House, Kind},
    runner::Case,
    secrets::password,
};
use testkit::{
    servers::{
        Service,
        dovecot::{Dovecot, DovecotOptions},
    },
    wait,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![a_stopped_back_end_holds_its_own_limit_of_logins_and_others_notice_nothing]
}

/// Logins that may be under way at the back end that hangs.
const AT_ONCE: u64 = 5;
/// Clients that log in there at a time, again and again.
const CLIENTS: usize = 20;
/// The deadlines below one after the other, on a busy machine.
const AT_THE_LATEST: Duration = Duration::from_secs(8);

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() / 2]
}

fn under_way(door: &Door) -> u64 {
    let list = door.json(&["backend", "list"]);
    let row = list.as_array().unwrap().iter().find(|row| row["name"] == "hung").unwrap();
    assert_eq!(row["logins_at_once"], AT_ONCE);
    row["logins_under_way"].as_u64().unwrap()
}

/// Lets the clients end, also when the test fails before.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn a_stopped_back_end_holds_its_own_limit_of_logins_and_others_notice_nothing(house: &House) {
    let secret = password("anyone");
    let options = DovecotOptions { anyone_with: Some(secret.clone()), ..DovecotOptions::default() };
    let dovecot = Dovecot::start(options).unwrap();
    let person = house.person(Kind::Sdbox);
    let deadlines = "[deadlines]\nconnect = \"1s\"\ngreeting = \"1s\"\nlogin = \"3s\"\n";
    let (imap, pop3) = (dovecot.port(Service::Imap), dovecot.port(Service::Pop3));
    let door = Door::open(&usual(&format!(
        "{deadlines}{}{}logins_at_once = {AT_ONCE}\n[[directory]]\nsource = \"table\"\n{}",
        house.backend(Kind::Sdbox),
        backend("hung", imap, pop3),
        everybody_at("hung"),
    )));
    door.does(&["user", "place", &person.name, "sdbox", "--mail-is-already-there"]);
    let others = || {
        let began = Instant::now();
        let answer = door.imap_answer(&person.name, &person.password);
        assert!(answer.starts_with("OK "), "{answer}");
        began.elapsed()
    };
    let mut session = door.raw_imap();
    session.ask(&format!("l LOGIN anna {secret}"), "l OK").unwrap();
    assert!(door.pop3_answer("bert", &secret).starts_with("+OK"));
    others();
    let quiet = median((0..15).map(|_| others()).collect());
    dovecot.pause().unwrap();
    session.send("n NOOP\r\n").unwrap();
    let (over, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let busy = thread::scope(|scope| {
        let _end = Ends(&over);
        for number in 0..CLIENTS {
            let (door, secret, over, refused) = (&door, &secret, &over, &refused);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let (name, imap) = (format!("user{number}"), number.is_multiple_of(2));
                    let (answer, later) = if imap {
                        (door.imap_answer(&name, secret), "NO [UNAVAILABLE] ")
                    } else {
                        (door.pop3_answer(&name, secret), "-ERR [SYS/TEMP] ")
                    };
                    let took = began.elapsed();
                    assert!(answer.starts_with(later) && took < AT_THE_LATEST, "{answer} {took:?}");
                    refused.fetch_add(1, Ordering::SeqCst);
                    // The others' processor is also ours: a client's program waits longer.
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        // Each of the two protocols hangs by itself.
        assert!(wait::until(SOON, || under_way(&door) == AT_ONCE), "{}", door.log_text());
        let busy = median((0..15).map(|_| others()).collect());
        assert!(under_way(&door) <= AT_ONCE);
        busy
    });
    println!("others' logins: median {quiet:?}, beside the hung back end {busy:?}");
    assert!(busy < quiet * 3 + Duration::from_millis(100), "{quiet:?} became {busy:?}");
    assert!(refused.load(Ordering::SeqCst) >= CLIENTS as u64);
    for word in ["backend-busy", "backend-greeting"] {
        door.line(|line| line.contains(&format!("reason={word} ")) && line.contains(" warn "));
    }
    dovecot.resume().unwrap();
    session.set_deadline(SOON);
    session.read_until_line_starting("n OK").unwrap();
    let healed = || door.imap_answer("anna", &secret).starts_with("OK ");
    assert!(wait::until(SOON, healed), "{}", door.log_text());
    assert_eq!(under_way(&door), 0);
}
