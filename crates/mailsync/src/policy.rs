//! What a job may do, and with what: the settings of one pair.
//!
//! Nothing here is a default of the command line; each value's default has its reason beside it.

use std::{path::PathBuf, time::Duration};

use regex::Regex;
use serde::Serialize;

use crate::{Flags, InternalDate, MailboxPath, SpecialUse};

/// What a job may do.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What goes from the left end to the right one.
    pub left_to_right: Direction,
    /// What goes the other way.
    pub right_to_left: Direction,
    /// Which mailboxes and messages.
    pub selection: Selection,
    /// What mailboxes are called on the right.
    pub mapping: Mapping,
    /// What becomes of messages marked as deleted.
    pub marked_deleted: MarkedDeleted,
    /// What becomes of a message that was copied and is gone where it was copied to, while its deletion is
    /// not carried back.
    pub gone: Gone,
    /// What becomes of a copy that an end stored after we had given it up.
    pub twins: Twins,
    /// The most that may be deleted unasked.
    pub guards: Guards,
    /// What is compared at the end.
    pub verify: Verify,
    /// Speeds and sizes.
    pub limits: Limits,
}

impl Policy {
    /// For moving house: everything from left to right, nothing back, no deletes.
    pub fn migrate() -> Self {
        Self {
            left_to_right: Direction { copy: true, flags: true, deletes: Deletes::Never },
            right_to_left: Direction { copy: false, flags: false, deletes: Deletes::Never },
            selection: Selection::default(),
            mapping: Mapping::default(),
            marked_deleted: MarkedDeleted::Copy,
            gone: Gone::Leave,
            twins: Twins::Remove,
            guards: Guards::default(),
            verify: Verify::default(),
            limits: Limits::default(),
        }
    }

    /// For two copies that are both in use: everything both ways, deletes too, within the guards.
    pub fn mirror() -> Self {
        let both = Direction { copy: true, flags: true, deletes: Deletes::Own };
        Self { left_to_right: both, right_to_left: both, ..Self::migrate() }
    }
}

/// What goes in one direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Direction {
    /// Whether messages and mailboxes are copied.
    pub copy: bool,
    /// Whether flags of messages that both ends have are changed.
    pub flags: bool,
    /// Which messages are deleted because they are gone on the other end.
    pub deletes: Deletes,
}

/// Which messages a job deletes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Deletes {
    /// None.
    #[default]
    Never,
    /// Those of which it knows the pair: it copied them or found them on both ends. They are first moved to
    /// the mailbox [`Mapping::undo`], where the end can move.
    Own,
}

/// What is taken along.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Mailboxes whose path matches one of these, whole; all if there are none.
    pub include: Vec<Regex>,
    /// Not these, whatever else.
    pub exclude: Vec<Regex>,
    /// Only mailboxes that are for one of these; all if there are none.
    pub special_use: Vec<SpecialUse>,
    /// Only mailboxes that the user is subscribed to.
    pub subscribed_only: bool,
    /// Only messages of at most so many bytes.
    pub max_size: Option<u64>,
    /// Only messages of at least so many bytes.
    pub min_size: Option<u64>,
    /// Only messages that arrived at this time or later.
    pub since: Option<InternalDate>,
    /// Only messages that arrived before.
    pub before: Option<InternalDate>,
    /// Only messages with all of these flags.
    pub with_flags: Flags,
    /// Only messages with none of these flags.
    pub without_flags: Flags,
    /// Only messages that an IMAP SEARCH expression finds on the left end.
    pub search: Option<String>,
}

