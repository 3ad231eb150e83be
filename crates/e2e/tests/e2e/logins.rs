//! As whom users are logged in at their back ends, by other ways than their own passwords.

use std::fs;

use e2e::{
    cases,
    door::{Door, backend, usual},
    house::{House, Kind, Person},
    runner::Case,
    secrets::password,
};
use testkit::servers::{
    Service,
    cyrus::{Cyrus, CyrusOptions},
    dovecot::{Dovecot, DovecotOptions},
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        dovecot_takes_an_authorization_identity_from_its_master,
        cyrus_takes_an_authorization_identity_from_its_proxy,
        dovecot_takes_the_password_that_the_directory_knows,
        dovecot_trusts_our_address,
        a_back_end_that_is_ourselves_is_never_entered,
    ]
}

const NO: &str = "NO [AUTHENTICATIONFAILED]";

/// A door before one back end, whose table has more lines; the users have passwords in the directory.
fn opened(imap: u16, pop3: u16, keys: &str, master: &str) -> Door {
    let config = usual(&(backend("a", imap, pop3) + keys));
    Door::open_with(&config, &[], |folder| {
        fs::write(folder.join("master"), format!("{master}\n")).unwrap();
    })
}

/// Places somebody, with a password that only the directory has.
fn place(door: &Door, name: &str) -> Person {
    let own = Person { name: name.to_owned(), password: password("of the directory") };
    let file = door.folder().join("own");
    fs::write(&file, format!("{}\n", own.password)).unwrap();
    door.does(&["user", "place", name, "a", "--password-file", file.to_str().unwrap()]);
    own
}

/// Only the password in the directory opens the user's own mailbox, by both protocols.
fn assert_only_by_the_directory(door: &Door, name: &str, others: &[&str], messages: u32) {
    let own = place(door, name);
    let mut client = door.logged_in(&own);
    assert_eq!(client.select("INBOX").unwrap(), messages);
    client.logout().unwrap();
    let answer = door.pop3_answer(&own.name, &own.password);
    assert!(answer.starts_with("+OK"), "{answer}; the log:\n{}", door.log_text());
    for wrong in others {
        assert!(door.imap_answer(&own.name, wrong).starts_with(NO), "{}", door.log_text());
        assert!(door.pop3_answer(&own.name, wrong).starts_with("-ERR [AUTH]"));
    }
}

const MESSAGE: &[u8] = b"From: x@example.org\r\nSubject: hers\r\n\r\n.\r\n";

const AUTHZID: &str =
    "login = \"authzid\"\nmaster_user = \"posthouse\"\nmaster_secret_file = \"master\"\n";

fn dovecot_takes_an_authorization_identity_from_its_master(house: &House) {
    let person = house.person(Kind::Maildir);
    house.deliver(Kind::Maildir, &person, MESSAGE);
    let master = password("authzid");
    house.add_master("posthouse2", &master);
    let (imap, pop3) =
        (house.port(Kind::Maildir, Service::Imap), house.port(Kind::Maildir, Service::Pop3));
    let keys = AUTHZID.replace("\"posthouse\"", "\"posthouse2\"");
    let door = opened(imap, pop3, &keys, &master);
    assert_only_by_the_directory(&door, &person.name, &[&person.password, &master], 1);
    // Our own secret's refusal is not the user's fault.
    let door = opened(imap, pop3, &keys, &password("another"));
    let own = place(&door, &person.name);
    let answer = door.imap_answer(&own.name, &own.password);
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    door.line(|line| line.contains("reason=backend-master-refused"));
}

fn cyrus_takes_an_authorization_identity_from_its_proxy(_: &House) {
    let extra = "proxyservers: posthouse\n".to_owned();
    let cyrus = Cyrus::start(&CyrusOptions { extra, ..CyrusOptions::default() }).unwrap();
    let master = password("authzid");
    cyrus.add_user("posthouse", &master).unwrap();
    cyrus.add_user("anna", &password("anna")).unwrap();
    cyrus.deliver("anna", MESSAGE).unwrap();
    let door = opened(cyrus.port(Service::Imap), cyrus.port(Service::Pop3), AUTHZID, &master);
    assert_only_by_the_directory(&door, "anna", &[&password("anna"), &master], 1);
}

fn dovecot_takes_the_password_that_the_directory_knows(house: &House) {
    let person = house.person(Kind::Maildir);
    house.deliver(Kind::Maildir, &person, MESSAGE);
    let (imap, pop3) =
        (house.port(Kind::Maildir, Service::Imap), house.port(Kind::Maildir, Service::Pop3));
    let door = opened(imap, pop3, "login = \"password\"\n", "");
    let file = door.folder().join("right");
    fs::write(&file, format!("{}\n", person.password)).unwrap();
    door.does(&["user", "place", &person.name, "a", "--password-file", file.to_str().unwrap()]);
    assert_eq!(door.logged_in(&person).select("INBOX").unwrap(), 1);
    assert!(door.imap_answer(&person.name, &password("wrong")).starts_with(NO));
    // What the directory has is not what the back end has: the user has done nothing wrong.
    let own = place(&door, &person.name);
    let answer = door.imap_answer(&own.name, &own.password);
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    door.line(|line| line.contains("reason=directory-secret-refused"));
}

fn dovecot_trusts_our_address(_: &House) {
    let extra = "passdb {\n  driver = static\n  args = nopassword=y allow_nets=127.0.0.1\n}\n";
    let options = DovecotOptions { extra: extra.to_owned(), ..DovecotOptions::default() };
    let dovecot = Dovecot::start(options).unwrap();
    let (imap, pop3) = (dovecot.port(Service::Imap), dovecot.port(Service::Pop3));
    let door = opened(imap, pop3, "login = \"trusted\"\n", "");
    assert_only_by_the_directory(&door, "anna", &[&password("wrong"), "trusted"], 0);
    // Whom the directory gives no password does not come in by the back end's trust.
    door.does(&["user", "place", "anna", "a", "--forget-password"]);
    let answer = door.imap_answer("anna", &password("anything"));
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
}

fn a_back_end_that_is_ourselves_is_never_entered(_: &House) {
    let table = "[backend.a]\naddress = \"localhost\"\nimap_port = @IMAP@\npop3_port = @POP3@\n\
                 tls = \"none\"\n[[directory]]\nsource = \"static\"\nbackend = \"a\"\n";
    let door = Door::open(&usual(table));
    let began = std::time::Instant::now();
    let answer = door.imap_answer("anna", &password("anna"));
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    let answer = door.pop3_answer("anna", &password("anna"));
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    for protocol in ["imap", "pop3"] {
        door.line(|line| {
            line.contains("reason=loop") && line.contains(&format!("protocol={protocol}"))
        });
    }
    let refused = |line: &&String| line.contains("login refused");
    assert_eq!(door.log_lines().iter().filter(refused).count(), 2, "{}", door.log_text());
    let checked = door.command(&["backend", "check", "a"]).unwrap();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(!checked.status.success() && said.contains("own listeners"), "{said}");
}
