//! How fast logins may come, how long a refusal takes, and how long we wait for somebody.

use std::time::{Duration, Instant};

use e2e::{
    cases,
    door::{Door, LISTENERS, backend, everybody_at, listening, usual},
    house::{House, Kind},
    runner::Case,
    secrets::password,
    stub::Stub,
};

use crate::limits::greeted;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        an_unknown_name_and_a_wrong_password_are_refused_alike_and_no_sooner_than_may_be,
        a_user_who_logs_in_too_often_waits,
        a_user_who_would_have_to_wait_too_long_is_refused_and_others_are_not,
        a_user_has_no_more_sessions_than_may_be,
        only_who_shows_the_password_is_told_how_many_sessions_there_are,
        a_stranger_who_guesses_keeps_himself_out_and_not_the_user,
        a_listener_that_has_its_share_does_not_keep_others_out,
        a_client_that_does_not_log_in_is_sent_away,
        a_session_without_traffic_ends,
    ]
}

/// Logins of one user that come at once before a rate of one per second counts.
const BURST: usize = 20;

fn echo() -> Stub {
    Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    })
}

fn rest(imap: &Stub, pop3: &Stub) -> String {
    backend("a", imap.port(), pop3.port()) + &everybody_at("a")
}

fn pop3() -> Stub {
    Stub::pop3(|mut talk| talk.rest().map(|_| ()))
}

fn an_unknown_name_and_a_wrong_password_are_refused_alike_and_no_sooner_than_may_be(house: &House) {
    let person = house.person(Kind::Maildir);
    let limits = "[limits]\nfailure_delay = \"300ms\"\n";
    let door = Door::open(&usual(&(limits.to_owned() + &house.backend(Kind::Maildir))));
    door.does(&["user", "place", &person.name, "maildir"]);
    let wrong = password("wrong");
    let timed = |answer: &dyn Fn() -> String| {
        let began = Instant::now();
        let answer = answer();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(300), "{answer} after {took:?}");
        answer
    };
    for _ in 0..2 {
        let known = timed(&|| door.imap_answer(&person.name, &wrong));
        let unknown = timed(&|| door.imap_answer("nobody.here", &wrong));
        assert!(known.starts_with("NO [AUTHENTICATIONFAILED]"), "{known}");
        assert_eq!(known, unknown);
        let known = timed(&|| door.pop3_answer(&person.name, &wrong));
        let unknown = timed(&|| door.pop3_answer("nobody.here", &wrong));
        assert!(known.starts_with("-ERR [AUTH]"), "{known}");
        assert_eq!(known, unknown);
    }
    // Whoever has mistyped and knows better waits no more.
    door.logged_in(&person).logout().unwrap();
}

