//! What must never be shown.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password or another secret. It is wiped from memory when dropped, and no `Debug` print shows it.
///
/// It can hold any bytes but NUL, which neither SASL PLAIN (RFC 4616) nor an IMAP literal
/// (RFC 3501, CHAR8) can carry. So it may hold CR and LF: who writes it on a protocol line picks a
/// literal or base64.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// The bytes cannot be a secret: there is a NUL among them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a secret cannot hold a NUL byte")]
pub struct InvalidSecret;

impl Secret {
    /// Takes over the bytes of a secret.
    ///
    /// # Errors
    /// [`InvalidSecret`] if there is a NUL among them.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.contains(&0) { Err(InvalidSecret) } else { Ok(Self(bytes)) }
    }

    /// The secret itself. The only way to it, so that all its uses can be found by this name.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// Whether two secrets are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// An OAuth 2.0 bearer token: a [`Secret`] of 1 or more visible ASCII characters, which is what RFC 6750
/// section 2.1 allows and a little more. So it can end neither the field nor the message that holds it.
#[derive(Clone)]
pub struct Token(Secret);

/// The bytes cannot be a bearer token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a bearer token has visible ASCII characters only, and at least one")]
pub struct InvalidToken;

impl Token {
    /// Takes over the bytes of a token.
    ///
    /// # Errors
    /// [`InvalidToken`] if there are none, or others than visible ASCII characters.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidToken> {
        let secret = Secret::new(bytes).map_err(|InvalidSecret| InvalidToken)?;
        let bytes = secret.reveal();
        if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(InvalidToken);
        }
        Ok(Self(secret))
    }

    /// The token as a secret, for whoever has to send it.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

/// The key against which SCRAM-SHA-256 checks a proof: StoredKey (RFC 5802 section 3). It is wiped from memory
/// when dropped, and no `Debug` print shows it.
#[derive(Clone)]
pub struct StoredKey(Zeroizing<[u8; 32]>);

impl StoredKey {
    /// Takes over a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Whether two keys are the same, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKey(..)")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_cannot_end_the_field_that_holds_it() {
        assert!(Token::new("ya29.a-B_c~d+e/f==").is_ok());
        for bad in ["", "a b", "a\x01b", "a\r\n", "\u{e4}", "a\0"] {
            assert!(Token::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(format!("{:?}", Token::new("hunter2").unwrap()), "Token(..)");
    }

    #[test]
    fn a_debug_print_never_shows_a_secret() {
        let secret = Secret::new("hunter2").unwrap();
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
    }

    #[test]
    fn a_nul_is_refused_and_line_ends_are_not() {
        assert!(Secret::new("a\0b").is_err());
        assert!(Secret::new("a\r\nb").is_ok());
    }

    #[test]
    fn secrets_match_only_when_they_are_the_same() {
        let secret = |text: &str| Secret::new(text).unwrap();
        assert!(secret("a").matches(&secret("a")));
        assert!(!secret("a").matches(&secret("ab")));
        assert!(!secret("a").matches(&secret("b")));
    }
}
