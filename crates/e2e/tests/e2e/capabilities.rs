//! What clients are told that can be done here: before login what every back end can, after it what
//! their own can.

use std::fs;

use e2e::{
    cases,
    door::{Door, LISTENERS, SOON, backend, everybody_at, ports, usual},
    house::{House, Kind},
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub},
};
use testkit::wait;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        before_login_the_list_is_what_all_back_ends_have,
        non_synchronizing_literals_are_offered_only_if_all_back_ends_take_them,
        a_dead_back_end_neither_shortens_the_list_nor_delays_the_start,
        a_restart_offers_what_was_heard_before_while_back_ends_are_down,
        an_operators_own_list_takes_the_place_of_what_was_heard,
        after_login_the_list_is_the_back_ends_own_without_what_misleads,
        nobody_gets_past_routing_by_unauthenticate,
        pop3_lists_what_all_back_ends_have,
        real_back_ends_are_heard_and_their_list_comes_after_login,
    ]
}

fn stub_with(before: &str) -> Stub {
    let words = ImapWords { before: before.to_owned(), ..ImapWords::default() };
    Stub::imap_with(words, |mut talk| talk.rest().map(|_| ()))
}

/// What CAPABILITY answers before login.
fn offer(door: &Door) -> Vec<String> {
    let lines = door.raw_imap().ask("c CAPABILITY", "c OK").unwrap();
    let list = lines[0].strip_prefix("* CAPABILITY ").unwrap();
    list.split(' ').map(str::to_owned).collect()
}

fn has(list: &[String], capability: &str) -> bool {
    list.iter().any(|has| has == capability)
}

/// Waits until the list has all of these, and checks that it has none of those.
fn assert_offer(door: &Door, wanted: &[&str], unwanted: &[&str]) {
    let complete = || wanted.iter().all(|wanted| has(&offer(door), wanted));
    assert!(wait::until(SOON, complete), "{:?}\n{}", offer(door), door.log_text());
    let list = offer(door);
    assert!(!unwanted.iter().any(|unwanted| has(&list, unwanted)), "{list:?}");
    // The greeting says the same.
    let mut client = testkit::scripted::Client::connect(("127.0.0.1", door.imap)).unwrap();
    let greeting = client.read_line().unwrap();
    assert!(greeting.contains(&format!("[CAPABILITY {}]", list.join(" "))), "{greeting}");
}

const OURS: [&str; 5] = ["IMAP4rev1", "SASL-IR", "ID", "AUTH=PLAIN", "STARTTLS"];

fn two(first: &Stub, second: &Stub) -> String {
    let [pop3] = ports();
    usual(&format!("{}{}", backend("a", first.port(), pop3), backend("b", second.port(), pop3)))
}

/// Both lists have been heard.
fn heard_both(door: &Door) {
    for backend in ["a", "b"] {
        let kept = door.folder().join("state/capabilities.json");
        let heard = || {
            let kept: serde_json::Value =
                serde_json::from_str(&fs::read_to_string(&kept).ok()?).ok()?;
            kept.get(backend)?.get("imap").map(|_| ())
        };
        assert!(wait::poll(SOON, heard).is_some(), "{}", door.log_text());
    }
}

fn before_login_the_list_is_what_all_back_ends_have(_: &House) {
    let first = stub_with("IMAP4rev1 LITERAL+ SASL-IR IDLE X-ONE NAMESPACE AUTH=GSSAPI STARTTLS");
    let second = stub_with("IMAP4rev1 IDLE namespace X-TWO AUTH=GSSAPI LOGIN-REFERRALS LITERAL+");
    let door = Door::open(&two(&first, &second));
    heard_both(&door);
    assert_offer(&door, &OURS, &["X-ONE", "X-TWO", "AUTH=GSSAPI", "LOGIN-REFERRALS"]);
    assert_offer(&door, &["IDLE", "NAMESPACE"], &[]);
}

fn non_synchronizing_literals_are_offered_only_if_all_back_ends_take_them(_: &House) {
    let with = || stub_with("IMAP4rev1 IMAP4rev2 LITERAL+ AUTH=PLAIN");
    let without = stub_with("IMAP4rev1 AUTH=PLAIN");
    let (first, second) = (with(), with());
    let door = Door::open(&two(&first, &second));
    heard_both(&door);
    assert_offer(&door, &["LITERAL+", "IMAP4rev2"], &["LITERAL-"]);
    let door = Door::open(&two(&first, &without));
    heard_both(&door);
    assert_offer(&door, &["LITERAL-"], &["LITERAL+", "IMAP4rev2"]);
    // What is offered before login is taken there, whatever the back end takes.
    let secret = password("literal");
    let mut client = door.raw_imap();
    let login = format!("l LOGIN {{4+}}\r\nanna {{{}+}}\r\n{secret}", secret.len());
    client.ask(&login, "l NO [AUTHENTICATIONFAILED]").unwrap();
}

