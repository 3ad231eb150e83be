//! Chain, memory, judging, placement and holds together, by a clock that stands still: whatever happens in
//! whatever order, nobody is told more than the newest answers say.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    sync::OnceLock,
    time::Instant,
};

use model::Protocol;
use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    CacheSettings, Gives, Held, KnownBackend, OnError, Passage, PlaceBy, Policy, PoolSettings,
    PoolUse, Pools, Range, SourceKind, SourceSettings,
    passwords::PasswordSettings,
    sources::{Answering, Question, Remote, Source, cached::Cached},
};

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time, which passes when a test says so.
fn now() -> Instant {
    NOW.get().unwrap_or_else(|| {
        let begin = Instant::now();
        NOW.set(Some(begin));
        begin
    })
}

const USERS: usize = 3;
const BACKENDS: [&str; 4] = ["a", "b", "c", "d"];

/// What a source knows of a user; the back end by its number.
#[derive(Clone, Copy, Debug)]
struct Fact {
    place: Option<usize>,
    password: Option<bool>,
    id: Option<u8>,
    disabled: bool,
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Answers,
    Down,
    Hangs,
    Nonsense,
}

/// What a source says, and what it has said: by user, since nothing was forgotten.
#[derive(Debug)]
struct Teller {
    facts: Mutex<[Option<Fact>; USERS]>,
    mood: Mutex<Mood>,
    heard: Mutex<HashMap<usize, (Instant, Option<Fact>)>>,
    /// Whether it was asked since this was last put out, and said something.
    has_said: Mutex<bool>,
    failed_at: Mutex<Option<Instant>>,
}

impl Teller {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::new([None; USERS]),
            mood: Mutex::new(Mood::Answers),
            heard: Mutex::default(),
            has_said: Mutex::new(false),
            failed_at: Mutex::new(None),
        })
    }
}

impl Remote for Arc<Teller> {
    fn depends_on(&self) -> DependsOn {
        DependsOn::default()
    }

    fn ask(&self, question: Question) -> Answering<'_> {
        Box::pin(async move {
            let mood = *self.mood.lock();
            if matches!(mood, Mood::Down | Mood::Hangs) {
                *self.failed_at.lock() = Some(now());
            }
            match mood {
                Mood::Answers => {}
                Mood::Down => return Err(CannotSay::unavailable("down")),
                Mood::Hangs => return std::future::pending().await,
                Mood::Nonsense => return Err(CannotSay::misconfigured("nonsense")),
            }
            let user = (0..USERS).find(|user| name(*user) == *question.key).unwrap();
            let fact = self.facts.lock()[user];
            self.heard.lock().insert(user, (now(), fact));
            *self.has_said.lock() = true;
            *self.failed_at.lock() = None;
            Ok(fact.map(Found::from).into())
        })
    }
}

impl From<Fact> for Found {
    fn from(fact: Fact) -> Self {
        Self {
            places: fact.place.iter().map(|number| BACKENDS[*number].parse().unwrap()).collect(),
            secret: fact.password.map(password),
            id: fact.id.map(|id| format!("id-{id}").into()),
            disabled: fact.disabled,
            ..Self::default()
        }
    }
}

fn name(user: usize) -> String {
    format!("user{user}")
}

fn canonical(user: usize) -> CanonicalUser {
    CanonicalUser::declare(UserName::new(name(user)).unwrap())
}

fn query(user: usize) -> Query {
    Query::without_client(canonical(user), Protocol::Imap)
}

fn password(one: bool) -> model::Secret {
    model::Secret::new(if one { "one" } else { "other" }).unwrap()
}

fn backend(number: usize) -> BackendName {
    BackendName::new(BACKENDS[number]).unwrap()
}

fn backends() -> Vec<KnownBackend> {
    let known = |number| KnownBackend {
        name: backend(number),
        hosts: vec![format!("{}.example.org", BACKENDS[number]).parse().unwrap()],
        imap_port: 143,
        pop3_port: 110,
        judges: true,
    };
    (0..BACKENDS.len()).map(known).collect()
}

