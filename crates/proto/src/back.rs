//! Back machines: we log in to a back end. The words that all protocols share.

use memchr::memmem;
use model::{Protocol, Reason, Secret, UserName};
use zeroize::Zeroizing;

use crate::front::Welcome;
use crate::{Machine, Step, imap, pop3, sasl};

/// What a back machine asks of its owner.
#[derive(Debug)]
pub enum Event {
    /// The login failed, or cannot be made. The owner closes the connection. `detail` is for the log
    /// only: the back end's words with control characters escaped, at most 256 bytes; never a secret.
    Failed {
        /// Whose fault it was.
        reason: Reason,
        /// For the log.
        detail: String,
    },
    /// The back end let the user in. The owner takes what the back end sent behind its answer with
    /// `into_rest`.
    LoggedIn(Welcome),
    /// The back end said to begin TLS. The owner does the handshake, then answers
    /// [`Answer::TlsStarted`]. The machine holds no unread byte.
    StartTls,
}

/// How the owner answers a back machine.
#[derive(Debug)]
pub enum Answer {
    /// The handshake is done.
    TlsStarted,
}

/// How the connection to the back end is made private.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tls {
    /// The driver has already made TLS (implicit), or there is none.
    AsItIs,
    /// By STARTTLS, before anything else is said.
    StartTls,
}

/// With what we log in.
#[derive(Clone, Debug)]
pub struct Login {
    /// Whose secret is sent (SASL: authentication identity).
    pub user: UserName,
    /// The secret.
    pub secret: Secret,
    /// Who presents it: decides whether a refusal is the client's fault or ours.
    pub whose: Whose,
}

/// Whose secret a login to a back end presents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// The client's own: a refusal is a wrong password.
    Client,
    /// Ours (a master user's): a refusal is our trouble and never "wrong password".
    Posthouse,
}

impl Whose {
    /// What it means that the back end refused the secret.
    pub(crate) fn refused(self) -> Reason {
        match self {
            Self::Client => Reason::WrongPassword,
            Self::Posthouse => Reason::BackendMasterRefused,
        }
    }
}

/// What a back machine is told of the back end when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How the connection is made private.
    pub tls: Tls,
}

/// The back machine of a protocol.
#[derive(Debug)]
pub enum Back {
    /// IMAP.
    Imap(imap::back::Back),
    /// POP3.
    Pop3(pop3::back::Back),
}

impl Back {
    /// Makes the machine for a new connection to a back end.
    pub fn new(protocol: Protocol, settings: Settings, login: Login) -> Self {
        match protocol {
            Protocol::Imap => Self::Imap(imap::back::Back::new(settings, login)),
            Protocol::Pop3 => Self::Pop3(pop3::back::Back::new(settings, login)),
        }
    }

    /// What the back end sent behind its answer to the login, byte for byte.
    pub fn into_rest(self) -> Vec<u8> {
        match self {
            Self::Imap(back) => back.into_rest(),
            Self::Pop3(back) => back.into_rest(),
        }
    }
}

impl Machine for Back {
    type Event = Event;
    type Answer = Answer;

    fn receive(&mut self, bytes: &[u8]) {
        match self {
            Self::Imap(back) => back.receive(bytes),
            Self::Pop3(back) => back.receive(bytes),
        }
    }

    fn answer(&mut self, answer: Answer) {
        match self {
            Self::Imap(back) => back.answer(answer),
            Self::Pop3(back) => back.answer(answer),
        }
    }

    fn step(&mut self) -> Step<Event> {
        match self {
            Self::Imap(back) => back.step(),
            Self::Pop3(back) => back.step(),
        }
    }
}

/// Why a conversation with a back end came to nothing.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

impl Failure {
    /// With the back end's words.
    pub(crate) fn said(reason: Reason, text: &[u8]) -> Self {
        Self { reason, detail: detail(text) }
    }

    /// With words of our own.
    pub(crate) fn seen(reason: Reason, text: &str) -> Self {
        Self { reason, detail: text.to_owned() }
    }

    /// As an event, without the secret where the back end repeated it.
    pub(crate) fn into_event(self, said: &[u8], login: &Login) -> Event {
        let repeated = |part: &[u8]| !part.is_empty() && memmem::find(said, part).is_some();
        let withheld = repeated(login.secret.reveal())
            || repeated(sasl::plain(&login.user, &login.secret).as_bytes());
        let detail =
            if withheld { "the answer repeats the secret".to_owned() } else { self.detail };
        Event::Failed { reason: self.reason, detail }
    }
}

/// The longest text of a peer that goes into the log.
const MAX_DETAIL: usize = 256;

/// A peer's words for the log.
fn detail(text: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(text).chars() {
        let start = shown.len();
        if c.is_control() || c == '\\' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        if shown.len() > MAX_DETAIL {
            shown.truncate(start);
            break;
        }
    }
    shown
}

/// What remains to be sent of a login, part by part: each waits for the back end's word.
pub(crate) type Parts = std::collections::VecDeque<Zeroizing<Vec<u8>>>;

/// The most that a back end may send before its verdict: lines, and bytes in all. Greetings and
/// capability lists need a tenth of it.
pub(crate) const MAX_LINES: usize = 64;
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// The longest line from a back end.
pub(crate) const MAX_LINE: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_s_words_are_made_harmless_and_short() {
        assert_eq!(detail(b"a\r\n\x1b[2J\\ \xff"), "a\\r\\n\\u{1b}[2J\\\\ \u{fffd}");
        assert_eq!(detail("\u{e4}".repeat(200).as_bytes()).len(), 256);
        assert_eq!(detail(&[7; 300]).len(), 256 / 5 * 5);
    }
}
