//! Who is held: users and back ends for whom nobody new is let in, while something is done behind.
//!
//! Nothing here ends a session or words a reply; what is kept on disk is kept by the store.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use model::{BackendName, CanonicalUser, Route, UserName};
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use crate::store::StoredMailbox;

/// Counters that users share by their names' hashes, and mailboxes by theirs.
const SLOTS: usize = 256;

/// How often those are looked for who are held but could not be read, at most.
pub(crate) const READ_EVERY: Duration = Duration::from_secs(1);

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

    /// What is stored in these words; none if no release writes such.
    pub(crate) fn stored(about: &str, subject: &str) -> Option<Self> {
        match about {
            "backend" => BackendName::new(subject).ok().map(Self::Backend),
            "user" => {
                let user = UserName::new(subject).ok()?;
                Some(Self::User(CanonicalUser::declare(user)))
            }
            _ => None,
        }
    }
}

/// What is one for all names of a user.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Mailbox {
    pool: Box<str>,
    id: Box<str>,
}

impl From<StoredMailbox> for Mailbox {
    fn from(stored: StoredMailbox) -> Self {
        Self { pool: stored.pool, id: stored.id }
    }
}

/// The holds at work.
#[derive(Debug)]
pub struct Holds {
    state: Mutex<State>,
    hasher: RandomState,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Each with his mailbox, where he has one.
    users: HashMap<CanonicalUser, Option<Mailbox>>,
    /// For whose sake each of those is held.
    mailboxes: HashMap<Mailbox, HashSet<CanonicalUser>>,
    backends: HashSet<BackendName>,
    times: Arc<Times>,
    /// While nobody can say who is held: when that was tried last.
    unread_since: Option<Instant>,
}

/// How often each was held so far.
#[derive(Clone, Debug)]
struct Times {
    backends: HashMap<BackendName, u64>,
    users: [u64; SLOTS],
    mailboxes: [u64; SLOTS],
}

impl State {
    fn remove(&mut self, user: &CanonicalUser) {
        let Some(Some(mailbox)) = self.users.remove(user) else { return };
        if let Some(users) = self.mailboxes.get_mut(&mailbox) {
            users.remove(user);
            if users.is_empty() {
                self.mailboxes.remove(&mailbox);
            }
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self { backends: HashMap::new(), users: [0; SLOTS], mailboxes: [0; SLOTS] }
    }
}

/// What was so before the directory was asked: whoever was held since then may have been sent to where he is
/// no more.
#[derive(Clone, Debug)]
pub struct Passage(Arc<Times>);

impl Holds {
    pub(crate) fn new(held: impl IntoIterator<Item = (Held, Option<Mailbox>)>) -> Self {
        let holds =
            Self { state: Mutex::default(), hasher: RandomState::new(), changed: Notify::new() };
        held.into_iter().for_each(|(held, mailbox)| holds.hold(held, mailbox));
        holds
    }

    /// Nobody can say who is held, so that anybody may be.
    pub(crate) fn unread() -> Self {
        let holds = Self::new([]);
        holds.state.lock().unread_since = Some(Instant::now());
        holds
    }

    /// Whether nobody can say who is held.
    pub(crate) fn is_unread(&self) -> bool {
        self.state.lock().unread_since.is_some()
    }

    /// Whether nobody can say who is held, and whoever asks should try to read it.
    pub(crate) fn is_time_to_read(&self) -> bool {
        let mut state = self.state.lock();
        let is_time = |since: Instant| since.elapsed() >= READ_EVERY;
        let is_time = state.unread_since.is_some_and(is_time);
        if is_time {
            state.unread_since = Some(Instant::now());
        }
        is_time
    }

    /// From now on it is known who is held.
    pub(crate) fn learn(&self, held: Vec<(Held, Option<Mailbox>)>) {
        held.into_iter().for_each(|(held, mailbox)| self.hold(held, mailbox));
        self.state.lock().unread_since = None;
        self.changed.notify_waiters();
    }

    /// To be asked before the directory is.
    pub(crate) fn passage(&self) -> Passage {
        Passage(Arc::clone(&self.state.lock().times))
    }

