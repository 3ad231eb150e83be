//! SHA-256-crypt and SHA-512-crypt (Drepper, 2008): `$6$SALT$HASH`, `$5$rounds=5000$SALT$HASH`.
//!
//! Nothing here rounds a number of rounds up or down: programs write the number they used.

use sha_crypt::Params;
use subtle::ConstantTimeEq;

use super::super::encoding::to_crypt64;
use super::super::limits::Limits;
use super::super::stored::Unusable;
use super::{cap, number};

const MALFORMED: Unusable = Unusable::Malformed("SHA256-CRYPT or SHA512-CRYPT");

#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha512,
}

pub(in super::super) struct ShaCrypt {
    hash: Hash,
    params: Params,
    salt: Vec<u8>,
    /// As it is written.
    expected: Vec<u8>,
}

impl ShaCrypt {
    pub(super) fn read(data: &[u8], limits: &Limits) -> Result<Self, Unusable> {
        let (hash, digits, rest) = match data {
            [b'$', b'5', b'$', rest @ ..] => (Hash::Sha256, 43, rest),
            [b'$', b'6', b'$', rest @ ..] => (Hash::Sha512, 86, rest),
            _ => return Err(MALFORMED),
        };
        let fields: Vec<_> = rest.split(|byte| *byte == b'$').collect();
        let (rounds, salt, expected) = match *fields.as_slice() {
            [salt, expected] => (Params::RECOMMENDED_ROUNDS, salt, expected),
            [rounds, salt, expected] => {
                let rounds = rounds.strip_prefix(b"rounds=").and_then(number);
                (rounds.ok_or(MALFORMED)?, salt, expected)
            }
            _ => return Err(MALFORMED),
        };
        if salt.len() > 16 || expected.len() != digits {
            return Err(MALFORMED);
        }
        cap("the rounds of SHA256-CRYPT or SHA512-CRYPT", rounds.into(), limits.rounds.into())?;
        let params = Params::new(rounds).map_err(|_| MALFORMED)?;
        Ok(Self { hash, params, salt: salt.to_vec(), expected: expected.to_vec() })
    }

    pub(super) fn is(&self, password: &[u8]) -> bool {
        let written = match self.hash {
            Hash::Sha256 => {
                written_256(&sha_crypt::sha256_crypt(password, &self.salt, self.params))
            }
            Hash::Sha512 => {
                written_512(&sha_crypt::sha512_crypt(password, &self.salt, self.params))
            }
        };
        written.ct_eq(&self.expected).into()
    }
}

/// The digest in the order in which it is written, which takes a byte of each third in turn.
fn written_512(digest: &[u8; 64]) -> Vec<u8> {
    let byte = |place: usize| digest.get(place).copied().unwrap_or_default();
    let mut places = (0, 21, 42);
    let mut written = Vec::with_capacity(86);
    for _ in 0..21 {
        let (high, middle, low) = places;
        written.extend(to_crypt64([byte(low), byte(middle), byte(high)], 4));
        places = (middle + 1, low + 1, high + 1);
    }
    written.extend(to_crypt64([byte(63), 0, 0], 2));
    written
}

fn written_256(digest: &[u8; 32]) -> Vec<u8> {
    let byte = |place: usize| digest.get(place).copied().unwrap_or_default();
    let mut places = (0, 10, 20);
    let mut written = Vec::with_capacity(43);
    for _ in 0..10 {
        let (high, middle, low) = places;
        written.extend(to_crypt64([byte(low), byte(middle), byte(high)], 4));
        places = (low + 1, high + 1, middle + 1);
    }
    written.extend(to_crypt64([byte(30), byte(31), 0], 3));
    written
}
