//! What is sent in clear behind STARTTLS counts for nothing, from clients and from back ends.

use std::io;

use e2e::{
    cases,
    door::{Door, backend, everybody_at, usual},
    house::{House, Kind},
    runner::Case,
    secrets::{password, showing_secrets},
    stub::{ImapWords, Stub, Talk},
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_clients_bytes_behind_starttls_are_never_read,
        a_clients_bytes_behind_stls_are_never_read,
        what_a_client_said_before_tls_is_forgotten,
        a_back_ends_bytes_behind_its_ok_to_starttls_end_the_login,
        a_back_ends_bytes_behind_its_ok_to_stls_end_the_login,
        a_back_end_that_greets_with_preauth_before_tls_gets_no_password,
        a_back_end_without_starttls_gets_no_password,
        a_back_end_that_refuses_starttls_gets_no_password,
        what_a_back_end_said_before_tls_is_forgotten,
    ]
}

fn open(house: &House) -> Door {
    let kind = Kind::Maildir;
    Door::open(&usual(&format!("{}{}", house.backend(kind), everybody_at(kind.name()))))
}

/// All that the client gets in answer to the command that starts TLS with something behind it. Whether
/// the door answers or closes is its choice; nothing of what stands behind may ever be answered.
fn inject(mut client: Client, start: &str, behind: &str, door: &Door) {
    client.send(format!("{start}\r\n{behind}")).unwrap();
    let mut answered = String::new();
    while let Ok(line) = client.read_line() {
        answered += &format!("{line}\n");
    }
    for forbidden in ["i1", "NOOP", "logged", "Logged", "INBOX"] {
        assert!(!answered.contains(forbidden), "{forbidden} in {answered:?}");
    }
    door.line(|line| line.contains("client-starttls-injection"));
}

fn a_clients_bytes_behind_starttls_are_never_read(house: &House) {
    let door = open(house);
    let person = house.person(Kind::Maildir);
    let login = format!("i1 LOGIN {} {}\r\n", person.name, person.password);
    for behind in ["i1 NOOP\r\n", &login, "i", "\r\n", "\x16\x03\x01"] {
        let mut client = door.raw_imap();
        if behind == "\x16\x03\x01" {
            // A client hello in the same packet is what an honest client may send.
            client.set_deadline(std::time::Duration::from_millis(300));
            client.send(format!("s STARTTLS\r\n{behind}")).unwrap();
            continue;
        }
        inject(client, "s STARTTLS", behind, &door);
    }
}

fn a_clients_bytes_behind_stls_are_never_read(house: &House) {
    let door = open(house);
    let person = house.person(Kind::Maildir);
    let login = format!("USER {}\r\nPASS {}\r\n", person.name, person.password);
    for behind in ["NOOP\r\n", &login, "C", "\r\n"] {
        let client = door.raw_pop3();
        inject(client, "STLS", behind, &door);
    }
}

fn what_a_client_said_before_tls_is_forgotten(house: &House) {
    let door = open(house);
    let person = house.person(Kind::Maildir);
    let mut client = door.raw_pop3();
    client.ask(&format!("USER {}", person.name), "+OK").unwrap();
    client.ask("STLS", "+OK").unwrap();
    let mut client = client.start_tls("localhost", &door.trust()).unwrap();
    let answer = client.ask(&format!("PASS {}", person.password), "-ERR").unwrap();
    assert_eq!(answer.len(), 1);
    client.ask("STLS", "-ERR").unwrap();
    client.ask(&format!("USER {}", person.name), "+OK").unwrap();
    client.ask(&format!("PASS {}", person.password), "+OK").unwrap();
    let mut client = door.raw_imap();
    client.ask("s STARTTLS", "s OK").unwrap();
    let mut client = client.start_tls("localhost", &door.trust()).unwrap();
    client.ask("t STARTTLS", "t BAD").unwrap();
    let listed = client.ask("c CAPABILITY", "c OK").unwrap().join(" ");
    assert!(!listed.contains("STARTTLS") && listed.contains("AUTH=PLAIN"), "{listed}");
    client.ask(&format!("l LOGIN {} {}", person.name, person.password), "l OK").unwrap();
}

/// A door whose back end asks for TLS by STARTTLS, and the two stubs that play it.
fn before(
    imap: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static,
    pop3: impl Fn(Talk) -> io::Result<()> + Send + Sync + 'static,
) -> (Door, Stub, Stub) {
    let (imap, pop3) = (Stub::start(imap), Stub::start(pop3));
    let backend = backend("a", imap.port(), pop3.port()).replace("\"none\"", "\"starttls\"");
    // Whatever certificate it has: what comes before TLS is what counts here.
    let config = usual(&format!("{backend}verify = false\n{}", everybody_at("a")));
    (Door::open(&config), imap, pop3)
}

