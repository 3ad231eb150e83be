//! What a client offers to prove who it is.

use crate::{Secret, StoredKey, Token, UserName};

/// How the client logged in. `forward` keeps the family when it logs in to the back end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// IMAP `LOGIN`, POP3 `USER` and `PASS`.
    Command,
    /// SASL EXTERNAL (RFC 4422 appendix A): the certificate of the TLS connection.
    External,
    /// SASL LOGIN (draft-murchison-sasl-login).
    Login,
    /// SASL OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// SASL PLAIN (RFC 4616).
    Plain,
    /// SASL SCRAM-SHA-256 (RFC 7677): the password is proved and not shown.
    ScramSha256,
    /// SASL SCRAM-SHA-256-PLUS: bound to the TLS connection beneath it.
    ScramSha256Plus,
    /// SASL XOAUTH2: what OAUTHBEARER was before it had an RFC (Google, Microsoft).
    XOAuth2,
}

impl Mechanism {
    /// All of them, in the order in which they are offered to clients: many take the first they know.
    pub const ALL: [Self; 8] = [
        Self::Command,
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::Plain,
        Self::Login,
        Self::XOAuth2,
        Self::OAuthBearer,
        Self::External,
    ];

    /// The word used in logs and settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::External => "external",
            Self::Login => "login",
            Self::OAuthBearer => "oauthbearer",
            Self::Plain => "plain",
            Self::ScramSha256 => "scram-sha-256",
            Self::ScramSha256Plus => "scram-sha-256-plus",
            Self::XOAuth2 => "xoauth2",
        }
    }

    /// The name registered for SASL; none for what is no SASL.
    pub fn sasl_name(self) -> Option<&'static str> {
        match self {
            Self::Command => None,
            Self::External => Some("EXTERNAL"),
            Self::Login => Some("LOGIN"),
            Self::OAuthBearer => Some("OAUTHBEARER"),
            Self::Plain => Some("PLAIN"),
            Self::ScramSha256 => Some("SCRAM-SHA-256"),
            Self::ScramSha256Plus => Some("SCRAM-SHA-256-PLUS"),
            Self::XOAuth2 => Some("XOAUTH2"),
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Command => 1,
            Self::External => 1 << 1,
            Self::Login => 1 << 2,
            Self::OAuthBearer => 1 << 3,
            Self::Plain => 1 << 4,
            Self::XOAuth2 => 1 << 5,
            Self::ScramSha256 => 1 << 6,
            Self::ScramSha256Plus => 1 << 7,
        }
    }
}

/// A set of mechanisms. The default is what needs nothing but passwords: commands, PLAIN and LOGIN.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mechanisms(u8);

impl Mechanisms {
    /// No mechanism.
    pub const NONE: Self = Self(0);

    /// Whether a mechanism is among them.
    pub fn contains(self, mechanism: Mechanism) -> bool {
        self.0 & mechanism.bit() != 0
    }

    /// Those of them that are SASL's, by their registered names, in the order in which to offer them.
    pub fn sasl_names(self) -> impl Iterator<Item = &'static str> {
        let among = Mechanism::ALL.into_iter().filter(move |mechanism| self.contains(*mechanism));
        among.filter_map(Mechanism::sasl_name)
    }

    /// All of them but one.
    #[must_use]
    pub fn without(self, mechanism: Mechanism) -> Self {
        Self(self.0 & !mechanism.bit())
    }
}

impl Default for Mechanisms {
    fn default() -> Self {
        [Mechanism::Command, Mechanism::Plain, Mechanism::Login].into_iter().collect()
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        Self(mechanisms.into_iter().fold(0, |set, mechanism| set | mechanism.bit()))
    }
}

/// A name and what is offered to prove it, not yet believed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// How they were offered.
    pub mechanism: Mechanism,
    /// The name as the client gave it.
    pub user: UserName,
    /// What proves it.
    pub proof: Proof,
}

/// What is offered to prove a name.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The certificate of the TLS connection, which has been verified: nothing is left to be judged.
    Certificate,
    /// A password, as the client gave it.
    Password(Secret),
    /// SCRAM: the client has proved to our own front that it knows the password of this key, and never shown it.
    /// Whether the key is the user's, and still is, is left to be judged.
    Scram(StoredKey),
    /// An OAuth 2.0 token, which only whoever issued it can judge.
    Token(Token),
}

impl Credentials {
    /// The password, if one was offered.
    pub fn password(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Password(secret) => Some(secret),
            Proof::Certificate | Proof::Scram(_) | Proof::Token(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_into_it() {
        for one in Mechanism::ALL {
            let set: Mechanisms = [one].into_iter().collect();
            for other in Mechanism::ALL {
                assert_eq!(set.contains(other), one == other);
            }
            assert_eq!(set.without(one), Mechanisms::NONE);
        }
    }

    #[test]
    fn by_default_only_passwords_are_taken() {
        assert_eq!(Mechanisms::default().sasl_names().collect::<Vec<_>>(), ["PLAIN", "LOGIN"]);
        assert!(Mechanisms::default().contains(Mechanism::Command));
    }
}
