//! What one end has, as it was seen at one moment.
//!
//! Nothing here asks anybody.

use std::{cmp::Ordering, collections::BTreeSet, fmt, num::NonZeroU32, ops::RangeInclusive};

use serde::{Serialize, Serializer};

use crate::{BodyHash, Fingerprint, MailboxPath, RawName};

/// A message's number in its mailbox for as long as UIDVALIDITY stays (RFC 3501 section 2.3.1.1).
pub type Uid = NonZeroU32;

/// An account as one LIST and its STATUS answers show it.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// All mailboxes that belong to the user. In no order.
    pub mailboxes: Vec<Mailbox>,
    /// What stands between the parts of a name on the wire; none if this end has no hierarchy.
    pub separator: Option<char>,
    /// What the user may store, where the end says so.
    pub quota: Option<Quota>,
}

/// How much may be stored (RFC 9208, STORAGE).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Quota {
    /// Bytes in use.
    pub used: u64,
    /// Bytes allowed.
    pub limit: u64,
}

/// One mailbox of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mailbox {
    /// Where it is.
    pub path: MailboxPath,
    /// What its end calls it.
    pub raw: RawName,
    /// What it is for, where the end says so.
    pub special_use: Option<SpecialUse>,
    /// Whether it can hold messages: without `\Noselect` and `\NonExistent`.
    pub selectable: bool,
    /// Whether the user is subscribed to it.
    pub subscribed: bool,
    /// Its figures; none if it cannot be selected, or the end would not tell.
    pub status: Option<Status>,
}

/// The figures of a mailbox (RFC 3501 section 6.3.10).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// How many messages.
    pub messages: u32,
    /// Changes when all UIDs become void.
    pub uid_validity: u32,
    /// At most the UID that the next message gets; none where the end does not say.
    pub uid_next: Option<Uid>,
    /// Grows with every change (RFC 7162); none where the end does not say.
    pub highest_modseq: Option<u64>,
    /// Bytes in all (RFC 8438); none where the end does not say.
    pub size: Option<u64>,
}

/// What a mailbox is for (RFC 6154).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

/// How far a mailbox had been seen. A later listing can begin there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Of the UIDs that were seen.
    pub uid_validity: u32,
    /// The UID behind the last one seen.
    pub uid_next: Uid,
    /// What had changed by then; none where the end does not say.
    pub highest_modseq: Option<u64>,
    /// How many messages there were.
    pub messages: u32,
}

/// What an end said of a mailbox's messages. It exists only whole: after the tagged OK, and when the
/// counts agreed.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Of all UIDs in here.
    pub uid_validity: u32,
    /// The UID behind the last one seen.
    pub uid_next: Uid,
    /// What had changed when this began; none where the end does not say.
    pub highest_modseq: Option<u64>,
    /// How many messages the mailbox has.
    pub messages: u32,
    /// Which flags it can keep.
    pub holdable: Holdable,
    /// Whether nothing can be changed in it.
    pub read_only: bool,
    /// What is told.
    pub told: Told,
}

/// How much a listing tells. Messages are in the order of their UIDs, each once.
#[derive(Clone, Debug)]
pub enum Told {
    /// Every message.
    All(Vec<Message>),
    /// New and changed messages, and what is gone, since a mark.
    Changes {
        /// Messages that are new or have other flags.
        changed: Vec<Message>,
        /// What is not there any more.
        gone: Vanished,
    },
}

/// How an end says what is gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Vanished {
    /// These are gone. There may be UIDs among them that nobody has ever seen (RFC 7162 section 3.2.5.1).
    These(Vec<RangeInclusive<u32>>),
    /// All are gone but these.
    AllBut(Vec<RangeInclusive<u32>>),
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Its number.
    pub uid: Uid,
    /// Flags and keywords, without `\Recent`.
    pub flags: Flags,
    /// Its bytes as the end counts them, which need not be right; none where it was not asked.
    pub size: Option<u64>,
    /// When it arrived; none where it was not asked, or the end has no date that can be read.
    pub date: Option<InternalDate>,
    /// What its header says; none where it was not asked.
    pub fingerprint: Option<Fingerprint>,
    /// What its bytes are; none where they were not read.
    pub body: Option<BodyHash>,
}

/// When a message arrived (RFC 3501 section 2.3.3), with the zone it was told in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InternalDate {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Minutes east of Greenwich.
    pub zone: i16,
}

/// A flag that the protocol defines, but `\Recent`, which belongs to the server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SystemFlag {
    /// `\Answered`
    Answered = 1,
    /// `\Deleted`
    Deleted = 2,
    /// `\Draft`
    Draft = 4,
    /// `\Flagged`
    Flagged = 8,
    /// `\Seen`
    Seen = 16,
}

impl SystemFlag {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Deleted, Self::Draft, Self::Flagged, Self::Seen];

    /// The flag as it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "\\Answered",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
            Self::Flagged => "\\Flagged",
            Self::Seen => "\\Seen",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Answered => 1,
            Self::Deleted => 2,
            Self::Draft => 4,
            Self::Flagged => 8,
            Self::Seen => 16,
        }
    }
}