    /// Whether a user may not log in now, wherever his mail is. `mailbox` looks for the one that he has.
    pub(crate) fn is_user_held<E>(
        &self,
        user: &CanonicalUser,
        mailbox: impl FnOnce() -> Result<Option<Mailbox>, E>,
    ) -> bool {
        let by_mailbox = {
            let state = self.state.lock();
            if state.unread_since.is_some() || state.users.contains_key(user) {
                return true;
            }
            !state.mailboxes.is_empty()
        };
        // It may ask the disk: nobody else has to wait for that.
        by_mailbox
            && match mailbox() {
                Ok(None) => false,
                Ok(Some(own)) => self.state.lock().mailboxes.contains_key(&own),
                Err(_) => true,
            }
    }

    /// Whether one of the back ends of a route is held.
    pub(crate) fn is_way_held(&self, route: &Route) -> bool {
        let state = self.state.lock();
        route.targets.iter().any(|target| state.backends.contains(&target.backend))
    }

    /// What ends when something may have been released. It has to be enabled before it is asked who is held.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Whether neither the user nor the back end is held, nor was at any time since the passage began. The back
    /// end may be another than the route named: one that shares its store. `mailbox` looks for the one that he has.
    pub(crate) fn is_free<E>(
        &self,
        passage: &Passage,
        (user, backend): (&CanonicalUser, &BackendName),
        mailbox: impl FnOnce() -> Result<Option<Mailbox>, E>,
    ) -> bool {
        let state = self.state.lock();
        if state.users.contains_key(user) || state.backends.contains(backend) {
            return false;
        }
        let (then, now) = (&passage.0, Arc::clone(&state.times));
        drop(state);
        if Arc::ptr_eq(then, &now) {
            return true;
        }
        let users = self.slot(user);
        if then.users.get(users) != now.users.get(users)
            || then.backends.get(backend) != now.backends.get(backend)
        {
            return false;
        }
        then.mailboxes == now.mailboxes
            || match mailbox() {
                Ok(None) => true,
                Ok(Some(own)) => {
                    let mailboxes = self.slot(&own);
                    then.mailboxes.get(mailboxes) == now.mailboxes.get(mailboxes)
                }
                Err(_) => false,
            }
    }

    /// All that is held.
    pub fn list(&self) -> Vec<Held> {
        let state = self.state.lock();
        let mut users: Vec<_> = state.users.keys().cloned().collect();
        let mut backends: Vec<_> = state.backends.iter().cloned().collect();
        users.sort();
        backends.sort();
        let backends = backends.into_iter().map(Held::Backend);
        backends.chain(users.into_iter().map(Held::User)).collect()
    }

