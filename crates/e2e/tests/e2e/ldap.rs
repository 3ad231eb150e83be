//! Users in a real slapd: found, judged by a bind, hostile, down, hanging, refusing us.

use std::time::{Duration, Instant};

use e2e::{
    cases,
    door::{Door, SOON, backend, usual},
    house::{House, Kind},
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub},
};
use testkit::{
    servers::slapd::{PEOPLE, READER, READER_PASSWORD, Slapd},
    wait,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        users_of_a_directory_reach_their_own_servers,
        a_bind_judges_passwords_and_no_empty_one_is_tried,
        a_name_without_a_search_is_bound_to_and_read_by_its_owner,
        tls_and_our_certificate_lead_in_and_a_wrong_authority_does_not,
        no_name_says_more_than_a_name,
        hostile_entries_harm_only_their_user,
        a_base_that_is_not_there_is_no_unknown_user,
        credentials_that_are_refused_are_no_unknown_user,
        a_directory_that_is_down_at_start_is_asked_when_it_comes,
        a_directory_that_stops_or_hangs_refuses_nobody,
        while_a_server_hangs_the_next_one_answers,
    ]
}

const KNOWS_NOT: &str = "NO [AUTHENTICATIONFAILED]";
const CANNOT_SAY: &str = "NO [UNAVAILABLE]";
const SEARCH: &str = "filter = \"(uid={user})\"\nattributes = { backend = \"mailHost\" }\n";

/// A source at these ports, without TLS, as the service.
fn source(ports: &[u16], keys: &str) -> String {
    let addresses: Vec<_> = ports.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let base = if keys.contains("base =") || keys.starts_with("dn =") {
        String::new()
    } else {
        format!("base = \"{PEOPLE}\"\n")
    };
    let tls = if keys.contains("tls =") { "" } else { "tls = \"none\"\n" };
    let who = if keys.contains("bind_dn =") || keys.contains("external") {
        String::new()
    } else {
        format!("bind_dn = \"{READER}\"\npassword = \"{READER_PASSWORD}\"\n")
    };
    let addresses = addresses.join(", ");
    format!("[[directory]]\nsource = \"ldap\"\naddress = [{addresses}]\n{tls}{who}{base}{keys}")
}

/// A back end that lets in whom we name.
fn trusting() -> (Stub, String) {
    let stub = Stub::imap_with(ImapWords::default(), |mut talk| talk.rest().map(drop));
    let table = backend("a", stub.port(), stub.port()) + "login = \"trusted\"\n";
    (stub, table)
}

/// A back end that lets in everybody.
fn open_to_all() -> (Stub, String) {
    let stub = Stub::imap_with(ImapWords::default(), |mut talk| talk.rest().map(drop));
    let table = backend("a", stub.port(), stub.port());
    (stub, table)
}

fn answered(door: &Door, name: &str, password: &str, expected: &str) {
    let answer = door.imap_answer(name, password);
    assert!(answer.starts_with(expected), "{name}: {answer}; the log:\n{}", door.log_text());
}

/// Nothing is remembered.
const FORGETFUL: &str =
    "[directory.cache]\nfound = \"0s\"\nnot_found = \"0s\"\nstale_for = \"0s\"\n";

fn users_of_a_directory_reach_their_own_servers(house: &House) {
    let slapd = house.slapd();
    let mut rest = String::new();
    let kinds = [Kind::Maildir, Kind::Sdbox];
    let people = kinds.map(|kind| {
        rest += &house.backend(kind);
        let person = house.person(kind);
        slapd.add_user(&person.name, "other", &[("mailHost", kind.name())]).unwrap();
        person
    });
    let door = Door::open(&usual(&(rest + &source(&[slapd.ldap_port()], SEARCH))));
    for person in &people {
        door.logged_in(person);
        assert!(door.pop3_answer(&person.name, &person.password).starts_with("+OK"));
        answered(&door, &person.name, "wrong", KNOWS_NOT);
    }
    answered(&door, "nobody.at.all", "wrong", KNOWS_NOT);
    let checked = door.does(&["check"]);
    assert!(checked.contains(READER) && !checked.contains(READER_PASSWORD), "{checked}");
}

