//! POP3 towards back ends: from the greeting to the verdict on our login.
//!
//! Nothing here knows the client.

use std::fmt;

use model::Reason;
use zeroize::Zeroizing;

use super::capability;
use super::opening::{Opening, Progress, TOO_MUCH};
use super::responses::{Capa, CapaReader, Next, Responses, Status};
use crate::back::{Answer, Event, Failure, Login, Parts, Settings};
use crate::front::Welcome;
use crate::outbox::Outbox;
use crate::{Machine, Step, sasl};

/// The longest command that every server takes, with its line end (RFC 2449 section 4).
const MAX_COMMAND: usize = 255;

/// The machine for one connection to a back end.
pub struct Back {
    login: Login,
    responses: Responses,
    out: Outbox<Event>,
    state: State,
}

enum State {
    Asking(CapaReader),
    /// An event has been given that ends the machine's work.
    Ended,
    LoggingIn {
        form: Form,
        parts: Parts,
    },
    Opening(Opening),
}

/// The form of a login, which says with which word the back end asks for the next part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    AuthPlain,
    UserPass,
}

impl Back {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings, login: Login) -> Self {
        Self {
            login,
            responses: Responses::default(),
            out: Outbox::default(),
            state: State::Opening(Opening::new(settings.tls)),
        }
    }

    /// What the back end sent behind its verdict, byte for byte.
    pub fn into_rest(self) -> Vec<u8> {
        self.responses.into_rest()
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        match &mut self.state {
            State::Asking(_) | State::LoggingIn { .. } => self.read_line(),
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
            Progress::Opened if is_plain(&self.login) => self.log_in(Form::UserPass),
            Progress::Opened => {
                self.out.line(&[b"CAPA"]);
                self.state = State::Asking(CapaReader::default());
            }
            Progress::Say(line) => self.out.line(&[line.as_bytes()]),
            Progress::StartTls => self.out.event(Event::StartTls),
        }
        true
    }

    fn read_line(&mut self) -> bool {
        match self.responses.next() {
            Next::Incomplete => return false,
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

    fn asked(&mut self, capa: Capa, line: &[u8]) {
        match capa {
            Capa::List(list) if capability::has_plain(&list) => self.log_in(Form::AuthPlain),
            // PASS takes the rest of its line as it is, whatever its bytes.
            Capa::List(_) if !has_line_end(self.login.secret.reveal()) => {
                self.log_in(Form::UserPass);
            }
            Capa::List(_) => {
                let text = "the secret does not fit on a line, and there is no SASL PLAIN";
                self.fail(Failure::seen(Reason::BackendLoginDisabled, text), b"");
            }
            Capa::More => {}
            Capa::Nonsense => self.fail(Failure::said(Reason::BackendProtocol, line), line),
        }
    }

    fn log_in(&mut self, form: Form) {
        let parts = match form {
            Form::AuthPlain => auth_plain(&self.login),
            Form::UserPass => user_pass(&self.login),
        };
        self.state = State::LoggingIn { form, parts };
        self.say_part();
    }

    fn say_part(&mut self) {
        if let State::LoggingIn { parts, .. } = &mut self.state
            && let Some(part) = parts.pop_front()
        {
            self.out.bytes(&part);
        }
    }

    fn verdict(&mut self, line: &[u8]) {
        let State::LoggingIn { form, parts } = &self.state else {
            return;
        };
        let all_said = parts.is_empty();
        match (Status::read(line), form) {
            (Status::Ok, _) if all_said => {
                self.state = State::Ended;
                self.out.event(Event::LoggedIn(Welcome::default()));
            }
            (Status::Ok, Form::UserPass) | (Status::Continue, Form::AuthPlain) if !all_said => {
                self.say_part();
            }
            (Status::Err { code }, _) => {
                let reason = self.refused(code.as_deref(), all_said);
                self.fail(Failure::said(reason, line), line);
            }
            _ => self.fail(Failure::said(Reason::BackendProtocol, line), line),
        }
    }

    /// What a refusal means. Only the code AUTH, or none at all, speaks of the secret; and nothing
    /// does that comes before the secret was sent.
    fn refused(&self, code: Option<&[u8]>, all_said: bool) -> Reason {
        match code {
            None | Some(b"AUTH") if all_said => self.login.whose.refused(),
            None | Some(b"AUTH") => Reason::BackendLoginDisabled,
            Some(_) => Reason::BackendUnavailable,
        }
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
        f.debug_struct("Back").field("login", &self.login).finish_non_exhaustive()
    }
}

/// Whether every server understands USER and PASS with this name and secret.
fn is_plain(login: &Login) -> bool {
    let (user, secret) = (login.user.as_str().as_bytes(), login.secret.reveal());
    let fits = user.len().max(secret.len()) + "USER \r\n".len() <= MAX_COMMAND;
    fits && user.iter().all(u8::is_ascii_graphic)
        && secret.iter().all(|byte| matches!(byte, b' '..=b'~'))
}

fn has_line_end(bytes: &[u8]) -> bool {
    bytes.contains(&b'\r') || bytes.contains(&b'\n')
}

/// RFC 1939 section 7.
fn user_pass(login: &Login) -> Parts {
    let user = [b"USER ", login.user.as_str().as_bytes(), b"\r\n"].concat();
    let pass = [b"PASS ", login.secret.reveal(), b"\r\n"].concat();
    [Zeroizing::new(user), Zeroizing::new(pass)].into()
}

/// RFC 5034 section 4: with an initial response only if the command does not get too long.
fn auth_plain(login: &Login) -> Parts {
    let message = sasl::plain(&login.user, &login.secret);
    let whole = Zeroizing::new([b"AUTH PLAIN ", message.as_bytes(), b"\r\n"].concat());
    if whole.len() <= MAX_COMMAND {
        return [whole].into();
    }
    let response = Zeroizing::new([message.as_bytes(), b"\r\n"].concat());
    [Zeroizing::new(b"AUTH PLAIN\r\n".to_vec()), response].into()
}
