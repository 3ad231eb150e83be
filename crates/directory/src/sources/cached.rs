//! A source that may be slow, down, or hang: what it said is remembered, equal questions are one, and each
//! is asked in a task of its own with a deadline.
//!
//! Nothing here knows what kind of source it is, and nothing here turns "cannot say" into "no".

mod flights;
mod memory;
#[cfg(test)]
mod tests;

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::hmac;
use model::{CanonicalUser, Reason, Secret};

use super::{Asking, Assigner, CannotSay, Question, Remote, Said};
use crate::{DependsOn, Query};

use self::{
    flights::Flights,
    memory::{Held, Memory},
};

pub use self::memory::Figures;

/// How long answers of a source count, and how much it is asked at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CacheSettings {
    /// How long a user who was found is not asked for again.
    pub found: Duration,
    /// How long a user who is not known is not asked for again.
    pub not_found: Duration,
    /// How long a password that the source itself has found right is not asked for again.
    pub judged: Duration,
    /// While the source cannot say, how long after its time an answer's route may still be used.
    pub stale_for: Duration,
    /// The same for what is said of passwords, and that a user may not log in.
    pub stale_secrets_for: Duration,
    /// How many answers are remembered at most.
    pub entries: usize,
    /// How long an answer may take.
    pub deadline: Duration,
    /// How many questions may be on their way at a time.
    pub questions: usize,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            found: Duration::from_secs(300),
            not_found: Duration::from_secs(30),
            judged: Duration::from_secs(60),
            stale_for: Duration::from_secs(86_400),
            stale_secrets_for: Duration::ZERO,
            entries: 100_000,
            deadline: Duration::from_secs(5),
            questions: 256,
        }
    }
}

/// What makes two questions the same: all that the answer depends on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    query: Query,
    key: Arc<str>,
    /// Of the password, where the source judges; none where none was offered.
    offer: Option<Box<[u8]>>,
}

/// A source behind its memory.
pub(crate) struct Cached {
    remote: Arc<dyn Remote>,
    memory: Arc<Memory>,
    flights: Flights,
    deadline: Duration,
    /// Says the time; a test's clock stands still.
    now: fn() -> Instant,
    /// Turns passwords into what can be a key without being a secret.
    digests: hmac::Key,
}

/// Forgets what a source said; given to whoever learns of changes.
#[derive(Clone, Debug)]
pub(crate) struct Forgetter(Arc<Memory>);

impl Forgetter {
    /// What was said of one user counts no more, nor what is being said now.
    pub(crate) fn forget(&self, user: &CanonicalUser) {
        self.0.forget(user);
    }

    /// Nothing counts any more.
    pub(crate) fn forget_all(&self) {
        self.0.forget_all();
    }
}

impl Cached {
    /// Puts a memory before a source. `make` gets what forgets, for a source that is told of changes.
    pub(crate) fn new<E>(
        name: Arc<str>,
        settings: &CacheSettings,
        make: impl FnOnce(Forgetter) -> Result<Arc<dyn Remote>, E>,
    ) -> Result<Self, E> {
        let memory = Arc::new(Memory::new(name, settings));
        Ok(Self {
            remote: make(Forgetter(Arc::clone(&memory)))?,
            memory,
            flights: Flights::new(settings.questions),
            deadline: settings.deadline,
            now: Instant::now,
            digests: random_key(),
        })
    }

    /// The same by another clock.
    #[cfg(test)]
    pub(crate) fn by(self, now: fn() -> Instant) -> Self {
        Self { now, ..self }
    }

    /// Whether each of these users can be forgotten alone.
    #[cfg(test)]
    pub(crate) fn tells_apart(&self, users: &[CanonicalUser]) -> bool {
        let counters = users.iter().map(|user| self.memory.counter_number(user));
        counters.collect::<std::collections::HashSet<_>>().len() == users.len()
    }

    /// What forgets what this source said.
    pub(crate) fn forgetter(&self) -> Forgetter {
        Forgetter(Arc::clone(&self.memory))
    }

    /// What can be told where a user is. What the source said of him has to be forgotten then.
    pub(crate) fn assigner(&self) -> Option<&dyn Assigner> {
        self.remote.assigner()
    }

    /// What its answers depend on.
    pub(crate) fn depends_on(&self) -> DependsOn {
        self.remote.depends_on()
    }

    pub(super) async fn ask(&self, question: &Question, how: Asking) -> Result<Said, CannotSay> {
        let key = self.key(question);
        let now = (self.now)();
        let stale = match self.memory.recall(&key, now) {
            Held::Fresh(Said::Unknown) if how == Asking::NoRememberedNo => None,
            Held::Fresh(said) => return Ok(said),
            Held::Stale(found) if self.memory.is_worth_asking(now, self.deadline) => Some(found),
            Held::Stale(found) => return Ok(Said::Found(self.memory.used_stale(found))),
            Held::Nothing => None,
        };
        match (self.fly(key, question).await, stale) {
            // Only while it cannot say at all: an answer that cannot be used is no reason to use an old one.
            (Err(cannot), Some(found)) if cannot.reason == Reason::DirectoryUnavailable => {
                Ok(Said::Found(self.memory.used_stale(found)))
            }
            (said, _) => said,
        }
    }

    /// Asks the source, or waits for the answer to the same question that is on its way.
    async fn fly(&self, key: Key, question: &Question) -> Result<Said, CannotSay> {
        let (remote, memory) = (Arc::clone(&self.remote), Arc::clone(&self.memory));
        let question = Question {
            query: Arc::new(key.query.clone()),
            key: Arc::clone(&key.key),
            offer: question.offer.clone(),
        };
        let ticket = memory.ticket(&key.query.user);
        let (noted, deadline, now) = (key.clone(), self.deadline, self.now);
        self.flights
            .join(key, ticket, async move {
                let asked = tokio::time::timeout(deadline, remote.ask(question)).await;
                let said = asked.unwrap_or_else(|_| {
                    Err(CannotSay::unavailable(format_args!("no answer within {deadline:?}")))
                });
                memory.note(noted, &said, ticket, now());
                said
            })
            .await
    }

    /// What was asked and remembered since the start.
    pub(crate) fn figures(&self) -> Figures {
        self.memory.figures()
    }

    fn key(&self, question: &Question) -> Key {
        let judged = question.offer.as_ref().filter(|_| self.remote.judges());
        Key {
            query: self.remote.depends_on().reduce(&question.query),
            key: Arc::clone(&question.key),
            offer: judged.map(|offer| self.digest(&offer.password)),
        }
    }

    /// Of a password, made with a key that never leaves this process's memory.
    fn digest(&self, password: &Secret) -> Box<[u8]> {
        hmac::sign(&self.digests, password.reveal()).as_ref().into()
    }
}

/// A key that nobody knows.
fn random_key() -> hmac::Key {
    let mut bytes = [0; 32];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        // The system has none to give; the standard library drew some when the first map was made.
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&RandomState::new().hash_one(part.len()).to_ne_bytes());
        }
    }
    hmac::Key::new(hmac::HMAC_SHA256, &bytes)
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cached").field(&self.remote).finish()
    }
}