/// A flag that users and programs define. Two that differ by case alone are one.
#[derive(Clone, Debug)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// A keyword as it was told. Flags that begin with `\` and are not in [`SystemFlag`] are kept as
    /// keywords too; most ends refuse them.
    pub fn new(word: impl Into<Box<str>>) -> Self {
        Self(word.into())
    }

    /// As it was told.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn letters(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl Eq for Keyword {}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        self.letters().cmp(other.letters())
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The flags of a message, or a set of flags to set or to take away.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Flags {
    system: u8,
    keywords: BTreeSet<Keyword>,
}

impl Flags {
    /// Reads flags as they stand on the wire. `\Recent` is left out.
    pub fn read<'f>(words: impl IntoIterator<Item = &'f str>) -> Self {
        let mut flags = Self::default();
        for word in words {
            let system =
                SystemFlag::ALL.into_iter().find(|f| f.as_str().eq_ignore_ascii_case(word));
            match system {
                Some(flag) => flags.insert(flag),
                None if word.eq_ignore_ascii_case("\\Recent") || word.is_empty() => {}
                None => flags.insert_keyword(Keyword::new(word)),
            }
        }
        flags
    }

    /// Adds a flag.
    pub fn insert(&mut self, flag: SystemFlag) {
        self.system |= flag.bit();
    }

    /// Adds a keyword; one that differs by case alone stays as it was.
    pub fn insert_keyword(&mut self, keyword: Keyword) {
        self.keywords.insert(keyword);
    }

    /// Takes a flag away.
    pub fn remove(&mut self, flag: SystemFlag) {
        self.system &= !flag.bit();
    }

    /// Whether the flag is among them.
    pub fn contains(&self, flag: SystemFlag) -> bool {
        self.system & flag.bit() != 0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }

    /// The keywords, in an order that does not depend on case.
    pub fn keywords(&self) -> impl Iterator<Item = &Keyword> {
        self.keywords.iter()
    }

    /// All flags as they stand on the wire.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let system = SystemFlag::ALL.into_iter().filter(|flag| self.contains(*flag));
        system.map(|flag| flag.as_str()).chain(self.keywords.iter().map(Keyword::as_str))
    }

    /// Those of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let keywords = self.keywords.union(&other.keywords).cloned().collect();
        Self { system: self.system | other.system, keywords }
    }

    /// Those that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let keywords = self.keywords.intersection(&other.keywords).cloned().collect();
        Self { system: self.system & other.system, keywords }
    }

    /// Those that the other does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let keywords = self.keywords.difference(&other.keywords).cloned().collect();
        Self { system: self.system & !other.system, keywords }
    }

    /// Only the system flags.
    #[must_use]
    pub fn without_keywords(&self) -> Self {
        Self { system: self.system, keywords: BTreeSet::new() }
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.words().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{word}")?;
        }
        Ok(())
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which flags a mailbox can keep (PERMANENTFLAGS, RFC 3501 section 7.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holdable {
    /// These, whatever else.
    pub flags: Flags,
    /// Whether keywords can be made up (`\*`).
    pub new_keywords: bool,
}

impl Holdable {
    /// All flags there are. What counts where an end does not say (RFC 3501 section 7.1).
    pub fn all() -> Self {
        let mut flags = Flags::default();
        SystemFlag::ALL.into_iter().for_each(|flag| flags.insert(flag));
        Self { flags, new_keywords: true }
    }

    /// Those of the flags that can be kept.
    #[must_use]
    pub fn holds(&self, flags: &Flags) -> Flags {
        if self.new_keywords {
            let system = flags.without_keywords().intersection(&self.flags);
            return system.union(&flags.difference(&Self::all().flags));
        }
        flags.intersection(&self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_that_differ_by_case_are_one_and_recent_is_nobodys() {
        let flags =
            Flags::read(["\\Seen", "\\recent", "$MDNSent", "$mdnsent", "\\FLAGGED", "\\Foo"]);
        assert_eq!(flags.to_string(), "\\Flagged \\Seen $MDNSent \\Foo");
        assert!(
            flags.difference(&Flags::read(["\\seen", "$MDNSENT", "\\Foo"])).keywords.is_empty()
        );
    }

    #[test]
    fn a_mailbox_without_new_keywords_keeps_only_those_it_names() {
        let wanted = Flags::read(["\\Seen", "\\Flagged", "Work", "$Junk"]);
        let some = Holdable { flags: Flags::read(["\\Seen", "$junk"]), new_keywords: false };
        assert_eq!(some.holds(&wanted).to_string(), "\\Seen $Junk");
        let more = Holdable { new_keywords: true, ..some };
        assert_eq!(more.holds(&wanted).to_string(), "\\Seen $Junk Work");
        assert_eq!(Holdable::all().holds(&wanted), wanted);
        let none = Holdable { flags: Flags::default(), new_keywords: false };
        assert!(none.holds(&wanted).is_empty());
    }
}
