//! The schemes, each in a file of its name, and which name means which.
//!
//! Nothing here decides whether a scheme may be used.

mod argon2;
mod bcrypt;
mod digest;
mod pbkdf2;
mod scram;
mod sha_crypt;
mod yescrypt;

use model::Secret;
use proto::sasl::scram::Verifier;

use super::encoding::Encoding;
use super::limits::Limits;
use super::stored::Unusable;

/// A stored password, by its scheme.
pub(super) enum Scheme {
    Argon2(argon2::Argon2),
    Bcrypt(bcrypt::Bcrypt),
    Digest(digest::Digest),
    Pbkdf2(pbkdf2::Pbkdf2),
    Plain(Secret),
    Scram(Verifier),
    ShaCrypt(sha_crypt::ShaCrypt),
    Yescrypt(yescrypt::Yescrypt),
}

impl Scheme {
    pub(super) fn is(&self, offered: &Secret) -> Result<bool, Unusable> {
        let password = offered.reveal();
        match self {
            Self::Argon2(stored) => stored.is(password),
            Self::Bcrypt(stored) => stored.is(password),
            Self::Digest(stored) => Ok(stored.is(password)),
            Self::Pbkdf2(stored) => Ok(stored.is(password)),
            Self::Plain(stored) => Ok(stored.matches(offered)),
            Self::Scram(stored) => Ok(stored.is_of(offered)),
            Self::ShaCrypt(stored) => Ok(stored.is(password)),
            Self::Yescrypt(stored) => stored.is(password),
        }
    }
}

/// Schemes that others know and we do not check: they are weak, or need what is not kept here.
const UNSUPPORTED: [&str; 20] = [
    "CRAM-MD5",
    "DES-CRYPT",
    "DIGEST-MD5",
    "HMAC-MD5",
    "LANMAN",
    "LDAP-MD5",
    "MD5",
    "MD5-CRYPT",
    "NS-MTA-MD5",
    "NTLM",
    "OTP",
    "PBKDF2-SHA256",
    "PBKDF2-SHA512",
    "PLAIN-MD4",
    "PLAIN-MD5",
    "PLAIN-TRUNC",
    "RPA",
    "SASL",
    "SCRAM-SHA-1",
    "SMD5",
];

/// Reads data by the name of its scheme, in any case. `decoded` tells how it was encoded, if its name said so.
pub(super) fn of_name(
    name: &str,
    data: &[u8],
    decoded: Option<Encoding>,
    limits: &Limits,
) -> Result<Scheme, Unusable> {
    use digest::{Digest, Hash::*, Salt::*};

    let digest = |hash, salt| Digest::read(data, hash, salt, decoded).map(Scheme::Digest);
    match name.to_ascii_uppercase().as_str() {
        "ARGON2" | "ARGON2D" | "ARGON2I" | "ARGON2ID" => argon2(data, limits),
        "BCRYPT" | "BLF-CRYPT" => bcrypt(data, limits),
        "CLEAR" | "CLEARTEXT" | "PLAIN" => plain(data),
        "CRYPT" => of_crypt(data, limits).unwrap_or(Err(Unusable::Unsupported(Some("DES-CRYPT")))),
        "PBKDF2" => pbkdf2::Pbkdf2::read(data, limits).map(Scheme::Pbkdf2),
        "SCRAM-SHA-256" => scram::read(data, limits).map(Scheme::Scram),
        "SHA" | "SHA1" => digest(Sha1, Without),
        "SHA256" => digest(Sha256, Without),
        "SHA256-CRYPT" | "SHA512-CRYPT" => sha_crypt(data, limits),
        "SHA512" => digest(Sha512, Without),
        "SSHA" => digest(Sha1, With),
        "SSHA256" => digest(Sha256, With),
        "SSHA512" => digest(Sha512, With),
        "YESCRYPT" => yescrypt(data, limits),
        other => {
            let known = UNSUPPORTED.into_iter().find(|name| *name == other);
            Err(Unusable::Unsupported(known))
        }
    }
}

/// Reads what says by itself which scheme it has: crypt(3), PHC strings, PostgreSQL's verifiers. `None` if it
/// says nothing.
pub(super) fn of_crypt(data: &[u8], limits: &Limits) -> Option<Result<Scheme, Unusable>> {
    if data.starts_with(scram::POSTGRESQL) {
        return Some(scram::read(data, limits).map(Scheme::Scram));
    }
    let inside = data.strip_prefix(b"$")?;
    let end = inside.iter().position(|byte| *byte == b'$')?;
    Some(match inside.get(..end)? {
        b"1" => Err(Unusable::Unsupported(Some("MD5-CRYPT"))),
        b"2a" | b"2b" | b"2y" => bcrypt(data, limits),
        b"5" | b"6" => sha_crypt(data, limits),
        b"argon2d" | b"argon2i" | b"argon2id" => argon2(data, limits),
        b"y" => yescrypt(data, limits),
        // A password could begin so.
        _ => return None,
    })
}

/// Takes data as the password itself.
pub(super) fn plain(data: &[u8]) -> Result<Scheme, Unusable> {
    Secret::new(data).map(Scheme::Plain).map_err(|_| Unusable::Malformed("PLAIN"))
}

fn argon2(data: &[u8], limits: &Limits) -> Result<Scheme, Unusable> {
    argon2::Argon2::read(data, limits).map(Scheme::Argon2)
}

fn bcrypt(data: &[u8], limits: &Limits) -> Result<Scheme, Unusable> {
    bcrypt::Bcrypt::read(data, limits).map(Scheme::Bcrypt)
}

fn sha_crypt(data: &[u8], limits: &Limits) -> Result<Scheme, Unusable> {
    sha_crypt::ShaCrypt::read(data, limits).map(Scheme::ShaCrypt)
}

fn yescrypt(data: &[u8], limits: &Limits) -> Result<Scheme, Unusable> {
    yescrypt::Yescrypt::read(data, limits).map(Scheme::Yescrypt)
}

/// Refuses what asks for too much.
fn cap(what: &'static str, asked: u64, limit: u64) -> Result<(), Unusable> {
    if asked > limit { Err(Unusable::BeyondLimit { what, asked, limit }) } else { Ok(()) }
}

/// Reads a decimal number without sign, space or leading zeros.
fn number(text: &[u8]) -> Option<u32> {
    let digits = text.iter().all(u8::is_ascii_digit) && (text == b"0" || !text.starts_with(b"0"));
    if !digits { None } else { std::str::from_utf8(text).ok()?.parse().ok() }
}
