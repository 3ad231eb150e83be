use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
};

use model::{Protocol, UserName};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::{
    DependsOn, Placeholder,
    sources::{Answering, Found, Offer},
};

const SECOND: Duration = Duration::from_secs(1);

/// What a test's source says.
#[derive(Clone, Debug)]
enum Mood {
    Answer(Said),
    Hang,
    Busy,
    Fail,
    Crash,
    Nonsense,
}

#[derive(Debug)]
struct Scripted {
    moods: Mutex<HashMap<String, Mood>>,
    asked: AtomicU32,
    /// Answers go out only when this is told.
    gate: Option<Notify>,
    judges: bool,
}

impl Scripted {
    fn new() -> Self {
        Self { moods: Mutex::default(), asked: AtomicU32::new(0), gate: None, judges: false }
    }

    fn set(&self, user: &str, mood: Mood) {
        self.moods.lock().insert(user.to_owned(), mood);
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Remote for Arc<Scripted> {
    fn depends_on(&self) -> DependsOn {
        [Placeholder::ClientIp].into_iter().collect()
    }

    fn judges(&self) -> bool {
        self.judges
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move {
            let mood = self.moods.lock().get(&*question.key).cloned();
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            match mood.unwrap_or(Mood::Answer(Said::Unknown)) {
                Mood::Answer(said) => Ok(said),
                Mood::Hang => std::future::pending().await,
                Mood::Busy => Err(CannotSay::of_question("busy")),
                Mood::Fail => Err(CannotSay::unavailable("down")),
                Mood::Crash => panic!("a test's crash"),
                Mood::Nonsense => Err(CannotSay::misconfigured("nonsense")),
            }
        })
    }
}

fn at(place: &str) -> Mood {
    Mood::Answer(Said::Found(Found {
        places: vec![place.parse().unwrap()],
        verifier: Some(Secret::new("{X}y").unwrap()),
        ..Found::default()
    }))
}

fn settings() -> CacheSettings {
    CacheSettings { deadline: SECOND / 5, questions: 4, ..CacheSettings::default() }
}

fn cached(source: &Arc<Scripted>, settings: &CacheSettings) -> Arc<Cached> {
    let remote: Arc<dyn Remote> = Arc::new(Arc::clone(source));
    let made = Cached::new::<()>("test".into(), settings, |_| Ok(remote));
    Arc::new(made.unwrap())
}

fn question(user: &str) -> Question {
    let name = CanonicalUser::declare(UserName::new(user).unwrap());
    let query = Arc::new(Query::without_client(name, Protocol::Imap));
    Question { query, key: user.into(), offer: None }
}

fn with_password(user: &str, password: &str) -> Question {
    let offer = Offer { password: Secret::new(password).unwrap(), attempt: 1 };
    Question { offer: Some(offer), ..question(user) }
}

async fn said(cached: &Cached, question: &Question) -> String {
    match cached.ask(question, Asking::Usual).await {
        Ok(Said::Found(found)) => {
            let secrets = if found.verifier.is_some() { "" } else { " without secrets" };
            format!("{}{secrets}", found.places[0])
        }
        Ok(Said::Unknown) => "unknown".to_owned(),
        Ok(Said::Refused { .. }) => "refused".to_owned(),
        Err(cannot) => format!("{}: {}", cannot.reason, cannot.detail),
    }
}

#[tokio::test]
async fn an_answer_counts_for_its_lifetime_and_a_no_for_its_own() {
    let source = Arc::new(Scripted::new());
    source.set("bob", at("a"));
    let remembering = cached(&source, &settings());
    for _ in 0..3 {
        assert_eq!(said(&remembering, &question("bob")).await, "a");
        assert_eq!(said(&remembering, &question("eve")).await, "unknown");
    }
    assert_eq!(source.asked(), 2);
    let forgetful = cached(&source, &CacheSettings { not_found: Duration::ZERO, ..settings() });
    for _ in 0..2 {
        said(&forgetful, &question("bob")).await;
        said(&forgetful, &question("eve")).await;
    }
    assert_eq!(source.asked(), 5);
}

#[tokio::test]
async fn where_something_final_hangs_on_it_a_remembered_no_does_not_count() {
    let source = Arc::new(Scripted::new());
    let cached = cached(&source, &settings());
    assert_eq!(said(&cached, &question("eve")).await, "unknown");
    source.set("eve", at("a"));
    assert_eq!(said(&cached, &question("eve")).await, "unknown");
    let again = cached.ask(&question("eve"), Asking::NoRememberedNo).await.unwrap();
    assert!(matches!(again, Said::Found(_)));
    source.set("ann", Mood::Fail);
    assert!(cached.ask(&question("ann"), Asking::NoRememberedNo).await.is_err());
}

#[tokio::test]
async fn questions_that_differ_in_what_the_answer_depends_on_are_not_one() {
    let source = Arc::new(Scripted::new());
    let cached = cached(&source, &settings());
    let from = |ip: &str, server: &str| {
        let mut question = question("bob");
        let query = Arc::make_mut(&mut question.query);
        query.client_ip = Some(ip.parse().unwrap());
        query.server_name = Some(server.into());
        question
    };
    said(&cached, &from("192.0.2.1", "one")).await;
    said(&cached, &from("192.0.2.1", "two")).await;
    assert_eq!(source.asked(), 1);
    said(&cached, &from("192.0.2.2", "one")).await;
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn equal_questions_at_a_time_are_asked_once_and_outlive_who_asked() {
    let mut source = Scripted::new();
    source.gate = Some(Notify::new());
    source.set("bob", at("a"));
    let source = Arc::new(source);
    let cached = cached(&source, &CacheSettings { deadline: SECOND * 20, ..settings() });
    let ask = || {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { said(&cached, &question("bob")).await })
    };
    let (first, others) = (ask(), [ask(), ask(), ask()]);
    while source.asked() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    source.gate.as_ref().unwrap().notify_one();
    for other in others {
        assert_eq!(other.await.unwrap(), "a");
    }
    assert_eq!(source.asked(), 1);
    assert_eq!(cached.flights.under_way(), 0);
}

#[tokio::test]
async fn a_source_that_hangs_holds_no_more_than_its_questions() {
    let source = Arc::new(Scripted::new());
    for user in ["a", "b", "c", "d", "e"] {
        source.set(user, Mood::Hang);
    }
    let cached = cached(&source, &settings());
    let asked = ["a", "b", "c", "d"].map(|user| {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { said(&cached, &question(user)).await })
    });
    while source.asked() < 4 {
        tokio::task::yield_now().await;
    }
    let full = said(&cached, &question("e")).await;
    assert!(full.contains("4 questions are on their way already"), "{full}");
    for answer in asked {
        assert_eq!(answer.await.unwrap(), "directory-unavailable: no answer within 200ms");
    }
    source.set("e", at("a"));
    assert_eq!(said(&cached, &question("e")).await, "a");
}

