//! POP3 towards clients: everything before login (RFC 1939 section 4 and 7).
//!
//! Nothing here checks a password or knows a back end. Nothing is read behind a login until its
//! owner has refused it. There is no APOP: it would need the password itself.

use std::fmt;

use model::{Credentials, Mechanism, Protocol, Reason, Refusal};
use zeroize::Zeroizing;

use super::capability;
use crate::buffer::{Buffer, Line, first_line};
use crate::front::{
    Answer, Event, Privacy, Said, Settings, TLS_HANDSHAKE, is_http, is_loop, line_limit,
};
use crate::identity::Claims;
use crate::outbox::Outbox;
use crate::sasl::{self, Exchange, Outcome};
use crate::{Machine, Step, farewell, refusal};

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
    /// Through how many proxies the connection may still go, as the peer says.
    ttl: Option<u8>,
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
    Deciding {
        mechanism: Mechanism,
    },
    /// The client answers the challenge that says why its token is refused; then it is told so.
    Failing {
        refusal: Refusal,
        said: Said,
    },
    /// The owner makes TLS.
    Handshake,
    /// The owner looks for what SCRAM needs.
    Looking(Exchange),
    /// The owner refuses a client that has proved nothing.
    Refusing,
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
            ttl: None,
        };
        let greeting = front.settings.greeting();
        // Only by this a proxy knows that we believe it: an OK to XCLIENT proves nothing.
        let code = if front.settings.trusted { "[XCLIENT] " } else { "" };
        front.ok(&format!("{code}{greeting}"));
        front
    }

    /// What the client sent behind its login, byte for byte.
    pub fn into_rest(self) -> Vec<u8> {
        self.buffer.into_rest()
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        let commands = match self.state {
            State::Authenticating(_) | State::Failing { .. } => false,
            State::Commands { .. } => true,
            State::Closed
            | State::Deciding { .. }
            | State::Handshake
            | State::Looking(_)
            | State::Refusing
            | State::Welcomed => return false,
        };
        let unread = self.buffer.unread();
        let first = commands && self.commands == 0;
        if first && unread.first() == Some(&TLS_HANDSHAKE) {
            return self.close_silently(Reason::ClientProtocol);
        }
        let limits = &self.settings.limits;
        let limit = line_limit(unread, limits, |start| !commands || is_auth(start));
        let line = match first_line(unread, limit) {
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
            b"XCLIENT" if self.settings.trusted => self.xclient(argument.unwrap_or_default()),
            name if AFTER_LOGIN.contains(&name) => self.err("Log in first"),
            _ => self.err("Unknown command"),
        }
    }

    /// RFC 1939 section 7. The answer is the same for every name.
    fn user(&mut self, name: &[u8]) -> bool {
        if self.settings.privacy == Privacy::ClearRefused {
            return self.refuse_ourselves(Reason::ClientClearText);
        }
        if !self.settings.taken().contains(Mechanism::Command) {
            return self.err("USER is disabled");
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
            return self.refuse(Refusal::PrivacyRequired, &Said::default());
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
            let list: Vec<_> = self.settings.taken().sasl_names().collect();
            return self.list("Mechanisms follow", &list);
        }
        let Settings { mechanisms, certificate, bindings, .. } = &self.settings;
        let begun = Exchange::begin(mechanism, *mechanisms, certificate.as_ref(), bindings);
        let Some(mut exchange) = begun else {
            return self.err("Unsupported mechanism");
        };
        if clear_refused {
            return self.refuse_ourselves(Reason::ClientClearText);
        }
        let outcome = match words.next().unwrap_or_default() {
            b"" => Outcome::Challenge(exchange.challenge().into()),
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
            // Whatever it answers, cancelling included, it is refused (RFC 7628 section 3.2.3).
            State::Failing { refusal, said } => self.refuse(refusal, &said),
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
            Outcome::Unproven { user, reason } => {
                self.state = State::Refusing;
                self.out.event(Event::Unproven { user, reason });
                true
            }
            Outcome::Unusable => self.refuse_ourselves(Reason::ClientBadCredentials),
            Outcome::Verifier(_) if is_loop(self.ttl) => self.refuse_ourselves(Reason::Loop),
            Outcome::Verifier(user) => {
                self.state = State::Looking(exchange);
                self.out.event(Event::Verifier(user));
                true
            }
        }
    }

    /// RFC 2449 section 5.
    fn capa(&mut self) -> bool {
        let list = capability::before_login(&self.settings);
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

    /// What a proxy before us says of the client, in Dovecot's form.
    fn xclient(&mut self, arguments: &[u8]) -> bool {
        let Ok(claims) = Claims::in_xclient(arguments) else {
            return self.err("Invalid parameters");
        };
        self.ttl = claims.ttl;
        self.out.event(Event::Identity(claims));
        self.ok("Updated")
    }

    fn ask(&mut self, credentials: Credentials) -> bool {
        if is_loop(self.ttl) {
            return self.refuse_ourselves(Reason::Loop);
        }
        self.state = State::Deciding { mechanism: credentials.mechanism };
        self.out.event(Event::Login(credentials));
        true
    }

    fn refuse_ourselves(&mut self, reason: Reason) -> bool {
        self.out.event(Event::Refused(reason));
        self.refuse(reason.refusal(), &Said::default())
    }

    /// Refuses a login that the owner has judged: a token only after a challenge that says why, where it
    /// is the token's fault.
    fn refused(&mut self, mechanism: Mechanism, refusal: Refusal, said: Said) {
        match said.challenge_to(mechanism, refusal) {
            Some(challenge) => {
                self.out.line(&[b"+ ", challenge.as_str().as_bytes()]);
                self.state = State::Failing { refusal, said };
            }
            None => {
                self.state = State::Commands { user: None };
                self.refuse(refusal, &said);
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal, said: &Said) -> bool {
        let (code, text) = refusal::words(Protocol::Pop3, refusal);
        let text = self.settings.relayed(said).map_or(text, |text| text.as_str());
        if code.is_empty() {
            return self.err(text);
        }
        self.err(&format!("[{code}] {text}"))
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
        match (std::mem::replace(&mut self.state, State::Commands { user: None }), answer) {
            (State::Deciding { mechanism }, Answer::Refuse(refusal, said)) => {
                self.refused(mechanism, refusal, said);
            }
            (State::Deciding { .. }, Answer::Welcome(_)) => {
                self.state = State::Welcomed;
                self.ok("Logged in");
            }
            (State::Looking(mut exchange), Answer::Verifier(given)) => {
                let outcome = exchange.given(*given);
                self.authenticated(exchange, outcome);
            }
            (State::Looking(_) | State::Refusing, Answer::Refuse(refusal, said)) => {
                self.refuse(refusal, &said);
            }
            (State::Handshake, Answer::TlsStarted { certificate, bindings }) => {
                // What was said before TLS counts no more.
                self.buffer.clear();
                self.ttl = None;
                self.settings.tls_started(certificate, bindings);
            }
            (state, _) => self.state = state,
        }
    }

    fn step(&mut self) -> Step<Event> {
        while !self.out.has_event() && self.proceed() {}
        self.out.next()
    }
}

/// Whether a command line begins like AUTH, which can carry a SASL response.
fn is_auth(start: &[u8]) -> bool {
    start.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "))
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Authenticating(_) => "Front(Authenticating)",
            State::Closed => "Front(Closed)",
            State::Commands { .. } => "Front(Commands)",
            State::Deciding { .. } => "Front(Deciding)",
            State::Failing { .. } => "Front(Failing)",
            State::Handshake => "Front(Handshake)",
            State::Looking(_) => "Front(Looking)",
            State::Refusing => "Front(Refusing)",
            State::Welcomed => "Front(Welcomed)",
        })
    }
}
