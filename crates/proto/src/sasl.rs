//! SASL PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login), both as they are asked of a client
//! and as they are offered to a back end.
//!
//! Nothing here knows how a protocol wraps the exchange, beyond that all of ours use base64.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Credentials, Mechanism, Secret, UserName};
use zeroize::Zeroizing;

/// The mechanisms that we take from clients, by their registered names.
pub const MECHANISMS: [&str; 2] = ["PLAIN", "LOGIN"];

/// Base64 of "Username:".
const ASK_USER: &str = "VXNlcm5hbWU6";
/// Base64 of "Password:".
const ASK_SECRET: &str = "UGFzc3dvcmQ6";

/// One exchange with a client that authenticates to us.
pub struct Exchange(State);

enum State {
    Plain,
    LoginUser,
    LoginSecret { user: Zeroizing<Vec<u8>> },
}

/// What follows from a client's response.
#[derive(Debug)]
pub enum Outcome {
    /// The client cancelled with `*`.
    Cancelled,
    /// The client is to be asked this (base64, without the protocol's prefix).
    Challenge(&'static str),
    /// The exchange is over and gave these.
    Done(Credentials),
    /// The response is not base64.
    NotBase64,
    /// The exchange is over and gave nothing that can be a name and a secret, or it asks to act as
    /// somebody else.
    Unusable,
}

impl Exchange {
    /// Begins an exchange; `None` if we do not know the mechanism. Names have no case (RFC 4422
    /// section 3.1 knows upper case only; clients do not).
    pub fn begin(mechanism: &[u8]) -> Option<Self> {
        if mechanism.eq_ignore_ascii_case(b"PLAIN") {
            Some(Self(State::Plain))
        } else if mechanism.eq_ignore_ascii_case(b"LOGIN") {
            Some(Self(State::LoginUser))
        } else {
            None
        }
    }

    /// What the client is asked when it sent no initial response.
    pub fn challenge(&self) -> &'static str {
        match self.0 {
            State::Plain => "",
            State::LoginUser => ASK_USER,
            State::LoginSecret { .. } => ASK_SECRET,
        }
    }

    /// Takes an initial response, where `=` stands for an empty one (RFC 4959 section 3, RFC 5034
    /// section 4).
    pub fn initial_response(&mut self, response: &[u8]) -> Outcome {
        if response == b"=" {
            return self.decoded(Zeroizing::default());
        }
        self.base64(response)
    }

    /// Takes a line that the client sent after a challenge.
    pub fn response(&mut self, line: &[u8]) -> Outcome {
        if line == b"*" {
            return Outcome::Cancelled;
        }
        self.base64(line)
    }

    fn base64(&mut self, text: &[u8]) -> Outcome {
        match STANDARD.decode(text) {
            Ok(bytes) => self.decoded(Zeroizing::new(bytes)),
            Err(_) => Outcome::NotBase64,
        }
    }

    fn decoded(&mut self, bytes: Zeroizing<Vec<u8>>) -> Outcome {
        match std::mem::replace(&mut self.0, State::Plain) {
            State::Plain => done(read_plain(&bytes)),
            State::LoginUser => {
                // Whether the name can be one is judged at the end, so that the client's next line
                // is never read as a command.
                self.0 = State::LoginSecret { user: bytes };
                Outcome::Challenge(ASK_SECRET)
            }
            State::LoginSecret { user } => done(credentials(Mechanism::Login, &user, &bytes)),
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Plain => "Exchange(Plain)",
            State::LoginUser => "Exchange(LoginUser)",
            State::LoginSecret { .. } => "Exchange(LoginSecret)",
        })
    }
}

/// Builds credentials from what came over the wire; `None` if they cannot be any.
pub(crate) fn credentials(mechanism: Mechanism, user: &[u8], secret: &[u8]) -> Option<Credentials> {
    let user = UserName::from_bytes(user).ok()?;
    let secret = Secret::new(secret).ok()?;
    Some(Credentials { mechanism, user, secret })
}

