//! Checks the signatures of JWTs (RFC 7515) by their issuer's keys (RFC 7517), which are fetched when they are
//! needed.
//!
//! Nothing here takes a token without a signature, or one made by a secret that both sides know: whoever has the
//! public key could make the latter.

use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use model::Token;
use tokio::sync::Mutex;

use super::{Claims, Fetch, MAX_DOCUMENT, Not, Wanted};

/// However often keys are to be fetched anew, so much time is between.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// When keys are fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyTimes {
    /// After this they are fetched anew, whoever logs in. One hour: a key that its owner has withdrawn is believed no
    /// longer.
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

/// An issuer's keys. They are fetched in tasks of their own: no token has to wait for new ones as long as there is a
/// key for it, and whoever gives up waiting does not spoil it for others.
pub(super) struct Keys {
    shared: Arc<Shared>,
    /// Whether they are fetched anew from time to time.
    renewing: Once,
}

struct Shared {
    times: KeyTimes,
    source: Arc<dyn Fetch>,
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
    pub(super) fn new(times: KeyTimes, source: Arc<dyn Fetch>) -> Self {
        let (held, tried) = (ArcSwapOption::empty(), Mutex::new(None));
        Self { shared: Arc::new(Shared { times, source, held, tried }), renewing: Once::new() }
    }

    /// The claims of a token, if its signature is right. It has to be called within a tokio runtime.
    pub(super) async fn verify(&self, token: &Token, now: Instant) -> Result<Claims, Not> {
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
        let key = self.key(&header, now).await?;
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
    async fn key(&self, header: &Header, now: Instant) -> Result<DecodingKey, Not> {
        self.renewing.call_once(|| {
            drop(tokio::spawn(renew(Arc::downgrade(&self.shared), self.shared.times)));
        });
        if let Some(key) = self.shared.key(header, now) {
            return Ok(key);
        }
        let shared = Arc::clone(&self.shared);
        let fetched = tokio::spawn(async move { shared.fetch_where_due(now).await }).await;
        match (self.shared.key(header, now), fetched) {
            (Some(key), _) => Ok(key),
            (None, Ok(Ok(()))) => Err(Not::Valid("its issuer has no such key".to_owned())),
            // It may be signed by a key that we could not fetch.
            (None, Ok(Err(why))) => Err(Not::Known(format!("the issuer's keys: {why}"))),
            (None, Err(lost)) => Err(Not::Known(format!("the issuer's keys: {lost}"))),
        }
    }
}

/// Fetches keys anew for as long as somebody needs them.
async fn renew(shared: Weak<Shared>, times: KeyTimes) {
    let mut wait = times.refresh;
    loop {
        tokio::time::sleep(wait.max(SHORTEST_WAIT)).await;
        let Some(shared) = shared.upgrade() else { return };
        let now = Instant::now();
        let age = shared.held.load().as_ref().map(|held| now.saturating_duration_since(held.since));
        wait = match age.and_then(|age| times.refresh.checked_sub(age)) {
            // A token has named a new one meanwhile.
            Some(left) if !left.is_zero() => left,
            _ => match shared.fetch_where_due(now).await {
                Ok(()) => times.refresh,
                Err(_) => times.pause,
            },
        };
    }
}

impl Shared {
    /// The key for a token, if it is held and may still be believed.
    fn key(&self, header: &Header, now: Instant) -> Option<DecodingKey> {
        let held = self.held.load();
        let held = held.as_ref()?;
        let counts = now.saturating_duration_since(held.since) < self.times.stale;
        counts.then(|| held.key(header)).flatten()
    }

    /// Fetches the keys, unless that was tried a short time ago; what came of the last try.
    async fn fetch_where_due(&self, now: Instant) -> Result<(), String> {
        let mut tried = self.tried.lock().await;
        let due = tried.as_ref().is_none_or(|tried| now >= tried.at + self.times.pause);
        if due {
            let had_failed = tried.as_ref().is_some_and(|tried| tried.failed.is_some());
            let failed = self.fetch(now).await.err();
            match &failed {
                Some(why) if !had_failed => {
                    tracing::warn!(%why, "the keys by which tokens are judged cannot be fetched");
                }
                None if had_failed => {
                    tracing::info!("the keys by which tokens are judged can be fetched again");
                }
                _ => {}
            }
            *tried = Some(Tried { at: now, failed });
        }
        match tried.as_ref().and_then(|tried| tried.failed.clone()) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    async fn fetch(&self, now: Instant) -> Result<(), String> {
        let document = self.source.fetch(Wanted::Keys).await?;
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