/// What is the same for all that happens in one case.
#[derive(Clone, Debug)]
struct House {
    cache: CacheSettings,
    by_shard: bool,
    verify: bool,
}

impl House {
    fn place(&self) -> PlaceBy {
        if self.by_shard { PlaceBy::Shard } else { PlaceBy::User }
    }

    /// A source that completes, one that names places, and one that leaves them to a pool.
    fn open(&self, folder: &TempDir, tellers: &[Arc<Teller>; 3]) -> Directory {
        let source = |name: &str| SourceSettings {
            verify: self.verify,
            cache: self.cache.clone(),
            ..SourceSettings::new(name, SourceKind::Hash)
        };
        let (gives, on_error) = (Gives::Attributes, OnError::Continue);
        let pool = Some(PoolUse { pool: "main".into(), tag: None });
        let chain = vec![
            SourceSettings { gives, on_error, ..source("extra") },
            source("first"),
            SourceSettings { pool, ..source("second") },
        ];
        let mut directory = Directory::open(Settings {
            rules: Rules::default(),
            chain,
            backends: backends(),
            pools: pools(self.place()),
            state: folder.path().to_owned(),
            passwords: PasswordSettings::default(),
            tokens: None,
        })
        .unwrap();
        for (number, teller) in tellers.iter().enumerate() {
            let cached = loop {
                let remote: Arc<dyn Remote> = Arc::new(Arc::clone(teller));
                let cached = Cached::new::<()>("test".into(), &self.cache, |_| Ok(remote)).unwrap();
                // One forgets others along where they share a counter: no harm, but hard to foretell.
                if cached.tells_apart(&(0..USERS).map(canonical).collect::<Vec<_>>()) {
                    break cached.by(now);
                }
            };
            directory.chain.exchange(number, Source::Remote(Box::new(cached)));
        }
        directory
    }

    /// A folder in which the pool was opened before: to open it anew for each case takes long.
    fn folder(&self) -> TempDir {
        static BEGUN: [OnceLock<Vec<u8>>; 2] = [const { OnceLock::new() }; 2];
        let begun = BEGUN[usize::from(self.by_shard)].get_or_init(|| {
            let folder = in_memory();
            drop(self.open(&folder, &std::array::from_fn(|_| Teller::new())));
            fs::read(folder.path().join(Store::FILE)).unwrap()
        });
        let folder = in_memory();
        fs::write(folder.path().join(Store::FILE), begun).unwrap();
        folder
    }
}

/// A folder that no disk has to write for each change, where the system has such a place.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn pools(place: PlaceBy) -> Pools {
    let members = (0..3).map(backend).collect();
    let pool = PoolSettings { name: "main".into(), place, policy: Policy::Weighted, members };
    Pools { pools: vec![pool], shares: Vec::new() }
}

/// What happens.
#[derive(Clone, Debug)]
enum Act {
    Ask(usize, Want),
    Learns(usize, usize, Option<Fact>),
    Turns(usize, Mood),
    Passes(u64),
    Flush(Option<usize>),
    Place(usize, usize),
    AddMember,
    Drain(usize, bool),
    Dies(usize, bool),
    Hold(Result<usize, usize>, bool),
    Restart,
}

/// As whom somebody asks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    /// A client with a password.
    In(bool),
    /// A delivery.
    Place,
    /// A delivery that is to be refused for good.
    Final,
}

/// What may be said, by all that was heard.
#[derive(Debug, PartialEq)]
enum Expected {
    /// To one of these back ends, with this password.
    Admit(BTreeSet<usize>, Option<bool>),
    Refused(Reason),
    Unknown,
    CannotSay,
}

/// What counts of what a source has said.
#[derive(Clone, Copy, Debug)]
enum Counts {
    No,
    Yes { fact: Fact, incomplete: bool },
    CannotSay,
}

