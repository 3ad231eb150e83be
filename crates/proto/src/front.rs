//! Front machines: a client logs in to us. The words that all protocols share.

use std::sync::Arc;

use model::{Credentials, Mechanism, Mechanisms, Protocol, Reason, Refusal, UserName};

use crate::identity::{Claims, ClientId};
use crate::sasl::scram::{ChannelBindings, Given};
use crate::sasl::{Challenge, TokenMechanism};
use crate::{Machine, Step, imap, pop3};

/// What a front machine asks of its owner.
#[derive(Debug)]
pub enum Event {
    /// The conversation is over: everything that was to be said to the client has been written. The
    /// owner closes the connection and records the reason. Nothing follows.
    Closed(Reason),
    /// The peer says of whom it comes: IMAP's first ID, POP3's XCLIENT. If it is not trusted
    /// ([`Settings::trusted`]) these are its TTL at most. Later claims replace earlier ones, and what was
    /// claimed before TLS counts no more. Needs no answer.
    Identity(Claims),
    /// The client wants to log in. Answered with [`Answer::Welcome`] or [`Answer::Refuse`]. Bytes
    /// that the client sent behind its login are kept by the machine.
    Login(Credentials),
    /// A login attempt was refused by the machine itself, before anybody was asked (clear text on a
    /// listener that takes none, credentials that cannot be, a loop). For the log; needs no answer.
    Refused(Reason),
    /// The client was told to begin TLS. The owner does the handshake, then answers
    /// [`Answer::TlsStarted`]. The machine holds no unread byte.
    StartTls,
    /// SCRAM: the client has not proved that it knows the password. Answered with [`Answer::Refuse`], as late as
    /// any other wrong password is.
    Unproven {
        /// The name as the client gave it.
        user: UserName,
        /// [`Reason::WrongPassword`], or why no proof could be right ([`Given::unprovable`]).
        reason: Reason,
    },
    /// SCRAM: the client names a user, and what is stored for him is needed before it can prove anything.
    /// Answered with [`Answer::Verifier`], for a name that nobody has with a decoy, or [`Answer::Refuse`] if
    /// nobody can say, or it comes too early.
    Verifier(UserName),
}

/// How the owner answers a front machine.
#[derive(Debug)]
pub enum Answer {
    /// To [`Event::Login`], [`Event::Unproven`] and [`Event::Verifier`]: no, and what the client is told: by us, and by the back end where it was asked.
    /// The machine goes on listening.
    Refuse(Refusal, Said),
    /// To [`Event::StartTls`]: the handshake is done.
    TlsStarted {
        /// Who the client's certificate says it is, as in [`Settings::certificate`].
        certificate: Option<UserName>,
        /// As in [`Settings::bindings`].
        bindings: ChannelBindings,
    },
    /// To [`Event::Verifier`]: what is stored for the user, or a decoy.
    Verifier(Box<Given>),
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
    /// Whether the back end listed UNAUTHENTICATE (RFC 8437), before login or after it. The client is not told
    /// of it, and may still try: the next login would get past us, so whoever relays must read commands.
    pub unauthenticate: bool,
}

/// What a back end said when it refused a login, as far as a client may learn of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Said {
    /// Why it refused a token. The client gets it in any case, before the refusal.
    pub challenge: Option<Challenge>,
    /// Its words. The client gets them only if so set ([`Settings::relay_text`]).
    pub text: Option<Text>,
}

impl Said {
    /// What a client hears before its login is refused: nothing, unless it offered a token. Where no back end
    /// said why, we do, if it is the token's fault.
    pub(crate) fn challenge_to(&self, mechanism: Mechanism, refusal: Refusal) -> Option<Challenge> {
        let mechanism = TokenMechanism::of(mechanism)?;
        let ours = refusal == Refusal::AuthenticationFailed;
        self.challenge.clone().or_else(|| ours.then(|| Challenge::ours(mechanism)))
    }
}

/// A back end's words for a client: 1 to 256 printable ASCII characters, so they end no line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text {
    /// Whether they stood behind the response code ALERT: the client must show them (RFC 3501 section 7.1).
    pub alert: bool,
    words: Box<str>,
}

impl Text {
    /// The longest text that is passed on: it fits into POP3's line of 512 octets (RFC 2449 section 4).
    const MAX_BYTES: usize = 256;

