//! Tokens as an issuer signs them, and as others forge them.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use directory::tokens::{
    ClaimRules, Fetch, Fetching, KeyTimes, Method, Remembering, TokenVerdict, Tokens, Wanted,
};
use model::{CanonicalUser, Token, UserName};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::DEADLINE;

/// An issuer that says what it is told to, and counts how often it is asked.
#[derive(Default)]
struct Issuer {
    says: Mutex<Option<String>>,
    asked: AtomicUsize,
}

impl Issuer {
    fn saying(document: &Value) -> Arc<Self> {
        let issuer = Arc::new(Self::default());
        issuer.say(document);
        issuer
    }

    fn say(&self, document: &Value) {
        *self.says.lock() = Some(document.to_string());
    }
}

impl Fetch for Issuer {
    fn fetch(&self, wanted: Wanted) -> Fetching<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if let Wanted::Introspection(form) = wanted {
            assert!(form.starts_with("token=") && !form.contains('+'));
        }
        let says = self.says.lock().clone();
        Box::pin(async move { says.map(String::into_bytes).ok_or_else(|| "it is away".to_owned()) })
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rules() -> ClaimRules {
    ClaimRules {
        issuer: Some("https://id.example.org".to_owned()),
        audiences: vec!["mail".to_owned()],
        scopes: Vec::new(),
        user: "email".to_owned(),
        must_expire: true,
        leeway: 60,
    }
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": "https://id.example.org", "aud": ["mail"], "exp": now + 600, "email": "ann@example.org",
    })
}

/// A token put together by hand.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Token {
    let said = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = sign(said.as_bytes());
    Token::new(format!("{said}.{}", b64(signature))).unwrap()
}

fn ann() -> CanonicalUser {
    CanonicalUser::declare(UserName::new("ann@example.org").unwrap())
}

async fn checked(tokens: &Tokens, token: &Token) -> TokenVerdict {
    let is_ann = |user: &UserName| user.as_str().eq_ignore_ascii_case("ANN@example.org");
    let ann = ann();
    tokio::time::timeout(DEADLINE, pin!(tokens.check(&ann, token, is_ann))).await.unwrap()
}

fn check(tokens: &Tokens, token: &Token) -> TokenVerdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(checked(tokens, token))
}

/// Nothing is remembered: each token is judged each time.
const NOTHING: Remembering = Remembering { time: Duration::ZERO, most: 0 };

fn wrong(verdict: &TokenVerdict) -> bool {
    matches!(verdict, TokenVerdict::Wrong(_))
}

/// One key of a kind, with the id "k".
struct Ec(EcdsaKeyPair);

impl Ec {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        let point = self.0.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]), "kid": id})
    }

    fn token(&self, id: &str, claims: &Value) -> Token {
        token(&json!({"alg": "ES256", "kid": id}), claims, |said| {
            self.0.sign(&SystemRandom::new(), said).unwrap().as_ref().to_vec()
        })
    }
}

fn by_keys(issuer: &Arc<Issuer>, times: KeyTimes) -> Tokens {
    Tokens::new(rules(), Method::Keys(times), NOTHING, Arc::clone(issuer) as Arc<dyn Fetch>)
}

