//! Probes: we ask a back end what it can do before login. The words that all protocols share.
//!
//! Nothing here logs in or holds a secret.

use model::{Protocol, Reason};

use crate::back::{Answer, Failure, Settings};
use crate::{Machine, Step, imap, pop3};

/// What a probe asks of its owner, or gives.
#[derive(Debug)]
pub enum Event {
    /// The back end can do this, as it listed it. It has been told that we leave; the owner closes
    /// the connection.
    Capabilities(Vec<String>),
    /// The back end could not be asked. The owner closes the connection.
    Failed {
        /// Whose fault it was.
        reason: Reason,
        /// For the log, as in [`crate::back::Event::Failed`].
        detail: String,
    },
    /// The back end said to begin TLS. The owner does the handshake, then answers
    /// [`Answer::TlsStarted`]. The machine holds no unread byte.
    StartTls,
}

impl From<Failure> for Event {
    fn from(failure: Failure) -> Self {
        Self::Failed { reason: failure.reason, detail: failure.detail }
    }
}

/// The probe of a protocol.
#[derive(Debug)]
pub enum Probe {
    /// IMAP.
    Imap(imap::probe::Probe),
    /// POP3.
    Pop3(pop3::probe::Probe),
}

impl Probe {
    /// Makes the machine for a new connection to a back end.
    pub fn new(protocol: Protocol, settings: Settings) -> Self {
        match protocol {
            Protocol::Imap => Self::Imap(imap::probe::Probe::new(settings)),
            Protocol::Pop3 => Self::Pop3(pop3::probe::Probe::new(settings)),
        }
    }
}

impl Machine for Probe {
    type Event = Event;
    type Answer = Answer;

    fn receive(&mut self, bytes: &[u8]) {
        match self {
            Self::Imap(probe) => probe.receive(bytes),
            Self::Pop3(probe) => probe.receive(bytes),
        }
    }

    fn answer(&mut self, answer: Answer) {
        match self {
            Self::Imap(probe) => probe.answer(answer),
            Self::Pop3(probe) => probe.answer(answer),
        }
    }

    fn step(&mut self) -> Step<Event> {
        match self {
            Self::Imap(probe) => probe.step(),
            Self::Pop3(probe) => probe.step(),
        }
    }
}
