//! What sessions tell of the mailboxes that they change.

use crate::{BackendName, CanonicalUser};

/// A command that went through us may have changed a mailbox. Never says less than was changed, at times
/// more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailboxChanged {
    /// Whose account it is.
    pub user: CanonicalUser,
    /// Where that account was when it was changed.
    pub backend: BackendName,
    /// Which part of the account.
    pub scope: Scope,
    /// The mailbox that the command names, as the client wrote it, without quoting: modified UTF-7, or
    /// UTF-8 where the client enabled that. None if it names none, or if its name takes up more than
    /// 1 KiB. Of RENAME, the old name.
    pub mailbox: Option<Vec<u8>>,
}

/// Which part of an account a command may have changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Which mailboxes there are or are subscribed to.
    List,
    /// Messages of the mailbox that the command names.
    Named,
    /// Messages, or their flags, of the selected mailbox.
    Selected,
    /// Messages of the selected mailbox and of the one that the command names.
    SelectedAndNamed,
}

/// What is told to whoever follows changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// One command.
    Mailbox(MailboxChanged),
    /// More than could be told: anything in the account of this user may have changed, up to this
    /// moment.
    User(CanonicalUser),
}
