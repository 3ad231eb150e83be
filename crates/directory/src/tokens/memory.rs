//! Which tokens were right a short time ago, so that the issuer is not asked for each connection of a program.
//!
//! Nothing here keeps a token, nor a digest that another process could use: the key is drawn at the start and never
//! leaves. Tokens that were wrong are not kept at all.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use model::{CanonicalUser, Token};
use quick_cache::sync::Cache;

use super::Remembering;

/// What stands for a user and a token together.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Print([u8; 32]);

/// A time between two acts of forgetting. What was found out before one is not remembered after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Epoch(u64);

#[derive(Clone)]
struct Entry {
    user: CanonicalUser,
    until: Instant,
    epoch: Epoch,
}

pub(super) struct Memory {
    /// None: nothing is remembered.
    key: Option<hmac::Key>,
    time: Duration,
    entries: Cache<Print, Entry>,
    forgotten: AtomicU64,
    forgotten_all: AtomicU64,
}

impl Memory {
    /// An empty memory. Where the system gives no random bytes it stays empty.
    pub(super) fn new(remembering: Remembering) -> Self {
        let Remembering { time, most } = remembering;
        let wanted = !time.is_zero() && most > 0;
        let key = wanted.then(|| hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok());
        Self {
            key: key.flatten(),
            time,
            entries: Cache::new(most),
            forgotten: AtomicU64::new(0),
            forgotten_all: AtomicU64::new(0),
        }
    }

    /// A keyed digest; none if nothing is remembered.
    pub(super) fn print(&self, user: &CanonicalUser, token: &Token) -> Option<Print> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [user.as_str().as_bytes(), token.secret().reveal()] {
            // Otherwise one part could end where another does.
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok().map(Print)
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.forgotten.load(Ordering::Acquire))
    }

    pub(super) fn knows(&self, print: Print, now: Instant) -> bool {
        let since = self.forgotten_all.load(Ordering::Acquire);
        let entry = self.entries.get(&print);
        entry.is_some_and(|entry| now < entry.until && entry.epoch.0 >= since)
    }

    /// Remembers what was right, for no longer than is `left` of it, unless something was forgotten since `epoch`.
    pub(super) fn learn(
        &self,
        print: Print,
        user: &CanonicalUser,
        left: Option<Duration>,
        epoch: Epoch,
        now: Instant,
    ) {
        let time = left.map_or(self.time, |left| left.min(self.time));
        if let Some(until) = now.checked_add(time)
            && !time.is_zero()
        {
            self.entries.insert(print, Entry { user: user.clone(), until, epoch });
            // Whoever forgets counts first and then looks at what there is.
            if self.epoch() != epoch {
                self.entries.remove(&print);
            }
        }
    }

    /// Forgets what was right: of one user, or all.
    pub(super) fn forget(&self, user: Option<&CanonicalUser>) {
        let epoch = self.forgotten.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        match user {
            Some(user) => self.entries.retain(|_, entry| entry.user != *user),
            None => {
                self.forgotten_all.store(epoch, Ordering::Release);
                self.entries.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::UserName;

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    fn memory() -> Memory {
        Memory::new(Remembering { time: TIME, most: 100 })
    }

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    fn print(memory: &Memory, name: &str, token: &str) -> Print {
        memory.print(&user(name), &Token::new(token).unwrap()).unwrap()
    }

    fn learn(memory: &Memory, name: &str, token: &str, left: Option<Duration>, now: Instant) {
        memory.learn(print(memory, name, token), &user(name), left, memory.epoch(), now);
    }

    #[test]
    fn a_token_is_known_for_its_user_and_its_time_and_never_beyond_its_end() {
        let (memory, now) = (memory(), Instant::now());
        let knows = |name, token, after| memory.knows(print(&memory, name, token), now + after);
        learn(&memory, "ann", "long", Some(TIME * 2), now);
        learn(&memory, "ann", "short", Some(TIME / 2), now);
        learn(&memory, "ann", "over", Some(Duration::ZERO), now);
        learn(&memory, "ann", "endless", None, now);
        let just = |time: Duration| time.checked_sub(Duration::from_millis(1)).unwrap();
        for (token, time) in [("long", TIME), ("short", TIME / 2), ("endless", TIME)] {
            assert!(knows("ann", token, just(time)) && !knows("ann", token, time), "{token}");
            assert!(!knows("bob", token, Duration::ZERO), "{token}");
        }
        assert!(!knows("ann", "over", Duration::ZERO));
        assert!(!knows("annl", "ong", Duration::ZERO));
    }

    #[test]
    fn what_is_forgotten_is_judged_again_and_so_is_what_was_on_its_way() {
        let (memory, now) = (memory(), Instant::now());
        let knows = |name| memory.knows(print(&memory, name, "t"), now);
        learn(&memory, "ann", "t", None, now);
        learn(&memory, "bob", "t", None, now);
        let before = memory.epoch();
        memory.forget(Some(&user("ann")));
        assert!(!knows("ann") && knows("bob"));
        memory.learn(print(&memory, "ann", "t"), &user("ann"), None, before, now);
        assert!(!knows("ann"));
        learn(&memory, "ann", "t", None, now);
        assert!(knows("ann"));
        memory.forget(None);
        assert!(!knows("ann") && !knows("bob"));
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_nothing_where_that_is_wanted() {
        let (memory, now) = (memory(), Instant::now());
        for number in 0..1000 {
            learn(&memory, "ann", &format!("t{number}"), None, now);
        }
        let known = (0..1000)
            .filter(|number| memory.knows(print(&memory, "ann", &format!("t{number}")), now));
        assert!((1..=100).contains(&known.count()));
        for nothing in
            [Remembering { time: Duration::ZERO, most: 9 }, Remembering { time: TIME, most: 0 }]
        {
            let memory = Memory::new(nothing);
            assert_eq!(memory.print(&user("ann"), &Token::new("t").unwrap()), None);
        }
    }
}