    /// The users who are held for the sake of a mailbox.
    pub(crate) fn users_of(&self, mailbox: &Mailbox) -> Vec<CanonicalUser> {
        let state = self.state.lock();
        state.mailboxes.get(mailbox).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn hold(&self, what: Held, mailbox: Option<Mailbox>) {
        let mut state = self.state.lock();
        let times = Arc::make_mut(&mut state.times);
        match what {
            Held::Backend(name) => {
                *times.backends.entry(name.clone()).or_default() += 1;
                state.backends.insert(name);
            }
            Held::User(user) => {
                count(&mut times.users, self.slot(&user));
                if let Some(mailbox) = &mailbox {
                    count(&mut times.mailboxes, self.slot(mailbox));
                }
                state.remove(&user);
                if let Some(mailbox) = mailbox.clone() {
                    state.mailboxes.entry(mailbox).or_default().insert(user.clone());
                }
                state.users.insert(user, mailbox);
            }
        }
    }

    pub(crate) fn release(&self, what: &Held) {
        let mut state = self.state.lock();
        match what {
            Held::Backend(name) => drop(state.backends.remove(name)),
            Held::User(user) => state.remove(user),
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn slot(&self, of: &impl Hash) -> usize {
        let [slot, ..] = self.hasher.hash_one(of).to_be_bytes();
        usize::from(slot)
    }
}

fn count(slots: &mut [u64; SLOTS], slot: usize) {
    if let Some(times) = slots.get_mut(slot) {
        *times += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use model::Target;

    use super::*;

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    fn anna() -> CanonicalUser {
        user("anna")
    }

    fn backend(name: &str) -> BackendName {
        BackendName::new(name).unwrap()
    }

    fn route(name: &str) -> Route {
        let targets = vec![Target::backend(backend(name))];
        Route { targets, user: anna().name().clone(), secret: None, judged: false, stale: false }
    }

    fn mailbox(id: &str) -> Option<Mailbox> {
        Some(Mailbox { pool: "main".into(), id: id.into() })
    }

    type Looked = Result<Option<Mailbox>, Infallible>;

    fn no_mailbox() -> Looked {
        Ok(None)
    }

    #[test]
    fn a_user_and_a_back_end_are_held_each_for_itself() {
        let holds = Holds::new([(Held::User(anna()), None), (Held::Backend(backend("a")), None)]);
        assert!(holds.is_user_held(&anna(), no_mailbox));
        assert!(!holds.is_user_held(&user("bert"), no_mailbox));
        assert!(holds.is_way_held(&route("a")) && !holds.is_way_held(&route("b")));
        holds.release(&Held::User(anna()));
        holds.release(&Held::Backend(backend("a")));
        assert!(!holds.is_user_held(&anna(), no_mailbox) && !holds.is_way_held(&route("a")));
        assert!(holds.list().is_empty());
    }

    #[test]
    fn who_is_held_is_held_by_every_name_of_his_mailbox() {
        let holds = Holds::new([]);
        let passage = holds.passage();
        holds.hold(Held::User(user("anna@example.org")), mailbox("1"));
        let own = || -> Looked { Ok(mailbox("1")) };
        let another = || -> Looked { Ok(mailbox("2")) };
        assert!(holds.is_user_held(&anna(), own) && !holds.is_user_held(&anna(), another));
        assert!(!holds.is_user_held(&anna(), no_mailbox));
        let who = (&anna(), &backend("a"));
        assert!(!holds.is_free(&passage, who, own) && holds.is_free(&passage, who, no_mailbox));
        // Who cannot be looked for may be he.
        assert!(holds.is_user_held(&anna(), || Err(())));
        assert!(!holds.is_free(&passage, who, || Err(())));
        assert_eq!(holds.users_of(&mailbox("1").unwrap()), [user("anna@example.org")]);
    }

    #[test]
    fn while_nobody_can_say_who_is_held_anybody_may_be() {
        let holds = Holds::unread();
        assert!(holds.is_unread() && holds.is_user_held(&anna(), no_mailbox));
        holds.learn(vec![(Held::User(user("bert")), None)]);
        assert!(!holds.is_unread() && !holds.is_user_held(&anna(), no_mailbox));
        assert!(holds.is_user_held(&user("bert"), no_mailbox));
    }

    #[test]
    fn a_hold_that_came_and_went_meanwhile_is_known() {
        let holds = Holds::new([]);
        let passage = holds.passage();
        let (a, b) = (backend("a"), backend("b"));
        let is_free =
            |passage: &Passage, to: &BackendName| holds.is_free(passage, (&anna(), to), no_mailbox);
        assert!(is_free(&passage, &a));
        holds.hold(Held::Backend(a.clone()), None);
        holds.release(&Held::Backend(a.clone()));
        assert!(!is_free(&passage, &a) && is_free(&passage, &b));
        holds.hold(Held::User(anna()), None);
        holds.release(&Held::User(anna()));
        assert!(!is_free(&passage, &b));
        assert!(is_free(&holds.passage(), &a));
    }

    #[test]
    fn a_hold_that_was_there_before_keeps_out_who_comes_to_that_back_end_by_another_s_route() {
        let holds = Holds::new([(Held::Backend(backend("b")), None)]);
        let passage = holds.passage();
        assert!(!holds.is_way_held(&route("a")));
        assert!(!holds.is_free(&passage, (&anna(), &backend("b")), no_mailbox));
        assert!(holds.is_free(&passage, (&anna(), &backend("a")), no_mailbox));
    }
}
