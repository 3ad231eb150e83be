//! What a source said, for how long it counts, and what may still be used of it while the source is down.
//!
//! Nothing here asks the source or reads a clock: the time is handed in.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::CanonicalUser;
use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::{CacheSettings, CannotSay, Key, Said};
use crate::sources::Found;

/// How long a source that could not say is left alone by those who have an old answer.
const REST: Duration = Duration::from_secs(1);

/// Users share this many counters. That another user of the same counter is asked for anew does no harm.
const COUNTERS: usize = 4096;

/// What is held under a key.
#[derive(Debug)]
pub(super) enum Held {
    /// It counts.
    Fresh(Said),
    /// It counts only while the source cannot say, and this is all of it that does.
    Stale(Found),
    Nothing,
}

/// When a question was asked, counted in forgettings: an answer to a question from before one is not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ticket {
    all: u64,
    user: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    said: Said,
    at: Instant,
    ticket: Ticket,
}

/// What a source was asked since the start.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Questions answered from memory.
    pub remembered: u64,
    /// Questions asked of the source, and answered.
    pub asked: u64,
    /// Questions that it could not answer.
    pub failed: u64,
    /// Questions answered with what was known from before, because it could not.
    pub stale: u64,
    /// What was wrong the last time, while it is wrong.
    pub failing: Option<String>,
}

pub(super) struct Memory {
    name: Arc<str>,
    entries: Cache<Key, Entry>,
    settings: CacheSettings,
    forgotten: AtomicU64,
    forgotten_users: Box<[AtomicU64]>,
    hasher: RandomState,
    failing: AtomicBool,
    /// What is wrong, and until when those with an old answer use it.
    trouble: Mutex<Option<(String, Instant)>>,
    remembered: AtomicU64,
    asked: AtomicU64,
    failed: AtomicU64,
    stale: AtomicU64,
}

impl Memory {
    pub(super) fn new(name: Arc<str>, settings: &CacheSettings) -> Self {
        Self {
            name,
            entries: Cache::new(settings.entries),
            settings: settings.clone(),
            forgotten: AtomicU64::new(0),
            forgotten_users: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            failing: AtomicBool::new(false),
            trouble: Mutex::new(None),
            remembered: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stale: AtomicU64::new(0),
        }
    }

    /// What is held for a question.
    pub(super) fn recall(&self, key: &Key, now: Instant) -> Held {
        let Some(entry) = self.entries.get(key) else { return Held::Nothing };
        if entry.ticket != self.ticket(&key.query.user) {
            return Held::Nothing;
        }
        let held = self.settings.weigh(entry.said, now.duration_since(entry.at));
        match held {
            Held::Fresh(_) => count(&self.remembered),
            Held::Nothing => drop(self.entries.remove(key)),
            Held::Stale(_) => {}
        }
        held
    }

    /// Notes what the source said to a question asked with `ticket`.
    pub(super) fn note(
        &self,
        key: Key,
        said: &Result<Said, CannotSay>,
        ticket: Ticket,
        now: Instant,
    ) {
        match said {
            Ok(said) => {
                count(&self.asked);
                self.recovered();
                // What was refused may be right the next time.
                let worth = !matches!(said, Said::Refused { .. });
                if worth && ticket == self.ticket(&key.query.user) {
                    self.entries.insert(key, Entry { said: said.clone(), at: now, ticket });
                }
            }
            Err(cannot) => {
                count(&self.failed);
                if !cannot.of_question {
                    self.broke_down(&cannot.detail, now);
                } else if let Some((_, until)) = self.trouble.lock().as_mut() {
                    // It is there: what it has to say of others is for them to ask.
                    *until = now;
                }
            }
        }
    }

    pub(super) fn ticket(&self, user: &CanonicalUser) -> Ticket {
        let user = self.counter(user).map_or(0, |counter| counter.load(Ordering::Acquire));
        Ticket { all: self.forgotten.load(Ordering::Acquire), user }
    }

    pub(super) fn forget(&self, user: &CanonicalUser) {
        if let Some(counter) = self.counter(user) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }

    fn counter(&self, user: &CanonicalUser) -> Option<&AtomicU64> {
        self.forgotten_users.get(self.counter_number(user))
    }

    pub(super) fn counter_number(&self, user: &CanonicalUser) -> usize {
        usize::try_from(self.hasher.hash_one(user) % COUNTERS as u64).unwrap_or(0)
    }

    /// Whether somebody who has an old answer asks all the same. Of a source that fails, one does now and then;
    /// until that one knows more, or for as long as an answer may take, the others use what they have.
    pub(super) fn is_worth_asking(&self, now: Instant, deadline: Duration) -> bool {
        if !self.failing.load(Ordering::Acquire) {
            return true;
        }
        match self.trouble.lock().as_mut() {
            Some((_, until)) if now < *until => false,
            Some((_, until)) => {
                *until = now + deadline;
                true
            }
            None => true,
        }
    }

    /// Counts an old answer that is used.
    pub(super) fn used_stale(&self, found: Found) -> Found {
        count(&self.stale);
        found
    }

    fn broke_down(&self, detail: &str, now: Instant) {
        *self.trouble.lock() = Some((detail.to_owned(), now + REST));
        if !self.failing.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                target: "directory",
                source = &*self.name,
                detail,
                stale_for = ?self.settings.stale_for,
                "a source cannot say: what it said before is used where that is allowed"
            );
        }
    }

    fn recovered(&self) {
        if self.failing.load(Ordering::Acquire) && self.failing.swap(false, Ordering::AcqRel) {
            *self.trouble.lock() = None;
            tracing::info!(target: "directory", source = &*self.name, "a source answers again");
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            remembered: self.remembered.load(Ordering::Relaxed),
            asked: self.asked.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            stale: self.stale.load(Ordering::Relaxed),
            failing: self.trouble.lock().as_ref().map(|(detail, _)| detail.clone()),
        }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("source", &self.name).finish_non_exhaustive()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl CacheSettings {
    /// What an answer counts at an age.
    fn weigh(&self, said: Said, age: Duration) -> Held {
        let found = match said {
            Said::Found(found) => found,
            Said::Unknown if age < self.not_found => return Held::Fresh(Said::Unknown),
            Said::Unknown | Said::Refused { .. } => return Held::Nothing,
        };
        // One that merely came to a question with a password is as good without it.
        let judged = found.judged;
        let lifetime = if judged { self.judged } else { self.found };
        if age < lifetime {
            return Held::Fresh(Said::Found(found));
        }
        let late = age - lifetime;
        if late < self.stale_secrets_for {
            return Held::Stale(Found { stale: true, ..found });
        }
        // An answer to a password says nothing without it, and that somebody may not log in is a "no".
        if late >= self.stale_for || judged || found.disabled {
            return Held::Nothing;
        }
        Held::Stale(Found { stale: true, incomplete: true, secret: None, verifier: None, ..found })
    }
}
