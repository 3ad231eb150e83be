//! What a syncing client asks a server, as types.
//!
//! Nothing here writes bytes: [`super::write`] does. Whether a server understands a command is its owner's
//! to know, from [`super::Capabilities`].

use super::{Flags, Keyword, MailboxName, UidSet};

/// A command (RFC 3501 section 6 and the extensions named beside each). APPEND is not among them, for its
/// literals are streamed: [`super::Client::append`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// CAPABILITY.
    Capability,
    /// CLOSE: deselects, and expunges what is marked deleted unless the mailbox was opened by EXAMINE.
    Close,
    /// COMPRESS DEFLATE (RFC 4978). Nothing is sent behind it before its answer; see
    /// [`super::Event::Compressing`].
    Compress,
    /// CREATE, with a special use where the server has CREATE-SPECIAL-USE (RFC 6154).
    Create {
        /// The new mailbox.
        mailbox: MailboxName,
        /// Such as `\Sent`.
        special_use: Option<SpecialUse>,
    },
    /// ENABLE (RFC 5161).
    Enable(Vec<Extension>),
    /// GETACL (RFC 4314).
    GetAcl(MailboxName),
    /// GETMETADATA with DEPTH infinity (RFC 5464); the empty name asks for the server's own.
    GetMetadata {
        /// Whose.
        mailbox: MailboxName,
        /// Entries, such as `/shared` and `/private`.
        entries: Vec<String>,
    },
    /// GETQUOTAROOT (RFC 9208).
    GetQuotaRoot(MailboxName),
    /// ID (RFC 2971).
    Id(Vec<(String, String)>),
    /// IDLE (RFC 2177), until [`super::Answer::EndIdle`].
    Idle,
    /// LIST, extended (RFC 5258) where anything beyond one pattern is asked for.
    List(List),
    /// LOGOUT.
    Logout,
    /// LSUB.
    Lsub {
        /// The reference, mostly empty.
        reference: MailboxName,
        /// A pattern.
        pattern: MailboxName,
    },
    /// NAMESPACE (RFC 2342).
    Namespace,
    /// NOOP.
    Noop,
    /// SELECT or EXAMINE.
    Select(Select),
    /// STATUS.
    Status {
        /// Of which mailbox.
        mailbox: MailboxName,
        /// What is asked for; not empty.
        items: Vec<StatusItem>,
    },
    /// SUBSCRIBE.
    Subscribe(MailboxName),
    /// UID COPY.
    UidCopy {
        /// Which messages.
        uids: UidSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// UID EXPUNGE (RFC 4315).
    UidExpunge(UidSet),
    /// UID FETCH.
    UidFetch(Fetching),
    /// UID MOVE (RFC 6851).
    UidMove {
        /// Which messages.
        uids: UidSet,
        /// Where to.
        mailbox: MailboxName,
    },
    /// UID SEARCH.
    UidSearch(Searching),
    /// UID STORE.
    UidStore(Storing),
    /// UNSELECT (RFC 3691).
    Unselect,
}

/// What ENABLE asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extension {
    /// CONDSTORE (RFC 7162). iCloud wants it before SELECT and answers an empty ENABLED.
    CondStore,
    /// QRESYNC (RFC 7162), with CONDSTORE in it.
    QResync,
    /// UTF8=ACCEPT (RFC 6855): from its answer on, names are UTF-8 in both directions.
    Utf8Accept,
}

/// A special use of a mailbox (RFC 6154, RFC 8457).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SpecialUse {
    /// `\All`: all messages (Gmail's All Mail).
    All,
    /// `\Archive`.
    Archive,
    /// `\Drafts`.
    Drafts,
    /// `\Flagged`: all flagged messages.
    Flagged,
    /// `\Important`.
    Important,
    /// `\Junk`.
    Junk,
    /// `\Sent`.
    Sent,
    /// `\Trash`.
    Trash,
}

/// LIST.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct List {
    /// The reference, mostly empty.
    pub reference: MailboxName,
    /// Patterns; more than one needs LIST-EXTENDED. `""` alone asks for the separator.
    pub patterns: Vec<MailboxName>,
    /// Only what is subscribed, existing or not (LIST-EXTENDED).
    pub only_subscribed: bool,
    /// RETURN (SUBSCRIBED) (LIST-EXTENDED).
    pub subscribed: bool,
    /// RETURN (CHILDREN) (LIST-EXTENDED).
    pub children: bool,
    /// RETURN (SPECIAL-USE) (SPECIAL-USE).
    pub special_use: bool,
    /// RETURN (STATUS (...)) (LIST-STATUS, RFC 5819); none if empty.
    pub status: Vec<StatusItem>,
}

/// What STATUS can say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusItem {
    /// APPENDLIMIT (RFC 7889).
    AppendLimit,
    /// HIGHESTMODSEQ (RFC 7162).
    HighestModSeq,
    /// MAILBOXID (RFC 8474).
    MailboxId,
    /// MESSAGES.
    Messages,
    /// SIZE (RFC 8438).
    Size,
    /// UIDNEXT.
    UidNext,
    /// UIDVALIDITY.
    UidValidity,
    /// UNSEEN.
    Unseen,
}

