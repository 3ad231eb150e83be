//! Walks the dialogues. Each is run as it is written, then with its input byte by byte, and for
//! clients, who may pipeline, with all input at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Protocol, Refusal, Secret, UserName};
use proto::back::{self, Back, Login, Tls, Whose};
use proto::front::{self, Front, Limits, Privacy, Welcome};
use proto::probe::Probe;
use proto::{Machine, capability};

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

fn files(folder: &Path) -> Vec<PathBuf> {
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

fn compare(expected: &[Did], did: &[Did]) -> Result<(), String> {
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
    let words = |list: &str| list.split_whitespace().map(str::to_owned).collect();
    match text.split_once(' ').unwrap_or((text, "")) {
        ("refuse", "authentication-failed") => front::Answer::Refuse(Refusal::AuthenticationFailed),
        ("refuse", "privacy-required") => front::Answer::Refuse(Refusal::PrivacyRequired),
        ("refuse", "unavailable") => front::Answer::Refuse(Refusal::Unavailable),
        ("tls", "") => front::Answer::TlsStarted,
        ("welcome", "") => front::Answer::Welcome(Welcome { capabilities: None }),
        ("welcome", list) => front::Answer::Welcome(Welcome { capabilities: Some(words(list)) }),
        _ => panic!("a front knows no answer {text:?}"),
    }
}

fn back_answer(text: &str) -> back::Answer {
    assert_eq!(text, "tls", "a back knows no other answer");
    back::Answer::TlsStarted
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
        },
    }
}

fn back_settings(dialogue: &Dialogue) -> back::Settings {
    let tls = if dialogue.setting("starttls").is_some() { Tls::StartTls } else { Tls::AsItIs };
    back::Settings { tls }
}

fn login(dialogue: &Dialogue) -> Login {
    Login {
        user: UserName::from_bytes(&bytes(dialogue.setting("user").unwrap_or("alice"))).unwrap(),
        secret: Secret::new(bytes(dialogue.setting("secret").unwrap_or("sesame"))).unwrap(),
        whose: match dialogue.setting("whose") {
            None | Some("client") => Whose::Client,
            Some("posthouse") => Whose::Posthouse,
            Some(other) => panic!("there is nobody {other:?}"),
        },
    }
}
