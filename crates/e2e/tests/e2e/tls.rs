//! TLS towards clients, tried by OpenSSL.

use std::{fs, path::Path};

use e2e::{
    cases,
    door::{Door, HEAD, SOON, everybody_at, usual},
    house::{House, Kind},
    programs::s_client,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use testkit::{
    certs::{Authority, KeyKind},
    mail_clients::{ImapClient, Pop3Client, Security},
    scripted::Client,
    wait,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        the_name_a_client_asks_for_picks_the_certificate,
        a_new_certificate_counts_for_new_connections_and_old_ones_live_on,
        a_certificate_that_cannot_be_used_leaves_the_old_one,
        only_the_protocols_own_alpn_or_none_is_accepted,
        tls_1_2_and_1_3_are_spoken_and_nothing_older,
        sessions_are_resumed,
        a_missing_certificate_is_made_only_where_the_listener_says_so,
        no_password_is_taken_in_clear_where_that_is_not_allowed,
        several_listeners_and_both_address_families_are_served,
    ]
}

fn open(house: &House) -> Door {
    let kind = Kind::Maildir;
    Door::open(&usual(&format!("{}{}", house.backend(kind), everybody_at(kind.name()))))
}

fn issue(authority: &Authority, folder: &Path, file: &str, names: &[&str]) {
    let (certificate, key) = authority.issue(names).unwrap();
    fs::write(folder.join(format!("{file}.key.new")), key).unwrap();
    fs::write(folder.join(format!("{file}.pem.new")), certificate).unwrap();
    // As certificate tools do it: whole files appear under their names.
    for ending in ["key", "pem"] {
        let name = folder.join(format!("{file}.{ending}"));
        fs::rename(folder.join(format!("{file}.{ending}.new")), name).unwrap();
    }
}

const LOGOUT: &str = "a LOGOUT\r\n";

fn the_name_a_client_asks_for_picks_the_certificate(house: &House) {
    let certificates = r#"certificates = [
    { certificate = "one.pem", key = "one.key" },
    { certificate = "two.pem", key = "two.key" },
    { certificate = "wild.pem", key = "wild.key" },
]
"#;
    let config = format!(
        "{HEAD}[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:@IMAPS@\"\n{certificates}\
         [[listener]]\nprotocol = \"pop3\"\naddress = \"127.0.0.1:@POP3@\"\ntls = \"starttls\"\n\
         {certificates}{}{}",
        house.backend(Kind::Maildir),
        everybody_at("maildir"),
    );
    let door = Door::open_with(&config, &[], |folder| {
        // One of them RSA.
        let rsa = Authority::new(KeyKind::Rsa2048).unwrap();
        let authority = Authority::new(KeyKind::Ecdsa).unwrap();
        issue(&rsa, folder, "one", &["one.example"]);
        issue(&authority, folder, "two", &["two.example", "also-two.example"]);
        issue(&authority, folder, "wild", &["*.wild.example"]);
    });
    for (asked, shown) in [
        ("one.example", "one.example"),
        ("two.example", "two.example"),
        ("TWO.example", "two.example"),
        ("also-two.example", "two.example"),
        ("imap.wild.example", "*.wild.example"),
        ("nobody.example", "one.example"),
    ] {
        let said = s_client(door.imaps, &["-servername", asked], LOGOUT);
        assert!(said.contains(&format!("subject=CN = {shown}")), "{asked}: {said}");
        let arguments = ["-servername", asked, "-starttls", "pop3"];
        let said = s_client(door.pop3, &arguments, "quit\r\n");
        assert!(said.contains(&format!("subject=CN = {shown}")), "{asked}: {said}");
    }
    let said = s_client(door.imaps, &["-noservername"], LOGOUT);
    assert!(said.contains("subject=CN = one.example"), "{said}");
}

