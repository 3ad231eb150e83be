//! IMAP towards clients: everything before login (RFC 3501 section 6.1 and 6.2).
//!
//! Nothing here checks a password or knows a back end. Nothing is read behind a login until its
//! owner has refused it.

use std::fmt;

use model::{Credentials, Mechanism, Protocol, Reason, Refusal};
use zeroize::Zeroizing;

use super::capability;
use super::commands::{Head, head, is_authenticate, needs_login};
use super::syntax::{Announced, Command, Framed, Framer, Words};
use crate::buffer::{Buffer, Line, first_line};
use crate::front::{
    Answer, Event, Privacy, Said, Settings, TLS_HANDSHAKE, Welcome, is_http, is_loop, line_limit,
};
use crate::identity::{Claims, ClientId};
use crate::outbox::Outbox;
use crate::sasl::{self, Exchange, Outcome};
use crate::{Machine, Step, farewell, refusal};

/// The machine for one connection.
pub struct Front {
    settings: Settings,
    buffer: Buffer,
    framer: Framer,
    out: Outbox<Event>,
    state: State,
    /// Commands so far.
    commands: u32,
    /// Whether the client asked for our capabilities: it then may not look at a response code.
    asked: Asked,
    /// Whether an ID has come: only the first one can say who the client is.
    identified: Identified,
    /// Through how many proxies the connection may still go, as the peer says.
    ttl: Option<u8>,
    /// What the client said of itself.
    client_id: Option<ClientId>,
}

/// Whether an ID has come over the connection as it is now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Identified {
    No,
    Yes,
}

/// Whether the client has sent CAPABILITY over the connection as it is now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    No,
    Yes,
}

#[derive(Debug)]
enum State {
    /// The client answers a challenge.
    Authenticating {
        tag: Vec<u8>,
        exchange: Exchange,
    },
    Closed,
    Commands,
    /// The owner looks for what SCRAM needs.
    Looking {
        tag: Vec<u8>,
        exchange: Exchange,
    },
    /// The owner decides on a login.
    Deciding {
        tag: Vec<u8>,
        mechanism: Mechanism,
    },
    /// The client answers the challenge that says why its token is refused; then it is told so.
    Failing {
        tag: Vec<u8>,
        refusal: Refusal,
        said: Said,
    },
    /// The owner makes TLS.
    Handshake,
    /// The owner refuses a client that has proved nothing.
    Refusing {
        tag: Vec<u8>,
    },
    Welcomed,
}

impl Front {
    /// Makes the machine for a new connection.
    pub fn new(settings: Settings) -> Self {
        let mut front = Self {
            settings,
            buffer: Buffer::default(),
            framer: Framer::default(),
            out: Outbox::default(),
            state: State::Commands,
            commands: 0,
            asked: Asked::No,
            identified: Identified::No,
            ttl: None,
            client_id: None,
        };
        let greeting = format!("* OK [CAPABILITY {}] {}", front.offer(), front.settings.greeting());
        front.out.line(&[greeting.as_bytes()]);
        front
    }

    /// What the client said of itself in ID.
    pub fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// What the client sent behind its login, byte for byte.
    pub fn into_rest(self) -> Vec<u8> {
        self.buffer.into_rest()
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        match self.state {
            State::Authenticating { .. } | State::Failing { .. } => self.read_response(),
            State::Commands => self.read_command(),
            State::Closed
            | State::Deciding { .. }
            | State::Handshake
            | State::Looking { .. }
            | State::Refusing { .. }
            | State::Welcomed => false,
        }
    }

    fn read_command(&mut self) -> bool {
        let unread = self.buffer.unread();
        if self.commands == 0 && unread.first() == Some(&TLS_HANDSHAKE) {
            return self.close_silently(Reason::ClientProtocol);
        }
        let framed =
            self.framer.next(unread, line_limit(unread, &self.settings.limits, is_authenticate));
        match framed {
            Framed::Incomplete => return false,
            Framed::LineTooLong => return self.close(Reason::ClientLineTooLong),
            Framed::Announced(_) | Framed::Misplaced | Framed::Whole => {}
        }
        if self.commands == 0 && is_http(self.framer.so_far(self.buffer.unread())) {
            return self.close_silently(Reason::ClientProtocol);
        }
        if self.commands >= self.settings.limits.commands {
            return self.close(Reason::ClientTooManyCommands);
        }
        match framed {
            Framed::Announced(literal) => self.announced(literal),
            Framed::Misplaced => self.close(Reason::ClientProtocol),
            _ => {
                let command = self.framer.take(&mut self.buffer);
                self.command(&command)
            }
        }
    }

