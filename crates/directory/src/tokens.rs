//! OAuth 2.0 tokens judged here: by the issuer's keys where they are JWTs (RFC 7519, RFC 9068), or by asking
//! the issuer (RFC 7662).
//!
//! Nothing here opens a connection: documents come through a [`Fetch`] that is given in. An issuer that does
//! not answer, or answers nonsense, is "cannot say": never "wrong token".

mod claims;
mod introspection;
mod keys;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::{Token, UserName};
use zeroize::Zeroizing;

pub use claims::ClaimRules;
pub use keys::KeyTimes;

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

/// What came of judging a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenVerdict {
    /// Nobody can say; the text is for the log.
    CannotSay(String),
    /// The issuer gave it to this user.
    Right(UserName),
    /// It is none of the issuer's, not for us, or not of this time; the text is for the log.
    Wrong(String),
}

/// Judges the tokens of one issuer. It is shared by all sessions.
pub struct Tokens {
    rules: ClaimRules,
    judge: Judge,
    source: Arc<dyn Fetch>,
}

enum Judge {
    Introspection,
    Keys(keys::Keys),
}

impl Tokens {
    /// Judges by these rules; nothing is fetched before the first token.
    pub fn new(rules: ClaimRules, method: Method, source: Arc<dyn Fetch>) -> Self {
        let judge = match method {
            Method::Introspection => Judge::Introspection,
            Method::Keys(times) => Judge::Keys(keys::Keys::new(times)),
        };
        Self { rules, judge, source }
    }

    /// Judges a token that came with a name. `is_same` compares that name with the one in the token, as the name
    /// rules see them: a token lets in its own user only.
    pub async fn check(&self, token: &Token, is_same: impl Fn(&UserName) -> bool) -> TokenVerdict {
        let claims = match &self.judge {
            Judge::Introspection => introspection::ask(&*self.source, token).await,
            Judge::Keys(keys) => keys.verify(&*self.source, token, Instant::now()).await,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        match claims.and_then(|claims| self.rules.judge(&claims, now)) {
            Ok(user) if is_same(&user) => TokenVerdict::Right(user),
            Ok(user) => TokenVerdict::Wrong(format!("it belongs to `{user}`")),
            Err(Not::Known(why)) => TokenVerdict::CannotSay(why),
            Err(Not::Valid(why)) => TokenVerdict::Wrong(why),
        }
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
