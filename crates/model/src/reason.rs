//! Why something ended: one list, from which the log word, the level, the metric label and the
//! client's answer follow.

use serde::{Serialize, Serializer};

/// Whose fault an end was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// The back end, or the way to it.
    Backend,
    /// The client, or the way to it.
    Client,
    /// The directory: a source that could not say, or said something that cannot be used.
    Directory,
    /// Nobody: an ordinary end, or one that the operator wished.
    Nobody,
    /// This program, or what it is allowed.
    Posthouse,
}

/// How loud a line about an end is in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// A fault of this program.
    Error,
    /// What an operator can mend.
    Warn,
    /// All else.
    Info,
}

impl Level {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}

/// What the client is told when it is refused; worded per protocol in `proto`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// Wrong name or wrong password, never which: IMAP `NO [AUTHENTICATIONFAILED]`, POP3 `-ERR [AUTH]`.
    AuthenticationFailed,
    /// Waiting does not help: IMAP `NO [CONTACTADMIN]`, POP3 `-ERR [SYS/PERM]`.
    ContactAdmin,
    /// The password was right once: IMAP `NO [EXPIRED]`, POP3 `-ERR [AUTH]`.
    Expired,
    /// Another session holds the mailbox: IMAP `NO [INUSE]`, POP3 `-ERR [IN-USE]`.
    InUse,
    /// The user has as much as he may: IMAP `NO [LIMIT]`, POP3 `-ERR [SYS/TEMP]`.
    Limit,
    /// The user was here too short a time ago: IMAP `NO [LIMIT]`, POP3 `-ERR [LOGIN-DELAY]`.
    LoginDelay,
    /// This listener takes no password in clear text: IMAP `NO [PRIVACYREQUIRED]`, POP3 `-ERR`.
    PrivacyRequired,
    /// Nobody can say now: IMAP `NO [UNAVAILABLE]`, POP3 `-ERR [SYS/TEMP]`.
    Unavailable,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $blame:ident;)*) => {
        /// Why a connection or a login attempt ended.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word in logs and the label in metrics.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Whose fault it was.
            pub fn blame(self) -> Blame {
                match self { $(Self::$name => Blame::$blame,)* }
            }
        }
    };
}