#[tokio::test]
async fn a_crash_is_cannot_say_and_leaves_nothing_behind() {
    let source = Arc::new(Scripted::new());
    source.set("bob", Mood::Crash);
    let cached = cached(&source, &settings());
    assert!(said(&cached, &question("bob")).await.starts_with("directory-unavailable"));
    source.set("bob", at("a"));
    assert_eq!(said(&cached, &question("bob")).await, "a");
}

#[tokio::test]
async fn while_a_source_cannot_say_routes_are_used_and_secrets_and_noes_are_not() {
    let source = Arc::new(Scripted::new());
    source.set("bob", at("a"));
    let short = CacheSettings { found: Duration::ZERO, not_found: Duration::ZERO, ..settings() };
    let cached = cached(&source, &short);
    assert_eq!(said(&cached, &question("bob")).await, "a");
    assert_eq!(said(&cached, &question("eve")).await, "unknown");
    source.set("bob", Mood::Fail);
    source.set("eve", Mood::Fail);
    assert_eq!(said(&cached, &question("bob")).await, "a without secrets");
    assert_eq!(said(&cached, &question("eve")).await, "directory-unavailable: down");
    let figures = cached.figures();
    assert_eq!((figures.stale, figures.failing.as_deref()), (1, Some("down")));
}

