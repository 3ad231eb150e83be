//! IMAP towards back ends: from the greeting to the verdict on our login.
//!
//! Nothing here knows the client. What the back end says before its verdict is not passed on.

use std::collections::VecDeque;
use std::fmt;

use model::{Reason, Secret};
use zeroize::Zeroizing;

use super::capability;
use super::opening::{Opening, Progress, Source, TOO_MUCH, capabilities_in};
use super::responses::{Kind, Next, Response, Responses, Word, code, words};
use super::syntax::{Literals, write_string};
use crate::back::{Answer, Event, Failure, How, Login, Parts, Presented, Settings, refused};
use crate::capability::contains;
use crate::front::{Said, Text, Welcome};
use crate::outbox::Outbox;
use crate::sasl::{Challenge, TokenMechanism};
use crate::{Machine, Step};

/// Tags of our own commands; the opening has others.
const LOGIN: &str = "ph4";
const CAPABILITY: &str = "ph5";
const ID: &str = "ph7";
const CLIENT_ID: &str = "ph8";

/// The longest AUTHENTICATE with an initial response, with its line end. RFC 7162 section 4 asks servers to
/// take as much.
const MAX_COMMAND: usize = 8192;

/// The machine for one connection to a back end.
pub struct Back {
    settings: Settings,
    presented: Presented,
    responses: Responses,
    out: Outbox<Event>,
    state: State,
    /// Whether the back end listed UNAUTHENTICATE before login.
    unauthenticate: bool,
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
    LoggingIn(Attempt),
    Opening(Opening),
}

