//! Walks the dialogues. Each is run as it is written, then with its input byte by byte, and for
//! clients, who may pipeline, with all input at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Mechanism, Mechanisms, Protocol, Reason, Refusal, Secret, Token, UserName};
use proto::back::{self, Back, How, Login, Tls, Whose};
use proto::front::{self, Front, Limits, Privacy, Said, Text, Welcome};
use proto::identity::{ClientId, Identity, SessionName, Transport};
use proto::probe::Probe;
use proto::sasl::scram::{ChannelBindings, Given, Nonce, Verifier};
use proto::sasl::{Challenge, TokenMechanism};
use proto::{Machine, Step, capability};

use crate::dialogue::{Dialogue, Side, Turn, bytes, same};
use crate::drive::{Did, Driver, Shown};

#[test]
fn all_dialogues_go_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut failed = Vec::new();
    let mut count = 0;
    for protocol in Protocol::ALL {
        for role in ["front", "back", "probe"] {
            for path in files(&root.join(protocol.word()).join(role)) {
                count += 1;
                let dialogue = Dialogue::read(&fs::read_to_string(&path).unwrap());
                let run = || run(protocol, role, &dialogue);
                if let Err(why) = run() {
                    failed.push(format!("{}: {why}", path.strip_prefix(&root).unwrap().display()));
                }
            }
        }
    }
    assert!(count > 0, "there are no dialogues");
    assert!(failed.is_empty(), "{} of {count} failed\n{}", failed.len(), failed.join("\n"));
}

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn run(protocol: Protocol, role: &str, dialogue: &Dialogue) -> Result<(), String> {
    match role {
        "front" => {
            let make = || Front::new(protocol, front_settings(protocol, dialogue));
            let answers = || answers(dialogue, front_answer);
            let rest = |front: Front| Some(front.into_rest());
            in_all_ways(dialogue, Side::Client, make, answers, rest)
        }
        "back" => {
            let make = || Back::new(protocol, back_settings(dialogue), login(dialogue));
            let answers = || answers(dialogue, back_answer);
            let rest = |back: Back| Some(back.into_rest());
            in_all_ways(dialogue, Side::Server, make, answers, rest)
        }
        _ => {
            let make = || Probe::new(protocol, back_settings(dialogue));
            let answers = || answers(dialogue, back_answer);
            in_all_ways(dialogue, Side::Server, make, answers, |_| None)
        }
    }
}

fn in_all_ways<M: Machine>(
    dialogue: &Dialogue,
    peer: Side,
    make: impl Fn() -> M,
    answers: impl Fn() -> Vec<M::Answer>,
    rest: impl Fn(M) -> Option<Vec<u8>>,
) -> Result<(), String>
where
    M::Event: Shown,
{
    let turns = &dialogue.turns;
    let all = |driver| at_the_end(turns, peer, driver, &rest);
    let driver = in_turn(turns, peer, Driver::new(make(), answers()), usize::MAX)?;
    all(driver).map_err(|why| format!("as written: {why}"))?;
    if dialogue.setting("at-once").is_some() {
        return Ok(());
    }
    let driver = in_turn(turns, peer, Driver::new(make(), answers()), 1)
        .map_err(|why| format!("byte by byte: {why}"))?;
    all(driver).map_err(|why| format!("byte by byte: {why}"))?;
    let starttls = turns.iter().any(|turn| matches!(turn, Turn::Asks(what) if what == "starttls"));
    if peer == Side::Client && !starttls {
        let mut driver = Driver::new(make(), answers());
        driver.feed(&input(turns, peer).concat(), usize::MAX);
        all(driver).map_err(|why| format!("all at once: {why}"))?;
    }
    Ok(())
}

/// Feeds what the peer says when it is the peer's turn, in pieces of at most `size`, and checks at each
/// such turn what the machine did so far.
fn in_turn<M: Machine>(
    turns: &[Turn],
    peer: Side,
    mut driver: Driver<M>,
    size: usize,
) -> Result<Driver<M>, String>
where
    M::Event: Shown,
{
    let mut at = 0;
    while at < turns.len() {
        let from_here = turns.get(at..).unwrap_or_default();
        let says: Vec<_> = from_here.iter().map_while(|turn| said_by(peer, turn)).collect();
        if says.is_empty() {
            at += 1;
            continue;
        }
        driver.run();
        compare(&expected(turns.get(..at).unwrap_or_default(), peer), &driver.did)?;
        driver.feed(&says.concat(), size);
        at += says.len();
    }
    driver.run();
    Ok(driver)
}

fn at_the_end<M: Machine>(
    turns: &[Turn],
    peer: Side,
    driver: Driver<M>,
    rest: impl Fn(M) -> Option<Vec<u8>>,
) -> Result<(), String> {
    compare(&expected(turns, peer), &driver.did)?;
    if !driver.answers.is_empty() {
        return Err("not all answers were asked for".to_owned());
    }
    for turn in turns {
        if let Turn::Rest(bytes) = turn {
            let left = rest(driver.machine).unwrap_or_default();
            let (left, bytes) = (left.escape_ascii(), bytes.escape_ascii());
            return (left.to_string() == bytes.to_string())
                .then_some(())
                .ok_or_else(|| format!("left over is {left} and not {bytes}"));
        }
    }
    Ok(())
}