fn a_bind_judges_passwords_and_no_empty_one_is_tried(house: &House) {
    let (slapd, (_stub, table)) = (house.slapd(), trusting());
    slapd.add_user("bound", &password("bound"), &[("mailHost", "a")]).unwrap();
    let keys = format!("{SEARCH}bind = true\n");
    let door = Door::open(&usual(&(table + &source(&[slapd.ldap_port()], &keys))));
    for _ in 0..2 {
        answered(&door, "bound", &password("bound"), "OK");
        answered(&door, "bound", &password("other"), KNOWS_NOT);
        answered(&door, "nobody", &password("bound"), KNOWS_NOT);
        // RFC 4513 section 5.1.2: this would succeed.
        answered(&door, "bound", "", KNOWS_NOT);
    }
    slapd
        .load(&format!(
            "dn: uid=bound,{PEOPLE}\nchangetype: modify\nreplace: userPassword\nuserPassword: {}\n",
            password("changed")
        ))
        .unwrap();
    door.does(&["cache", "flush", "bound"]);
    answered(&door, "bound", &password("bound"), KNOWS_NOT);
    answered(&door, "bound", &password("changed"), "OK");
}

fn a_name_without_a_search_is_bound_to_and_read_by_its_owner(house: &House) {
    let (slapd, (_stub, table)) = (house.slapd(), trusting());
    slapd.add_user("owner", &password("owner"), &[("mailHost", "a")]).unwrap();
    let keys = format!(
        "dn = \"uid={{local}},{PEOPLE}\"\nbind = true\nattributes = {{ backend = \"mailHost\" }}\n"
    );
    // Nobody reads there without a bind: only he himself can have told.
    let anonymous = source(&[slapd.ldap_port()], &keys)
        .replace(&format!("bind_dn = \"{READER}\"\npassword = \"{READER_PASSWORD}\"\n"), "");
    for source in [anonymous, source(&[slapd.ldap_port()], &keys)] {
        let door = Door::open(&usual(&(table.clone() + &source)));
        answered(&door, "owner@example.org", &password("owner"), "OK");
        answered(&door, "owner", &password("other"), KNOWS_NOT);
        answered(&door, "nobody", &password("owner"), KNOWS_NOT);
        answered(&door, "owner,ou=people", &password("owner"), KNOWS_NOT);
    }
}

fn tls_and_our_certificate_lead_in_and_a_wrong_authority_does_not(house: &House) {
    let (slapd, (_stub, table)) = (house.slapd(), open_to_all());
    slapd.add_user("private", "x", &[("mailHost", "a")]).unwrap();
    let own = slapd.client_certificate("posthouse").unwrap();
    let ca = format!("ca_file = \"{}\"\n", slapd.certificates().ca.display());
    let wrong = format!("ca_file = \"{}\"\n", house.authority(Kind::Maildir).display());
    let external = format!(
        "external = true\ncertificate = \"{}\"\nkey = \"{}\"\n",
        own.cert.display(),
        own.key.display()
    );
    let (starttls, implicit) = ("tls = \"starttls\"\n", "tls = \"implicit\"\n");
    for (port, tls, authority, who, expected) in [
        (slapd.ldap_port(), starttls, &ca, "", "OK"),
        (slapd.ldaps_port(), implicit, &ca, "", "OK"),
        (slapd.ldap_port(), starttls, &ca, &*external, "OK"),
        (slapd.ldaps_port(), implicit, &ca, &external, "OK"),
        (slapd.ldap_port(), starttls, &wrong, "", CANNOT_SAY),
        (slapd.ldaps_port(), implicit, &wrong, "", CANNOT_SAY),
        // Without what stands there, it is no TLS at all.
        (slapd.ldap_port(), implicit, &ca, "", CANNOT_SAY),
    ] {
        let keys = format!("{tls}{authority}{who}{SEARCH}");
        let door = Door::open(&usual(&(table.clone() + &source(&[port], &keys))));
        answered(&door, "private", &password("private"), expected);
    }
}

