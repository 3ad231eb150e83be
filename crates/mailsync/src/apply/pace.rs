//! Not faster than allowed.
//!
//! Nothing here knows what is copied.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::Limits;

/// Shared by all sessions of a job.
#[derive(Debug)]
pub(crate) struct Pace {
    messages: Option<u32>,
    bytes: Option<u64>,
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            messages: limits.messages_per_second.filter(|rate| *rate > 0),
            bytes: limits.bytes_per_second.filter(|rate| *rate > 0),
            free_at: Mutex::default(),
        }
    }

    /// The most messages that may go at once: what a second allows.
    pub(crate) fn burst(&self, wanted: usize) -> usize {
        let rate = self.messages.and_then(|rate| usize::try_from(rate).ok());
        rate.map_or(wanted, |rate| wanted.min(rate)).max(1)
    }

    /// Waits for its turn, and takes the time that so much may take.
    pub(crate) async fn wait(&self, messages: usize, bytes: u64) {
        let cost = self.cost(messages, bytes);
        if cost.is_zero() {
            return;
        }
        let turn = {
            let mut free_at = self.free_at.lock();
            let now = Instant::now();
            let turn = free_at.filter(|at| *at > now).unwrap_or(now);
            *free_at = turn.checked_add(cost);
            turn
        };
        sleep_until(turn).await;
    }

    fn cost(&self, messages: usize, bytes: u64) -> Duration {
        let seconds = |amount: u64, rate: u64| {
            // A thousandth of a second is as exact as anybody sees.
            Duration::from_millis(amount.saturating_mul(1000) / rate)
        };
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        let for_messages = self.messages.map(|rate| seconds(messages, rate.into()));
        let for_bytes = self.bytes.map(|rate| seconds(bytes, rate));
        for_messages.into_iter().chain(for_bytes).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_both_limits_counts() {
        let limits = |messages, bytes| Limits {
            messages_per_second: messages,
            bytes_per_second: bytes,
            ..Limits::default()
        };
        let pace = Pace::new(&limits(Some(4), Some(1000)));
        assert_eq!(pace.cost(2, 100), Duration::from_millis(500));
        assert_eq!(pace.cost(2, 3000), Duration::from_secs(3));
        assert_eq!((pace.burst(128), Pace::new(&limits(None, None)).burst(128)), (4, 128));
        assert!(Pace::new(&limits(None, None)).cost(9, 9).is_zero());
    }
}
