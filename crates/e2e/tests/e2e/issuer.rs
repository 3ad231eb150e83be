//! OAuth 2.0 tokens that are judged here, by an issuer's keys or by asking it; then a master user enters.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use e2e::{
    cases,
    door::{Door, SOON, listening, ports},
    house::{House, Kind, Person},
    runner::Case,
    secrets::password,
    stub::{Stub, Talk},
};
use serde_json::{Value, json};
use testkit::{scripted::Client, wait};

use crate::tokens::{MECHANISMS, answer_to_challenge, token_message};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_token_of_the_issuer_opens_its_users_mailbox_and_no_other,
        while_the_issuer_is_away_nobody_is_refused_and_its_known_keys_go_on,
        a_new_key_counts_at_once_and_a_withdrawn_one_no_more,
        an_opaque_token_is_what_its_issuer_says,
        an_issuer_that_hangs_or_refuses_us_is_no_refusal_of_users,
    ]
}

const ISSUER: &str = "https://id.example.org";

/// What the issuer does with a question.
#[derive(Clone, Debug)]
enum Does {
    Answers(u16, String),
    Hangs,
    Leaves,
}

/// An issuer that is asked by HTTP.
struct Issuer {
    stub: Stub,
    does: Arc<Mutex<Does>>,
}

impl Issuer {
    fn start_at(port: u16, privacy: Privacy, does: Does) -> Self {
        let does = Arc::new(Mutex::new(does));
        let told = Arc::clone(&does);
        let stub = Stub::start_at(port, move |talk| {
            let talk = if privacy == Privacy::Tls { talk.start_tls()? } else { talk };
            serve(talk, &told)
        });
        Self { stub, does }
    }

    fn start(privacy: Privacy, does: Does) -> Self {
        Self::start_at(ports::<1>()[0], privacy, does)
    }

    fn does_now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        self.stub.heard().matches(" HTTP/1.1\r\n").count()
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Privacy {
    None,
    Tls,
}

fn serve(mut talk: Talk, does: &Mutex<Does>) -> io::Result<()> {
    loop {
        let mut length = 0;
        loop {
            let line = talk.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.parse().map_err(io::Error::other)?;
            }
        }
        talk.body(length)?;
        let does = does.lock().unwrap().clone();
        match does {
            Does::Answers(status, document) => talk.send(&format!(
                "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{document}",
                document.len()
            ))?,
            Does::Hangs => return talk.rest().map(drop),
            Does::Leaves => return Ok(()),
        }
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of the issuer.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": b64(&point[1..33]), "y": b64(&point[33..]),
        })
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": self.id});
        signed(&header, claims, |said| {
            self.pair.sign(&SystemRandom::new(), said).unwrap().as_ref().to_vec()
        })
    }
}

fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let said = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = b64(sign(said.as_bytes()));
    format!("{said}.{signature}")
}

fn keys(keys: &[&Key]) -> Does {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    // As long as with the certificates that some issuers add.
    let filling = "x".repeat(200 << 10);
    Does::Answers(200, json!({"keys": keys, "x": filling}).to_string())
}

/// What the issuer says of somebody, with something that no log may show.
fn claims(of: &Person) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": ISSUER, "aud": ["mail", "calendar"], "exp": now + 600, "email": of.name,
        "scope": "openid imap", "jti": password("token"),
    })
}

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

/// A door before the Dovecot of the house, which a master user enters whoever has the right token.
fn open(house: &House, master: &str, tokens: &str) -> Door {
    let secret = password(master);
    house.add_master(master, &secret);
    let rest = format!(
        "{}login = \"master\"\nmaster_user = \"{master}\"\nmaster_secret = \"{secret}\"\n\
         [[directory]]\nsource = \"static\"\nbackend = \"maildir\"\n\
         [tokens]\n{tokens}",
        house.backend(Kind::Maildir),
    );
    Door::open(&listening("mechanisms = [\"xoauth2\", \"oauthbearer\"]", &rest))
}

