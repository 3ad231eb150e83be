//! Back machines: we log in to a back end. The words that all protocols share.

use std::sync::Arc;

use memchr::memmem;
use model::{HostPort, Protocol, Reason, Secret, Token, UserName};
use zeroize::Zeroizing;

use crate::front::{Said, Welcome};
use crate::identity::{ClientId, Identity};
use crate::sasl::{self, TokenMechanism};
use crate::{Machine, Step, imap, pop3};

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
        /// For the client ([`crate::front::Answer::Refuse`]).
        said: Said,
    },
    /// The back end did not take what we told it of the client, and the login goes on. For the log, as the
    /// detail of a failure; needs no answer.
    IdentityRefused {
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
    /// As whom: the user's name at the back end, with the master user's behind it where the back end wants
    /// that.
    pub user: UserName,
    /// By what.
    pub how: How,
    /// Who presents it: decides whether a refusal is the client's fault or ours.
    pub whose: Whose,
}

/// By what we log in.
#[derive(Clone, Debug)]
pub enum How {
    /// By another's password, with the user as SASL's authorization identity: AUTHENTICATE PLAIN only.
    Authzid {
        /// Whose password it is (SASL: authentication identity).
        authcid: UserName,
        /// The password.
        secret: Secret,
    },
    /// By the certificate of our TLS connection, with the user as SASL's authorization identity:
    /// AUTHENTICATE EXTERNAL only.
    External,
    /// By the user's own password; a fixed dummy where the back end lets everybody in from our address.
    Password(Secret),
    /// By an OAuth 2.0 token.
    Token {
        /// The mechanism that the client chose. The other one is used where the back end has only that.
        mechanism: TokenMechanism,
        /// The token.
        token: Token,
    },
}

impl Login {
    /// What must not be repeated in a log.
    fn secret(&self) -> Option<&Secret> {
        match &self.how {
            How::Authzid { secret, .. } | How::Password(secret) => Some(secret),
            How::External => None,
            How::Token { token, .. } => Some(token.secret()),
        }
    }

    /// The SASL mechanism to log in by, and its message, where the back end `has` one that fits.
    pub(crate) fn choose(
        &self,
        server: Option<&HostPort>,
        has: impl Fn(&str) -> bool,
    ) -> Option<Sasl> {
        let (name, message, token) = match &self.how {
            How::Authzid { authcid, secret } => {
                ("PLAIN", sasl::plain(Some(&self.user), authcid, secret), None)
            }
            How::Password(secret) => ("PLAIN", sasl::plain(None, &self.user, secret), None),
            How::External => ("EXTERNAL", sasl::external(&self.user), None),
            How::Token { mechanism, token } => {
                let chosen = if has(mechanism.name()) { *mechanism } else { mechanism.other() };
                let message = match chosen {
                    TokenMechanism::OAuthBearer => sasl::oauthbearer(&self.user, token, server),
                    TokenMechanism::XOAuth2 => sasl::xoauth2(&self.user, token),
                };
                (chosen.name(), message, Some(chosen))
            }
        };
        has(name).then_some(Sasl { name, message, token })
    }

    /// Why a login cannot be made by what a back end offers.
    pub(crate) fn no_way(&self) -> Failure {
        let text = match &self.how {
            How::Authzid { .. } => "the back end offers no PLAIN",
            How::External => "the back end offers no EXTERNAL",
            How::Password(_) => "the back end takes no password in a form that we have",
            How::Token { .. } => "the back end offers neither OAUTHBEARER nor XOAUTH2",
        };
        Failure::seen(Reason::BackendLoginDisabled, text)
    }
}

/// A SASL login as it is to be made.
pub(crate) struct Sasl {
    /// The mechanism's name.
    pub(crate) name: &'static str,
    /// The client's only message, in base64.
    message: Zeroizing<String>,
    /// The mechanism, if it carries a token.
    pub(crate) token: Option<TokenMechanism>,
}

impl Sasl {
    /// The parts of the login by `command`, which names the mechanism: with an initial response where the
    /// whole line has at most `limit` bytes, else after the back end's word.
    pub(crate) fn parts(&self, command: &str, limit: usize) -> Parts {
        let whole = [command.as_bytes(), b" ", self.message.as_bytes(), b"\r\n"];
        if whole.iter().map(|part| part.len()).sum::<usize>() <= limit {
            return [Zeroizing::new(whole.concat())].into();
        }
        let command = Zeroizing::new([command.as_bytes(), b"\r\n"].concat());
        [command, Zeroizing::new([self.message.as_bytes(), b"\r\n"].concat())].into()
    }
}

/// Whose secret a login to a back end presents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// The client's own: a refusal is a wrong password.
    Client,
    /// The directory's, which has one for the user: a refusal is the directory's trouble.
    Directory,
    /// Ours (a master user's): a refusal is our trouble and never "wrong password".
    Posthouse,
}

