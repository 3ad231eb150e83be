//! Asking a POP3 back end what it can do before login.
//!
//! Nothing here logs in.

use model::Reason;

use super::opening::{Opening, Progress, TOO_MUCH};
use super::responses::{Capa, CapaReader, Next, Responses};
use crate::back::{Answer, Failure, Settings};
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
    Asking(CapaReader),
    Ended,
    Opening(Opening),
}

impl Probe {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings) -> Self {
        Self {
            responses: Responses::default(),
            out: Outbox::default(),
            state: State::Opening(Opening::new(settings.tls)),
        }
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        match &mut self.state {
            State::Asking(_) => self.read_list(),
            State::Ended => false,
            State::Opening(opening) => {
                let progress = opening.proceed(&mut self.responses);
                self.open(progress)
            }
        }
    }

    fn open(&mut self, progress: Progress) -> bool {
        match progress {
            Progress::Failed(failure) => self.end(failure.into()),
            Progress::Incomplete => return false,
            Progress::Opened { .. } => {
                self.out.line(&[b"CAPA"]);
                self.state = State::Asking(CapaReader::default());
            }
            Progress::Say(line) => self.out.line(&[line.as_bytes()]),
            Progress::StartTls => self.out.event(Event::StartTls),
        }
        true
    }

    fn read_list(&mut self) -> bool {
        let State::Asking(reader) = &mut self.state else {
            return false;
        };
        match self.responses.next() {
            Next::Incomplete => return false,
            Next::Line(line) => match reader.read(&line) {
                Capa::List(list) => {
                    self.out.line(&[b"QUIT"]);
                    self.end(Event::Capabilities(list));
                }
                Capa::More => {}
                Capa::Nonsense => self.end(Failure::said(Reason::BackendProtocol, &line).into()),
            },
            Next::TooMuch => self.end(Failure::seen(Reason::BackendProtocol, TOO_MUCH).into()),
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
            (State::Opening(opening), Answer::TlsStarted) => opening.tls_started(),
            (State::Asking(_) | State::Ended, Answer::TlsStarted) => {}
        }
    }

    fn step(&mut self) -> Step<Event> {
        while !self.out.has_event() && self.proceed() {}
        self.out.next()
    }
}
