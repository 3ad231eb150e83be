//! How fast things may happen: a rate with a burst, as pure arithmetic.
//!
//! Nothing here reads a clock: the time comes in as an argument.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// A rate, and how much may happen at once before it counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    /// The time between two events at the steady rate.
    pub(crate) interval: Duration,
    /// Events that may come at once.
    pub(crate) burst: u32,
}

impl Rate {
    /// So many events per second, and so many at once.
    pub(crate) fn per_second(events: u32, burst: u32) -> Self {
        Self { interval: Duration::from_secs(1) / events.max(1), burst: burst.max(1) }
    }

    /// How far ahead of the steady rate events may be.
    fn tolerance(self) -> Duration {
        self.interval.saturating_mul(self.burst.saturating_sub(1))
    }
}

/// The place of one queue: when its next event would come at the steady rate (the generic cell
/// rate algorithm of ATM).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    next: Instant,
}

impl Queue {
    pub(crate) fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// Counts an event in and says how long it has to wait: longer with each that comes too early.
    pub(crate) fn enter(&mut self, rate: Rate, now: Instant) -> Duration {
        let turn = self.next.max(now);
        self.next = turn + rate.interval;
        turn.saturating_duration_since(now).saturating_sub(rate.tolerance())
    }

    /// Takes back the last event that was counted in.
    pub(crate) fn leave(&mut self, rate: Rate) {
        self.next = self.next.checked_sub(rate.interval).unwrap_or(self.next);
    }

    /// Whether nothing is owed any more, so that forgetting the queue changes nothing.
    fn idle(&self, now: Instant) -> bool {
        self.next <= now
    }
}

/// Queues by key, bounded in number.
#[derive(Debug)]
pub(crate) struct Queues<K> {
    rate: Rate,
    longest: Duration,
    queues: HashMap<K, Queue>,
    /// The number of queues at which idle ones are looked for.
    prune_at: usize,
}

/// A queue is so long that nobody may join it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooLong;

/// Queues before the first look for idle ones.
const PRUNE_AT: usize = 1024;

impl<K: Eq + Hash> Queues<K> {
    /// Queues that all go at `rate`; nobody waits longer than `longest`.
    pub(crate) fn new(rate: Rate, longest: Duration) -> Self {
        Self { rate, longest, queues: HashMap::new(), prune_at: PRUNE_AT }
    }

    /// Counts an event of `key` in and says how long it has to wait.
    ///
    /// # Errors
    /// [`TooLong`] if that would be longer than anybody may wait; the event does not count then.
    pub(crate) fn enter(&mut self, key: K, now: Instant) -> Result<Duration, TooLong> {
        self.prune(now);
        let queue = self.queues.entry(key).or_insert_with(|| Queue::new(now));
        let wait = queue.enter(self.rate, now);
        if wait > self.longest {
            queue.leave(self.rate);
            return Err(TooLong);
        }
        Ok(wait)
    }

    /// How long an event of `key` would have to wait, without counting one.
    pub(crate) fn wait(&self, key: &K, now: Instant) -> Duration {
        let waits = |queue: &Queue| queue.clone().enter(self.rate, now);
        self.queues.get(key).map_or(Duration::ZERO, waits)
    }

    /// Forgets idle queues, each time their number has doubled: the memory follows what is in use.
    fn prune(&mut self, now: Instant) {
        if self.queues.len() >= self.prune_at {
            self.queues.retain(|_, queue| !queue.idle(now));
            self.prune_at = self.queues.len().saturating_mul(2).max(PRUNE_AT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_and_what_comes_after_waits_longer_and_longer() {
        let now = Instant::now();
        let mut queues = Queues::new(Rate::per_second(10, 3), SECOND);
        let waits: Vec<_> = (0..5).map(|_| queues.enter("a", now).unwrap().as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
        assert_eq!(queues.enter("b", now), Ok(Duration::ZERO));
    }

    #[test]
    fn nobody_waits_longer_than_may_be_and_the_refused_do_not_count() {
        let now = Instant::now();
        let mut queues = Queues::new(Rate::per_second(1, 1), SECOND * 2);
        for wait in 0..3 {
            assert_eq!(queues.enter("a", now), Ok(SECOND * wait));
        }
        for _ in 0..100 {
            assert_eq!(queues.enter("a", now), Err(TooLong));
        }
        assert_eq!(queues.enter("a", now + SECOND), Ok(SECOND * 2));
    }

    #[test]
    fn whoever_was_quiet_has_the_burst_again() {
        let now = Instant::now();
        let mut queues = Queues::new(Rate::per_second(1, 2), SECOND);
        assert_eq!(queues.enter("a", now), Ok(Duration::ZERO));
        assert_eq!(queues.enter("a", now), Ok(Duration::ZERO));
        assert_eq!(queues.enter("a", now), Ok(SECOND));
        let later = now + SECOND * 10;
        assert_eq!(queues.enter("a", later), Ok(Duration::ZERO));
        assert_eq!(queues.enter("a", later), Ok(Duration::ZERO));
    }

    #[test]
    fn a_flood_of_keys_is_forgotten_when_it_is_over() {
        let now = Instant::now();
        let mut queues = Queues::new(Rate::per_second(1, 1), SECOND);
        for key in 0..10 * PRUNE_AT {
            let moment = now + Duration::from_millis(key as u64 * 10);
            assert!(queues.enter(key, moment).is_ok());
        }
        assert!(queues.queues.len() <= 2 * PRUNE_AT, "{}", queues.queues.len());
    }
}
