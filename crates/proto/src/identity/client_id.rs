//! What an IMAP client says of itself, kept for the back end.
//!
//! Nothing here lets a client say what only proxies may.

use super::claims::Pair;
use super::{MAX_NAME, MAX_PAIRS, quoted};

/// The longest list that is kept, in bytes as it is written.
const MAX_BYTES: usize = 256;

/// What a client says of itself in ID (RFC 2971), as a parenthesised list that can be written as it is.
/// It has none of the fields whose names begin with `x-`: those are between servers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// Keeps what can be kept; `None` if that is nothing.
    pub(crate) fn keep<'a>(pairs: impl IntoIterator<Item = Pair<'a>>) -> Option<Self> {
        let mut kept = Vec::new();
        let mut length = "()".len();
        for (name, value) in pairs {
            let internal = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-"));
            if internal || name.is_empty() || name.len() > MAX_NAME {
                continue;
            }
            let value = value.map_or_else(|| Some("NIL".to_owned()), quoted);
            let (Some(name), Some(value)) = (quoted(name), value) else {
                continue;
            };
            let pair = format!("{name} {value}");
            length += pair.len() + 1;
            if length > MAX_BYTES || kept.len() == MAX_PAIRS {
                break;
            }
            kept.push(pair);
        }
        (!kept.is_empty()).then(|| Self(format!("({})", kept.join(" ")).into()))
    }

    /// The list as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