/// What the acts so far have to lead to.
struct World {
    house: House,
    tellers: [Arc<Teller>; 3],
    /// By user: the id of his mailbox (a drawn one by his name), and whether a source gave it.
    mailboxes: HashMap<usize, (String, bool)>,
    /// By id.
    homes: HashMap<String, usize>,
    members: BTreeSet<usize>,
    drained: HashSet<usize>,
    dead: Arc<Mutex<HashSet<String>>>,
    held: HashSet<Result<usize, usize>>,
}

impl World {
    fn counts(&self, source: usize, user: usize, is_final: bool) -> Counts {
        let (teller, cache) = (&self.tellers[source], &self.house.cache);
        let Some((at, fact)) = teller.heard.lock().get(&user).copied() else {
            return Counts::CannotSay;
        };
        let age = now() - at;
        let Some(fact) = fact else {
            let is_asked = *teller.has_said.lock();
            let counts = age < cache.not_found && (!is_final || is_asked);
            return if counts { Counts::No } else { Counts::CannotSay };
        };
        let just_failed = *teller.failed_at.lock() == Some(now());
        if age < cache.found {
            return Counts::Yes { fact, incomplete: false };
        }
        let late = age - cache.found;
        // What cannot be used is no reason to use an old answer, unless it has just been down.
        let is_down = matches!(*teller.mood.lock(), Mood::Down | Mood::Hangs) || just_failed;
        if is_down && late < cache.stale_secrets_for {
            Counts::Yes { fact, incomplete: false }
        } else if is_down && late < cache.stale_for && !fact.disabled {
            Counts::Yes { fact: Fact { password: None, ..fact }, incomplete: true }
        } else {
            Counts::CannotSay
        }
    }

    /// What is to be said, and the mailbox that is known from then on.
    fn expected(&self, user: usize, want: Want) -> (Expected, Option<(String, bool)>) {
        let [extra, first, second] =
            [0, 1, 2].map(|source| self.counts(source, user, want == Want::Final));
        let (fact, mut incomplete, in_pool) = match (first, second) {
            (Counts::Yes { fact, incomplete }, _) => (fact, incomplete, false),
            (Counts::No, Counts::Yes { fact, incomplete }) => (fact, incomplete, true),
            (Counts::No, Counts::No) if !matches!(extra, Counts::CannotSay) => {
                return (Expected::Unknown, None);
            }
            _ => return (Expected::CannotSay, None),
        };
        let (mut secret, mut id, mut disabled) = (fact.password, fact.id, fact.disabled);
        match extra {
            Counts::No => {}
            Counts::CannotSay => incomplete = true,
            Counts::Yes { fact, incomplete: also } => {
                (secret, id) = (secret.or(fact.password), id.or(fact.id));
                (disabled, incomplete) = (disabled | fact.disabled, incomplete | also);
            }
        }
        if disabled && matches!(want, Want::In(_)) {
            return (Expected::Refused(Reason::UserDisabled), None);
        }
        let judged = match (want, secret) {
            (Want::In(offered), Some(secret)) if self.house.verify && !incomplete => {
                Some(offered == secret)
            }
            (Want::In(_), _) if self.house.verify => None,
            _ => Some(true),
        };
        let (mailbox, places) = match (fact.place, in_pool) {
            (Some(place), _) => (None, BTreeSet::from([place])),
            (None, false) => return (Expected::CannotSay, None),
            (None, true) => match self.mailbox(user, id, incomplete) {
                Some(mailbox) => {
                    let places = match self.homes.get(&mailbox.0) {
                        Some(home) => BTreeSet::from([*home]),
                        None => self.open_to(),
                    };
                    (Some(mailbox), places)
                }
                None => (None, BTreeSet::new()),
            },
        };
        match judged {
            None => (Expected::CannotSay, None),
            Some(false) => (Expected::Refused(Reason::WrongPassword), None),
            Some(true) if places.is_empty() => (Expected::CannotSay, None),
            Some(true) => (Expected::Admit(places, secret), mailbox),
        }
    }

