//! The beginning of every conversation with a back end: greeting, STARTTLS, capabilities.
//!
//! Nothing here holds a secret, and nothing heard before TLS is believed after it.

use model::Reason;

use super::capability;
use super::responses::{Kind, Next, Response, Responses, Word, code};
use crate::back::{Failure, Tls};

/// Tags of our own commands. No two commands of a conversation share one.
const CAPABILITY: &str = "ph1";
const STARTTLS: &str = "ph2";
const CAPABILITY_UNDER_TLS: &str = "ph3";

/// The state of the beginning.
#[derive(Debug)]
pub(crate) struct Opening {
    state: State,
    tls: Tls,
    source: Source,
}

/// Where a capability list may come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The answer to CAPABILITY only: greetings may say less.
    Answer,
    /// The greeting too, which saves a round trip.
    Greeting,
}

#[derive(Debug)]
enum State {
    Asking { tag: &'static str, heard: Option<Vec<String>> },
    Greeting,
    Handshake,
    Starting,
}

/// What the beginning needs or gives.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The conversation failed.
    Failed(Failure),
    /// More bytes are needed.
    Incomplete,
    /// The conversation has begun, and the back end can do this.
    Opened(Vec<String>),
    /// This is to be said.
    Say(&'static str),
    /// TLS is to be made, then [`Opening::tls_started`] is called.
    StartTls,
}

impl Opening {
    pub(crate) fn new(tls: Tls, source: Source) -> Self {
        Self { state: State::Greeting, tls, source }
    }

    /// Reads on.
    pub(crate) fn proceed(&mut self, responses: &mut Responses) -> Progress {
        loop {
            if matches!(self.state, State::Handshake) {
                return Progress::Incomplete;
            }
            let response = match responses.next() {
                Next::Incomplete => return Progress::Incomplete,
                Next::Response(response) => response,
                Next::TooMuch => return too_much(),
            };
            let progress = match &mut self.state {
                State::Asking { .. } => self.asking(&response),
                State::Greeting => Some(self.greeting(&response)),
                State::Starting | State::Handshake => self.starting(&response, responses),
            };
            if let Some(progress) = progress {
                return progress;
            }
        }
    }

    /// Goes on under TLS; returns what is to be said.
    pub(crate) fn tls_started(&mut self) -> &'static str {
        self.state = State::Asking { tag: CAPABILITY_UNDER_TLS, heard: None };
        "ph3 CAPABILITY"
    }

    fn greeting(&mut self, response: &Response) -> Progress {
        match response.kind("") {
            Kind::Untagged(Word::Ok, text) => match capabilities_in(text) {
                Some(list) if self.source == Source::Greeting => self.heard(list),
                _ => {
                    self.state = State::Asking { tag: CAPABILITY, heard: None };
                    Progress::Say("ph1 CAPABILITY")
                }
            },
            // RFC 9051 section 7.1.4: PREAUTH would let an attacker keep TLS away. It is also another
            // user's mail, whoever that is.
            Kind::Untagged(Word::PreAuth, _) => failed(Reason::BackendPreauth, response),
            Kind::Untagged(Word::Bye, _) => failed(Reason::BackendBye, response),
            _ => failed(Reason::BackendProtocol, response),
        }
    }

    fn asking(&mut self, response: &Response) -> Option<Progress> {
        let State::Asking { tag, heard } = &mut self.state else {
            return None;
        };
        match response.kind(tag) {
            Kind::Untagged(Word::Capability, text) => *heard = Some(capability::read(text)),
            Kind::Untagged(Word::Bye, _) => return Some(failed(Reason::BackendBye, response)),
            Kind::Untagged(..) => {}
            Kind::Tagged(Word::Ok, text) => {
                return Some(match heard.take().or_else(|| capabilities_in(text)) {
                    Some(list) => self.heard(list),
                    None => failed(Reason::BackendProtocol, response),
                });
            }
            _ => return Some(failed(Reason::BackendProtocol, response)),
        }
        None
    }

    fn heard(&mut self, list: Vec<String>) -> Progress {
        let under_tls = matches!(self.state, State::Asking { tag: CAPABILITY_UNDER_TLS, .. });
        if self.tls == Tls::AsItIs || under_tls {
            return Progress::Opened(list);
        }
        if !crate::capability::contains(&list, "STARTTLS") {
            return Progress::Failed(Failure::seen(
                Reason::BackendStartTls,
                "STARTTLS is not offered",
            ));
        }
        self.state = State::Starting;
        Progress::Say("ph2 STARTTLS")
    }

    fn starting(&mut self, response: &Response, responses: &mut Responses) -> Option<Progress> {
        match response.kind(STARTTLS) {
            Kind::Tagged(Word::Ok, _) if responses.has_unread() => {
                // They came in the clear and must never be read as if they had come over TLS.
                let text = "there are bytes behind the answer to STARTTLS";
                Some(Progress::Failed(Failure::seen(Reason::BackendStartTlsInjection, text)))
            }
            Kind::Tagged(Word::Ok, _) => {
                self.state = State::Handshake;
                Some(Progress::StartTls)
            }
            Kind::Tagged(..) => Some(failed(Reason::BackendStartTls, response)),
            Kind::Untagged(Word::Bye, _) => Some(failed(Reason::BackendBye, response)),
            Kind::Untagged(..) => None,
            Kind::Continue(_) | Kind::Foreign => Some(failed(Reason::BackendProtocol, response)),
        }
    }
}

/// The capabilities in a response code.
pub(crate) fn capabilities_in(text: &[u8]) -> Option<Vec<String>> {
    let (name, list) = code(text)?;
    (name == b"CAPABILITY").then(|| capability::read(list))
}

fn failed(reason: Reason, response: &Response) -> Progress {
    Progress::Failed(Failure::said(reason, response.text()))
}

fn too_much() -> Progress {
    Progress::Failed(Failure::seen(Reason::BackendProtocol, TOO_MUCH))
}

/// For the log, where a back end says more than it may.
pub(crate) const TOO_MUCH: &str = "the back end says too much";
