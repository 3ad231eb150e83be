//! Flags and keywords of messages.
//!
//! Nothing here decides which of them a server keeps.

use std::fmt;

/// A flag that every server knows (RFC 3501 section 2.3.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SystemFlag {
    /// `\Answered`.
    Answered,
    /// `\Deleted`.
    Deleted,
    /// `\Draft`.
    Draft,
    /// `\Flagged`.
    Flagged,
    /// `\Recent`: told, never set.
    Recent,
    /// `\Seen`.
    Seen,
}

impl SystemFlag {
    /// All, in the order of their bits.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Deleted, Self::Draft, Self::Flagged, Self::Recent, Self::Seen];

    /// The bit that stands for it, always the same: it may be stored.
    pub const fn bit(self) -> u8 {
        match self {
            Self::Answered => 1,
            Self::Deleted => 2,
            Self::Draft => 4,
            Self::Flagged => 8,
            Self::Recent => 16,
            Self::Seen => 32,
        }
    }

    /// Reads it as it stands on the wire, in any case.
    fn read(bytes: &[u8]) -> Option<Self> {
        let is = |flag: &Self| flag.name().as_bytes().eq_ignore_ascii_case(bytes);
        Self::ALL.into_iter().find(is)
    }

    /// As it stands on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "\\Answered",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
            Self::Flagged => "\\Flagged",
            Self::Recent => "\\Recent",
            Self::Seen => "\\Seen",
        }
    }
}

/// A keyword as its server writes it, or a flag with a backslash that is none of [`SystemFlag`]. Two that
/// differ in ASCII case only are the same keyword to most servers and different bytes here:
/// [`Keyword::is_same`].
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Keyword(Box<[u8]>);

impl Keyword {
    /// Takes any bytes, for servers send any.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// As it stands on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it begins with a backslash.
    pub fn is_system(&self) -> bool {
        self.0.starts_with(b"\\")
    }

    /// Whether it can be written (RFC 3501 section 9, `flag-keyword`, `flag-extension`); servers tell of
    /// others, as with `]` or UTF-8 in them.
    pub fn is_atom(&self) -> bool {
        let atom = self.0.strip_prefix(b"\\").unwrap_or(&self.0);
        !atom.is_empty()
            && atom.iter().all(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(byte))
    }

    /// Whether both are the same where case does not count.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// The flags and keywords of a message, each once.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Flags {
    system: u8,
    /// In ascending order.
    keywords: Vec<Keyword>,
}

impl Flags {
    /// None.
    pub const fn new() -> Self {
        Self { system: 0, keywords: Vec::new() }
    }

    /// By the bits of system flags ([`SystemFlag::bit`]) and keywords.
    pub fn from_parts(system: u8, keywords: impl IntoIterator<Item = Keyword>) -> Self {
        let mut keywords: Vec<_> = keywords.into_iter().collect();
        keywords.sort_unstable();
        keywords.dedup();
        Self { system, keywords }
    }

    /// Of words as they stand on the wire.
    pub fn from_wire<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut system = 0;
        let keywords = words.into_iter().filter_map(|word| match SystemFlag::read(word) {
            Some(flag) => {
                system |= flag.bit();
                None
            }
            None => Some(Keyword::new(word)),
        });
        let keywords: Vec<_> = keywords.collect();
        Self::from_parts(system, keywords)
    }

    /// Adds what stands on the wire, a system flag in any case or a keyword.
    pub fn add_wire(&mut self, bytes: &[u8]) {
        match SystemFlag::read(bytes) {
            Some(flag) => self.add(flag),
            None => self.add_keyword(Keyword::new(bytes)),
        }
    }

    /// Adds a system flag.
    pub fn add(&mut self, flag: SystemFlag) {
        self.system |= flag.bit();
    }

    /// Takes a system flag away.
    pub fn remove(&mut self, flag: SystemFlag) {
        self.system &= !flag.bit();
    }

    /// Adds a keyword, unless these bytes are there.
    pub fn add_keyword(&mut self, keyword: Keyword) {
        if let Err(place) = self.keywords.binary_search(&keyword) {
            self.keywords.insert(place, keyword);
        }
    }

    /// Whether a system flag is among them.
    pub const fn has(&self, flag: SystemFlag) -> bool {
        self.system & flag.bit() != 0
    }

    /// Whether a keyword is among them, where case does not count.
    pub fn has_keyword(&self, keyword: &Keyword) -> bool {
        self.keywords.iter().any(|known| known.is_same(keyword))
    }

    /// The bits of the system flags ([`SystemFlag::bit`]).
    pub const fn system(&self) -> u8 {
        self.system
    }

    /// The system flags.
    pub fn system_flags(&self) -> impl Iterator<Item = SystemFlag> + '_ {
        SystemFlag::ALL.into_iter().filter(|flag| self.has(*flag))
    }

    /// The keywords, in ascending order of their bytes.
    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(words: &[&str]) -> Flags {
        let mut flags = Flags::new();
        words.iter().for_each(|word| flags.add_wire(word.as_bytes()));
        flags
    }

    #[test]
    fn system_flags_have_no_case_and_others_are_kept_as_they_came() {
        let flags = flags(&["\\SEEN", "\\seen", "$MDNSent", "$mdnsent", "\\Foo"]);
        assert_eq!(flags.system_flags().collect::<Vec<_>>(), [SystemFlag::Seen]);
        let keywords: Vec<_> = flags.keywords().iter().map(Keyword::as_bytes).collect();
        assert_eq!(keywords, [&b"$MDNSent"[..], b"$mdnsent", b"\\Foo"]);
        assert!(flags.has_keyword(&Keyword::new(b"$MDNSENT")));
    }

    #[test]
    fn what_is_no_atom_cannot_be_written() {
        let is_atom = |bytes: &[u8]| Keyword::new(bytes).is_atom();
        assert!(is_atom(b"TEST:FLAG211") && is_atom(b"\\Foo") && is_atom(b"[x"));
        for bytes in [&b""[..], b"\\", b"a]", b"a b", b"\xc3\xa4", b"a\"", b"a\\b", b"(", b"{1}"] {
            assert!(!is_atom(bytes), "{}", bytes.escape_ascii());
        }
    }
}
