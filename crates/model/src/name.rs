//! Names: of users as offered, of users as we know them, of back ends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A user name that fits on a protocol line: UTF-8 without control characters, 1 to 512 bytes, so no
/// writer has to check again. It can still need quoting.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct UserName(Box<str>);

/// Why some bytes are no user name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUserName {
    /// There is a control character, such as CR, LF or NUL.
    #[error("a user name cannot hold control characters")]
    ControlCharacter,
    /// There is nothing.
    #[error("a user name cannot be empty")]
    Empty,
    /// The bytes are not UTF-8.
    #[error("a user name must be UTF-8")]
    NotUtf8,
    /// There are more than [`UserName::MAX_BYTES`] bytes.
    #[error("a user name has at most 512 bytes")]
    TooLong,
}

impl UserName {
    /// The longest name in bytes: twice what SMTP allows to a mailbox address (RFC 5321 section 4.5.3.1).
    pub const MAX_BYTES: usize = 512;

    /// Reads a user name.
    ///
    /// # Errors
    /// [`InvalidUserName`] says what is wrong with it.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, InvalidUserName> {
        let name = name.into();
        if name.is_empty() {
            return Err(InvalidUserName::Empty);
        }
        if name.len() > Self::MAX_BYTES {
            return Err(InvalidUserName::TooLong);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidUserName::ControlCharacter);
        }
        Ok(Self(name))
    }

    /// Reads a user name from bytes that came over a wire.
    ///
    /// # Errors
    /// [`InvalidUserName`] says what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidUserName> {
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidUserName::NotUtf8)?;
        Self::new(text)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one name by which we know a user, after the name rules have been applied. Tables, caches,
/// limits and logs are keyed by it and never by what the client typed.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct CanonicalUser(UserName);

impl CanonicalUser {
    /// Declares a name canonical. Only the name rules of `directory` and readers of tables that
    /// hold canonical names may say so.
    pub fn declare(name: UserName) -> Self {
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name for use where the name's history does not matter.
    pub fn name(&self) -> &UserName {
        &self.0
    }
}

impl fmt::Display for CanonicalUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a back end in the configuration: letters, digits, `-`, `_` and `.`, 1 to 64 of them.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String")]
pub struct BackendName(std::sync::Arc<str>);

/// The text cannot be a back end's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the name of a back end has 1 to 64 letters, digits, `-`, `_` or `.`")]
pub struct InvalidBackendName;

impl BackendName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`InvalidBackendName`] if it has other characters, none, or more than 64.
    pub fn new(name: &str) -> Result<Self, InvalidBackendName> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(InvalidBackendName);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BackendName {
    type Error = InvalidBackendName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_cannot_carry_a_second_command() {
        assert_eq!(UserName::new("u\r\nDELE 1"), Err(InvalidUserName::ControlCharacter));
        assert_eq!(UserName::new("u\0"), Err(InvalidUserName::ControlCharacter));
        assert_eq!(UserName::new("u\u{85}"), Err(InvalidUserName::ControlCharacter));
        assert_eq!(UserName::from_bytes(b"u\xff"), Err(InvalidUserName::NotUtf8));
        assert_eq!(UserName::new(""), Err(InvalidUserName::Empty));
        assert_eq!(UserName::new("u".repeat(513)), Err(InvalidUserName::TooLong));
        assert!(UserName::new("Jürgen O'Neil \"x\"@example.org").is_ok());
    }

    #[test]
    fn a_back_end_name_is_one_plain_word() {
        assert!(BackendName::new("store-1.example_org").is_ok());
        for bad in ["", "a b", "a:1", "ä", &"a".repeat(65)] {
            assert!(BackendName::new(bad).is_err(), "{bad}");
        }
    }
}
