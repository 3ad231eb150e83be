//! Mail programs that people use, through Posthouse to each real server.

use std::{fs, path::Path, time::Duration};

use e2e::{
    cases,
    door::{Door, everybody_at, usual},
    house::{House, Kind, Person},
    programs::{self, printed},
    runner::Case,
};
use testkit::{
    mail_clients::{ImapClient, Pop3Client, Security},
    peers::{self, Peer},
    workspace,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        curl_reads_and_writes_mail_on_dovecot_with_maildir,
        curl_reads_and_writes_mail_on_dovecot_with_sdbox,
        curl_reads_and_writes_mail_on_cyrus,
        mbsync_brings_a_mailbox_here_and_back_on_dovecot_with_maildir,
        mbsync_brings_a_mailbox_here_and_back_on_dovecot_with_sdbox,
        mbsync_brings_a_mailbox_here_and_back_on_cyrus,
        imaplib_works_in_a_mailbox_on_dovecot_with_maildir,
        imaplib_works_in_a_mailbox_on_dovecot_with_sdbox,
        imaplib_works_in_a_mailbox_on_cyrus,
        poplib_takes_mail_away_from_dovecot_with_maildir,
        poplib_takes_mail_away_from_dovecot_with_sdbox,
        poplib_takes_mail_away_from_cyrus,
        a_message_delivered_while_idling_is_told_at_once,
        a_large_message_arrives_byte_for_byte,
        passwords_of_any_legal_bytes_reach_the_back_end,
    ]
}

/// With what proxies trip over: dots at line beginnings, bytes above 127, what looks like a literal or a
/// tagged answer, a line that is longer than a buffer.
fn message(subject: &str) -> Vec<u8> {
    let mut text = format!(
        "From: a@example.org\r\nTo: b@example.org\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
         Subject: {subject}\r\nMessage-ID: <{}@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         .\r\n..\r\n.dots\r\na1 OK done\r\n+OK\r\nsee {{5}}\r\nGr\u{fc}\u{df}e \u{2709}\r\n",
        subject.replace(' ', "."),
    )
    .into_bytes();
    text.extend([b'x'; 900]);
    text.extend_from_slice(b"\r\nend\r\n");
    text
}

/// A message of more than one mebibyte.
fn large_message(subject: &str) -> Vec<u8> {
    let mut text = message(subject);
    for number in 0..24_000 {
        text.extend(format!("{number:06} {}\r\n", ".large. body ".repeat(4)).into_bytes());
    }
    assert!(text.len() > 1 << 20);
    text
}

fn opened(house: &House, kind: Kind) -> (Door, Person) {
    let config = usual(&format!("{}{}", house.backend(kind), everybody_at(kind.name())));
    (Door::open(&config), house.person(kind))
}

fn append(door: &Door, person: &Person, message: &[u8]) {
    let mut client = door.logged_in(person);
    client.append("INBOX", message).unwrap();
    client.logout().unwrap();
}

struct Curl<'t> {
    door: &'t Door,
    person: &'t Person,
}

impl Curl<'_> {
    fn run(&self, url: &str, more: &[&str]) -> Vec<u8> {
        let Person { name, password } = self.person;
        let mut command = programs::program("curl");
        command.args(["-sS", "--max-time", "30", "-u", &format!("{name}:{password}"), "--cacert"]);
        let output = command.arg(self.door.authority()).args(more).arg(url).output().unwrap();
        let said = programs::text(&output);
        assert!(output.status.success(), "{url}: {said}\n{}", self.door.log_text());
        output.stdout
    }
}

