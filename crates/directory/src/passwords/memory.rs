//! Which passwords were right a short time ago, so that a slow hash costs once and not once per connection.
//!
//! Nothing here keeps a password, nor a digest that another process could use: the key is drawn at the start
//! and never leaves. Passwords that were wrong are not kept at all.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use model::{CanonicalUser, Secret};
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

/// What stands for a user, what is stored for him, and what he offered, together.
#[derive(Clone, Copy)]
pub(super) struct Print([u8; 32]);

/// A time between two acts of forgetting. What was found out before one is not remembered after it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Epoch(u64);

pub(super) struct Memory {
    key: hmac::Key,
    keep: Duration,
    /// How many entries each half has at most.
    half: usize,
    held: Mutex<Held>,
}

/// Two halves: when the young one is full it becomes the old one, and the old one is dropped. So there is a
/// bound, and nothing is searched to keep it.
#[derive(Default)]
struct Held {
    young: HashMap<CanonicalUser, Entry>,
    old: HashMap<CanonicalUser, Entry>,
    epoch: u64,
}

struct Entry {
    print: Print,
    until: Instant,
}

impl Memory {
    /// An empty memory that keeps each entry for `keep`, and at most `entries` of them.
    pub(super) fn new(
        keep: Duration,
        entries: usize,
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, keep, half: entries / 2, held: Mutex::default() })
    }

    /// A keyed digest. It holds what is stored, so that a password that was changed is not known any more.
    pub(super) fn print(&self, user: &CanonicalUser, stored: &Secret, offered: &Secret) -> Print {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user.as_str().as_bytes(), stored.reveal(), offered.reveal()] {
            // Otherwise one part could end where another does.
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut print = [0; 32];
        let tag = context.sign();
        print.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Print(print)
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.held.lock().epoch)
    }

    pub(super) fn knows(&self, user: &CanonicalUser, print: Print, now: Instant) -> bool {
        let held = self.held.lock();
        let entry = held.young.get(user).or_else(|| held.old.get(user));
        entry.is_some_and(|entry| now < entry.until && entry.print.0.ct_eq(&print.0).into())
    }

    /// Remembers what was right, unless something was forgotten since `epoch`.
    pub(super) fn learn(&self, user: CanonicalUser, print: Print, epoch: Epoch, now: Instant) {
        if self.half == 0 || self.keep.is_zero() {
            return;
        }
        let Some(until) = now.checked_add(self.keep) else {
            return;
        };
        let mut held = self.held.lock();
        if Epoch(held.epoch) != epoch {
            return;
        }
        if held.young.len() >= self.half && !held.young.contains_key(&user) {
            held.old = mem::take(&mut held.young);
        }
        held.young.insert(user, Entry { print, until });
    }

    pub(super) fn forget(&self, user: &CanonicalUser) {
        let mut held = self.held.lock();
        held.epoch = held.epoch.wrapping_add(1);
        held.young.remove(user);
        held.old.remove(user);
    }

    pub(super) fn forget_all(&self) {
        let mut held = self.held.lock();
        *held = Held { epoch: held.epoch.wrapping_add(1), ..Held::default() };
    }
}

#[cfg(test)]
mod tests {
    use model::UserName;

    use super::*;

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    const KEEP: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_right_is_known_for_its_time_and_for_nothing_else() {
        let (memory, now) = (Memory::new(KEEP, 100).unwrap(), Instant::now());
        let print =
            |name, stored, offered| memory.print(&user(name), &secret(stored), &secret(offered));
        memory.learn(user("u"), print("u", "s", "p"), memory.epoch(), now);
        assert!(memory.knows(&user("u"), print("u", "s", "p"), now + KEEP / 2));
        assert!(!memory.knows(&user("u"), print("u", "s", "p"), now + KEEP));
        assert!(!memory.knows(&user("u"), print("u", "s", "q"), now));
        assert!(!memory.knows(&user("u"), print("u", "sp", ""), now));
        assert!(!memory.knows(&user("u"), print("u", "changed", "p"), now));
        assert!(!memory.knows(&user("v"), print("u", "s", "p"), now));
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let (memory, now) = (Memory::new(KEEP, 10).unwrap(), Instant::now());
        for number in 0..1000 {
            let user = user(&format!("u{number}"));
            let print = memory.print(&user, &secret("s"), &secret("p"));
            memory.learn(user.clone(), print, memory.epoch(), now);
            assert!(memory.knows(&user, print, now));
            let held = memory.held.lock();
            assert!(held.young.len() + held.old.len() <= 10);
        }
    }

    #[test]
    fn what_is_forgotten_while_it_is_checked_is_not_learnt() {
        let (memory, now) = (Memory::new(KEEP, 10).unwrap(), Instant::now());
        let print = memory.print(&user("u"), &secret("s"), &secret("p"));
        for forget in [Memory::forget_all, |memory: &Memory| memory.forget(&user("u"))] {
            let epoch = memory.epoch();
            forget(&memory);
            memory.learn(user("u"), print, epoch, now);
            assert!(!memory.knows(&user("u"), print, now));
            memory.learn(user("u"), print, memory.epoch(), now);
            assert!(memory.knows(&user("u"), print, now));
            forget(&memory);
            assert!(!memory.knows(&user("u"), print, now));
        }
    }

    #[test]
    fn without_a_time_or_room_nothing_is_remembered() {
        let now = Instant::now();
        for memory in [Memory::new(Duration::ZERO, 10).unwrap(), Memory::new(KEEP, 0).unwrap()] {
            let print = memory.print(&user("u"), &secret("s"), &secret("p"));
            memory.learn(user("u"), print, memory.epoch(), now);
            assert!(!memory.knows(&user("u"), print, now));
        }
    }
}
