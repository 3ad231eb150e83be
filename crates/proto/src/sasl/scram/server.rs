//! The server's side of an exchange: a client proves to us that it knows a password.
//!
//! Nothing here says which names exist: for those that nobody has the owner gives a decoy, and only the proof
//! fails.

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Reason, StoredKey, UserName};
use subtle::ConstantTimeEq;

use super::keys::{Key, Verifier, hash, mac, xor};
use super::messages::{ChannelBindings, ClientFinal, ClientFirst, Flag, Nonce};

/// What the owner of an exchange gives when it is asked for a user's verifier.
#[derive(Clone, Debug)]
pub struct Given {
    /// What is stored for the user, or a decoy ([`super::Decoys`]).
    pub verifier: Verifier,
    /// Our part of the nonce.
    pub nonce: Nonce,
    /// Why no proof is right, whatever it is: nobody has the name, or whoever has it may not log in.
    pub unprovable: Option<Reason>,
}

/// Which mechanism the client has chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in super::super) enum Chosen {
    /// SCRAM-SHA-256-PLUS.
    Bound,
    /// SCRAM-SHA-256, and whether the other was offered too.
    Unbound { plus_offered: bool },
}

/// What follows from a client's message.
pub(in super::super) enum Heard {
    /// The message is not what it has to be, or somebody between us has changed what was offered.
    Malformed,
    /// The client has proved that it knows the password of `key`. `proof` is our own; the client's answer to it
    /// is empty.
    Proven { user: UserName, key: StoredKey, proof: String },
    /// The client has not proved anything.
    Unproven { user: UserName, reason: Reason },
    /// The owner has to give this user's verifier.
    Wanted(UserName),
}

/// One exchange.
pub(in super::super) struct Server {
    chosen: Chosen,
    bindings: ChannelBindings,
    state: State,
}

enum State {
    /// The client's first message.
    First,
    /// The owner's answer.
    Verifier {
        user: UserName,
        bare: String,
        nonce: String,
        binding: String,
    },
    /// The client's proof.
    Final(Box<Challenged>),
    Over,
}

/// What was said before the proof.
struct Challenged {
    user: UserName,
    given: Given,
    /// client-first-message-bare and server-first-message.
    so_far: String,
    nonce: String,
    binding: String,
}

impl Server {
    pub(in super::super) fn new(chosen: Chosen, bindings: ChannelBindings) -> Self {
        Self { chosen, bindings, state: State::First }
    }

    /// Takes a message of the client.
    pub(in super::super) fn hear(&mut self, message: &[u8]) -> Heard {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.first(message).unwrap_or(Heard::Malformed),
            State::Final(challenged) => challenged.proof(message).unwrap_or(Heard::Malformed),
            State::Verifier { .. } | State::Over => Heard::Malformed,
        }
    }

    /// Takes the verifier that was wanted, and says what the client is asked: server-first-message.
    pub(in super::super) fn give(&mut self, given: Given) -> Option<String> {
        let State::Verifier { user, bare, nonce, binding } =
            std::mem::replace(&mut self.state, State::Over)
        else {
            return None;
        };
        let nonce = nonce + given.nonce.as_str();
        let salt = STANDARD.encode(given.verifier.salt());
        let server_first = format!("r={nonce},s={salt},i={}", given.verifier.iterations());
        let so_far = format!("{bare},{server_first}");
        self.state = State::Final(Box::new(Challenged { user, given, so_far, nonce, binding }));
        Some(server_first)
    }

    fn first(&mut self, message: &[u8]) -> Option<Heard> {
        let first = ClientFirst::read(message)?;
        let data: &[u8] = match (self.chosen, &first.flag) {
            // RFC 5802 section 6: we offered it and the client could, so somebody has struck it.
            (Chosen::Unbound { plus_offered: true }, Flag::Unused) => return None,
            (Chosen::Unbound { .. }, Flag::Unable | Flag::Unused) => &[],
            (Chosen::Bound, Flag::Used(name)) => self.bindings.of(name)?,
            (Chosen::Unbound { .. }, Flag::Used(_)) | (Chosen::Bound, _) => return None,
        };
        // To act as another needs a right that nobody has here.
        if first.authzid.as_ref().is_some_and(|authzid| *authzid != first.user) {
            return None;
        }
        self.state = State::Verifier {
            user: first.user.clone(),
            bare: first.bare.to_owned(),
            nonce: first.nonce.to_owned(),
            binding: STANDARD.encode([first.header.as_bytes(), data].concat()),
        };
        Some(Heard::Wanted(first.user))
    }
}

impl Challenged {
    fn proof(self, message: &[u8]) -> Option<Heard> {
        let last = ClientFinal::read(message)?;
        if last.binding != self.binding || last.nonce != self.nonce {
            return None;
        }
        let proof: &Key = last.proof.as_slice().try_into().ok()?;
        let verifier = &self.given.verifier;
        let said = format!("{},{}", self.so_far, last.without_proof);
        let signature = mac(verifier.stored_key(), said.as_bytes());
        let proven = hash(&xor(proof, &signature)).ct_eq(verifier.stored_key());
        if let Some(reason) = self.given.unprovable {
            return Some(Heard::Unproven { user: self.user, reason });
        }
        if !bool::from(proven) {
            return Some(Heard::Unproven { user: self.user, reason: Reason::WrongPassword });
        }
        let ours = mac(verifier.server_key(), said.as_bytes());
        let key = StoredKey::new(*verifier.stored_key());
        let proof = format!("v={}", STANDARD.encode(ours));
        Some(Heard::Proven { user: self.user, key, proof })
    }
}
