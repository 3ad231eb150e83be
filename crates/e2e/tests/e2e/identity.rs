//! What back ends are told of the client: its own address, by the way that they understand.

use e2e::{
    cases,
    door::{Door, SOON, everybody_at, listening, ports},
    headers::v2,
    house::House,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::{
    scripted::Client,
    servers::{
        Service,
        dovecot::{Dovecot, DovecotOptions},
    },
    wait,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        dovecot_believes_what_it_is_told_by_id_and_by_xclient,
        dovecot_believes_a_proxy_header,
        each_protocol_has_its_own_way_at_its_own_port,
        who_is_not_trusted_is_nobody_else_by_his_own_word,
        without_an_identity_nothing_is_said_of_the_client,
    ]
}

const CLIENT: &str = "192.0.2.7:45678";

/// A door behind a proxy, in front of this back end; `keys` are more lines of its table.
fn opened(imap: u16, pop3: u16, keys: &str) -> Door {
    opened_at(&(e2e::door::backend("a", imap, pop3) + keys + &everybody_at("a")))
}

/// A door behind a proxy, with these back ends.
fn opened_at(rest: &str) -> Door {
    Door::open(&listening("proxy_networks = [\"127.0.0.0/8\"]", rest))
}

fn visitor(port: u16) -> Client {
    let mut client = Client::connect(("127.0.0.1", port)).unwrap();
    client.set_deadline(SOON);
    client.send(v2(CLIENT)).unwrap();
    client.read_line().unwrap();
    client
}

fn log_in_by_imap(door: &Door, user: &str) -> Client {
    let mut client = visitor(door.imap);
    client.ask(&format!("l LOGIN {user} {}", password(user)), "l OK").unwrap();
    client
}

fn log_in_by_pop3(door: &Door, user: &str) -> Client {
    let mut client = visitor(door.pop3);
    client.ask(&format!("USER {user}"), "+OK").unwrap();
    client.ask(&format!("PASS {}", password(user)), "+OK").unwrap();
    client
}

/// Waits for Dovecot's line of a login from this address.
fn assert_logged(dovecot: &Dovecot, service: &str, user: &str, from: &str) {
    let fits = |line: &str| {
        line.contains(&format!("{service}-login:"))
            && line.contains(&format!("user=<{user}>"))
            && line.contains(&format!("rip={from},"))
    };
    let logged = || dovecot.log_text().lines().any(fits);
    assert!(wait::until(SOON, logged), "{}", dovecot.log_text());
}

fn dovecot_believes_what_it_is_told_by_id_and_by_xclient(_: &House) {
    let trusted_networks = "127.0.0.0/8".to_owned();
    let options = DovecotOptions { trusted_networks, ..DovecotOptions::default() };
    let dovecot = Dovecot::start(options).unwrap();
    dovecot.add_user("anna", &password("anna")).unwrap();
    let (imap, pop3) = (dovecot.port(Service::Imap), dovecot.port(Service::Pop3));
    let door = opened(imap, pop3, "identity = \"native\"\n");
    let mut client = log_in_by_imap(&door, "anna");
    client.ask("s SELECT INBOX", "s OK").unwrap();
    log_in_by_pop3(&door, "anna").ask("STAT", "+OK").unwrap();
    for service in ["imap", "pop3"] {
        assert_logged(&dovecot, service, "anna", "192.0.2.7");
    }
}

fn dovecot_believes_a_proxy_header(_: &House) {
    let [imap, pop3] = ports();
    let service = |protocol: &str, port: u16| {
        format!(
            "service {protocol}-login {{\n  inet_listener {protocol}-behind-proxy {{\n    \
             port = {port}\n    haproxy = yes\n  }}\n}}\n"
        )
    };
    let extra = format!(
        "haproxy_trusted_networks = 127.0.0.0/8\n{}{}",
        service("imap", imap),
        service("pop3", pop3)
    );
    let dovecot = Dovecot::start(DovecotOptions { extra, ..DovecotOptions::default() }).unwrap();
    for (version, user) in [("proxy-v1", "anna"), ("proxy-v2", "bert")] {
        dovecot.add_user(user, &password(user)).unwrap();
        let door = opened(imap, pop3, &format!("identity = \"{version}\"\n"));
        log_in_by_imap(&door, user).ask("s SELECT INBOX", "s OK").unwrap();
        log_in_by_pop3(&door, user).ask("STAT", "+OK").unwrap();
        for service in ["imap", "pop3"] {
            assert_logged(&dovecot, service, user, "192.0.2.7");
        }
        // Its own visits are let in there as well.
        door.wait_probed("a");
    }
}