fn curl(house: &House, kind: Kind) {
    let (door, person) = opened(house, kind);
    let curl = Curl { door: &door, person: &person };
    let folder = workspace::temporary_folder("curl").unwrap();
    let file = folder.path().join("message");
    let file = file.to_str().unwrap();
    let Door { imap, imaps, pop3, pop3s, .. } = &door;
    let mut stored: Vec<Vec<u8>> = Vec::new();
    let ways: [(String, &[&str]); 3] = [
        (format!("imap://127.0.0.1:{imap}"), &[]),
        (format!("imap://127.0.0.1:{imap}"), &["--ssl-reqd"]),
        (format!("imaps://127.0.0.1:{imaps}"), &[]),
    ];
    for (url, options) in &ways {
        let listed = curl.run(&format!("{url}/"), options);
        assert!(String::from_utf8_lossy(&listed).contains("INBOX"), "{listed:?}");
        let text = match stored.len() {
            1 => large_message("large by curl"),
            number => message(&format!("curl {number}")),
        };
        fs::write(file, &text).unwrap();
        curl.run(&format!("{url}/INBOX"), &[options, &["-T", file][..]].concat());
        stored.push(text);
        let number = stored.len();
        let fetched = curl.run(&format!("{url}/INBOX;MAILINDEX={number}"), options);
        assert!(fetched == stored[number - 1], "message {number} differs by {url} {options:?}");
    }
    let ways: [(String, &[&str]); 3] = [
        (format!("pop3://127.0.0.1:{pop3}"), &[]),
        (format!("pop3://127.0.0.1:{pop3}"), &["--ssl-reqd"]),
        (format!("pop3s://127.0.0.1:{pop3s}"), &[]),
    ];
    for (url, options) in &ways {
        let listed = curl.run(&format!("{url}/"), options);
        assert_eq!(String::from_utf8_lossy(&listed).lines().count(), stored.len());
        for (place, text) in stored.iter().enumerate() {
            let fetched = curl.run(&format!("{url}/{}", place + 1), options);
            assert!(fetched == *text, "message {} differs by {url} {options:?}", place + 1);
        }
    }
}

fn curl_reads_and_writes_mail_on_dovecot_with_maildir(house: &House) {
    curl(house, Kind::Maildir);
}

fn curl_reads_and_writes_mail_on_dovecot_with_sdbox(house: &House) {
    curl(house, Kind::Sdbox);
}

fn curl_reads_and_writes_mail_on_cyrus(house: &House) {
    curl(house, Kind::Cyrus);
}

fn mbsync(house: &House, kind: Kind) {
    let (door, person) = opened(house, kind);
    let text = message("from the server");
    append(&door, &person, &text);
    let isync = peers::ensure(Peer::Isync).unwrap();
    let folder = workspace::temporary_folder("mbsync").unwrap();
    for (port, tls) in [(door.imaps, "IMAPS"), (door.imap, "STARTTLS"), (door.imap, "None")] {
        let here = folder.path().join(tls);
        fs::create_dir(&here).unwrap();
        let run = || synchronize(&door, &person, &isync, &here, port, tls);
        run();
        let brought = messages(&here.join("INBOX"));
        let wanted = String::from_utf8(text.clone()).unwrap().replace("\r\n", "\n");
        assert!(brought.contains(&wanted), "{tls}: not among {brought:?}");
        let subject = format!("from here by {tls}");
        let own = String::from_utf8(message(&subject)).unwrap().replace("\r\n", "\n");
        fs::write(here.join(format!("INBOX/new/1700000000.{tls}.localhost")), own).unwrap();
        run();
        let mut client = door.logged_in(&person);
        let exists = client.select("INBOX").unwrap();
        assert_eq!(client.subject(exists).unwrap(), subject);
        client.logout().unwrap();
    }
}

fn synchronize(
    door: &Door,
    person: &Person,
    isync: &peers::PeerDir,
    here: &Path,
    port: u16,
    tls: &str,
) {
    let (folder, authority) = (here.display(), door.authority());
    let config = format!(
        "IMAPAccount door\nHost localhost\nPort {port}\nUser {}\nPass {}\nSSLType {tls}\n\
         CertificateFile {}\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount door\n\n\
         MaildirStore near\nPath {folder}/\nInbox {folder}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Both\nSyncState *\n",
        person.name,
        person.password,
        authority.display(),
    );
    let file = here.join("mbsyncrc");
    fs::write(&file, config).unwrap();
    let mut command = programs::limited(&isync.command("usr/bin/mbsync").unwrap());
    let output = command.arg("-c").arg(&file).arg("all").output().unwrap();
    assert!(output.status.success(), "{}\n{}", programs::text(&output), door.log_text());
}

/// All messages of a Maildir, without the header by which mbsync finds its own again.
fn messages(maildir: &Path) -> Vec<String> {
    let text = |path: &Path| {
        let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
        text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID: ")).collect()
    };
    let of = |part: &str| {
        let entries = fs::read_dir(maildir.join(part)).unwrap();
        entries.map(|entry| text(&entry.unwrap().path())).collect::<Vec<_>>()
    };
    [of("new"), of("cur")].concat()
}

