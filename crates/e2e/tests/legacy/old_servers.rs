//! Real servers as they were set up fifteen years ago: TLS 1.0, AES in CBC mode, key exchange by RSA.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use e2e::{
    cases,
    door::{Door, everybody_at, usual},
    house::{House, Kind, Person},
    programs::{printed, program},
    runner::Case,
    secrets::password,
};
use tempfile::TempDir;
use testkit::servers::{
    Service,
    cyrus::{Cyrus, CyrusOptions},
    dovecot::{Dovecot, DovecotOptions},
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        an_old_dovecot_lets_users_in_by_imap_and_pop3_whatever_it_is_believed_by,
        an_old_cyrus_lets_users_in,
        five_megabytes_come_through_both_ways,
        without_the_key_an_old_server_is_refused_and_the_log_says_what_to_set,
        an_old_server_with_the_wrong_certificate_gets_no_password,
        a_back_end_beside_an_old_one_is_spoken_to_in_new_tls,
        the_operator_is_told_of_old_tls,
    ]
}

const LEGACY: &str = "tls_legacy = true";

/// Dovecot has a setting for the oldest version, none for the newest.
const ONLY_TLS_1_0: &str = "\
openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = old
[old]
MaxProtocol = TLSv1
";

/// A Dovecot that knows TLS 1.0 only, whose certificate has RSA with 1024 bits and signs itself by SHA-1.
struct OldDovecot {
    server: Dovecot,
    keys: TempDir,
}

impl OldDovecot {
    fn start(person: &Person) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let readable = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let (certificate, key) = (keys.path().join("cert.pem"), keys.path().join("key.pem"));
        let mut command = program("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:1024", "-sha1", "-nodes", "-days", "30"]);
        command.args(["-subj", "/CN=old", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]);
        printed(&command.arg(&key).arg("-out").arg(&certificate).output().unwrap());
        readable(keys.path(), 0o755);
        readable(&key, 0o644);
        let library = keys.path().join("openssl.cnf");
        fs::write(&library, ONLY_TLS_1_0).unwrap();
        let extra = format!(
            "ssl_min_protocol = TLSv1\nssl_cipher_list = AES128-SHA:@SECLEVEL=0\n\
             ssl_cert = <{}\nssl_key = <{}\n\
             import_environment = TZ LD_LIBRARY_PATH OPENSSL_CONF={}\n",
            certificate.display(),
            key.display(),
            library.display()
        );
        let server = Dovecot::start(DovecotOptions { extra, ..DovecotOptions::default() }).unwrap();
        server.add_user(&person.name, &person.password).unwrap();
        Self { server, keys }
    }

    fn certificate(&self) -> PathBuf {
        self.keys.path().join("cert.pem")
    }

    fn ca_file(&self) -> String {
        format!("ca_file = \"{}\"", self.certificate().display())
    }

    fn pin(&self) -> String {
        let mut command = program("openssl");
        command.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
        let line = printed(&command.arg(self.certificate()).output().unwrap());
        line.trim().split_once('=').unwrap().1.to_owned()
    }

    /// Its table.
    fn table(&self, tls: &str, more: &str) -> String {
        let (imap, pop3) = match tls {
            "implicit" => (Service::Imaps, Service::Pop3s),
            _ => (Service::Imap, Service::Pop3),
        };
        table("old", tls, self.server.port(imap), self.server.port(pop3), more)
    }

    /// Posthouse before it, with these lines in its table.
    fn door(&self, tls: &str, more: &str) -> Door {
        Door::open(&usual(&(self.table(tls, more) + &everybody_at("old"))))
    }
}

fn table(name: &str, tls: &str, imap: u16, pop3: u16, more: &str) -> String {
    format!(
        "[backend.{name}]\naddress = \"127.0.0.1\"\nimap_port = {imap}\npop3_port = {pop3}\n\
         tls = \"{tls}\"\n{more}\n"
    )
}

fn person(name: &str) -> Person {
    Person { name: name.to_owned(), password: password(name) }
}

fn assert_let_in(door: &Door, person: &Person) {
    let answer = door.imap_answer(&person.name, &person.password);
    assert!(answer.starts_with("OK "), "{answer}\n{}", door.log_text());
    let answer = door.pop3_answer(&person.name, &person.password);
    assert!(answer.starts_with("+OK"), "{answer}\n{}", door.log_text());
}

/// Nobody is let in; the line of the log that says why.
fn assert_unavailable(door: &Door, person: &Person) -> String {
    let answer = door.imap_answer(&person.name, &person.password);
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}\n{}", door.log_text());
    let answer = door.pop3_answer(&person.name, &person.password);
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}\n{}", door.log_text());
    door.line(|line| line.contains("login refused") && line.contains("reason=backend-tls"))
}

fn an_old_dovecot_lets_users_in_by_imap_and_pop3_whatever_it_is_believed_by(_: &House) {
    let anna = person("anna");
    let old = OldDovecot::start(&anna);
    let pin = format!("pin_sha256 = \"{}\"", old.pin());
    for tls in ["starttls", "implicit"] {
        for believed in [&old.ca_file(), &pin, "verify = false"] {
            let door = old.door(tls, &format!("{LEGACY}\n{believed}"));
            assert_let_in(&door, &anna);
        }
    }
}

