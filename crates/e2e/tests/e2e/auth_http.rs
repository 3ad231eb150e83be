//! nginx's `auth_http` on both sides: nginx asks Posthouse, and Posthouse asks as nginx does.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use e2e::{
    cases,
    door::{Door, SOON, backend, everybody_at, ports, usual},
    house::{House, Kind, Person},
    runner::Case,
    secrets::password,
};
use testkit::{
    mail_clients::{ImapClient, Pop3Client, Security},
    servers::{
        Service,
        configured::{Configured, Site},
        nginx,
    },
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        nginx_asks_us_and_its_clients_reach_dovecot,
        what_we_cannot_say_reaches_nginx_s_clients_as_try_later,
        a_question_that_is_none_lets_nobody_in_and_refuses_nobody,
        who_is_held_is_sent_nowhere_until_he_is_released,
        who_is_on_one_of_several_servers_of_a_store_is_sent_to_none,
        posthouse_asks_another_as_nginx_does,
    ]
}

const KEY: &str = "key that nginx shows";

/// Posthouse with an answering port, and that port.
fn answering(rest: &str) -> (Door, u16) {
    let [port] = ports();
    let answer = format!(
        "\n[[answer]]\nprotocol = \"auth_http\"\naddress = \"127.0.0.1:{port}\"\nsecret = \"{KEY}\"\n\
         wait = \"1s\"\n"
    );
    let door = Door::open(&usual(&format!("{rest}{answer}")));
    door.line(|line| line.contains("answering"));
    (door, port)
}

/// nginx's mail proxy with IMAP and POP3, which asks at a port.
fn nginx_asking(port: u16) -> Configured {
    let config = |site: &Site<'_>| {
        let user = if nix::unistd::geteuid().is_root() { "user root root;" } else { "" };
        let (imap, pop3) = (site.port(0), site.port(1));
        Ok(format!(
            "worker_processes 1;\n{user}\nevents {{}}\nmail {{\n\
             auth_http http://127.0.0.1:{port}/;\nauth_http_header X-Auth-Key \"{KEY}\";\nproxy_pass_error_message on;\n\
             server {{ listen 127.0.0.1:{imap}; protocol imap; imap_auth plain login; }}\n\
             server {{ listen 127.0.0.1:{pop3}; protocol pop3; pop3_auth plain; }}\n}}\n"
        ))
    };
    nginx::start(2, &config).unwrap()
}

fn imap(port: u16, person: &Person, password: &str) -> String {
    let mut client = ImapClient::connect(("127.0.0.1", port), &Security::Clear).unwrap();
    match client.login(&person.name, password) {
        Ok(answer) => answer.status,
        Err(error) => error.to_string(),
    }
}

fn nginx_asks_us_and_its_clients_reach_dovecot(house: &House) {
    let person = house.person(Kind::Maildir);
    house.deliver(Kind::Maildir, &person, b"Subject: found\r\n\r\nby nginx\r\n");
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.map");
    // One name is another at the back end; nobody else is known.
    fs::write(&users, format!("{0}: maildir\nalias%20of {0}: {0}@maildir\n", person.name)).unwrap();
    let source = format!("[[directory]]\nsource = \"file\"\nfile = \"{}\"\n", users.display());
    let (door, port) = answering(&(house.backend(Kind::Maildir) + &source));
    let nginx = nginx_asking(port);
    let mut client = ImapClient::connect(("127.0.0.1", nginx.port(0)), &Security::Clear).unwrap();
    client.login(&person.name, &person.password).unwrap();
    assert_eq!(client.select("INBOX").unwrap(), 1);
    let alias = Person { name: format!("alias%20of {}", person.name), ..person.clone() };
    let answer = imap(nginx.port(0), &alias, &person.password);
    assert!(answer.contains("OK"), "{answer}\n{}", door.log_text());
    let mut pop3 = Pop3Client::connect(("127.0.0.1", nginx.port(1)), &Security::Clear).unwrap();
    pop3.login(&person.name, &person.password).unwrap();
    let unknown = Person { name: "nobody".to_owned(), password: password("nobody") };
    let answer = imap(nginx.port(0), &unknown, &unknown.password);
    assert!(answer.contains("[AUTHENTICATIONFAILED]"), "{answer}");
    let line = door.line(|line| line.contains("login refused"));
    assert!(line.contains("user=nobody") && line.contains("reason=unknown-user"), "{line}");
    // The back end judges, and nginx passes its word on.
    let answer = imap(nginx.port(0), &person, &password("somebody else"));
    assert!(answer.contains("NO"), "{answer}");
}

