//! What is shown for names that nobody has, so that nobody can ask by SCRAM which exist.
//!
//! Nothing here is random: the same name gets the same answer, today and after a restart.

use std::fmt;
use std::num::NonZeroU32;

use model::CanonicalUser;
use zeroize::Zeroizing;

use super::keys::{KEY_BYTES, Verifier, mac};

/// Makes decoys.
pub struct Decoys {
    key: Zeroizing<[u8; KEY_BYTES]>,
    iterations: NonZeroU32,
}

impl Decoys {
    /// The length of a decoy's salt: what Dovecot and PostgreSQL draw.
    const SALT: usize = 16;

    /// Takes a key that is kept secret and for as long as the service lives: with another, names that nobody has
    /// are those whose salt changes. `iterations` are those that the verifiers of real users have, mostly.
    pub fn new(key: [u8; KEY_BYTES], iterations: NonZeroU32) -> Self {
        Self { key: Zeroizing::new(key), iterations }
    }

    /// A verifier of no password.
    pub fn verifier(&self, user: &CanonicalUser) -> Verifier {
        let key =
            |purpose: &[u8]| mac(&*self.key, &[purpose, b"\0", user.as_str().as_bytes()].concat());
        let salt = key(b"salt");
        let salt = salt.get(..Self::SALT).unwrap_or(&salt);
        Verifier::of_keys(salt, self.iterations, key(b"stored"), key(b"server"))
    }
}

impl fmt::Debug for Decoys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decoys(..)")
    }
}