/// What mailboxes of the left end are called on the right one. Rules are tried in this order: `exact`, then
/// special use, then `rename`; then `subfolder` goes before.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// This mailbox becomes that one, and what is within it goes along.
    pub exact: Vec<(MailboxPath, MailboxPath)>,
    /// Whether mailboxes with the same special use are one, whatever their names.
    pub by_special_use: bool,
    /// Replaces what matches in the path's text, one after the other.
    pub rename: Vec<(Regex, String)>,
    /// The mailbox into which everything goes, INBOX too.
    pub subfolder: Option<MailboxPath>,
    /// What stands for a character that the right end cannot have within a part of a name, as its
    /// separator.
    pub substitute: char,
    /// Where messages go that are to be deleted.
    pub undo: MailboxPath,
    /// Whether the user is subscribed on the right to what he is on the left.
    pub subscribe: bool,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            exact: Vec::new(),
            by_special_use: true,
            rename: Vec::new(),
            subfolder: None,
            substitute: '_',
            undo: MailboxPath::new(["posthouse-undo"]),
            subscribe: true,
        }
    }
}

/// What becomes of messages with `\Deleted`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MarkedDeleted {
    /// They are copied with the mark: nothing the user sees changes.
    Copy,
    /// They are copied without it.
    Unmark,
    /// They stay behind.
    Skip,
}

/// What becomes of a message that is gone where it was copied to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gone {
    /// It is copied again.
    CopyAgain,
    /// It stays away: the user has deleted it there. It is counted.
    Leave,
}

/// What becomes of a copy that an end stored after we had given it up (the connection broke, and its server
/// went on).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Twins {
    /// It is removed, if nobody has changed its flags and the end removes by UID.
    Remove,
    /// It is told in the report.
    Tell,
}

/// The most that may be deleted unasked, in one mailbox and one run. Beyond, nothing is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Guards {
    /// As a share of the messages in hundredths; counts only beyond `messages`. Default 20: a mistake
    /// seldom takes less, a user who tidies up seldom more.
    pub percent: u32,
    /// So many are allowed, unless the other end is empty. Default 50.
    pub messages: u64,
    /// An end that is empty, while so many were there, is taken for broken. Default 10.
    pub empty: u64,
}

impl Default for Guards {
    fn default() -> Self {
        Self { percent: 20, messages: 50, empty: 10 }
    }
}

/// What is compared at the end of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// How many messages each mailbox has.
    Counts,
    /// Sizes and flags of all messages too.
    Listings,
    /// The bytes of so many messages of each mailbox too.
    Bodies(u32),
}

impl Default for Verify {
    /// What costs one command: a second run costs no more.
    fn default() -> Self {
        Self::Counts
    }
}

/// Speeds and sizes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions at each end at a time. Default 3: beyond, one user's disk is the limit, and many providers
    /// refuse more.
    pub sessions: usize,
    /// Messages a second; none for as fast as it goes.
    pub messages_per_second: Option<u32>,
    /// Bytes a second; none for as fast as it goes.
    pub bytes_per_second: Option<u64>,
    /// Messages in one batch. Default 128: a batch costs one round trip and one commit.
    pub batch_messages: usize,
    /// Bytes in one batch. Default 4 MiB, so that an end's lock is not felt.
    pub batch_bytes: u64,
    /// Memory for messages on their way, for each session. Default 16 MiB; larger messages than a fourth
    /// go by a file.
    pub memory: u32,
    /// Where such files are.
    pub spill: PathBuf,
    /// How often something is tried again in a row. Default 6, with `pause` doubling from 1 s: a minute.
    pub retries: u32,
    /// The first pause before something is tried again.
    pub pause: Duration,
    /// How long the right end must not change before a message whose append was cut off counts as not
    /// stored. Default 5 s.
    pub settle: Duration,
    /// Refused messages after which a job gives up; none for never.
    pub max_failed: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 3,
            messages_per_second: None,
            bytes_per_second: None,
            batch_messages: 128,
            batch_bytes: 4 * 1024 * 1024,
            memory: 16 * 1024 * 1024,
            spill: std::env::temp_dir(),
            retries: 6,
            pause: Duration::from_secs(1),
            settle: Duration::from_secs(5),
            max_failed: None,
        }
    }
}
