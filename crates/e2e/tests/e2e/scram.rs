//! SCRAM-SHA-256 from end to end: clients that show their passwords to nobody.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{
    cases,
    door::{Door, SOON, listening},
    house::{House, Kind, Person},
    programs::{limited, printed, python, text},
    runner::Case,
    secrets::password,
};
use model::{Secret, UserName};
use proto::sasl::scram::{Binding, Broken, Client, Nonce};
use testkit::{
    mail_clients::{
        Security,
        programs::{Account, mutt},
    },
    servers::{
        Service,
        dovecot::{Dovecot, DovecotOptions},
    },
    workspace,
};

use crate::passwords::doveadm;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_client_proves_its_password_and_reads_its_mail,
        mutt_comes_in_by_scram,
        a_wrong_password_and_a_name_that_nobody_has_look_alike,
        a_changed_password_is_refused_by_scram_and_in_clear,
        our_client_and_dovecot_believe_each_other,
    ]
}

const MESSAGE: &[u8] = b"From: x@example.org\r\nSubject: hers\r\n\r\n.\r\n";

/// A client of RFC 5802, by Python's own library. It prints what it was shown, and how it ended.
const CLIENT: &str = r#"
import base64, hashlib, hmac, os, socket, sys, time
protocol, port, user, password = sys.argv[1:]
stream = socket.create_connection(("127.0.0.1", int(port)), 20)
stream.settimeout(20)
file = stream.makefile("rb")
def line(): return file.readline().decode().rstrip("\r\n")
def say(text): stream.sendall(text.encode() + b"\r\n")
def mac(key, text): return hmac.new(key, text.encode(), hashlib.sha256).digest()
def encoded(text): return base64.b64encode(text.encode()).decode()
def answered(tag):
    said = line()
    while said.startswith("* "): said = line()
    return said
line()
nonce = base64.b64encode(os.urandom(18)).decode()
bare = "n=" + user + ",r=" + nonce
say("a AUTHENTICATE SCRAM-SHA-256" if protocol == "imap" else "AUTH SCRAM-SHA-256")
print("asked", answered("a"))
say(encoded("n,," + bare))
said = answered("a")
assert said.startswith("+ "), said
first = base64.b64decode(said[2:]).decode()
parts = dict(part.split("=", 1) for part in first.split(","))
assert parts["r"].startswith(nonce) and len(parts["r"]) > len(nonce)
print("salt", parts["s"])
print("iterations", parts["i"])
salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
key = mac(salted, "Client Key")
final = "c=biws,r=" + parts["r"]
spoken = bare + "," + first + "," + final
signature = mac(hashlib.sha256(key).digest(), spoken)
proof = bytes(x ^ y for x, y in zip(key, signature))
began = time.monotonic()
say(encoded(final + ",p=" + base64.b64encode(proof).decode()))
said = answered("a")
if said.startswith("+ "):
    ours = base64.b64encode(mac(mac(salted, "Server Key"), spoken)).decode()
    print("server", "proven" if base64.b64decode(said[2:]).decode() == "v=" + ours else "impostor")
    say("")
    said = answered("a")
print("milliseconds", int(1000 * (time.monotonic() - began)))
print("said", said)
if said.startswith("a OK") or said.startswith("+OK"):
    say("b SELECT INBOX" if protocol == "imap" else "STAT")
    said = line()
    while protocol == "imap" and "EXISTS" not in said and not said.startswith("b "): said = line()
    print("mail", said)
"#;

/// What the client printed, by the first word.
fn client(door: &Door, protocol: &str, name: &str, password: &str) -> HashMap<String, String> {
    let port = if protocol == "imap" { door.imap } else { door.pop3 };
    let output = python(CLIENT, &[protocol, &port.to_string(), name, password]);
    assert!(output.status.success(), "{}; the log:\n{}", text(&output), door.log_text());
    let printed = printed(&output);
    let word = |line: &str| line.split_once(' ').map(|(word, rest)| (word.into(), rest.into()));
    printed.lines().filter_map(word).collect()
}

