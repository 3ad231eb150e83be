//! Certificates as identities: of clients towards us, of ours towards back ends that believe it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use e2e::{
    cases,
    door::{Door, HEAD, everybody_at},
    house::{House, Kind, Person},
    programs::{program, python, s_client, text},
    runner::Case,
    secrets::password,
    stub::Stub,
};
use tempfile::TempDir;
use testkit::{
    certs::{Authority, KeyKind},
    mail_clients::{ImapClient, Security},
    scripted::Client,
    servers::{
        Service,
        cyrus::{Cyrus, CyrusOptions},
        dovecot::{Dovecot, DovecotOptions},
    },
    workspace,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        mail_programs_come_in_by_certificate,
        who_has_no_good_certificate_does_not_come_in_by_it,
        a_listener_that_requires_a_certificate_takes_nobody_without,
        a_user_comes_in_by_certificate_again_when_his_session_is_resumed,
        dovecot_believes_our_certificate_and_lets_in_whom_we_name,
        cyrus_believes_our_certificate_and_lets_in_whom_we_name,
        a_back_end_that_does_not_believe_our_certificate_lets_nobody_in,
        the_name_that_a_client_asks_for_reaches_the_back_end,
        a_source_can_be_asked_by_the_name_that_a_client_asks_for,
    ]
}

/// Certificates for a test, made by an authority of its own.
struct Papers {
    authority: Authority,
    folder: TempDir,
}

