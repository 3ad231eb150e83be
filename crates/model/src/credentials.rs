//! What a client offers to prove who it is.

use crate::{Secret, UserName};

/// How the client logged in. `forward` keeps the family when it logs in to the back end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// IMAP `LOGIN`, POP3 `USER` and `PASS`.
    Command,
    /// SASL LOGIN (draft-murchison-sasl-login).
    Login,
    /// SASL PLAIN (RFC 4616).
    Plain,
}

impl Mechanism {
    /// The word used in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Login => "login",
            Self::Plain => "plain",
        }
    }
}

/// A name and the secret offered with it, not yet believed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// How they were offered.
    pub mechanism: Mechanism,
    /// The name as the client gave it.
    pub user: UserName,
    /// The secret as the client gave it.
    pub secret: Secret,
}