/// A directory of which one source cannot say: nobody listens at its port.
fn dead_source() -> String {
    let [nobody] = ports();
    format!("[[directory]]\nsource = \"http\"\nurl = \"http://127.0.0.1:{nobody}/\"\n")
}

fn what_we_cannot_say_reaches_nginx_s_clients_as_try_later(house: &House) {
    let person = house.person(Kind::Maildir);
    let (_door, port) = answering(&(house.backend(Kind::Maildir) + &dead_source()));
    let nginx = nginx_asking(port);
    let answer = imap(nginx.port(0), &person, &person.password);
    assert!(answer.contains("[UNAVAILABLE]"), "{answer}");
    // A back end that nginx cannot enter as it is set.
    let master = backend("maildir", 1143, 1110)
        + "login = \"trusted\"\n\n[[directory]]\nsource = \"file\"\nfile = \"users.toml\"\n";
    let [answering] = ports();
    let config = usual(&format!(
        "{master}\n[[answer]]\nprotocol = \"auth_http\"\naddress = \"127.0.0.1:{answering}\"\n"
    ));
    let user = format!(
        "[users]\n{} = {{ backend = \"maildir\", password = \"{}\" }}\n",
        person.name, person.password
    );
    let door = Door::open_with(&config, &[], |folder| {
        fs::write(folder.join("users.toml"), &user).unwrap();
    });
    let question = question(&person.name, &person.password, "imap");
    let answer = asked(answering, &question);
    assert!(answer.starts_with("HTTP/1.0 503") || answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("Auth-Status: [UNAVAILABLE]"), "{answer}");
    assert!(answer.contains("Auth-Error-Code: 451 4.3.0"), "{answer}");
    assert!(!answer.contains("Auth-Pass"), "{answer}");
    let line = door.line(|line| line.contains("login refused"));
    assert!(line.contains("reason=backend-login-disabled"), "{line}");
    let checked = String::from_utf8(door.command(&["check"]).unwrap().stderr).unwrap();
    assert!(checked.contains("cannot enter the back end \"maildir\""), "{checked}");
}

fn question(user: &str, password: &str, protocol: &str) -> String {
    format!(
        "GET / HTTP/1.0\r\nHost: here\r\nAuth-Method: plain\r\nAuth-User: {user}\r\n\
         Auth-Pass: {password}\r\nAuth-Protocol: {protocol}\r\nAuth-Login-Attempt: 1\r\n\
         Client-IP: 192.0.2.7\r\nX-Auth-Key: {KEY}\r\n\r\n"
    )
}