    /// A user's mailbox; none if it cannot be said which it is.
    fn mailbox(&self, user: usize, id: Option<u8>, incomplete: bool) -> Option<(String, bool)> {
        let given = id.map(|id| (format!("id-{id}"), true));
        match (self.mailboxes.get(&user), given) {
            (Some((stored, true)), Some(given)) if *stored != given.0 => Some(given),
            (Some(stored), _) => Some(stored.clone()),
            (None, Some(given)) => Some(given),
            (None, None) if incomplete => None,
            (None, None) => Some((format!("drawn for {user}"), false)),
        }
    }

    /// Where somebody new may get a home.
    fn open_to(&self) -> BTreeSet<usize> {
        if self.house.by_shard {
            // Each shard has its owner since the pool was opened.
            return BTreeSet::from([0, 1, 2]);
        }
        let takes = |member: &usize| {
            !self.drained.contains(member) && !self.dead.lock().contains(BACKENDS[*member])
        };
        self.members.iter().copied().filter(takes).collect()
    }

    fn open(&self, folder: &TempDir) -> Directory {
        let directory = self.house.open(folder, &self.tellers);
        let dead = Arc::clone(&self.dead);
        directory.place_on_the_living(Arc::new(move |name| !dead.lock().contains(name.as_str())));
        directory
    }

    fn forget(&self, user: Option<usize>) {
        for teller in &self.tellers {
            match user {
                Some(user) => drop(teller.heard.lock().remove(&user)),
                None => teller.heard.lock().clear(),
            }
        }
    }
}

/// What the directory says, as what was expected.
async fn said(directory: &Directory, user: usize, want: Want) -> (Expected, Option<Route>) {
    let query = query(user);
    let verdict = match want {
        Want::In(one) => directory.admit(&query, &Proof::Password(password(one)), 1).await,
        Want::Place => directory.look_up(&query).await,
        Want::Final => directory.look_up_for_good(&query).await,
    };
    match verdict {
        Ok(Verdict::Admit(route)) => {
            let [target] = &*route.targets else { panic!("{route:?}") };
            let place = (0..BACKENDS.len()).find(|number| target.backend == backend(*number));
            let secret = route.secret.as_ref().map(|secret| secret.matches(&password(true)));
            (Expected::Admit(BTreeSet::from([place.unwrap()]), secret), Some(route))
        }
        Ok(Verdict::Refused(refused)) => (Expected::Refused(refused.reason), None),
        Ok(Verdict::Unknown) => (Expected::Unknown, None),
        Err(_) => (Expected::CannotSay, None),
    }
}

fn fact() -> impl Strategy<Value = Option<Fact>> {
    let fact = (
        proptest::option::weighted(0.3, 0..BACKENDS.len()),
        proptest::option::weighted(0.8, any::<bool>()),
        proptest::option::weighted(0.3, 0..2_u8),
        proptest::bool::weighted(0.1),
    );
    let fact =
        fact.prop_map(|(place, password, id, disabled)| Fact { place, password, id, disabled });
    proptest::option::weighted(0.6, fact)
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        5 => Just(Mood::Answers),
        3 => Just(Mood::Down),
        1 => Just(Mood::Hangs),
        1 => Just(Mood::Nonsense),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let want = prop_oneof![
        4 => any::<bool>().prop_map(Want::In),
        2 => Just(Want::Place),
        1 => Just(Want::Final),
    ];
    let held = || prop_oneof![(0..USERS).prop_map(Ok), (0..BACKENDS.len()).prop_map(Err)];
    prop_oneof![
        20 => (0..USERS, want).prop_map(|(user, want)| Act::Ask(user, want)),
        8 => (0..3_usize, 0..USERS, fact())
            .prop_map(|(source, user, fact)| Act::Learns(source, user, fact)),
        5 => (0..3_usize, mood()).prop_map(|(source, mood)| Act::Turns(source, mood)),
        5 => (1..25_u64).prop_map(Act::Passes),
        1 => proptest::option::of(0..USERS).prop_map(Act::Flush),
        2 => (0..USERS, 0..BACKENDS.len()).prop_map(|(user, to)| Act::Place(user, to)),
        1 => Just(Act::AddMember),
        1 => (0..BACKENDS.len(), any::<bool>()).prop_map(|(one, drained)| Act::Drain(one, drained)),
        1 => (0..BACKENDS.len(), any::<bool>()).prop_map(|(one, dead)| Act::Dies(one, dead)),
        1 => (held(), any::<bool>()).prop_map(|(held, begins)| Act::Hold(held, begins)),
        1 => Just(Act::Restart),
    ]
}