/// Builds PLAIN's message without an authorization identity, in base64.
pub fn plain(user: &UserName, secret: &Secret) -> Zeroizing<String> {
    let user = user.as_str().as_bytes();
    let secret = secret.reveal();
    let mut message = Zeroizing::new(Vec::with_capacity(user.len() + secret.len() + 2));
    message.push(0);
    message.extend_from_slice(user);
    message.push(0);
    message.extend_from_slice(secret);
    // Sized beforehand: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(message.len().div_ceil(3) * 4));
    STANDARD.encode_string(&*message, &mut text);
    text
}

fn done(credentials: Option<Credentials>) -> Outcome {
    credentials.map_or(Outcome::Unusable, Outcome::Done)
}

/// RFC 4616 section 2: `[authzid] NUL authcid NUL passwd`.
fn read_plain(message: &[u8]) -> Option<Credentials> {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (authzid, authcid, secret) = (parts.next()?, parts.next()?, parts.next()?);
    // To act as another needs a right that nobody has here.
    if !authzid.is_empty() && authzid != authcid {
        return None;
    }
    credentials(Mechanism::Plain, authcid, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done_with(outcome: Outcome) -> Option<(String, Vec<u8>)> {
        match outcome {
            Outcome::Done(credentials) => {
                Some((credentials.user.to_string(), credentials.secret.reveal().to_vec()))
            }
            _ => None,
        }
    }

    fn plain_message(message: &[u8]) -> Outcome {
        Exchange::begin(b"plain").unwrap().response(STANDARD.encode(message).as_bytes())
    }

    #[test]
    fn the_example_of_rfc_4616_is_read_and_written() {
        let expected = Some(("tim".to_owned(), b"tanstaaftanstaaf".to_vec()));
        assert_eq!(done_with(plain_message(b"\0tim\0tanstaaftanstaaf")), expected);
        let written =
            plain(&UserName::new("tim").unwrap(), &Secret::new("tanstaaftanstaaf").unwrap());
        assert_eq!(*written, STANDARD.encode(b"\0tim\0tanstaaftanstaaf"));
    }

    #[test]
    fn nobody_acts_as_somebody_else() {
        assert!(matches!(plain_message(b"ursel\0kurt\0xipj3plmq"), Outcome::Unusable));
        assert!(matches!(plain_message(b"kurt\0kurt\0xipj3plmq"), Outcome::Done(_)));
    }

    #[test]
    fn a_message_of_the_wrong_form_gives_no_credentials() {
        for message in [&b""[..], b"u", b"\0u", b"\0\0p", b"\0u\0p\0", b"\0u\xff\0p", b"\0u\r\n\0p"]
        {
            assert!(matches!(plain_message(message), Outcome::Unusable), "{message:?}");
        }
    }

    #[test]
    fn base64_is_read_strictly() {
        for text in ["AHUAcA", "AHUAcA==\n", " AHUAcA==", "AHUAcB==", "AHUAcA=A", "="] {
            let outcome = Exchange::begin(b"PLAIN").unwrap().response(text.as_bytes());
            assert!(matches!(outcome, Outcome::NotBase64), "{text:?}");
        }
    }

    #[test]
    fn login_asks_for_the_name_and_then_for_the_secret() {
        let mut exchange = Exchange::begin(b"LOGIN").unwrap();
        assert_eq!(exchange.challenge(), ASK_USER);
        assert!(matches!(exchange.response(b"dQ=="), Outcome::Challenge(ASK_SECRET)));
        assert_eq!(done_with(exchange.response(b"cA==")), Some(("u".into(), b"p".to_vec())));
    }

    #[test]
    fn login_asks_for_the_secret_even_when_the_name_cannot_be_one() {
        let mut exchange = Exchange::begin(b"LOGIN").unwrap();
        assert!(matches!(exchange.initial_response(b"="), Outcome::Challenge(ASK_SECRET)));
        assert!(matches!(exchange.response(b"cA=="), Outcome::Unusable));
    }

    #[test]
    fn a_debug_print_never_shows_the_exchange() {
        let mut exchange = Exchange::begin(b"LOGIN").unwrap();
        exchange.response(b"dQ==");
        assert_eq!(format!("{exchange:?}"), "Exchange(LoginSecret)");
    }
}