fn said_by(side: Side, turn: &Turn) -> Option<Vec<u8>> {
    match turn {
        Turn::Says(who, bytes) if *who == side => Some(bytes.clone()),
        _ => None,
    }
}

fn input(turns: &[Turn], peer: Side) -> Vec<Vec<u8>> {
    turns.iter().filter_map(|turn| said_by(peer, turn)).collect()
}

/// What the machine is to do.
fn expected(turns: &[Turn], peer: Side) -> Vec<Did> {
    let mut expected = Vec::new();
    for turn in turns {
        match turn {
            Turn::Asks(what) => expected.push(Did::Asked(what.clone())),
            Turn::Says(side, bytes) if *side != peer => match expected.last_mut() {
                Some(Did::Wrote(before)) => before.extend(bytes),
                _ => expected.push(Did::Wrote(bytes.clone())),
            },
            _ => {}
        }
    }
    expected
}

pub(crate) fn compare(expected: &[Did], did: &[Did]) -> Result<(), String> {
    let alike = |(expected, did): (&Did, &Did)| match (expected, did) {
        (Did::Asked(expected), Did::Asked(did)) => {
            // A failure's detail need not be given, nor all of a long secret.
            expected == did
                || did.split_once(": ").is_some_and(|(reason, _)| reason == expected)
                || expected.strip_suffix("...").is_some_and(|start| did.starts_with(start))
        }
        (Did::Wrote(expected), Did::Wrote(did)) => same(expected, did),
        _ => false,
    };
    if expected.len() == did.len() && expected.iter().zip(did).all(alike) {
        return Ok(());
    }
    Err(format!("\n  expected {}\n  but was  {}", show(expected), show(did)))
}