    /// Decides on a literal that the client announces.
    fn announced(&mut self, literal: Announced) -> bool {
        let limit = self.settings.limits.literal;
        let in_all = self.framer.in_literals().saturating_add(literal.size);
        // Two full literals in a command: a name and a password.
        let too_long = literal.size > limit || in_all > limit.saturating_mul(2);
        if !literal.synchronizing {
            if too_long {
                // Its bytes come anyway, and would be read as commands.
                return self.close(Reason::ClientLiteralTooLong);
            }
            self.framer.accept(literal.size);
            return true;
        }
        let wanted = self.wants_literals();
        if wanted && !too_long {
            self.framer.accept(literal.size);
            self.out.line(&[b"+ OK"]);
            return true;
        }
        // Without our word the client keeps the literal to itself, and the command ends here.
        let command = self.framer.take(&mut self.buffer);
        if !wanted {
            return self.command(&command);
        }
        self.commands += 1;
        let tag = command.words().tag().unwrap_or(b"*").to_vec();
        self.reply(&tag, "NO [TOOBIG] Literal too long")
    }

    /// Whether the command at hand can have literals, and is not refused anyway.
    fn wants_literals(&self) -> bool {
        let mut words = Words::of_text(self.framer.so_far(self.buffer.unread()));
        match head(&mut words) {
            Head::Command { name, .. } if name.eq_ignore_ascii_case(b"ID") => true,
            Head::Command { name, .. } if name.eq_ignore_ascii_case(b"LOGIN") => {
                self.settings.taken().contains(Mechanism::Command)
            }
            _ => false,
        }
    }

    fn command(&mut self, command: &Command) -> bool {
        self.commands += 1;
        let mut words = command.words();
        match head(&mut words) {
            Head::Command { tag, name } => self.named(tag, &name.to_ascii_uppercase(), words),
            Head::NoName { tag } => self.reply(tag, "BAD Missing command"),
            Head::NoTag => self.reply(b"*", "BAD Missing tag"),
        }
    }

    fn named(&mut self, tag: &[u8], name: &[u8], words: Words<'_>) -> bool {
        match name {
            b"AUTHENTICATE" => self.authenticate(tag, words),
            b"ID" => self.id(tag, words),
            b"LOGIN" => self.login(tag, words),
            b"CAPABILITY" | b"LOGOUT" | b"NOOP" | b"STARTTLS" if !words.at_end() => {
                self.reply(tag, "BAD This command has no arguments")
            }
            b"CAPABILITY" => {
                self.asked = Asked::Yes;
                let offer = self.offer();
                self.out.line(&[b"* CAPABILITY ", offer.as_bytes()]);
                self.reply(tag, "OK CAPABILITY completed")
            }
            b"LOGOUT" => self.logout(tag),
            b"NOOP" => self.reply(tag, "OK NOOP completed"),
            b"STARTTLS" => self.starttls(tag),
            name if needs_login(name) => self.reply(tag, "BAD Log in first"),
            _ => self.reply(tag, "BAD Unknown command"),
        }
    }

    /// RFC 3501 section 6.2.2, with the initial response of RFC 4959.
    fn authenticate(&mut self, tag: &[u8], mut words: Words<'_>) -> bool {
        let Some(mechanism) = words.byte(b' ').and_then(|()| words.atom()) else {
            return self.reply(tag, "BAD Missing mechanism");
        };
        let Settings { mechanisms, certificate, bindings, .. } = &self.settings;
        let begun = Exchange::begin(mechanism, *mechanisms, certificate.as_ref(), bindings);
        let Some(mut exchange) = begun else {
            return self.reply(tag, "NO Unsupported mechanism");
        };
        if self.settings.privacy == Privacy::ClearRefused {
            return self.refuse_ourselves(tag, Reason::ClientClearText);
        }
        let outcome = if words.at_end() {
            Outcome::Challenge(exchange.challenge().into())
        } else if words.byte(b' ').is_some() {
            exchange.initial_response(words.rest())
        } else {
            return self.reply(tag, "BAD Wrong arguments");
        };
        self.authenticated(tag.to_vec(), exchange, outcome)
    }

