//! POP3 towards clients: everything before login (RFC 1939 section 4 and 7).
//!
//! Nothing here checks a password or knows a back end. Nothing is read behind a login until its
//! owner has refused it. There is no APOP: it would need the password itself.

use std::fmt;

use model::{Credentials, Mechanism, Protocol, Reason, Refusal};
use zeroize::Zeroizing;

use super::capability;
use crate::buffer::{Buffer, Line, first_line};
use crate::front::{Answer, Event, Privacy, Settings, TLS_HANDSHAKE, farewell, is_http};
use crate::outbox::Outbox;
use crate::sasl::{self, Exchange, MECHANISMS, Outcome};
use crate::{Machine, Step};

/// Commands that need a login, told from unknown ones to be of help.
const AFTER_LOGIN: [&[u8]; 10] =
    [b"DELE", b"LANG", b"LAST", b"LIST", b"RETR", b"RSET", b"STAT", b"TOP", b"UIDL", b"UTF8"];

/// The machine for one connection.
pub struct Front {
    settings: Settings,
    buffer: Buffer,
    out: Outbox<Event>,
    state: State,
    /// Commands so far.
    commands: u32,
}

enum State {
    /// The client answers a challenge.
    Authenticating(Exchange),
    Closed,
    /// Commands are read; `user` is what USER said.
    Commands {
        user: Option<Zeroizing<Vec<u8>>>,
    },
    /// The owner decides on a login.
    Deciding,
    /// The owner makes TLS.
    Handshake,
    Welcomed,
}

