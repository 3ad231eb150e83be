//! Names of mailboxes: as they stand on the wire, and as paths.
//!
//! Nothing here decides where a mailbox goes on another server, or what a file system makes of a name.

use std::fmt;

use super::utf7;

/// A mailbox's name as its server writes it, byte for byte. Sent back to that server it names the same
/// mailbox, whatever its bytes mean.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MailboxName(Vec<u8>);

impl MailboxName {
    /// Takes any bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The name of the mailbox that every user has.
    pub fn inbox() -> Self {
        Self(b"INBOX".to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is INBOX, which has no case (RFC 3501 section 5.1).
    pub fn is_inbox(&self) -> bool {
        self.0.eq_ignore_ascii_case(b"INBOX")
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.escape_ascii().to_string())
    }
}

/// How a connection writes names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NameCoding {
    /// Modified UTF-7 (RFC 3501 section 5.1.3).
    #[default]
    Utf7,
    /// UTF-8, once UTF8=ACCEPT is enabled (RFC 6855).
    Utf8,
}

/// One part of a path.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum NamePart {
    /// Text.
    Text(String),
    /// Bytes that are broken in their coding, as they came. They name the mailbox all the same.
    Raw(Vec<u8>),
}

impl NamePart {
    fn read(wire: &[u8], coding: NameCoding) -> Self {
        let text = match coding {
            NameCoding::Utf7 => utf7::decode(wire),
            NameCoding::Utf8 => std::str::from_utf8(wire).ok().map(str::to_owned),
        };
        text.map_or_else(|| Self::Raw(wire.to_vec()), Self::Text)
    }

    fn write(&self, coding: NameCoding) -> Vec<u8> {
        match (self, coding) {
            (Self::Text(text), NameCoding::Utf7) => utf7::encode(text),
            (Self::Text(text), NameCoding::Utf8) => text.as_bytes().to_vec(),
            (Self::Raw(bytes), _) => bytes.clone(),
        }
    }

    /// For people: what is no text is taken for UTF-8, what is not even that is replaced.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// A mailbox's name without its server's separator and coding, so that it can be compared with another
/// server's. INBOX is one part in upper case.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Path(pub Vec<NamePart>);

/// Why a path cannot be a name on a server.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    /// A part contains the separator, so that it would become two.
    #[error("the part {0:?} contains the server's separator")]
    ContainsSeparator(NamePart),
    /// The server has no separator, and the path several parts.
    #[error("the server has no mailboxes within mailboxes")]
    NoSeparator,
}

impl Path {
    /// Takes a name apart. Its parts may be empty, as servers allow.
    pub fn read(name: &MailboxName, separator: Option<u8>, coding: NameCoding) -> Self {
        if name.is_inbox() {
            return Self(vec![NamePart::Text("INBOX".to_owned())]);
        }
        let is_separator = |byte: &u8| Some(*byte) == separator;
        let parts = name.as_bytes().split(is_separator);
        Self(parts.map(|part| NamePart::read(part, coding)).collect())
    }

    /// Puts the name together for a server.
    ///
    /// # Errors
    /// [`PathError`] if this server can have no such name.
    pub fn write(
        &self,
        separator: Option<u8>,
        coding: NameCoding,
    ) -> Result<MailboxName, PathError> {
        let mut name = Vec::new();
        for (number, part) in self.0.iter().enumerate() {
            if number > 0 {
                name.push(separator.ok_or(PathError::NoSeparator)?);
            }
            let wire = part.write(coding);
            if separator.is_some_and(|separator| wire.contains(&separator)) {
                return Err(PathError::ContainsSeparator(part.clone()));
            }
            name.extend(wire);
        }
        Ok(MailboxName(name))
    }

    /// For people.
    pub fn shown(&self, separator: &str) -> String {
        self.0.iter().map(NamePart::shown).collect::<Vec<_>>().join(separator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text)
    }

    fn text(text: &str) -> NamePart {
        NamePart::Text(text.to_owned())
    }

    #[test]
    fn a_path_has_neither_separator_nor_coding() {
        let path = Path::read(&name("Entw&APw-rfe.2024"), Some(b'.'), NameCoding::Utf7);
        assert_eq!(path, Path(vec![text("Entw\u{fc}rfe"), text("2024")]));
        assert_eq!(path.write(Some(b'/'), NameCoding::Utf8), Ok(name("Entw\u{fc}rfe/2024")));
        assert_eq!(path.shown(" > "), "Entw\u{fc}rfe > 2024");
    }

    #[test]
    fn a_broken_name_stays_as_it_came() {
        for broken in ["&AGE-", "a&", "&AGE", "Entw\u{fc}rfe", "&2D3-", "a&b", "&-&AGEAYg-"] {
            let path = Path::read(&name(broken), Some(b'/'), NameCoding::Utf7);
            assert_eq!(path, Path(vec![NamePart::Raw(broken.as_bytes().to_vec())]), "{broken}");
            assert_eq!(path.write(Some(b'/'), NameCoding::Utf7), Ok(name(broken)));
        }
    }

    #[test]
    fn inbox_has_no_case_and_what_lies_below_has_one() {
        let read = |text: &str| Path::read(&name(text), Some(b'.'), NameCoding::Utf7);
        assert_eq!(read("inBox"), Path(vec![text("INBOX")]));
        assert_eq!(read("inBox.a"), Path(vec![text("inBox"), text("a")]));
        assert_ne!(read("Inbox.inbox"), read("Inbox"));
    }

    #[test]
    fn what_would_become_two_parts_is_refused() {
        let path = Path(vec![text("a/b")]);
        let refused = PathError::ContainsSeparator(text("a/b"));
        assert_eq!(path.write(Some(b'/'), NameCoding::Utf7), Err(refused));
        assert_eq!(path.write(Some(b'.'), NameCoding::Utf7), Ok(name("a/b")));
        assert_eq!(path.write(None, NameCoding::Utf7), Ok(name("a/b")));
        let two = Path(vec![text("a"), text("b")]);
        assert_eq!(two.write(None, NameCoding::Utf7), Err(PathError::NoSeparator));
    }

    #[test]
    fn empty_parts_are_kept() {
        let path = Path::read(&name("//a/"), Some(b'/'), NameCoding::Utf7);
        assert_eq!(path.write(Some(b'/'), NameCoding::Utf7), Ok(name("//a/")));
    }
}