fn a_dead_back_end_neither_shortens_the_list_nor_delays_the_start(_: &House) {
    let alive = stub_with("IMAP4rev1 LITERAL+ IDLE X-ALIVE AUTH=PLAIN");
    let ([dead, mute], [pop3]) = (ports(), ports());
    // One that accepts and says nothing, beside one that refuses.
    let _mute = Stub::start_at(mute, |mut talk| talk.rest().map(|_| ()));
    let config = usual(&format!(
        "{}{}{}",
        backend("a", alive.port(), pop3),
        backend("b", dead, pop3),
        backend("c", mute, pop3)
    ));
    let began = std::time::Instant::now();
    let door = Door::open(&config);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert_offer(&door, &["IDLE", "X-ALIVE", "LITERAL+"], &[]);
    let unheard = Door::open(&usual(&backend("b", dead, pop3)));
    let list = offer(&unheard);
    assert!(OURS.iter().all(|ours| has(&list, ours)) && has(&list, "LITERAL-"), "{list:?}");
    assert!(!has(&list, "LITERAL+") && !has(&list, "IDLE"), "{list:?}");
}

fn a_restart_offers_what_was_heard_before_while_back_ends_are_down(_: &House) {
    let state = testkit::posthouse::new_folder().unwrap();
    let stub = stub_with("IMAP4rev1 LITERAL+ IDLE X-KEPT AUTH=PLAIN");
    let config = format!(
        "state = \"{}\"\n{LISTENERS}{}",
        state.path().display(),
        backend("a", stub.port(), stub.port())
    );
    let mut door = Door::open(&config);
    assert_offer(&door, &["X-KEPT", "LITERAL+"], &[]);
    let kept = || fs::read_to_string(state.path().join("capabilities.json"));
    assert!(wait::until(SOON, || kept().is_ok_and(|kept| kept.contains("X-KEPT"))));
    door.terminate().unwrap();
    assert!(door.wait_exit(SOON).unwrap().success(), "{}", door.log_text());
    drop(stub);
    let door = Door::open(&config);
    let list = offer(&door);
    assert!(has(&list, "X-KEPT") && has(&list, "IDLE") && has(&list, "LITERAL+"), "{list:?}");
}

fn an_operators_own_list_takes_the_place_of_what_was_heard(_: &House) {
    let stub = stub_with("IMAP4rev1 LITERAL+ IDLE X-HEARD AUTH=PLAIN");
    let own = "tls = \"starttls\"\ncapabilities = [\"IMAP4rev1\", \"X-OWN\", \"LITERAL-\"]\n";
    let rest = backend("a", stub.port(), stub.port());
    let door = Door::open(&usual(&rest).replacen("tls = \"starttls\"\n", own, 1));
    stub.wait_heard("LOGOUT");
    assert_offer(&door, &["X-OWN", "LITERAL-"], &["X-HEARD", "IDLE", "LITERAL+"]);
}

fn after_login_the_list_is_the_back_ends_own_without_what_misleads(_: &House) {
    let words = ImapWords {
        before: "IMAP4rev1 SASL-IR AUTH=PLAIN X-BEFORE".to_owned(),
        after: "IMAP4rev1 STARTTLS IDLE AUTH=PLAIN auth=x LOGINDISABLED LOGIN-REFERRALS X-AFTER LITERAL+"
            .to_owned(),
    };
    let stub = Stub::imap_with(words, |mut talk| {
        let line = talk.line()?;
        let tag = line.split(' ').next().unwrap_or_default();
        talk.send(&format!("* CAPABILITY IMAP4rev1 X-ASKED\r\n{tag} OK done\r\n"))?;
        talk.rest().map(|_| ())
    });
    let config = usual(&(backend("a", stub.port(), stub.port()) + &everybody_at("a")));
    let door = Door::open(&config);
    let mut client = door.raw_imap();
    let lines = client.ask(&format!("l LOGIN anna {}", password("anna")), "l ").unwrap();
    let told = lines.last().unwrap();
    let list = told.strip_prefix("l OK [CAPABILITY ").unwrap_or_else(|| panic!("{told}"));
    let list = list.split_once(']').unwrap().0;
    assert_eq!(list, "IMAP4rev1 IDLE X-AFTER LITERAL+");
    // From here on the back end speaks for itself.
    let lines = client.ask("c CAPABILITY", "c OK").unwrap();
    assert_eq!(lines[0], "* CAPABILITY IMAP4rev1 X-ASKED");
}

