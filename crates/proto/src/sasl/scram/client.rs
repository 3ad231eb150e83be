//! The client's side of an exchange: we prove to a server that we know a password, and it proves to us that it
//! knows its keys.
//!
//! Nothing here speaks to a server that asks for fewer iterations than RFC 7677 allows, or for so many that it
//! would keep us busy.

use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Secret, UserName};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::keys::{Key, Keys, Verifier, mac, prepared, xor};
use super::messages::{Nonce, ServerFirst, write_name};

/// The fewest iterations that a server may ask for (RFC 7677 section 4).
const FEWEST: u32 = 4096;
/// The most: about half a second.
const MOST: u32 = 2_000_000;

/// What we say of channel binding.
#[derive(Clone, Debug)]
pub enum Binding {
    /// We do not know of it.
    Unable,
    /// We could, and the server does not offer it.
    Unused,
    /// SCRAM-SHA-256-PLUS by a type, such as `tls-exporter`, and what is known of it.
    Used(&'static str, Box<[u8]>),
}

/// What is wrong with a server's message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// It does not know the keys: it is not the server that has our password, or the password was wrong.
    #[error("the server could not prove that it knows the password")]
    Impostor,
    /// It is not of the form that SCRAM has.
    #[error("the server's SCRAM message is malformed")]
    Malformed,
    /// The nonce does not begin with ours.
    #[error("the server's SCRAM message belongs to another exchange")]
    Nonce,
    /// The name cannot be prepared.
    #[error("the user name is not allowed in SCRAM")]
    Name,
    /// It asks for fewer iterations than are safe, or for more than are sensible.
    #[error("the server asks for {0} iterations")]
    Iterations(u32),
}

/// One exchange.
pub struct Client {
    password: Secret,
    nonce: Nonce,
    /// The GS2 header.
    header: String,
    /// What follows the header under `c=`.
    binding: Box<[u8]>,
    /// client-first-message-bare.
    bare: String,
    /// What the server has to prove by, once it has been asked to.
    expected: Option<Zeroizing<Key>>,
}

impl Client {
    /// Begins an exchange.
    ///
    /// # Errors
    /// [`Broken::Name`] if SASLprep does not allow the name.
    pub fn new(
        user: &UserName,
        password: Secret,
        nonce: Nonce,
        binding: Binding,
    ) -> Result<Self, Broken> {
        let (flag, binding) = match binding {
            Binding::Unable => ("n".to_owned(), Box::default()),
            Binding::Unused => ("y".to_owned(), Box::default()),
            Binding::Used(name, data) => (format!("p={name}"), data),
        };
        let prepared = stringprep::saslprep(user.as_str()).map_err(|_| Broken::Name)?;
        let bare = format!("n={},r={}", write_name(&prepared), nonce.as_str());
        Ok(Self { password, nonce, header: format!("{flag},,"), binding, bare, expected: None })
    }

    /// client-first-message.
    pub fn first(&self) -> String {
        format!("{}{}", self.header, self.bare)
    }

    /// Takes server-first-message and gives client-final-message. It takes as long as the iterations do.
    ///
    /// # Errors
    /// [`Broken`] if the message is not one to be answered.
    pub fn prove(&mut self, server_first: &[u8]) -> Result<Zeroizing<String>, Broken> {
        let text = std::str::from_utf8(server_first).map_err(|_| Broken::Malformed)?;
        let first = ServerFirst::read(text).ok_or(Broken::Malformed)?;
        let ours = self.nonce.as_str();
        if !first.nonce.starts_with(ours) || first.nonce.len() == ours.len() {
            return Err(Broken::Nonce);
        }
        if first.salt.len() > Verifier::MAX_SALT {
            return Err(Broken::Malformed);
        }
        let iterations = NonZeroU32::new(first.iterations)
            .filter(|iterations| (FEWEST..=MOST).contains(&iterations.get()))
            .ok_or(Broken::Iterations(first.iterations))?;
        let keys = Keys::of_prepared(&prepared(&self.password), &first.salt, iterations);
        let binding = STANDARD.encode([self.header.as_bytes(), &*self.binding].concat());
        let without_proof = format!("c={binding},r={}", first.nonce);
        let said = format!("{},{text},{without_proof}", self.bare);
        let signature = mac(&keys.stored_key(), said.as_bytes());
        let proof = Zeroizing::new(xor(&keys.client_key, &signature));
        self.expected = Some(Zeroizing::new(mac(&*keys.server_key, said.as_bytes())));
        let proof = Zeroizing::new(STANDARD.encode(*proof));
        Ok(Zeroizing::new(format!("{without_proof},p={}", *proof)))
    }

    /// Takes server-final-message: whether the server has proved itself. Without this no login is one.
    ///
    /// # Errors
    /// [`Broken`] if it has not.
    pub fn verify(&mut self, server_final: &[u8]) -> Result<(), Broken> {
        let expected = self.expected.take().ok_or(Broken::Malformed)?;
        let signature = server_final.strip_prefix(b"v=").ok_or(Broken::Malformed)?;
        let signature = signature.split(|byte| *byte == b',').next().unwrap_or_default();
        let signature = STANDARD.decode(signature).map_err(|_| Broken::Malformed)?;
        bool::from(signature.ct_eq(&*expected)).then_some(()).ok_or(Broken::Impostor)
    }
}
