//! What holds of what a proxy says of a client.
//!
//! Nothing here decides whom to believe.

use std::sync::Arc;

use model::Protocol;
use proto::back::{Back, Settings, Tls};
use proto::front::{Event, Front};
use proto::identity::{Claims, Identity, ttl_onwards};
use proto::{Machine, Step};

use crate::input::Input;
use crate::{back, front};

/// More steps than a conversation before login needs.
const MOST_STEPS: usize = 100;
/// The longest value (RFC 2971 section 3.3).
const MAX_VALUE: usize = 1024;

/// What stands in a proxy's ID or behind its XCLIENT: what a trusting front understands, a back passes on
/// so that the next front understands the same.
pub fn claims(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let protocol = input.protocol();
    let line: Vec<u8> =
        input.stream.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
    let (start, end): (&[u8], &[u8]) = match protocol {
        Protocol::Imap => (b"a ID (", b")\r\n"),
        Protocol::Pop3 => (b"XCLIENT ", b"\r\n"),
    };
    let Some(claims) = heard(protocol, &[start, &line, end].concat()) else {
        return;
    };
    let fits = |(name, value): &(String, String)| name.len() <= 20 && value.len() <= MAX_VALUE;
    assert!(claims.forward.iter().all(fits));
    let Some(ttl) = ttl_onwards(claims.ttl) else {
        return;
    };
    let told = passed_on(&claims, ttl);
    let settings = Settings {
        identity: Some(Arc::new(told.clone())),
        pipelining: true,
        ..Settings::new(Tls::AsItIs)
    };
    let again = meet(protocol, Back::new(protocol, settings, back::login()));
    assert!(again.forward.iter().all(|field| told.forward.contains(field)));
    let expected = Claims {
        client: Some(told.client),
        connected: Some(told.connected),
        forward: again.forward.clone(),
        server_name: told.server_name,
        session: Some(told.session),
        transport: Some(told.transport),
        ttl: Some(ttl),
    };
    assert_eq!(again, expected);
}

fn passed_on(claims: &Claims, ttl: u8) -> Identity {
    let default = back::identity();
    Identity {
        client: claims.client.unwrap_or(default.client),
        connected: claims.connected.unwrap_or(default.connected),
        forward: claims.forward.clone(),
        server_name: claims.server_name.clone(),
        session: claims.session.clone().unwrap_or(default.session),
        transport: claims.transport.unwrap_or(default.transport),
        ttl,
    }
}

/// What a trusting front hears in a line.
fn heard(protocol: Protocol, line: &[u8]) -> Option<Claims> {
    let mut front = front::trusting(protocol);
    let mut heard = None;
    let mut is_said = false;
    for _ in 0..MOST_STEPS {
        match front.step() {
            Step::Event(Event::Identity(claims)) => heard = Some(claims),
            Step::Event(Event::Refused(_)) | Step::Write(_) => {}
            Step::Event(_) => return heard,
            Step::Read if is_said => return heard,
            Step::Read => {
                is_said = true;
                front.receive(line);
            }
        }
    }
    unreachable!("a front never rests");
}

/// What a trusting front hears of a back that logs in; both speak with nobody between.
fn meet(protocol: Protocol, mut back: Back) -> Claims {
    let mut front: Front = front::trusting(protocol);
    let mut heard = None;
    for _ in 0..MOST_STEPS {
        match front.step() {
            Step::Write(bytes) => back.receive(&bytes),
            Step::Event(Event::Identity(claims)) => heard = Some(claims),
            // One proxy more would be a loop.
            Step::Event(Event::Login(_) | Event::Refused(_)) => break,
            Step::Event(event) => unreachable!("a back makes a front say {event:?}"),
            Step::Read => match back.step() {
                Step::Write(bytes) => front.receive(&bytes),
                Step::Event(event) => unreachable!("a front makes a back say {event:?}"),
                Step::Read => unreachable!("both wait"),
            },
        }
    }
    heard.expect("a back tells of the client before it logs in")
}
