//! Asking an IMAP back end what it can do before login.
//!
//! Nothing here logs in.

use super::opening::{Opening, Progress, Source};
use super::responses::Responses;
use crate::back::{Answer, Settings};
use crate::outbox::Outbox;
use crate::probe::Event;
use crate::{Machine, Step};

/// The machine for one connection to a back end.
#[derive(Debug)]
pub struct Probe {
    responses: Responses,
    out: Outbox<Event>,
    state: State,
}

#[derive(Debug)]
enum State {
    Ended,
    Opening(Opening),
}

impl Probe {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings) -> Self {
        Self {
            responses: Responses::default(),
            out: Outbox::default(),
            state: State::Opening(Opening::new(settings.tls, Source::Answer)),
        }
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        let State::Opening(opening) = &mut self.state else {
            return false;
        };
        match opening.proceed(&mut self.responses) {
            Progress::Failed(failure) => self.end(failure.into()),
            Progress::Incomplete => return false,
            Progress::Opened(list) => {
                self.out.line(&[b"ph6 LOGOUT"]);
                self.end(Event::Capabilities(list));
            }
            Progress::Say(line) => self.out.line(&[line.as_bytes()]),
            Progress::StartTls => self.out.event(Event::StartTls),
        }
        true
    }

    fn end(&mut self, event: Event) {
        self.state = State::Ended;
        self.out.event(event);
    }
}

impl Machine for Probe {
    type Event = Event;
    type Answer = Answer;

    fn receive(&mut self, bytes: &[u8]) {
        self.responses.receive(bytes);
    }

    fn answer(&mut self, answer: Answer) {
        match (&mut self.state, answer) {
            (State::Opening(opening), Answer::TlsStarted) => {
                let line = opening.tls_started();
                self.out.line(&[line.as_bytes()]);
            }
            (State::Ended, Answer::TlsStarted) => {}
        }
    }

    fn step(&mut self) -> Step<Event> {
        while !self.out.has_event() && self.proceed() {}
        self.out.next()
    }
}