/// Nobody is let in, the reason is this one, and no stub has heard the password or the name.
fn assert_refused(door: &Door, stubs: [&Stub; 2], reason: &str) {
    let (name, secret) = ("anna.secret", password("kept"));
    let answer = door.imap_answer(name, &secret);
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}\n{}", door.log_text());
    let answer = door.pop3_answer(name, &secret);
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}\n{}", door.log_text());
    for protocol in ["imap", "pop3"] {
        door.line(|line| {
            let all = ["login refused", reason, protocol];
            all.iter().all(|word| line.contains(word))
        });
    }
    for stub in stubs {
        let heard = stub.heard();
        let login = ["LOGIN", "AUTH", "USER", "PASS", name, &secret];
        assert!(!login.iter().any(|word| heard.contains(word)), "{heard:?}");
        assert!(showing_secrets(&[heard]).is_empty());
    }
}

const GREETING: &str = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] ready\r\n";

/// Answers STARTTLS with this, and goes on under TLS as if nothing had been.
fn imap_that_answers(starttls: &'static str) -> impl Fn(Talk) -> io::Result<()> {
    move |mut talk| {
        talk.send(GREETING)?;
        loop {
            let line = talk.line()?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            match command {
                "CAPABILITY" => {
                    talk.send(&format!("* CAPABILITY IMAP4rev1 STARTTLS\r\n{tag} OK\r\n"))?;
                }
                "STARTTLS" => {
                    talk.send(&starttls.replace("TAG", tag))?;
                    break;
                }
                _ => talk.send(&format!("{tag} BAD what\r\n"))?,
            }
        }
        let mut talk = talk.start_tls()?;
        talk.imap_login(&ImapWords::default())?;
        talk.rest().map(|_| ())
    }
}

/// Answers STLS with this, and goes on under TLS as if nothing had been.
fn pop3_that_answers(stls: &'static str) -> impl Fn(Talk) -> io::Result<()> {
    move |mut talk| {
        talk.send("+OK ready\r\n")?;
        while talk.line()? != "STLS" {
            talk.send("+OK\r\nSTLS\r\nUSER\r\n.\r\n")?;
        }
        talk.send(stls)?;
        let mut talk = talk.start_tls()?;
        talk.pop3_login()?;
        talk.rest().map(|_| ())
    }
}

fn a_back_ends_bytes_behind_its_ok_to_starttls_end_the_login(_: &House) {
    let (door, imap, pop3) = before(
        imap_that_answers("TAG OK go\r\n* CAPABILITY IMAP4rev1 X-INJECTED\r\nph4 OK in\r\n"),
        pop3_that_answers("+OK go\r\n+OK injected\r\n+OK in\r\n"),
    );
    assert_refused(&door, [&imap, &pop3], "backend-starttls-injection");
}

fn a_back_ends_bytes_behind_its_ok_to_stls_end_the_login(_: &House) {
    let (door, imap, pop3) =
        before(imap_that_answers("TAG OK go\r\n*"), pop3_that_answers("+OK go\r\n+"));
    assert_refused(&door, [&imap, &pop3], "backend-starttls-injection");
}

fn a_back_end_that_greets_with_preauth_before_tls_gets_no_password(_: &House) {
    let (door, imap, _pop3) = before(
        |mut talk| {
            talk.send("* PREAUTH [CAPABILITY IMAP4rev1] come in\r\n")?;
            talk.rest().map(|_| ())
        },
        pop3_that_answers("-ERR no\r\n"),
    );
    let secret = password("kept");
    let answer = door.imap_answer("anna", &secret);
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    door.line(|line| line.contains("login refused") && line.contains("backend-preauth"));
    assert!(!imap.heard().contains("anna") && !imap.heard().contains(&secret));
}

fn a_back_end_without_starttls_gets_no_password(_: &House) {
    let (door, imap, pop3) = before(
        |mut talk| {
            talk.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")?;
            talk.imap_login(&ImapWords::default()).map(|_| ())
        },
        |mut talk| {
            talk.send("+OK ready\r\n")?;
            talk.pop3_login().map(|_| ())
        },
    );
    assert_refused(&door, [&imap, &pop3], "backend-starttls");
}

fn a_back_end_that_refuses_starttls_gets_no_password(_: &House) {
    let (door, imap, pop3) =
        before(imap_that_answers("TAG NO not now\r\n"), pop3_that_answers("-ERR not now\r\n"));
    assert_refused(&door, [&imap, &pop3], "backend-starttls");
}

fn what_a_back_end_said_before_tls_is_forgotten(_: &House) {
    let (door, imap, _pop3) = before(
        |mut talk| {
            talk.send("* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR X-CLEAR] hi\r\n")?;
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK go\r\n"))?;
            let mut talk = talk.start_tls()?;
            // Under TLS it has neither SASL-IR nor AUTH=PLAIN.
            let before = "IMAP4rev1 X-UNDER-TLS".to_owned();
            talk.imap_login(&ImapWords { before, ..ImapWords::default() })?;
            talk.rest().map(|_| ())
        },
        pop3_that_answers("-ERR no\r\n"),
    );
    let answer = door.imap_answer("anna", &password("anna"));
    assert!(answer.starts_with("OK "), "{answer}\n{}", door.log_text());
    assert!(imap.heard().contains("LOGIN ") && !imap.heard().contains("AUTHENTICATE"));
}
