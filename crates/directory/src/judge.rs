//! Whether a proof is right, where the back end will not say.
//!
//! Nothing here asks a source. Where nothing is known to judge by, that is said, and nobody gets in.

use std::sync::OnceLock;

use model::{CanonicalUser, Proof, Secret, StoredKey, Token, UserName};
use proto::sasl::scram::Verifier;
use transport::tls::ClientTlsError;

use crate::{
    Rules,
    passwords::{self, PasswordSettings, Passwords},
    sources::{CannotSay, Found},
    tokens::{TokenSettings, TokenVerdict, Tokens},
};

/// Whether a proof is right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Judgement {
    Right,
    /// With what is wrong with it, where there is more to be said in the log.
    Wrong(Option<String>),
}

impl From<bool> for Judgement {
    fn from(right: bool) -> Self {
        if right { Self::Right } else { Self::Wrong(None) }
    }
}

/// Judges proofs for all sessions.
#[derive(Debug)]
pub(crate) struct Judge {
    settings: PasswordSettings,
    /// Its threads start with the first stored hash that is met: many a site has none.
    passwords: OnceLock<Passwords>,
    /// None where only back ends judge tokens.
    tokens: Option<Tokens>,
    rules: Rules,
}

impl Judge {
    /// Prepares to judge; `rules` say whether the user in a token is the one who logs in.
    pub(crate) fn open(
        settings: PasswordSettings,
        tokens: Option<&TokenSettings>,
        rules: Rules,
    ) -> Result<Self, ClientTlsError> {
        let tokens = tokens.map(Tokens::open).transpose()?;
        Ok(Self { settings, passwords: OnceLock::new(), tokens, rules })
    }

    /// Judges a proof by what is known of the user.
    pub(crate) async fn judge(
        &self,
        user: &CanonicalUser,
        found: &Found,
        proof: &Proof,
    ) -> Result<Judgement, CannotSay> {
        let password = match proof {
            // It has been verified in the TLS handshake.
            Proof::Certificate => return Ok(Judgement::Right),
            // No source has judged that.
            Proof::Scram(key) => return self.proved(found, key),
            Proof::Token(token) => return self.issued(user, token).await,
            Proof::Password(_) if found.judged => return Ok(Judgement::Right),
            Proof::Password(password) => password,
        };
        match (&found.verifier, &found.secret) {
            (Some(stored), _) => self.hashed(user, stored, password).await,
            (None, None) => Err(nothing_to_judge_by(found)),
            // Nobody chose it: a column that was left empty must not open a mailbox.
            (None, Some(known)) if known.reveal().is_empty() => {
                Err(CannotSay::misconfigured("the password in the directory is empty"))
            }
            // A source that cannot say now may have another to judge by: this one is for the back end.
            (None, Some(_)) if found.incomplete => Err(nothing_to_judge_by(found)),
            (None, Some(known)) => Ok(known.matches(password).into()),
        }
    }

    /// What SCRAM is judged by; none if the user has nothing that it could be judged by.
    pub(crate) fn verifier(&self, found: &Found) -> Result<Option<Verifier>, CannotSay> {
        let Some(stored) = &found.verifier else {
            let unsure = found.stale || found.incomplete;
            return if unsure { Err(nothing_to_judge_by(found)) } else { Ok(None) };
        };
        let read = self.settings.read(stored).map_err(|problem| unusable(&problem.into()))?;
        Ok(read.verifier().cloned())
    }

    /// Forgets whose password or token was right: of one user, or of all.
    pub(crate) fn forget(&self, user: Option<&CanonicalUser>) {
        if let Some(tokens) = &self.tokens {
            tokens.forget(user);
        }
        match (self.passwords.get(), user) {
            (Some(passwords), Some(user)) => passwords.forget(user),
            (Some(passwords), None) => passwords.forget_all(),
            (None, _) => {}
        }
    }

    /// Whether what a client has proved to know is still the password: it may have been changed meanwhile.
    fn proved(&self, found: &Found, key: &StoredKey) -> Result<Judgement, CannotSay> {
        let verifier = self.verifier(found)?;
        Ok(verifier.is_some_and(|verifier| verifier.has_key(key)).into())
    }

