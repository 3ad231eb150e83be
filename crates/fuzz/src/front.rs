//! What holds of the front machines, whatever a client sends.
//!
//! Nothing here logs in anywhere.

use std::cell::Cell;
use std::sync::Arc;

use model::{Mechanism, Protocol, Refusal, UserName};
use proto::front::{Answer, Event, Front, Limits, Privacy, Said, Settings, Welcome};
use proto::sasl::scram::ChannelBindings;

use crate::drive::{Driver, Taken};
use crate::input::Input;
use crate::sasl::given;

const SMALL: Limits = Limits { commands: 12, literal: 20, line: 60, sasl_line: 90 };
/// The most that we say to a command beside what the client said itself.
const MOST_PER_LINE: usize = 1024;

/// Any client before login: settings are 1 and 2 for privacy, 3 STARTTLS, 4 a trusted peer, 5 a
/// certificate, 6 small limits; each answer says whether a login is let in.
pub fn front(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let whole = work(&input, [input.stream]);
    // With TLS in between, what comes before the handshake and what after it differ.
    if !input.is_set(3) {
        assert_eq!(work(&input, input.cut(input.stream)), whole);
        if input.stream.len() < 1000 {
            assert_eq!(work(&input, input.stream.chunks(1)), whole);
        }
    }
}

/// The settings that an input chooses.
pub(crate) fn settings(input: &Input<'_>) -> Settings {
    Settings {
        privacy: match (input.is_set(1), input.is_set(2)) {
            (true, false) => Privacy::ClearAllowed,
            (false, true) => Privacy::ClearRefused,
            _ => Privacy::Tls,
        },
        starttls: input.is_set(3),
        offer: ["IDLE".to_owned(), "UIDL".to_owned()].into(),
        greeting_name: Arc::from("test"),
        limits: if input.is_set(6) { SMALL } else { Limits::default() },
        mechanisms: Mechanism::ALL.into_iter().collect(),
        certificate: certificate(input),
        bindings: bindings(),
        relay_text: false,
        trusted: input.is_set(4),
    }
}

/// What SCRAM is bound to, in all inputs.
pub(crate) fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some(Box::from(*b"exporter")), server_end_point: None }
}

fn certificate(input: &Input<'_>) -> Option<UserName> {
    input.is_set(5).then(|| UserName::new("alice").expect("a user name"))
}

/// All that a front does with a stream, and what is left of it for the back end.
type Work = (Vec<(String, usize)>, Vec<u8>, Vec<u8>);

fn work<'a>(input: &Input<'_>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Work {
    let settings = settings(input);
    let (limits, trusted) = (settings.limits, settings.trusted);
    let is_private = Cell::new(settings.privacy != Privacy::ClearRefused);
    let (mut logins, mut is_over) = (0, false);
    let mut driver = Driver::new(Front::new(input.protocol(), settings));
    driver.feed(pieces, |event| {
        let taken = match event {
            Event::Closed(_) => {
                is_over = true;
                Taken::Last
            }
            Event::Identity(claims) => {
                let only_ttl = proto::identity::Claims { ttl: claims.ttl, ..Default::default() };
                assert!(trusted || *claims == only_ttl, "a stranger is believed");
                Taken::Noted
            }
            Event::Login(_) => {
                assert!(is_private.get(), "a login in clear text");
                logins += 1;
                if input.answer(logins) {
                    Taken::AnsweredLast(Answer::Welcome(welcome()))
                } else {
                    let refusal = Refusal::AuthenticationFailed;
                    Taken::Answered(Answer::Refuse(refusal, Said::default()))
                }
            }
            Event::Refused(_) => Taken::Noted,
            Event::Unproven { .. } => {
                let refusal = Refusal::AuthenticationFailed;
                Taken::Answered(Answer::Refuse(refusal, Said::default()))
            }
            Event::Verifier(_) => {
                assert!(is_private.get(), "a login in clear text");
                Taken::Answered(Answer::Verifier(Box::new(given())))
            }
            Event::StartTls => {
                is_private.set(true);
                let (certificate, bindings) = (certificate(input), bindings());
                Taken::Answered(Answer::TlsStarted { certificate, bindings })
            }
        };
        (format!("{event:?}"), taken)
    });
    let commands = usize::try_from(limits.commands).unwrap_or(usize::MAX);
    assert!(logins <= commands, "more logins than commands");
    let lines = input.stream.iter().filter(|byte| **byte == b'\n').count();
    let most = MOST_PER_LINE * (lines + 2) + 2 * input.stream.len();
    assert!(driver.written.len() <= most, "too much was said");
    assert_eq!(driver.written.last(), (!driver.written.is_empty()).then_some(&b'\n'));
    let mut rest = driver.machine.into_rest();
    rest.extend(driver.unfed);
    assert!(input.stream.ends_with(&rest) || is_over, "the rest is not what the client sent");
    if is_over {
        rest.clear();
    }
    (driver.events, driver.written, rest)
}

/// Lets a client in.
pub(crate) fn welcome() -> Welcome {
    Welcome { capabilities: Some(vec!["IDLE".to_owned()]), unauthenticate: false }
}

/// The settings of a front that believes what it hears and takes every login.
pub(crate) fn trusting(protocol: Protocol) -> Front {
    let all = Input::read(&[0b11_0000, 0, 0, 0]).expect("a header");
    Front::new(protocol, settings(&all))
}