/// The subject of the certificate that is shown now.
fn subject(door: &Door) -> String {
    let said = s_client(door.imaps, &["-noservername"], LOGOUT);
    let line = said.lines().find_map(|line| line.strip_prefix("subject=CN = "));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn a_new_certificate_counts_for_new_connections_and_old_ones_live_on(house: &House) {
    let door = open(house);
    let person = house.person(Kind::Maildir);
    let security = Security::Tls(door.trust());
    let mut old = ImapClient::connect(("127.0.0.1", door.imaps), &security).unwrap();
    old.login(&person.name, &person.password).unwrap();
    let authority = Authority::new(KeyKind::Ecdsa).unwrap();
    let (certificate, key) = authority.issue(&["renewed.example"]).unwrap();
    // The key comes later than its certificate: between the two nothing changes.
    fs::write(door.folder().join("cert.pem"), certificate).unwrap();
    door.line(|line| line.contains("new certificate not used"));
    assert_eq!(subject(&door), "localhost");
    fs::write(door.folder().join("key.pem"), key).unwrap();
    assert!(wait::until(SOON, || subject(&door) == "renewed.example"), "{}", door.log_text());
    old.select("INBOX").unwrap();
    old.logout().unwrap();
}

fn a_certificate_that_cannot_be_used_leaves_the_old_one(house: &House) {
    let door = open(house);
    fs::write(door.folder().join("cert.pem"), "no certificate").unwrap();
    door.line(|line| line.contains("new certificate not used") && line.contains("cert.pem"));
    assert_eq!(subject(&door), "localhost");
}

fn only_the_protocols_own_alpn_or_none_is_accepted(house: &House) {
    let door = open(house);
    for version in ["-tls1_2", "-tls1_3"] {
        for (port, right, wrong, bye) in
            [(door.imaps, "imap", "pop3", LOGOUT), (door.pop3s, "pop3", "imap", "quit\r\n")]
        {
            let said = s_client(port, &[version, "-alpn", right], bye);
            assert!(said.contains(&format!("ALPN protocol: {right}")), "{said}");
            let said = s_client(port, &[version, "-alpn", &format!("h2,{right}")], bye);
            assert!(said.contains(&format!("ALPN protocol: {right}")), "{said}");
            let said = s_client(port, &[version], bye);
            assert!(said.contains("No ALPN negotiated") && said.contains("OK"), "{said}");
            for wrong in [wrong, "http/1.1", "h2"] {
                let said = s_client(port, &[version, "-alpn", wrong], bye);
                assert!(said.contains("no application protocol"), "{wrong}: {said}");
                assert!(!said.contains("Posthouse"), "{wrong}: {said}");
            }
        }
    }
    door.line(|line| line.contains("client-alpn"));
}

fn tls_1_2_and_1_3_are_spoken_and_nothing_older(house: &House) {
    let door = open(house);
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for (port, starttls, bye) in [
            (door.imaps, None, LOGOUT),
            (door.imap, Some("imap"), LOGOUT),
            (door.pop3s, None, "quit\r\n"),
            (door.pop3, Some("pop3"), "quit\r\n"),
        ] {
            let ca = door.authority();
            let mut arguments =
                vec![version, "-CAfile", ca.to_str().unwrap(), "-verify_return_error"];
            arguments.extend(starttls.iter().flat_map(|protocol| ["-starttls", protocol]));
            let said = s_client(port, &arguments, bye);
            assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
            assert!(said.contains(&format!("New, {name}, Cipher is ")), "{said}");
        }
    }
    for old in ["-tls1", "-tls1_1"] {
        let said = s_client(door.imaps, &[old, "-cipher", "DEFAULT@SECLEVEL=0"], LOGOUT);
        assert!(said.contains("SSL alert number") && !said.contains("Posthouse"), "{said}");
    }
}

fn sessions_are_resumed(house: &House) {
    let door = open(house);
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let file = door.folder().join(format!("session{version}"));
        let file = file.to_str().unwrap();
        let said = s_client(door.imaps, &[version, "-sess_out", file], LOGOUT);
        assert!(said.contains(&format!("New, {name}")), "{said}");
        let said = s_client(door.imaps, &[version, "-sess_in", file], LOGOUT);
        assert!(said.contains(&format!("Reused, {name}")), "{said}");
    }
}