fn house() -> impl Strategy<Value = House> {
    let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
    let times = (seconds(1..30), seconds(1..30), seconds(0..60), seconds(0..30));
    (times, any::<bool>(), any::<bool>()).prop_map(|(times, by_shard, verify)| {
        let (found, not_found, stale_for, stale_secrets_for) = times;
        let deadline = Duration::from_millis(1);
        let cache = CacheSettings {
            found,
            not_found,
            stale_for,
            stale_secrets_for,
            deadline,
            ..CacheSettings::default()
        };
        House { cache, by_shard, verify }
    })
}

/// Asks, compares what is said with what may be said, and notes whom it has placed.
async fn asks(directory: &Directory, world: &mut World, user: usize, want: Want) {
    let passage = directory.holds().passage();
    world.tellers.iter().for_each(|teller| *teller.has_said.lock() = false);
    let (said, route) = said(directory, user, want).await;
    let (expected, mailbox) = world.expected(user, want);
    match (&said, &expected) {
        (Expected::Admit(there, secret), Expected::Admit(places, expected)) => {
            assert!(there.is_subset(places), "{said:?} instead of {places:?}");
            assert_eq!(secret, expected);
        }
        _ => assert_eq!(said, expected),
    }
    if let (Some(mailbox), Expected::Admit(there, _)) = (mailbox, &said) {
        world.homes.insert(mailbox.0.clone(), *there.first().unwrap());
        world.mailboxes.insert(user, mailbox);
    }
    // Nobody else was placed.
    let all = Range { prefix: String::new(), after: None, limit: 100 };
    let placed = directory.mailboxes(&all).unwrap().into_iter().map(|mailbox| mailbox.user);
    let known: BTreeSet<_> = world.mailboxes.keys().map(|user| canonical(*user)).collect();
    assert_eq!(placed.collect::<BTreeSet<_>>(), known);
    if let Some(route) = route {
        is_held_as_said(directory, world, user, &route, &passage);
    }
}

fn is_held_as_said(
    directory: &Directory,
    world: &World,
    user: usize,
    route: &Route,
    passage: &Passage,
) {
    let there = (0..BACKENDS.len()).find(|number| route.targets[0].backend == backend(*number));
    let there = there.unwrap();
    let is_held = world.held.contains(&Ok(user)) || world.held.contains(&Err(there));
    let holds_him =
        directory.is_user_held(&canonical(user)) || directory.holds().is_way_held(route);
    // Another name of his mailbox may be held.
    let others = world.held.iter().any(Result::is_ok);
    assert!(holds_him == is_held || (holds_him && others));
    // Nothing was held since.
    assert_eq!(directory.is_free(passage, &canonical(user), &backend(there)), !is_held);
}

/// An operator says where a mailbox is.
async fn places(directory: &Directory, world: &mut World, user: usize, to: usize) {
    let Ok(at) = directory.whereabouts(&query(user)).await else { return };
    let Ok(Some((_, true))) = directory.place_mailbox("test", &at, &backend(to)) else { return };
    let id = match (world.counts(2, user, false), world.counts(0, user, false)) {
        (Counts::Yes { fact: Fact { id: Some(id), .. }, .. }, _)
        | (_, Counts::Yes { fact: Fact { id: Some(id), .. }, .. }) => Some(id),
        _ => None,
    };
    let mailbox = world.mailbox(user, id, false).unwrap();
    world.homes.insert(mailbox.0.clone(), to);
    world.mailboxes.insert(user, mailbox);
}

