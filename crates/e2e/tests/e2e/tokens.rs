//! OAuth 2.0 tokens on their way to a back end: under which name, how long, and what comes of a refusal.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{
    cases,
    door::{Door, backend, listening},
    house::House,
    runner::Case,
    secrets::password,
    stub::{Stub, Talk},
};
use testkit::scripted::Client;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_token_goes_to_the_back_end_with_the_users_name_there,
        a_line_with_a_token_may_have_16_kib_and_not_a_byte_more,
    ]
}

pub(crate) const MECHANISMS: [&str; 2] = ["XOAUTH2", "OAUTHBEARER"];

/// What a back end says of a token that it does not take, in base64.
fn challenge() -> String {
    STANDARD.encode(r#"{"status":"400","scope":"of the back end"}"#)
}

/// What a client answers to that (RFC 7628 section 3.2.3; XOAUTH2 has an empty line).
pub(crate) fn answer_to_challenge(mechanism: &str) -> &'static str {
    if mechanism == "XOAUTH2" { "" } else { "AQ==" }
}

/// What a back end does with a token.
#[derive(Clone, Copy, Debug)]
enum Judgement {
    Refused,
    Taken,
}

/// A back end that takes tokens in its own line where they are short.
fn imap(initial_response: bool, judgement: Judgement) -> Stub {
    Stub::start(move |mut talk| {
        let sasl_ir = if initial_response { " SASL-IR" } else { "" };
        let list = format!("IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER{sasl_ir}");
        talk.send(&format!("* OK [CAPABILITY {list}] ready\r\n"))?;
        loop {
            let line = talk.line()?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            if command.starts_with("AUTHENTICATE") {
                judge(&mut talk, command, judgement)?;
                let (no, ok) =
                    ("NO [AUTHENTICATIONFAILED] not this one", "OK [CAPABILITY IMAP4rev1] in");
                talk.send(&format!("{tag} {}\r\n", judgement.of(no, ok)))?;
            } else {
                talk.send(&format!("{tag} OK done\r\n"))?;
            }
        }
    })
}

/// The same by POP3, which has no word for taking initial responses (RFC 5034).
fn pop3(judgement: Judgement) -> Stub {
    Stub::start(move |mut talk| {
        talk.send("+OK ready\r\n")?;
        loop {
            let line = talk.line()?;
            match line.split(' ').next().unwrap_or_default() {
                "AUTH" => {
                    judge(&mut talk, &line, judgement)?;
                    let (no, ok) = ("-ERR [AUTH] not this one", "+OK in");
                    talk.send(&format!("{}\r\n", judgement.of(no, ok)))?;
                }
                "CAPA" => talk.send("+OK\r\nSASL PLAIN XOAUTH2 OAUTHBEARER\r\n.\r\n")?,
                _ => talk.send("+OK\r\n")?,
            }
        }
    })
}

/// Asks for the token if it did not come with the `command`, and says what is wrong with it if it is refused.
fn judge(talk: &mut Talk, command: &str, judgement: Judgement) -> std::io::Result<()> {
    if command.split(' ').count() == 2 {
        // Some servers leave the space behind it out.
        talk.send("+\r\n")?;
        talk.line()?;
    }
    if matches!(judgement, Judgement::Refused) {
        talk.send(&format!("+ {}\r\n", challenge()))?;
        talk.line()?;
    }
    Ok(())
}

impl Judgement {
    fn of<'a>(self, refused: &'a str, taken: &'a str) -> &'a str {
        match self {
            Self::Refused => refused,
            Self::Taken => taken,
        }
    }
}

/// A door behind which anna has another name.
fn opened(imap: &Stub, pop3: &Stub) -> Door {
    let mechanisms = "mechanisms = [\"plain\", \"xoauth2\", \"oauthbearer\"]";
    let source = "[[directory]]\nsource = \"file\"\nfile = \"users.map\"\n";
    let rest = backend("a", imap.port(), pop3.port()) + source;
    Door::open_with(&listening(mechanisms, &rest), &[], |folder| {
        fs::write(folder.join("users.map"), "anna: there@127.0.0.1\n").unwrap();
    })
}

/// The message of a mechanism that carries a token, of this name.
pub(crate) fn token_message(mechanism: &str, name: &str, token: &str) -> String {
    match mechanism {
        "XOAUTH2" => format!("user={name}\x01auth=Bearer {token}\x01\x01"),
        _ => format!("n,a={name},\x01auth=Bearer {token}\x01\x01"),
    }
}

