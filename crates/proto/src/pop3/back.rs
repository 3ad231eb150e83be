//! POP3 towards back ends: from the greeting to the verdict on our login.
//!
//! Nothing here knows the client.

use std::fmt;

use model::{Reason, Secret};
use zeroize::Zeroizing;

use super::capability;
use super::opening::{Opening, Progress, TOO_MUCH};
use super::responses::{Capa, CapaReader, Next, Responses, Status, words};
use crate::back::{Answer, Event, Failure, How, Login, Parts, Presented, Settings, refused};
use crate::front::{Said, Text, Welcome};
use crate::outbox::Outbox;
use crate::sasl::{Challenge, TokenMechanism};
use crate::{Machine, Step};

/// The longest command that every server takes, with its line end (RFC 2449 section 4).
const MAX_COMMAND: usize = 255;

/// The machine for one connection to a back end.
pub struct Back {
    settings: Settings,
    presented: Presented,
    responses: Responses,
    out: Outbox<Event>,
    state: State,
    xclient: Xclient,
}

/// How far the back end has been told of the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Xclient {
    /// Told or not to be told.
    Done,
    /// The next line is its answer.
    Unanswered,
}

enum State {
    Asking(CapaReader),
    /// An event has been given that ends the machine's work.
    Ended,
    LoggingIn(Attempt),
    Opening(Opening),
    /// The login waits for the answer to XCLIENT.
    Telling,
}

/// A login on its way.
struct Attempt {
    form: Form,
    parts: Parts,
    /// The mechanism, if it carries a token and its challenge has not come.
    token: Option<TokenMechanism>,
    challenge: Option<Challenge>,
}

/// The form of a login, which says with which word the back end asks for the next part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Auth,
    UserPass,
}

