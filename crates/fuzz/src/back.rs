//! What holds of the back machines and the probes, whatever a back end sends.
//!
//! Nothing here reads a client.

use std::sync::Arc;

use model::{Protocol, Secret, Token, UserName};
use proto::back::{Answer, Back, Event, How, Login, Settings, Tls, Whose};
use proto::identity::{Identity, SessionName, Transport};
use proto::probe::{self, Probe};
use proto::sasl::TokenMechanism;

use crate::drive::{Driver, Taken};
use crate::input::Input;

/// What must never stand in a log.
const SECRET: &str = "open-sesame";
/// What a back end may say before its verdict, and a line more.
const MOST_KEPT: usize = 72 * 1024;
/// The most that is said to a back end: our ID, and the login twice.
const MOST_SAID: usize = 16 * 1024;

/// Any back end while we log in to it: settings are 1 STARTTLS, 2 telling of the client, 3 pipelining, 4 a
/// certificate's login, 5 a token's, 6 a master user's.
pub fn back(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let whole = logs_in(&input, [input.stream]);
    if !input.is_set(1) {
        assert_eq!(logs_in(&input, input.cut(input.stream)), whole);
        if input.stream.len() < 1000 {
            assert_eq!(logs_in(&input, input.stream.chunks(1)), whole);
        }
    }
}

/// Any back end that is asked what it can do: setting 1 is STARTTLS.
pub fn probe(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let whole = asks(&input, [input.stream]);
    if !input.is_set(1) {
        assert_eq!(asks(&input, input.cut(input.stream)), whole);
        if input.stream.len() < 1000 {
            assert_eq!(asks(&input, input.stream.chunks(1)), whole);
        }
    }
}

fn logs_in<'a>(
    input: &Input<'_>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(String, usize)>, Vec<u8>, Vec<u8>) {
    let login = Login { user: user(), how: how(input), whose: Whose::Client };
    let mut driver = Driver::new(Back::new(input.protocol(), settings(input), login));
    let (mut logged_in, mut details) = (false, Vec::new());
    driver.feed(pieces, |event| {
        let taken = match event {
            Event::Failed { detail, said, .. } => {
                details.push(detail.clone());
                assert!(said.text.as_ref().is_none_or(|text| text.as_str().len() <= 256));
                Taken::Last
            }
            Event::IdentityRefused { detail } => {
                details.push(detail.clone());
                Taken::Noted
            }
            Event::LoggedIn(_) => {
                logged_in = true;
                Taken::Last
            }
            Event::StartTls => Taken::Answered(Answer::TlsStarted),
        };
        (format!("{event:?}"), taken)
    });
    assert!(driver.events.is_empty() || !input.stream.is_empty(), "a verdict before the greeting");
    details.iter().for_each(|detail| is_for_the_log(detail));
    let at_the_end = driver.events.last().map_or(0, |(_, before)| *before);
    if was_told(input, driver.written.get(..at_the_end).unwrap_or_default()) {
        assert!(!details.iter().any(|detail| detail.contains(SECRET)), "a secret in the log");
    }
    let rest = driver.machine.into_rest();
    assert!(rest.len() <= MOST_KEPT);
    assert!(driver.written.len() <= MOST_SAID);
    assert!(!logged_in || has_verdict(input), "let in by nobody");
    let rest = [rest, driver.unfed].concat();
    // What a back end sends behind a failure is nobody's.
    (driver.events, driver.written, if logged_in { rest } else { Vec::new() })
}

/// Whether a back end knows the secret; who was not told it says that word by chance.
fn was_told(input: &Input<'_>, written: &[u8]) -> bool {
    let written = String::from_utf8_lossy(written);
    !input.is_set(4) && ["AUTH", SECRET].into_iter().any(|word| written.contains(word))
}

/// Whether there is a greeting that lets us go on, and a line behind it.
fn has_verdict(input: &Input<'_>) -> bool {
    let greeting: &[u8] = match input.protocol() {
        Protocol::Imap => b"* OK",
        Protocol::Pop3 => b"+OK",
    };
    let start = input.stream.get(..greeting.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(greeting))
        && input.stream.iter().filter(|byte| **byte == b'\n').count() >= 2
}

fn is_for_the_log(detail: &str) {
    assert!(detail.len() <= 256);
    assert!(!detail.contains(char::is_control));
}

fn asks<'a>(
    input: &Input<'_>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(String, usize)>, Vec<u8>) {
    let mut driver = Driver::new(Probe::new(input.protocol(), settings(input)));
    driver.feed(pieces, |event| {
        let taken = match event {
            probe::Event::Capabilities(_) => Taken::Last,
            probe::Event::Failed { detail, .. } => {
                is_for_the_log(detail);
                Taken::Last
            }
            probe::Event::StartTls => Taken::Answered(Answer::TlsStarted),
        };
        (format!("{event:?}"), taken)
    });
    assert!(driver.events.is_empty() || !input.stream.is_empty(), "a verdict before the greeting");
    assert!(driver.written.len() <= 200, "a probe says little");
    (driver.events, driver.written)
}

fn settings(input: &Input<'_>) -> Settings {
    Settings {
        identity: input.is_set(2).then(|| Arc::new(identity())),
        pipelining: input.is_set(3),
        ..Settings::new(if input.is_set(1) { Tls::StartTls } else { Tls::AsItIs })
    }
}

fn how(input: &Input<'_>) -> How {
    let secret = || Secret::new(SECRET).expect("a secret");
    match (input.is_set(4), input.is_set(5), input.is_set(6)) {
        (true, ..) => How::External,
        (_, true, other) => How::Token {
            mechanism: if other { TokenMechanism::XOAuth2 } else { TokenMechanism::OAuthBearer },
            token: Token::new(SECRET).expect("a token"),
        },
        (.., true) => How::Authzid {
            authcid: UserName::new("master").expect("a user name"),
            secret: secret(),
        },
        _ => How::Password(secret()),
    }
}

fn user() -> UserName {
    UserName::new("al ice").expect("a user name")
}

/// A login that any front takes.
pub(crate) fn login() -> Login {
    let secret = Secret::new(SECRET).expect("a secret");
    Login { user: user(), how: How::Password(secret), whose: Whose::Client }
}

/// What a back end is told of a client of which nothing else is known.
pub(crate) fn identity() -> Identity {
    Identity {
        client: ([192, 0, 2, 1], 4711).into(),
        connected: ([192, 0, 2, 2], 993).into(),
        forward: Vec::new(),
        server_name: None,
        session: SessionName::new("s1").expect("a session's name"),
        transport: Transport::Tls,
        ttl: 7,
    }
}
