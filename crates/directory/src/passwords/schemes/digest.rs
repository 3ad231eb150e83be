//! SHA-1, SHA-256 and SHA-512 of a password and a salt behind it (RFC 2307 and its successors): `{SSHA}`,
//! `{SSHA256}`, `{SSHA512}`, and without salt.
//!
//! Nothing here is slow, so these protect a stolen database badly.

use aws_lc_rs::digest::{self, Context};
use subtle::ConstantTimeEq;

use super::super::encoding::{Encoding, base64, hex};
use super::super::stored::Unusable;

#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// Whether a salt stands behind the digest.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Salt {
    With,
    Without,
}

pub(in super::super) struct Digest {
    hash: Hash,
    digest: Vec<u8>,
    salt: Vec<u8>,
}

impl Hash {
    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA or SSHA",
            Self::Sha256 => "SHA256 or SSHA256",
            Self::Sha512 => "SHA512 or SSHA512",
        }
    }
}

impl Digest {
    pub(super) fn read(
        data: &[u8],
        hash: Hash,
        salt: Salt,
        decoded: Option<Encoding>,
    ) -> Result<Self, Unusable> {
        let length = hash.algorithm().output_len();
        let bytes = match decoded {
            Some(_) => Some(data.to_vec()),
            // As Dovecot does: what has the length of hexadecimal is hexadecimal.
            None if salt == Salt::Without && data.len() == 2 * length => hex(data),
            None => base64(data),
        };
        let malformed = || Unusable::Malformed(hash.name());
        let mut digest = bytes.ok_or_else(malformed)?;
        if digest.len() < length {
            return Err(malformed());
        }
        let rest = digest.split_off(length);
        let fits = match salt {
            Salt::With => !rest.is_empty(),
            Salt::Without => rest.is_empty(),
        };
        if fits { Ok(Self { hash, digest, salt: rest }) } else { Err(malformed()) }
    }

    pub(super) fn is(&self, password: &[u8]) -> bool {
        let mut context = Context::new(self.hash.algorithm());
        context.update(password);
        context.update(&self.salt);
        context.finish().as_ref().ct_eq(&self.digest).into()
    }
}
