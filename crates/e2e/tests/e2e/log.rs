//! What the log says: one line for each end and each failed login, all fields, and never a secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{
    cases,
    door::{Door, everybody_at},
    house::{House, Kind},
    runner::Case,
    secrets::{password, showing_secrets},
};
use serde_json::Value;
use testkit::mail_clients::{ImapClient, Pop3Client, Security};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        the_end_of_a_connection_is_one_line_with_all_fields,
        in_json_every_line_is_one_object_with_the_same_fields,
        every_failed_login_is_a_line_and_a_good_one_is_none,
        no_password_is_ever_logged,
    ]
}

const ENDED: &str = "session ended";
const REFUSED: &str = "login refused";

fn opened(house: &House, head: &str) -> Door {
    let rest = house.backend(Kind::Maildir) + &everybody_at("maildir");
    Door::open(&format!("state = \"state\"\n{head}{}{rest}", e2e::door::LISTENERS))
}

/// A field of a text line.
fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let (_, rest) =
        line.split_once(&format!(" {name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    rest.split(' ').next().unwrap()
}

fn the_end_of_a_connection_is_one_line_with_all_fields(house: &House) {
    let door = opened(house, "");
    let person = house.person(Kind::Maildir);
    let security = Security::Tls(door.trust());
    let mut client = ImapClient::connect(("127.0.0.1", door.imaps), &security).unwrap();
    let address = client.wire().tcp().local_addr().unwrap().to_string();
    client.login(&person.name.to_uppercase(), &person.password).unwrap();
    let sent = "a2 NOOP\r\na3 LOGOUT\r\n".len();
    client.command("NOOP").unwrap();
    client.logout().unwrap();
    let line = door.line(|line| line.contains(ENDED));
    assert!(line.contains(" info "), "{line}");
    for (name, wanted) in [
        ("protocol", "imap"),
        ("user", person.name.as_str()),
        ("client", &address),
        ("backend", "maildir"),
        ("in", &sent.to_string()),
        ("reason", "backend-closed"),
    ] {
        assert_eq!(field(&line, name), wanted, "{line}");
    }
    assert!(field(&line, "tls").contains("1.3"), "{line}");
    assert!(field(&line, "out").parse::<u64>().unwrap() > 20, "{line}");
    assert!(field(&line, "seconds").parse::<u64>().unwrap() < 60, "{line}");
    assert!(!field(&line, "session").is_empty(), "{line}");
    let mut client = door.pop3();
    client.login(&person.name, &person.password).unwrap();
    client.quit().unwrap();
    let line = door.line(|line| line.contains(ENDED) && line.contains("protocol=pop3"));
    assert_eq!(field(&line, "tls"), "none");
    // Whoever leaves without a login is a line too.
    door.raw_imap().ask("l LOGOUT", "l OK").unwrap();
    let line = door.line(|line| line.contains("reason=no-login"));
    assert!(line.contains("client=127.0.0.1:"), "{line}");
    assert_eq!(door.log_lines().iter().filter(|line| line.contains(ENDED)).count(), 2);
}

fn in_json_every_line_is_one_object_with_the_same_fields(house: &House) {
    let door = opened(house, "[log]\nformat = \"json\"\n");
    let person = house.person(Kind::Maildir);
    let wrong = password("wrong \"quoted\"\\");
    assert!(door.imap_answer("somebody \u{1f511}", &wrong).starts_with("NO "));
    door.logged_in(&person).logout().unwrap();
    door.line(|line| line.contains(ENDED));
    let lines: Vec<Value> = door
        .log_lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let find = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap();
    let ended = find(ENDED);
    assert_eq!(ended["user"], person.name);
    assert_eq!(ended["backend"], "maildir");
    assert_eq!(ended["protocol"], "imap");
    assert_eq!(ended["tls"], "none");
    assert_eq!(ended["reason"], "backend-closed");
    assert_eq!(ended["level"], "info");
    for number in ["in", "out", "seconds"] {
        assert!(ended[number].is_u64(), "{ended}");
    }
    for text in ["time", "session", "client"] {
        assert!(ended[text].is_string(), "{ended}");
    }
    let refused = find(REFUSED);
    assert_eq!(refused["user"], "somebody \u{1f511}");
    assert_eq!(refused["reason"], "wrong-password");
}

fn every_failed_login_is_a_line_and_a_good_one_is_none(house: &House) {
    let door = opened(house, "");
    let person = house.person(Kind::Maildir);
    let mut client = door.raw_imap();
    for number in 0..3 {
        let login = format!("l LOGIN {} {}", person.name, password(&format!("wrong-{number}")));
        client.ask(&login, "l NO").unwrap();
    }
    client.ask(&format!("l LOGIN {} {}", person.name, person.password), "l OK").unwrap();
    client.ask("x LOGOUT", "x OK").unwrap();
    let mut client = door.raw_pop3();
    client.ask(&format!("USER {}", person.name), "+OK").unwrap();
    client.ask(&format!("PASS {}", password("wrong")), "-ERR").unwrap();
    client.ask("QUIT", "+OK").unwrap();
    door.line(|line| line.contains(ENDED));
    door.line(|line| line.contains("protocol=pop3") && line.contains("no-login"));
    let lines = door.log_lines();
    let refused: Vec<_> = lines.iter().filter(|line| line.contains(REFUSED)).collect();
    assert_eq!(refused.len(), 4, "{refused:#?}");
    for line in &refused {
        assert_eq!(field(line, "user"), person.name);
        assert_eq!(field(line, "backend"), "maildir");
        assert_eq!(field(line, "reason"), "wrong-password");
        assert!(field(line, "client").starts_with("127.0.0.1:"), "{line}");
    }
    let ended = lines.iter().find(|line| line.contains(ENDED)).unwrap();
    assert_eq!(field(ended, "session"), field(refused[0], "session"));
}

fn no_password_is_ever_logged(house: &House) {
    let door = opened(house, "[log]\nlevel = \"trace\"\n");
    let person = house.person(Kind::Maildir);
    let (name, right) = (&person.name, &person.password);
    let wrong = password("wrong");
    let plain = |secret: &str| STANDARD.encode(format!("\0{name}\0{secret}"));
    let mut all = Vec::new();
    for secret in [&wrong, right] {
        let length = secret.len();
        all.extend([
            format!("l LOGIN {name} {secret}"),
            format!("l LOGIN {name} {{{length}+}}\r\n{secret}"),
            format!("l AUTHENTICATE PLAIN {}", plain(secret)),
            format!("l AUTHENTICATE PLAIN\r\n{}", plain(secret)),
            format!(
                "l AUTHENTICATE LOGIN\r\n{}\r\n{}",
                STANDARD.encode(name),
                STANDARD.encode(secret)
            ),
        ]);
    }
    // What is no login as it should be is no reason to tell all.
    all.push(format!("l LOGIN {name} {right} more"));
    all.push(format!("l LOGIN \u{7f} {right}"));
    all.push(format!("l LOGIN {right}"));
    all.push(format!("LOGIN {name} {right}"));
    all.push(format!("l AUTHENTICATE PLAIN {}%", plain(right)));
    for login in &all {
        let mut client = door.raw_imap();
        client.send(format!("{login}\r\nx LOGOUT\r\n")).unwrap();
        client.read_to_end().ok();
    }
    for lines in [
        format!("USER {name}\r\nPASS {right}"),
        format!("USER {name}\r\nPASS {wrong}"),
        format!("PASS {right}"),
        format!("AUTH PLAIN {}", plain(&wrong)),
        format!("AUTH PLAIN\r\n{}", plain(right)),
        format!("APOP {name} {right}"),
    ] {
        let mut client = door.raw_pop3();
        client.send(format!("{lines}\r\nQUIT\r\n")).unwrap();
        client.read_to_end().ok();
    }
    let security = Security::Tls(door.trust());
    let mut client = Pop3Client::connect(("127.0.0.1", door.pop3s), &security).unwrap();
    client.login(name, right).unwrap();
    client.quit().unwrap();
    door.line(|line| {
        line.contains(ENDED) && line.contains("protocol=pop3") && !line.contains("tls=none")
    });
    assert_eq!(showing_secrets(&door.log_lines()), Vec::<String>::new());
    // What shows no secret does show something.
    let shown = vec![format!("x {right}"), plain(right), format!("y{}", STANDARD.encode(right))];
    assert_eq!(showing_secrets(&shown), shown);
}
