//! No, not found and cannot say are three things: the first two look the same to a client, the third
//! says so, and passes without a restart.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, ports, usual},
    house::{House, Kind, Person},
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::{posthouse, wait};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        an_unknown_user_and_a_wrong_password_get_the_same_answer,
        a_back_end_that_is_down_is_unavailable_until_it_is_back,
        a_back_end_that_does_not_answer_as_it_should_is_unavailable,
        a_damaged_table_is_unavailable_until_it_is_mended,
        a_user_on_a_back_end_that_is_not_configured_is_unavailable,
        a_broken_file_of_users_shuts_nobody_out,
        a_moved_user_is_on_the_new_back_end_at_the_next_login,
        a_user_may_have_another_name_and_port_at_the_back_end,
        a_master_login_needs_the_users_own_password,
    ]
}

const NO: &str = "NO [AUTHENTICATIONFAILED] ";
const NO_POP3: &str = "-ERR [AUTH] ";
const UNAVAILABLE: &str = "NO [UNAVAILABLE] ";
const UNAVAILABLE_POP3: &str = "-ERR [SYS/TEMP] ";

fn assert_unavailable(door: &Door, name: &str, password: &str) {
    let answer = door.imap_answer(name, password);
    assert!(answer.starts_with(UNAVAILABLE), "{answer}\n{}", door.log_text());
    let answer = door.pop3_answer(name, password);
    assert!(answer.starts_with(UNAVAILABLE_POP3), "{answer}\n{}", door.log_text());
}

fn assert_let_in(door: &Door, name: &str, password: &str) {
    let answer = door.imap_answer(name, password);
    assert!(answer.starts_with("OK "), "{answer}\n{}", door.log_text());
    let answer = door.pop3_answer(name, password);
    assert!(answer.starts_with("+OK"), "{answer}\n{}", door.log_text());
}

fn an_unknown_user_and_a_wrong_password_get_the_same_answer(house: &House) {
    for kind in Kind::ALL {
        let door = Door::open(&usual(&house.backend(kind)));
        let person = house.person(kind);
        door.does(&["user", "place", &person.name, kind.name()]);
        let wrong = password("wrong");
        let answer = door.imap_answer(&person.name, &wrong);
        assert!(answer.starts_with(NO), "{answer}");
        assert_eq!(door.imap_answer("nobody.here", &wrong), answer);
        assert_eq!(door.imap_answer("not a\u{7f}name", &wrong), answer);
        let answer = door.pop3_answer(&person.name, &wrong);
        assert!(answer.starts_with(NO_POP3), "{answer}");
        assert_eq!(door.pop3_answer("nobody.here", &wrong), answer);
        door.line(|line| line.contains("unknown-user") && line.contains("nobody.here"));
        assert_let_in(&door, &person.name, &person.password);
    }
}

fn let_in_by_imap(port: u16) -> Stub {
    Stub::start_at(port, |mut talk| {
        talk.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")?;
        talk.imap_login(&e2e::stub::ImapWords::default())?;
        talk.rest().map(|_| ())
    })
}

fn let_in_by_pop3(port: u16) -> Stub {
    Stub::start_at(port, |mut talk| {
        talk.send("+OK ready\r\n")?;
        talk.pop3_login()?;
        talk.rest().map(|_| ())
    })
}

fn a_back_end_that_is_down_is_unavailable_until_it_is_back(_: &House) {
    let [imap, pop3] = ports();
    let door = Door::open(&usual(&format!("{}{}", backend("a", imap, pop3), everybody_at("a"))));
    let secret = password("down");
    assert_unavailable(&door, "anna", &secret);
    door.line(|line| line.contains("backend-connect") && line.contains("anna"));
    let up = (let_in_by_imap(imap), let_in_by_pop3(pop3));
    assert_let_in(&door, "anna", &secret);
    drop(up);
    assert_unavailable(&door, "anna", &secret);
    let _up = (let_in_by_imap(imap), let_in_by_pop3(pop3));
    assert_let_in(&door, "anna", &secret);
}

fn a_back_end_that_does_not_answer_as_it_should_is_unavailable(_: &House) {
    for (imap, pop3, reason) in [
        ("* BYE too busy\r\n", "-ERR too busy\r\n", "backend-bye"),
        ("+OK pop3 here\r\n", "* OK imap here\r\n", "backend-protocol"),
        ("HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1 400 Bad Request\r\n", "backend-protocol"),
        ("", "", "backend-lost"),
    ] {
        let says = |text: &'static str| Stub::start(move |mut talk| talk.send(text));
        let (imap, pop3) = (says(imap), says(pop3));
        let ways = backend("a", imap.port(), pop3.port()) + &everybody_at("a");
        let door = Door::open(&usual(&ways));
        let secret = password("odd");
        assert_unavailable(&door, "anna", &secret);
        door.line(|line| line.contains("login refused") && line.contains(reason));
        for stub in [imap, pop3] {
            assert!(!stub.heard().contains(&secret), "{:?}", stub.heard());
        }
    }
}

