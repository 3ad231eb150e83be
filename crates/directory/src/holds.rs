//! Who is held: users and back ends for whom nobody new is let in, while something is done behind.
//!
//! Nothing here ends a session or words a reply; what is kept on disk is kept by the store.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use model::{BackendName, CanonicalUser, Route};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Counters that users share by their names' hashes.
const SLOTS: usize = 256;

/// What can be held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Held {
    /// All users of a back end.
    Backend(BackendName),
    /// One user.
    User(CanonicalUser),
}

impl Held {
    /// What kind it is, and its name, as they are stored.
    pub(crate) fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Backend(name) => ("backend", name.as_str()),
            Self::User(user) => ("user", user.as_str()),
        }
    }
}

/// The holds at work.
#[derive(Debug)]
pub struct Holds {
    held: Mutex<State>,
    /// How often a user of this slot was held so far.
    users: [AtomicU64; SLOTS],
    hasher: RandomState,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    users: HashSet<CanonicalUser>,
    backends: HashSet<BackendName>,
    /// How often each back end was held so far.
    times: Arc<HashMap<BackendName, u64>>,
}

/// What was so before the directory was asked: whoever was held since then may have been sent to where he is
/// no more.
#[derive(Clone, Debug)]
pub struct Passage {
    user: u64,
    backends: Arc<HashMap<BackendName, u64>>,
}

impl Holds {
    pub(crate) fn new(held: impl IntoIterator<Item = Held>) -> Self {
        let holds = Self {
            held: Mutex::default(),
            users: [const { AtomicU64::new(0) }; SLOTS],
            hasher: RandomState::new(),
            released: Notify::new(),
        };
        held.into_iter().for_each(|held| holds.hold(held));
        holds
    }

    /// To be asked before the directory is.
    pub fn passage(&self, user: &CanonicalUser) -> Passage {
        let backends = Arc::clone(&self.held.lock().times);
        Passage { user: self.slot(user).load(Ordering::SeqCst), backends }
    }

    /// Whether a user may log in by this route now.
    pub fn is_held(&self, user: &CanonicalUser, route: &Route) -> bool {
        let held = self.held.lock();
        held.users.contains(user)
            || route.targets.iter().any(|target| held.backends.contains(&target.backend))
    }

    /// Waits until a user may log in by this route. The directory has to be asked again then: it may say
    /// otherwise.
    pub async fn released(&self, user: &CanonicalUser, route: &Route) {
        loop {
            let mut told = std::pin::pin!(self.released.notified());
            told.as_mut().enable();
            if !self.is_held(user, route) {
                return;
            }
            told.await;
        }
    }

    /// Whether neither the user nor the back end is held, nor was at any time since the passage began. The back
    /// end may be another than the route named: one that shares its store.
    pub fn is_free(&self, passage: &Passage, user: &CanonicalUser, backend: &BackendName) -> bool {
        let held = self.held.lock();
        !held.users.contains(user)
            && !held.backends.contains(backend)
            && self.slot(user).load(Ordering::SeqCst) == passage.user
            && held.times.get(backend) == passage.backends.get(backend)
    }

    /// All that is held.
    pub fn list(&self) -> Vec<Held> {
        let held = self.held.lock();
        let mut users: Vec<_> = held.users.iter().cloned().collect();
        let mut backends: Vec<_> = held.backends.iter().cloned().collect();
        users.sort();
        backends.sort();
        let backends = backends.into_iter().map(Held::Backend);
        backends.chain(users.into_iter().map(Held::User)).collect()
    }

    pub(crate) fn hold(&self, what: Held) {
        let mut held = self.held.lock();
        match what {
            Held::Backend(name) => {
                let mut times = HashMap::clone(&held.times);
                *times.entry(name.clone()).or_default() += 1;
                held.times = Arc::new(times);
                held.backends.insert(name);
            }
            Held::User(user) => {
                self.slot(&user).fetch_add(1, Ordering::SeqCst);
                held.users.insert(user);
            }
        }
    }

    pub(crate) fn release(&self, what: &Held) {
        match what {
            Held::Backend(name) => self.held.lock().backends.remove(name),
            Held::User(user) => self.held.lock().users.remove(user),
        };
        self.released.notify_waiters();
    }

    fn slot(&self, user: &CanonicalUser) -> &AtomicU64 {
        let [first, ..] = &self.users;
        let [slot, ..] = self.hasher.hash_one(user).to_be_bytes();
        self.users.get(usize::from(slot)).unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{Target, UserName};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn anna() -> CanonicalUser {
        CanonicalUser::declare(UserName::new("anna").unwrap())
    }

    fn backend(name: &str) -> BackendName {
        BackendName::new(name).unwrap()
    }

    fn route(name: &str) -> Route {
        let targets = vec![Target::backend(backend(name))];
        Route { targets, user: anna().name().clone(), secret: None, judged: false }
    }

    #[tokio::test]
    async fn whoever_is_held_goes_on_when_all_that_holds_him_is_released() {
        let holds = Holds::new([Held::User(anna()), Held::Backend(backend("a"))]);
        let (to_a, to_b) = (route("a"), route("b"));
        assert!(holds.is_held(&anna(), &to_b));
        let user = anna();
        let waits = holds.released(&user, &to_a);
        let releases = async {
            tokio::task::yield_now().await;
            holds.release(&Held::User(anna()));
            assert!(!holds.is_held(&anna(), &to_b) && holds.is_held(&anna(), &to_a));
            tokio::task::yield_now().await;
            holds.release(&Held::Backend(backend("a")));
        };
        let both = async { tokio::join!(waits, releases) };
        timeout(PATIENCE, both).await.unwrap();
        assert!(holds.list().is_empty());
    }

    #[test]
    fn a_hold_that_came_and_went_meanwhile_is_known() {
        let holds = Holds::new([]);
        let passage = holds.passage(&anna());
        assert!(holds.is_free(&passage, &anna(), &backend("a")));
        holds.hold(Held::Backend(backend("a")));
        holds.release(&Held::Backend(backend("a")));
        assert!(!holds.is_free(&passage, &anna(), &backend("a")));
        assert!(holds.is_free(&passage, &anna(), &backend("b")));
        holds.hold(Held::User(anna()));
        holds.release(&Held::User(anna()));
        assert!(!holds.is_free(&passage, &anna(), &backend("b")));
        let passage = holds.passage(&anna());
        assert!(holds.is_free(&passage, &anna(), &backend("a")));
    }

    #[test]
    fn a_hold_that_was_there_before_keeps_out_who_comes_to_that_back_end_by_another_s_route() {
        let holds = Holds::new([Held::Backend(backend("b"))]);
        let passage = holds.passage(&anna());
        assert!(!holds.is_held(&anna(), &route("a")));
        assert!(!holds.is_free(&passage, &anna(), &backend("b")));
        assert!(holds.is_free(&passage, &anna(), &backend("a")));
    }
}