impl Front {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings) -> Self {
        let mut front = Self {
            settings,
            buffer: Buffer::default(),
            out: Outbox::default(),
            state: State::Commands { user: None },
            commands: 0,
        };
        let greeting = front.settings.greeting();
        front.ok(&greeting);
        front
    }

    /// What the client sent behind its login, byte for byte.
    pub fn into_rest(self) -> Vec<u8> {
        self.buffer.into_rest()
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        let commands = match self.state {
            State::Authenticating(_) => false,
            State::Commands { .. } => true,
            State::Closed | State::Deciding | State::Handshake | State::Welcomed => return false,
        };
        let unread = self.buffer.unread();
        let first = commands && self.commands == 0;
        if first && unread.first() == Some(&TLS_HANDSHAKE) {
            return self.close_silently(Reason::ClientProtocol);
        }
        let line = match first_line(unread, self.settings.limits.line) {
            Line::Incomplete => return false,
            Line::TooLong => return self.close(Reason::ClientLineTooLong),
            Line::Whole { text, whole } => self.buffer.take_line(text, whole),
        };
        if first && is_http(&line) {
            return self.close_silently(Reason::ClientProtocol);
        }
        if !commands {
            return self.response(&line);
        }
        if self.commands >= self.settings.limits.commands {
            return self.close(Reason::ClientTooManyCommands);
        }
        self.commands += 1;
        self.command(&line)
    }

    fn command(&mut self, line: &[u8]) -> bool {
        let (name, argument) = match line.iter().position(|byte| *byte == b' ') {
            Some(space) => (line.get(..space), line.get(space + 1..)),
            None => (Some(line), None),
        };
        match name.unwrap_or_default().to_ascii_uppercase().as_slice() {
            b"AUTH" => self.auth(argument.unwrap_or_default()),
            b"PASS" => self.pass(argument),
            b"USER" => self.user(argument.unwrap_or_default()),
            b"CAPA" | b"NOOP" | b"QUIT" | b"STLS" if !argument.unwrap_or_default().is_empty() => {
                self.err("This command has no arguments")
            }
            b"CAPA" => self.capa(),
            b"NOOP" => self.ok("Nothing done"),
            b"QUIT" => self.close(Reason::NoLogin),
            b"STLS" => self.stls(),
            name if AFTER_LOGIN.contains(&name) => self.err("Log in first"),
            _ => self.err("Unknown command"),
        }
    }

    /// RFC 1939 section 7. The answer is the same for every name.
    fn user(&mut self, name: &[u8]) -> bool {
        if self.settings.privacy == Privacy::ClearRefused {
            return self.refuse_ourselves(Reason::ClientClearText);
        }
        if name.is_empty() {
            return self.err("Missing name");
        }
        self.state = State::Commands { user: Some(Zeroizing::new(name.to_vec())) };
        self.ok("Now PASS")
    }

    /// RFC 1939 section 7: everything behind the first space is the password, spaces included.
    fn pass(&mut self, secret: Option<&[u8]>) -> bool {
        if self.settings.privacy == Privacy::ClearRefused {
            // USER has been refused already; this is no attempt of its own.
            return self.refuse(Refusal::PrivacyRequired);
        }
        let State::Commands { user: Some(user) } = &mut self.state else {
            return self.err("USER first");
        };
        let Some(secret) = secret else {
            return self.err("Missing password");
        };
        let user = std::mem::take(user);
        self.state = State::Commands { user: None };
        match sasl::credentials(Mechanism::Command, &user, secret) {
            Some(credentials) => self.ask(credentials),
            None => self.refuse_ourselves(Reason::ClientBadCredentials),
        }
    }

    /// RFC 5034 section 4; without an argument, the list that clients knew before RFC 2449.
    fn auth(&mut self, arguments: &[u8]) -> bool {
        let mut words = arguments.splitn(2, |byte| *byte == b' ');
        let mechanism = words.next().unwrap_or_default();
        let clear_refused = self.settings.privacy == Privacy::ClearRefused;
        if mechanism.is_empty() {
            let list = if clear_refused { [].as_slice() } else { &MECHANISMS };
            return self.list("Mechanisms follow", list);
        }
        let Some(mut exchange) = Exchange::begin(mechanism) else {
            return self.err("Unsupported mechanism");
        };
        if clear_refused {
            return self.refuse_ourselves(Reason::ClientClearText);
        }
        let outcome = match words.next().unwrap_or_default() {
            b"" => Outcome::Challenge(exchange.challenge()),
            response => exchange.initial_response(response),
        };
        self.authenticated(exchange, outcome)
    }

    fn response(&mut self, line: &[u8]) -> bool {
        match std::mem::replace(&mut self.state, State::Commands { user: None }) {
            State::Authenticating(mut exchange) => {
                let outcome = exchange.response(line);
                self.authenticated(exchange, outcome)
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    fn authenticated(&mut self, exchange: Exchange, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Cancelled => self.err("Authentication cancelled"),
            Outcome::Challenge(challenge) => {
                self.out.line(&[b"+ ", challenge.as_bytes()]);
                self.state = State::Authenticating(exchange);
                true
            }
            Outcome::Done(credentials) => self.ask(credentials),
            Outcome::NotBase64 => self.err("Invalid base64"),
            Outcome::Unusable => self.refuse_ourselves(Reason::ClientBadCredentials),
        }
    }

    /// RFC 2449 section 5.
    fn capa(&mut self) -> bool {
        let Settings { offer, privacy, starttls, .. } = &self.settings;
        let list = capability::before_login(offer, *privacy, *starttls);
        let list: Vec<_> = list.iter().map(String::as_str).collect();
        self.list("Capabilities follow", &list)
    }

    /// RFC 2595 section 4. What was pipelined behind STLS came in the clear and must never be read as
    /// if it had come over TLS (CVE-2011-0411).
    fn stls(&mut self) -> bool {
        if self.settings.privacy == Privacy::Tls {
            return self.err("TLS is on already");
        }
        if !self.settings.starttls {
            return self.err("TLS is not offered");
        }
        if !self.buffer.unread().is_empty() {
            return self.close(Reason::ClientStartTlsInjection);
        }
        self.state = State::Handshake;
        self.out.event(Event::StartTls);
        self.ok("Begin TLS")
    }

    fn ask(&mut self, credentials: Credentials) -> bool {
        self.state = State::Deciding;
        self.out.event(Event::Login(credentials));
        true
    }

    fn refuse_ourselves(&mut self, reason: Reason) -> bool {
        self.out.event(Event::Refused(reason));
        self.refuse(reason.refusal())
    }

    /// The one place where a refused login is put into words (RFC 2449 section 8, RFC 3206). For
    /// privacy there is no code: AUTH would make clients forget a good password.
    fn refuse(&mut self, refusal: Refusal) -> bool {
        self.err(match refusal {
            Refusal::AuthenticationFailed => "[AUTH] Authentication failed",
            Refusal::PrivacyRequired => "Log in under TLS only",
            Refusal::Unavailable => "[SYS/TEMP] Try again later",
        })
    }

    fn list(&mut self, title: &str, lines: &[&str]) -> bool {
        self.ok(title);
        for line in lines {
            self.out.line(&[line.as_bytes()]);
        }
        self.out.line(&[b"."]);
        true
    }

    fn ok(&mut self, text: &str) -> bool {
        self.out.line(&[b"+OK ", text.as_bytes()]);
        true
    }

    fn err(&mut self, text: &str) -> bool {
        self.out.line(&[b"-ERR ", text.as_bytes()]);
        true
    }

    fn close(&mut self, reason: Reason) -> bool {
        self.out.bytes(&farewell(Protocol::Pop3, reason));
        self.close_silently(reason)
    }

    fn close_silently(&mut self, reason: Reason) -> bool {
        self.buffer.clear();
        self.state = State::Closed;
        self.out.event(Event::Closed(reason));
        true
    }
}

impl Machine for Front {
    type Event = Event;
    type Answer = Answer;

    fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Closed) {
            self.buffer.receive(bytes);
        }
    }

    fn answer(&mut self, answer: Answer) {
        match (&self.state, answer) {
            (State::Deciding, Answer::Refuse(refusal)) => {
                self.state = State::Commands { user: None };
                self.refuse(refusal);
            }
            (State::Deciding, Answer::Welcome(_)) => {
                self.state = State::Welcomed;
                self.ok("Logged in");
            }
            (State::Handshake, Answer::TlsStarted) => {
                // What was said before TLS counts no more.
                self.buffer.clear();
                self.settings.privacy = Privacy::Tls;
                self.state = State::Commands { user: None };
            }
            _ => {}
        }
    }

    fn step(&mut self) -> Step<Event> {
        while !self.out.has_event() && self.proceed() {}
        self.out.next()
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Authenticating(_) => "Front(Authenticating)",
            State::Closed => "Front(Closed)",
            State::Commands { .. } => "Front(Commands)",
            State::Deciding => "Front(Deciding)",
            State::Handshake => "Front(Handshake)",
            State::Welcomed => "Front(Welcomed)",
        })
    }
}
