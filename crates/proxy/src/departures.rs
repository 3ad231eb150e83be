//! When clients that lost their back end are told so: their programs come back at once, and thousands at
//! the same moment would be a storm upon whoever takes them next.
//!
//! Nothing here waits or reads a clock.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use model::BackendName;
use parking_lot::Mutex;

use crate::pace::{Queue, Rate};

/// Clients of one back end that are told at once, however many it has: what ends by itself.
const AT_ONCE: u32 = 100;
/// Clients of one back end that may be told per second, however few it has.
const PER_SECOND: u32 = 100;

/// The clients of each back end, and how they leave.
#[derive(Debug)]
pub(crate) struct Departures {
    /// The time over which all clients of a back end leave; none lets everybody leave at once.
    spread: Duration,
    places: Mutex<HashMap<BackendName, Place>>,
}

/// The clients of one back end.
#[derive(Debug)]
struct Place {
    sessions: u32,
    queue: Queue,
    /// When the operator was last told that clients wait here.
    told: Option<Instant>,
}

impl Departures {
    pub(crate) fn new(spread: Duration) -> Self {
        Self { spread, places: Mutex::default() }
    }

    /// Counts a client in. Whoever comes makes room for one who leaves: where as many log in as log out,
    /// nobody waits, however many they are.
    pub(crate) fn arrive(&self, backend: &BackendName, now: Instant) {
        let mut places = self.places.lock();
        if let Some(place) = places.get_mut(backend) {
            place.sessions = place.sessions.saturating_add(1);
            let rate = self.rate(place.sessions);
            place.queue.leave(rate);
        } else {
            let place = Place { sessions: 1, queue: Queue::new(now), told: None };
            places.insert(backend.clone(), place);
        }
    }

    /// Counts a client out.
    pub(crate) fn depart(&self, backend: &BackendName) {
        if let Some(place) = self.places.lock().get_mut(backend) {
            place.sessions = place.sessions.saturating_sub(1);
        }
    }

    /// How long a client that lost this back end has to wait until it is told.
    pub(crate) fn turn(&self, backend: &BackendName, now: Instant) -> Duration {
        if self.spread.is_zero() {
            return Duration::ZERO;
        }
        let mut places = self.places.lock();
        let Some(place) = places.get_mut(backend) else { return Duration::ZERO };
        let rate = self.rate(place.sessions);
        let wait = place.queue.enter(rate, now);
        if !wait.is_zero() && place.told.is_none_or(|told| now > told + self.spread) {
            place.told = Some(now);
            let sessions = place.sessions;
            tracing::warn!(%backend, sessions, "many sessions lost their back end: they end one by one");
        }
        if wait > self.spread {
            // The queue grows no further; these few leave together.
            place.queue.leave(rate);
            return self.spread;
        }
        wait
    }

    /// So that all leave within the time, and none later than need be.
    fn rate(&self, sessions: u32) -> Rate {
        let needed = self.spread / sessions.max(1);
        let interval = needed.min(Duration::from_secs(1) / PER_SECOND);
        Rate { interval, burst: AT_ONCE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPREAD: Duration = Duration::from_secs(30);

    fn backend(name: &str) -> BackendName {
        BackendName::new(name).unwrap()
    }

    /// A back end with so many clients.
    fn with_clients(count: u32, now: Instant) -> (Departures, BackendName) {
        let departures = Departures::new(SPREAD);
        let north = backend("north");
        (0..count).for_each(|_| departures.arrive(&north, now));
        (departures, north)
    }

    #[test]
    fn thousands_leave_evenly_over_the_whole_time() {
        let now = Instant::now();
        let (departures, north) = with_clients(5000, now);
        let waits: Vec<_> = (0..5000).map(|_| departures.turn(&north, now)).collect();
        assert!(waits.is_sorted());
        assert!(waits[99].is_zero() && !waits[100].is_zero());
        assert!(waits[4999] > SPREAD * 9 / 10 && waits[4999] <= SPREAD, "{:?}", waits[4999]);
        for second in 1..29 {
            let within = |wait: &&Duration| wait.as_secs() == second;
            let count = waits.iter().filter(within).count();
            assert!((160..=175).contains(&count), "{count} in second {second}");
        }
    }

    #[test]
    fn few_wait_no_longer_than_they_must() {
        let now = Instant::now();
        let (departures, north) = with_clients(300, now);
        let longest = (0..300).map(|_| departures.turn(&north, now)).max().unwrap();
        assert_eq!(longest, Duration::from_secs(2));
    }

    #[test]
    fn where_as_many_come_as_leave_nobody_waits() {
        let mut now = Instant::now();
        let (departures, north) = with_clients(50, now);
        for _ in 0..10_000 {
            now += Duration::from_micros(100);
            assert!(departures.turn(&north, now).is_zero());
            departures.depart(&north);
            departures.arrive(&north, now);
        }
    }

    #[test]
    fn clients_of_another_back_end_do_not_wait() {
        let now = Instant::now();
        let (departures, north) = with_clients(1000, now);
        let south = backend("south");
        departures.arrive(&south, now);
        assert!((0..1000).any(|_| !departures.turn(&north, now).is_zero()));
        assert!(departures.turn(&south, now).is_zero());
    }

    #[test]
    fn nobody_waits_longer_than_the_time_however_often_it_is_asked_for() {
        let now = Instant::now();
        let (departures, north) = with_clients(10, now);
        for _ in 0..100_000 {
            assert!(departures.turn(&north, now) <= SPREAD);
        }
        let later = now + SPREAD * 2;
        assert!(departures.turn(&north, later).is_zero());
    }

    #[test]
    fn without_a_time_all_leave_at_once() {
        let now = Instant::now();
        let departures = Departures::new(Duration::ZERO);
        let north = backend("north");
        for _ in 0..1000 {
            departures.arrive(&north, now);
            assert!(departures.turn(&north, now).is_zero());
        }
    }
}
