//! What goes wrong, and when.
//! Nothing here does it: the session asks.

use std::collections::VecDeque;
use std::time::Duration;

use super::Mail;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// After so many bytes from the client: what is in them is done.
    AfterReceived(usize),
    /// After so many bytes to the client.
    AfterSent(usize),
}

/// What happens to a command.
#[derive(Clone, Debug)]
pub enum Act {
    /// It is not done, and answered so: `NO [OVERQUOTA] full`. A literal that waits is refused.
    Answer(&'static str),
    /// It is done, and answered so all the same.
    AnswerAfter(&'static str),
    /// The connection is closed before it is done.
    CloseBefore,
    /// It is done, and the connection closed without an answer.
    CloseAfter,
    /// It is done after this time.
    Delay(Duration),
    /// Before it is done, somebody delivers this.
    Deliver {
        /// Whose mailbox.
        user: &'static str,
        /// Which.
        mailbox: &'static str,
        /// What.
        mail: Mail,
    },
    /// Before it is done, somebody removes these for ever.
    Expunge {
        /// Whose mailbox.
        user: &'static str,
        /// Which.
        mailbox: &'static str,
        /// Which messages.
        uids: Vec<u32>,
    },
    /// The connection is closed at once, and the APPEND done after this time by a process that nobody stopped.
    Late(Duration),
    /// Bodies of FETCH are NIL, as of messages that another has expunged.
    NilBodies,
    /// It is done, and nothing is ever answered; the connection stays open.
    Silence,
    /// Of several messages in an APPEND the first so many are stored, then it is answered with NO.
    StoresOnly(usize),
    /// So many of the last lines of its listing are left out, and it is answered with OK: messages of FETCH and
    /// SEARCH, mailboxes of LIST.
    Short(usize),
    /// RFC822.SIZE is wrong by so many bytes.
    WrongSize(i64),
    /// APPENDUID names UIDs that are so much higher.
    WrongUids(u32),
    /// Before it is done, the mailbox (of whoever is logged in) gets another UIDVALIDITY, and its messages new UIDs.
    Renumber(&'static str),
    /// These lines are sent before its own.
    Say(&'static str),
}

/// A fault of certain commands.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) command: &'static str,
    pub(super) nth: Option<usize>,
    pub(super) act: Act,
    pub(super) seen: usize,
}

impl Rule {
    /// For all commands of this name in upper case, `UID` before it where it belongs: `UID FETCH`.
    #[must_use]
    pub fn new(command: &'static str, act: Act) -> Self {
        Self { command, nth: None, act, seen: 0 }
    }

    /// Only for the nth of them from now on, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = Some(nth);
        self
    }
}

/// All faults.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) rules: Vec<Rule>,
    pub(super) cuts: VecDeque<Option<Cut>>,
    pub(super) most_connections: Option<usize>,
}

impl Faults {
    /// What happens to a command that has come.
    pub(super) fn act(&mut self, command: &str) -> Option<Act> {
        let mut act = None;
        for rule in self.rules.iter_mut().filter(|rule| rule.command == command) {
            rule.seen += 1;
            if act.is_none() && rule.nth.is_none_or(|nth| nth == rule.seen) {
                act = Some(rule.act.clone());
            }
        }
        act
    }
}
