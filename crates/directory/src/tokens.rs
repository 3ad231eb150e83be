//! OAuth 2.0 tokens judged here: by the issuer's keys where they are JWTs (RFC 7519, RFC 9068), or by asking
//! the issuer (RFC 7662).
//!
//! Nothing here knows where an issuer's documents come from: they are brought by a [`Fetch`]. An issuer that does
//! not answer, or answers nonsense, is "cannot say": never "wrong token".

mod claims;
mod introspection;
mod issuer;
mod keys;
mod memory;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{CanonicalUser, Token, UserName};
use transport::tls::ClientTlsError;
use zeroize::Zeroizing;

pub use claims::ClaimRules;
pub use issuer::{ClientLogin, Issuer};
pub use keys::KeyTimes;

use self::memory::Memory;

/// Brings documents of an issuer. Whoever implements it knows addresses, deadlines and our own credentials.
pub trait Fetch: Send + Sync {
    /// Brings a document: the body of an answer with status 200, of at most [`MAX_DOCUMENT`] bytes.
    fn fetch(&self, wanted: Wanted) -> Fetching<'_>;
}

/// A document under way; the error says for the log why there is none, and holds no secret.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send + 'a>>;

/// What is wanted of an issuer.
pub enum Wanted {
    /// The answer to this form, posted to its introspection endpoint as `application/x-www-form-urlencoded`.
    Introspection(Zeroizing<String>),
    /// Its JSON Web Key Set (RFC 7517 section 5).
    Keys,
}

/// The longest document in bytes: a hundred keys with their certificates have fewer.
pub const MAX_DOCUMENT: usize = 1024 * 1024;

/// How an issuer's tokens are judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// They are opaque: the issuer is asked for each.
    Introspection,
    /// They are JWTs: their signatures are checked by its keys.
    Keys(KeyTimes),
}

/// For how long, and how many, tokens that were right are known without being judged again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remembering {
    /// How long, but never beyond the token's own end; zero for never. One minute: a mail program opens its
    /// connections within seconds, and a token that was revoked opens nothing for longer.
    pub time: Duration,
    /// How many; zero for none. 100,000, which take about 15 MB.
    pub most: usize,
}

impl Default for Remembering {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), most: 100_000 }
    }
}

/// How tokens are judged here.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// What must hold of their claims.
    pub rules: ClaimRules,
    /// Who issued them.
    pub issuer: Issuer,
    /// How long the issuer may take for an answer.
    pub deadline: Duration,
    /// How long one that was right is not judged again.
    pub remembering: Remembering,
}

/// What came of judging a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenVerdict {
    /// Nobody can say; the text is for the log.
    CannotSay(String),
    /// The issuer gave it to this user.
    Right,
    /// It is none of the issuer's, not for us, not of this time, or another's; the text is for the log.
    Wrong(String),
}

/// Judges the tokens of one issuer. It is shared by all sessions.
pub struct Tokens {
    rules: ClaimRules,
    judge: Judge,
    memory: Memory,
}

enum Judge {
    Introspection(Arc<dyn Fetch>),
    Keys(keys::Keys),
}

impl Tokens {
    /// Judges as it is set; nothing is fetched before the first token.
    ///
    /// # Errors
    /// [`ClientTlsError`] if what TLS towards the issuer needs cannot be used.
    pub fn open(settings: &TokenSettings) -> Result<Self, ClientTlsError> {
        let (method, source) = settings.issuer.open(settings.deadline)?;
        Ok(Self::new(settings.rules.clone(), method, settings.remembering, source))
    }

    /// Judges by these rules, with documents from anywhere.
    pub fn new(
        rules: ClaimRules,
        method: Method,
        remembering: Remembering,
        source: Arc<dyn Fetch>,
    ) -> Self {
        let judge = match method {
            Method::Introspection => Judge::Introspection(source),
            Method::Keys(times) => Judge::Keys(keys::Keys::new(times, source)),
        };
        Self { rules, judge, memory: Memory::new(remembering) }
    }

    /// Judges a token that came with a name. `is_his` says whether a name in a token is that one, as the name rules
    /// see them: a token lets in its own user only. It has to be called within a tokio runtime.
    pub async fn check(
        &self,
        user: &CanonicalUser,
        token: &Token,
        is_his: impl Fn(&UserName) -> bool,
    ) -> TokenVerdict {
        let print = self.memory.print(user, token);
        if print.is_some_and(|print| self.memory.knows(print, Instant::now())) {
            return TokenVerdict::Right;
        }
        let epoch = self.memory.epoch();
        let claims = match &self.judge {
            Judge::Introspection(source) => introspection::ask(&**source, token).await,
            Judge::Keys(keys) => keys.verify(token, Instant::now()).await,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        match claims.and_then(|claims| self.rules.judge(&claims, now)) {
            Ok(judged) if is_his(&judged.user) => {
                let left = judged.until.map(|until| until.saturating_sub(now));
                if let Some(print) = print {
                    let left = left.map(Duration::from_secs);
                    self.memory.learn(print, user, left, epoch, Instant::now());
                }
                TokenVerdict::Right
            }
            Ok(judged) => TokenVerdict::Wrong(format!("the token belongs to `{}`", judged.user)),
            Err(Not::Known(why)) => TokenVerdict::CannotSay(why),
            Err(Not::Valid(why)) => TokenVerdict::Wrong(format!("the token: {why}")),
        }
    }

    /// Forgets which tokens were right: those of one user, or all.
    pub fn forget(&self, user: Option<&CanonicalUser>) {
        self.memory.forget(user);
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Why a token has no claims to go by.
#[derive(Debug, Eq, PartialEq)]
enum Not {
    Known(String),
    Valid(String),
}

/// The claims of a token.
type Claims = serde_json::Map<String, serde_json::Value>;