    /// Whether a token was issued to the user who shows it.
    async fn issued(&self, user: &CanonicalUser, token: &Token) -> Result<Judgement, CannotSay> {
        let Some(tokens) = &self.tokens else {
            let detail =
                "a token has to be judged here, and there is no [tokens] that says by what";
            return Err(CannotSay::misconfigured(detail));
        };
        let is_his =
            |named: &UserName| self.rules.canonical(named).is_ok_and(|named| named == *user);
        match tokens.check(user, token, is_his).await {
            TokenVerdict::CannotSay(why) => Err(CannotSay::unavailable(why)),
            TokenVerdict::Right => Ok(Judgement::Right),
            TokenVerdict::Wrong(why) => Ok(Judgement::Wrong(Some(why))),
        }
    }

    async fn hashed(
        &self,
        user: &CanonicalUser,
        stored: &Secret,
        password: &Secret,
    ) -> Result<Judgement, CannotSay> {
        match self.passwords()?.check(user, stored, password).await {
            passwords::Verdict::Right => Ok(Judgement::Right),
            passwords::Verdict::Wrong => Ok(Judgement::Wrong(None)),
            passwords::Verdict::CannotSay(cannot) => Err(unusable(&cannot)),
        }
    }

    fn passwords(&self) -> Result<&Passwords, CannotSay> {
        if let Some(started) = self.passwords.get() {
            return Ok(started);
        }
        let started = Passwords::start(self.settings).map_err(CannotSay::unavailable)?;
        // Of two that are first, one is dropped and its threads end.
        Ok(self.passwords.get_or_init(|| started))
    }
}

fn unusable(cannot: &passwords::CannotSay) -> CannotSay {
    CannotSay { reason: cannot.reason(), ..CannotSay::of_question(cannot) }
}

/// There may be something in a source that could not say now.
fn nothing_to_judge_by(found: &Found) -> CannotSay {
    if found.stale || found.incomplete {
        return CannotSay::unavailable("what is known from before holds no password");
    }
    CannotSay::misconfigured(
        "the user has no password in the directory, and the back end does not ask for his",
    )
}

#[cfg(test)]
mod tests {
    use model::{Reason, Token, UserName};

    use super::*;

    /// `doveadm pw -s SSHA256 -p right`, with another tool's salt.
    const HASHED: &str = "{PLAIN-MD5}";

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text).unwrap())
    }

    async fn judged(found: Found, proof: Proof) -> Result<Judgement, Reason> {
        let user = CanonicalUser::declare(UserName::new("bob").unwrap());
        let judge = Judge::open(PasswordSettings::default(), None, Rules::default()).unwrap();
        judge.judge(&user, &found, &proof).await.map_err(|cannot| cannot.reason)
    }

    fn password(text: &str) -> Proof {
        Proof::Password(Secret::new(text).unwrap())
    }

    #[tokio::test]
    async fn a_password_is_compared_with_the_one_that_is_known() {
        let known = || Found { secret: secret("right"), ..Found::default() };
        assert_eq!(judged(known(), password("right")).await, Ok(Judgement::Right));
        assert_eq!(judged(known(), password("wrong")).await, Ok(Judgement::Wrong(None)));
        assert_eq!(judged(known(), password("")).await, Ok(Judgement::Wrong(None)));
    }

    #[tokio::test]
    async fn a_stored_hash_goes_before_the_password_at_the_back_end() {
        let known = Found { verifier: secret(HASHED), secret: secret("right"), ..Found::default() };
        let unusable = judged(known, password("right")).await;
        assert_eq!(unusable, Err(Reason::DirectoryMisconfigured));
    }

    #[tokio::test]
    async fn with_nothing_to_judge_by_nobody_is_let_in_or_told_no() {
        for (found, reason) in [
            (Found::default(), Reason::DirectoryMisconfigured),
            (Found { secret: secret(""), ..Found::default() }, Reason::DirectoryMisconfigured),
            (Found { stale: true, ..Found::default() }, Reason::DirectoryUnavailable),
            (Found { incomplete: true, ..Found::default() }, Reason::DirectoryUnavailable),
        ] {
            assert_eq!(judged(found, password("")).await, Err(reason));
        }
        let token = Proof::Token(Token::new("t").unwrap());
        // A source that has let somebody in without a password has not seen the token.
        let let_in = Found { judged: true, ..Found::default() };
        assert_eq!(judged(let_in, token).await, Err(Reason::DirectoryMisconfigured));
        let certificate = judged(Found::default(), Proof::Certificate).await;
        assert_eq!(certificate, Ok(Judgement::Right));
    }
}
