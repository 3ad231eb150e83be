//! How long a refusal takes: as long for an unknown name as for a wrong password.
//!
//! A back end takes its time to say no; the directory says "unknown" at once. Without this, the
//! difference would tell which names exist.

use std::time::Duration;

use parking_lot::Mutex;

/// Refusals whose length is remembered.
const REMEMBERED: usize = 64;

/// The lengths of recent refusals by back ends.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    lengths: Vec<Duration>,
    next: usize,
}

impl Refusals {
    /// Remembers how long a back end took to refuse a password.
    pub(crate) fn remember(&self, length: Duration) {
        let mut recent = self.recent.lock();
        let at = recent.next;
        match recent.lengths.get_mut(at) {
            Some(oldest) => *oldest = length,
            None => recent.lengths.push(length),
        }
        recent.next = (at + 1) % REMEMBERED;
    }

    /// How long after its beginning a refused login is answered: the fixed delay, and the length of a
    /// recent refusal that `chance` picks. Drawn alike for both kinds, so that they look alike.
    pub(crate) fn length(&self, fixed: Duration, chance: usize) -> Duration {
        let recent = self.recent.lock();
        let drawn = chance.checked_rem(recent.lengths.len()).and_then(|at| recent.lengths.get(at));
        fixed.saturating_add(drawn.copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn before_any_refusal_the_fixed_delay_counts() {
        assert_eq!(Refusals::default().length(MS * 7, 12345), MS * 7);
    }

    #[test]
    fn a_length_is_drawn_from_the_recent_ones_only() {
        let refusals = Refusals::default();
        (0..1000).for_each(|length| refusals.remember(MS * length));
        for chance in 0..1000 {
            let length = refusals.length(MS * 2000, chance);
            let oldest = u32::try_from(1000 - REMEMBERED).unwrap();
            assert!((MS * (2000 + oldest)..MS * 3000).contains(&length), "{length:?}");
        }
    }
}
