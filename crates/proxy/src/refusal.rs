//! How long a refusal takes: as long for an unknown name as for a wrong password.
//!
//! A back end takes its time to say no; the directory says "unknown" at once. Without this, the
//! difference would tell which names exist. As long as too few back ends have said no since the start,
//! lengths are made up, for both alike.

use std::time::Duration;

use parking_lot::Mutex;

/// Refusals whose length is remembered.
const REMEMBERED: usize = 64;
/// Lengths that are drawn from at least; what is not remembered of them is made up.
const FEWEST: usize = 8;
/// Steps between the shortest and the longest length that is made up.
const STEPS: u32 = 1000;

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
        let count = recent.lengths.len().max(FEWEST);
        let (at, other) = (chance % count, chance / count);
        let drawn = recent.lengths.get(at).copied().unwrap_or_else(|| made_up(fixed, other));
        fixed.saturating_add(drawn)
    }
}

/// From nothing to a quarter more than our own delay: a back end that delays refusals does so for as long as
/// we do, by default, and a little more.
fn made_up(fixed: Duration, chance: usize) -> Duration {
    let step = u32::try_from(chance % STEPS as usize).unwrap_or_default();
    fixed.saturating_mul(5).saturating_mul(step) / 4 / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Lengths that come of all chances.
    fn drawn(refusals: &Refusals) -> Vec<Duration> {
        (0..8000).map(|chance| refusals.length(MS * 2000, chance)).collect()
    }

    #[test]
    fn before_any_refusal_lengths_are_spread_over_what_back_ends_may_take() {
        let lengths = drawn(&Refusals::default());
        for second in 0..2_u32 {
            let within = MS * (2000 + 1000 * second)..MS * (3000 + 1000 * second);
            assert_eq!(lengths.iter().filter(|length| within.contains(*length)).count(), 3200);
        }
        assert!(lengths.iter().all(|length| *length < MS * 4500));
    }

    #[test]
    fn where_refusals_are_not_delayed_nothing_is_made_up() {
        assert_eq!(Refusals::default().length(Duration::ZERO, 12345), Duration::ZERO);
    }

    #[test]
    fn a_first_refusal_by_a_back_end_stands_among_made_up_ones_and_the_eighth_among_none() {
        let refusals = Refusals::default();
        for count in 1..=FEWEST {
            refusals.remember(MS * 7000);
            let remembered = |length: &&Duration| **length == MS * 9000;
            assert_eq!(drawn(&refusals).iter().filter(remembered).count(), count * 1000);
        }
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