fn a_user_who_logs_in_too_often_waits(_: &House) {
    let (imap, pop3) = (echo(), pop3());
    let door =
        Door::open(&usual(&format!("[limits]\nlogins_per_user = 1\n{}", rest(&imap, &pop3))));
    let began = Instant::now();
    for _ in 0..=BURST {
        assert!(door.imap_answer("anna", &password("anna")).starts_with("OK "));
    }
    // One second's worth more than may come at once.
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

fn a_user_who_would_have_to_wait_too_long_is_refused_and_others_are_not(_: &House) {
    let (imap, pop3) = (echo(), pop3());
    let limits = "[limits]\nlogins_per_user = 1\nlongest_login_wait = \"10ms\"\n";
    let door = Door::open(&usual(&format!("{limits}{}", rest(&imap, &pop3))));
    let answer = || door.imap_answer("anna", &password("anna"));
    let answers: Vec<_> = (0..BURST * 2).map(|_| answer()).collect();
    assert!(answers[..BURST].iter().all(|answer| answer.starts_with("OK ")), "{answers:?}");
    let refused = answers.iter().find(|answer| !answer.starts_with("OK ")).unwrap();
    assert!(refused.starts_with("NO [LIMIT]"), "{refused}");
    let line = door.line(|line| line.contains("reason=limit-logins"));
    assert!(line.contains("user=anna"), "{line}");
    // Without a rest in between somebody is always refused.
    let by_pop3 = || Some(door.pop3_answer("anna", &password("anna")));
    let refused = std::iter::from_fn(by_pop3).take(BURST).find(|answer| answer.starts_with("-ERR"));
    assert!(refused.is_some_and(|answer| answer.starts_with("-ERR [LOGIN-DELAY]")));
    assert!(door.imap_answer("bert", &password("bert")).starts_with("OK "));
    assert!(door.pop3_answer("bert", &password("bert")).starts_with("+OK"));
}

fn a_user_has_no_more_sessions_than_may_be(_: &House) {
    let (imap, pop3) = (echo(), pop3());
    let limits = "[limits]\nsessions_per_user = 2\n";
    let door = Door::open(&usual(&format!("{limits}{}", rest(&imap, &pop3))));
    let log_in = |name: &str| {
        let mut client = door.imap();
        client.login(name, &password(name)).map(|_| client)
    };
    let held = [log_in("anna").unwrap(), log_in("Anna").unwrap()];
    let refused = door.imap_answer("anna", &password("anna"));
    assert!(refused.starts_with("NO [LIMIT]"), "{refused}");
    let refused = door.pop3_answer("anna", &password("anna"));
    assert!(refused.starts_with("-ERR [SYS/TEMP]"), "{refused}");
    door.line(|line| line.contains("reason=limit-user") && line.contains("user=anna"));
    // The back ends that had let her in are left politely.
    imap.wait_heard("LOGOUT");
    pop3.wait_heard("QUIT");
    log_in("bert").unwrap();
    drop(held);
    let again = testkit::wait::until(e2e::door::SOON, || log_in("anna").is_ok());
    assert!(again, "{}", door.log_text());
}

fn only_who_shows_the_password_is_told_how_many_sessions_there_are(house: &House) {
    let person = house.person(Kind::Maildir);
    let limits = "[limits]\nsessions_per_user = 1\n";
    let rest = format!("{limits}{}{}", house.backend(Kind::Maildir), everybody_at("maildir"));
    let door = Door::open(&usual(&rest));
    let _held = door.logged_in(&person);
    let wrong = password("wrong");
    let answer = door.imap_answer(&person.name, &wrong);
    assert!(answer.starts_with("NO [AUTHENTICATIONFAILED]"), "{answer}");
    assert_eq!(door.imap_answer("nobody.here", &wrong), answer);
    let answer = door.pop3_answer(&person.name, &wrong);
    assert!(answer.starts_with("-ERR [AUTH]"), "{answer}");
    let answer = door.imap_answer(&person.name, &person.password);
    assert!(answer.starts_with("NO [LIMIT]"), "{answer}");
}

fn a_stranger_who_guesses_keeps_himself_out_and_not_the_user(_: &House) {
    let (imap, pop3) = (echo(), pop3());
    let limits = "[limits]\nlogins_per_user = 1\nlongest_login_wait = \"10ms\"\n";
    let door = Door::open(&usual(&format!("{limits}{}", rest(&imap, &pop3))));
    let answer = |from: [u8; 4]| {
        let mut wire = greeted(from.into(), door.imap).unwrap();
        wire.send(format!("l LOGIN anna {}\r\n", password("anna")).as_bytes()).unwrap();
        String::from_utf8(wire.read_line().unwrap().unwrap()).unwrap()
    };
    let refused =
        (0..BURST * 2).map(|_| answer([127, 0, 0, 66])).find(|it| !it.starts_with("l OK"));
    assert!(refused.unwrap().starts_with("l NO [LIMIT]"));
    let answer = answer([127, 0, 0, 1]);
    assert!(answer.starts_with("l OK"), "{answer}");
}

fn a_listener_that_has_its_share_does_not_keep_others_out(_: &House) {
    let (imap, pop3) = (echo(), pop3());
    let door = Door::open(&listening("connections = 2", &rest(&imap, &pop3)));
    let held = [door.raw_imap(), door.raw_imap()];
    let greeting = || {
        let mut client = testkit::scripted::Client::connect(("127.0.0.1", door.imap)).unwrap();
        client.read_line().unwrap()
    };
    let refused = greeting();
    assert!(refused.starts_with("* BYE [UNAVAILABLE]"), "{refused}");
    door.line(|line| line.contains("limit-listener"));
    assert!(door.pop3_answer("anna", &password("anna")).starts_with("+OK"));
    drop(held);
    let again = testkit::wait::until(e2e::door::SOON, || greeting().starts_with("* OK"));
    assert!(again, "{}", door.log_text());
}

fn a_client_that_does_not_log_in_is_sent_away(_: &House) {
    let (imap, pop3) = (echo(), pop3());
    let limits = "[limits]\nclient_wait = \"1s\"\n";
    let door = Door::open(&usual(&format!("{limits}{}", rest(&imap, &pop3))));
    for (imap, command, begins) in [(true, "n NOOP", "* BYE "), (false, "NOOP", "-ERR ")] {
        let began = Instant::now();
        let mut client = if imap { door.raw_imap() } else { door.raw_pop3() };
        // Some words do not help: the time is for all of them.
        client.ask(command, "").unwrap();
        let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
        assert!(end.starts_with(begins) && end.matches('\n').count() == 1, "{end}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    door.line(|line| line.contains("reason=client-timeout"));
}

fn a_session_without_traffic_ends(_: &House) {
    let (imap, pop3) = (echo(), pop3());
    let head = "state = \"state\"\n[limits]\nidle = \"1s\"\n";
    let listeners =
        LISTENERS.replacen("key = \"key.pem\"\n", "key = \"key.pem\"\nclean_bye = true\n", 1);
    let door = Door::open(&format!("{head}{listeners}{}", rest(&imap, &pop3)));
    let security = testkit::mail_clients::Security::Tls(door.trust());
    let mut blind =
        testkit::mail_clients::ImapClient::connect(("127.0.0.1", door.imaps), &security).unwrap();
    blind.login("bert", &password("bert")).unwrap();
    let mut client = door.raw_imap();
    client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
    client.ask("n NOOP", "n OK").unwrap();
    let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
    assert!(end.starts_with("* BYE ") && end.contains("Idle"), "{end}");
    assert_eq!(blind.wire().read_to_end().unwrap(), b"");
    for user in ["anna", "bert"] {
        door.line(|line| line.contains(&format!("user={user} ")) && line.contains("reason=idle"));
    }
}
