//! Accounts in memory, migrated many at a time.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mailsync::{Flags, MailboxPath, ends::memory::MemoryEnd};

use super::*;
use crate::migrate::{Asked, Spelled};

/// Accounts in memory, by the names that they are reached by.
#[derive(Default)]
struct World {
    ends: Mutex<HashMap<String, MemoryEnd>>,
    /// Who cannot be reached.
    unreachable: HashSet<String>,
}

impl World {
    fn end(&self, name: &str) -> MemoryEnd {
        let mut ends = self.ends.lock().unwrap();
        ends.entry(name.to_owned()).or_insert_with(|| MemoryEnd::new(name)).clone()
    }

    fn deliver(&self, name: &str, messages: usize) {
        for number in 0..messages {
            let bytes = format!("Message-ID: <{number}@{name}>\r\n\r\nbody {number}\r\n");
            self.end(name).with(|account| {
                let inbox = MailboxPath::inbox();
                account.deliver(&inbox, bytes.as_bytes(), &Flags::default(), None);
            });
        }
    }

    fn messages(&self, name: &str) -> usize {
        self.end(name).with(|account| account.mailboxes[&MailboxPath::inbox()].messages.len())
    }
}

impl Reach for Arc<World> {
    type End = MemoryEnd;

    async fn reach(&self, account: &Account, _: Side) -> Result<MemoryEnd, String> {
        let name = account.to_string();
        if self.unreachable.contains(&name) {
            return Err("there is no password in it".to_owned());
        }
        Ok(self.end(&name))
    }
}

#[derive(Default)]
struct Count {
    now: AtomicUsize,
    most: AtomicUsize,
    events: AtomicUsize,
}

impl Watch for Count {
    fn begins(&self, _: usize, _: &Pair) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn sees(&self, _: usize, _: Progress<'_>) {
        self.events.fetch_add(1, Ordering::SeqCst);
    }

