//! What clients see of every failure, held against tables that are kept beside the tests.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use model::{Mechanisms, Protocol, Reason, Refusal, Secret, UserName};
use proto::back::{self, Back, How, Login, Tls, Whose};
use proto::farewell;
use proto::front::{self, Front, Limits, Privacy, Said};
use proto::sasl::scram::ChannelBindings;
use proto::{Machine, Step};

/// What back ends say of a login, without IMAP's tag.
const IMAP_VERDICTS: [&str; 15] = [
    "NO Login failed for alice",
    "NO [AUTHENTICATIONFAILED] No such user",
    "NO [AUTHORIZATIONFAILED] Not alice",
    "NO [ALERT] Go to https://mail.example.org and log in there",
    "NO [INUSE] Locked by pid 77",
    "NO [LIMIT] Too many sessions",
    "NO [EXPIRED] Your password is from 1999",
    "NO [CONTACTADMIN] Mailbox is broken",
    "NO [UNAVAILABLE] LDAP is down",
    "NO [SERVERBUG] Internal error",
    "NO [X-OTHER] \u{e4}\u{7}[x]",
    "NO",
    "BAD Syntax error",
    "OK",
    "nonsense",
];
const POP3_VERDICTS: [&str; 13] = [
    "-ERR Login failed for alice",
    "-ERR [AUTH] No such user",
    "-ERR [IN-USE] Locked by pid 77",
    "-ERR [LOGIN-DELAY] Once a minute",
    "-ERR [SYS/TEMP] LDAP is down",
    "-ERR [SYS/PERM] Mailbox is broken",
    "-ERR [sys/temp] LDAP is down",
    "-ERR [LIMIT] Too many sessions",
    "-ERR [EXPIRED] Your password is from 1999",
    "-ERR [X-OTHER] \u{e4}\u{7}[x]",
    "-ERR",
    "+OK",
    "nonsense",
];

#[test]
fn imap_clients_see_what_the_table_says() {
    compare(Protocol::Imap, &IMAP_VERDICTS);
}

#[test]
fn pop3_clients_see_what_the_table_says() {
    compare(Protocol::Pop3, &POP3_VERDICTS);
}

#[test]
fn what_a_back_end_says_of_a_secret_that_is_not_the_client_s_is_kept_from_it() {
    for (whose, reason) in [
        (Whose::Directory, Reason::DirectorySecretRefused),
        (Whose::Posthouse, Reason::BackendMasterRefused),
    ] {
        for verdict in ["NO root may not", "NO [EXPIRED] root's password is old"] {
            let (judged, said) = judged(Protocol::Imap, verdict, whose).unwrap();
            assert_eq!((judged, said.text), (reason, None), "{verdict}");
        }
    }
}

#[test]
fn words_that_repeat_the_secret_are_kept_from_everybody() {
    let verdict = "NO [INUSE] sesame opens nothing now";
    let (reason, said) = judged(Protocol::Imap, verdict, Whose::Client).unwrap();
    assert_eq!((reason, said.text), (Reason::MailboxInUse, None));
}

fn compare(protocol: Protocol, verdicts: &[&str]) {
    let name = format!("tests/refusals/{}.txt", protocol.word());
    let expected = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&name)).unwrap();
    let seen = table(protocol, verdicts);
    let (expected, seen): (Vec<_>, Vec<_>) = (expected.lines().collect(), seen.lines().collect());
    let differs = (0..expected.len().max(seen.len())).find(|at| expected.get(*at) != seen.get(*at));
    if let Some(at) = differs {
        let (expected, first) = (expected.get(at), seen.get(at));
        let whole = seen.join("\n");
        panic!("{name}, line {}: {expected:?} is {first:?}; clients see\n{whole}", at + 1);
    }
}

fn table(protocol: Protocol, verdicts: &[&str]) -> String {
    let mut table = String::new();
    table.push_str("# Why a login failed, and what the client sees.\n");
    for reason in Reason::ALL {
        let seen = seen(protocol, reason.refusal(), Said::default(), false);
        writeln!(table, "{reason}: {seen}").unwrap();
    }
    table.push_str("\n# Why we end a connection, and the client's last line.\n");
    for reason in Reason::ALL {
        let line = String::from_utf8(farewell(protocol, *reason)).unwrap();
        writeln!(table, "{reason}: {}", line.strip_suffix("\r\n").unwrap()).unwrap();
    }
    table.push_str(
        "\n# What a back end says, why it is, what the client sees, and with relay_text.\n",
    );
    for verdict in verdicts {
        writeln!(table, "{}", verdict.escape_debug()).unwrap();
        let Some((reason, said)) = judged(protocol, verdict, Whose::Client) else {
            table.push_str("  logged in\n");
            continue;
        };
        writeln!(table, "  {reason}").unwrap();
        for relay_text in [false, true] {
            let seen = seen(protocol, reason.refusal(), said.clone(), relay_text);
            writeln!(table, "  {seen}").unwrap();
        }
    }
    table
}

/// What a client that logs in with a password sees of a refusal.
fn seen(protocol: Protocol, refusal: Refusal, said: Said, relay_text: bool) -> String {
    let settings = front::Settings {
        privacy: Privacy::Tls,
        starttls: false,
        offer: Arc::from([]),
        greeting_name: Arc::from("test"),
        limits: Limits::default(),
        mechanisms: Mechanisms::default(),
        certificate: None,
        bindings: ChannelBindings::default(),
        relay_text,
        trusted: false,
    };
    let mut front = Front::new(protocol, settings);
    front.receive(match protocol {
        Protocol::Imap => b"a LOGIN alice sesame\r\n",
        Protocol::Pop3 => b"USER alice\r\nPASS sesame\r\n",
    });
    while !matches!(front.step(), Step::Event(front::Event::Login(_))) {}
    front.answer(front::Answer::Refuse(refusal, said));
    let Step::Write(bytes) = front.step() else { panic!("a refusal is said") };
    String::from_utf8(bytes).unwrap().strip_suffix("\r\n").unwrap().to_owned()
}

/// What a back end's verdict on a password means; `None` if it lets the client in.
fn judged(protocol: Protocol, verdict: &str, whose: Whose) -> Option<(Reason, Said)> {
    let user = UserName::new("alice").unwrap();
    let how = How::Password(Secret::new("sesame").unwrap());
    let login = Login { user, how, whose };
    let mut back = Back::new(protocol, back::Settings::new(Tls::AsItIs), login);
    let said = match protocol {
        Protocol::Imap => format!("* OK [CAPABILITY IMAP4rev1]\r\nph4 {verdict}\r\n"),
        Protocol::Pop3 => format!("+OK\r\n+OK\r\n{verdict}\r\n"),
    };
    back.receive(said.as_bytes());
    loop {
        match back.step() {
            Step::Event(back::Event::Failed { reason, said, .. }) => return Some((reason, said)),
            Step::Event(back::Event::LoggedIn(_)) => return None,
            // IMAP asks for capabilities behind a verdict without them.
            Step::Write(bytes) if bytes.ends_with(b"CAPABILITY\r\n") => return None,
            Step::Event(_) | Step::Write(_) => {}
            Step::Read => panic!("{verdict:?} is a verdict"),
        }
    }
}
