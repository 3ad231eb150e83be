//! What is to be done so that two ends agree. Pure: from what was agreed on, what each end has now, and the
//! policy.
//!
//! Nothing here asks an end, waits, or remembers: a plan that was not carried out costs nothing.

mod flags;
mod guards;
mod mailboxes;
mod mapping;
mod messages;
mod select;
mod twins;
mod view;

use std::collections::BTreeMap;

use crate::{
    Flags, Holdable, Message, Policy, Uid, ends::FlagChange, identity::Bytes, sides::Both,
};

pub(crate) use self::{
    flags::travelling,
    mailboxes::{KnownMailbox, MailboxPair, MailboxPlan, plan_mailboxes},
    messages::plan_messages,
    twins::{Ghost, find_twins},
    view::expand,
};

/// The number of a row in our memory.
pub(crate) type RowId = i64;

/// What is remembered of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: RowId,
    /// Where it is. One that was copied to an end that did not say where has none there.
    pub(crate) uids: Both<Option<Uid>>,
    /// The flags on which both had agreed; of a message on one end, its own.
    pub(crate) flags: Flags,
    /// Flags that an end took and did not keep: that it lacks them means nothing.
    pub(crate) unholdable: Both<Flags>,
    pub(crate) facts: Facts,
    pub(crate) standing: Standing,
}

/// What does not change of a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Facts {
    pub(crate) fingerprint: Option<crate::Fingerprint>,
    /// Bytes.
    pub(crate) size: Option<u64>,
    /// All bytes, where they have passed through our hands.
    pub(crate) body: Option<crate::BodyHash>,
}

/// How a message stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Standing {
    /// Only one end has it, and it is not to be copied.
    Alone,
    /// Both have it.
    Done,
    /// The other end refused it.
    Failed,
    /// The other end had it; it was deleted there.
    Gone,
    /// The selection leaves it out.
    Skipped,
}

/// A mailbox as an end has it now: all messages, in the order of their UIDs.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) uid_validity: u32,
    pub(crate) messages: Vec<Message>,
    pub(crate) holdable: Holdable,
    pub(crate) read_only: bool,
    /// The largest message that the end takes.
    pub(crate) append_limit: Option<u64>,
    /// What made it sure that UIDs do not mean what they meant, though UIDVALIDITY is the same.
    pub(crate) doubt: Option<&'static str>,
}

/// All that a plan follows from.
#[derive(Debug)]
pub(crate) struct Input<'i> {
    pub(crate) rows: &'i [Row],
    /// UIDVALIDITY as it was when the rows were written; none before the first time.
    pub(crate) agreed_validity: Both<Option<u32>>,
    /// Why deletes rest in this mailbox since an earlier run.
    pub(crate) suspended: Option<&'i str>,
    pub(crate) seen: Both<Seen>,
    pub(crate) policy: &'i Policy,
    /// What a search on the left end has found, ascending, if one was asked for.
    pub(crate) found: Option<&'i [Uid]>,
    pub(crate) bytes: Bytes,
}

/// What is to be done in a mailbox.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct MessagePlan {
    /// Messages of which more must be known; then this is no plan yet.
    pub(crate) needs: Option<Needs>,
    /// To copy from this end to the other.
    pub(crate) copy: Both<Vec<Uid>>,
    /// Both have them; nobody knew. With the flags that will have been agreed on.
    pub(crate) adopt: Vec<(Uid, Uid, Flags)>,
    /// Rows whose message has another UID now.
    pub(crate) rebind: Vec<(RowId, Both<Option<Uid>>)>,
    /// Flags that will have been agreed on.
    pub(crate) agree: Vec<(RowId, Flags)>,
    /// Flags to change on this end.
    pub(crate) store: Both<BTreeMap<FlagChange, Vec<Uid>>>,
    /// To delete on this end.
    pub(crate) delete: Both<Vec<(RowId, Uid)>>,
    /// Would be deleted on either end, were it not for a guard.
    pub(crate) held: u64,
    /// Rows of which nothing is left.
    pub(crate) forget: Vec<RowId>,
    /// Rows whose message is gone on one end and stays on the other: what remains.
    pub(crate) gone: Vec<(RowId, Both<Option<Uid>>)>,
    /// Messages that only this end has, and how they stand.
    pub(crate) single: Both<Vec<(Uid, Standing)>>,
    /// Messages of this end that are too large for the other, with their sizes.
    pub(crate) too_large: Both<Vec<(Uid, u64)>>,
    /// Why deletes are to rest in this mailbox.
    pub(crate) suspend: Option<String>,
    /// Flags that an end does not keep.
    pub(crate) not_kept: Flags,
    /// What else is to be told.
    pub(crate) warnings: Vec<String>,
}

/// What must be known of messages before it can be planned.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Needs {
    /// Their bytes.
    Bytes(Both<Vec<Uid>>),
    /// Their fingerprints.
    Fingerprints(Both<Vec<Uid>>),
}