/// A login on its way.
struct Attempt {
    /// What is to be told of the client first: tags, and ID's lists.
    unsaid: VecDeque<(&'static str, String)>,
    /// The tags of what has been told and not been answered.
    unanswered: VecDeque<&'static str>,
    /// What is to be sent of the login.
    parts: Parts,
    /// The mechanism, if it carries a token and its challenge has not come.
    token: Option<TokenMechanism>,
    challenge: Option<Challenge>,
    heard: Option<Vec<String>>,
}

impl Back {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings, login: Login) -> Self {
        let opening = Opening::new(settings.tls, Source::Greeting);
        Self {
            settings,
            presented: Presented::new(login),
            responses: Responses::default(),
            out: Outbox::default(),
            state: State::Opening(opening),
            unauthenticate: false,
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
            State::Asking { .. } | State::LoggingIn(_) => match self.responses.next() {
                Next::Incomplete => false,
                Next::Response(response) => {
                    match self.state {
                        State::LoggingIn(_) => self.verdict(&response),
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
        self.unauthenticate = contains(list, "UNAUTHENTICATE");
        let login = &self.presented.login;
        let offers = |name: &str| contains(list, &format!("AUTH={name}"));
        let (parts, token) = match (login.choose(self.settings.server.as_ref(), offers), &login.how)
        {
            (Some(sasl), _) => {
                self.presented.by(&sasl);
                let command = format!("{LOGIN} AUTHENTICATE {}", sasl.name);
                let limit = if contains(list, "SASL-IR") { MAX_COMMAND } else { 0 };
                (sasl.parts(&command, limit), sasl.token)
            }
            (None, How::Password(secret)) if !contains(list, "LOGINDISABLED") => {
                (login_command(login, secret, literals(list)), None)
            }
            (None, _) => return self.fail(login.no_way(), b""),
        };
        let unsaid = if contains(list, "ID") { self.ids() } else { VecDeque::new() };
        let (unanswered, challenge, heard) = (VecDeque::new(), None, None);
        let attempt = Attempt { unsaid, unanswered, parts, token, challenge, heard };
        self.state = State::LoggingIn(attempt);
        self.say();
    }

    /// What the back end is told of the client. Ours comes first, for only the first ID of a session counts.
    fn ids(&self) -> VecDeque<(&'static str, String)> {
        let Settings { identity, client_id, .. } = &self.settings;
        let ours = identity.as_ref().map(|identity| (ID, identity.id_list()));
        let client_s = client_id.as_ref().map(|id| (CLIENT_ID, id.as_str().to_owned()));
        ours.into_iter().chain(client_s).collect()
    }

    /// Says what can be said now: of the client, and then the first part of the login.
    fn say(&mut self) {
        let State::LoggingIn(attempt) = &mut self.state else {
            return;
        };
        while let Some((tag, list)) = attempt.unsaid.pop_front() {
            self.out.line(&[tag.as_bytes(), b" ID ", list.as_bytes()]);
            attempt.unanswered.push_back(tag);
            if !self.settings.pipelining {
                return;
            }
        }
        if let Some(part) = attempt.parts.pop_front() {
            self.out.bytes(&part);
        }
    }

    fn verdict(&mut self, response: &Response) {
        let State::LoggingIn(attempt) = &mut self.state else {
            return;
        };
        let unanswered = attempt.unanswered.front().copied();
        let kind = response.kind(unanswered.unwrap_or(LOGIN));
        match (kind, unanswered) {
            (Kind::Untagged(Word::Bye, _), _) => self.fail_saying(Reason::BackendBye, response),
            (Kind::Untagged(Word::Capability, text), _) => {
                attempt.heard = Some(capability::read(text));
            }
            (Kind::Untagged(..), _) => {}
            (Kind::Tagged(word, text), Some(_)) => self.told(word, text, response),
            (Kind::Tagged(Word::Ok, text), None) if attempt.parts.is_empty() => {
                let list = capabilities_in(text).or_else(|| attempt.heard.take());
                self.admitted(list);
            }
            (Kind::Tagged(Word::No, text), None) => self.denied(text, response),
            (Kind::Continue(challenge), None) => self.asked_on(challenge, response),
            // An OK to half a login is none, and one that comes before its turn neither.
            (Kind::Continue(_) | Kind::Foreign | Kind::Tagged(..), _) => {
                self.fail_saying(Reason::BackendProtocol, response);
            }
        }
    }

    /// The answer to an ID.
    fn told(&mut self, word: Word, text: &[u8], response: &Response) {
        let State::LoggingIn(attempt) = &mut self.state else {
            return;
        };
        attempt.unanswered.pop_front();
        let code = code(text).map(|(name, _)| name);
        if word == Word::No && code.as_deref() == Some(b"SERVERBUG") {
            // So Dovecot says that it is not set up for this; the next time is no better.
            return self.fail_saying(Reason::BackendIdentity, response);
        }
        if word != Word::Ok {
            self.out.event(self.presented.identity_refused(response.text()));
        }
        if !self.settings.pipelining {
            self.say();
        }
    }

    /// The back end wants the next part, or says why it refuses a token.
    fn asked_on(&mut self, challenge: &[u8], response: &Response) {
        let State::LoggingIn(attempt) = &mut self.state else {
            return;
        };
        if !attempt.parts.is_empty() {
            return self.say();
        }
        let Some(token) = attempt.token.take() else {
            return self.fail_saying(Reason::BackendProtocol, response);
        };
        attempt.challenge = Challenge::read(challenge);
        self.out.line(&[token.answer_to_challenge().as_bytes()]);
    }

    /// A NO to the login.
    fn denied(&mut self, text: &[u8], response: &Response) {
        let State::LoggingIn(attempt) = &mut self.state else {
            return;
        };
        let code = code(text).map(|(name, _)| name);
        let reason = refused(code.as_deref(), self.presented.login.whose, attempt.parts.is_empty());
        let alert = code.as_deref() == Some(b"ALERT");
        let said =
            Said { challenge: attempt.challenge.take(), text: Text::new(words(text), alert) };
        let failure = Failure::said(reason, response.text()).telling(said);
        self.fail(failure, response.bytes());
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
            Kind::Continue(_) | Kind::Foreign => {
                self.fail_saying(Reason::BackendProtocol, response)
            }
        }
    }

    fn finish(&mut self, capabilities: Option<Vec<String>>) {
        self.state = State::Ended;
        let after = capabilities.as_deref().unwrap_or_default();
        let unauthenticate = self.unauthenticate || contains(after, "UNAUTHENTICATE");
        self.out.event(Event::LoggedIn(Welcome { capabilities, unauthenticate }));
    }

    fn fail_saying(&mut self, reason: Reason, response: &Response) {
        self.fail(Failure::said(reason, response.text()), response.bytes());
    }

    fn fail(&mut self, failure: Failure, said: &[u8]) {
        self.state = State::Ended;
        self.out.event(failure.into_event(said, &self.presented));
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
        f.debug_struct("Back").field("login", &self.presented.login).finish_non_exhaustive()
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

/// RFC 3501 section 6.2.3: one part, or one more for each literal that has to wait.
fn login_command(login: &Login, secret: &Secret, literals: Literals) -> Parts {
    let (user, secret) = (login.user.as_str().as_bytes(), secret.reveal());
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