/// A table with so many users that it has pages behind the first.
fn import(config: &std::path::Path, users: usize, place: &str) {
    let file = config.with_file_name("users.map");
    let lines: String = (0..users).map(|number| format!("user{number}:{place}\n")).collect();
    fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    let output = posthouse::run(config, &["user", "import", "--format", "perdition", file]);
    e2e::programs::printed(&output.unwrap());
}

fn a_damaged_table_is_unavailable_until_it_is_mended(_: &House) {
    let (imap, pop3) = (
        Stub::imap(|mut talk| talk.rest().map(|_| ())),
        Stub::pop3(|mut talk| talk.rest().map(|_| ())),
    );
    let config = usual(&backend("a", imap.port(), pop3.port()));
    let door = Door::open_with(&config, &[], |folder| {
        // As the daemon will find it, made without one.
        let text = config
            .replace("@IMAP@", "1143")
            .replace("@IMAPS@", "1993")
            .replace("@POP3@", "1110")
            .replace("@POP3S@", "1995");
        import(&posthouse::write_config(folder, &text).unwrap(), 2000, "a");
        let table = folder.join("state/directory.sqlite");
        fs::copy(&table, folder.join("whole")).unwrap();
        // The first page holds the header and the schema; all behind it is lost.
        overwrite(&table, |bytes| bytes.skip(4096).map(|_| 0xa5).collect());
    });
    let secret = password("damaged");
    assert_unavailable(&door, "user7", &secret);
    assert_unavailable(&door, "nobody.here", &secret);
    door.line(|line| line.contains("directory-unavailable") && line.contains("table"));
    assert_eq!(imap.heard().matches("LOGIN").count() + pop3.heard().matches("USER").count(), 0);
    let whole = fs::read(door.folder().join("whole")).unwrap();
    let table = door.folder().join("state/directory.sqlite");
    overwrite(&table, |_| whole[4096..].to_vec());
    let mended = || door.imap_answer("user7", &secret).starts_with("OK ");
    assert!(wait::until(SOON, mended), "{}", door.log_text());
    assert_let_in(&door, "user7", &secret);
    assert!(door.imap_answer("nobody.here", &secret).starts_with(NO));
}

/// Writes all but the first page anew, in place.
fn overwrite(path: &std::path::Path, make: impl FnOnce(&mut dyn Iterator<Item = u8>) -> Vec<u8>) {
    let now = fs::read(path).unwrap();
    let behind = make(&mut now.into_iter());
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&behind).unwrap();
}

fn a_user_on_a_back_end_that_is_not_configured_is_unavailable(_: &House) {
    let [imap, pop3] = ports();
    let before = usual(&format!("{}{}", backend("a", imap, pop3), backend("gone", imap, pop3)))
        .replace("@IMAP@", "1143")
        .replace("@IMAPS@", "1993")
        .replace("@POP3@", "1110")
        .replace("@POP3S@", "1995");
    let door = Door::open_with(&usual(&backend("a", imap, pop3)), &[], |folder| {
        import(&posthouse::write_config(folder, &before).unwrap(), 10, "gone");
    });
    assert_unavailable(&door, "user7", &password("gone"));
    door.line(|line| line.contains("directory-misconfigured") && line.contains("gone"));
}

fn a_broken_file_of_users_shuts_nobody_out(_: &House) {
    let (imap, pop3) = (
        Stub::imap(|mut talk| talk.rest().map(|_| ())),
        Stub::pop3(|mut talk| talk.rest().map(|_| ())),
    );
    let source = "[[directory]]\nsource = \"file\"\nfile = \"users.map\"\n";
    let config = usual(&format!("{}{source}", backend("a", imap.port(), pop3.port())));
    let door = Door::open_with(&config, &[], |folder| {
        fs::write(folder.join("users.map"), "anna:a\n").unwrap();
    });
    let (file, secret) = (door.folder().join("users.map"), password("file"));
    assert_let_in(&door, "anna", &secret);
    assert!(door.imap_answer("bert", &secret).starts_with(NO));
    fs::write(&file, "this is no map\n").unwrap();
    let told = || {
        assert_let_in(&door, "anna", &secret);
        door.log_lines().iter().any(|line| line.contains("users.map") && line.contains("line 1"))
    };
    assert!(wait::until(SOON, told), "{}", door.log_text());
    fs::write(&file, "anna:nowhere\n").unwrap();
    let taken = || door.imap_answer("anna", &secret).starts_with(UNAVAILABLE);
    assert!(wait::until(SOON, taken), "{}", door.log_text());
    door.line(|line| line.contains("directory-misconfigured") && line.contains("user=anna"));
    assert!(door.imap_answer("bert", &secret).starts_with(NO));
    fs::write(&file, "anna:a\n").unwrap();
    let taken = || door.imap_answer("anna", &secret).starts_with("OK ");
    assert!(wait::until(SOON, taken), "{}", door.log_text());
    fs::remove_file(&file).unwrap();
    let told = || {
        assert_let_in(&door, "anna", &secret);
        door.log_lines().iter().any(|line| line.contains("gone"))
    };
    assert!(wait::until(SOON, told), "{}", door.log_text());
    fs::write(&file, "bert:a\n").unwrap();
    let taken = || door.imap_answer("bert", &secret).starts_with("OK ");
    assert!(wait::until(SOON, taken), "{}", door.log_text());
    assert!(door.imap_answer("anna", &secret).starts_with(NO));
}

