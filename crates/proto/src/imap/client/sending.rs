//! What goes out, and what has not been answered.
//!
//! Nothing here reads what a server says. Commands go out one behind the other; one that waits for the server,
//! or for its owner's bytes, holds back those behind it.

use std::collections::VecDeque;

use super::{CommandId, Event, MessageKey};

/// A part of a command.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Part {
    Bytes(Vec<u8>),
    /// A message that the owner streams.
    Message {
        key: MessageKey,
        size: u64,
    },
    /// IDLE has begun.
    Idling,
    /// The server's `+` has to come first.
    Wait,
}

/// What is to be done with a command's verdict.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// It is about these messages.
    Append(Vec<MessageKey>),
    /// After an OK all is compressed.
    Compress,
    /// The owner gets it.
    Plain,
}

/// A command that has not gone out whole.
#[derive(Debug)]
struct Outgoing {
    id: CommandId,
    /// Until its first part has gone out.
    kind: Option<Kind>,
    parts: VecDeque<Part>,
}

/// Why nothing goes out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Nothing hinders.
    Free,
    /// COMPRESS has gone out.
    Halted(CommandId),
    /// IDLE, until the owner ends it.
    Idling(CommandId),
    /// The owner has so many bytes to give.
    Streaming(u64),
    /// Until `+` comes.
    Waiting,
}

/// The sending side of a connection.
#[derive(Debug)]
pub(super) struct Sending {
    queue: VecDeque<Outgoing>,
    unanswered: VecDeque<(CommandId, Kind)>,
    phase: Phase,
    /// The most APPENDs without an answer.
    window: usize,
    /// The owner has ended an IDLE that has not begun.
    idle_ends: bool,
    out: Vec<u8>,
}

/// An answer that nobody has asked for.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Unasked;

impl Sending {
    pub(super) fn new(window: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            unanswered: VecDeque::new(),
            phase: Phase::Free,
            window: window.max(1),
            idle_ends: false,
            out: Vec::new(),
        }
    }

    /// Takes a command.
    pub(super) fn queue(&mut self, id: CommandId, kind: Kind, parts: Vec<Part>) {
        self.queue.push_back(Outgoing { id, kind: Some(kind), parts: parts.into() });
    }

    /// Takes what is to be written.
    pub(super) fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether all has been sent and answered.
    pub(super) fn is_at_rest(&self) -> bool {
        self.queue.is_empty() && self.unanswered.is_empty() && self.out.is_empty()
    }

    /// Sends what can be sent, up to the next event.
    pub(super) fn advance(&mut self) -> Option<Event> {
        while self.phase == Phase::Free && self.may_begin() {
            let command = self.queue.front_mut()?;
            let id = command.id;
            if let Some(kind) = command.kind.take() {
                if kind == Kind::Compress {
                    self.phase = Phase::Halted(id);
                }
                self.unanswered.push_back((id, kind));
            }
            let part = command.parts.pop_front();
            if command.parts.is_empty() {
                self.queue.pop_front();
            }
            match part {
                None => {}
                Some(Part::Bytes(bytes)) => self.say(bytes),
                Some(Part::Idling) => {
                    self.phase = Phase::Idling(id);
                    if self.idle_ends {
                        self.end_idle();
                    }
                    return Some(Event::Idling);
                }
                Some(Part::Message { key, size }) => {
                    if size > 0 {
                        self.phase = Phase::Streaming(size);
                    }
                    return Some(Event::Wanted { message: key, size });
                }
                Some(Part::Wait) => self.phase = Phase::Waiting,
            }
        }
        None
    }

    /// Whether the next command may begin, or has begun.
    fn may_begin(&self) -> bool {
        let is_append = |kind: &Kind| matches!(kind, Kind::Append(_));
        let next = self.queue.front().and_then(|command| command.kind.as_ref());
        if !next.is_some_and(is_append) {
            return true;
        }
        self.unanswered.iter().filter(|(_, kind)| is_append(kind)).count() < self.window
    }

    fn say(&mut self, bytes: Vec<u8>) {
        if self.out.is_empty() {
            self.out = bytes;
        } else {
            self.out.extend_from_slice(&bytes);
        }
    }

    /// Takes bytes of the message that is wanted.
    pub(super) fn piece(&mut self, mut bytes: Vec<u8>) {
        let Phase::Streaming(left) = self.phase else {
            return;
        };
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.phase = match left.saturating_sub(count) {
            0 => Phase::Free,
            left => Phase::Streaming(left),
        };
        self.say(bytes);
    }

    /// Ends IDLE, or the one that is going to begin.
    pub(super) fn end_idle(&mut self) {
        self.idle_ends = false;
        if matches!(self.phase, Phase::Idling(_)) {
            self.phase = Phase::Free;
            self.say(b"DONE\r\n".to_vec());
        } else {
            let idles = |command: &Outgoing| command.parts.contains(&Part::Idling);
            self.idle_ends = self.queue.iter().any(idles);
        }
    }

    /// The server asks to go on.
    pub(super) fn continued(&mut self) -> Result<(), Unasked> {
        match self.phase {
            Phase::Waiting => {
                self.phase = Phase::Free;
                Ok(())
            }
            // Some say more than once that they idle.
            Phase::Idling(_) => Ok(()),
            _ => Err(Unasked),
        }
    }

    /// The server has answered a command, with OK or not.
    pub(super) fn answered(&mut self, id: CommandId, ok: bool) -> Result<Kind, Unasked> {
        let place = self.unanswered.iter().position(|(unanswered, _)| *unanswered == id);
        let (_, kind) = place.and_then(|place| self.unanswered.remove(place)).ok_or(Unasked)?;
        // COMPRESS has come to its end, or the server has ended IDLE by itself.
        if self.phase == Phase::Halted(id) || self.phase == Phase::Idling(id) {
            self.phase = Phase::Free;
        }
        let Some(command) = self.queue.front_mut().filter(|front| front.id == id) else {
            return Ok(kind);
        };
        if ok {
            // An OK to half a command is none.
            return Err(Unasked);
        }
        if matches!(self.phase, Phase::Streaming(_)) {
            // What was announced has to be sent all the same, and the line to be ended.
            command.parts = [Part::Bytes(b"\r\n".to_vec())].into();
        } else {
            self.queue.pop_front();
            self.phase = Phase::Free;
            self.idle_ends = false;
        }
        Ok(kind)
    }
}
