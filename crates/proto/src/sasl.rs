//! The SASL mechanisms: PLAIN (RFC 4616), LOGIN
//! (draft-murchison-sasl-login), OAUTHBEARER (RFC 7628), XOAUTH2 and EXTERNAL (RFC 4422 appendix A), as
//! they are asked of a client and as they are offered to a back end; and SCRAM, in a module of its own.
//!
//! Nothing here knows how a protocol wraps the exchange, beyond that all of ours use base64.

mod challenge;
mod messages;
pub mod scram;

use std::borrow::Cow;
use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Credentials, Mechanism, Mechanisms, Proof, Reason, StoredKey, UserName};
use zeroize::Zeroizing;

use scram::{ChannelBindings, Chosen, Given, Heard, Server};

pub use challenge::Challenge;
pub(crate) use messages::credentials;
pub use messages::{TokenMechanism, external, oauthbearer, plain, xoauth2};

/// Base64 of "Username:".
const ASK_USER: &str = "VXNlcm5hbWU6";
/// Base64 of "Password:".
const ASK_SECRET: &str = "UGFzc3dvcmQ6";

/// One exchange with a client that authenticates to us.
pub struct Exchange(State);

enum State {
    External {
        certificate: UserName,
    },
    LoginSecret {
        user: Zeroizing<Vec<u8>>,
    },
    LoginUser,
    /// The response is a message of its own.
    OneMessage(Reader),
    /// SCRAM, until our proof.
    Scram {
        mechanism: Mechanism,
        server: Server,
    },
    /// SCRAM: the client knows that we are who we say.
    ScramProven {
        mechanism: Mechanism,
        user: UserName,
        key: StoredKey,
    },
}

/// Reads the only message of a mechanism.
type Reader = fn(&[u8]) -> Option<Credentials>;