fn show(did: &[Did]) -> String {
    let show = |did: &Did| match did {
        Did::Asked(what) => format!("! {what}"),
        Did::Wrote(bytes) => format!("\"{}\"", bytes.escape_ascii()),
    };
    did.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn answers<A>(dialogue: &Dialogue, read: impl Fn(&str) -> A) -> Vec<A> {
    let answers = dialogue.turns.iter().filter_map(|turn| match turn {
        Turn::Answers(what) => Some(read(what)),
        _ => None,
    });
    answers.collect()
}

fn front_answer(text: &str) -> front::Answer {
    let list = |list: &str| list.split_whitespace().map(str::to_owned).collect();
    let welcome =
        |capabilities| front::Answer::Welcome(Welcome { capabilities, ..Welcome::default() });
    let certificate = |name: &str| UserName::new(name).ok();
    match text.split_once(' ').unwrap_or((text, "")) {
        ("refuse", how) => {
            let (word, said) = how.split_once(' ').unwrap_or((how, ""));
            front::Answer::Refuse(refusal(word), self::said(said))
        }
        ("tls", name) => {
            let (certificate, bindings) = (certificate(name), ChannelBindings::default());
            front::Answer::TlsStarted { certificate, bindings }
        }
        ("verifier", password) => front::Answer::Verifier(Box::new(given(password))),
        ("welcome", "") => welcome(None),
        ("welcome", words) => welcome(Some(list(words))),
        _ => panic!("a front knows no answer {text:?}"),
    }
}

/// What is stored for a user with this password, or a decoy.
fn given(password: &str) -> Given {
    let (password, unprovable) = match password.strip_prefix("decoy ") {
        Some(password) => (password, Some(Reason::UnknownUser)),
        None => (password, None),
    };
    // The salt of RFC 7677 section 3.
    let salt = b"[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81";
    let verifier = Verifier::of(&Secret::new(password).unwrap(), salt, 4096).unwrap();
    Given { verifier, nonce: Nonce::of(*b"eighteen bytes and"), unprovable }
}

fn back_answer(text: &str) -> back::Answer {
    assert_eq!(text, "tls", "a back knows no other answer");
    back::Answer::TlsStarted
}

fn refusal(word: &str) -> Refusal {
    match word {
        "authentication-failed" => Refusal::AuthenticationFailed,
        "in-use" => Refusal::InUse,
        "privacy-required" => Refusal::PrivacyRequired,
        "unavailable" => Refusal::Unavailable,
        other => panic!("there is no refusal {other:?}"),
    }
}

/// `challenge BASE64`, `text WORDS` or `alert WORDS`.
fn said(text: &str) -> Said {
    let nothing = Said::default();
    match text.split_once(' ') {
        None => nothing,
        Some(("challenge", base64)) => {
            Said { challenge: Some(Challenge::read(base64.as_bytes()).unwrap()), ..nothing }
        }
        Some((kind, words)) => {
            Said { text: Text::new(words.as_bytes(), kind == "alert"), ..nothing }
        }
    }
}

fn front_settings(protocol: Protocol, dialogue: &Dialogue) -> front::Settings {
    let number = |key: &str| dialogue.setting(key).map(|number| number.parse().unwrap());
    let defaults = Limits::default();
    let separator = if protocol == Protocol::Imap { ' ' } else { ',' };
    let list = |text: &str| text.split(separator).map(str::to_owned).collect::<Vec<_>>();
    // Several lists are divided by `|`, one for each back end.
    let lists: Vec<_> =
        dialogue.setting("offer").iter().flat_map(|all| all.split('|')).map(list).collect();
    front::Settings {
        privacy: match dialogue.setting("privacy") {
            None | Some("tls") => Privacy::Tls,
            Some("clear-allowed") => Privacy::ClearAllowed,
            Some("clear-refused") => Privacy::ClearRefused,
            Some(other) => panic!("there is no privacy {other:?}"),
        },
        starttls: dialogue.setting("starttls").is_some(),
        offer: capability::in_common(lists.iter().map(Vec::as_slice)).into(),
        greeting_name: Arc::from("mail.example.org"),
        limits: Limits {
            commands: number("commands").unwrap_or(defaults.commands),
            literal: number("literal").map_or(defaults.literal, |number| number as usize),
            line: number("line").map_or(defaults.line, |number| number as usize),
            sasl_line: number("sasl-line").map_or(defaults.sasl_line, |number| number as usize),
        },
        mechanisms: dialogue.setting("mechanisms").map_or_else(Mechanisms::default, |words| {
            let named = |word| {
                Mechanism::ALL.into_iter().find(|mechanism| mechanism.word() == word).unwrap()
            };
            words.split(' ').map(named).collect()
        }),
        certificate: dialogue.setting("certificate").map(|name| UserName::new(name).unwrap()),
        bindings: ChannelBindings {
            exporter: dialogue.setting("exporter").map(|data| data.as_bytes().into()),
            server_end_point: None,
        },
        relay_text: dialogue.setting("relay-text").is_some(),
        trusted: dialogue.setting("trusted").is_some(),
    }
}

fn back_settings(dialogue: &Dialogue) -> back::Settings {
    let tls = if dialogue.setting("starttls").is_some() { Tls::StartTls } else { Tls::AsItIs };
    back::Settings {
        identity: dialogue.setting("identity").map(|_| Arc::new(identity())),
        client_id: dialogue.setting("client-id").map(client_id),
        pipelining: dialogue.setting("pipelining").is_some(),
        server: dialogue.setting("server").map(|server| server.parse().unwrap()),
        ..back::Settings::new(tls)
    }
}

/// The identity in all dialogues that have one.
fn identity() -> Identity {
    Identity {
        client: "192.0.2.1:4711".parse().unwrap(),
        connected: "[2001:db8::1]:993".parse().unwrap(),
        forward: vec![
            ("country".to_owned(), "se".to_owned()),
            ("a-name-of-over-20-bytes".to_owned(), "x".to_owned()),
        ],
        server_name: Some("mail.example.org".parse().unwrap()),
        session: SessionName::new("s1").unwrap(),
        transport: Transport::Tls,
        ttl: 7,
    }
}

/// What a front keeps of an ID.
fn client_id(list: &str) -> ClientId {
    let settings = front_settings(Protocol::Imap, &Dialogue::read(""));
    let mut front = Front::new(Protocol::Imap, settings);
    front.receive(format!("a ID {list}\r\n").as_bytes());
    while !matches!(front.step(), Step::Read) {}
    front.client_id().unwrap().clone()
}

fn login(dialogue: &Dialogue) -> Login {
    let secret = bytes(dialogue.setting("secret").unwrap_or("sesame"));
    let password = || Secret::new(secret.clone()).unwrap();
    Login {
        user: UserName::from_bytes(&bytes(dialogue.setting("user").unwrap_or("alice"))).unwrap(),
        how: match dialogue.setting("how").map(|how| how.split_once(' ').unwrap_or((how, ""))) {
            None => How::Password(password()),
            Some(("authzid", authcid)) => {
                How::Authzid { authcid: UserName::new(authcid).unwrap(), secret: password() }
            }
            Some(("external", _)) => How::External,
            Some(("token", mechanism)) => How::Token {
                mechanism: match mechanism {
                    "oauthbearer" => TokenMechanism::OAuthBearer,
                    _ => TokenMechanism::XOAuth2,
                },
                token: Token::new(secret).unwrap(),
            },
            Some((other, _)) => panic!("nobody logs in by {other:?}"),
        },
        whose: match dialogue.setting("whose") {
            None | Some("client") => Whose::Client,
            Some("directory") => Whose::Directory,
            Some("posthouse") => Whose::Posthouse,
            Some(other) => panic!("there is nobody {other:?}"),
        },
    }
}