fn mbsync_brings_a_mailbox_here_and_back_on_dovecot_with_maildir(house: &House) {
    mbsync(house, Kind::Maildir);
}

fn mbsync_brings_a_mailbox_here_and_back_on_dovecot_with_sdbox(house: &House) {
    mbsync(house, Kind::Sdbox);
}

fn mbsync_brings_a_mailbox_here_and_back_on_cyrus(house: &House) {
    mbsync(house, Kind::Cyrus);
}

const IMAPLIB: &str = r#"
import imaplib, ssl, sys
way, port, ca, name, password, large = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
def connect():
    if way == "tls":
        return imaplib.IMAP4_SSL("127.0.0.1", int(port), ssl_context=context, timeout=30)
    connection = imaplib.IMAP4("127.0.0.1", int(port), timeout=30)
    if way == "starttls":
        connection.starttls(context)
    return connection
def check(answer):
    assert answer[0] == "OK", answer
    return answer[1]
# A name of its own each time: Cyrus now and then still knows a mailbox just deleted.
folder = "Sent-" + way
connection = connect()
try:
    connection.login(name, "wrong")
    sys.exit("a wrong password was taken")
except imaplib.IMAP4.error as error:
    assert "AUTHENTICATIONFAILED" in str(error), error
check(connection.login(name, password))
check(connection.create(folder))
names = b" ".join(check(connection.list()))
assert folder.encode() in names, names
message = open(large, "rb").read()
check(connection.append(folder, r"(\Seen)", None, message))
assert check(connection.select(folder)) == [b"1"]
fetched = check(connection.fetch("1", "(FLAGS BODY.PEEK[])"))
assert fetched[0][1] == message
check(connection.store("1", "+FLAGS", r"(\Deleted)"))
check(connection.expunge())
check(connection.close())
connection.logout()
again = connect()
check(again.authenticate("PLAIN", lambda _: f"\0{name}\0{password}".encode()))
assert check(again.select(folder)) == [b"0"]
check(again.unselect())
check(again.delete(folder))
again.logout()
print("done")
"#;

fn imaplib(house: &House, kind: Kind) {
    let (door, person) = opened(house, kind);
    let file = door.folder().join("message");
    fs::write(&file, large_message("large by imaplib")).unwrap();
    let ca = door.authority();
    for (way, port) in [("clear", door.imap), ("starttls", door.imap), ("tls", door.imaps)] {
        let port = port.to_string();
        let (ca, file) = (ca.to_str().unwrap(), file.to_str().unwrap());
        let arguments = [way, &port, ca, &person.name, &person.password, file];
        assert_eq!(printed(&programs::python(IMAPLIB, &arguments)), "done\n", "{way}");
    }
}

fn imaplib_works_in_a_mailbox_on_dovecot_with_maildir(house: &House) {
    imaplib(house, Kind::Maildir);
}

fn imaplib_works_in_a_mailbox_on_dovecot_with_sdbox(house: &House) {
    imaplib(house, Kind::Sdbox);
}

fn imaplib_works_in_a_mailbox_on_cyrus(house: &House) {
    imaplib(house, Kind::Cyrus);
}

const POPLIB: &str = r#"
import poplib, ssl, sys
way, port, ca, name, password, file = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
def connect():
    if way == "tls":
        return poplib.POP3_SSL("127.0.0.1", int(port), context=context, timeout=30)
    connection = poplib.POP3("127.0.0.1", int(port), timeout=30)
    if way == "starttls":
        connection.stls(context)
    return connection
connection = connect()
assert "UIDL" in connection.capa(), connection.capa()
connection.user(name)
try:
    connection.pass_("wrong")
    sys.exit("a wrong password was taken")
except poplib.error_proto as error:
    assert b"[AUTH]" in error.args[0], error
connection.user(name)
connection.pass_(password)
message = open(file, "rb").read()
assert connection.stat()[0] == 1
assert len(connection.list()[1]) == 1
uid = connection.uidl()[1][0].split()[1]
assert connection.uidl(1).split()[2] == uid
answer, lines, octets = connection.retr(1)
assert b"\r\n".join(lines) + b"\r\n" == message
assert len(connection.top(1, 0)[1]) < len(lines)
connection.dele(1)
connection.quit()
again = connect()
again.user(name)
again.pass_(password)
assert again.stat()[0] == 0
again.quit()
print("done")
"#;