#[test]
fn a_token_of_each_kind_of_key_is_right_and_one_with_a_changed_byte_is_not() {
    let ec = Ec::new();
    let ed = Ed25519KeyPair::generate().unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = rsa.public_key();
    let issuer = Issuer::saying(&json!({"keys": [
        {"kty": "unheard of", "kid": "new"},
        ec.jwk("ec"),
        {"kty": "OKP", "crv": "Ed25519", "x": b64(ed.public_key()), "kid": "ed"},
        {"kty": "RSA", "use": "sig", "kid": "rsa",
         "n": b64(public.modulus().big_endian_without_leading_zero()),
         "e": b64(public.exponent().big_endian_without_leading_zero())},
    ]}));
    let tokens = by_keys(&issuer, KeyTimes::default());
    let by_rsa = |encoding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
        let rsa = &rsa;
        move |said: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(encoding, &SystemRandom::new(), said, &mut signature).unwrap();
            signature
        }
    };
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid, "typ": "at+jwt"});
    for good in [
        ec.token("ec", &claims()),
        token(&header("EdDSA", "ed"), &claims(), |said| ed.sign(said).as_ref().to_vec()),
        token(&header("RS256", "rsa"), &claims(), by_rsa(&RSA_PKCS1_SHA256)),
        token(&header("PS256", "rsa"), &claims(), by_rsa(&RSA_PSS_SHA256)),
    ] {
        assert_eq!(check(&tokens, &good), TokenVerdict::Right);
        let text = good.secret().reveal();
        for place in (0..text.len()).step_by(7) {
            let mut changed = text.to_vec();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            assert!(wrong(&check(&tokens, &Token::new(changed).unwrap())), "{place}");
        }
    }
    let crossed = token(&header("RS256", "ec"), &claims(), by_rsa(&RSA_PKCS1_SHA256));
    assert!(wrong(&check(&tokens, &crossed)));
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_token_without_a_signature_or_signed_by_the_public_key_is_wrong() {
    let ec = Ec::new();
    let shared =
        json!({"kty": "oct", "k": b64("a secret that both sides know......"), "kid": "shared"});
    let issuer = Issuer::saying(&json!({"keys": [ec.jwk("ec"), shared]}));
    let tokens = by_keys(&issuer, KeyTimes::default());
    let point = ec.0.public_key().as_ref().to_vec();
    let by_secret = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        move |said: &[u8]| hmac::sign(&key, said).as_ref().to_vec()
    };
    for forged in [
        token(&json!({"alg": "none"}), &claims(), |_| Vec::new()),
        token(&json!({"alg": "none", "kid": "ec"}), &claims(), |_| Vec::new()),
        token(&json!({"alg": "HS256", "kid": "ec"}), &claims(), by_secret(&point)),
        token(&json!({"alg": "HS256", "kid": "ec"}), &claims(), by_secret(&point[1..])),
        token(
            &json!({"alg": "HS256", "kid": "shared"}),
            &claims(),
            by_secret(b"a secret that both sides know......"),
        ),
        token(&json!({"alg": "ES256", "kid": "ec"}), &claims(), |_| vec![0; 64]),
        token(&json!({"alg": "ES256", "kid": "ec", "crit": ["x"], "x": 1}), &claims(), |said| {
            ec.0.sign(&SystemRandom::new(), said).unwrap().as_ref().to_vec()
        }),
        // Its own key comes with it.
        {
            let other = Ec::new();
            token(
                &json!({"alg": "ES256", "jwk": other.jwk("ec"), "kid": "ec"}),
                &claims(),
                |said| other.0.sign(&SystemRandom::new(), said).unwrap().as_ref().to_vec(),
            )
        },
        Token::new("a.b").unwrap(),
        Token::new("opaque").unwrap(),
        Token::new("....").unwrap(),
    ] {
        assert!(wrong(&check(&tokens, &forged)), "{}", forged.secret().reveal().escape_ascii());
    }
}