    fn read_response(&mut self) -> bool {
        let line = match first_line(self.buffer.unread(), self.settings.limits.sasl_line) {
            Line::Incomplete => return false,
            Line::TooLong => return self.close(Reason::ClientLineTooLong),
            Line::Whole { text, whole } => self.buffer.take_line(text, whole),
        };
        match std::mem::replace(&mut self.state, State::Commands) {
            State::Authenticating { tag, mut exchange } => {
                let outcome = exchange.response(&line);
                self.authenticated(tag, exchange, outcome)
            }
            // Whatever it answers, cancelling included, it is refused (RFC 7628 section 3.2.3).
            State::Failing { tag, refusal, said } => self.refuse(&tag, refusal, &said),
            other => {
                self.state = other;
                false
            }
        }
    }

    fn authenticated(&mut self, tag: Vec<u8>, exchange: Exchange, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Cancelled => self.reply(&tag, "BAD Authentication cancelled"),
            Outcome::Challenge(challenge) => {
                self.out.line(&[b"+ ", challenge.as_bytes()]);
                self.state = State::Authenticating { tag, exchange };
                true
            }
            Outcome::Done(credentials) => self.ask(&tag, credentials),
            Outcome::NotBase64 => self.reply(&tag, "BAD Invalid base64"),
            Outcome::Unproven { user, reason } => {
                self.state = State::Refusing { tag };
                self.out.event(Event::Unproven { user, reason });
                true
            }
            Outcome::Unusable => self.refuse_ourselves(&tag, Reason::ClientBadCredentials),
            Outcome::Verifier(_) if is_loop(self.ttl) => self.refuse_ourselves(&tag, Reason::Loop),
            Outcome::Verifier(user) => {
                self.state = State::Looking { tag, exchange };
                self.out.event(Event::Verifier(user));
                true
            }
        }
    }

    /// RFC 2971, answered by us.
    fn id(&mut self, tag: &[u8], mut words: Words<'_>) -> bool {
        let read = words.byte(b' ').and_then(|()| words.strings_or_nil());
        let Some(strings) = read.filter(|_| words.at_end()) else {
            return self.reply(tag, "BAD Wrong arguments");
        };
        let identified = std::mem::replace(&mut self.identified, Identified::Yes);
        if identified == Identified::No && !self.identify(&strings) {
            return self.reply(tag, "BAD Invalid ID parameters");
        }
        if self.client_id.is_none() {
            self.client_id = ClientId::keep(pairs(&strings));
        }
        self.out.line(&[b"* ID (\"name\" \"Posthouse\")"]);
        self.reply(tag, "OK ID completed")
    }

    /// Reads who the client is, as the peer says; `false` if it says what cannot be.
    fn identify(&mut self, strings: &[Option<Zeroizing<Vec<u8>>>]) -> bool {
        let Ok(claims) = Claims::in_id(pairs(strings), self.settings.trusted) else {
            return false;
        };
        self.ttl = claims.ttl;
        if claims != Claims::default() {
            self.out.event(Event::Identity(claims));
        }
        true
    }

    /// RFC 3501 section 6.2.3.
    fn login(&mut self, tag: &[u8], mut words: Words<'_>) -> bool {
        if self.settings.privacy == Privacy::ClearRefused {
            return self.refuse_ourselves(tag, Reason::ClientClearText);
        }
        if !self.settings.taken().contains(Mechanism::Command) {
            return self.reply(tag, "NO LOGIN is disabled");
        }
        let mut argument = || words.byte(b' ').and_then(|()| words.astring());
        let (Some(user), Some(secret)) = (argument(), argument()) else {
            return self.reply(tag, "BAD Wrong arguments");
        };
        if !words.at_end() {
            return self.reply(tag, "BAD Wrong arguments");
        }
        match sasl::credentials(Mechanism::Command, &user, &secret) {
            Some(credentials) => self.ask(tag, credentials),
            None => self.refuse_ourselves(tag, Reason::ClientBadCredentials),
        }
    }

    fn logout(&mut self, tag: &[u8]) -> bool {
        self.close(Reason::NoLogin);
        self.reply(tag, "OK LOGOUT completed")
    }

    /// RFC 3501 section 6.2.1. What was pipelined behind STARTTLS came in the clear and must never be
    /// read as if it had come over TLS (CVE-2011-0411).
    fn starttls(&mut self, tag: &[u8]) -> bool {
        if self.settings.privacy == Privacy::Tls {
            return self.reply(tag, "BAD TLS is on already");
        }
        if !self.settings.starttls {
            return self.reply(tag, "BAD TLS is not offered");
        }
        if !self.buffer.unread().is_empty() {
            return self.close(Reason::ClientStartTlsInjection);
        }
        self.state = State::Handshake;
        self.out.event(Event::StartTls);
        self.reply(tag, "OK Begin TLS")
    }

    fn ask(&mut self, tag: &[u8], credentials: Credentials) -> bool {
        if is_loop(self.ttl) {
            return self.refuse_ourselves(tag, Reason::Loop);
        }
        self.state = State::Deciding { tag: tag.to_vec(), mechanism: credentials.mechanism };
        self.out.event(Event::Login(credentials));
        true
    }

    fn refuse_ourselves(&mut self, tag: &[u8], reason: Reason) -> bool {
        self.out.event(Event::Refused(reason));
        self.refuse(tag, reason.refusal(), &Said::default())
    }

    /// Refuses a login that the owner has judged: a token only after a challenge that says why, where it
    /// is the token's fault.
    fn refused(&mut self, tag: Vec<u8>, mechanism: Mechanism, refusal: Refusal, said: Said) {
        match said.challenge_to(mechanism, refusal) {
            Some(challenge) => {
                self.out.line(&[b"+ ", challenge.as_str().as_bytes()]);
                self.state = State::Failing { tag, refusal, said };
            }
            None => {
                self.refuse(&tag, refusal, &said);
            }
        }
    }

    fn refuse(&mut self, tag: &[u8], refusal: Refusal, said: &Said) -> bool {
        let (code, text) = refusal::words(Protocol::Imap, refusal);
        let relayed = self.settings.relayed(said);
        // A response has one code only, and of two this one is meant for the user.
        let code = if relayed.is_some_and(|text| text.alert) { "ALERT" } else { code };
        let text = relayed.map_or(text, |text| text.as_str());
        self.reply(tag, &format!("NO [{code}] {text}"))
    }

    fn welcome(&mut self, tag: &[u8], welcome: &Welcome) {
        let list = capability::after_login(welcome.capabilities.as_deref().unwrap_or_default());
        let list = list.join(" ");
        if list.is_empty() {
            self.reply(tag, "OK Logged in");
            return;
        }
        if self.asked == Asked::Yes {
            // Some clients that asked before login do not look at the response code.
            self.out.line(&[b"* CAPABILITY ", list.as_bytes()]);
        }
        self.out.line(&[tag, b" OK [CAPABILITY ", list.as_bytes(), b"] Logged in"]);
    }

    fn offer(&self) -> String {
        capability::before_login(&self.settings).join(" ")
    }

    fn reply(&mut self, tag: &[u8], text: &str) -> bool {
        self.out.line(&[tag, b" ", text.as_bytes()]);
        true
    }

    fn close(&mut self, reason: Reason) -> bool {
        self.out.bytes(&farewell(Protocol::Imap, reason));
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
        match (std::mem::replace(&mut self.state, State::Commands), answer) {
            (State::Deciding { tag, mechanism }, Answer::Refuse(refusal, said)) => {
                self.refused(tag, mechanism, refusal, said);
            }
            (State::Deciding { tag, .. }, Answer::Welcome(welcome)) => {
                self.state = State::Welcomed;
                self.welcome(&tag, &welcome);
            }
            (State::Looking { tag, mut exchange }, Answer::Verifier(given)) => {
                let outcome = exchange.given(*given);
                self.authenticated(tag, exchange, outcome);
            }
            (
                State::Looking { tag, .. } | State::Refusing { tag },
                Answer::Refuse(refusal, said),
            ) => {
                self.refuse(&tag, refusal, &said);
            }
            (State::Handshake, Answer::TlsStarted { certificate, bindings }) => {
                // RFC 3501 section 6.2.1: what was said before TLS counts no more.
                self.buffer.clear();
                self.asked = Asked::No;
                self.identified = Identified::No;
                self.ttl = None;
                self.client_id = None;
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

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The names and values in an ID's list; a name that is NIL names nothing.
fn pairs(strings: &[Option<Zeroizing<Vec<u8>>>]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    strings.chunks(2).filter_map(|pair| {
        let name = pair.first()?.as_ref()?;
        let value = pair.get(1).and_then(Option::as_ref);
        Some((name.as_slice(), value.map(|value| value.as_slice())))
    })
}