impl Back {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings, login: Login) -> Self {
        let opening = Opening::new(settings.tls);
        Self {
            settings,
            presented: Presented::new(login),
            responses: Responses::default(),
            out: Outbox::default(),
            state: State::Opening(opening),
            xclient: Xclient::Done,
        }
    }

    /// What the back end sent behind its verdict, byte for byte.
    pub fn into_rest(self) -> Vec<u8> {
        self.responses.into_rest()
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        match &mut self.state {
            State::Asking(_) | State::LoggingIn(_) | State::Telling => self.read_line(),
            State::Ended => false,
            State::Opening(opening) => {
                let progress = opening.proceed(&mut self.responses);
                self.open(progress)
            }
        }
    }

    fn open(&mut self, progress: Progress) -> bool {
        match progress {
            Progress::Failed(failure) => self.fail(failure, b""),
            Progress::Incomplete => return false,
            Progress::Opened { xclient } => self.opened(xclient),
            Progress::Say(line) => self.out.line(&[line.as_bytes()]),
            Progress::StartTls => self.out.event(Event::StartTls),
        }
        true
    }

    fn opened(&mut self, xclient: bool) {
        if let Some(identity) = self.settings.identity.as_ref().filter(|_| xclient) {
            self.out.line(&[identity.xclient().as_bytes()]);
            self.xclient = Xclient::Unanswered;
            if !self.settings.pipelining {
                self.state = State::Telling;
                return;
            }
        }
        self.begin();
    }

    fn begin(&mut self) {
        let login = &self.presented.login;
        match &login.how {
            How::Password(secret) if is_plain(login, secret) => {
                self.log_in(Form::UserPass, user_pass(login, secret), None);
            }
            _ => {
                self.out.line(&[b"CAPA"]);
                self.state = State::Asking(CapaReader::default());
            }
        }
    }

    fn read_line(&mut self) -> bool {
        match self.responses.next() {
            Next::Incomplete => return false,
            Next::Line(line) if self.xclient == Xclient::Unanswered => self.told(&line),
            Next::Line(line) => match &mut self.state {
                State::Asking(reader) => {
                    let capa = reader.read(&line);
                    self.asked(capa, &line);
                }
                _ => self.verdict(&line),
            },
            Next::TooMuch => self.fail(Failure::seen(Reason::BackendProtocol, TOO_MUCH), b""),
        }
        true
    }

    /// The answer to XCLIENT. An OK proves nothing, and a refusal is no reason to keep the user out.
    fn told(&mut self, line: &[u8]) {
        self.xclient = Xclient::Done;
        match Status::read(line) {
            Status::Ok => {}
            Status::Err { .. } => self.out.event(self.presented.identity_refused(line)),
            Status::Continue | Status::Other => {
                return self.fail(Failure::said(Reason::BackendProtocol, line), line);
            }
        }
        if matches!(self.state, State::Telling) {
            self.begin();
        }
    }

    fn asked(&mut self, capa: Capa, line: &[u8]) {
        let list = match capa {
            Capa::List(list) => list,
            Capa::More => return,
            Capa::Nonsense => {
                return self.fail(Failure::said(Reason::BackendProtocol, line), line);
            }
        };
        let login = &self.presented.login;
        let offers = |name: &str| capability::has_mechanism(&list, name);
        match (login.choose(self.settings.server.as_ref(), offers), &login.how) {
            (Some(sasl), _) => {
                self.presented.by(&sasl);
                let parts = sasl.parts(&format!("AUTH {}", sasl.name), MAX_COMMAND);
                self.log_in(Form::Auth, parts, sasl.token);
            }
            // PASS takes the rest of its line as it is, whatever its bytes.
            (None, How::Password(secret)) if !has_line_end(secret.reveal()) => {
                self.log_in(Form::UserPass, user_pass(login, secret), None);
            }
            (None, _) => self.fail(login.no_way(), b""),
        }
    }

    fn log_in(&mut self, form: Form, parts: Parts, token: Option<TokenMechanism>) {
        self.state = State::LoggingIn(Attempt { form, parts, token, challenge: None });
        self.say_part();
    }

    fn say_part(&mut self) {
        if let State::LoggingIn(Attempt { parts, .. }) = &mut self.state
            && let Some(part) = parts.pop_front()
        {
            self.out.bytes(&part);
        }
    }

    fn verdict(&mut self, line: &[u8]) {
        let State::LoggingIn(attempt) = &mut self.state else {
            return;
        };
        let all_said = attempt.parts.is_empty();
        match (Status::read(line), attempt.form) {
            (Status::Ok, _) if all_said => {
                self.state = State::Ended;
                self.out.event(Event::LoggedIn(Welcome::default()));
            }
            (Status::Ok, Form::UserPass) | (Status::Continue, Form::Auth) if !all_said => {
                self.say_part();
            }
            (Status::Continue, Form::Auth) if attempt.token.is_some() => self.challenged(line),
            (Status::Err { code }, _) => self.denied(code.as_deref(), all_said, line),
            _ => self.fail(Failure::said(Reason::BackendProtocol, line), line),
        }
    }

    /// The back end says why it refuses a token.
    fn challenged(&mut self, line: &[u8]) {
        if let State::LoggingIn(attempt) = &mut self.state
            && let Some(token) = attempt.token.take()
        {
            attempt.challenge = Challenge::read(words(line));
            self.out.line(&[token.answer_to_challenge().as_bytes()]);
        }
    }

    fn denied(&mut self, code: Option<&[u8]>, all_said: bool, line: &[u8]) {
        let reason = refused(code, self.presented.login.whose, all_said);
        let challenge = match &mut self.state {
            State::LoggingIn(attempt) => attempt.challenge.take(),
            _ => None,
        };
        let said = Said { challenge, text: Text::new(words(line), false) };
        self.fail(Failure::said(reason, line).telling(said), line);
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
            (State::Opening(opening), Answer::TlsStarted) => opening.tls_started(),
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

/// Whether every server understands USER and PASS with this name and secret.
fn is_plain(login: &Login, secret: &Secret) -> bool {
    let (user, secret) = (login.user.as_str().as_bytes(), secret.reveal());
    let fits = user.len().max(secret.len()) + "USER \r\n".len() <= MAX_COMMAND;
    fits && user.iter().all(u8::is_ascii_graphic)
        && secret.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

fn has_line_end(bytes: &[u8]) -> bool {
    bytes.contains(&b'\r') || bytes.contains(&b'\n')
}

/// RFC 1939 section 7.
fn user_pass(login: &Login, secret: &Secret) -> Parts {
    let user = [b"USER ", login.user.as_str().as_bytes(), b"\r\n"].concat();
    let pass = [b"PASS ", secret.reveal(), b"\r\n"].concat();
    [Zeroizing::new(user), Zeroizing::new(pass)].into()
}
