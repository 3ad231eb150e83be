//! What a server says, as types.
//!
//! Nothing here reads bytes: [`super::parse`] does. What cannot be understood is kept as it came.

use super::{Date, Flags, MailboxName, SpecialUse, UidList, UidSet};

/// An untagged response (RFC 3501 section 7 and the extensions named beside each).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Untagged {
    /// ACL (RFC 4314): who may do what.
    Acl {
        /// In which mailbox.
        mailbox: MailboxName,
        /// Identifiers with their rights.
        rights: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// The server goes. What has not been answered never will be.
    Bye(Words),
    /// CAPABILITY. [`super::Client::capabilities`] knows it already.
    Capability,
    /// ENABLED (RFC 5161), in upper case. iCloud leaves it empty.
    Enabled(Vec<String>),
    /// ESEARCH (RFC 4731).
    Esearch(Esearch),
    /// EXISTS: so many messages.
    Exists(u32),
    /// EXPUNGE: the message of this sequence number is gone.
    Expunge(u32),
    /// FETCH: what was asked for, or a change of flags by somebody else. Its bodies came before as
    /// [`super::Event::Body`].
    Fetch(Box<Fetched>),
    /// FLAGS that can be in this mailbox.
    Flags(Flags),
    /// ID (RFC 2971): fields with their values; empty for NIL.
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// LIST.
    List(Listed),
    /// LSUB.
    Lsub(Listed),
    /// METADATA (RFC 5464): entries with their values, where values came.
    Metadata {
        /// Of which mailbox; empty for the server's.
        mailbox: MailboxName,
        /// Entries with their values.
        entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    },
    /// NAMESPACE (RFC 2342).
    Namespace(Namespaces),
    /// The greeting of a server that knows who we are, as one that is reached by a command (a tunnel) says. Any
    /// other greeting has been taken by the machine that logged in.
    PreAuth(Words),
    /// QUOTA (RFC 9208).
    Quota {
        /// The quota root.
        root: Vec<u8>,
        /// What is limited.
        resources: Vec<Resource>,
    },
    /// QUOTAROOT (RFC 9208).
    QuotaRoot {
        /// Of which mailbox.
        mailbox: MailboxName,
        /// Its quota roots.
        roots: Vec<Vec<u8>>,
    },
    /// RECENT.
    Recent(u32),
    /// SEARCH, whatever its order and however often it names a message, and the highest mod-sequence where
    /// the server tells it.
    Search {
        /// Which.
        uids: UidSet,
        /// MODSEQ (RFC 7162).
        mod_seq: Option<u64>,
    },
    /// An untagged OK, NO or BAD.
    Said(Verdict),
    /// STATUS, asked for or not.
    Status(MailboxStatus),
    /// It begins like one of these and cannot be read, or is none of these: its first words, at most 80
    /// bytes. What it would have told is not known, so that a listing in which it stands is not whole.
    Unreadable(Vec<u8>),
    /// Data of a kind that is not known here: its first word. Nothing is missed.
    Unknown(Vec<u8>),
    /// VANISHED (RFC 7162): these are gone. UIDs can be among them that never were here.
    Vanished {
        /// Before this session looked.
        earlier: bool,
        /// Which.
        uids: UidSet,
    },
}

/// What became of a command, or what a server says on its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// OK, NO or BAD.
    pub status: Status,
    /// What it says beside.
    pub words: Words,
}

/// OK, NO or BAD.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// The command failed because it was not understood, or not allowed now.
    Bad,
    /// The command failed.
    No,
    /// The command succeeded.
    Ok,
}

/// A response code and the text behind it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Words {
    /// The response code.
    pub code: Option<Code>,
    /// For people: at most 512 bytes, without control characters, and UTF-8 (what is not is replaced).
    pub text: String,
}

/// A response code (RFC 3501 section 7.1, RFC 5530 and the extensions named beside each).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Code {
    /// ALERT: the text must be shown.
    Alert,
    /// ALREADYEXISTS.
    AlreadyExists,
    /// APPENDUID (RFC 4315): the new messages' UIDs, in the order in which they were sent.
    AppendUid {
        /// Of the mailbox.
        uid_validity: u32,
        /// In order.
        uids: UidList,
    },
    /// AUTHENTICATIONFAILED.
    AuthenticationFailed,
    /// BADCHARSET.
    BadCharset,
    /// CANNOT: never, such as a name that Gmail does not take.
    Cannot,
    /// CAPABILITY. [`super::Client::capabilities`] knows it already.
    Capability,
    /// CLIENTBUG.
    ClientBug,
    /// CLOSED (RFC 7162): what follows is of the newly selected mailbox. Zimbra leaves it out.
    Closed,
    /// COMPRESSIONACTIVE (RFC 4978).
    CompressionActive,
    /// COPYUID (RFC 4315), of COPY and MOVE: as many new ones as old ones, in order.
    CopyUid {
        /// Of the other mailbox.
        uid_validity: u32,
        /// Here.
        from: UidList,
        /// There.
        to: UidList,
    },
    /// CORRUPTION.
    Corruption,
    /// EXPIRED.
    Expired,
    /// EXPUNGEISSUED: another client has expunged some of these messages.
    ExpungeIssued,
    /// HIGHESTMODSEQ (RFC 7162).
    HighestModSeq(u64),
    /// INUSE: another has locked something; later it may go.
    InUse,
    /// LIMIT: too many of something, such as connections.
    Limit,
    /// MAILBOXID (RFC 8474).
    MailboxId(Vec<u8>),
    /// MODIFIED (RFC 7162): somebody changed these after UNCHANGEDSINCE.
    Modified(UidSet),
    /// NOMODSEQ (RFC 7162): this mailbox has no mod-sequences.
    NoModSeq,
    /// NONEXISTENT.
    NonExistent,
    /// NOPERM.
    NoPerm,
    /// OVERQUOTA (RFC 9208).
    OverQuota,
    /// Any other: its name in upper case and what stands behind it, both cut at 200 bytes.
    Other {
        /// In upper case.
        name: String,
        /// As it came, made harmless as a text is.
        arguments: String,
    },
    /// PERMANENTFLAGS.
    PermanentFlags(PermanentFlags),
    /// READ-ONLY.
    ReadOnly,
    /// READ-WRITE.
    ReadWrite,
    /// SERVERBUG.
    ServerBug,
    /// THROTTLED: too fast.
    Throttled,
    /// TOOBIG (RFC 7889).
    TooBig,
    /// TRYCREATE: the mailbox has to be made first.
    TryCreate,
    /// UIDNEXT.
    UidNext(u32),
    /// UIDNOTSTICKY (RFC 4315): UIDs are not kept.
    UidNotSticky,
    /// UIDVALIDITY.
    UidValidity(u32),
    /// UNAVAILABLE: later it may go.
    Unavailable,
    /// UNKNOWN-CTE (RFC 3516).
    UnknownCte,
    /// USEATTR (RFC 6154): this special use cannot be had.
    UseAttr,
}