fn an_old_cyrus_lets_users_in(_: &House) {
    // Where TLS comes by STARTTLS it stays new, for the one who makes the mailbox.
    let extra = ["imaps", "pop3s"].map(|service| {
        format!(
            "{service}_tls_versions: tls1_0\n\
             {service}_tls_ciphers: ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0\n"
        )
    });
    let extra = extra.concat();
    let cyrus = Cyrus::start(&CyrusOptions { extra, ..CyrusOptions::default() });
    let (cyrus, bert) = (cyrus.unwrap(), person("bert"));
    cyrus.add_user(&bert.name, &bert.password).unwrap();
    let more = format!("{LEGACY}\nca_file = \"{}\"", cyrus.certificates().ca.display());
    let (imaps, pop3s) = (cyrus.port(Service::Imaps), cyrus.port(Service::Pop3s));
    let table = table("old", "implicit", imaps, pop3s, &more);
    let door = Door::open(&usual(&(table + &everybody_at("old"))));
    assert_let_in(&door, &bert);
    let checked = door.does(&["backend", "check", "old"]);
    assert!(checked.contains("TLS 1.0"), "{checked}");
    // Cyrus ends without close_notify: what was said whole is no loss.
    let left = door.logged_in(&bert).logout();
    assert!(left.is_ok(), "{left:?}\n{}", door.log_text());
}

fn five_megabytes_come_through_both_ways(_: &House) {
    let carl = person("carl");
    let old = OldDovecot::start(&carl);
    let mut message = b"From: x@example.org\r\nSubject: much\r\n\r\n".to_vec();
    while message.len() < 5_000_000 {
        let line = format!("{:x>78}\r\n", message.len());
        message.extend_from_slice(line.as_bytes());
    }
    for tls in ["starttls", "implicit"] {
        let door = old.door(tls, &format!("{LEGACY}\n{}", old.ca_file()));
        let mut client = door.logged_in(&carl);
        client.append("INBOX", &message).unwrap();
        let number = client.select("INBOX").unwrap();
        assert!(client.fetch(number).unwrap() == message, "{tls}: another message");
        client.logout().unwrap();
    }
}

fn without_the_key_an_old_server_is_refused_and_the_log_says_what_to_set(_: &House) {
    let dora = person("dora");
    let old = OldDovecot::start(&dora);
    for more in ["", "\ntls_legacy = false"] {
        let door = old.door("implicit", &format!("{}{more}", old.ca_file()));
        let said = assert_unavailable(&door, &dora);
        assert!(said.contains("`tls_legacy = true`"), "{said}");
    }
}

fn an_old_server_with_the_wrong_certificate_gets_no_password(house: &House) {
    let emil = person("emil");
    let old = OldDovecot::start(&emil);
    let other = format!("ca_file = \"{}\"", house.authority(Kind::Maildir).display());
    let unknown = old.door("implicit", &format!("{LEGACY}\n{other}"));
    let said = assert_unavailable(&unknown, &emil);
    assert!(said.contains("invalid peer certificate"), "{said}");
    assert!(said.contains("`ca_file`"), "{said}");
    let wrong = old.pin().chars().rev().collect::<String>();
    let pinned = old.door("starttls", &format!("{LEGACY}\npin_sha256 = \"{wrong}\""));
    let said = assert_unavailable(&pinned, &emil);
    let seen = old.pin().replace(':', "").to_lowercase();
    assert!(said.contains("not the pinned one") && said.contains(&seen), "{said}");
    let table = old.table("implicit", &format!("{LEGACY}\n{}", old.ca_file()));
    let named = table.replace("\"127.0.0.1\"", "\"localhost\"") + &everybody_at("old");
    let said = assert_unavailable(&Door::open(&usual(&named)), &emil);
    assert!(said.contains("`address` must be one of the names"), "{said}");
    assert!(!old.server.log_text().contains("user=<emil>"), "{}", old.server.log_text());
}

fn a_back_end_beside_an_old_one_is_spoken_to_in_new_tls(house: &House) {
    let person = &house.person(Kind::Maildir);
    let old = OldDovecot::start(person);
    let ca = format!("ca_file = \"{}\"", house.authority(Kind::Maildir).display());
    let (imaps, pop3s) =
        (house.port(Kind::Maildir, Service::Imaps), house.port(Kind::Maildir, Service::Pop3s));
    let tables = old.table("implicit", &format!("{LEGACY}\n{}", old.ca_file()))
        + &table("new", "implicit", imaps, pop3s, &ca);
    for name in ["new", "old"] {
        assert_let_in(&Door::open(&usual(&(tables.clone() + &everybody_at(name)))), person);
    }
    let door = Door::open(&usual(&(tables + &everybody_at("new"))));
    for (name, version) in [("new", "TLS 1.3"), ("old", "TLS 1.0")] {
        let checked = door.does(&["backend", "check", name]);
        assert!(checked.contains(version), "{checked}");
    }
}

fn the_operator_is_told_of_old_tls(_: &House) {
    let person = person("frida");
    let old = OldDovecot::start(&person);
    let door = old.door("starttls", &format!("{LEGACY}\n{}", old.ca_file()));
    assert_let_in(&door, &person);
    let listed = door.does(&["backend", "list"]);
    assert!(listed.contains("starttls (legacy)"), "{listed}");
    let checked = door.does(&["check"]);
    assert!(checked.contains("starttls (legacy)"), "{checked}");
    let warnings = door.log_lines();
    let warnings = warnings.iter().filter(|line| line.contains("old TLS")).count();
    assert_eq!(warnings, 1, "{}", door.log_text());
}
