//! The commands that wait for their answer.
//!
//! Nothing here reads a byte.

use std::collections::VecDeque;

use model::Scope;

use super::command::{Found, Word};
use super::response::Condition;
use crate::relay::Changed;

/// The most commands that wait at a time, and the most bytes of their tags and mailboxes. A client
/// that sends more is not read from until answers come.
const MOST: usize = 256;
const MOST_BYTES: usize = 16 * 1024;

/// A command that waits for its answer.
#[derive(Clone, Debug)]
struct Command {
    id: u64,
    tag: Box<[u8]>,
    word: Word,
    found: Found,
    owed: Owed,
}

/// Who owes the answer.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Owed {
    /// The back end, with the tag.
    Tagged,
    /// The back end, perhaps, and perhaps without a tag: it may not have taken the line for a command.
    Uncertain,
    /// We, with these words, once the client has sent all of the command.
    Ours { words: Vec<u8>, complete: bool },
}

/// The commands that wait for their answer, in the order in which the client sent them.
#[derive(Clone, Debug, Default)]
pub(super) struct Flight {
    commands: VecDeque<Command>,
    bytes: usize,
    next: u64,
}

impl Flight {
    /// Adds a command that the back end answers; says by which number it is known here.
    pub(super) fn add(&mut self, tag: &[u8], word: Word, formed: bool) -> u64 {
        let owed = if formed { Owed::Tagged } else { Owed::Uncertain };
        // Back ends ignore or refuse empty lines; a client may send many.
        let is_empty = |last: &&Command| last.owed == Owed::Uncertain && last.tag.is_empty();
        if tag.is_empty()
            && let Some(last) = self.commands.back().filter(is_empty)
        {
            return last.id;
        }
        self.push(tag, word, owed)
    }

    /// Adds a command that we answer with these words once it is [`complete`](Self::complete).
    pub(super) fn add_ours(&mut self, words: Vec<u8>) -> u64 {
        self.push(b"", Word::Other, Owed::Ours { words, complete: false })
    }

    /// Notes what a command's arguments have told.
    pub(super) fn complete(&mut self, id: u64, found: Found) {
        let Some(command) = self.commands.iter_mut().rfind(|command| command.id == id) else {
            return;
        };
        if let Owed::Ours { complete, .. } = &mut command.owed {
            *complete = true;
        }
        command.found = found;
        self.bytes += command.found_bytes();
    }

    /// The first command with this tag, which is not empty.
    pub(super) fn find(&self, tag: &[u8]) -> Option<u64> {
        // Those that we answer have none here.
        self.commands.iter().find(|command| *command.tag == *tag).map(|command| command.id)
    }

    /// The back end has answered a command; says what that may have changed. What is uncertain and came
    /// before it will not be answered any more.
    pub(super) fn answered(
        &mut self,
        id: u64,
        condition: Condition,
        read_only: &mut bool,
    ) -> Option<Changed> {
        let place = self.commands.iter().position(|command| command.id == id)?;
        let command = self.remove(place)?;
        self.settle_before(place);
        command.changed(condition, read_only)
    }

    /// The back end has refused a line without saying which.
    pub(super) fn refused(&mut self) {
        let uncertain = |command: &Command| command.owed == Owed::Uncertain;
        if let Some(place) = self.commands.iter().position(uncertain) {
            self.remove(place);
        }
    }

    /// The back end may not answer this command any more.
    pub(super) fn doubt(&mut self, id: u64) {
        if let Some(command) = self.commands.iter_mut().rfind(|command| command.id == id) {
            command.owed = Owed::Uncertain;
        }
    }

    /// What we answer now: the words for the first command whose answer we owe, if no command before it
    /// is sure to be answered yet.
    pub(super) fn take_ours(&mut self) -> Option<Vec<u8>> {
        let place = self.commands.iter().position(|command| command.owed != Owed::Uncertain)?;
        if !matches!(self.commands.get(place)?.owed, Owed::Ours { complete: true, .. }) {
            return None;
        }
        match self.remove(place)?.owed {
            Owed::Ours { words, .. } => Some(words),
            Owed::Tagged | Owed::Uncertain => None,
        }
    }

    /// Whether we may answer now.
    pub(super) fn has_ours(&self) -> bool {
        let first = self.commands.iter().find(|command| command.owed != Owed::Uncertain);
        first.is_some_and(|command| matches!(command.owed, Owed::Ours { complete: true, .. }))
    }

    /// Whether the command waits for an answer.
    pub(super) fn has(&self, id: u64) -> bool {
        self.commands.iter().any(|command| command.id == id)
    }

    /// Whether no command waits.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether a command waits that may have changed a mailbox by now.
    pub(super) fn may_change(&self) -> bool {
        self.commands.iter().any(Command::may_change)
    }

    /// Whether no further command may be sent.
    pub(super) fn is_full(&self) -> bool {
        self.commands.len() >= MOST || self.bytes >= MOST_BYTES
    }

    fn push(&mut self, tag: &[u8], word: Word, owed: Owed) -> u64 {
        let id = self.next;
        self.next += 1;
        self.bytes += tag.len();
        self.commands.push_back(Command { id, tag: tag.into(), word, found: Found::Nothing, owed });
        id
    }

    fn remove(&mut self, place: usize) -> Option<Command> {
        let command = self.commands.remove(place)?;
        self.bytes = self.bytes.saturating_sub(command.tag.len() + command.found_bytes());
        if self.commands.is_empty() && self.commands.capacity() > 8 {
            // Most sessions idle after a burst.
            self.commands = VecDeque::new();
        }
        Some(command)
    }

    /// Forgets what is uncertain among the first `count` commands.
    fn settle_before(&mut self, count: usize) {
        for place in (0..count).rev() {
            if self.commands.get(place).is_some_and(|command| command.owed == Owed::Uncertain) {
                self.remove(place);
            }
        }
    }
}

impl Command {
    fn found_bytes(&self) -> usize {
        if let Found::Mailbox(name) = &self.found { name.len() } else { 0 }
    }

    /// Whether it may change a mailbox, as far as it was read.
    fn may_change(&self) -> bool {
        match self.word {
            Word::Append
            | Word::Close
            | Word::Copy
            | Word::Expunge
            | Word::List
            | Word::Move
            | Word::Replace
            | Word::Store => true,
            Word::Fetch => self.found == Found::SetsSeen,
            _ => false,
        }
    }

    /// What the command may have changed, and whether the mailbox selected next can be changed at all.
    ///
    /// NO does not say that nothing was done where a command is about many messages (RFC 7162 section
    /// 3.1.3, RFC 6851 section 3.3).
    fn changed(self, condition: Condition, read_only: &mut bool) -> Option<Changed> {
        let done = matches!(condition, Condition::Ok { .. });
        let in_part = done || condition == Condition::No;
        let (scope, happened) = match self.word {
            Word::Append | Word::Copy => (Scope::Named, done),
            Word::List => (Scope::List, done),
            Word::Move | Word::Replace => (Scope::SelectedAndNamed, in_part),
            Word::Expunge | Word::Store => (Scope::Selected, in_part && !*read_only),
            Word::Fetch => {
                (Scope::Selected, in_part && !*read_only && self.found == Found::SetsSeen)
            }
            Word::Close => (Scope::Selected, done && !*read_only),
            Word::Select | Word::Examine => {
                if let Condition::Ok { read_only: told } = condition {
                    *read_only = told || self.word == Word::Examine;
                }
                return None;
            }
            _ => return None,
        };
        let mailbox = if let Found::Mailbox(name) = self.found { Some(name) } else { None };
        happened.then_some(Changed { scope, mailbox })
    }
}
