//! The operator's commands, with the daemon and without.

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, usual},
    house::{House, Kind},
    programs::{printed, text},
    runner::Case,
    secrets::password,
    stub::Stub,
};
use serde_json::Value;
use testkit::{
    mail_clients::{Pop3Client, Security},
    posthouse::{self, new_folder, write_config},
    wait,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        session_list_shows_who_is_logged_in_and_kick_ends_it,
        kick_ends_all_sessions_of_a_user_and_no_others,
        backend_list_tells_how_logins_went,
        users_placed_without_a_daemon_are_there_when_it_starts,
        users_are_shown_listed_and_removed,
        a_wrong_line_refuses_a_whole_import,
        without_a_daemon_commands_that_need_one_say_so,
        check_tells_what_follows_and_all_mistakes_at_once,
        an_address_in_use_is_said_with_its_listener,
    ]
}

fn echo() -> Stub {
    Stub::imap(|mut talk| {
        loop {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("{tag} OK echo\r\n"))?;
        }
    })
}

fn rows(door: &Door, arguments: &[&str]) -> Vec<Value> {
    door.json(arguments).as_array().unwrap().clone()
}

fn session_list_shows_who_is_logged_in_and_kick_ends_it(house: &House) {
    let person = house.person(Kind::Maildir);
    let door = Door::open(&usual(&(house.backend(Kind::Maildir) + &everybody_at("maildir"))));
    assert_eq!(rows(&door, &["session", "list"]), Vec::<Value>::new());
    let mut imap = door.logged_in(&person);
    imap.command("NOOP").unwrap();
    let security = Security::Tls(door.trust());
    let mut pop3 = Pop3Client::connect(("127.0.0.1", door.pop3s), &security).unwrap();
    pop3.login(&person.name, &person.password).unwrap();
    let listed = rows(&door, &["session", "list"]);
    assert_eq!(listed.len(), 2, "{listed:?}");
    for (row, (protocol, tls, client)) in listed.iter().zip([
        ("imap", Value::Null, imap.wire().tcp().local_addr().unwrap()),
        ("pop3", "1.3".into(), pop3.wire().tcp().local_addr().unwrap()),
    ]) {
        assert_eq!(row["protocol"], protocol);
        assert_eq!(row["user"], person.name);
        assert_eq!(row["backend"], "maildir");
        assert_eq!(row["client"], client.to_string());
        assert!(row["seconds"].as_u64().unwrap() < 60, "{row}");
        let version = row["tls"].as_str().map(|version| version.trim_start_matches("TLSv"));
        assert_eq!(Value::from(version), tls, "{row}");
    }
    assert!(listed[0]["bytes_in"].as_u64().unwrap() >= 9, "{}", listed[0]);
    let shown = door.does(&["session", "list", "--user", &person.name]);
    assert!(shown.contains(&person.name) && shown.contains("maildir"), "{shown}");
    assert_eq!(rows(&door, &["session", "list", "--backend", "other"]), Vec::<Value>::new());
    let id = listed[0]["session"].as_str().unwrap();
    assert!(door.does(&["session", "kick", id]).contains("1 session ended"));
    assert!(imap.wire().read_to_end().is_ok());
    pop3.command("NOOP").unwrap();
    door.line(|line| line.contains("reason=kicked") && line.contains(id));
    let left = || rows(&door, &["session", "list"]).len() == 1;
    assert!(wait::until(SOON, left));
    let again = door.command(&["session", "kick", id]).unwrap();
    assert!(!again.status.success() || text(&again).contains("0 sessions"), "{}", text(&again));
}

fn kick_ends_all_sessions_of_a_user_and_no_others(_: &House) {
    let stub = echo();
    let door = Door::open(&usual(&(backend("a", stub.port(), stub.port()) + &everybody_at("a"))));
    let log_in = |name: &str| {
        let mut client = door.raw_imap();
        client.ask(&format!("l LOGIN {name} {}", password(name)), "l OK").unwrap();
        client
    };
    let (mut first, mut second, mut other) = (log_in("anna"), log_in("ANNA"), log_in("bert"));
    assert!(door.does(&["session", "kick", "--user", "anna"]).contains("2 sessions ended"));
    assert_eq!(first.read_to_end().unwrap(), b"");
    assert_eq!(second.read_to_end().unwrap(), b"");
    other.ask("n NOOP", "n OK").unwrap();
}

fn backend_list_tells_how_logins_went(house: &House) {
    let person = house.person(Kind::Maildir);
    let [dead] = e2e::door::ports();
    let backends = house.backend(Kind::Maildir) + &backend("dead", dead, dead);
    let door = Door::open(&usual(&backends));
    door.does(&["user", "place", &person.name, "maildir"]);
    door.does(&["user", "place", "anna", "dead"]);
    door.logged_in(&person).logout().unwrap();
    let _ = door.imap_answer(&person.name, &password("wrong"));
    let _ = door.imap_answer("anna", &password("anna"));
    let listed = rows(&door, &["backend", "list"]);
    let row = |name: &str| listed.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("maildir")["logins"], 1);
    // A wrong password is not the back end's fault.
    assert_eq!(row("maildir")["failures"], 0, "{listed:?}");
    assert_eq!(row("dead")["logins"], 0);
    assert_eq!(row("dead")["failures"], 1, "{listed:?}");
    assert_eq!(row("dead")["last_failure"]["reason"], "backend-connect");
    let shown = door.does(&["backend", "list"]);
    assert!(shown.contains("maildir") && shown.contains("backend-connect"), "{shown}");
}

