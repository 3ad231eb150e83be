//! Stored passwords: made by others, malformed, too expensive, changed.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use directory::passwords::{
    CannotSay, DefaultScheme, Limits, PasswordSettings, Passwords, PlainText, PoolSettings, Stored,
    Unusable, Verdict,
};
use model::{CanonicalUser, Reason, Secret, UserName};
use proptest::prelude::*;

use crate::DEADLINE;

fn secret(text: impl Into<Vec<u8>>) -> Secret {
    Secret::new(text).unwrap()
}

fn user(name: &str) -> CanonicalUser {
    CanonicalUser::declare(UserName::new(name).unwrap())
}

fn read(stored: &str, plain: PlainText, limits: &Limits) -> Result<Stored, Unusable> {
    Stored::read(&secret(stored), DefaultScheme::None, plain, limits)
}

/// What was made by others: the password, what is stored.
fn vectors() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../passwords/vectors.txt").lines();
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once('\t').unwrap())
}

#[test]
fn what_others_stored_is_right_for_its_own_password_only() {
    let (mut count, mut failed) = (0, Vec::new());
    for (password, stored) in vectors() {
        count += 1;
        let read = match read(stored, PlainText::Allowed, &Limits::default()) {
            Ok(read) => read,
            Err(unusable) => {
                failed.push(format!("{stored}: {unusable}"));
                continue;
            }
        };
        let is = |offered: &str| read.is(&secret(offered)).unwrap();
        let mut shorter = password.chars();
        let last = shorter.next_back();
        let changed = format!("{}{}", shorter.as_str(), if last == Some('!') { '?' } else { '!' });
        // bcrypt looks at 72 bytes only.
        let differs_late = password.len() > 72 && stored.contains("$2");
        if !is(password) || is("") || is(&changed) != differs_late {
            failed.push(stored.to_owned());
        }
    }
    assert!(count > 150, "{count}");
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn a_password_that_differs_in_a_byte_is_wrong() {
    let limits = Limits::default();
    for scheme in
        ["{SSHA}", "{SSHA512}", "{PBKDF2}", "{BLF-CRYPT}", "{SCRAM-SHA-256}", "$6$", "$y$"]
    {
        let (password, stored) = vectors()
            .find(|(password, stored)| password.len() == 7 && stored.starts_with(scheme))
            .unwrap();
        let stored = read(stored, PlainText::Refused, &limits).unwrap();
        for place in 0..password.len() {
            let mut wrong = password.as_bytes().to_vec();
            wrong[place] ^= 1;
            assert!(!stored.is(&secret(wrong)).unwrap(), "{scheme} {place}");
        }
        assert!(!stored.is(&secret(format!("{password} "))).unwrap(), "{scheme}");
        assert!(stored.is(&secret(password)).unwrap(), "{scheme}");
    }
}

#[test]
fn what_cannot_be_read_is_said_without_showing_it() {
    let cases = [
        ("", "it is empty"),
        ("hunter2", "it names no scheme, such as {SSHA512}, and no default scheme is set"),
        ("{hunter2}x", "its scheme is not known"),
        ("{hunter2.b64}aHVudGVyMg==", "its scheme is not known"),
        ("{PLAIN.hunter2}x", "its scheme is not known"),
        ("$hunter2$x", "it names no scheme, such as {SSHA512}, and no default scheme is set"),
        ("{PLAIN}hunter2", "it is in clear text, which the configuration does not allow"),
        ("{MD5-CRYPT}$1$hunter2$x", "the scheme MD5-CRYPT is not checked here"),
        ("$1$hunter2$x", "the scheme MD5-CRYPT is not checked here"),
        ("{cram-md5}hunter2", "the scheme CRAM-MD5 is not checked here"),
        ("{CRYPT}hunter2", "the scheme DES-CRYPT is not checked here"),
        ("{SSHA.hex}hunter2", "it is not of the form that its encoding has"),
        ("{SSHA}hunter2", "it is not of the form that SHA or SSHA has"),
        ("{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "it is not of the form that SHA or SSHA has"),
        ("{SHA256}hunter2", "it is not of the form that SHA256 or SSHA256 has"),
        (
            "{SHA512-CRYPT}$6$salt$hunter2",
            "it is not of the form that SHA256-CRYPT or SHA512-CRYPT has",
        ),
        ("{PBKDF2}$1$salt$0$hunter2", "it is not of the form that PBKDF2 has"),
        ("{BLF-CRYPT}$2x$10$hunter2", "it is not of the form that bcrypt has"),
        ("{ARGON2ID}$argon2id$v=19$hunter2", "it is not of the form that Argon2 has"),
        (
            "$argon2id$v=19$m=1024,t=1,p=1,keyid=hunter2$x$y",
            "it is not of the form that Argon2 has",
        ),
        ("{SCRAM-SHA-256}4096,c2FsdA==,hunter2,x", "it is not of the form that SCRAM-SHA-256 has"),
        ("$y$jA$hunter2$x", "it is not of the form that yescrypt has"),
    ];
    for (stored, said) in cases {
        let unusable = read(stored, PlainText::Refused, &Limits::default()).unwrap_err();
        assert_eq!(unusable.to_string(), said, "{stored}");
        assert!(!format!("{unusable:?}").contains("hunter2"));
    }
    let stored = read("{PLAIN}hunter2", PlainText::Allowed, &Limits::default()).unwrap();
    assert_eq!(format!("{stored:?}"), "Stored(..)");
}

#[test]
fn what_asks_for_too_much_cannot_be_said_and_never_is_wrong() {
    let hash = "C".repeat(86);
    let zeros = "0".repeat(40);
    let key = format!("{}=", "A".repeat(43));
    let cases = [
        ("{ARGON2ID}$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".to_owned(), 1 << 32),
        (
            "$argon2id$v=19$m=65536,t=4000000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2g".to_owned(),
            4_000_000_000,
        ),
        (format!("{{BLF-CRYPT}}$2y$31${}", ".".repeat(53)), 31),
        (format!("$6$rounds=999999999$salt${hash}"), 999_999_999),
        (format!("{{PBKDF2}}$1$salt$4000000000${zeros}"), 4_000_000_000),
        (format!("{{SCRAM-SHA-256}}4000000000,c2FsdA==,{key},{key}"), 4_000_000_000),
        (format!("$y$jST$salt${}", "1".repeat(43)), (128 * 32) << 31),
    ];
    for (stored, asks) in cases {
        let unusable = read(&stored, PlainText::Refused, &Limits::default()).unwrap_err();
        let Unusable::BeyondLimit { asked, .. } = unusable else {
            panic!("{stored}: {unusable}");
        };
        assert_eq!(asked, asks, "{stored}");
        assert_eq!(CannotSay::Unusable(unusable).reason(), Reason::DirectoryMisconfigured);
    }
}

#[test]
fn an_empty_or_a_very_long_password_is_always_wrong() {
    let stored = |text: &str| read(text, PlainText::Allowed, &Limits::default()).unwrap();
    // SHA-1 of nothing.
    assert!(!stored("{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=").is(&secret("")).unwrap());
    assert!(!stored("{PLAIN}").is(&secret("")).unwrap());
    let long = "x".repeat(1025);
    assert!(!stored(&format!("{{PLAIN}}{long}")).is(&secret(long.as_str())).unwrap());
    assert!(stored(&format!("{{PLAIN}}{}", &long[1..])).is(&secret(&long[1..])).unwrap());
}

#[test]
fn what_has_no_scheme_is_a_password_only_if_so_set() {
    let read = |text: &str, plain| {
        Stored::read(&secret(text), DefaultScheme::Plain, plain, &Limits::default())
    };
    assert!(read("hunter2", PlainText::Allowed).unwrap().is(&secret("hunter2")).unwrap());
    assert!(read("$x$hunter2", PlainText::Allowed).unwrap().is(&secret("$x$hunter2")).unwrap());
    assert_eq!(read("hunter2", PlainText::Refused).unwrap_err(), Unusable::PlainText);
    // A hash that was cut off does not become a password.
    assert!(read("$6$salt$cut", PlainText::Allowed).is_err());
}

/// Little enough that each case takes a millisecond.
const SMALL: Limits = Limits { memory: 1 << 18, passes: 2, bcrypt_cost: 4, rounds: 1200 };

proptest! {
    #[test]
    fn no_stored_password_breaks_anything(stored in "[ -~]{0,80}", password in "[ -~]{0,40}") {
        check_both(&stored, &password);
    }

    #[test]
    fn no_parameters_break_anything(
        start in prop::sample::select(vec![
            "$y$j", "{YESCRYPT}$y$j", "$argon2id$v=19$m=", "$argon2i$m=", "$2y$04$", "$6$rounds=", "$5$",
            "{PBKDF2}$1$", "{SCRAM-SHA-256}", "SCRAM-SHA-256$", "{SSHA.HEX}", "{CRYPT.B64}",
        ]),
        rest in "[./0-9A-Za-z$,=:]{0,70}",
    ) {
        check_both(&format!("{start}{rest}"), "password");
    }

    #[test]
    fn small_costs_of_every_kind_are_computed(
        cost in "[./0-9]", block in "[./0-9A-T]", salt in "[./]{0,20}", memory in 8_u32..300,
        passes in 0_u32..3, lanes in 0_u32..5,
    ) {
        check_both(&format!("$y$j{cost}{block}${salt}${}", "1".repeat(43)), "password");
        check_both(
            &format!("$argon2id$v=19$m={memory},t={passes},p={lanes}$c2FsdHNhbHQ$aGFzaGhhc2g"),
            "password",
        );
    }

    #[test]
    fn what_was_damaged_is_never_right_for_another(which in 0_usize..1000, place in 0_usize..1000, byte in b' '..=b'~') {
        let all: Vec<_> = vectors().collect();
        let (_, stored) = all[which % all.len()];
        let mut damaged = stored.as_bytes().to_vec();
        let place = place % damaged.len();
        damaged[place] = byte;
        if let Ok(read) = Stored::read(&secret(damaged), DefaultScheme::None, PlainText::Allowed, &SMALL) {
            prop_assert!(!read.is(&secret("another")).unwrap());
        }
    }
}

fn check_both(stored: &str, password: &str) {
    if let Ok(read) = read(stored, PlainText::Allowed, &SMALL) {
        let _ = read.is(&secret(password));
    }
}

/// bcrypt of "hunter2" and of "changed", at cost 10 by htpasswd.
fn bcrypt(password: &str) -> String {
    let found =
        vectors().find(|(known, stored)| *known == password && stored.starts_with("{BLF-CRYPT}"));
    found.unwrap().1.to_owned()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await.unwrap() })
}

