//! Checks the signatures of JWTs (RFC 7515) by their issuer's keys (RFC 7517), which are fetched when they are
//! needed.
//!
//! Nothing here takes a token without a signature, or one made by a secret that both sides know: whoever has the
//! public key could make the latter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use model::Token;
use tokio::sync::Mutex;

use super::{Claims, Fetch, MAX_DOCUMENT, Not, Wanted};

/// When keys are fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyTimes {
    /// After this they are fetched anew. One hour: a key that its owner has withdrawn is believed no longer.
    pub refresh: Duration,
    /// Never more often than this, whatever tokens name. 30 s: anybody can make a token with an unknown key.
    pub pause: Duration,
    /// For as long as this, keys are believed that cannot be fetched anew. 24 hours: users stay able to log in while
    /// the issuer is away.
    pub stale: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self { refresh: hours(1), pause: Duration::from_secs(30), stale: hours(24) }
    }
}

pub(super) struct Keys {
    times: KeyTimes,
    held: ArcSwapOption<Held>,
    /// Held by whoever fetches, so that all others wait for the same answer.
    tried: Mutex<Option<Tried>>,
}

struct Held {
    keys: JwkSet,
    since: Instant,
}

/// The last try to fetch.
struct Tried {
    at: Instant,
    failed: Option<String>,
}

impl Keys {
    pub(super) fn new(times: KeyTimes) -> Self {
        Self { times, held: ArcSwapOption::empty(), tried: Mutex::new(None) }
    }

    /// The claims of a token, if its signature is right.
    pub(super) async fn verify(
        &self,
        source: &dyn Fetch,
        token: &Token,
        now: Instant,
    ) -> Result<Claims, Not> {
        let bytes = token.secret().reveal();
        let header = jsonwebtoken::decode_header(bytes).map_err(|_| {
            Not::Valid("it is no JWT, or has an algorithm that is not taken".into())
        })?;
        if !is_taken(header.alg) {
            return Err(Not::Valid(format!("its algorithm {:?} is not taken", header.alg)));
        }
        // RFC 7515 section 4.1.11: what has to be understood and is not.
        if header.crit.is_some() {
            return Err(Not::Valid("it has critical extensions".to_owned()));
        }
        let key = self.key(source, &header, now).await?;
        let mut validation = Validation::new(header.alg);
        // The claims are judged by our own rules.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Claims>(bytes, &key, &validation);
        decoded
            .map(|token| token.claims)
            .map_err(|_| Not::Valid("its signature is wrong".to_owned()))
    }

    /// The key that a token names.
    async fn key(
        &self,
        source: &dyn Fetch,
        header: &Header,
        now: Instant,
    ) -> Result<DecodingKey, Not> {
        if let Some(held) = self.held_until(self.times.refresh, now)
            && let Some(key) = held.key(header)
        {
            return Ok(key);
        }
        let mut tried = self.tried.lock().await;
        let due = tried.as_ref().is_none_or(|tried| now >= tried.at + self.times.pause);
        if due {
            let failed = self.fetch(source, now).await.err();
            *tried = Some(Tried { at: now, failed });
        }
        let failed = tried.as_ref().and_then(|tried| tried.failed.clone());
        drop(tried);
        let known = self.held_until(self.times.stale, now).and_then(|held| held.key(header));
        match (known, failed) {
            (Some(key), _) => Ok(key),
            // It may be signed by a key that we could not fetch.
            (None, Some(why)) => Err(Not::Known(format!("the issuer's keys: {why}"))),
            (None, None) => Err(Not::Valid("its issuer has no such key".to_owned())),
        }
    }

    fn held_until(&self, age: Duration, now: Instant) -> Option<Arc<Held>> {
        let held = self.held.load_full();
        held.filter(|held| now.saturating_duration_since(held.since) < age)
    }

    async fn fetch(&self, source: &dyn Fetch, now: Instant) -> Result<(), String> {
        let document = source.fetch(Wanted::Keys).await?;
        if document.len() > MAX_DOCUMENT {
            return Err("the document is too long".to_owned());
        }
        let keys: JwkSet = serde_json::from_slice(&document)
            .map_err(|problem| format!("the document is no set of keys: {problem}"))?;
        self.held.store(Some(Arc::new(Held { keys, since: now })));
        Ok(())
    }
}

impl Held {
    /// The key for a token: the one it names, or the only one there is for its algorithm.
    fn key(&self, header: &Header) -> Option<DecodingKey> {
        let mut fitting = self.keys.keys.iter().filter(|key| {
            let named = header.kid.is_none() || key.common.key_id == header.kid;
            named && fits(key, header.alg)
        });
        let key = fitting.next()?;
        if header.kid.is_none() && fitting.next().is_some() {
            return None;
        }
        DecodingKey::from_jwk(key).ok()
    }
}

/// Signatures by a key of which only the issuer has the private half.
fn is_taken(algorithm: Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::ES256
            | Algorithm::ES384
            | Algorithm::EdDSA
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512
            | Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
    )
}

/// Whether a key is one for an algorithm. The key decides, never the token (RFC 8725 section 3.1).
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_for_signing = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let may = key.common.key_algorithm.is_none_or(|declared| declared == algorithm.into());
    let is_of_kind = match &key.algorithm {
        AlgorithmParameters::EllipticCurve(curve) => match algorithm {
            Algorithm::ES256 => curve.curve == EllipticCurve::P256,
            Algorithm::ES384 => curve.curve == EllipticCurve::P384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512
                | Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
        ),
        // A secret that both sides know, or a kind that nobody knows.
        _ => false,
    };
    is_for_signing && may && is_of_kind
}