/// What follows from a client's response.
#[derive(Debug)]
pub enum Outcome {
    /// The client cancelled with `*`.
    Cancelled,
    /// The client is to be asked this (base64, without the protocol's prefix).
    Challenge(Cow<'static, str>),
    /// The exchange is over and gave these.
    Done(Credentials),
    /// The response is not base64.
    NotBase64,
    /// The exchange is over and gave nothing that can be a name and a secret, or it asks to act as
    /// somebody else.
    Unusable,
    /// SCRAM: the exchange is over, and the client has not proved that it knows this user's password.
    Unproven {
        /// The name as the client gave it.
        user: UserName,
        /// [`Reason::WrongPassword`], or why no proof could be right ([`Given::unprovable`]).
        reason: Reason,
    },
    /// SCRAM: what is stored for this user is needed: [`Exchange::given`].
    Verifier(UserName),
}

impl Exchange {
    /// Begins an exchange; `None` if the mechanism is not among those that are `taken`. EXTERNAL needs the
    /// identity in the client's verified certificate. Names have no case (RFC 4422 section 3.1 knows upper
    /// case only; clients do not).
    ///
    /// -PLUS counts only where there is something to be bound to.
    pub fn begin(
        name: &[u8],
        taken: Mechanisms,
        certificate: Option<&UserName>,
        bindings: &ChannelBindings,
    ) -> Option<Self> {
        let mechanism = Mechanism::ALL.into_iter().find(|mechanism| {
            mechanism.sasl_name().is_some_and(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        })?;
        if !taken.contains(mechanism) {
            return None;
        }
        Some(Self(match mechanism {
            Mechanism::Command => return None,
            Mechanism::External => State::External { certificate: certificate?.clone() },
            Mechanism::Login => State::LoginUser,
            Mechanism::OAuthBearer => State::OneMessage(messages::read_oauthbearer),
            Mechanism::Plain => State::OneMessage(messages::read_plain),
            Mechanism::ScramSha256 => {
                let plus_offered =
                    taken.contains(Mechanism::ScramSha256Plus) && !bindings.is_empty();
                let server =
                    Server::new(Chosen::Unbound { plus_offered }, ChannelBindings::default());
                State::Scram { mechanism, server }
            }
            Mechanism::ScramSha256Plus if bindings.is_empty() => return None,
            Mechanism::ScramSha256Plus => {
                State::Scram { mechanism, server: Server::new(Chosen::Bound, bindings.clone()) }
            }
            Mechanism::XOAuth2 => State::OneMessage(messages::read_xoauth2),
        }))
    }

    /// What the client is asked when it sent no initial response.
    pub fn challenge(&self) -> &'static str {
        match self.0 {
            State::External { .. }
            | State::OneMessage(_)
            | State::Scram { .. }
            | State::ScramProven { .. } => "",
            State::LoginSecret { .. } => ASK_SECRET,
            State::LoginUser => ASK_USER,
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

    /// Takes what [`Outcome::Verifier`] asked for.
    pub fn given(&mut self, given: Given) -> Outcome {
        match &mut self.0 {
            State::Scram { server, .. } => {
                server.give(given).map_or(Outcome::Unusable, |message| challenge(&message))
            }
            _ => Outcome::Unusable,
        }
    }

    fn base64(&mut self, text: &[u8]) -> Outcome {
        match STANDARD.decode(text) {
            Ok(bytes) => self.decoded(Zeroizing::new(bytes)),
            Err(_) => Outcome::NotBase64,
        }
    }

    fn decoded(&mut self, bytes: Zeroizing<Vec<u8>>) -> Outcome {
        match &mut self.0 {
            State::External { certificate } => {
                done(messages::read_external(&bytes, certificate.clone()))
            }
            State::LoginSecret { user } => done(credentials(Mechanism::Login, user, &bytes)),
            State::LoginUser => {
                // Whether the name can be one is judged at the end, so that the client's next line
                // is never read as a command.
                self.0 = State::LoginSecret { user: bytes };
                Outcome::Challenge(ASK_SECRET.into())
            }
            State::OneMessage(read) => done(read(&bytes)),
            State::Scram { server, mechanism } => match server.hear(&bytes) {
                Heard::Malformed => Outcome::Unusable,
                Heard::Proven { user, key, proof } => {
                    self.0 = State::ScramProven { mechanism: *mechanism, user, key };
                    challenge(&proof)
                }
                Heard::Unproven { user, reason } => Outcome::Unproven { user, reason },
                Heard::Wanted(user) => Outcome::Verifier(user),
            },
            State::ScramProven { mechanism, user, key } => {
                let (mechanism, user) = (*mechanism, user.clone());
                let proven = Credentials { mechanism, user, proof: Proof::Scram(key.clone()) };
                done(bytes.is_empty().then_some(proven))
            }
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::External { .. } => "Exchange(External)",
            State::LoginSecret { .. } => "Exchange(LoginSecret)",
            State::LoginUser => "Exchange(LoginUser)",
            State::OneMessage(_) => "Exchange(OneMessage)",
            State::Scram { .. } => "Exchange(Scram)",
            State::ScramProven { .. } => "Exchange(ScramProven)",
        })
    }
}

fn challenge(message: &str) -> Outcome {
    Outcome::Challenge(STANDARD.encode(message).into())
}

fn done(credentials: Option<Credentials>) -> Outcome {
    credentials.map_or(Outcome::Unusable, Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(name: &str) -> Exchange {
        let all = Mechanism::ALL.into_iter().collect();
        let certificate = UserName::new("alice").unwrap();
        Exchange::begin(name.as_bytes(), all, Some(&certificate), &bindings()).unwrap()
    }

    fn bindings() -> ChannelBindings {
        ChannelBindings { exporter: Some(Box::from([1])), server_end_point: None }
    }

    fn done_with(outcome: Outcome) -> Option<(String, Vec<u8>)> {
        let Outcome::Done(credentials) = outcome else {
            return None;
        };
        Some((credentials.user.to_string(), credentials.password()?.reveal().to_vec()))
    }

    #[test]
    fn a_message_of_the_wrong_form_gives_no_credentials() {
        for message in [&b""[..], b"u", b"\0u", b"\0\0p", b"\0u\0p\0", b"\0u\xff\0p", b"\0u\r\n\0p"]
        {
            let outcome = begin("plain").response(STANDARD.encode(message).as_bytes());
            assert!(matches!(outcome, Outcome::Unusable), "{message:?}");
        }
    }

    #[test]
    fn base64_is_read_strictly() {
        for text in ["AHUAcA", "AHUAcA==\n", " AHUAcA==", "AHUAcB==", "AHUAcA=A", "="] {
            let outcome = begin("PLAIN").response(text.as_bytes());
            assert!(matches!(outcome, Outcome::NotBase64), "{text:?}");
        }
    }

    #[test]
    fn login_asks_for_the_name_and_then_for_the_secret() {
        let mut exchange = begin("LOGIN");
        assert_eq!(exchange.challenge(), ASK_USER);
        assert!(matches!(exchange.response(b"dQ=="), Outcome::Challenge(ask) if ask == ASK_SECRET));
        assert_eq!(done_with(exchange.response(b"cA==")), Some(("u".into(), b"p".to_vec())));
    }

    #[test]
    fn login_asks_for_the_secret_even_when_the_name_cannot_be_one() {
        let mut exchange = begin("LOGIN");
        assert!(
            matches!(exchange.initial_response(b"="), Outcome::Challenge(ask) if ask == ASK_SECRET)
        );
        assert!(matches!(exchange.response(b"cA=="), Outcome::Unusable));
    }

    #[test]
    fn only_what_is_taken_can_begin_and_some_need_more() {
        let alice = UserName::new("alice").unwrap();
        for mechanism in Mechanism::ALL {
            let Some(name) = mechanism.sasl_name() else { continue };
            let only = [mechanism].into_iter().collect();
            let begins = |taken, certificate, bindings: &ChannelBindings| {
                Exchange::begin(name.as_bytes(), taken, certificate, bindings).is_some()
            };
            assert!(begins(only, Some(&alice), &bindings()));
            let unsigned = begins(only, None, &bindings());
            assert_eq!(unsigned, mechanism != Mechanism::External);
            let unbound = begins(only, Some(&alice), &ChannelBindings::default());
            assert_eq!(unbound, mechanism != Mechanism::ScramSha256Plus);
            assert!(!begins(Mechanisms::NONE, Some(&alice), &bindings()));
        }
    }

    #[test]
    fn a_debug_print_never_shows_the_exchange() {
        let mut exchange = begin("LOGIN");
        exchange.response(b"dQ==");
        assert_eq!(format!("{exchange:?}"), "Exchange(LoginSecret)");
    }
}