#[tokio::test]
async fn what_was_said_to_a_password_and_does_not_judge_it_is_a_route_like_any() {
    let mut source = Scripted::new();
    source.judges = true;
    source.set("bob", at("a"));
    let source = Arc::new(source);
    let cached = cached(&source, &CacheSettings { found: Duration::ZERO, ..settings() });
    assert_eq!(said(&cached, &with_password("bob", "x")).await, "a");
    source.set("bob", Mood::Fail);
    assert_eq!(said(&cached, &with_password("bob", "x")).await, "a without secrets");
    assert_eq!(said(&cached, &with_password("bob", "y")).await, "directory-unavailable: down");
    let remembering =
        self::cached(&source, &CacheSettings { judged: Duration::ZERO, ..settings() });
    source.set("bob", at("b"));
    let asked = source.asked();
    for _ in 0..2 {
        assert_eq!(said(&remembering, &with_password("bob", "x")).await, "b");
    }
    assert_eq!(source.asked(), asked + 1);
}

#[tokio::test]
async fn what_cannot_be_said_of_one_user_is_asked_for_the_others() {
    let source = Arc::new(Scripted::new());
    source.set("bob", at("a"));
    let cached = cached(&source, &CacheSettings { found: Duration::ZERO, ..settings() });
    assert_eq!(said(&cached, &question("bob")).await, "a");
    source.set("eve", Mood::Busy);
    assert_eq!(said(&cached, &question("eve")).await, "directory-unavailable: busy");
    source.set("bob", at("b"));
    assert_eq!(said(&cached, &question("bob")).await, "b");
    assert_eq!(cached.figures().failing, None);
}

