//! Names of mailboxes: as parts, which is what two ends have in common, and as each end writes them.
//!
//! Nothing here knows modified UTF-7: an end decodes and encodes its own names.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// Where a mailbox is in its account: the parts of its name, as text, without the end's separator or the
/// prefix of the user's namespace. Two ends with different separators have the same paths.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MailboxPath(Vec<Box<str>>);

/// The text is no path: it has an empty part.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a mailbox path has parts separated by `/`, and none of them is empty")]
pub struct InvalidPath;

impl MailboxPath {
    /// A path of these parts, outermost first. INBOX alone is written `INBOX` whatever its case (RFC 3501
    /// section 5.1). An empty part stays: some servers have such names.
    pub fn new<P: Into<Box<str>>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut parts: Vec<Box<str>> = parts.into_iter().map(Into::into).collect();
        if let [only] = parts.as_mut_slice()
            && only.eq_ignore_ascii_case("INBOX")
        {
            *only = "INBOX".into();
        }
        Self(parts)
    }

    /// The mailbox where new mail arrives.
    pub fn inbox() -> Self {
        Self::new(["INBOX"])
    }

    /// Whether this is INBOX.
    pub fn is_inbox(&self) -> bool {
        matches!(self.0.as_slice(), [only] if &**only == "INBOX")
    }

    /// The parts, outermost first.
    pub fn parts(&self) -> &[Box<str>] {
        &self.0
    }

    /// The mailbox that this one is in; none if it is at the top.
    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.0.split_last()?;
        (!parents.is_empty()).then(|| Self::new(parents.iter().cloned()))
    }

    /// The same path within another mailbox.
    pub fn within(&self, outer: &Self) -> Self {
        Self::new(outer.0.iter().chain(&self.0).cloned())
    }
}

/// Parts joined by `/`; a `/` or `\` within a part stands behind a `\`.
impl fmt::Display for MailboxPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            f.write_str(&part.replace('\\', "\\\\").replace('/', "\\/"))?;
        }
        Ok(())
    }
}

impl FromStr for MailboxPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let mut parts = vec![String::new()];
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let part = parts.last_mut().ok_or(InvalidPath)?;
            match letter {
                '/' => parts.push(String::new()),
                '\\' => part.extend(letters.next()),
                _ => part.push(letter),
            }
        }
        if parts.iter().any(String::is_empty) {
            return Err(InvalidPath);
        }
        Ok(Self::new(parts))
    }
}

impl Serialize for MailboxPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A mailbox's name as its end writes it on the wire, broken encodings included. Only that end can read it.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RawName(Box<[u8]>);

impl RawName {
    /// Takes over the bytes that stand on the wire, without quoting.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RawName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawName({:?})", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_shown() {
        for parts in [vec!["INBOX"], vec!["a/b", "c\\d"], vec![" lead", "trail ", "."], vec!["ä"]]
        {
            let path = MailboxPath::new(parts);
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        assert_eq!("a//b".parse::<MailboxPath>(), Err(InvalidPath));
        assert_eq!("".parse::<MailboxPath>(), Err(InvalidPath));
    }

    #[test]
    fn inbox_has_one_spelling_and_a_mailbox_within_it_keeps_its_own() {
        assert!(MailboxPath::new(["InBox"]).is_inbox());
        let within = MailboxPath::new(["INBOX", "inbox"]);
        assert!(!within.is_inbox());
        assert_eq!(within.parts(), ["INBOX".into(), "inbox".into()]);
        assert_eq!(within.parent(), Some(MailboxPath::inbox()));
        assert_eq!(MailboxPath::inbox().parent(), None);
    }
}