fn each_protocol_has_its_own_way_at_its_own_port(_: &House) {
    // The header stands before TLS.
    for (tls, service, ssl) in [("none", Service::Pop3, "no"), ("implicit", Service::Pop3s, "yes")]
    {
        let [behind_proxy] = ports();
        let extra = format!(
            "haproxy_trusted_networks = 127.0.0.0/8\nservice imap-login {{\n  \
             inet_listener imap-behind-proxy {{\n    port = {behind_proxy}\n    \
             haproxy = yes\n    ssl = {ssl}\n  }}\n}}\n"
        );
        let trusted_networks = "127.0.0.0/8".to_owned();
        let options = DovecotOptions { extra, trusted_networks, ..DovecotOptions::default() };
        let dovecot = Dovecot::start(options).unwrap();
        dovecot.add_user("anna", &password("anna")).unwrap();
        let pop3 = dovecot.port(service);
        let authority = match tls {
            "none" => String::new(),
            _ => format!("ca_file = {:?}\n", dovecot.certificates().ca),
        };
        let door = opened_at(&format!(
            "[backend.a]\naddress = \"127.0.0.1\"\ntls = \"{tls}\"\n{authority}\
             identity = \"native\"\npop3_port = {pop3}\n\
             imap_port = {behind_proxy}\nimap_identity = \"proxy-v2\"\n{}",
            everybody_at("a")
        ));
        log_in_by_imap(&door, "anna").ask("s SELECT INBOX", "s OK").unwrap();
        log_in_by_pop3(&door, "anna").ask("STAT", "+OK").unwrap();
        for service in ["imap", "pop3"] {
            assert_logged(&dovecot, service, "anna", "192.0.2.7");
        }
        door.wait_probed("a");
        let row = &door.json(&["backend", "list"])[0];
        assert_eq!(
            (&row["imap_identity"], &row["pop3_identity"]),
            (&"proxy-v2".into(), &"native".into())
        );
        for shown in [door.does(&["backend", "list"]), door.does(&["check"])] {
            assert!(shown.contains(&format!("{behind_proxy} proxy-v2")), "{shown}");
            assert!(shown.contains(&format!("{pop3} native")), "{shown}");
        }
    }
}

const CLAIM: &str = "i ID (\"x-originating-ip\" \"203.0.113.9\" \"x-originating-port\" \"9\")";

fn who_is_not_trusted_is_nobody_else_by_his_own_word(_: &House) {
    for (trusted, told) in [("198.51.100.0/24", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")] {
        let stub = Stub::taking_id("SASL-IR AUTH=PLAIN");
        let keys = "identity = \"native\"\n";
        let rest = e2e::door::backend("a", stub.port(), stub.port()) + keys + &everybody_at("a");
        let door = Door::open(&listening(&format!("trusted_networks = [\"{trusted}\"]"), &rest));
        let mut client = door.raw_imap();
        client.ask(CLAIM, "i OK").unwrap();
        client.ask(&format!("l LOGIN anna {}", password("anna")), "l OK").unwrap();
        let heard = stub.heard();
        let ip = format!("\"x-originating-ip\" \"{told}\"");
        assert!(heard.contains(&ip), "{heard}");
        assert_eq!(heard.matches("x-originating-ip").count(), 1, "{heard}");
    }
}

fn without_an_identity_nothing_is_said_of_the_client(_: &House) {
    let stub = Stub::taking_id("SASL-IR AUTH=PLAIN");
    let door = opened(stub.port(), stub.port(), "");
    log_in_by_imap(&door, "anna");
    let heard = stub.heard();
    assert!(!heard.contains("192.0.2.7") && !heard.contains("PROXY"), "{heard}");
}
