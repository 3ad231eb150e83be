//! The port of the engine: what a place that holds mail must be able to do.
//!
//! Nothing here decides what is to be done, or does it twice: an end says what happened, and whose fault it
//! was.

mod body;
pub mod imap;
pub mod memory;

use std::{future::Future, time::Duration};

use crate::{
    Flags, InternalDate, MailboxPath, Overview, RawName, SpecialUse, Uid,
    snapshot::{Listing, Mark},
};

pub(crate) use self::body::Room;
pub use self::body::{Bodies, Body, Content, Incoming};

/// An account that can be reached.
pub trait End: Send + Sync {
    /// A connection to it, logged in.
    type Session: Session;

    /// Whose account it is and where, for reports: without a secret.
    fn name(&self) -> String;

    /// Connects and logs in. Several sessions may be open at a time.
    ///
    /// # Errors
    /// [`FaultKind::Access`] if the end refuses the user, [`FaultKind::Lost`] if it cannot be reached.
    fn open(&self) -> impl Future<Output = Result<Self::Session, Fault>> + Send;
}

/// One connection to an account. After [`FaultKind::Lost`] it is of no more use.
pub trait Session: Send {
    /// What this end is able to do.
    fn abilities(&self) -> Abilities;

    /// Lists the user's mailboxes with their figures.
    ///
    /// # Errors
    /// [`Fault`]; half a list is never given.
    fn overview(&mut self) -> impl Future<Output = Result<Overview, Fault>> + Send;

    /// Lists messages of a mailbox.
    ///
    /// # Errors
    /// [`Fault`]; half a list is never given.
    fn list(
        &mut self,
        mailbox: &RawName,
        ask: Ask,
    ) -> impl Future<Output = Result<Listing, Fault>> + Send;

    /// Which UIDs match an IMAP SEARCH expression (RFC 3501 section 6.4.4), ascending.
    ///
    /// # Errors
    /// [`Fault`], as where the end does not understand the expression.
    fn search(
        &mut self,
        mailbox: &RawName,
        expression: &str,
    ) -> impl Future<Output = Result<Vec<Uid>, Fault>> + Send;

    /// Reads whole messages, in the order of `uids`, which ascends, without marking them as seen. One that
    /// is gone is left out.
    ///
    /// # Errors
    /// [`Fault`]; what came before it is whole.
    fn read(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        bodies: &mut Bodies,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Stores messages, in their order, and says of each what became of it.
    ///
    /// # Errors
    /// [`Fault`] if nobody can say what was stored.
    fn append(
        &mut self,
        mailbox: &RawName,
        batch: &[Append],
    ) -> impl Future<Output = Result<Vec<Appended>, Fault>> + Send;

    /// Sets and takes away flags. Messages that are gone are left out.
    ///
    /// # Errors
    /// [`Fault`]; some may have been changed.
    fn store(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        change: &FlagChange,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Creates a mailbox and what it is in. One that is there already is a success.
    ///
    /// # Errors
    /// [`FaultKind::Mailbox`] if the end will not have that name.
    fn create(
        &mut self,
        path: &MailboxPath,
        special_use: Option<SpecialUse>,
    ) -> impl Future<Output = Result<RawName, Fault>> + Send;

    /// Subscribes the user to a mailbox.
    ///
    /// # Errors
    /// [`Fault`].
    fn subscribe(&mut self, mailbox: &RawName) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Moves messages into another mailbox. Asked only of an end that [can](Abilities::moves).
    ///
    /// # Errors
    /// [`Fault`]; some may have been moved.
    fn relocate(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        to: &RawName,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Removes these messages and no other, for ever. Asked only of an end that [can](Abilities::uidplus).
    ///
    /// # Errors
    /// [`Fault`]; some may have been removed.
    fn expunge(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Says goodbye.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What an end is able to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Abilities {
    /// The largest message that it takes, in bytes; none where it does not say (RFC 7889).
    pub append_limit: Option<u64>,
    /// How many messages it stores by one command, all or none (MULTIAPPEND, RFC 3502): else 1.
    pub batch: usize,
    /// Whether it says which UIDs it gave, and removes by UID (RFC 4315).
    pub uidplus: bool,
    /// Whether it moves messages (RFC 6851).
    pub moves: bool,
}

/// What to list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ask {
    /// Which messages.
    pub which: Which,
    /// Whether fingerprints are needed, of those that are told.
    pub fingerprints: bool,
}

/// Which messages to list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// All.
    All,
    /// Those with this UID or a greater one. What is below counts neither as told nor as gone.
    From(Uid),
    /// What has changed since. An end that cannot tell lists all.
    Since(Mark),
}

/// A message to store.
#[derive(Debug)]
pub struct Append {
    /// Its bytes.
    pub body: Body,
    /// Its flags.
    pub flags: Flags,
    /// When it arrived; without it the end takes the present.
    pub date: Option<InternalDate>,
}

/// What became of a message to store: stored, with UIDVALIDITY and UID where the end says them, or refused.
pub type Appended = Result<Option<(u32, Uid)>, Refusal>;

/// Why an end does not take a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What is wrong.
    pub cause: RefusalCause,
    /// Of how many messages the end says so together. With more than one nobody knows which it does not
    /// take, and none of them is stored.
    pub among: usize,
    /// The end's words.
    pub said: String,
}

/// What is wrong with a message that was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalCause {
    /// The account is full.
    Full,
    /// The mailbox is not there, or not for us.
    Mailbox,
    /// The end asks to wait, or says that it is at fault.
    NotNow(Option<Duration>),
    /// The end does not say in words that can be understood.
    Other,
    /// The message is too large.
    TooLarge,
}

/// Flags to set and to take away.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct FlagChange {
    /// To set.
    pub add: Flags,
    /// To take away.
    pub remove: Flags,
}

/// Why something was not done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{said}")]
pub struct Fault {
    /// What it means for what comes next.
    pub kind: FaultKind,
    /// What happened, with the end's words where it had any. Without a secret.
    pub said: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(kind: FaultKind, said: impl Into<String>) -> Self {
        Self { kind, said: said.into() }
    }

    /// The connection is gone, and nobody knows what of the last command was done.
    pub fn lost(said: impl Into<String>) -> Self {
        Self::new(FaultKind::Lost, said)
    }
}

/// What a fault means for what comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// The end does not let the user in. No use in trying again.
    Access,
    /// The end did not do it, and asks to wait: as long as it says, where it says.
    Busy(Option<Duration>),
    /// Our own disk failed.
    Disk,
    /// The account is full. No use in trying again.
    Full,
    /// The connection is gone, or what came over it makes no sense. What was asked last may have been
    /// done, or may yet be.
    Lost,
    /// This mailbox cannot be used so. Others can.
    Mailbox,
    /// More messages were refused than the policy bears. No use in going on.
    Refusals,
    /// The connection cannot be made private as it has to be. No use in trying again.
    Tls,
}
