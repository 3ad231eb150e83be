//! The keys of SCRAM-SHA-256 (RFC 5802 section 3): what a server stores, and how it follows from a password.
//!
//! Nothing here reads a message or draws a salt.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use model::{Secret, StoredKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The length of a SHA-256 digest in bytes.
pub const KEY_BYTES: usize = 32;

/// A digest or a key.
pub(super) type Key = [u8; KEY_BYTES];

/// What a server has to store of a password to be able to take SCRAM-SHA-256: with it nobody can log in, but
/// whoever has it can act as the server. So it is a secret too.
#[derive(Clone)]
pub struct Verifier {
    salt: Box<[u8]>,
    iterations: NonZeroU32,
    stored_key: Key,
    server_key: Zeroizing<Key>,
}

/// The parts make no verifier.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a SCRAM verifier has a salt of 1 to 256 bytes, at least one iteration, and keys of 32 bytes"
)]
pub struct InvalidVerifier;

impl Verifier {
    /// The longest salt in bytes. Those in use have 12 to 32.
    pub const MAX_SALT: usize = 256;

    /// Puts a verifier together.
    ///
    /// # Errors
    /// [`InvalidVerifier`] if the salt is empty or longer than [`Self::MAX_SALT`], there are no iterations, or
    /// a key has not the length of SHA-256.
    pub fn new(
        salt: &[u8],
        iterations: u32,
        stored_key: &[u8],
        server_key: &[u8],
    ) -> Result<Self, InvalidVerifier> {
        if !(1..=Self::MAX_SALT).contains(&salt.len()) {
            return Err(InvalidVerifier);
        }
        Ok(Self {
            salt: salt.into(),
            iterations: NonZeroU32::new(iterations).ok_or(InvalidVerifier)?,
            stored_key: stored_key.try_into().map_err(|_| InvalidVerifier)?,
            server_key: Zeroizing::new(server_key.try_into().map_err(|_| InvalidVerifier)?),
        })
    }

    /// Puts a verifier together of what is known to fit.
    pub(super) fn of_keys(
        salt: &[u8],
        iterations: NonZeroU32,
        stored_key: Key,
        server_key: Key,
    ) -> Self {
        Self { salt: salt.into(), iterations, stored_key, server_key: Zeroizing::new(server_key) }
    }

    /// The verifier of a password. It takes as long as the iterations ask for: milliseconds at least.
    ///
    /// # Errors
    /// [`InvalidVerifier`] as in [`Self::new`].
    pub fn of(password: &Secret, salt: &[u8], iterations: u32) -> Result<Self, InvalidVerifier> {
        let rounds = NonZeroU32::new(iterations).ok_or(InvalidVerifier)?;
        let keys = Keys::of_prepared(&prepared(password), salt, rounds);
        Self::new(salt, iterations, &keys.stored_key(), &*keys.server_key)
    }

    /// Whether a password is the one that this verifier was made of. Passwords are prepared by SASLprep
    /// (RFC 4013); as some programs store verifiers of passwords as they are typed, that is tried as well.
    /// It takes as long as the iterations ask for.
    pub fn is_of(&self, password: &Secret) -> bool {
        let prepared = prepared(password);
        self.matches(&prepared)
            || (*prepared != password.reveal() && self.matches(password.reveal()))
    }

    fn matches(&self, password: &[u8]) -> bool {
        let keys = Keys::of_prepared(password, &self.salt, self.iterations);
        let (stored, server) = (keys.stored_key(), &*keys.server_key);
        // Both, so that half a verifier is none.
        (stored.ct_eq(&self.stored_key) & server.ct_eq(&*self.server_key)).into()
    }

    /// Whether a proof was checked against this verifier's key.
    pub fn has_key(&self, key: &StoredKey) -> bool {
        StoredKey::new(self.stored_key).matches(key)
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// How often the hash is iterated.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    pub(super) fn stored_key(&self) -> &Key {
        &self.stored_key
    }

    pub(super) fn server_key(&self) -> &Key {
        &self.server_key
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// What a client has of a password.
pub(super) struct Keys {
    pub(super) client_key: Zeroizing<Key>,
    pub(super) server_key: Zeroizing<Key>,
}

impl Keys {
    /// RFC 5802 section 3: SaltedPassword, ClientKey and ServerKey.
    pub(super) fn of_prepared(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = Zeroizing::new([0; KEY_BYTES]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut *salted);
        Self {
            client_key: Zeroizing::new(mac(&*salted, b"Client Key")),
            server_key: Zeroizing::new(mac(&*salted, b"Server Key")),
        }
    }

    pub(super) fn stored_key(&self) -> Key {
        hash(&*self.client_key)
    }
}

/// HMAC-SHA-256.
pub(super) fn mac(key: &[u8], message: &[u8]) -> Key {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut out = [0; KEY_BYTES];
    // A tag of SHA-256 has as many bytes.
    out.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// SHA-256.
pub(super) fn hash(message: &[u8]) -> Key {
    let digest = digest::digest(&digest::SHA256, message);
    let mut out = [0; KEY_BYTES];
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// The exclusive or of two keys.
pub(super) fn xor(a: &Key, b: &Key) -> Key {
    let mut out = *a;
    out.iter_mut().zip(b).for_each(|(to, from)| *to ^= from);
    out
}

/// A password as RFC 5802 section 2.2 prepares it. What SASLprep does not allow is taken as it is, which is
/// what PostgreSQL and others do: it was stored by somebody.
pub(super) fn prepared(password: &Secret) -> Zeroizing<Vec<u8>> {
    let raw = password.reveal();
    let prepared = std::str::from_utf8(raw).ok().and_then(|text| stringprep::saslprep(text).ok());
    Zeroizing::new(prepared.map_or_else(|| raw.to_vec(), |text| text.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    #[test]
    fn a_verifier_is_of_its_own_password_only() {
        let verifier = Verifier::of(&secret("pencil"), b"salt", 4096).unwrap();
        assert!(verifier.is_of(&secret("pencil")));
        for wrong in ["", "pencil ", "Pencil", "pencils"] {
            assert!(!verifier.is_of(&secret(wrong)), "{wrong}");
        }
    }

    #[test]
    fn a_password_may_have_been_stored_prepared_or_as_it_was_typed() {
        // SASLprep makes "IX" of U+2168 (RFC 4013 section 3).
        let prepared = Verifier::of(&secret("IX"), b"salt", 1).unwrap();
        assert!(prepared.is_of(&secret("\u{2168}")));
        let keys = Keys::of_prepared("\u{2168}".as_bytes(), b"salt", NonZeroU32::MIN);
        let typed = Verifier::new(b"salt", 1, &keys.stored_key(), &*keys.server_key).unwrap();
        assert!(typed.is_of(&secret("\u{2168}")));
        assert!(!typed.is_of(&secret("IX")));
    }

    #[test]
    fn what_cannot_be_a_verifier_is_none() {
        let key = [0; 32];
        assert!(Verifier::new(b"s", 1, &key, &key).is_ok());
        assert!(Verifier::new(b"", 1, &key, &key).is_err());
        assert!(Verifier::new(&[0; 257], 1, &key, &key).is_err());
        assert!(Verifier::new(b"s", 0, &key, &key).is_err());
        assert!(Verifier::new(b"s", 1, &[0; 31], &key).is_err());
        assert!(Verifier::new(b"s", 1, &key, &[0; 33]).is_err());
    }

    #[test]
    fn a_debug_print_never_shows_a_verifier() {
        let verifier = Verifier::of(&secret("pencil"), b"salt", 1).unwrap();
        assert_eq!(format!("{verifier:?}"), "Verifier(..)");
    }
}
