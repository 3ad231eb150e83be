//! Reads what a source has stored for a user: `{SCHEME}data`, or the `$id$` strings of crypt(3).
//!
//! Nothing here hashes. What is stored shows in no error: a password in clear could look like anything.

use std::fmt;

use model::Secret;
use zeroize::Zeroizing;

use super::encoding::Encoding;
use super::limits::{Limits, PlainText};
use super::schemes::{self, Scheme};

/// The longest password that can be right, in bytes: RFC 4616 asks for 255, crypt(3) takes 512, and some
/// schemes take time that grows with its square.
const MAX_OFFERED: usize = 1024;

/// The longest stored password that is looked at, in bytes: four times what any scheme writes.
const MAX_STORED: usize = 4096;

/// A stored password that has been read: it can be checked at a cost within the limits.
pub struct Stored(Scheme);

/// What a stored password is that has neither the name of a scheme nor the `$id$` of crypt(3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum DefaultScheme {
    /// It cannot be used. The default: a hash that was cut off would otherwise become a password.
    #[default]
    None,
    /// The password itself; only where [`PlainText::Allowed`].
    Plain,
}

/// Why a stored password cannot be used. It never tells what is stored.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unusable {
    /// It asks for more work than is allowed.
    #[error("{what} is {asked}, and the limit is {limit}: raise it if this is no mistake")]
    BeyondLimit {
        /// What is too much, as the administrator knows it.
        what: &'static str,
        /// What it asks for.
        asked: u64,
        /// What is allowed.
        limit: u64,
    },
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It does not have the form of its scheme.
    #[error("it is not of the form that {0} has")]
    Malformed(&'static str),
    /// It names no scheme, and none is set for such.
    #[error("it names no scheme, such as {{SSHA512}}, and no default scheme is set")]
    NoScheme,
    /// It is in clear text, which is not allowed.
    #[error("it is in clear text, which the configuration does not allow")]
    PlainText,
    /// The processing itself failed.
    #[error("{0} could not be computed")]
    Scheme(&'static str),
    /// Its scheme is none that is checked here; known ones are named.
    #[error("{}", unsupported(.0))]
    Unsupported(Option<&'static str>),
}

fn unsupported(scheme: &Option<&'static str>) -> String {
    match scheme {
        Some(name) => format!("the scheme {name} is not checked here"),
        None => "its scheme is not known".to_owned(),
    }
}

impl Stored {
    /// Reads a stored password.
    ///
    /// # Errors
    /// [`Unusable`] if it cannot be checked, or not within the limits.
    pub fn read(
        stored: &Secret,
        default: DefaultScheme,
        plain: PlainText,
        limits: &Limits,
    ) -> Result<Self, Unusable> {
        let stored = stored.reveal();
        if stored.is_empty() {
            return Err(Unusable::Empty);
        }
        if stored.len() > MAX_STORED {
            return Err(Unusable::Malformed("any scheme"));
        }
        let scheme = match split(stored) {
            Some((name, data)) => named(name, data, limits)?,
            None => schemes::of_crypt(stored, limits).unwrap_or_else(|| match default {
                DefaultScheme::None => Err(Unusable::NoScheme),
                DefaultScheme::Plain => schemes::plain(stored),
            })?,
        };
        if matches!(scheme, Scheme::Plain(_)) && plain == PlainText::Refused {
            return Err(Unusable::PlainText);
        }
        Ok(Self(scheme))
    }

    /// Whether this is the password. It takes as long as the scheme asks for: up to seconds.
    ///
    /// # Errors
    /// [`Unusable`] if the scheme cannot be computed: memory is short.
    pub fn is(&self, offered: &Secret) -> Result<bool, Unusable> {
        let password = offered.reveal();
        // An empty password is what a client has that was given none; nobody's account is open to it.
        if password.is_empty() || password.len() > MAX_OFFERED {
            return Ok(false);
        }
        self.0.is(offered)
    }

    /// The keys for SCRAM-SHA-256, if they are what is stored.
    pub fn verifier(&self) -> Option<&proto::sasl::scram::Verifier> {
        match &self.0 {
            Scheme::Scram(verifier) => Some(verifier),
            _ => None,
        }
    }

    /// Whether checking takes next to no time, so that it can be done at once.
    pub(super) fn is_cheap(&self) -> bool {
        matches!(self.0, Scheme::Plain(_) | Scheme::Digest(_))
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stored(..)")
    }
}

/// Splits `{SCHEME}data`.
fn split(stored: &[u8]) -> Option<(&str, &[u8])> {
    let inside = stored.strip_prefix(b"{")?;
    let end = inside.iter().position(|byte| *byte == b'}')?;
    let name = std::str::from_utf8(inside.get(..end)?).ok()?;
    Some((name, inside.get(end + 1..)?))
}

/// Reads what stands behind the name of a scheme. The name decides, never the data: Dovecot's PBKDF2 begins as
/// md5-crypt does.
fn named(name: &str, data: &[u8], limits: &Limits) -> Result<Scheme, Unusable> {
    let Some((name, suffix)) = name.split_once('.') else {
        return schemes::of_name(name, data, None, limits);
    };
    let encoding = Encoding::of_suffix(suffix).ok_or(Unusable::Unsupported(None))?;
    let decoded = encoding.decode(data).ok_or(Unusable::Malformed("its encoding"))?;
    let decoded = Zeroizing::new(decoded);
    schemes::of_name(name, &decoded, Some(encoding), limits)
}