/// The usual configuration with ports that nobody takes, for commands that do not serve.
fn still(rest: &str) -> String {
    usual(rest)
        .replace("@IMAP@", "1143")
        .replace("@IMAPS@", "1993")
        .replace("@POP3@", "1110")
        .replace("@POP3S@", "1995")
}

fn users_placed_without_a_daemon_are_there_when_it_starts(_: &House) {
    let stub = echo();
    let rest = backend("a", stub.port(), stub.port());
    let door = Door::open_with(&usual(&rest), &[], |folder| {
        let config = write_config(folder, &still(&rest)).unwrap();
        let run = |arguments: &[&str]| printed(&posthouse::run(&config, arguments).unwrap());
        run(&["user", "place", "Anna", "a"]);
        assert!(run(&["user", "list"]).contains("anna\ta"));
    });
    assert!(door.imap_answer("anna", &password("anna")).starts_with("OK "));
    assert!(door.does(&["user", "show", "anna"]).contains('a'));
}

fn users_are_shown_listed_and_removed(_: &House) {
    let stub = echo();
    let door = Door::open(&usual(&backend("a", stub.port(), stub.port())));
    for name in ["anna", "bert@example.org", "gr\u{fc}n"] {
        door.does(&["user", "place", name, "a", "--as", "there"]);
    }
    let shown = door.json(&["user", "show", "BERT@example.org"]);
    assert_eq!(shown["user"], "bert@example.org");
    assert_eq!(shown["backend"], "a");
    assert_eq!(shown["as"], "there");
    assert_eq!(shown["history"].as_array().unwrap().len(), 1);
    assert_eq!(rows(&door, &["user", "list"]).len(), 3);
    assert_eq!(rows(&door, &["user", "list", "--prefix", "be"]).len(), 1);
    door.does(&["user", "remove", "bert@example.org"]);
    assert_eq!(rows(&door, &["user", "list"]).len(), 2);
    let gone = door.command(&["user", "show", "bert@example.org"]).unwrap();
    assert_eq!(gone.status.code(), Some(1), "{}", text(&gone));
    let unknown = door.command(&["user", "place", "anna", "nowhere"]).unwrap();
    assert_eq!(unknown.status.code(), Some(1), "{}", text(&unknown));
    assert!(text(&unknown).contains("nowhere"), "{}", text(&unknown));
    door.line(|line| line.contains("audit") && line.contains("user-remove"));
}

fn a_wrong_line_refuses_a_whole_import(_: &House) {
    let stub = echo();
    let door = Door::open(&usual(&backend("a", stub.port(), stub.port())));
    let file = door.folder().join("users.csv");
    std::fs::write(&file, "anna,a\nbert,nowhere\ncarl,a,there\n").unwrap();
    let file = file.to_str().unwrap();
    let refused = door.command(&["user", "import", "--format", "csv", file]).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("line 2") && text(&refused).contains("nowhere"));
    assert_eq!(rows(&door, &["user", "list"]).len(), 0);
    let skipping = ["user", "import", "--format", "csv", "--skip-wrong", file];
    printed(&door.command(&skipping).unwrap());
    assert_eq!(rows(&door, &["user", "list"]).len(), 2);
}

fn without_a_daemon_commands_that_need_one_say_so(_: &House) {
    let folder = new_folder().unwrap();
    let config = write_config(folder.path(), &still(&backend("a", 143, 110))).unwrap();
    for arguments in [&["session", "list"][..], &["backend", "list"], &["session", "kick", "1"]] {
        let output = posthouse::run(&config, arguments).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("running"), "{}", text(&output));
    }
}

fn check_tells_what_follows_and_all_mistakes_at_once(_: &House) {
    let folder = new_folder().unwrap();
    let clear = still(&backend("a", 143, 110)).replace(
        "certificate = \"cert.pem\"\nkey = \"key.pem\"\n",
        "self_signed = true\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n",
    );
    let config = write_config(folder.path(), &clear).unwrap();
    let good = printed(&posthouse::run(&config, &["check"]).unwrap());
    assert!(good.contains("is good") && good.contains("possible"), "{good}");
    assert!(!folder.path().join("cert.pem").exists() && !folder.path().join("state").exists());
    let wrong = clear.replace("tls = \"starttls\"", "tls = \"startls\"") + "pop_port = 1\n";
    let config = write_config(folder.path(), &wrong).unwrap();
    for command in ["check", "serve"] {
        let output = posthouse::run(&config, &[command]).unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("starttls") && said.contains("pop3_port"), "{said}");
        assert!(said.contains("3 mistakes"), "{said}");
    }
    let version = printed(&posthouse::run(&config, &["version"]).unwrap());
    assert!(version.contains("posthouse"), "{version}");
}

fn an_address_in_use_is_said_with_its_listener(_: &House) {
    let stub = echo();
    let folder = new_folder().unwrap();
    let config = format!(
        "state = \"state\"\n[[listener]]\nname = \"front\"\nprotocol = \"imap\"\n\
         address = \"127.0.0.1:{}\"\ntls = \"none\"\nallow_clear_logins = true\n{}",
        stub.port(),
        backend("a", 143, 110)
    );
    let config = write_config(folder.path(), &config).unwrap();
    let output = posthouse::run(&config, &["serve"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("front") && said.contains(&stub.port().to_string()), "{said}");
}
