//! Follows what a client sends: where each command begins and ends.
//!
//! Nothing here knows what the back end answers; it is told what concerns it.

use memchr::memchr;

use super::command::{self, Arguments, Head, LONGEST_HEAD, Word};
use super::flight::Flight;
use super::literal::{Announced, Tail};
use crate::relay::{Lost, Step};

/// Where the client's bytes stand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    /// Where a command may begin. Its first bytes may be in `head`.
    #[default]
    Start,
    /// Within a line of a command.
    Line,
    /// Within a literal: so many bytes are to come.
    Literal(u64),
    /// Behind a line that the back end has to answer with a `+` before the client goes on. Something
    /// may have been said that makes the client give up (`may_be_over`).
    Waiting { then: Then, may_be_over: bool },
    /// Within a line that is no command: DONE, or a part of a SASL exchange.
    Reply { begun: bool },
}

/// What follows a `+`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    /// A literal of so many bytes.
    Literal(u64),
    /// A line that is no command.
    Reply,
}

/// The command that the client is sending or has sent last.
#[derive(Clone, Debug)]
struct Current {
    id: u64,
    word: Word,
    /// Whether we answer it, so that it is not passed on.
    ours: bool,
    arguments: Arguments,
}

/// Follows what a client sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Up {
    at: At,
    /// The beginning of a command that cannot be told yet; taken and not passed on.
    head: Vec<u8>,
    /// What was taken and is to go on after all.
    owed: Vec<u8>,
    tail: Tail,
    current: Option<Current>,
    held: bool,
}

/// How far the next bytes of a direction go.
enum Reach {
    /// So many bytes are dealt with, and there may be more to do.
    To(usize),
    /// Nothing can be done, for this reason.
    Not(Step),
}

impl Up {
    /// What is to be done with these bytes.
    pub(super) fn step(&mut self, bytes: &[u8], flight: &mut Flight) -> Result<Step, Lost> {
        let mut passed = 0;
        loop {
            if !self.owed.is_empty() {
                return Ok(Step::Write(std::mem::take(&mut self.owed)));
            }
            let rest = bytes.get(passed..).unwrap_or_default();
            let ours = self.is_ours();
            if ours && passed > 0 {
                return Ok(Step::Pass(passed));
            }
            match self.advance(rest, passed > 0, flight)? {
                Reach::Not(_) if passed > 0 => return Ok(Step::Pass(passed)),
                Reach::Not(step) => return Ok(step),
                Reach::To(0) => {}
                Reach::To(count) if ours => return Ok(Step::Take(count)),
                Reach::To(count) => passed += count,
            }
        }
    }

    /// Keeps back the next command, or no longer.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether no part of a command was passed on that is not complete.
    pub(super) fn at_boundary(&self) -> bool {
        self.at == At::Start && self.owed.is_empty()
    }

    /// The back end wants the client to go on. Says whether that was understood.
    pub(super) fn go_on(&mut self, flight: &Flight) -> bool {
        let in_flight = self.current.as_ref().is_some_and(|it| !it.ours && flight.has(it.id));
        match self.at {
            At::Waiting { then: Then::Literal(size), .. } => self.at = At::Literal(size),
            At::Waiting { then: Then::Reply, .. } => self.at = At::Reply { begun: false },
            // A command that we do not know asks for more, as AUTHENTICATE does. What the client has sent
            // meanwhile, the back end will take for the reply.
            At::Start if in_flight => {
                self.owed = std::mem::take(&mut self.head);
                self.at = At::Reply { begun: !self.owed.is_empty() };
            }
            At::Start => return false,
            At::Line | At::Literal(_) | At::Reply { .. } => {}
        }
        true
    }

    /// The back end has answered a command.
    pub(super) fn answered(&mut self, id: u64) {
        let between = matches!(self.at, At::Waiting { .. } | At::Reply { begun: false });
        if between && self.current.as_ref().is_some_and(|current| current.id == id) {
            self.at = At::Start;
        }
    }

    /// The back end has refused a line without saying which.
    pub(super) fn refused(&mut self) {
        if let At::Waiting { may_be_over, .. } = &mut self.at {
            *may_be_over = true;
        }
    }

    fn is_ours(&self) -> bool {
        let inside = matches!(self.at, At::Line | At::Literal(_));
        inside && self.current.as_ref().is_some_and(|current| current.ours)
    }

    fn advance(&mut self, bytes: &[u8], passed: bool, flight: &mut Flight) -> Result<Reach, Lost> {
        match self.at {
            At::Waiting { may_be_over: false, .. } => Ok(Reach::Not(Step::Wait)),
            At::Start if self.held || flight.is_full() => Ok(Reach::Not(Step::Wait)),
            _ if bytes.is_empty() => Ok(Reach::Not(Step::Read)),
            At::Waiting { .. } => {
                // The client has heard enough to give up, and the back end may never answer.
                if let Some(current) = &self.current {
                    flight.doubt(current.id);
                }
                self.at = At::Start;
                Ok(Reach::To(0))
            }
            At::Start => Ok(self.begin(bytes, passed, flight)),
            At::Line => self.line(bytes, flight),
            At::Literal(left) => Ok(Reach::To(self.literal(bytes, left))),
            At::Reply { .. } => Ok(Reach::To(self.reply(bytes, flight))),
        }
    }