#[tokio::test]
async fn of_a_source_that_hangs_one_finds_out_how_it_is_and_nobody_else_waits() {
    let source = Arc::new(Scripted::new());
    for user in ["a", "b", "c"] {
        source.set(user, at("x"));
    }
    let short = CacheSettings { found: Duration::ZERO, ..settings() };
    let cached = cached(&source, &short);
    for user in ["a", "b", "c"] {
        assert_eq!(said(&cached, &question(user)).await, "x");
        source.set(user, Mood::Hang);
    }
    assert_eq!(said(&cached, &question("a")).await, "x without secrets");
    let asked = source.asked();
    for user in ["a", "b", "c"] {
        assert_eq!(said(&cached, &question(user)).await, "x without secrets");
    }
    assert_eq!(source.asked(), asked);
    // After a rest somebody asks again; until he knows more, the others go on.
    let now = Instant::now() + SECOND * 2;
    assert!(cached.memory.is_worth_asking(now, SECOND));
    assert!(!cached.memory.is_worth_asking(now + SECOND / 2, SECOND));
    assert!(cached.memory.is_worth_asking(now + SECOND, SECOND));
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_is_no_reason_to_use_an_old_one() {
    let source = Arc::new(Scripted::new());
    source.set("bob", at("a"));
    let cached = cached(&source, &CacheSettings { found: Duration::ZERO, ..settings() });
    assert_eq!(said(&cached, &question("bob")).await, "a");
    source.set("bob", Mood::Nonsense);
    assert_eq!(said(&cached, &question("bob")).await, "directory-misconfigured: nonsense");
}

#[tokio::test]
async fn what_was_forgotten_is_not_brought_back_by_a_question_from_before() {
    let mut source = Scripted::new();
    source.gate = Some(Notify::new());
    source.set("bob", at("a"));
    let source = Arc::new(source);
    let cached = cached(&source, &CacheSettings { deadline: SECOND * 20, ..settings() });
    let ask = || {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { said(&cached, &question("bob")).await })
    };
    let before = ask();
    while source.asked() == 0 {
        tokio::task::yield_now().await;
    }
    cached.forgetter().forget(&question("bob").query.user);
    source.set("bob", at("b"));
    let after = ask();
    while source.asked() == 1 {
        tokio::task::yield_now().await;
    }
    source.gate.as_ref().unwrap().notify_waiters();
    assert_eq!(before.await.unwrap(), "a");
    assert_eq!(after.await.unwrap(), "b");
    assert_eq!(said(&cached, &question("bob")).await, "b");
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn a_source_that_judges_is_asked_for_each_password_and_for_each_wrong_one_again() {
    let mut source = Scripted::new();
    source.judges = true;
    source.set("bob", at("a"));
    source.set("eve", Mood::Answer(Said::Refused { wait: None, text: None }));
    let source = Arc::new(source);
    let cached = cached(&source, &settings());
    for password in ["one", "one", "two"] {
        assert_eq!(said(&cached, &with_password("bob", password)).await, "a");
    }
    assert_eq!(source.asked(), 2);
    for _ in 0..2 {
        assert_eq!(said(&cached, &with_password("eve", "one")).await, "refused");
    }
    assert_eq!(source.asked(), 4);
}

fn age() -> impl Strategy<Value = Duration> {
    (0..100_u64).prop_map(Duration::from_secs)
}

prop_compose! {
    fn any_settings()(found in age(), not_found in age(), judged in age(), stale_for in age(),
                      stale_secrets_for in age()) -> CacheSettings {
        CacheSettings { found, not_found, judged, stale_for, stale_secrets_for, ..settings() }
    }
}

proptest! {
    #[test]
    fn no_age_brings_back_what_does_not_count(
        settings in any_settings(),
        age in age(),
        kind in 0..4_u8,
        judged: bool,
    ) {
        let secret = || Some(Secret::new("s").unwrap());
        let found = Found {
            places: vec!["a".parse().unwrap()],
            secret: secret(),
            verifier: secret(),
            disabled: kind == 1,
            judged,
            ..Found::default()
        };
        let said = match kind {
            0 | 1 => Said::Found(found),
            2 => Said::Unknown,
            _ => Said::Refused { wait: None, text: None },
        };
        let memory = Memory::new("test".into(), &settings);
        let asked = if judged { with_password("bob", "x") } else { question("bob") };
        let key = Key {
            query: Query::clone(&asked.query),
            key: Arc::clone(&asked.key),
            offer: judged.then(|| b"digest".as_slice().into()),
        };
        let begin = Instant::now();
        memory.note(key.clone(), &Ok(said), memory.ticket(&key.query.user), begin);
        let lifetime = if judged { settings.judged } else { settings.found };
        match memory.recall(&key, begin + age) {
            Held::Fresh(Said::Found(_)) => prop_assert!(kind < 2 && age < lifetime),
            Held::Fresh(Said::Unknown) => prop_assert!(kind == 2 && age < settings.not_found),
            Held::Fresh(Said::Refused { .. }) => prop_assert!(false, "a refusal was remembered"),
            Held::Stale(found) => {
                prop_assert!(kind < 2 && age >= lifetime && found.stale);
                let late = age - lifetime;
                let with_secrets = late < settings.stale_secrets_for;
                prop_assert!(with_secrets || late < settings.stale_for);
                prop_assert!(with_secrets || (found.secret.is_none() && found.verifier.is_none()));
                prop_assert!(with_secrets || !(found.disabled || found.judged));
            }
            Held::Nothing => {
                let counts = match kind {
                    0 | 1 => age < lifetime,
                    2 => age < settings.not_found,
                    _ => false,
                };
                prop_assert!(!counts);
            }
        }
    }
}
