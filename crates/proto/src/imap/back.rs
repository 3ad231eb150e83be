//! IMAP towards back ends: from the greeting to the verdict on our login.
//!
//! Nothing here knows the client. What the back end says before its verdict is not passed on.

use std::fmt;

use model::Reason;
use zeroize::Zeroizing;

use super::capability;
use super::opening::{Opening, Progress, Source, TOO_MUCH, capabilities_in};
use super::responses::{Kind, Next, Response, Responses, Word, code};
use super::syntax::{Literals, write_string};
use crate::back::{Answer, Event, Failure, Login, Parts, Settings};
use crate::capability::contains;
use crate::front::Welcome;
use crate::outbox::Outbox;
use crate::{Machine, Step, sasl};

/// Tags of our own commands; the opening has others.
const LOGIN: &str = "ph4";
const CAPABILITY: &str = "ph5";

/// The machine for one connection to a back end.
pub struct Back {
    login: Login,
    responses: Responses,
    out: Outbox<Event>,
    state: State,
    /// What the back end sent between its verdict and its last answer: the client's.
    kept: Vec<u8>,
}

enum State {
    /// Logged in; the capabilities are still to be learned.
    Asking {
        heard: Option<Vec<String>>,
    },
    /// An event has been given that ends the machine's work.
    Ended,
    LoggingIn {
        parts: Parts,
        heard: Option<Vec<String>>,
    },
    Opening(Opening),
}

impl Back {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings, login: Login) -> Self {
        Self {
            login,
            responses: Responses::default(),
            out: Outbox::default(),
            state: State::Opening(Opening::new(settings.tls, Source::Greeting)),
            kept: Vec::new(),
        }
    }

    /// What the back end sent behind its verdict, byte for byte, except for its answer to our own
    /// question for capabilities.
    pub fn into_rest(self) -> Vec<u8> {
        let mut rest = self.kept;
        rest.extend(self.responses.into_rest());
        rest
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        match &mut self.state {
            State::Opening(opening) => {
                let progress = opening.proceed(&mut self.responses);
                self.open(progress)
            }
            State::Asking { .. } | State::LoggingIn { .. } => match self.responses.next() {
                Next::Incomplete => false,
                Next::Response(response) => {
                    match self.state {
                        State::LoggingIn { .. } => self.verdict(&response),
                        _ => self.asking(&response),
                    }
                    true
                }
                Next::TooMuch => {
                    self.fail(Failure::seen(Reason::BackendProtocol, TOO_MUCH), b"");
                    true
                }
            },
            State::Ended => false,
        }
    }

    fn open(&mut self, progress: Progress) -> bool {
        match progress {
            Progress::Failed(failure) => self.fail(failure, b""),
            Progress::Incomplete => return false,
            Progress::Opened(list) => self.log_in(&list),
            Progress::Say(line) => self.out.line(&[line.as_bytes()]),
            Progress::StartTls => self.out.event(Event::StartTls),
        }
        true
    }

    fn log_in(&mut self, list: &[String]) {
        let parts = if contains(list, "AUTH=PLAIN") {
            authenticate_plain(&self.login, contains(list, "SASL-IR"))
        } else if contains(list, "LOGINDISABLED") {
            let text = "LOGINDISABLED and no AUTH=PLAIN";
            return self.fail(Failure::seen(Reason::BackendLoginDisabled, text), b"");
        } else {
            login_command(&self.login, literals(list))
        };
        self.state = State::LoggingIn { parts, heard: None };
        self.say_part();
    }

    /// Sends the next part of the login; `false` if there is none.
    fn say_part(&mut self) -> bool {
        let State::LoggingIn { parts, .. } = &mut self.state else {
            return false;
        };
        let part = parts.pop_front();
        part.map(|part| self.out.bytes(&part)).is_some()
    }

    fn verdict(&mut self, response: &Response) {
        let State::LoggingIn { parts, heard } = &mut self.state else {
            return;
        };
        let all_said = parts.is_empty();
        match response.kind(LOGIN) {
            Kind::Continue if all_said => self.fail_saying(Reason::BackendProtocol, response),
            Kind::Continue => {
                self.say_part();
            }
            Kind::Tagged(Word::Ok, text) if all_said => {
                let list = capabilities_in(text).or_else(|| heard.take());
                self.admitted(list);
            }
            Kind::Tagged(Word::No, text) => {
                let reason = self.refused(text, all_said);
                self.fail_saying(reason, response);
            }
            Kind::Untagged(Word::Bye, _) => self.fail_saying(Reason::BackendBye, response),
            Kind::Untagged(Word::Capability, text) => *heard = Some(capability::read(text)),
            Kind::Untagged(..) => {}
            // An OK to half a login is none.
            Kind::Foreign | Kind::Tagged(..) => self.fail_saying(Reason::BackendProtocol, response),
        }
    }

    /// What a NO means. Only a code that says so, or none at all, speaks of the secret; and nothing
    /// does that comes before the secret was sent.
    fn refused(&self, text: &[u8], all_said: bool) -> Reason {
        let code = code(text).map(|(name, _)| name);
        match code.as_deref() {
            None | Some(b"AUTHENTICATIONFAILED" | b"AUTHORIZATIONFAILED") if all_said => {
                self.login.whose.refused()
            }
            None => Reason::BackendLoginDisabled,
            _ => Reason::BackendUnavailable,
        }
    }

    fn admitted(&mut self, list: Option<Vec<String>>) {
        if list.is_some() {
            return self.finish(list);
        }
        self.responses.count_anew();
        self.out.line(&[b"ph5 CAPABILITY"]);
        self.state = State::Asking { heard: None };
    }

    fn asking(&mut self, response: &Response) {
        let State::Asking { heard } = &mut self.state else {
            return;
        };
        match response.kind(CAPABILITY) {
            Kind::Tagged(_, text) => {
                let list = heard.take().or_else(|| capabilities_in(text));
                self.finish(list);
            }
            Kind::Untagged(Word::Bye, _) => self.fail_saying(Reason::BackendBye, response),
            Kind::Untagged(Word::Capability, text) => *heard = Some(capability::read(text)),
            Kind::Untagged(..) => self.kept.extend_from_slice(response.bytes()),
            Kind::Continue | Kind::Foreign => self.fail_saying(Reason::BackendProtocol, response),
        }
    }

    fn finish(&mut self, capabilities: Option<Vec<String>>) {
        self.state = State::Ended;
        self.out.event(Event::LoggedIn(Welcome { capabilities }));
    }

    fn fail_saying(&mut self, reason: Reason, response: &Response) {
        self.fail(Failure::said(reason, response.text()), response.bytes());
    }

    fn fail(&mut self, failure: Failure, said: &[u8]) {
        self.state = State::Ended;
        self.out.event(failure.into_event(said, &self.login));
    }
}