impl Papers {
    fn new() -> Self {
        let folder = workspace::temporary_folder("papers").unwrap();
        let authority = Authority::new(KeyKind::Ecdsa).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        Self { authority, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate and its key in files.
    fn of(&self, file: &str, common_name: &str) -> (String, String) {
        self.put(file, self.authority.issue_client(common_name).unwrap())
    }

    fn put(&self, file: &str, (certificate, key): (String, String)) -> (String, String) {
        let paths = (self.path(&format!("{file}.pem")), self.path(&format!("{file}.key")));
        fs::write(&paths.0, certificate).unwrap();
        fs::write(&paths.1, key).unwrap();
        fs::set_permissions(&paths.1, Permissions::from_mode(0o600)).unwrap();
        (shown(&paths.0), shown(&paths.1))
    }
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Four listeners that ask for certificates of this authority, in front of what follows.
fn asking(papers: &Papers, more: &str, rest: &str) -> String {
    let ca = shown(&papers.ca());
    let listener = |protocol: &str, port: &str, tls: &str| {
        format!(
            "[[listener]]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:@{port}@\"\n\
             tls = \"{tls}\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n\
             client_ca_file = \"{ca}\"\n{more}\n"
        )
    };
    format!(
        "{HEAD}{}{}{}{}{rest}",
        listener("imap", "IMAP", "starttls"),
        listener("imap", "IMAPS", "implicit"),
        listener("pop3", "POP3", "starttls"),
        listener("pop3", "POP3S", "implicit"),
    )
}

const BOTH: &str = "mechanisms = [\"command\", \"plain\", \"external\"]";
const ALL_AT_A: &str = "[[directory]]\nsource = \"static\"\nbackend = \"a\"\n";

/// A Dovecot of the house where we log in as a master user.
fn by_master(house: &House) -> String {
    house.add_master("certmaster", &password("certmaster"));
    format!(
        "{}login = \"master\"\nmaster_user = \"certmaster\"\nmaster_secret = \"{}\"\n{}",
        house.backend(Kind::Maildir),
        password("certmaster"),
        everybody_at("maildir"),
    )
}

const IMAPLIB: &str = r#"
import imaplib, ssl, sys
port, ca, certificate, key, way = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
if way == "starttls":
    client = imaplib.IMAP4("localhost", int(port))
    assert "AUTH=EXTERNAL" not in client.capabilities, client.capabilities
    client.starttls(context)
else:
    client = imaplib.IMAP4_SSL("localhost", int(port), ssl_context=context)
assert "AUTH=EXTERNAL" in client.capabilities, client.capabilities
print(client.authenticate("EXTERNAL", lambda challenge: b""))
print(client.select("INBOX"))
print(client.logout())
"#;

fn mail_programs_come_in_by_certificate(house: &House) {
    let papers = Papers::new();
    let person = house.person(Kind::Maildir);
    house.deliver(Kind::Maildir, &person, b"From: x@example.org\r\nSubject: papers\r\n\r\nb\r\n");
    let door = Door::open(&asking(&papers, BOTH, &by_master(house)));
    let (certificate, key) = papers.of("own", &person.name);
    let ca = shown(&door.authority());
    for (port, way) in [(door.imap, "starttls"), (door.imaps, "implicit")] {
        let output = python(IMAPLIB, &[&port.to_string(), &ca, &certificate, &key, way]);
        assert!(text(&output).contains("('OK', [b'1'])"), "{}\n{}", text(&output), door.log_text());
    }
    for url in [
        format!("imaps://localhost:{}/INBOX;MAILINDEX=1", door.imaps),
        format!("imap://localhost:{}/INBOX;MAILINDEX=1", door.imap),
        format!("pop3s://localhost:{}/1", door.pop3s),
        format!("pop3://localhost:{}/1", door.pop3),
    ] {
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--ssl-reqd", "--cacert", &ca]);
        curl.args(["--cert", &certificate, "--key", &key, "--login-options", "AUTH=EXTERNAL"]);
        curl.args(["--user", &format!("{}:", person.name), &url]);
        let said = text(&curl.output().unwrap());
        assert!(said.contains("Subject: papers"), "{url}: {said}\n{}", door.log_text());
    }
    // A password is taken beside it, and from who has no certificate.
    let mut client = ImapClient::connect(("127.0.0.1", door.imaps), &Security::Tls(door.trust()));
    let refused = client.as_mut().unwrap().login(&person.name, "wrong");
    assert!(format!("{refused:?}").contains("UNAVAILABLE"), "{refused:?}");
}

/// Says something at a TLS port with these papers.
fn says(port: u16, papers: Option<&(String, String)>, words: &str) -> String {
    let mut arguments = vec!["-servername", "mail.example.org"];
    if let Some((certificate, key)) = papers {
        arguments.extend(["-cert", certificate, "-key", key]);
    }
    s_client(port, &arguments, words)
}

const EXTERNAL: &str = "a CAPABILITY\r\nb AUTHENTICATE EXTERNAL =\r\nc LOGOUT\r\n";

fn who_has_no_good_certificate_does_not_come_in_by_it(house: &House) {
    let (papers, strangers) = (Papers::new(), Papers::new());
    let person = house.person(Kind::Maildir);
    let other = house.person(Kind::Maildir);
    let door = Door::open(&asking(&papers, BOTH, &by_master(house)));

    let good = papers.of("good", &person.name);
    let said = says(door.imaps, Some(&good), EXTERNAL);
    assert!(said.contains("AUTH=EXTERNAL") && said.contains("b OK"), "{said}\n{}", door.log_text());
    let said = says(door.pop3s, Some(&good), "CAPA\r\nAUTH EXTERNAL =\r\nquit\r\n");
    assert!(said.contains("SASL PLAIN EXTERNAL"), "{said}");
    door.line(|line| line.contains("protocol=pop3") && line.contains(&person.name));

    for (bad, detail) in [
        (strangers.of("strange", &person.name), "invalid peer certificate"),
        (papers.put("old", papers.authority.issue_old_client(&person.name).unwrap()), "expired"),
    ] {
        for port in [door.imaps, door.pop3s] {
            let said = says(port, Some(&bad), EXTERNAL);
            assert!(said.contains("alert") && !said.contains("AUTH="), "{said}");
        }
        let fits = |line: &str| line.contains("reason=client-certificate") && line.contains(detail);
        door.line(fits);
    }
    // Believed, and good for no login by it.
    let unfit = papers.of("unfit", "ann\r\nx LOGOUT");
    for papers in [None, Some(&unfit)] {
        let said = says(door.imaps, papers, EXTERNAL);
        assert!(!said.contains("AUTH=EXTERNAL") && said.contains("AUTH=PLAIN"), "{said}");
        assert!(said.contains("b NO Unsupported mechanism"), "{said}");
    }
    door.line(|line| line.contains("no login by this certificate") && line.contains("control"));
    // Nor on behalf of another: base64 of the other's name.
    let authzid = base64(&other.name);
    let said = says(
        door.imaps,
        Some(&good),
        &format!("b AUTHENTICATE EXTERNAL {authzid}\r\nc LOGOUT\r\n"),
    );
    assert!(said.contains("b NO [AUTHENTICATIONFAILED]"), "{said}");
    let own = base64(&person.name);
    let said =
        says(door.imaps, Some(&good), &format!("b AUTHENTICATE EXTERNAL {own}\r\nc LOGOUT\r\n"));
    assert!(said.contains("b OK"), "{said}");
}

fn base64(text: &str) -> String {
    let output = python(
        "import base64, sys; print(base64.b64encode(sys.argv[1].encode()).decode())",
        &[text],
    );
    e2e::programs::printed(&output).trim().to_owned()
}

fn a_listener_that_requires_a_certificate_takes_nobody_without(house: &House) {
    let papers = Papers::new();
    let person = house.person(Kind::Maildir);
    // A certificate of anybody, and a password.
    let more = "client_certificate = \"required\"";
    let rest = house.backend(Kind::Maildir) + &everybody_at("maildir");
    let door = Door::open(&asking(&papers, more, &rest));
    let login = format!("b LOGIN {} {}\r\nc LOGOUT\r\n", person.name, person.password);
    for version in ["-tls1_2", "-tls1_3"] {
        let said = s_client(door.imaps, &[version], &login);
        assert!(said.contains("alert") && !said.contains("b OK"), "{said}");
    }
    door.line(|line| {
        line.contains("reason=client-certificate") && line.contains("no certificates")
    });
    let anybody = papers.of("anybody", "device 7");
    let said = says(door.imaps, Some(&anybody), &login);
    assert!(said.contains("b OK") && !said.contains("AUTH=EXTERNAL"), "{said}");
}

fn a_user_comes_in_by_certificate_again_when_his_session_is_resumed(house: &House) {
    let papers = Papers::new();
    let person = house.person(Kind::Maildir);
    let door = Door::open(&asking(&papers, BOTH, &by_master(house)));
    let (certificate, key) = papers.of("own", &person.name);
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = shown(&papers.path(&format!("session{version}")));
        let first = [version, "-cert", &certificate, "-key", &key, "-sess_out", &session];
        let said = s_client(door.imaps, &first, EXTERNAL);
        assert!(said.contains(&format!("New, {name}")) && said.contains("b OK"), "{said}");
        // The certificate is in the ticket: it is not shown again.
        let said = s_client(door.imaps, &[version, "-sess_in", &session], EXTERNAL);
        assert!(said.contains(&format!("Reused, {name}")), "{said}");
        assert!(said.contains("AUTH=EXTERNAL") && said.contains("b OK"), "{said}");
        // At a listener of another protocol the ticket is worth nothing.
        let said = s_client(door.pop3s, &[version, "-sess_in", &session], "CAPA\r\nquit\r\n");
        assert!(said.contains("New, ") && !said.contains("EXTERNAL"), "{said}");
    }
}

/// A back end's table that believes our certificate, and everybody at it.
fn believing(papers: &Papers, tls: &str, ca: &Path, imap: u16, pop3: u16) -> String {
    let (certificate, key) = papers.of("posthouse", "posthouse");
    format!(
        "[backend.a]\naddress = \"127.0.0.1\"\nimap_port = {imap}\npop3_port = {pop3}\n\
         tls = \"{tls}\"\nca_file = \"{}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n\
         login = \"trusted\"\ntrusted_by = \"certificate\"\n",
        shown(ca),
    )
}

/// A map of users with passwords.
fn knowing(papers: &Papers, people: &[&Person]) -> String {
    let users = people.iter().map(|person| {
        format!(
            "[users.\"{}\"]\nbackend = \"a\"\npassword = \"{}\"\n",
            person.name, person.password
        )
    });
    let file = papers.path("users.toml");
    fs::write(&file, users.collect::<String>()).unwrap();
    format!("[[directory]]\nsource = \"file\"\nfile = \"{}\"\n", shown(&file))
}

/// Two people come in by certificate and by password, more than once, so that sessions with the back
/// end are resumed.
fn assert_both_come_in(papers: &Papers, door: &Door, people: &[&Person]) {
    for person in people {
        let own = papers.of("own", &person.name);
        for _ in 0..2 {
            let said = says(
                door.imaps,
                Some(&own),
                "b AUTHENTICATE EXTERNAL =\r\nc STATUS INBOX (MESSAGES)\r\nd LOGOUT\r\n",
            );
            assert!(said.contains("b OK") && said.contains("c OK"), "{said}\n{}", door.log_text());
            let said = says(door.pop3s, Some(&own), "AUTH EXTERNAL =\r\nSTAT\r\nquit\r\n");
            assert!(said.contains("+OK 0 0"), "{said}\n{}", door.log_text());
            let security = Security::Tls(door.trust());
            let mut client = ImapClient::connect(("127.0.0.1", door.imaps), &security).unwrap();
            client.login(&person.name, &person.password).unwrap();
            client.select("INBOX").unwrap();
        }
    }
}

fn people(names: [&str; 2]) -> [Person; 2] {
    names.map(|name| Person { name: name.to_owned(), password: password(name) })
}

fn dovecot_believes_our_certificate_and_lets_in_whom_we_name(_: &House) {
    let (papers, ours) = (Papers::new(), Papers::new());
    let proxies = ours.path("proxies");
    fs::write(&proxies, "posthouse:::::::nopassword\n").unwrap();
    let extra = format!(
        "ssl_ca = <{}
ssl_require_crl = no
ssl_verify_client_cert = yes
auth_ssl_username_from_cert = yes
ssl_cert_username_field = commonName
auth_mechanisms = plain login external
passdb {{
  driver = passwd-file
  master = yes
  mechanisms = external
  args = {}
  result_success = continue
}}
",
        shown(&ours.ca()),
        shown(&proxies),
    );
    let dovecot = Dovecot::start(DovecotOptions { extra, ..DovecotOptions::default() }).unwrap();
    let people = people(["papersanna", "papersbert"]);
    for person in &people {
        dovecot.add_user(&person.name, &person.password).unwrap();
    }
    let people = people.each_ref();
    let ca = dovecot.certificates().ca;
    for (tls, imap, pop3) in
        [("implicit", Service::Imaps, Service::Pop3s), ("starttls", Service::Imap, Service::Pop3)]
    {
        let rest = believing(&ours, tls, &ca, dovecot.port(imap), dovecot.port(pop3));
        let door = Door::open(&asking(&papers, BOTH, &(rest + &knowing(&papers, &people))));
        assert_both_come_in(&papers, &door, &people);
        let log = dovecot.log_text();
        assert!(log.contains("method=EXTERNAL") && log.contains("user=<papersanna>"), "{log}");
    }
    // Nobody gets in as our certificate by a password, nor on another's behalf.
    let mut client = Client::connect(("127.0.0.1", dovecot.port(Service::Imap))).unwrap();
    client.read_line().unwrap();
    client.ask("l LOGIN papersanna*posthouse x", "l NO").unwrap();
}

fn cyrus_believes_our_certificate_and_lets_in_whom_we_name(_: &House) {
    let (papers, ours) = (Papers::new(), Papers::new());
    let extra = format!(
        "tls_client_ca_file: {}\ntls_client_certs: optional\nproxyservers: posthouse\n",
        shown(&ours.ca()),
    );
    let cyrus = Cyrus::start(&CyrusOptions { extra, ..CyrusOptions::default() }).unwrap();
    let people = people(["paperscara", "papersdora"]);
    for person in &people {
        cyrus.add_user(&person.name, &person.password).unwrap();
    }
    let people = people.each_ref();
    let ca = cyrus.certificates().ca;
    for (tls, imap, pop3) in
        [("implicit", Service::Imaps, Service::Pop3s), ("starttls", Service::Imap, Service::Pop3)]
    {
        let rest = believing(&ours, tls, &ca, cyrus.port(imap), cyrus.port(pop3));
        let door = Door::open(&asking(&papers, BOTH, &(rest + &knowing(&papers, &people))));
        assert_both_come_in(&papers, &door, &people);
    }
}

fn a_back_end_that_does_not_believe_our_certificate_lets_nobody_in(_: &House) {
    let (papers, ours, strangers) = (Papers::new(), Papers::new(), Papers::new());
    let extra = format!(
        "ssl_ca = <{}\nssl_require_crl = no\nssl_verify_client_cert = yes\n\
         auth_ssl_require_client_cert = yes\nauth_mechanisms = plain login external\n",
        shown(&ours.ca()),
    );
    let dovecot = Dovecot::start(DovecotOptions { extra, ..DovecotOptions::default() }).unwrap();
    let (imap, pop3) = (dovecot.port(Service::Imaps), dovecot.port(Service::Pop3s));
    let rest = believing(&strangers, "implicit", &dovecot.certificates().ca, imap, pop3);
    let door = Door::open(&asking(&papers, BOTH, &(rest + ALL_AT_A)));
    let own = papers.of("own", "anna");
    let said = says(door.imaps, Some(&own), EXTERNAL);
    assert!(said.contains("b NO [UNAVAILABLE]"), "{said}");
    door.line(|line| {
        line.contains("reason=backend-master-refused") && line.contains("valid SSL certificate")
    });
}

fn the_name_that_a_client_asks_for_reaches_the_back_end(_: &House) {
    let stub = Stub::start(|mut talk| {
        talk.send("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN] ready\r\n")?;
        loop {
            let line = talk.line()?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            if command.starts_with("ID") {
                talk.send("* ID NIL\r\n")?;
            }
            talk.send(&format!("{tag} OK [CAPABILITY IMAP4rev1] done\r\n"))?;
            if command.starts_with("LOGOUT") {
                return Ok(());
            }
        }
    });
    let rest =
        e2e::door::backend("a", stub.port(), stub.port()) + "identity = \"native\"\n" + ALL_AT_A;
    let door = Door::open(&e2e::door::usual(&rest));
    for (version, name) in [("-tls1_2", "two.example.org"), ("-tls1_3", "three.example.org")] {
        let session = shown(&door.folder().join(version));
        for way in ["-sess_out", "-sess_in"] {
            let login = format!("l LOGIN {way} {}\r\nc LOGOUT\r\n", password("asked"));
            let said = s_client(door.imaps, &[version, "-servername", name, way, &session], &login);
            assert!(said.contains("l OK"), "{said}");
        }
        // Once anew, once resumed.
        let told = format!("\"x-connected-name\" \"{name}\"");
        let heard = stub.heard();
        assert_eq!(heard.matches(&told).count(), 2, "{heard}");
    }
}

fn a_source_can_be_asked_by_the_name_that_a_client_asks_for(_: &House) {
    let greeting = |name: &'static str| {
        Stub::start(move |mut talk| {
            talk.send("* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN] ready\r\n")?;
            loop {
                let line = talk.line()?;
                let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
                talk.send(&format!("{tag} OK [CAPABILITY IMAP4rev1] {name}\r\n"))?;
                if command.starts_with("LOGOUT") {
                    return Ok(());
                }
            }
        })
    };
    let (one, two) = (greeting("behind one"), greeting("behind two"));
    let map = TempDir::new().unwrap();
    let path = map.path().join("map");
    fs::write(&path, "ann@one.example.org: a\nann@two.example.org: b\n").unwrap();
    let rest = e2e::door::backend("a", one.port(), one.port())
        + &e2e::door::backend("b", two.port(), two.port())
        + &format!(
            "[[directory]]\nsource = \"file\"\nfile = {path:?}\nkeys = [\"{{user}}@{{server_name}}\"]\n"
        );
    let door = Door::open(&e2e::door::usual(&rest));
    for name in ["one", "two"] {
        let login = format!("l LOGIN ann {}\r\nc LOGOUT\r\n", password("asked"));
        let asked = format!("{name}.example.org");
        let said = s_client(door.imaps, &["-servername", &asked], &login);
        assert!(said.contains(&format!("c OK [CAPABILITY IMAP4rev1] behind {name}")), "{said}");
    }
}