/// Which flags a mailbox keeps.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PermanentFlags {
    /// These.
    pub flags: Flags,
    /// And keywords that are new to it (`\*`).
    pub new_keywords: bool,
}

/// What LIST and LSUB say of a mailbox.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listed {
    /// As the server writes it.
    pub name: MailboxName,
    /// What separates its parts; `None` for NIL, where there are no parts.
    pub separator: Option<u8>,
    /// `\NonExistent`: there is only the name. Then it cannot be selected either.
    pub non_existent: bool,
    /// `\Noselect`: it cannot be selected.
    pub no_select: bool,
    /// `\Noinferiors`: it cannot have children.
    pub no_inferiors: bool,
    /// `\Subscribed`, where it was asked for.
    pub subscribed: bool,
    /// `\HasChildren` (true), `\HasNoChildren` (false).
    pub children: Option<bool>,
    /// Its special uses.
    pub special_uses: Vec<SpecialUse>,
}

/// What STATUS says of a mailbox; each only if the server said it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MailboxStatus {
    /// As the server writes it.
    pub name: MailboxName,
    /// APPENDLIMIT in bytes; `Some(None)` for NIL: no limit of its own.
    pub append_limit: Option<Option<u64>>,
    /// HIGHESTMODSEQ; zero where the mailbox has none.
    pub highest_mod_seq: Option<u64>,
    /// MAILBOXID.
    pub mailbox_id: Option<Vec<u8>>,
    /// MESSAGES.
    pub messages: Option<u32>,
    /// SIZE in bytes.
    pub size: Option<u64>,
    /// UIDNEXT.
    pub uid_next: Option<u32>,
    /// UIDVALIDITY.
    pub uid_validity: Option<u32>,
    /// UNSEEN.
    pub unseen: Option<u32>,
}

/// What ESEARCH says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Esearch {
    /// The command that it answers, where the server says it.
    pub command: Option<super::CommandId>,
    /// Whether the numbers are UIDs. If not, they are of no use to anybody here.
    pub uid: bool,
    /// ALL. RFC 4731 leaves it out if nothing was found, so that `None` with an OK means none.
    pub all: Option<UidSet>,
    /// COUNT.
    pub count: Option<u32>,
    /// MAX.
    pub max: Option<u32>,
    /// MODSEQ.
    pub mod_seq: Option<u64>,
}

/// What FETCH says of a message; each only if the server said it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Fetched {
    /// Its sequence number.
    pub sequence: u32,
    /// UID. Missing from a change of flags that nobody asked for.
    pub uid: Option<u32>,
    /// FLAGS.
    pub flags: Option<Flags>,
    /// INTERNALDATE.
    pub internal_date: Option<Date>,
    /// RFC822.SIZE in bytes. Exchange gives an estimate.
    pub size: Option<u64>,
    /// MODSEQ.
    pub mod_seq: Option<u64>,
    /// EMAILID.
    pub email_id: Option<Vec<u8>>,
    /// X-GM-MSGID.
    pub gm_msg_id: Option<u64>,
    /// X-GM-LABELS, as they came (mUTF-7).
    pub gm_labels: Option<Vec<Vec<u8>>>,
    /// The sections that came, with their sizes in bytes; `None` for NIL, which means that there is none, as
    /// when another client has expunged the message.
    pub bodies: Vec<(Section, Option<u64>)>,
}

/// Which part of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Section {
    /// `BINARY[]`.
    Binary,
    /// `BODY[]` or `RFC822`.
    Body,
    /// `BODY[HEADER]` or `RFC822.HEADER`.
    Header,
    /// `BODY[HEADER.FIELDS (...)]`, whatever the fields.
    HeaderFields,
    /// Any other: what stands between the brackets, in upper case.
    Other(Vec<u8>),
}

/// Where names begin (RFC 2342).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Namespaces {
    /// One's own.
    pub personal: Vec<Namespace>,
    /// Other users'.
    pub others: Vec<Namespace>,
    /// Of nobody.
    pub shared: Vec<Namespace>,
}

/// A place where names begin.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Namespace {
    /// The prefix with its separator, as the server writes it.
    pub prefix: Vec<u8>,
    /// What separates names' parts; `None` for NIL.
    pub separator: Option<u8>,
}

/// What a quota limits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resource {
    /// In upper case: `STORAGE` (in units of 1024 bytes), `MESSAGE`, or another.
    pub name: String,
    /// Used.
    pub usage: u64,
    /// Allowed.
    pub limit: u64,
}