/// What is answered to these bytes, until the end.
fn asked(port: u16, bytes: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // A server that has heard enough may have closed.
    let _ = stream.write_all(bytes.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn a_question_that_is_none_lets_nobody_in_and_refuses_nobody(house: &House) {
    let (door, port) = answering(&(house.backend(Kind::Maildir) + &everybody_at("maildir")));
    let good = question("anna", &password("anna"), "imap");
    let answer = asked(port, &good);
    let dovecot = house.port(Kind::Maildir, Service::Imap);
    for line in ["Auth-Status: OK", "Auth-Server: 127.0.0.1", &format!("Auth-Port: {dovecot}")] {
        assert!(answer.contains(line), "{answer}");
    }
    assert!(!answer.contains("Auth-Pass") && !answer.contains("Auth-User"), "{answer}");
    let nothing = |changed: String| {
        let answer = asked(port, &changed);
        assert!(!answer.contains("Auth-Status: OK"), "{changed}: {answer}");
        assert!(!answer.contains("[AUTHENTICATIONFAILED]"), "{changed}: {answer}");
        answer
    };
    assert!(nothing(good.replace(KEY, "no key")).contains(" 403 "));
    assert!(nothing(good.replace("X-Auth-Key", "X-Other")).contains(" 403 "));
    assert!(nothing(good.replace("GET", "DELETE")).contains(" 405 "));
    for (one, other) in [
        ("plain", "cram-md5"),
        ("plain", "external"),
        ("plain", "none"),
        ("Auth-Protocol: imap", "Auth-Protocol: smtp"),
        ("Auth-Login-Attempt: 1", "Auth-Login-Attempt: many"),
        ("Client-IP: 192.0.2.7", "Client-IP: somewhere"),
        ("Auth-User: ", "X-User: "),
        ("Auth-Pass: ", "Auth-Pass: %"),
        ("Auth-User: anna", "Auth-User: anna\r\nAuth-User: berta"),
    ] {
        let answer = nothing(good.replace(one, other));
        assert!(answer.contains(" 503 "), "{other}: {answer}");
        assert!(answer.contains("Auth-Error-Code: 451 4.3.0"), "{other}: {answer}");
    }
    nothing(good.replace("Host: here", &format!("X-Long: {}", "x".repeat(1 << 20))));
    nothing(good.replace("Host: here", &"X: y\r\n".repeat(1000)));
    nothing("\0\u{1}\r\n\r\n".to_owned());
    // A name that cannot be one is nobody's.
    let answer = asked(port, &good.replace("Auth-User: anna", "Auth-User: anna%0D%0AX:%20y"));
    assert!(answer.contains("Auth-Status: [AUTHENTICATIONFAILED]"), "{answer}");
    assert!(answer.contains("Auth-Wait: 1"), "{answer}");
    // Half a question: it is given up, and those who come meanwhile are answered.
    let mut slow = TcpStream::connect(("127.0.0.1", port)).unwrap();
    slow.write_all(b"GET / HTTP/1.0\r\nAuth-").unwrap();
    assert!(asked(port, &good).contains("Auth-Status: OK"));
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = slow.read(&mut [0; 512]).unwrap();
    let _ = slow.shutdown(Shutdown::Both);
    let log = door.log_text();
    assert!(log.contains("does not show the key") && !log.contains(KEY), "{log}");
}

fn who_is_held_is_sent_nowhere_until_he_is_released(house: &House) {
    let (door, port) = answering(&(house.backend(Kind::Maildir) + &everybody_at("maildir")));
    door.does(&["user", "hold", "anna"]);
    let good = question("anna", &password("anna"), "imap");
    let waiting = std::thread::spawn(move || asked(port, &good));
    // Others are answered meanwhile.
    let other = asked(port, &question("bert", &password("bert"), "imap"));
    assert!(other.contains("Auth-Status: OK"), "{other}");
    assert!(!waiting.is_finished());
    door.does(&["user", "release", "anna"]);
    let answer = waiting.join().unwrap();
    assert!(answer.contains("Auth-Status: OK"), "{answer}");
    // Half of the places are for those who wait; with one place nobody can.
    let [port] = ports();
    let answer = format!(
        "\n[[answer]]\nprotocol = \"auth_http\"\naddress = \"127.0.0.1:{port}\"\nconnections = 1\n"
    );
    let backends = house.backend(Kind::Maildir) + &everybody_at("maildir");
    let door = Door::open(&usual(&(backends + &answer)));
    door.does(&["backend", "hold", "maildir"]);
    let answer = asked(port, &question("anna", &password("anna"), "imap"));
    assert!(answer.contains("503") && answer.contains("[UNAVAILABLE]"), "{answer}");
    let line = door.line(|line| line.contains("login refused"));
    assert!(line.contains("reason=held"), "{line}");
}

fn who_is_on_one_of_several_servers_of_a_store_is_sent_to_none(_: &House) {
    let [port] = ports();
    let at = |name: &str| backend(name, 1143, 1110) + "same_store = \"nfs\"\n\n";
    let answer =
        format!("\n[[answer]]\nprotocol = \"auth_http\"\naddress = \"127.0.0.1:{port}\"\n");
    let door = Door::open(&usual(&(at("a") + &at("b") + &everybody_at("a") + &answer)));
    let answer = asked(port, &question("anna", &password("anna"), "imap"));
    assert!(answer.contains("503") && answer.contains("[UNAVAILABLE]"), "{answer}");
    let line = door.line(|line| line.contains("login refused"));
    assert!(line.contains("several servers share his mail"), "{line}");
    let checked = String::from_utf8(door.command(&["check"]).unwrap().stderr).unwrap();
    assert!(checked.contains("whose mail \"a\" shares"), "{checked}");
}

fn posthouse_asks_another_as_nginx_does(house: &House) {
    let person = house.person(Kind::Maildir);
    let (answers, port) = answering(&(house.backend(Kind::Maildir) + &everybody_at("maildir")));
    let source = format!(
        "[[directory]]\nsource = \"http\"\ncontract = \"nginx\"\nurl = \"http://127.0.0.1:{port}/\"\n\
         headers = \"X-Auth-Key: {KEY}\"\n\n[directory.cache]\njudged = \"0s\"\nfound = \"0s\"\n\
         stale_for = \"0s\"\n"
    );
    let door = Door::open(&usual(&(house.backend(Kind::Maildir) + &source)));
    let mut client = door.logged_in(&person);
    client.select("INBOX").unwrap();
    let answer = door.imap_answer(&person.name, &password("somebody else"));
    assert!(answer.starts_with("NO [AUTHENTICATIONFAILED]"), "{answer}");
    drop(answers);
    let answer = door.imap_answer(&person.name, &person.password);
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    let line = door.line(|line| line.contains("reason=directory-unavailable"));
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
}