impl Whose {
    /// What it means that the back end refused the secret.
    pub(crate) fn refused(self) -> Reason {
        match self {
            Self::Client => Reason::WrongPassword,
            Self::Directory => Reason::DirectorySecretRefused,
            Self::Posthouse => Reason::BackendMasterRefused,
        }
    }

    /// What it means that the back end says the secret is too old.
    fn expired(self) -> Reason {
        if self == Self::Client { Reason::PasswordExpired } else { self.refused() }
    }
}

/// What a refusal with this response code (in upper case) means, in IMAP's words (RFC 5530) and POP3's
/// (RFC 2449 section 8, RFC 3206). Only a code that says so, or none at all, speaks of the secret; and
/// nothing does that comes before the secret was sent.
pub(crate) fn refused(code: Option<&[u8]>, whose: Whose, all_said: bool) -> Reason {
    match code {
        None | Some(b"ALERT" | b"AUTH" | b"AUTHENTICATIONFAILED" | b"AUTHORIZATIONFAILED") => {
            if all_said {
                whose.refused()
            } else {
                Reason::BackendLoginDisabled
            }
        }
        Some(b"CONTACTADMIN" | b"SYS/PERM") => Reason::BackendContactAdmin,
        Some(b"EXPIRED") => whose.expired(),
        Some(b"IN-USE" | b"INUSE") => Reason::MailboxInUse,
        Some(b"LIMIT") => Reason::UserLimit,
        Some(b"LOGIN-DELAY") => Reason::LoginDelay,
        Some(_) => Reason::BackendUnavailable,
    }
}

/// What a back machine is told of the back end when it is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the connection is made private.
    pub tls: Tls,
    /// Who the client is, where the back end is to be told so in its own protocol: by IMAP's ID, or by
    /// XCLIENT where the greeting says that it is believed.
    pub identity: Option<Arc<Identity>>,
    /// What an IMAP client said of itself, to be passed on behind our own ID.
    pub client_id: Option<ClientId>,
    /// Whether the login may be sent before the answer to what we told of the client. Some servers hang.
    pub pipelining: bool,
    /// The back end's name for itself, for OAUTHBEARER, where it wants to be told.
    pub server: Option<HostPort>,
}

impl Settings {
    /// The settings of a back end that is told nothing.
    pub fn new(tls: Tls) -> Self {
        Self { tls, identity: None, client_id: None, pipelining: false, server: None }
    }
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

/// What a client says that leaves a back end after its login.
pub fn leave(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Imap => b"ph9 LOGOUT\r\n",
        Protocol::Pop3 => b"QUIT\r\n",
    }
}

/// Why a conversation with a back end came to nothing.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// For the client.
    pub(crate) told: Said,
}

impl Failure {
    /// With the back end's words.
    pub(crate) fn said(reason: Reason, text: &[u8]) -> Self {
        Self { reason, detail: detail(text), told: Said::default() }
    }

    /// With words of our own.
    pub(crate) fn seen(reason: Reason, text: &str) -> Self {
        Self { reason, detail: text.to_owned(), told: Said::default() }
    }

    /// The same, with what the client is told.
    pub(crate) fn telling(mut self, told: Said) -> Self {
        self.told = told;
        self
    }

    /// As an event, without the secret where the back end repeated it.
    pub(crate) fn into_event(self, said: &[u8], presented: &Presented) -> Event {
        let Self { reason, detail, mut told } = self;
        // What is said of a secret that is not the client's own is not for the client.
        if matches!(reason, Reason::BackendMasterRefused | Reason::DirectorySecretRefused) {
            told.text = None;
        }
        if presented.is_repeated_in(said) {
            told.text = None;
            return Event::Failed { reason, detail: REPEATED.to_owned(), said: told };
        }
        Event::Failed { reason, detail, said: told }
    }
}

/// For the log, where a back end gives us back what must not be there.
const REPEATED: &str = "the answer repeats the secret";

/// A login, and its message once it has one.
pub(crate) struct Presented {
    pub(crate) login: Login,
    message: Zeroizing<String>,
}

impl Presented {
    pub(crate) fn new(login: Login) -> Self {
        Self { login, message: Zeroizing::default() }
    }

    /// Takes the SASL message that is going to be sent.
    pub(crate) fn by(&mut self, sasl: &Sasl) {
        self.message = sasl.message.clone();
    }

    /// A back end's words about our telling it of the client.
    pub(crate) fn identity_refused(&self, said: &[u8]) -> Event {
        let repeated = self.is_repeated_in(said);
        let detail = if repeated { REPEATED.to_owned() } else { detail(said) };
        Event::IdentityRefused { detail }
    }

    fn is_repeated_in(&self, said: &[u8]) -> bool {
        let repeated = |part: &[u8]| !part.is_empty() && memmem::find(said, part).is_some();
        self.login.secret().is_some_and(|secret| repeated(secret.reveal()))
            || repeated(self.message.as_bytes())
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