impl Machine for Back {
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
            (_, Answer::TlsStarted) => {}
        }
    }

    fn step(&mut self) -> Step<Event> {
        while !self.out.has_event() && self.proceed() {}
        self.out.next()
    }
}

impl fmt::Debug for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Back").field("login", &self.login).finish_non_exhaustive()
    }
}

fn literals(list: &[String]) -> Literals {
    if contains(list, "LITERAL+") {
        Literals::Plus
    } else if contains(list, "LITERAL-") || contains(list, "IMAP4rev2") {
        Literals::Minus
    } else {
        Literals::Synchronizing
    }
}

/// RFC 3501 section 6.2.2 and, with an initial response, RFC 4959.
fn authenticate_plain(login: &Login, initial_response: bool) -> Parts {
    let message = sasl::plain(&login.user, &login.secret);
    let command = format!("{LOGIN} AUTHENTICATE PLAIN");
    if initial_response {
        let parts = [command.as_bytes(), b" ", message.as_bytes(), b"\r\n"];
        return [Zeroizing::new(parts.concat())].into();
    }
    let first = Zeroizing::new([command.as_bytes(), b"\r\n"].concat());
    [first, Zeroizing::new([message.as_bytes(), b"\r\n"].concat())].into()
}

/// RFC 3501 section 6.2.3: one part, or one more for each literal that has to wait.
fn login_command(login: &Login, literals: Literals) -> Parts {
    let (user, secret) = (login.user.as_str().as_bytes(), login.secret.reveal());
    // Sized beforehand: growing would leave copies behind.
    let empty = || Zeroizing::new(Vec::with_capacity(user.len() + secret.len() + 64));
    let mut parts = Parts::new();
    let mut part = empty();
    part.extend_from_slice(LOGIN.as_bytes());
    part.extend_from_slice(b" LOGIN");
    for argument in [user, secret] {
        part.push(b' ');
        if write_string(&mut part, argument, literals) {
            parts.push_back(std::mem::replace(&mut part, empty()));
            part.extend_from_slice(argument);
        }
    }
    part.extend_from_slice(b"\r\n");
    parts.push_back(part);
    parts
}