fn no_name_says_more_than_a_name(house: &House) {
    let (slapd, (_stub, table)) = (house.slapd(), open_to_all());
    slapd.add_user("victim", "x", &[("mailHost", "a")]).unwrap();
    let odd = ["o*d(d)", "o\\2ad", "o,ou=d d", "#o+d=d\"", "ö<d>;"];
    for name in odd {
        slapd.add_user(name, "x", &[("mailHost", "a")]).unwrap();
    }
    let named =
        format!("dn = \"uid={{user}},{PEOPLE}\"\nattributes = {{ backend = \"mailHost\" }}\n");
    for keys in [SEARCH, &named] {
        let door = Door::open(&usual(&(table.clone() + &source(&[slapd.ldap_port()], keys))));
        for name in odd {
            answered(&door, name, &password("odd"), "OK");
        }
        for name in [
            "*",
            "v*",
            "victim)(uid=*",
            "*)(|(uid=*",
            "victim))(|(uid=victim",
            "\\76ictim",
            "victim,ou=people",
            "x+uid=victim",
            "victim\\00",
        ] {
            answered(&door, name, &password("victim"), KNOWS_NOT);
        }
    }
}

fn hostile_entries_harm_only_their_user(house: &House) {
    let (slapd, (_stub, table)) = (house.slapd(), open_to_all());
    let huge = "x".repeat(1 << 20);
    slapd.add_user("hostile.huge", "x", &[("mailHost", &huge)]).unwrap();
    slapd.add_user("hostile.lines", "x", &[("mailHost", "a\r\nDELETE")]).unwrap();
    slapd.add_user("hostile.nowhere", "x", &[("mailHost", "no such place")]).unwrap();
    slapd.add_user("hostile.without", "x", &[]).unwrap();
    slapd.add_user("hostile.twice", "x", &[("mailHost", "a"), ("uid", "hostile.other")]).unwrap();
    slapd.add_user("hostile.other", "x", &[("mailHost", "a")]).unwrap();
    slapd.add_user("harmless", "x", &[("mailHost", "a")]).unwrap();
    let door = Door::open(&usual(&(table + &source(&[slapd.ldap_port()], SEARCH))));
    for name in ["huge", "lines", "nowhere", "without", "other"] {
        answered(&door, &format!("hostile.{name}"), &password("x"), CANNOT_SAY);
        answered(&door, "harmless", &password("x"), "OK");
    }
    door.line(|line| line.contains("several entries fit"));
    door.line(|line| line.contains("has 1048576 bytes"));
    assert!(!door.log_text().contains("xxxxxxxx"));
}

fn a_base_that_is_not_there_is_no_unknown_user(house: &House) {
    let (slapd, (_stub, table)) = (house.slapd(), open_to_all());
    let opened = |base: &str| {
        let keys = format!("base = \"{base}\"\n{SEARCH}");
        Door::open(&usual(&(table.clone() + &source(&[slapd.ldap_port()], &keys))))
    };
    let wrong = opened("ou=poeple,dc=example,dc=org");
    answered(&wrong, "anybody", &password("x"), CANNOT_SAY);
    wrong.line(|line| line.contains("the base of the search is not there"));
    // Here it is the user's own part that is not there.
    let by_domain = opened("ou={domain},dc=example,dc=org");
    slapd.add_user("by.domain@people", "x", &[("mailHost", "a")]).unwrap();
    answered(&by_domain, "by.domain@people", &password("x"), "OK");
    answered(&by_domain, "by.domain@nowhere", &password("x"), KNOWS_NOT);
    let hidden = opened("ou={domain},dc=example,dc=com");
    answered(&hidden, "by.domain@people", &password("x"), CANNOT_SAY);
}

fn credentials_that_are_refused_are_no_unknown_user(house: &House) {
    let (slapd, (_stub, table)) = (house.slapd(), open_to_all());
    slapd.add_user("locked.out", "x", &[("mailHost", "a")]).unwrap();
    let keys = format!("bind_dn = \"{READER}\"\npassword = \"{}\"\n{SEARCH}", password("wrong"));
    let door = Door::open(&usual(&(table + &source(&[slapd.ldap_port()], &keys))));
    for name in ["locked.out", "nobody"] {
        answered(&door, name, &password("x"), CANNOT_SAY);
    }
    door.line(|line| line.contains("it refuses us") && line.contains("invalidCredentials"));
}

