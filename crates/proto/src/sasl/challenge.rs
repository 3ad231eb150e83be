//! What a server says of a token before it refuses it (RFC 7628 section 3.2.2, and XOAUTH2 alike).
//!
//! Nothing here reads the JSON inside: clients do.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::TokenMechanism;

/// A challenge that tells a client why its token was refused: base64 as it stands on the line, 1 to 4096
/// bytes. So it can be passed on as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge(Box<str>);

impl Challenge {
    /// The longest challenge that is passed on. Those seen in the wild have under 300 bytes.
    pub const MAX_BYTES: usize = 4096;

    /// Reads what stands behind `+` on a back end's line; `None` if there is nothing to be passed on.
    pub fn read(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        (fits && STANDARD.decode(text).is_ok()).then(|| Self(text.into()))
    }

    /// What we say ourselves where no back end was asked.
    pub(crate) fn ours(mechanism: TokenMechanism) -> Self {
        let json = match mechanism {
            TokenMechanism::OAuthBearer => r#"{"status":"invalid_token"}"#,
            TokenMechanism::XOAuth2 => r#"{"status":"401","schemes":"bearer"}"#,
        };
        Self(STANDARD.encode(json).into())
    }

    /// The base64.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_base64_of_bounded_length_is_passed_on() {
        assert!(Challenge::read(b"eyJzdGF0dXMiOiI0MDAifQ==").is_some());
        assert!(Challenge::read(&b"A".repeat(4096)).is_some());
        for bad in [&b""[..], b"a b", b"x", b"eyJ9\r", b"\xff", &b"A".repeat(4100)] {
            assert_eq!(Challenge::read(bad), None, "{bad:?}");
        }
    }
}
