//! The logins that are under way at a back end, bounded so that one that hangs holds no more than its share.
//!
//! Nothing here waits: whoever comes too many is told at once.

use std::collections::HashMap;

use model::Host;
use parking_lot::Mutex;

/// The logins under way with the settings of one back end.
#[derive(Debug)]
pub(crate) struct Flights {
    most: usize,
    /// By the host that only a directory's answer names, which hangs alone; none is the back end itself.
    under_way: Mutex<HashMap<Option<Host>, usize>>,
}

/// A login under way; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Flight<'f> {
    flights: &'f Flights,
    host: Option<&'f Host>,
}

impl Flights {
    /// At most so many at one host.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, under_way: Mutex::default() }
    }

    /// Begins a login, unless there are `most`, which may be fewer for a while than there may be at best.
    pub(crate) fn begin<'f>(&'f self, host: Option<&'f Host>, most: usize) -> Option<Flight<'f>> {
        let mut under_way = self.under_way.lock();
        let count = under_way.entry(host.cloned()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Flight { flights: self, host })
    }

    /// How many there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many there are, at all hosts.
    pub(crate) fn count(&self) -> usize {
        self.under_way.lock().values().sum()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock();
        let host = self.host.cloned();
        if let Some(count) = under_way.get_mut(&host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_may_be_and_each_that_ends_makes_room() {
        let flights = Flights::new(2);
        let one = flights.begin(None, flights.most()).unwrap();
        let _two = flights.begin(None, flights.most()).unwrap();
        assert!(flights.begin(None, flights.most()).is_none());
        assert_eq!(flights.count(), 2);
        drop(one);
        assert!(flights.begin(None, flights.most()).is_some());
        assert_eq!(flights.count(), 1);
    }

    #[test]
    fn a_host_that_only_an_answer_names_hangs_alone_and_is_forgotten() {
        let flights = Flights::new(1);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let hung = flights.begin(Some(&one), 1).unwrap();
        assert!(flights.begin(Some(&one), 1).is_none());
        assert!(flights.begin(Some(&other), 1).is_some());
        assert!(flights.begin(None, flights.most()).is_some());
        drop(hung);
        assert!(flights.under_way.lock().is_empty());
    }
}