fn by_keys(issuer: &Issuer, privacy: Privacy, more: &str) -> String {
    let port = issuer.stub.port();
    let url = match privacy {
        Privacy::None => format!("jwks_url = \"http://127.0.0.1:{port}/keys\"\n"),
        Privacy::Tls => format!(
            "jwks_url = \"https://localhost:{port}/keys\"\nca_file = \"{}\"\n",
            issuer.stub.certificates().ca.display()
        ),
    };
    format!("issuer = \"{ISSUER}\"\naudience = \"mail\"\nscope = \"imap\"\n{url}{more}")
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Imap,
    Pop3,
}

/// A client and what it was told last.
fn log_in(
    door: &Door,
    protocol: Protocol,
    mechanism: &str,
    name: &str,
    token: &str,
) -> (Client, String) {
    let message = STANDARD.encode(token_message(mechanism, name, token));
    let (mut client, command) = match protocol {
        Protocol::Imap => (door.raw_imap(), "l AUTHENTICATE"),
        Protocol::Pop3 => (door.raw_pop3(), "AUTH"),
    };
    client.send(format!("{command} {mechanism}\r\n")).unwrap();
    assert_eq!(client.read_line().unwrap(), "+ ");
    client.send(format!("{message}\r\n")).unwrap();
    let mut said = client.read_line().unwrap();
    if let Some(why) = said.strip_prefix("+ ").filter(|why| !why.is_empty()) {
        let why: Value = serde_json::from_slice(&STANDARD.decode(why).unwrap()).unwrap();
        assert!(why["status"].is_string(), "{why}");
        client.send(format!("{}\r\n", answer_to_challenge(mechanism))).unwrap();
        said = client.read_line().unwrap();
    }
    (client, said)
}

fn answer(door: &Door, person: &Person, token: &str) -> String {
    log_in(door, Protocol::Imap, "OAUTHBEARER", &person.name, token).1
}

const IN: &str = "l OK";
const NO: &str = "l NO [AUTHENTICATIONFAILED]";
const TRY_LATER: &str = "l NO [UNAVAILABLE]";

fn assert_answer(door: &Door, person: &Person, token: &str, expected: &str) {
    let answer = answer(door, person, token);
    assert!(answer.starts_with(expected), "{answer}; the log:\n{}", door.log_text());
}

/// Somebody with one message.
fn person(house: &House) -> Person {
    let person = house.person(Kind::Maildir);
    house.deliver(Kind::Maildir, &person, b"Subject: hers\r\n\r\n.\r\n");
    person
}

fn a_token_of_the_issuer_opens_its_users_mailbox_and_no_other(house: &House) {
    let (key, person, other) = (Key::new("k1"), person(house), house.person(Kind::Maildir));
    let issuer = Issuer::start(Privacy::Tls, keys(&[&key]));
    let door = open(house, "tokenmaster", &by_keys(&issuer, Privacy::Tls, ""));
    let claims = claims(&person);
    // As the name rules see it, it is his.
    let shouted = changed(&claims, "email", json!(person.name.to_uppercase()));
    for mechanism in MECHANISMS {
        for token in [key.token(&claims), key.token(&shouted)] {
            let (mut client, said) = log_in(&door, Protocol::Imap, mechanism, &person.name, &token);
            assert!(said.starts_with(IN), "{said}; the log:\n{}", door.log_text());
            client
                .ask("s SELECT INBOX", "s OK")
                .unwrap()
                .iter()
                .find(|line| *line == "* 1 EXISTS")
                .unwrap();
            let (mut client, said) = log_in(&door, Protocol::Pop3, mechanism, &person.name, &token);
            assert!(said.starts_with("+OK"), "{said}");
            client.ask("STAT", "+OK 1 ").unwrap();
        }
    }
    let now = claims["exp"].as_u64().unwrap() - 600;
    let header = |alg: &str| json!({"alg": alg, "kid": "k1"});
    let public = key.pair.public_key().as_ref().to_vec();
    let by_public = |said: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), said).as_ref().to_vec()
    };
    for (token, why) in [
        (key.token(&changed(&claims, "exp", json!(now - 120))), "expired"),
        (key.token(&changed(&claims, "nbf", json!(now + 300))), "not valid yet"),
        (key.token(&changed(&claims, "aud", json!("calendar"))), "another service"),
        (key.token(&changed(&claims, "iss", json!("https://evil.example"))), "another issuer"),
        (key.token(&changed(&claims, "scope", json!("openid"))), "lacks the scope `imap`"),
        (key.token(&changed(&claims, "email", json!(other.name))), "belongs to"),
        (key.token(&changed(&claims, "email", json!("a\r\nb"))), "its user"),
        (Key::new("k1").token(&claims), "its signature is wrong"),
        (Key::new("k2").token(&claims), "no such key"),
        (signed(&header("none"), &claims, |_| Vec::new()), "no JWT, or has an algorithm"),
        (signed(&header("HS256"), &claims, by_public), "HS256 is not taken"),
        (password("opaque"), "no JWT"),
    ] {
        for (protocol, no) in [(Protocol::Imap, NO), (Protocol::Pop3, "-ERR [AUTH]")] {
            let (_, said) = log_in(&door, protocol, "XOAUTH2", &person.name, &token);
            assert!(said.starts_with(no), "{why}: {said}; the log:\n{}", door.log_text());
        }
        let line = door.line(|line| line.contains("login refused") && line.contains(why));
        assert!(line.contains("reason=wrong-password"), "{line}");
    }
    // The other's own token is still good for him.
    let (mut client, said) =
        log_in(&door, Protocol::Imap, "XOAUTH2", &other.name, &key.token(&self::claims(&other)));
    assert!(said.starts_with(IN), "{said}");
    client.ask("s SELECT INBOX", "s OK").unwrap();
    let checked = door.does(&["check"]);
    assert!(checked.contains("judged by the keys of https://localhost:"), "{checked}");
}