/// Whoever shares the mailbox of one who is released is released with him.
fn released(directory: &Directory, world: &mut World, what: Result<usize, usize>) {
    world.held.remove(&what);
    let held = directory.held().unwrap();
    let is_held = |user: usize| held.contains(&Held::User(canonical(user)));
    for user in (0..USERS).filter(|user| !is_held(*user)) {
        if world.held.remove(&Ok(user)) {
            world.forget(Some(user));
        }
    }
    let backends = world.held.iter().filter(|what| what.is_err()).count();
    assert_eq!(held.len(), backends + world.held.iter().filter(|what| what.is_ok()).count());
}

async fn happens(directory: &mut Directory, world: &mut World, folder: &TempDir, act: Act) {
    match act {
        Act::Ask(user, want) => asks(directory, world, user, want).await,
        Act::Learns(source, user, fact) => world.tellers[source].facts.lock()[user] = fact,
        Act::Turns(source, mood) => *world.tellers[source].mood.lock() = mood,
        Act::Passes(seconds) => NOW.set(Some(now() + Duration::from_secs(seconds))),
        Act::Flush(user) => {
            directory.forget(user.map(canonical).as_ref());
            world.forget(user);
        }
        Act::Place(user, to) => places(directory, world, user, to).await,
        Act::AddMember => {
            let is_new = directory.add_member("test", "main", &backend(3)).is_ok();
            assert_eq!(is_new, world.members.insert(3));
        }
        Act::Drain(one, drained) => {
            directory.set_drained("test", &backend(one), drained).unwrap();
            if drained {
                world.drained.insert(one)
            } else {
                world.drained.remove(&one)
            };
        }
        Act::Dies(one, dead) => {
            let mut all = world.dead.lock();
            if dead {
                all.insert(BACKENDS[one].to_owned())
            } else {
                all.remove(BACKENDS[one])
            };
        }
        Act::Hold(what, begins) => {
            let (held, user) = match what {
                Ok(user) => (Held::User(canonical(user)), user),
                Err(one) => (Held::Backend(backend(one)), 0),
            };
            let there = what.err().unwrap_or_default();
            let passage = directory.holds().passage();
            if begins {
                directory.hold("test", held, None).unwrap();
                world.held.insert(what);
            } else {
                directory.release("test", &held).unwrap();
                world.forget(what.ok());
                released(directory, world, what);
            }
            // Whoever began before is not let through.
            let is_held = world.held.contains(&Ok(user)) || world.held.contains(&Err(there));
            let is_free = directory.is_free(&passage, &canonical(user), &backend(there));
            assert_eq!(is_free, !begins && !is_held);
        }
        Act::Restart => {
            world.forget(None);
            *directory = world.open(folder);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever sources say, forget and fail, operators do, and time passes: a login goes where the newest answer that
    /// counts, or the placement that was written first, says; "cannot say" is no "no", and no "no" is from before;
    /// secrets and noes are not used beyond their time; no home changes but by the act that says so; nobody who is
    /// unknown or refused is placed.
    #[test]
    fn nobody_is_told_more_than_the_newest_answers_say(
        house in house(),
        acts in proptest::collection::vec(act(), 1..60),
    ) {
        let folder = house.folder();
        let mut world = World {
            house,
            tellers: std::array::from_fn(|_| Teller::new()),
            mailboxes: HashMap::new(),
            homes: HashMap::new(),
            members: BTreeSet::from([0, 1, 2]),
            drained: HashSet::new(),
            dead: Arc::default(),
            held: HashSet::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut directory = world.open(&folder);
            for act in acts {
                happens(&mut directory, &mut world, &folder, act).await;
            }
        });
    }
}
