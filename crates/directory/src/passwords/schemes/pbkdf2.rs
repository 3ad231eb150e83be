//! PBKDF2 with HMAC-SHA-1 (RFC 8018 section 5.2) in Dovecot's form: `$1$SALT$ROUNDS$HASH`, the salt as it
//! stands, the hash of 20 bytes in hexadecimal.
//!
//! Nothing here is md5-crypt, which begins in the same way: only the scheme's name tells.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use subtle::ConstantTimeEq;

use super::super::encoding::hex;
use super::super::limits::Limits;
use super::super::stored::Unusable;
use super::{cap, number};

const MALFORMED: Unusable = Unusable::Malformed("PBKDF2");
const HASH_BYTES: usize = 20;

pub(in super::super) struct Pbkdf2 {
    salt: Vec<u8>,
    rounds: NonZeroU32,
    hash: [u8; HASH_BYTES],
}

impl Pbkdf2 {
    pub(super) fn read(data: &[u8], limits: &Limits) -> Result<Self, Unusable> {
        let fields: Vec<_> = data.split(|byte| *byte == b'$').collect();
        let &[b"", b"1", salt, rounds, hash] = fields.as_slice() else {
            return Err(MALFORMED);
        };
        let rounds = number(rounds).and_then(NonZeroU32::new).ok_or(MALFORMED)?;
        cap("the rounds of PBKDF2", rounds.get().into(), limits.rounds.into())?;
        let hash = hex(hash).and_then(|hash| hash.try_into().ok()).ok_or(MALFORMED)?;
        Ok(Self { salt: salt.to_vec(), rounds, hash })
    }

    pub(super) fn is(&self, password: &[u8]) -> bool {
        let mut hash = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, self.rounds, &self.salt, password, &mut hash);
        hash.ct_eq(&self.hash).into()
    }
}