/// A line of the file with the users' verifiers.
fn verifier(name: &str, password: &str) -> String {
    let made = doveadm(&["-s", "SCRAM-SHA-256", "-u", name, "-p", password]);
    assert!(made.starts_with("{SCRAM-SHA-256}"), "{made}");
    format!("\"{name}\" = {{ backend = \"maildir\", password_hash = \"{made}\" }}\n")
}

fn write_users(folder: &Path, lines: &str) {
    // As a whole, so that none is read that is half written.
    let new = folder.join("users.new");
    fs::write(&new, format!("[users]\n{lines}")).unwrap();
    fs::rename(new, folder.join("users.toml")).unwrap();
}

/// A door before the Dovecot of the house, which a master user enters.
fn open(house: &House, master: &str, mechanisms: &str, head: &str, users: &str) -> Door {
    let secret = password(master);
    house.add_master(master, &secret);
    let rest = format!(
        "{head}{}login = \"master\"\nmaster_user = \"{master}\"\nmaster_secret = \"{secret}\"\n\
         [[directory]]\nsource = \"file\"\nfile = \"users.toml\"\nscram = true\n",
        house.backend(Kind::Maildir)
    );
    let lines = format!("mechanisms = {mechanisms}");
    Door::open_with(&listening(&lines, &rest), &[], |folder| write_users(folder, users))
}

/// Somebody with a message, whose password at the door is another than at the back end.
fn person(house: &House) -> Person {
    let person = house.person(Kind::Maildir);
    house.deliver(Kind::Maildir, &person, MESSAGE);
    Person { password: password("proved"), ..person }
}

fn a_client_proves_its_password_and_reads_its_mail(house: &House) {
    let anna = person(house);
    let users = verifier(&anna.name, &anna.password);
    let mechanisms = "[\"scram-sha-256\", \"plain\", \"command\"]";
    let door = open(house, "scrammaster1", mechanisms, "", &users);
    let list = door.raw_imap().ask("c CAPABILITY", "c OK").unwrap().join("\n");
    assert!(list.contains(" AUTH=SCRAM-SHA-256 ") && !list.contains("-PLUS"), "{list}");
    let imap = client(&door, "imap", &anna.name, &anna.password);
    assert_eq!((&*imap["server"], &*imap["mail"]), ("proven", "* 1 EXISTS"), "{imap:?}");
    let pop3 = client(&door, "pop3", &anna.name, &anna.password);
    assert!(pop3["server"] == "proven" && pop3["mail"].starts_with("+OK 1 "), "{pop3:?}");
    assert_eq!(imap["salt"], pop3["salt"]);
    // The same verifier judges a password that is shown.
    assert_eq!(door.logged_in(&anna).select("INBOX").unwrap(), 1);
    assert!(door.imap_answer(&anna.name, "wrong").starts_with("NO [AUTHENTICATIONFAILED]"));
}

fn mutt_comes_in_by_scram(house: &House) {
    let anna = person(house);
    let users = verifier(&anna.name, &anna.password);
    let door = open(house, "scrammaster2", "\"scram-sha-256\"", "", &users);
    let folder = workspace::temporary_folder("mutt").unwrap();
    let send = |password: &str| {
        let security = Security::Tls(door.trust());
        let Person { name: user, .. } = &anna;
        let account = Account { port: door.imaps, security: &security, user, password };
        let mut command = mutt(&account, folder.path()).unwrap();
        // Its copy of what it sends goes into the INBOX.
        command.args(["-e", "set imap_authenticators=\"scram-sha-256\"", "-s", "by scram"]);
        limited(command.args(["--", "b@example.org"])).output().unwrap()
    };
    let output = send(&anna.password);
    assert!(output.status.success(), "{}; the log:\n{}", text(&output), door.log_text());
    let seen = client(&door, "imap", &anna.name, &anna.password);
    assert_eq!(seen["mail"], "* 2 EXISTS", "{seen:?}");
    let output = send("wrong");
    door.line(|line| line.contains("reason=wrong-password") && line.contains(&anna.name));
    assert!(text(&output).contains("authentication failed"), "{}", text(&output));
}

