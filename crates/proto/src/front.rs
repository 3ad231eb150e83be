//! Front machines: a client logs in to us. The words that all protocols share.

use model::{Credentials, Reason, Refusal};

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
        Self {
            commands: 30,
            literal: 4 * 1024,
            line: 8 * 1024,
        }
    }
}