fn nobody_gets_past_routing_by_unauthenticate(_: &House) {
    // Named before login, after it, or both; COMPRESS would hide the command from us.
    for (before, after) in
        [("", " UNAUTHENTICATE"), (" UNAUTHENTICATE", ""), (" unauthenticate", " Unauthenticate")]
    {
        let words = ImapWords {
            before: format!("IMAP4rev1 AUTH=PLAIN{before}"),
            after: format!("IMAP4rev1 IDLE COMPRESS=DEFLATE{after}"),
        };
        let stub = Stub::imap_with(words, |mut talk| {
            loop {
                let line = talk.line()?;
                let tag = line.split(' ').next().unwrap_or_default();
                talk.send(&format!("* CAPABILITY IMAP4rev1 UNAUTHENTICATE\r\n{tag} OK echo\r\n"))?;
            }
        });
        let door =
            Door::open(&usual(&(backend("a", stub.port(), stub.port()) + &everybody_at("a"))));
        let mut client = door.raw_imap();
        // Also where it comes with the login.
        let login = format!("l LOGIN anna {}\r\nu UNAUTHENTICATE", password("anna"));
        let welcome = client.ask(&login, "l OK").unwrap().concat();
        assert!(welcome.contains(" IDLE"), "{welcome}");
        let refused = client.read_line().unwrap();
        assert!(refused.starts_with("u BAD"), "{refused}");
        for command in ["v unauthenticate", "v Unauthenticate "] {
            client.ask(command, "v BAD").unwrap();
        }
        client.ask("z COMPRESS DEFLATE", "z NO").unwrap();
        let listed = client.ask("c CAPABILITY", "c OK").unwrap().concat();
        for said in [welcome, listed, offer(&door).join(" ")] {
            let said = said.to_ascii_uppercase();
            assert!(!said.contains("UNAUTHENTICATE") && !said.contains("COMPRESS"), "{said}");
        }
        let heard = stub.heard().to_ascii_uppercase();
        assert!(!heard.contains("UNAUTHENTICATE") && !heard.contains("COMPRESS"), "{heard}");
    }
}

fn pop3_lists_what_all_back_ends_have(_: &House) {
    let stub = |capa: &'static str| {
        Stub::start(move |mut talk| {
            talk.send("+OK ready\r\n")?;
            while talk.line()? == "CAPA" {
                talk.send(capa)?;
            }
            talk.send("+OK\r\n")
        })
    };
    let first = stub("+OK\r\nTOP\r\nUIDL\r\nSTLS\r\nSASL PLAIN\r\nPIPELINING\r\n.\r\n");
    let second = stub("+OK\r\nUIDL\r\nSTLS\r\nSASL PLAIN\r\nPIPELINING\r\nX-ODD\r\n.\r\n");
    let [imap] = ports();
    let rest = backend("a", imap, first.port()) + &backend("b", imap, second.port());
    let door = Door::open(&usual(&rest));
    let capa = || door.raw_pop3().ask("CAPA", ".").unwrap();
    let heard = || {
        let kept = fs::read_to_string(door.folder().join("state/capabilities.json"));
        kept.is_ok_and(|kept| kept.matches("pop3").count() == 2)
    };
    assert!(wait::until(SOON, heard), "{:?}", capa());
    let list = capa();
    for wanted in ["STLS", "USER", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"] {
        assert!(has(&list, wanted), "{wanted} in {list:?}");
    }
    assert!(!has(&list, "TOP") && !has(&list, "X-ODD"), "{list:?}");
    assert!(list.iter().any(|line| line == "SASL PLAIN LOGIN"), "{list:?}");
}

fn real_back_ends_are_heard_and_their_list_comes_after_login(house: &House) {
    let backends: String = Kind::ALL.iter().map(|kind| house.backend(*kind)).collect();
    let door = Door::open(&usual(&backends));
    for kind in Kind::ALL {
        door.wait_probed(kind.name());
    }
    let common = offer(&door);
    assert!(has(&common, "IDLE") && has(&common, "LITERAL+"), "{common:?}");
    for kind in Kind::ALL {
        let person = house.person(kind);
        door.does(&["user", "place", &person.name, kind.name()]);
        let mut client = door.imap();
        let told = client.login(&person.name, &person.password).unwrap().status;
        assert!(told.starts_with("OK [CAPABILITY IMAP4rev1 "), "{kind:?}: {told}");
        assert!(told.contains(" UIDPLUS") && told.contains(" IDLE"), "{kind:?}: {told}");
        for struck in [" AUTH=", "STARTTLS", "LOGINDISABLED", "LOGIN-REFERRALS"] {
            assert!(!told.contains(struck), "{kind:?}: {told}");
        }
        client.logout().unwrap();
    }
}