/// What is known without being computed.
fn at_once(check: impl Future<Output = Verdict>) -> Option<Verdict> {
    match pin!(check).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => Some(verdict),
        Poll::Pending => None,
    }
}

#[test]
fn a_changed_password_is_refused_at_once() {
    let passwords = Passwords::start(PasswordSettings::default()).unwrap();
    let (alice, old, new) = (user("alice"), secret("hunter2"), secret("x"));
    let (before, after) = (secret(bcrypt("hunter2")), secret(bcrypt("x")));
    assert_eq!(run(passwords.check(&alice, &before, &old)), Verdict::Right);
    assert_eq!(at_once(passwords.check(&alice, &before, &old)), Some(Verdict::Right));
    assert_eq!(run(passwords.check(&alice, &after, &old)), Verdict::Wrong);
    assert_eq!(run(passwords.check(&alice, &after, &new)), Verdict::Right);
    // Nor does the memory of the new one let the old one in again.
    assert_eq!(run(passwords.check(&alice, &after, &old)), Verdict::Wrong);
}

#[test]
fn only_right_passwords_are_remembered_and_only_for_their_user() {
    let pool = PoolSettings { threads: 1, ..PoolSettings::default() };
    let passwords =
        Passwords::start(PasswordSettings { pool, ..PasswordSettings::default() }).unwrap();
    let stored = secret(bcrypt("hunter2"));
    let (right, wrong) = (secret("hunter2"), secret("hunter3"));
    let check = |name, offered| run(passwords.check(&user(name), &stored, offered));
    // While the only thread is busy, only what is remembered is known.
    let slow = secret("{SHA512-CRYPT}$6$rounds=200000$salt$x".to_owned() + &"y".repeat(85));
    let known = |name, offered| {
        let carol = user("carol");
        let mut busy = pin!(passwords.check(&carol, &slow, &wrong));
        assert!(busy.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        at_once(passwords.check(&user(name), &stored, offered))
    };
    assert_eq!(check("alice", &wrong), Verdict::Wrong);
    assert_eq!(known("alice", &wrong), None);
    assert_eq!(check("alice", &right), Verdict::Right);
    assert_eq!(known("alice", &right), Some(Verdict::Right));
    assert_eq!(known("bob", &right), None);
    passwords.forget(&user("alice"));
    assert_eq!(known("alice", &right), None);
    assert_eq!(check("alice", &right), Verdict::Right);
    passwords.forget_all();
    assert_eq!(known("alice", &right), None);
}

#[test]
fn a_full_line_is_try_later_with_a_reason_of_its_own() {
    let pool = PoolSettings { threads: 1, queue: 0, patience: DEADLINE };
    let passwords =
        Passwords::start(PasswordSettings { pool, ..PasswordSettings::default() }).unwrap();
    let verdict = run(passwords.check(&user("alice"), &secret(bcrypt("x")), &secret("x")));
    let Verdict::CannotSay(busy) = verdict else { panic!("{verdict:?}") };
    assert_eq!(busy.reason(), Reason::LimitPasswords);
    assert_eq!(busy.to_string(), "0 passwords wait to be checked already");
    // What costs nothing does not stand in line.
    let cheap = secret("{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    assert_eq!(run(passwords.check(&user("alice"), &cheap, &secret("x"))), Verdict::Wrong);
}

/// As long as a storm of logins lasts, a task that only wants its turn every millisecond gets it.
#[test]
fn a_storm_of_logins_does_not_hold_up_anything_else() {
    let pool = PoolSettings { patience: DEADLINE, ..PoolSettings::default() };
    let passwords =
        Passwords::start(PasswordSettings { pool, ..PasswordSettings::default() }).unwrap();
    let (_, stored) =
        vectors().find(|(_, stored)| stored.starts_with("{SHA512-CRYPT}$6$")).unwrap();
    let stored = secret(stored);
    let longest = run(async {
        let storm = async {
            let names: Vec<_> = (0..200).map(|number| user(&format!("u{number}"))).collect();
            let wrong = secret("wrong");
            let checks: Vec<_> =
                names.iter().map(|name| passwords.check(name, &stored, &wrong)).collect();
            for verdict in futures_util::future::join_all(checks).await {
                assert_eq!(verdict, Verdict::Wrong);
            }
        };
        let mut longest = Duration::ZERO;
        let mut storm = pin!(storm);
        loop {
            let since = Instant::now();
            tokio::select! {
                () = &mut storm => return longest,
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            longest = longest.max(since.elapsed());
        }
    });
    println!("the longest a task waited for its turn of 1 ms: {longest:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
