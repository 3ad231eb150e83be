//! The beginning of every conversation with a back end: greeting and STLS.
//!
//! Nothing here holds a secret.

use model::Reason;

use super::responses::{Next, Responses, Status, code};
use crate::back::{Failure, Tls};

/// The state of the beginning.
#[derive(Debug)]
pub(crate) struct Opening {
    state: State,
    tls: Tls,
    /// Whether the greeting said that it believes us. There is none after STLS, so what was said in clear
    /// has to count: who changed it learns or hides no more than where the client is.
    xclient: bool,
}

#[derive(Debug)]
enum State {
    Greeting,
    Handshake,
    Opened,
    Starting,
}

/// What the beginning needs or gives.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The conversation failed.
    Failed(Failure),
    /// More bytes are needed.
    Incomplete,
    /// The conversation has begun.
    Opened {
        /// Whether the back end believes XCLIENT. That it says OK to it would prove nothing.
        xclient: bool,
    },
    /// This is to be said.
    Say(&'static str),
    /// TLS is to be made, then [`Opening::tls_started`] is called.
    StartTls,
}

impl Opening {
    pub(crate) fn new(tls: Tls) -> Self {
        Self { state: State::Greeting, tls, xclient: false }
    }

    /// Reads on.
    pub(crate) fn proceed(&mut self, responses: &mut Responses) -> Progress {
        match self.state {
            State::Handshake => return Progress::Incomplete,
            State::Opened => return Progress::Opened { xclient: self.xclient },
            State::Greeting | State::Starting => {}
        }
        let line = match responses.next() {
            Next::Incomplete => return Progress::Incomplete,
            Next::Line(line) => line,
            Next::TooMuch => {
                return Progress::Failed(Failure::seen(Reason::BackendProtocol, TOO_MUCH));
            }
        };
        match self.state {
            State::Greeting => self.greeting(&line),
            _ => self.starting(&line, responses),
        }
    }

    /// Goes on under TLS.
    pub(crate) fn tls_started(&mut self) {
        self.state = State::Opened;
    }

    fn greeting(&mut self, line: &[u8]) -> Progress {
        self.xclient = code(line).as_deref() == Some(b"XCLIENT");
        match (Status::read(line), self.tls) {
            (Status::Ok, Tls::AsItIs) => {
                self.state = State::Opened;
                Progress::Opened { xclient: self.xclient }
            }
            (Status::Ok, Tls::StartTls) => {
                self.state = State::Starting;
                Progress::Say("STLS")
            }
            (Status::Err { .. }, _) => failed(Reason::BackendBye, line),
            (Status::Continue | Status::Other, _) => failed(Reason::BackendProtocol, line),
        }
    }

    fn starting(&mut self, line: &[u8], responses: &Responses) -> Progress {
        match Status::read(line) {
            Status::Ok if responses.has_unread() => {
                // They came in the clear and must never be read as if they had come over TLS.
                let text = "there are bytes behind the answer to STLS";
                Progress::Failed(Failure::seen(Reason::BackendStartTlsInjection, text))
            }
            Status::Ok => {
                self.state = State::Handshake;
                Progress::StartTls
            }
            Status::Err { .. } => failed(Reason::BackendStartTls, line),
            Status::Continue | Status::Other => failed(Reason::BackendProtocol, line),
        }
    }
}

fn failed(reason: Reason, line: &[u8]) -> Progress {
    Progress::Failed(Failure::said(reason, line))
}

/// For the log, where a back end says more than it may.
pub(crate) const TOO_MUCH: &str = "the back end says too much";