    /// Reads a command's beginning. No byte is passed on here, unless it was taken before.
    fn begin(&mut self, bytes: &[u8], passed: bool, flight: &mut Flight) -> Reach {
        if self.head.is_empty() {
            match command::read_head(bytes) {
                Some(head) => self.enter(&head, 0, flight),
                None if passed => return Reach::Not(Step::Read),
                None => {
                    self.head = bytes.to_vec();
                    return Reach::Not(Step::Take(bytes.len()));
                }
            }
            return Reach::To(0);
        }
        let taken = self.head.len();
        let mut head = std::mem::take(&mut self.head);
        let room = LONGEST_HEAD.saturating_sub(taken);
        head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let Some(told) = command::read_head(&head) else {
            self.head = head;
            return Reach::Not(Step::Take(bytes.len()));
        };
        self.enter(&told, taken, flight);
        if !self.is_ours() {
            head.truncate(taken);
            self.tail.add(&head);
            self.owed = head;
        }
        Reach::To(0)
    }

    /// Goes into a command of which the first `taken` bytes have been dealt with.
    fn enter(&mut self, head: &Head<'_>, taken: usize, flight: &mut Flight) {
        let ours = |tag: &[u8], words: &[u8]| [tag, words, b"\r\n"].concat();
        self.current = Some(match *head {
            Head::TooLong => {
                let words = ours(b"*", b" BAD Tag or command too long");
                let id = flight.add_ours(words);
                Current { id, word: Word::Other, ours: true, arguments: Arguments::default() }
            }
            Head::Command { tag, word: word @ (Word::Compress | Word::Unauthenticate), .. } => {
                let words: &[u8] = match word {
                    Word::Compress => b" NO Compression is not available",
                    _ => b" BAD Unknown command",
                };
                let id = flight.add_ours(ours(tag, words));
                Current { id, word, ours: true, arguments: Arguments::default() }
            }
            Head::Command { tag, formed, word, arguments } => {
                let id = flight.add(tag, word, formed);
                let arguments = Arguments::of(word, arguments.saturating_sub(taken));
                Current { id, word, ours: false, arguments }
            }
        });
        self.at = At::Line;
    }

    fn line(&mut self, bytes: &[u8], flight: &mut Flight) -> Result<Reach, Lost> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.note(bytes);
            self.tail.add(bytes);
            return Ok(Reach::To(bytes.len()));
        };
        let line = bytes.get(..=end).unwrap_or(bytes);
        self.note(line);
        match self.tail.end(line) {
            Announced::TooLong => return Err(Lost::ClientLiteral),
            Announced::Literal { size, waits, apart: true } => self.announce(size, waits, flight),
            Announced::Literal { .. } | Announced::Nothing => self.end(flight),
        }
        Ok(Reach::To(line.len()))
    }

    fn announce(&mut self, size: u64, waits: bool, flight: &mut Flight) {
        if waits && self.is_ours() {
            // We do not ask for the literal, so it never comes.
            return self.end(flight);
        }
        self.at = match waits {
            true => {
                // Answered before its end, it is over for a client that has heard the answer.
                let may_be_over = self.current.as_ref().is_none_or(|it| !flight.has(it.id));
                At::Waiting { then: Then::Literal(size), may_be_over }
            }
            false => At::Literal(size),
        };
    }

    fn literal(&mut self, bytes: &[u8], left: u64) -> usize {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        self.note(bytes.get(..count).unwrap_or(bytes));
        self.at = if left == 0 { At::Line } else { At::Literal(left) };
        count
    }

    /// The current command is complete.
    fn end(&mut self, flight: &mut Flight) {
        self.at = At::Start;
        let Some(current) = &mut self.current else {
            return;
        };
        flight.complete(current.id, current.arguments.end());
        let asks = matches!(current.word, Word::Authenticate | Word::Idle);
        if asks && flight.has(current.id) {
            self.at = At::Waiting { then: Then::Reply, may_be_over: false };
        }
    }

    fn reply(&mut self, bytes: &[u8], flight: &mut Flight) -> usize {
        let Some(end) = memchr(b'\n', bytes) else {
            self.at = At::Reply { begun: true };
            return bytes.len();
        };
        self.at = At::Start;
        match &self.current {
            Some(current) if flight.has(current.id) => {
                if current.word == Word::Authenticate {
                    self.at = At::Waiting { then: Then::Reply, may_be_over: false };
                }
            }
            // The command was answered within this line, which the back end now takes for a command.
            _ => {
                flight.add(b"", Word::Other, false);
            }
        }
        end + 1
    }

    fn note(&mut self, piece: &[u8]) {
        if let Some(current) = &mut self.current {
            current.arguments.add(piece);
        }
    }
}