    fn ends(&self, _: usize, _: &Ended) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn account(text: &str) -> Account {
    let mut asked = Asked::default();
    asked.set("", text).unwrap();
    asked.set("password", "x").unwrap();
    asked.account(Side::From, Spelled::Key).unwrap()
}

fn pair(user: &str) -> Pair {
    let (from, to) = (format!("imaps://{user}@old.test"), format!("imaps://{user}@new.test"));
    Pair { from: account(&from), to: account(&to) }
}

fn settings(state: &Path) -> Settings {
    let mut policy = Policy::migrate();
    policy.limits.settle = Duration::ZERO;
    Settings {
        act: Act::Migrate,
        state: state.to_owned(),
        policy,
        sessions: None,
        messages_per_second: None,
        at_once: 2,
        per_server: None,
        skip_complete: false,
    }
}

fn told(ended: &Ended) -> (Outcome, u64) {
    match &ended.came {
        Ok(Came::Migrated(report, _)) => (report.outcome, report.total.copied),
        other => panic!("{other:?}"),
    }
}

async fn go(world: &Arc<World>, pairs: &[Pair], settings: &Settings) -> (Vec<Ended>, Arc<Count>) {
    let count = Arc::new(Count::default());
    let watch = Arc::clone(&count) as Arc<dyn Watch>;
    let running = run(Arc::clone(world), pairs.to_vec(), settings.clone(), watch);
    (tokio::time::timeout(Duration::from_secs(60), running).await.unwrap(), count)
}

#[tokio::test]
async fn accounts_are_migrated_so_many_at_a_time_and_again_only_what_is_new() {
    let world = Arc::new(World::default());
    let folder = tempfile::tempdir().unwrap();
    let pairs: Vec<Pair> = (0..6).map(|number| pair(&format!("u{number}"))).collect();
    for (number, pair) in pairs.iter().enumerate() {
        world.deliver(&pair.from.to_string(), number);
    }
    let settings = settings(folder.path());
    let (all, count) = go(&world, &pairs, &settings).await;
    for (number, ended) in all.iter().enumerate() {
        assert_eq!(told(ended), (Outcome::Complete, number as u64), "{ended:?}");
        assert_eq!(world.messages(&ended.to), number);
        assert_eq!(ended.why(), None);
    }
    assert_eq!(count.most.load(Ordering::SeqCst), 2);
    assert!(count.events.load(Ordering::SeqCst) > 6);
    world.deliver(&pairs[3].from.to_string(), 1);
    let (again, _) = go(&world, &pairs, &settings).await;
    let copied: Vec<u64> = again.iter().map(|ended| told(ended).1).collect();
    assert_eq!(copied, [0, 0, 0, 1, 0, 0]);
}

#[tokio::test]
async fn one_that_fails_stops_no_other_and_says_why() {
    let mut world = World::default();
    let folder = tempfile::tempdir().unwrap();
    let pairs = [pair("ann"), pair("bob"), pair("carl")];
    world.unreachable.insert(pairs[1].from.to_string());
    let world = Arc::new(world);
    for pair in &pairs {
        world.deliver(&pair.from.to_string(), 1);
    }
    let (all, _) = go(&world, &pairs, &settings(folder.path())).await;
    assert_eq!((told(&all[0]), told(&all[2])), ((Outcome::Complete, 1), (Outcome::Complete, 1)));
    assert_eq!(all[1].why(), Some(Why::Ours));
    let said = all[1].came.as_ref().unwrap_err().to_string();
    assert_eq!(said, "from imaps://bob@old.test: there is no password in it");
}

#[tokio::test]
async fn what_was_complete_can_be_left_out_and_a_report_is_kept_beside_what_is_remembered() {
    let world = Arc::new(World::default());
    let folder = tempfile::tempdir().unwrap();
    let pairs = [pair("ann")];
    world.deliver(&pairs[0].from.to_string(), 2);
    let mut settings = settings(folder.path());
    settings.skip_complete = true;
    let (all, _) = go(&world, &pairs, &settings).await;
    let Ok(Came::Migrated(_, kept)) = &all[0].came else { panic!("{all:?}") };
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    assert_eq!(report["outcome"], "complete");
    assert_eq!(report["total"]["copied"], 2);
    let (again, _) = go(&world, &pairs, &settings).await;
    assert!(matches!(again[0].came, Ok(Came::Skipped)), "{again:?}");
}

#[tokio::test]
async fn a_survey_says_what_would_be_done_and_changes_nothing() {
    let world = Arc::new(World::default());
    let folder = tempfile::tempdir().unwrap();
    let pairs = [pair("ann")];
    world.deliver(&pairs[0].from.to_string(), 3);
    let settings = Settings { act: Act::Survey, ..settings(folder.path()) };
    let (all, _) = go(&world, &pairs, &settings).await;
    let Ok(Came::Surveyed(survey)) = &all[0].came else { panic!("{all:?}") };
    assert_eq!(survey.mailboxes.iter().map(|mailbox| mailbox.copy).sum::<u64>(), 3);
    assert_eq!(world.messages(&pairs[0].to.to_string()), 0);
}

#[tokio::test]
async fn accounts_that_another_process_works_on_are_left_to_it() {
    let world = Arc::new(World::default());
    let folder = tempfile::tempdir().unwrap();
    let pairs = [pair("ann")];
    let (from, to) = (pairs[0].from.to_string(), pairs[0].to.to_string());
    let held = PairState::open(folder.path(), &from, &to).unwrap();
    let (all, _) = go(&world, &pairs, &settings(folder.path())).await;
    assert_eq!(all[0].why(), Some(Why::Locked));
    drop(held);
}

#[tokio::test]
async fn a_server_has_no_more_sessions_than_allowed_and_those_who_wait_for_it_hold_up_nobody() {
    let mut settings = settings(Path::new("unused"));
    (settings.per_server, settings.sessions, settings.at_once) = (Some(4), Some(3), 10);
    let pairs = [pair("ann"), pair("bob")];
    let gates = Gates::new(&settings, &pairs);
    let first = gates.pass(&pairs[0], 3).await;
    let soon = Duration::from_millis(50);
    assert!(tokio::time::timeout(soon, gates.pass(&pairs[1], 3)).await.is_err());
    let elsewhere = Pair { from: account("imaps://x@a.test"), to: account("imaps://x@b.test") };
    tokio::time::timeout(soon, gates.pass(&elsewhere, 3)).await.unwrap();
    drop(first);
    // Both accounts on one server, and more sessions than it is allowed: it goes by itself.
    let within = Pair { from: account("imaps://x@old.test"), to: account("imaps://y@old.test") };
    tokio::time::timeout(soon, gates.pass(&within, 3)).await.unwrap();
    let limits = policy(&settings, &within).limits;
    assert_eq!((limits.sessions, limits.spill), (3, settings.state.clone()));
}