fn a_missing_certificate_is_made_only_where_the_listener_says_so(house: &House) {
    let listener = "[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:@IMAPS@\"\n\
                    certificate = \"new/cert.pem\"\nkey = \"new/key.pem\"\n";
    let rest = house.backend(Kind::Maildir) + &everybody_at("maildir");
    let without = format!("{HEAD}{listener}{rest}").replace("@IMAPS@", "1993");
    let folder = testkit::posthouse::new_folder().unwrap();
    let config = testkit::posthouse::write_config(folder.path(), &without).unwrap();
    let output = testkit::posthouse::run(&config, &["serve"]).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = e2e::programs::text(&output);
    assert!(said.contains("new/cert.pem") && said.contains("self_signed = true"), "{said}");
    assert!(!folder.path().join("new").exists());
    let door = Door::open(&format!("{HEAD}{listener}self_signed = true\n{rest}"));
    let made = door.folder().join("new/cert.pem");
    let trust = testkit::wire::Trust::Ca(made.clone());
    Client::connect_tls(("127.0.0.1", door.imaps), "localhost", &trust).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(made.with_file_name("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

fn no_password_is_taken_in_clear_where_that_is_not_allowed(_: &House) {
    let (imap, pop3) = (
        Stub::imap(|mut talk| talk.rest().map(|_| ())),
        Stub::pop3(|mut talk| talk.rest().map(|_| ())),
    );
    let rest = e2e::door::backend("a", imap.port(), pop3.port()) + &everybody_at("a");
    let door = Door::open(&usual(&rest).replace("allow_clear_logins = true\n", ""));
    let secret = password("clear");
    let mut client = door.raw_imap();
    let offer = client.ask("c CAPABILITY", "c OK").unwrap().join(" ");
    assert!(offer.contains("LOGINDISABLED") && offer.contains("STARTTLS"), "{offer}");
    assert!(!offer.contains("AUTH="), "{offer}");
    for login in [
        format!("l LOGIN anna {secret}"),
        format!("l LOGIN {{4+}}\r\nanna {{{}+}}\r\n{secret}", secret.len()),
        "l AUTHENTICATE PLAIN AGFubmEAMHBlblNlc2FtZQ==".to_owned(),
        "l AUTHENTICATE PLAIN".to_owned(),
        "l AUTHENTICATE LOGIN".to_owned(),
    ] {
        client.ask(&login, "l NO [PRIVACYREQUIRED]").unwrap();
    }
    let mut client = client_under_tls(client, &door, "s STARTTLS", "s OK");
    client.ask(&format!("l LOGIN anna {secret}"), "l OK").unwrap();
    let mut client = door.raw_pop3();
    let offer = client.ask("CAPA", ".").unwrap().join(" ");
    assert!(
        offer.contains("STLS") && !offer.contains("USER") && !offer.contains("SASL"),
        "{offer}"
    );
    for login in ["USER anna", "AUTH PLAIN AGFubmEAMHBlblNlc2FtZQ==", "AUTH LOGIN"] {
        client.ask(login, "-ERR").unwrap();
    }
    let mut client = client_under_tls(client, &door, "STLS", "+OK");
    client.ask("USER anna", "+OK").unwrap();
    client.ask(&format!("PASS {secret}"), "+OK").unwrap();
    assert_eq!(imap.heard().matches("AUTHENTICATE").count(), 1, "{}", imap.heard());
    assert_eq!(pop3.heard().matches("USER").count(), 1, "{}", pop3.heard());
}

fn client_under_tls(mut client: Client, door: &Door, start: &str, ok: &str) -> Client {
    client.ask(start, ok).unwrap();
    let mut client = client.start_tls("localhost", &door.trust()).unwrap();
    client.set_deadline(SOON);
    client
}

fn several_listeners_and_both_address_families_are_served(house: &House) {
    let person = house.person(Kind::Maildir);
    let config = format!(
        "{HEAD}[[listener]]\nname = \"both\"\nprotocol = \"imap\"\n\
         address = [\"127.0.0.1:@IMAP@\", \"[::1]:@IMAP@\"]\ntls = \"none\"\n\
         allow_clear_logins = true\n[[listener]]\nprotocol = \"pop3\"\n\
         address = \"[::1]:@POP3S@\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n{}{}",
        house.backend(Kind::Maildir),
        everybody_at("maildir"),
    );
    let door = Door::open(&config);
    for address in ["127.0.0.1", "::1"] {
        let mut client = ImapClient::connect((address, door.imap), &Security::Clear).unwrap();
        client.login(&person.name, &person.password).unwrap();
        client.logout().unwrap();
    }
    let security = Security::Tls(door.trust());
    let mut client = Pop3Client::connect(("::1", door.pop3s), &security).unwrap();
    client.login(&person.name, &person.password).unwrap();
    client.quit().unwrap();
    door.line(|line| line.contains("session ended") && line.contains("client=[::1]:"));
}