/// A protocol's own words around a SASL login.
struct Words {
    command: &'static str,
    refused: &'static str,
    fine: [&'static str; 2],
}

const IMAP: Words = Words {
    command: "l AUTHENTICATE",
    refused: "l NO [AUTHENTICATIONFAILED] Authentication failed",
    fine: ["n NOOP", "n OK"],
};
const POP3: Words =
    Words { command: "AUTH", refused: "-ERR [AUTH] Authentication failed", fine: ["NOOP", "+OK"] };

/// The message that a back end heard, with its command or behind it.
fn message_heard(heard: &str, mechanism: &str) -> (bool, String) {
    let (_, behind) = heard.split_once(&format!(" {mechanism}")).unwrap();
    let mut lines = behind.lines();
    let first = lines.next().unwrap().trim();
    let message = if first.is_empty() { lines.next().unwrap() } else { first };
    let message = String::from_utf8(STANDARD.decode(message).unwrap()).unwrap();
    (!first.is_empty(), message)
}

/// The token is refused by the back end's own challenge; it heard the name there, and whether it heard the
/// token in the command's own line.
fn assert_refused(client: &mut Client, words: &Words, mechanism: &str, token: &str) {
    let message = STANDARD.encode(token_message(mechanism, "anna", token));
    client.send(format!("{} {mechanism} {message}\r\n", words.command)).unwrap();
    assert_eq!(client.read_line().unwrap(), format!("+ {}", challenge()));
    client.send(format!("{}\r\n", answer_to_challenge(mechanism))).unwrap();
    assert_eq!(client.read_line().unwrap(), words.refused);
    // It may go on, and is not mistaken for somebody who is in.
    let [command, fine] = words.fine;
    client.ask(command, fine).unwrap();
}

fn a_token_goes_to_the_back_end_with_the_users_name_there(_: &House) {
    let (short, long) = (password("t"), password(&"t".repeat(300)));
    for mechanism in MECHANISMS {
        // POP3 has commands of 255 bytes at most, IMAP of more; not all IMAP servers take a token in them.
        for (token, sasl_ir, at_once) in [
            (&short, true, [true, true]),
            (&long, true, [true, false]),
            (&short, false, [false, true]),
        ] {
            let (imap, pop3) = (imap(sasl_ir, Judgement::Refused), pop3(Judgement::Refused));
            let door = opened(&imap, &pop3);
            for (mut client, words, stub, at_once) in [
                (door.raw_imap(), IMAP, &imap, at_once[0]),
                (door.raw_pop3(), POP3, &pop3, at_once[1]),
            ] {
                assert_refused(&mut client, &words, mechanism, token);
                let heard = stub.heard();
                let (with_command, message) = message_heard(&heard, mechanism);
                assert_eq!(message, token_message(mechanism, "there", token));
                assert_eq!(with_command, at_once, "{} {mechanism} {sasl_ir}", words.command);
                // Answered as the mechanism wants it.
                let answered = format!("\r\n{}\r\n", answer_to_challenge(mechanism));
                assert!(heard.ends_with(&answered), "{heard}");
            }
            for protocol in ["imap", "pop3"] {
                door.line(|line| {
                    line.contains("reason=wrong-password ")
                        && line.contains(&format!("protocol={protocol} "))
                });
            }
        }
    }
}

/// Without its line end.
const LONGEST: usize = 16 << 10;

/// A message whose base64 has this many characters, a multiple of four.
fn filling(mechanism: &str, characters: usize) -> (String, String) {
    let empty = token_message(mechanism, "anna", "").len();
    let token = password(&"t".repeat(characters / 4 * 3 - empty - password("").len()));
    let message = STANDARD.encode(token_message(mechanism, "anna", &token));
    assert_eq!(message.len(), characters);
    (message, token)
}

fn a_line_with_a_token_may_have_16_kib_and_not_a_byte_more(_: &House) {
    let (imap, pop3) = (imap(true, Judgement::Taken), pop3(Judgement::Taken));
    let door = opened(&imap, &pop3);
    let imap_client = || (door.raw_imap(), "xy AUTHENTICATE", "xy OK", "* BYE ", &imap);
    let pop3_client = || (door.raw_pop3(), "AUTH", "+OK", "-ERR ", &pop3);
    for mechanism in MECHANISMS {
        for client in [&imap_client as &dyn Fn() -> _, &pop3_client] {
            let (_, command, ok, bye, stub) = client();
            // Behind a challenge, and with the command; there the message fills what it can.
            let with_command = format!("{command} {mechanism} ");
            for (start, room) in [("", LONGEST), (&*with_command, LONGEST - with_command.len())] {
                let begun = || {
                    let mut client = client().0;
                    if start.is_empty() {
                        client.ask(with_command.trim_end(), "+ ").unwrap();
                    }
                    client
                };
                let (message, token) = filling(mechanism, room / 4 * 4);
                begun().ask(&format!("{start}{message}"), ok).unwrap();
                stub.wait_heard(&STANDARD.encode(token_message(mechanism, "there", &token)));
                // So much is no token, but it is read; and what is longer is not, not even to its end.
                let begin = format!("{start}{}", "=".repeat(room));
                begun().ask(&begin, "").unwrap();
                for longer in ["=\r\n", "=="] {
                    let mut client = begun();
                    client.send(format!("{begin}{longer}")).unwrap();
                    let end = String::from_utf8(client.read_to_end().unwrap()).unwrap();
                    assert!(end.starts_with(bye) && end.matches('\n').count() == 1, "{end}");
                }
            }
        }
    }
    for protocol in ["imap", "pop3"] {
        door.line(|line| {
            line.contains("reason=client-line-too-long")
                && line.contains(&format!("protocol={protocol} "))
        });
    }
}
