//! Back machines: we log in to a back end. The words that all protocols share.

use model::{Reason, Secret, UserName};

use crate::front::Welcome;

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