fn a_directory_that_is_down_at_start_is_asked_when_it_comes(_: &House) {
    let mut slapd = Slapd::start("").unwrap();
    slapd.add_user("early", "x", &[("mailHost", "a")]).unwrap();
    slapd.stop();
    let (_stub, table) = open_to_all();
    let sources = source(&[slapd.ldap_port()], SEARCH);
    let door = Door::open(&usual(&(table + &sources + FORGETFUL)));
    answered(&door, "early", &password("x"), CANNOT_SAY);
    answered(&door, "nobody", &password("x"), CANNOT_SAY);
    slapd.start_again().unwrap();
    let comes = || door.imap_answer("early", &password("x")).starts_with("OK");
    assert!(wait::until(SOON, comes), "{}", door.log_text());
    answered(&door, "nobody", &password("x"), KNOWS_NOT);
    // What it has kept open is closed at the other end; nobody notices.
    slapd.stop();
    slapd.start_again().unwrap();
    answered(&door, "early", &password("x"), "OK");
}

fn a_directory_that_stops_or_hangs_refuses_nobody(_: &House) {
    let mut slapd = Slapd::start("").unwrap();
    slapd.add_user("steady", "x", &[("mailHost", "a")]).unwrap();
    slapd.add_user("late", "x", &[("mailHost", "a")]).unwrap();
    let (_stub, table) = open_to_all();
    let keys = format!("timeout = \"300ms\"\n{SEARCH}");
    let cache = "[directory.cache]\nfound = \"0s\"\nnot_found = \"0s\"\n";
    let door = Door::open(&usual(&(table + &source(&[slapd.ldap_port()], &keys) + cache)));
    answered(&door, "steady", &password("x"), "OK");
    slapd.pause().unwrap();
    // Where he is was said before; of the others nothing was.
    for _ in 0..3 {
        answered(&door, "steady", &password("x"), "OK");
        answered(&door, "late", &password("x"), CANNOT_SAY);
        answered(&door, "nobody", &password("x"), CANNOT_SAY);
    }
    door.line(|line| line.contains("no answer within 300ms"));
    slapd.resume().unwrap();
    let comes = || door.imap_answer("late", &password("x")).starts_with("OK");
    assert!(wait::until(SOON, comes), "{}", door.log_text());
    answered(&door, "nobody", &password("x"), KNOWS_NOT);
    slapd.stop();
    answered(&door, "steady", &password("x"), "OK");
    answered(&door, "nobody", &password("x"), CANNOT_SAY);
}

fn while_a_server_hangs_the_next_one_answers(house: &House) {
    let hanging = Slapd::start("").unwrap();
    let (slapd, (_stub, table)) = (house.slapd(), open_to_all());
    slapd.add_user("second", "x", &[("mailHost", "a")]).unwrap();
    hanging.add_user("second", "x", &[("mailHost", "a")]).unwrap();
    let keys = format!("timeout = \"1s\"\n{SEARCH}");
    let both = source(&[hanging.ldap_port(), slapd.ldap_port()], &keys);
    let door = Door::open(&usual(&(table + &both + FORGETFUL)));
    answered(&door, "second", &password("x"), "OK");
    hanging.pause().unwrap();
    answered(&door, "second", &password("x"), "OK");
    // It is not waited for each time.
    let started = Instant::now();
    let mut slow = 0;
    for _ in 0..10 {
        let before = Instant::now();
        answered(&door, "second", &password("x"), "OK");
        slow += usize::from(before.elapsed() >= Duration::from_secs(1));
    }
    assert!(slow <= 4, "{slow} of 10 waited, in {:?}", started.elapsed());
    answered(&door, "nobody", &password("x"), KNOWS_NOT);
    hanging.resume().unwrap();
}