/// SELECT or EXAMINE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Select {
    /// Which.
    pub mailbox: MailboxName,
    /// EXAMINE, which changes nothing. Courier answers it with another UIDVALIDITY.
    pub read_only: bool,
    /// What else is asked for.
    pub since: Since,
}

/// What SELECT is to tell of changes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Since {
    /// Nothing.
    #[default]
    Unasked,
    /// HIGHESTMODSEQ (CONDSTORE).
    ModSeq,
    /// What has changed since then (QRESYNC, which must be enabled).
    Resync {
        /// UIDVALIDITY as last seen.
        uid_validity: u32,
        /// HIGHESTMODSEQ as last seen.
        mod_seq: u64,
        /// The UIDs that we know, to be told of fewer others; none if we know all.
        known: Option<UidSet>,
    },
}

/// Which messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Which {
    /// These; not empty.
    These(UidSet),
    /// `n:*`. If no UID is so high, the highest message is told of all the same (RFC 3501 section 6.4.8).
    From(u32),
}

/// UID FETCH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetching {
    /// Of which messages.
    pub which: Which,
    /// What; not empty. UID is told anyway.
    pub items: Vec<FetchItem>,
    /// Only what has changed since this mod-sequence (CONDSTORE).
    pub changed_since: Option<u64>,
    /// With CHANGEDSINCE: what has been expunged since, too (QRESYNC).
    pub vanished: bool,
}

/// What FETCH can say. Nothing here sets `\Seen`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FetchItem {
    /// `BINARY.PEEK[]` (RFC 3516).
    Binary,
    /// `BODY.PEEK[]`: the whole message.
    Body,
    /// EMAILID (RFC 8474).
    EmailId,
    /// FLAGS.
    Flags,
    /// X-GM-LABELS.
    GmLabels,
    /// X-GM-MSGID.
    GmMsgId,
    /// `BODY.PEEK[HEADER]`.
    Header,
    /// `BODY.PEEK[HEADER.FIELDS (...)]`; names that are no header field's name (RFC 5322 section 3.6.8) are
    /// left out.
    HeaderFields(Vec<String>),
    /// INTERNALDATE.
    InternalDate,
    /// MODSEQ.
    ModSeq,
    /// RFC822.SIZE.
    Size,
}

/// UID SEARCH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Searching {
    /// `RETURN (...)` (ESEARCH, RFC 4731); without it the answer is SEARCH, a number for each message.
    pub returning: Option<Returning>,
    /// What must be true of a message, all of it; none is ALL.
    pub keys: Vec<SearchKey>,
}

/// What ESEARCH is to say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Returning {
    /// ALL: which.
    pub all: bool,
    /// COUNT: how many.
    pub count: bool,
    /// MAX: the highest UID.
    pub max: bool,
}

/// What must be true of a message (RFC 3501 section 6.4.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SearchKey {
    /// It is one of these.
    Uid(Which),
    /// It has this flag.
    Has(Mark),
    /// It lacks this flag.
    Lacks(Mark),
    /// What a user has written.
    Expression(SearchExpression),
}

/// A flag as a search names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mark {
    /// `\Answered`.
    Answered,
    /// `\Deleted`.
    Deleted,
    /// `\Draft`.
    Draft,
    /// `\Flagged`.
    Flagged,
    /// `\Seen`.
    Seen,
    /// A keyword; it must be an atom ([`Keyword::is_atom`]), else nothing has it.
    Keyword(Keyword),
}

/// A search in IMAP's own words, as a user gives it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SearchExpression(String);

impl SearchExpression {
    /// Takes printable ASCII without braces, with balanced parentheses outside quoted strings, which all
    /// end; `None` for anything else, so that nothing but one search can be meant.
    pub fn new(text: &str) -> Option<Self> {
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        for byte in text.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'(' if !quoted => depth += 1,
                b')' if !quoted => depth = depth.checked_sub(1)?,
                b'{' | b'}' => return None,
                b' '..=b'~' => {}
                _ => return None,
            }
        }
        let ends = depth == 0 && !quoted && !text.trim().is_empty();
        ends.then(|| Self(text.trim().to_owned()))
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// UID STORE, always `.SILENT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Storing {
    /// Which messages; not empty.
    pub uids: UidSet,
    /// Whether the flags are added or taken away.
    pub change: Change,
    /// Which flags. `\Recent` and keywords that are no atoms are left out.
    pub flags: Flags,
    /// Only where nobody has changed the message since this mod-sequence (CONDSTORE); the others are named by
    /// [`super::Code::Modified`].
    pub unchanged_since: Option<u64>,
}

/// What STORE does with flags. They are never replaced: that would undo what others do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// `+FLAGS`.
    Add,
    /// `-FLAGS`.
    Remove,
}
