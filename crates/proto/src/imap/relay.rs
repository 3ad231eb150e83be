//! The framing of IMAP after login (RFC 3501, RFC 9051; RFC 2177 IDLE, RFC 7888 literals, RFC 3516
//! `~{n}`, RFC 3502 and RFC 4469 several literals in one APPEND).
//!
//! Nothing here checks what is said; arguments and data are passed over.

mod command;
mod down;
mod flight;
mod literal;
mod response;
mod strike;
mod up;

use down::{Down, Heard};
use flight::Flight;
use up::Up;

use crate::relay::{Event, Goodbye, Lost, Step};

/// The framing of an IMAP session.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    up: Up,
    down: Down,
    flight: Flight,
    goodbye: Goodbye,
    /// What goes down instead of bytes that were taken.
    instead: Vec<u8>,
    event: Option<Event>,
    /// Whether the selected mailbox cannot be changed.
    read_only: bool,
    /// Whether the back end has said what fits no command.
    doubtful: bool,
}

impl Relay {
    /// What is to be done with bytes from the client.
    pub(crate) fn up(&mut self, bytes: &[u8]) -> Result<Step, Lost> {
        self.up.step(bytes, &mut self.flight)
    }

    /// What is to be done with bytes from the back end.
    pub(crate) fn down(&mut self, bytes: &[u8]) -> Result<Step, Lost> {
        let mut passed = 0;
        loop {
            // What is said here comes ahead of the bytes that have not been passed.
            if passed == 0
                && let Some(step) = self.say()
            {
                return Ok(step);
            }
            let rest = bytes.get(passed..).unwrap_or_default();
            if passed > 0 && (rest.is_empty() || self.has_to_say()) {
                return Ok(Step::Pass(passed));
            }
            if rest.is_empty() {
                return Ok(Step::Read);
            }
            let reach = self.down.advance(rest, &self.flight)?;
            if let Some(heard) = reach.heard {
                self.hear(heard);
            }
            if let Some(instead) = reach.instead {
                self.instead = instead;
                if reach.count > 0 {
                    return Ok(Step::Take(reach.count));
                }
            }
            passed += reach.count;
        }
    }

    /// Keeps back the client's next command, or no longer.
    pub(crate) fn hold(&mut self, held: bool) {
        self.up.hold(held);
    }

    /// Wants these words said where a response may begin.
    pub(crate) fn say_goodbye(&mut self, words: Vec<u8>) {
        if self.goodbye.is_unwanted() {
            self.goodbye = Goodbye::Wanted(words);
        }
    }

    /// Whether a command waits for its answer or is not complete.
    pub(crate) fn in_flight(&self) -> bool {
        !self.flight.is_empty() || !self.up.at_boundary()
    }

    /// Whether a mailbox may have been changed by what was not answered, or whose answer was not told of.
    pub(crate) fn may_have_changed(&self) -> bool {
        self.event.is_some() || self.doubtful || self.flight.may_change()
    }

    /// Whether nothing is in flight, in either direction, and nothing doubtful was heard.
    pub(crate) fn at_boundary(&self) -> bool {
        let nothing_to_say = self.instead.is_empty() && self.goodbye.is_unwanted();
        nothing_to_say && !self.in_flight() && self.down.at_start() && !self.doubtful
    }

    /// Whether the back end has said what fits no command.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Whether something is to be said before the next byte is dealt with.
    fn has_to_say(&self) -> bool {
        let at_start = self.down.at_start();
        let wanted = at_start && (!self.goodbye.is_unwanted() || self.flight.has_ours());
        self.event.is_some() || wanted || self.down.in_list()
    }

    /// What is to be said before the next byte is dealt with.
    fn say(&mut self) -> Option<Step> {
        if !self.instead.is_empty() {
            return Some(Step::Write(std::mem::take(&mut self.instead)));
        }
        if let Some(event) = self.event.take() {
            return Some(Step::Event(event));
        }
        if !self.down.at_start() {
            return None;
        }
        self.goodbye.step().or_else(|| self.flight.take_ours().map(Step::Write))
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Answer { id, condition } => {
                let changed = self.flight.answered(id, condition, &mut self.read_only);
                self.event = changed.map(Event::Changed);
                self.up.answered(id);
            }
            Heard::GoOn => self.doubtful |= !self.up.go_on(&self.flight),
            Heard::Noise => self.doubtful = true,
            Heard::Nothing => {}
            Heard::Refusal => {
                self.flight.refused();
                self.up.refused();
            }
        }
    }
}
