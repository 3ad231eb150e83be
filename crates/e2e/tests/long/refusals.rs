//! An unknown name and a wrong password are the same to whoever measures time.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use e2e::{
    cases,
    door::{Door, backend, usual},
    house::House,
    runner::Case,
    secrets::password,
};
use testkit::servers::{
    Service,
    dovecot::{Dovecot, DovecotOptions},
};

pub(crate) fn cases() -> Vec<Case> {
    cases![unknown_names_and_wrong_passwords_take_the_same_time]
}

/// Of each kind.
const LOGINS: usize = 200;
const CLIENTS: usize = 20;

fn median(took: &mut [Duration]) -> Duration {
    took.sort();
    took[took.len() / 2]
}

fn unknown_names_and_wrong_passwords_take_the_same_time(_: &House) {
    // Both as they are by default.
    let delay = Duration::from_secs(2);
    let options = DovecotOptions { failure_delay: delay, ..DovecotOptions::default() };
    let dovecot = Dovecot::start(options).unwrap();
    let (imap, pop3) = (dovecot.port(Service::Imap), dovecot.port(Service::Pop3));
    let config = format!("[limits]\nfailure_delay = \"2s\"\n{}", backend("a", imap, pop3));
    let door = Door::open(&usual(&config));
    for number in 0..CLIENTS {
        dovecot.add_user(&format!("user{number}"), &password("right")).unwrap();
        door.does(&["user", "place", &format!("user{number}"), "a"]);
    }
    let (unknown, wrong) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (door, unknown, wrong) = (&door, &unknown, &wrong);
            scope.spawn(move || {
                for round in 0..LOGINS / CLIENTS {
                    // The kinds take turns, by IMAP and POP3.
                    for (kind, name) in
                        [(unknown, format!("nobody{number}")), (wrong, format!("user{number}"))]
                    {
                        let began = Instant::now();
                        let secret = password("wrong");
                        if round.is_multiple_of(2) {
                            let answer = door.imap_answer(&name, &secret);
                            assert!(answer.starts_with("NO [AUTHENTICATIONFAILED]"), "{answer}");
                        } else {
                            let answer = door.pop3_answer(&name, &secret);
                            assert!(answer.starts_with("-ERR [AUTH]"), "{answer}");
                        }
                        kind.lock().unwrap().push(began.elapsed());
                    }
                }
            });
        }
    });
    let (mut unknown, mut wrong) = (unknown.into_inner().unwrap(), wrong.into_inner().unwrap());
    assert_eq!((unknown.len(), wrong.len()), (LOGINS, LOGINS));
    let (one, other) = (median(&mut unknown), median(&mut wrong));
    println!(
        "unknown names: {one:?} ({:?} to {:?}), wrong passwords: {other:?} ({:?} to {:?})",
        unknown[0],
        unknown[LOGINS - 1],
        wrong[0],
        wrong[LOGINS - 1]
    );
    assert!(one.abs_diff(other) < one.max(other) / 20, "{one:?} and {other:?}");
    assert!(unknown[0] >= delay && wrong[0] >= delay);
}