fn poplib(house: &House, kind: Kind) {
    let (door, person) = opened(house, kind);
    door.wait_probed(kind.name());
    let file = door.folder().join("message");
    let text = message("by poplib");
    fs::write(&file, &text).unwrap();
    let ca = door.authority();
    for (way, port) in [("clear", door.pop3), ("starttls", door.pop3), ("tls", door.pop3s)] {
        append(&door, &person, &text);
        let port = port.to_string();
        let (ca, file) = (ca.to_str().unwrap(), file.to_str().unwrap());
        let arguments = [way, &port, ca, &person.name, &person.password, file];
        assert_eq!(printed(&programs::python(POPLIB, &arguments)), "done\n", "{way}");
    }
}

fn poplib_takes_mail_away_from_dovecot_with_maildir(house: &House) {
    poplib(house, Kind::Maildir);
}

fn poplib_takes_mail_away_from_dovecot_with_sdbox(house: &House) {
    poplib(house, Kind::Sdbox);
}

fn poplib_takes_mail_away_from_cyrus(house: &House) {
    poplib(house, Kind::Cyrus);
}

fn a_message_delivered_while_idling_is_told_at_once(house: &House) {
    for kind in [Kind::Maildir, Kind::Sdbox] {
        let (door, person) = opened(house, kind);
        let address = ("127.0.0.1", door.imaps);
        let mut client = ImapClient::connect(address, &Security::Tls(door.trust())).unwrap();
        client.login(&person.name, &person.password).unwrap();
        assert_eq!(client.select("INBOX").unwrap(), 0);
        let wire = client.wire();
        wire.set_deadline(Duration::from_secs(45));
        wire.send(b"i1 IDLE\r\n").unwrap();
        let plus = wire.read_line().unwrap().unwrap();
        assert!(plus.starts_with(b"+"), "{plus:?}");
        append(&door, &person, &message("while idling"));
        loop {
            let line = wire.read_line().unwrap().unwrap();
            if line == b"* 1 EXISTS\r\n" {
                break;
            }
            assert!(line.starts_with(b"* "), "{line:?}");
        }
        wire.send(b"DONE\r\n").unwrap();
        while !wire.read_line().unwrap().unwrap().starts_with(b"i1 OK") {}
        assert_eq!(client.subject(1).unwrap(), "while idling");
        client.logout().unwrap();
    }
}

fn a_large_message_arrives_byte_for_byte(house: &House) {
    for kind in Kind::ALL {
        let (door, person) = opened(house, kind);
        let text = large_message("large");
        let address = ("127.0.0.1", door.imaps);
        let mut client = ImapClient::connect(address, &Security::Tls(door.trust())).unwrap();
        client.wire().set_deadline(Duration::from_secs(30));
        client.login(&person.name, &person.password).unwrap();
        client.append("INBOX", &text).unwrap();
        client.select("INBOX").unwrap();
        assert!(client.fetch(1).unwrap() == text, "differs by IMAP on {kind:?}");
        client.logout().unwrap();
        let address = ("127.0.0.1", door.pop3s);
        let mut client = Pop3Client::connect(address, &Security::Tls(door.trust())).unwrap();
        client.wire().set_deadline(Duration::from_secs(30));
        client.login(&person.name, &person.password).unwrap();
        assert!(client.retrieve(1).unwrap() == text, "differs by POP3 on {kind:?}");
        client.quit().unwrap();
    }
}

fn passwords_of_any_legal_bytes_reach_the_back_end(house: &House) {
    let (door, person) = opened(house, Kind::Maildir);
    for (number, secret) in [
        r#"0penSesame \"quoted\" {3}"#,
        "0penSesame gr\u{fc}\u{df} \u{1f511}",
        " 0penSesame ",
        "0penSesame(){%*]&~",
    ]
    .iter()
    .enumerate()
    {
        let person =
            Person { name: format!("{}-{number}", person.name), password: (*secret).to_owned() };
        house.add(Kind::Maildir, &person);
        door.logged_in(&person).logout().unwrap();
        let wrong = door.imap_answer(&person.name, &format!("{secret}x"));
        assert!(wrong.starts_with("NO [AUTHENTICATIONFAILED]"), "{wrong}");
        let mut pop3 = door.pop3();
        pop3.login(&person.name, &person.password).unwrap();
        pop3.quit().unwrap();
    }
}
