//! TLS towards back ends: what is configured is what happens, or the password is not sent.

use e2e::{
    cases,
    door::{Door, everybody_at, usual},
    house::{House, Kind, Person},
    programs::{printed, program},
    runner::Case,
    secrets::password,
    stub::{ImapWords, Stub},
};
use testkit::servers::Service;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        real_back_ends_are_reached_by_starttls_and_by_implicit_tls,
        a_back_end_is_believed_by_its_pin_alone,
        a_back_end_of_an_unknown_authority_gets_no_password,
        a_back_end_with_anothers_certificate_gets_no_password,
        a_back_end_named_by_a_host_name_is_reached_and_verified,
    ]
}

/// A back end's table with TLS to a real server.
fn backend(house: &House, kind: Kind, tls: &str, more: &str) -> String {
    let (imap, pop3) = match tls {
        "implicit" => (Service::Imaps, Service::Pop3s),
        _ => (Service::Imap, Service::Pop3),
    };
    format!(
        "[backend.a]\naddress = \"127.0.0.1\"\nimap_port = {}\npop3_port = {}\ntls = \"{tls}\"\n{more}\n{}",
        house.port(kind, imap),
        house.port(kind, pop3),
        everybody_at("a"),
    )
}

fn assert_let_in(door: &Door, person: &Person) {
    let answer = door.imap_answer(&person.name, &person.password);
    assert!(answer.starts_with("OK "), "{answer}\n{}", door.log_text());
    let answer = door.pop3_answer(&person.name, &person.password);
    assert!(answer.starts_with("+OK"), "{answer}\n{}", door.log_text());
}

fn assert_unavailable(door: &Door, person: &Person) {
    let answer = door.imap_answer(&person.name, &person.password);
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}\n{}", door.log_text());
    let answer = door.pop3_answer(&person.name, &person.password);
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}\n{}", door.log_text());
    door.line(|line| line.contains("login refused") && line.contains("reason=backend-tls"));
}

fn real_back_ends_are_reached_by_starttls_and_by_implicit_tls(house: &House) {
    for kind in Kind::ALL {
        let person = house.person(kind);
        let ca = format!("ca_file = \"{}\"", house.authority(kind).display());
        for tls in ["starttls", "implicit"] {
            let door = Door::open(&usual(&backend(house, kind, tls, &ca)));
            assert_let_in(&door, &person);
            let mut client = door.logged_in(&person);
            client.append("INBOX", b"From: x@example.org\r\nSubject: s\r\n\r\nb\r\n").unwrap();
            client.select("INBOX").unwrap();
            client.fetch(1).unwrap();
            let left = client.logout();
            // Cyrus ends without close_notify: what was said whole is no loss.
            assert!(left.is_ok(), "{kind:?} {tls}: {left:?}\n{}", door.log_text());
        }
    }
}

/// SHA-256 of a back end's certificate, as OpenSSL writes it.
fn fingerprint(house: &House, kind: Kind) -> String {
    let mut command = program("openssl");
    command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let line = printed(&command.arg(house.certificate(kind)).output().unwrap());
    line.trim().split_once('=').unwrap().1.to_owned()
}

fn a_back_end_is_believed_by_its_pin_alone(house: &House) {
    let kind = Kind::Maildir;
    let person = house.person(kind);
    let right = fingerprint(house, kind);
    let wrong = right.chars().rev().collect::<String>();
    for tls in ["starttls", "implicit"] {
        let pin = format!("pin_sha256 = \"{right}\"");
        assert_let_in(&Door::open(&usual(&backend(house, kind, tls, &pin))), &person);
        let pins = format!("pin_sha256 = [\"{wrong}\", \"{right}\"]");
        assert_let_in(&Door::open(&usual(&backend(house, kind, tls, &pins))), &person);
        let pin = format!("pin_sha256 = \"{wrong}\"");
        assert_unavailable(&Door::open(&usual(&backend(house, kind, tls, &pin))), &person);
    }
}

fn a_back_end_of_an_unknown_authority_gets_no_password(house: &House) {
    let kind = Kind::Maildir;
    let person = house.person(kind);
    let other = format!("ca_file = \"{}\"", house.authority(Kind::Sdbox).display());
    for tls in ["starttls", "implicit"] {
        for trust in ["", &other] {
            assert_unavailable(&Door::open(&usual(&backend(house, kind, tls, trust))), &person);
        }
        let nothing = "verify = false";
        assert_let_in(&Door::open(&usual(&backend(house, kind, tls, nothing))), &person);
    }
}

fn a_back_end_with_anothers_certificate_gets_no_password(_: &House) {
    let stub = Stub::start_as(&["other.example"], |talk| {
        let mut talk = talk.start_tls()?;
        talk.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")?;
        talk.imap_login(&ImapWords::default()).map(|_| ())
    });
    let port = stub.port();
    let config = usual(&format!(
        "[backend.a]\naddress = \"127.0.0.1\"\nimap_port = {port}\npop3_port = {port}\n\
         ca_file = \"{}\"\n{}",
        stub.certificates().ca.display(),
        everybody_at("a"),
    ));
    let door = Door::open(&config);
    let person = Person { name: "anna".to_owned(), password: password("named") };
    assert_unavailable(&door, &person);
    assert_eq!(stub.heard(), "");
}

fn a_back_end_named_by_a_host_name_is_reached_and_verified(house: &House) {
    let kind = Kind::Maildir;
    let person = house.person(kind);
    let ca = format!("ca_file = \"{}\"", house.authority(kind).display());
    // A host that refuses comes first and is passed over.
    for hosts in ["\"localhost\"", "[\"127.0.0.9\", \"localhost\"]"] {
        let table = backend(house, kind, "implicit", &ca).replace("\"127.0.0.1\"", hosts);
        assert_let_in(&Door::open(&usual(&table)), &person);
    }
}