fn a_moved_user_is_on_the_new_back_end_at_the_next_login(house: &House) {
    let kinds = [Kind::Maildir, Kind::Sdbox];
    let person = house.person(kinds[0]);
    house.add(kinds[1], &person);
    for kind in kinds {
        let message = format!("From: x@example.org\r\nSubject: on {}\r\n\r\n.\r\n", kind.name());
        house.deliver(kind, &person, message.as_bytes());
    }
    let backends: String = kinds.iter().map(|kind| house.backend(*kind)).collect();
    let door = Door::open(&usual(&backends));
    assert!(door.imap_answer(&person.name, &person.password).starts_with(NO));
    for kind in [kinds[0], kinds[1], kinds[0]] {
        door.does(&["user", "place", &person.name, kind.name(), "--mail-is-already-there"]);
        let mut client = door.logged_in(&person);
        client.select("INBOX").unwrap();
        assert_eq!(client.subject(1).unwrap(), format!("on {}", kind.name()));
    }
    door.does(&["user", "remove", &person.name]);
    assert!(door.imap_answer(&person.name, &person.password).starts_with(NO));
}

fn a_user_may_have_another_name_and_port_at_the_back_end(house: &House) {
    let (imap, pop3) = (
        house.port(Kind::Maildir, testkit::servers::Service::Imap),
        house.port(Kind::Maildir, testkit::servers::Service::Pop3),
    );
    let [nobody] = ports();
    // The template lends its settings; where it is itself, nobody listens.
    let config = usual(&format!(
        "{}[[directory]]\nsource = \"file\"\nfile = \"users.map\"\ntemplate = \"t\"\n",
        backend("t", nobody, pop3).replace("127.0.0.1", "127.0.0.2"),
    ));
    let person = house.person(Kind::Maildir);
    let door = Door::open_with(&config, &[], |folder| {
        let map = format!("alias: {}@127.0.0.1:{imap}\n", person.name);
        fs::write(folder.join("users.map"), map).unwrap();
    });
    let there = Person { name: "alias".to_owned(), ..person.clone() };
    let mut client = door.logged_in(&there);
    assert_eq!(client.select("INBOX").unwrap(), 0);
    // The port was given for the protocol that asked first and does not speak POP3.
    assert!(door.imap_answer(&person.name, &person.password).starts_with(NO));
}

fn a_master_login_needs_the_users_own_password(house: &House) {
    let person = house.person(Kind::Maildir);
    let master = password("master");
    house.add_master("posthouse", &master);
    let config = usual(&format!(
        "{}login = \"master\"\nmaster_user = \"posthouse\"\nmaster_secret_file = \"master\"\n",
        house.backend(Kind::Maildir),
    ));
    let own = password("own, known to the table only");
    let door = Door::open_with(&config, &[], |folder| {
        fs::write(folder.join("master"), format!("{master}\n")).unwrap();
        fs::write(folder.join("own"), format!("{own}\n")).unwrap();
    });
    let file = door.folder().join("own");
    let file = file.to_str().unwrap();
    door.does(&["user", "place", &person.name, "maildir", "--password-file", file]);
    assert_let_in(&door, &person.name, &own);
    for wrong in [&person.password, &master] {
        assert!(door.imap_answer(&person.name, wrong).starts_with(NO));
        assert!(door.pop3_answer(&person.name, wrong).starts_with(NO_POP3));
    }
    // Without a password to compare with nobody is let in, and nobody is told that he is wrong.
    door.does(&["user", "place", &person.name, "maildir", "--forget-password"]);
    assert_unavailable(&door, &person.name, &own);
}