fn a_wrong_password_and_a_name_that_nobody_has_look_alike(house: &House) {
    let anna = person(house);
    let users = verifier(&anna.name, &anna.password)
        + &verifier("off", &anna.password).replace(" }", ", disabled = true }");
    let limits = "[limits]\nfailure_delay = \"600ms\"\n";
    let door = open(house, "scrammaster3", "\"scram-sha-256\"", limits, &users);
    for protocol in ["imap", "pop3"] {
        let wrong = client(&door, protocol, &anna.name, "wrong");
        let others = [
            client(&door, protocol, "nobody", &anna.password),
            client(&door, protocol, "off", &anna.password),
        ];
        for other in &others {
            assert!(!other.contains_key("server"), "{other:?}");
            for word in ["asked", "iterations", "said"] {
                assert_eq!(wrong[word], other[word], "{protocol}: {word}");
            }
            assert_eq!(wrong["salt"].len(), other["salt"].len());
        }
        let refused = &wrong["said"];
        assert!(refused.contains("[AUTH"), "{refused}");
        for one in others.iter().chain([&wrong]) {
            let took: u64 = one["milliseconds"].parse().unwrap();
            assert!((600..5000).contains(&took), "{protocol}: {one:?}");
        }
        // Whoever asks twice learns nothing either.
        let again = client(&door, protocol, "nobody", "x");
        assert_eq!(again["salt"], others[0]["salt"]);
    }
    for reason in ["wrong-password", "unknown-user", "user-disabled"] {
        door.line(|line| line.contains(&format!("reason={reason}")));
    }
}

fn a_changed_password_is_refused_by_scram_and_in_clear(house: &House) {
    let anna = person(house);
    let mechanisms = "[\"scram-sha-256\", \"command\"]";
    let users = verifier(&anna.name, &anna.password);
    let door = open(house, "scrammaster4", mechanisms, "", &users);
    let lets_in = |password: &str| {
        let seen = client(&door, "imap", &anna.name, password);
        let in_clear = door.imap_answer(&anna.name, password).starts_with("OK");
        (seen["said"].starts_with("a OK"), in_clear)
    };
    assert_eq!(lets_in(&anna.password), (true, true));
    let new = password("changed");
    write_users(door.folder(), &verifier(&anna.name, &new));
    let until = Instant::now() + SOON;
    // The file is looked at once a second, and has to be still for as long.
    while !lets_in(&new).0 {
        assert!(Instant::now() < until, "{}", door.log_text());
    }
    assert_eq!(lets_in(&anna.password), (false, false), "{}", door.log_text());
    assert_eq!(lets_in(&new), (true, true));
}

/// Our client's exchange with a server, over IMAP without TLS.
fn exchange(port: u16, name: &str, password: &str) -> Result<String, Broken> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    line();
    let (name, secret) = (UserName::new(name).unwrap(), Secret::new(password).unwrap());
    let nonce = Nonce::of(*b"of eighteen bytes.");
    let mut client = Client::new(&name, secret, nonce, Binding::Unable)?;
    say(&format!("a AUTHENTICATE SCRAM-SHA-256 {}", STANDARD.encode(client.first())));
    let decoded = |line: &str| STANDARD.decode(line.strip_prefix("+ ").unwrap()).unwrap();
    let asked = line();
    // Dovecot does not hide whom it does not know.
    if !asked.starts_with("+ ") {
        return Ok(asked);
    }
    let proof = client.prove(&decoded(&asked))?;
    say(&STANDARD.encode(proof.as_bytes()));
    let answer = line();
    if !answer.starts_with("+ ") {
        return Ok(answer);
    }
    client.verify(&decoded(&answer))?;
    say("");
    Ok(line())
}

fn our_client_and_dovecot_believe_each_other(_: &House) {
    let extra = "auth_mechanisms = plain scram-sha-256\n".to_owned();
    let dovecot = Dovecot::start(DovecotOptions { extra, ..DovecotOptions::default() }).unwrap();
    let secret = password("p\u{e4}ss,word=");
    dovecot.add_user("anna", &secret).unwrap();
    let port = dovecot.port(Service::Imap);
    let right = exchange(port, "anna", &secret);
    assert!(right.as_ref().is_ok_and(|said| said.contains("a OK")), "{right:?}");
    for (name, password) in [("anna", "wrong"), ("nobody", &*secret)] {
        let wrong = exchange(port, name, password);
        assert!(wrong.as_ref().is_ok_and(|said| said.starts_with("a NO")), "{wrong:?}");
    }
}