#[test]
fn a_token_lets_in_its_own_user_only_and_for_us_only() {
    let ec = Ec::new();
    let issuer = Issuer::saying(&json!({"keys": [ec.jwk("ec")]}));
    let tokens = by_keys(&issuer, KeyTimes::default());
    for (name, value) in
        [("email", json!("bob@example.org")), ("aud", json!("shop")), ("exp", json!(1))]
    {
        let mut claims = claims();
        claims[name] = value;
        assert!(wrong(&check(&tokens, &ec.token("ec", &claims))), "{name}");
    }
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it_but_not_for_every_token() {
    let (old, new) = (Ec::new(), Ec::new());
    let issuer = Issuer::saying(&json!({"keys": [old.jwk("old")]}));
    let asked = || issuer.asked.load(Ordering::Relaxed);
    let patient = by_keys(&issuer, KeyTimes::default());
    assert_eq!(check(&patient, &old.token("old", &claims())), TokenVerdict::Right);
    issuer.say(&json!({"keys": [old.jwk("old"), new.jwk("new")]}));
    for _ in 0..10 {
        // It was fetched a moment ago.
        assert!(wrong(&check(&patient, &new.token("new", &claims()))));
    }
    assert_eq!(asked(), 1);
    let eager = by_keys(&issuer, KeyTimes { pause: Duration::ZERO, ..KeyTimes::default() });
    assert_eq!(check(&eager, &new.token("new", &claims())), TokenVerdict::Right);
    assert_eq!(check(&eager, &old.token("old", &claims())), TokenVerdict::Right);
    assert_eq!(asked(), 2);
}

#[test]
fn an_issuer_that_is_away_cannot_say_and_its_known_keys_go_on() {
    let ec = Ec::new();
    let issuer = Arc::new(Issuer::default());
    let times = KeyTimes { pause: Duration::ZERO, ..KeyTimes::default() };
    let tokens = by_keys(&issuer, times);
    let good = ec.token("ec", &claims());
    let away = TokenVerdict::CannotSay("the issuer's keys: it is away".to_owned());
    assert_eq!(check(&tokens, &good), away);
    issuer.say(&json!({"keys": [ec.jwk("ec")]}));
    assert_eq!(check(&tokens, &good), TokenVerdict::Right);
    *issuer.says.lock() = None;
    assert_eq!(check(&tokens, &good), TokenVerdict::Right);
    assert_eq!(check(&tokens, &Ec::new().token("another", &claims())), away);
    *issuer.says.lock() = Some("nonsense".to_owned());
    assert!(matches!(check(&tokens, &Ec::new().token("x", &claims())), TokenVerdict::CannotSay(_)));
    let short = KeyTimes { stale: Duration::ZERO, ..times };
    let tokens = by_keys(&issuer, short);
    assert!(matches!(check(&tokens, &good), TokenVerdict::CannotSay(_)));
}

#[test]
fn an_opaque_token_is_what_its_issuer_says() {
    let issuer = Arc::new(Issuer::default());
    let rules = ClaimRules { issuer: None, must_expire: false, ..rules() };
    let source = Arc::clone(&issuer) as Arc<dyn Fetch>;
    let tokens = Tokens::new(rules, Method::Introspection, NOTHING, source);
    let opaque = Token::new("ya29.a+b/c=").unwrap();
    assert!(matches!(check(&tokens, &opaque), TokenVerdict::CannotSay(_)));
    let active = json!({"active": true, "aud": "mail", "email": "ann@example.org"});
    issuer.say(&active);
    assert_eq!(check(&tokens, &opaque), TokenVerdict::Right);
    for (document, is_wrong) in [
        (json!({"active": false}), true),
        (json!({"active": true, "aud": "shop", "email": "ann@example.org"}), true),
        (json!({"active": true, "aud": "mail", "email": "bob@example.org"}), true),
        (json!({"active": "true", "aud": "mail", "email": "ann@example.org"}), false),
        (json!({"error": "invalid_client"}), false),
        (json!(["active"]), false),
    ] {
        issuer.say(&document);
        let verdict = check(&tokens, &opaque);
        assert_eq!(wrong(&verdict), is_wrong, "{document}");
        assert_eq!(matches!(verdict, TokenVerdict::CannotSay(_)), !is_wrong, "{document}");
    }
}

#[tokio::test]
async fn keys_are_fetched_anew_whoever_logs_in_and_a_withdrawn_one_counts_no_more() {
    let (old, new) = (Ec::new(), Ec::new());
    let issuer = Issuer::saying(&json!({"keys": [old.jwk("old")]}));
    let times = KeyTimes {
        refresh: Duration::from_millis(50),
        pause: Duration::ZERO,
        ..KeyTimes::default()
    };
    let tokens = by_keys(&issuer, times);
    let by_old = old.token("old", &claims());
    assert_eq!(checked(&tokens, &by_old).await, TokenVerdict::Right);
    issuer.say(&json!({"keys": [new.jwk("new")]}));
    let asked = || issuer.asked.load(Ordering::Relaxed);
    let before = asked();
    let fetched = async {
        while asked() < before + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, fetched).await.unwrap();
    assert!(wrong(&checked(&tokens, &by_old).await));
    assert_eq!(checked(&tokens, &new.token("new", &claims())).await, TokenVerdict::Right);
    // Nobody is left who could need them.
    drop(tokens);
    let quiet = async {
        loop {
            let before = asked();
            tokio::time::sleep(Duration::from_millis(200)).await;
            if asked() == before {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, quiet).await.unwrap();
}

#[test]
fn a_token_that_was_right_is_not_asked_for_again_but_for_another_user_or_when_it_is_forgotten() {
    let says = json!({"active": true, "aud": "mail", "email": "ann@example.org"});
    let issuer = Issuer::saying(&says);
    let rules = ClaimRules { issuer: None, must_expire: false, ..rules() };
    let source = Arc::clone(&issuer) as Arc<dyn Fetch>;
    let tokens = Tokens::new(rules, Method::Introspection, Remembering::default(), source);
    let asked = || issuer.asked.load(Ordering::Relaxed);
    let (one, other) = (Token::new("one").unwrap(), Token::new("other").unwrap());
    for _ in 0..3 {
        assert_eq!(check(&tokens, &one), TokenVerdict::Right);
    }
    assert_eq!(asked(), 1);
    assert_eq!(check(&tokens, &other), TokenVerdict::Right);
    assert_eq!(asked(), 2);
    // What was right for her says nothing of him.
    let bob = CanonicalUser::declare(UserName::new("bob@example.org").unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let is_bob = |user: &UserName| user.as_str() == "bob@example.org";
    assert!(wrong(&runtime.block_on(tokens.check(&bob, &one, is_bob))));
    assert_eq!(asked(), 3);
    issuer.say(&json!({"active": false}));
    assert_eq!(check(&tokens, &one), TokenVerdict::Right);
    tokens.forget(Some(&ann()));
    for _ in 0..2 {
        assert!(wrong(&check(&tokens, &one)));
    }
    assert_eq!(asked(), 5);
}