    /// Takes the words without control characters; what is not ASCII becomes `?`, for IMAP4rev1 has no
    /// other text. `None` if nothing is left.
    pub fn new(words: &[u8], alert: bool) -> Option<Self> {
        let words = String::from_utf8_lossy(words);
        let shown = words.chars().filter(|c| !c.is_control());
        let shown: String =
            shown.map(|c| if c.is_ascii() { c } else { '?' }).take(Self::MAX_BYTES).collect();
        let shown = shown.trim();
        (!shown.is_empty()).then(|| Self { alert, words: shown.into() })
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.words
    }
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
    /// Bytes in a line that carries a SASL response. 16 KiB: RFC 4954 section 4 asks for 12,288, and tokens
    /// with many claims in them need more than 8 KiB.
    pub sasl_line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { commands: 30, literal: 4 * 1024, line: 8 * 1024, sasl_line: 16 * 1024 }
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
    /// How clients may log in. EXTERNAL counts only where there is a certificate.
    pub mechanisms: Mechanisms,
    /// Who the client's certificate says it is, if it has shown one and it has been verified.
    pub certificate: Option<UserName>,
    /// What SCRAM-SHA-256-PLUS can be bound to; it is offered only if there is something. Nothing where TLS does not
    /// end here.
    pub bindings: ChannelBindings,
    /// Whether a client gets the back end's own words with a refusal.
    pub relay_text: bool,
    /// Whether the peer is a proxy that may say who the client is.
    pub trusted: bool,
}

impl Settings {
    /// How the client could log in now, if the connection is private enough.
    pub(crate) fn possible(&self) -> Mechanisms {
        let mut possible = self.mechanisms;
        if self.certificate.is_none() {
            possible = possible.without(Mechanism::External);
        }
        if self.bindings.is_empty() {
            possible = possible.without(Mechanism::ScramSha256Plus);
        }
        possible
    }

    /// How the client may log in now.
    pub(crate) fn taken(&self) -> Mechanisms {
        match self.privacy {
            Privacy::ClearRefused => Mechanisms::NONE,
            Privacy::ClearAllowed | Privacy::Tls => self.possible(),
        }
    }

    /// Takes over what is known after the handshake.
    pub(crate) fn tls_started(&mut self, certificate: Option<UserName>, bindings: ChannelBindings) {
        self.privacy = Privacy::Tls;
        self.certificate = certificate;
        self.bindings = bindings;
    }

    /// The back end's words, if the client may have them.
    pub(crate) fn relayed<'a>(&self, said: &'a Said) -> Option<&'a Text> {
        said.text.as_ref().filter(|_| self.relay_text)
    }

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

    /// What the client said of itself in IMAP's ID, for whoever wants to pass it on.
    pub fn client_id(&self) -> Option<&ClientId> {
        match self {
            Self::Imap(front) => front.client_id(),
            Self::Pop3(_) => None,
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

/// How long a line may be of which this is known: `sasl_line` where it begins with a command that carries a
/// SASL response. Only as many bytes are looked at as any line may have, so that the answer does not depend
/// on how the line was cut.
pub(crate) fn line_limit(unread: &[u8], limits: &Limits, is_sasl: impl Fn(&[u8]) -> bool) -> usize {
    let start = unread.get(..limits.line).unwrap_or(unread);
    if is_sasl(start) { limits.sasl_line.max(limits.line) } else { limits.line }
}

/// Whether a connection has come through as many proxies as may be.
pub(crate) fn is_loop(ttl: Option<u8>) -> bool {
    crate::identity::ttl_onwards(ttl).is_none()
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

#[cfg(test)]
impl Settings {
    /// With defaults for what a test does not care about.
    pub(crate) fn for_tests(offer: &[String], privacy: Privacy) -> Self {
        Self {
            privacy,
            starttls: false,
            offer: offer.into(),
            greeting_name: Arc::from("test"),
            limits: Limits::default(),
            mechanisms: Mechanisms::default(),
            certificate: None,
            bindings: ChannelBindings::default(),
            relay_text: false,
            trusted: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_s_words_end_no_line_and_are_short() {
        let text = Text::new(b" too\r\n* BYE\x1b[2J \xc3\xa4 ", false).unwrap();
        assert_eq!(text.as_str(), "too* BYE[2J ?");
        assert_eq!(Text::new(b" \r\n", true), None);
        assert_eq!(Text::new(&[b'x'; 300], true).unwrap().as_str().len(), 256);
    }
}
