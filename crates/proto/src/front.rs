//! Front machines: a client logs in to us. The words that all protocols share.

use std::sync::Arc;

use model::{Credentials, Protocol, Reason, Refusal};

use crate::{Machine, Step, imap, pop3};

/// What a front machine asks of its owner.
#[derive(Debug)]
pub enum Event {
    /// The conversation is over: everything that was to be said to the client has been written. The
    /// owner closes the connection and records the reason. Nothing follows.
    Closed(Reason),
    /// The client wants to log in. Answered with [`Answer::Welcome`] or [`Answer::Refuse`]. Bytes
    /// that the client sent behind its login are kept by the machine.
    Login(Credentials),
    /// A login attempt was refused by the machine itself, before anybody was asked (clear text on a
    /// listener that takes none, credentials that cannot be). For the log; needs no answer.
    Refused(Reason),
    /// The client was told to begin TLS. The owner does the handshake, then answers
    /// [`Answer::TlsStarted`]. The machine holds no unread byte.
    StartTls,
}

/// How the owner answers a front machine.
#[derive(Debug)]
pub enum Answer {
    /// To [`Event::Login`]: no, and what the client is told. The machine goes on listening.
    Refuse(Refusal),
    /// To [`Event::StartTls`]: the handshake is done.
    TlsStarted,
    /// To [`Event::Login`]: yes. The machine writes the welcome; when it then says `Step::Read`, or
    /// `step` is not called again, the owner takes the rest with `into_rest` and relays.
    Welcome(Welcome),
}

/// What the back end said when it let the user in, as far as the client has to learn of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Welcome {
    /// IMAP: the back end's capabilities after login as it listed them, in its order and case; `None` if
    /// it did not say. POP3: always `None`.
    pub capabilities: Option<Vec<String>>,
}

/// Whether and how passwords may come over this connection as it is now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Privacy {
    /// In clear text, and the listener allows logins so.
    ClearAllowed,
    /// In clear text, and logins are refused.
    ClearRefused,
    /// Under TLS.
    Tls,
}

/// The limits before login. The reasons for the defaults stand beside them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Commands before login. 30: a client that tries each mechanism after CAPABILITY, ID, NOOP and
    /// STARTTLS needs under ten.
    pub commands: u32,
    /// Bytes in a literal. 4 KiB: names and passwords only.
    pub literal: usize,
    /// Bytes in a line without its line end. 8 KiB: what Dovecot allows to a login process, and more than
    /// RFC 7162 section 4 asks of servers.
    pub line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commands: 30, literal: 4 * 1024, line: 8 * 1024 }
    }
}

/// What a front machine is told when it is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How private the connection is when the machine is made.
    pub privacy: Privacy,
    /// Whether STARTTLS or STLS is offered while the connection is in clear.
    pub starttls: bool,
    /// The capabilities that the back ends have in common, as they list them before login
    /// ([`crate::capability::in_common`]), or what the operator put in their place. Empty while no back
    /// end has answered. What is ours is struck and added by the machine.
    pub offer: Arc<[String]>,
    /// The name in the greeting. Control characters in it are left out.
    pub greeting_name: Arc<str>,
    /// What a client may do before login.
    pub limits: Limits,
}

impl Settings {
    /// The greeting's text.
    pub(crate) fn greeting(&self) -> String {
        let mut text: String = self.greeting_name.chars().filter(|c| !c.is_control()).collect();
        text.push_str(if text.is_empty() { "Ready" } else { " ready" });
        text
    }
}

/// The front machine of a protocol.
#[derive(Debug)]
pub enum Front {
    /// IMAP.
    Imap(imap::front::Front),
    /// POP3.
    Pop3(pop3::front::Front),
}

impl Front {
    /// Makes the machine for a new connection.
    pub fn new(protocol: Protocol, settings: Settings) -> Self {
        match protocol {
            Protocol::Imap => Self::Imap(imap::front::Front::new(settings)),
            Protocol::Pop3 => Self::Pop3(pop3::front::Front::new(settings)),
        }
    }

    /// What the client sent behind its login, byte for byte.
    pub fn into_rest(self) -> Vec<u8> {
        match self {
            Self::Imap(front) => front.into_rest(),
            Self::Pop3(front) => front.into_rest(),
        }
    }
}

impl Machine for Front {
    type Event = Event;
    type Answer = Answer;

    fn receive(&mut self, bytes: &[u8]) {
        match self {
            Self::Imap(front) => front.receive(bytes),
            Self::Pop3(front) => front.receive(bytes),
        }
    }

    fn answer(&mut self, answer: Answer) {
        match self {
            Self::Imap(front) => front.answer(answer),
            Self::Pop3(front) => front.answer(answer),
        }
    }

    fn step(&mut self) -> Step<Event> {
        match self {
            Self::Imap(front) => front.step(),
            Self::Pop3(front) => front.step(),
        }
    }
}

/// The last line to a client whose connection we end before its login: whole, with its line end.
pub fn farewell(protocol: Protocol, reason: Reason) -> Vec<u8> {
    let (ours, text) = match reason {
        Reason::ClientLineTooLong => (false, "Line too long"),
        Reason::ClientLiteralTooLong => (false, "Literal too long"),
        Reason::ClientProtocol => (false, "Protocol error"),
        Reason::ClientStartTlsInjection => (false, "Nothing may follow before TLS"),
        Reason::ClientTimeout => (false, "Too slow"),
        Reason::ClientTooManyCommands => (false, "Too many commands before login"),
        Reason::LimitAddress => (true, "Too many connections from your address"),
        Reason::LimitConnections => (true, "Too many connections"),
        Reason::NoLogin => (false, "Logging out"),
        Reason::Shutdown => (true, "Shutting down"),
        _ => (true, "Try again later"),
    };
    let start = match (protocol, ours) {
        (Protocol::Imap, false) => "* BYE ",
        (Protocol::Imap, true) => "* BYE [UNAVAILABLE] ",
        (Protocol::Pop3, false) if reason == Reason::NoLogin => "+OK ",
        (Protocol::Pop3, false) => "-ERR ",
        (Protocol::Pop3, true) => "-ERR [SYS/TEMP] ",
    };
    format!("{start}{text}\r\n").into_bytes()
}

/// Whether a client's first line is one of HTTP. A browser that was led here (ALPACA) must not get its
/// own words back, nor have its body read as commands.
pub(crate) fn is_http(line: &[u8]) -> bool {
    const VERBS: [&[u8]; 10] = [
        b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PRI", b"PUT",
        b"TRACE",
    ];
    let mut words = line.split(|byte| *byte == b' ');
    words.next().is_some_and(|verb| VERBS.contains(&verb))
        && words.next_back().is_some_and(|last| last.starts_with(b"HTTP/"))
}

/// The first byte of a TLS handshake record (RFC 8446 section 5.1), which no command begins with.
pub(crate) const TLS_HANDSHAKE: u8 = 0x16;