fn while_the_issuer_is_away_nobody_is_refused_and_its_known_keys_go_on(house: &House) {
    let (key, person, port) = (Key::new("k1"), person(house), ports::<1>()[0]);
    let issuer = Issuer::start_at(port, Privacy::None, Does::Leaves);
    let more = "refresh_pause = \"50ms\"\nrefresh = \"100ms\"\nremember_for = \"0s\"\n";
    let door = open(house, "awaymaster", &by_keys(&issuer, Privacy::None, more));
    let token = key.token(&claims(&person));
    assert_answer(&door, &person, &token, TRY_LATER);
    let (_, said) = log_in(&door, Protocol::Pop3, "XOAUTH2", &person.name, &token);
    assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
    let line = door.line(|line| line.contains("login refused") && line.contains("issuer's keys"));
    assert!(line.contains("reason=directory-unavailable"), "{line}");
    for nonsense in [
        Does::Answers(503, "{}".to_owned()),
        Does::Answers(302, String::new()),
        Does::Answers(200, "<html>".to_owned()),
        Does::Answers(200, format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(1 << 20))),
    ] {
        issuer.does_now(nonsense);
        let asked = issuer.asked();
        assert!(wait::until(SOON, || {
            assert_answer(&door, &person, &token, TRY_LATER);
            issuer.asked() > asked
        }));
    }
    issuer.does_now(keys(&[&key]));
    assert!(wait::until(SOON, || answer(&door, &person, &token).starts_with(IN)));
    door.line(|line| line.contains("can be fetched again"));
    // Those who are connected to it already are left, too.
    issuer.does_now(Does::Leaves);
    drop(issuer);
    // It is asked again and again in vain, and those whose keys are known do not notice.
    for _ in 0..5 {
        assert_answer(&door, &person, &token, IN);
    }
    assert!(wait::until(SOON, || {
        let unknown = Key::new("new").token(&claims(&person));
        answer(&door, &person, &unknown).starts_with(TRY_LATER)
    }));
    assert_answer(&door, &person, &token, IN);
    door.line(|line| line.contains("the keys by which tokens are judged cannot be fetched"));
}

fn a_new_key_counts_at_once_and_a_withdrawn_one_no_more(house: &House) {
    let (old, new, person) = (Key::new("old"), Key::new("new"), person(house));
    let issuer = Issuer::start(Privacy::None, keys(&[&old]));
    let more = "refresh_pause = \"1ms\"\nrefresh = \"500ms\"\nremember_for = \"0s\"\n";
    let door = open(house, "rotatemaster", &by_keys(&issuer, Privacy::None, more));
    let (by_old, by_new) = (old.token(&claims(&person)), new.token(&claims(&person)));
    assert_answer(&door, &person, &by_old, IN);
    assert_answer(&door, &person, &by_new, NO);
    issuer.does_now(keys(&[&old, &new]));
    assert_answer(&door, &person, &by_new, IN);
    assert_answer(&door, &person, &by_old, IN);
    issuer.does_now(keys(&[&new]));
    // Nobody has named an unknown key: it is fetched by itself.
    assert!(wait::until(SOON, || answer(&door, &person, &by_old).starts_with(NO)));
    assert_answer(&door, &person, &by_new, IN);
}

