//! What holds of a SASL exchange with a client.
//!
//! Nothing here knows how a protocol wraps it.

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Credentials, Mechanism, Mechanisms, Proof, Secret, UserName};
use proto::sasl::scram::{Given, Nonce, Verifier};
use proto::sasl::{Challenge, Exchange, Outcome, TokenMechanism, oauthbearer, plain, xoauth2};

use crate::front::bindings;
use crate::input::Input;

/// Any responses, a line each: the choice names the mechanism, with setting 1 the client has a
/// certificate, with 2 the first response is an initial one, and with 3 all of them are put into base64
/// here.
pub fn sasl(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let mechanisms = Mechanism::ALL;
    let place = usize::from(input.choice) % mechanisms.len();
    let Some(mechanism) = mechanisms.get(place) else {
        return;
    };
    let all: Mechanisms = mechanisms.into_iter().collect();
    let alice = input.is_set(1).then(|| UserName::new("alice").expect("a user name"));
    let name = mechanism.sasl_name().unwrap_or("LOGIN?").as_bytes();
    let exchange = Exchange::begin(name, all, alice.as_ref(), &bindings());
    let wanted =
        mechanism.sasl_name().is_some() && (alice.is_some() || *mechanism != Mechanism::External);
    assert_eq!(exchange.is_some(), wanted);
    if let Some(exchange) = exchange {
        speak(&input, *mechanism, exchange);
    }
    if let Some(challenge) = Challenge::read(input.stream) {
        assert_eq!(challenge.as_str().as_bytes(), input.stream);
    }
}

fn speak(input: &Input<'_>, mechanism: Mechanism, mut exchange: Exchange) {
    let is_encoded = input.is_set(3);
    for (number, line) in input.stream.split(|byte| *byte == b'\n').enumerate() {
        let encoded = if is_encoded { STANDARD.encode(line).into_bytes() } else { line.to_vec() };
        let outcome = if number == 0 && input.is_set(2) {
            exchange.initial_response(&encoded)
        } else {
            exchange.response(&encoded)
        };
        match outcome {
            Outcome::Verifier(_) => {
                assert!(is_scram(mechanism) && number == 0, "a question too many");
                assert!(matches!(exchange.given(given()), Outcome::Challenge(_)));
            }
            Outcome::Unproven { .. } => return assert!(is_scram(mechanism) && number == 1),
            Outcome::Challenge(_) if is_scram(mechanism) => assert_eq!(number, 1),
            Outcome::Challenge(_) => {
                assert!(mechanism == Mechanism::Login && number == 0, "one question too many");
            }
            Outcome::Done(credentials) => return is_read_again(mechanism, &credentials),
            Outcome::Cancelled => return assert_eq!(encoded, b"*"),
            Outcome::NotBase64 => return assert!(!is_encoded),
            Outcome::Unusable => return,
        }
    }
}

fn is_scram(mechanism: Mechanism) -> bool {
    matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus)
}

/// What is stored for everybody: of "pencil", in one iteration, which costs nothing.
pub(crate) fn given() -> Given {
    let pencil = Secret::new("pencil").expect("a secret");
    let verifier = Verifier::of(&pencil, b"salt", 1).expect("a verifier");
    Given { verifier, nonce: Nonce::of([0; 18]), unprovable: None }
}

/// What a client said is what a back end would hear of us.
fn is_read_again(mechanism: Mechanism, read: &Credentials) {
    assert_eq!(read.mechanism, mechanism);
    let (name, message) = match &read.proof {
        Proof::Certificate => return assert_eq!(mechanism, Mechanism::External),
        Proof::Password(secret) => ("PLAIN", plain(None, &read.user, secret)),
        Proof::Scram(_) => return assert!(is_scram(mechanism)),
        Proof::Token(token) => match TokenMechanism::of(mechanism) {
            Some(TokenMechanism::OAuthBearer) => {
                ("OAUTHBEARER", oauthbearer(&read.user, token, None))
            }
            Some(TokenMechanism::XOAuth2) => ("XOAUTH2", xoauth2(&read.user, token)),
            None => unreachable!("a token by a mechanism without one"),
        },
    };
    let all = Mechanism::ALL.into_iter().collect();
    let mut exchange = Exchange::begin(name.as_bytes(), all, None, &bindings());
    let exchange = exchange.as_mut().expect("a mechanism of ours");
    let Outcome::Done(again) = exchange.response(message.as_bytes()) else {
        unreachable!("a message of ours is not read");
    };
    assert_eq!(again.user, read.user);
    let same = match (&again.proof, &read.proof) {
        (Proof::Password(again), Proof::Password(read)) => again.matches(read),
        (Proof::Token(again), Proof::Token(read)) => again.secret().matches(read.secret()),
        _ => false,
    };
    assert!(same, "another proof");
}