reasons! {
    // Ordinary ends.
    /// The client closed the connection, or logged out, after its login.
    ClientClosed = "client-closed", Nobody;
    /// The back end closed the connection first, as it does after LOGOUT or QUIT.
    BackendClosed = "backend-closed", Nobody;
    /// The back end closed first, without TLS close_notify, as Cyrus does after LOGOUT.
    BackendCutOff = "backend-cut-off", Nobody;
    /// The client sent LOGOUT or QUIT before a login, or left without one.
    NoLogin = "no-login", Nobody;

    // The client's doing.
    /// The client closed without TLS close_notify, as many programs do when they leave.
    ClientCutOff = "client-cut-off", Nobody;
    /// The client's connection broke (reset, timed out in the kernel, TLS error after login).
    ClientLost = "client-lost", Client;
    /// The TLS handshake with the client failed.
    ClientTls = "client-tls", Client;
    /// The client asked by ALPN for another protocol (ALPACA).
    ClientAlpn = "client-alpn", Client;
    /// The client's certificate is not believed (unknown authority, out of date, revoked), or it has shown none
    /// where one is required.
    ClientCertificate = "client-certificate", Client;
    /// The client sent bytes behind STARTTLS before the handshake (CVE-2011-0411).
    ClientStartTlsInjection = "client-starttls-injection", Client;
    /// The client took longer than it may before login.
    ClientTimeout = "client-timeout", Client;
    /// A line before login was longer than allowed.
    ClientLineTooLong = "client-line-too-long", Client;
    /// A literal before login was longer than allowed.
    ClientLiteralTooLong = "client-literal-too-long", Client;
    /// More commands before login than allowed.
    ClientTooManyCommands = "client-too-many-commands", Client;
    /// The client does not speak this protocol (HTTP, a TLS hello on a clear port, unparsable framing).
    ClientProtocol = "client-protocol", Client;
    /// A password in clear text where the listener takes none.
    ClientClearText = "client-clear-text", Client;
    /// The credentials cannot be a name and a password (control bytes, not UTF-8, NUL, another's name).
    ClientBadCredentials = "client-bad-credentials", Client;
    /// The back end says that the password is too old.
    PasswordExpired = "password-expired", Client;
    /// The back end says that another session holds the mailbox.
    MailboxInUse = "mailbox-in-use", Client;
    /// The back end says that the user has as much as he may, such as sessions.
    UserLimit = "user-limit", Client;
    /// The back end says that the user comes again too soon.
    LoginDelay = "login-delay", Client;
    /// Wrong password: the back end, or the directory, said so.
    WrongPassword = "wrong-password", Client;
    /// The directory says that the user may not log in.
    UserDisabled = "user-disabled", Client;
    /// No source knows the user.
    UnknownUser = "unknown-user", Client;
    /// No traffic for longer than the idle limit.
    Idle = "idle", Client;

    // Limits.
    /// As many connections as may be are open.
    LimitConnections = "limit-connections", Posthouse;
    /// As many connections from this address as may be are open.
    LimitAddress = "limit-address", Client;

    /// As many connections to this listener as may be are open.
    LimitListener = "limit-listener", Posthouse;
    /// Too many TLS handshakes are in flight, in all or from the address.
    LimitHandshakes = "limit-handshakes", Client;
    /// More logins from this address, or by this user, than may be.
    LimitLogins = "limit-logins", Client;
    /// No file descriptor or memory was left for a connection to the back end.
    LimitDescriptors = "limit-descriptors", Posthouse;
    /// More passwords wait to be checked here than may.
    LimitPasswords = "limit-passwords", Posthouse;
    /// As many sessions of this user as may be are open.
    LimitUser = "limit-user", Client;
    /// The connection does not come from a proxy that may speak here, or without its PROXY header.
    ClientProxyHeader = "client-proxy-header", Client;

    // The directory's doing.
    /// A source could not say.
    DirectoryUnavailable = "directory-unavailable", Directory;
    /// A source's answer cannot be used: unknown back end, no template, no password to check.
    DirectoryMisconfigured = "directory-misconfigured", Directory;
    /// The back end refused the password that the directory has for the user.
    DirectorySecretRefused = "directory-secret-refused", Directory;

    // The back end's doing.
    /// The back end's name has no address yet.
    BackendName = "backend-name", Backend;
    /// As many logins as may be are under way there: it hangs, or cannot keep up.
    BackendBusy = "backend-busy", Backend;
    /// The back end has failed for several clients and users in a row, and is left alone for a while.
    BackendDown = "backend-down", Backend;
    /// Nothing accepted the connection in time.
    BackendConnect = "backend-connect", Backend;
    /// No greeting in time.
    BackendGreeting = "backend-greeting", Backend;
    /// The TLS handshake with the back end failed, or its certificate is not the right one.
    BackendTls = "backend-tls", Backend;
    /// STARTTLS is asked for and the back end does not offer it, or refuses it.
    BackendStartTls = "backend-starttls", Backend;
    /// The back end sent bytes behind its OK to STARTTLS.
    BackendStartTlsInjection = "backend-starttls-injection", Backend;
    /// No local address had a port left to connect to the back end from.
    BackendNoPort = "backend-no-port", Backend;
    /// The back end greeted with PREAUTH.
    BackendPreauth = "backend-preauth", Backend;
    /// The back end greeted with BYE or -ERR.
    BackendBye = "backend-bye", Backend;
    /// The back end said something that is not the protocol, or too much of it.
    BackendProtocol = "backend-protocol", Backend;
    /// The back end closed before its verdict.
    BackendLost = "backend-lost", Backend;
    /// No verdict on the login in time.
    BackendVerdict = "backend-verdict", Backend;
    /// The back end refuses logins in this form (LOGINDISABLED, no mechanism in common).
    BackendLoginDisabled = "backend-login-disabled", Backend;
    /// The back end refused the login for a reason that is not the password.
    BackendUnavailable = "backend-unavailable", Backend;
    /// The back end says that its administrator has to act.
    BackendContactAdmin = "backend-contact-admin", Backend;
    /// The back end is not set up to be told who the client is.
    BackendIdentity = "backend-identity", Backend;
    /// The back end refused our own secret (the master user's).
    BackendMasterRefused = "backend-master-refused", Backend;

    // Ours.
    /// The connection has come through as many proxies as may be: one of them leads to itself.
    Loop = "loop", Posthouse;
    /// The operator holds the user, or his back end, while something is done behind.
    Held = "held", Posthouse;
    /// The operator ended the session.
    Kicked = "kicked", Nobody;
    /// The program is stopping.
    Shutdown = "shutdown", Nobody;
    /// A fault in this program; it ended one session only.
    Internal = "internal", Posthouse;
}

impl Reason {
    /// How loud every line about such an end is, whether of a login, a connection or a session.
    pub fn level(self) -> Level {
        match (self, self.blame()) {
            (Self::Internal, _) => Level::Error,
            (_, Blame::Backend | Blame::Directory | Blame::Posthouse) => Level::Warn,
            (_, Blame::Client | Blame::Nobody) => Level::Info,
        }
    }

    /// What a client that tried to log in is told. Everything that is not the client's own doing is
    /// "try later", unless the back end itself says that waiting does not help: what we cannot say is
    /// never "no".
    pub fn refusal(self) -> Refusal {
        match self {
            Self::ClientBadCredentials
            | Self::UnknownUser
            | Self::UserDisabled
            | Self::WrongPassword => Refusal::AuthenticationFailed,
            Self::BackendContactAdmin => Refusal::ContactAdmin,
            Self::ClientClearText => Refusal::PrivacyRequired,
            Self::LimitLogins | Self::LoginDelay => Refusal::LoginDelay,
            Self::MailboxInUse => Refusal::InUse,
            Self::PasswordExpired => Refusal::Expired,
            Self::LimitUser | Self::UserLimit => Refusal::Limit,
            _ => Refusal::Unavailable,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let words: HashSet<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
    }

    #[test]
    fn only_the_client_s_own_mistakes_are_a_no() {
        for reason in Reason::ALL {
            if !matches!(reason.refusal(), Refusal::ContactAdmin | Refusal::Unavailable) {
                assert_eq!(reason.blame(), Blame::Client, "{reason}");
            }
        }
    }
}