fn by_asking(issuer: &Issuer, more: &str) -> String {
    let port = issuer.stub.port();
    format!(
        "introspection_url = \"http://127.0.0.1:{port}/introspect\"\nclient_id = \"front door\"\n\
         client_secret = \"{}\"\naudience = \"mail\"\nuser_claim = \"username\"\n{more}",
        password("client"),
    )
}

fn opened(active: bool, name: &str) -> Does {
    let document = json!({"active": active, "aud": "mail", "username": name});
    Does::Answers(200, document.to_string())
}

fn an_opaque_token_is_what_its_issuer_says(house: &House) {
    let person = person(house);
    let issuer = Issuer::start(Privacy::None, opened(true, &person.name));
    let door = open(house, "opaquemaster", &by_asking(&issuer, ""));
    let token = password("a+b/c=");
    for _ in 0..3 {
        assert_answer(&door, &person, &token, IN);
    }
    // It was asked once, as RFC 7662 has it.
    let heard = issuer.stub.heard();
    assert_eq!(issuer.asked(), 1, "{heard}");
    let basic = STANDARD.encode(format!("front%20door:{}", password("client")));
    assert!(heard.starts_with("POST /introspect HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("Authorization: Basic {basic}\r\n")), "{heard}");
    assert!(heard.contains("Content-Type: application/x-www-form-urlencoded\r\n"), "{heard}");
    let form = format!("token={}-a%2Bb%2Fc%3D&token_type_hint=access_token", e2e::secrets::MARK);
    assert!(heard.ends_with(&form), "{heard}");
    // It has been revoked, and that is told.
    issuer.does_now(opened(false, &person.name));
    door.does(&["cache", "flush", &person.name]);
    assert_answer(&door, &person, &token, NO);
    let line = door.line(|line| line.contains("login refused"));
    assert!(line.contains("is not active"), "{line}");
    issuer.does_now(opened(true, "somebody"));
    assert_answer(&door, &person, &token, NO);
    issuer.does_now(Does::Answers(
        200,
        json!({"active": true, "aud": "shop", "username": person.name}).to_string(),
    ));
    assert_answer(&door, &person, &token, NO);
    issuer.does_now(opened(true, &person.name));
    assert_answer(&door, &person, &token, IN);
    let shown = door.does(&["check"]);
    assert!(
        shown.contains("judged by asking http://127.0.0.1:") && shown.contains("`username`"),
        "{shown}"
    );
}

fn an_issuer_that_hangs_or_refuses_us_is_no_refusal_of_users(house: &House) {
    let person = person(house);
    let issuer = Issuer::start(Privacy::None, Does::Hangs);
    let door = open(house, "hungmaster", &by_asking(&issuer, "deadline = \"500ms\"\n"));
    let token = password("opaque");
    let began = Instant::now();
    assert_answer(&door, &person, &token, TRY_LATER);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    door.line(|line| line.contains("no answer within 500ms"));
    for (does, told) in [
        (Does::Answers(401, "{}".to_owned()), "it refuses us with status 401"),
        (Does::Answers(500, "{}".to_owned()), "status 500"),
        (Does::Answers(200, "[]".to_owned()), "cannot be read"),
        (
            Does::Answers(200, json!({"active": "true", "username": person.name}).to_string()),
            "cannot be read",
        ),
        (Does::Leaves, "without an answer"),
    ] {
        issuer.does_now(does);
        assert_answer(&door, &person, &token, TRY_LATER);
        let line = door.line(|line| line.contains("login refused") && line.contains(told));
        assert!(line.contains("reason=directory-unavailable"), "{line}");
    }
    issuer.does_now(opened(true, &person.name));
    assert_answer(&door, &person, &token, IN);
}
