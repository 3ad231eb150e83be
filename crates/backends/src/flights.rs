//! The logins that are under way at a back end, bounded so that one that hangs holds no more than its share.
//!
//! Nothing here waits: whoever comes too many is told at once.

use std::collections::HashMap;

use model::{Host, Protocol};
use parking_lot::Mutex;

/// The logins under way with the settings of one back end.
#[derive(Debug)]
pub(crate) struct Flights {
    most: usize,
    under_way: Mutex<HashMap<Service, usize>>,
}

/// What hangs alone: a protocol at the back end itself, or at a host that only a directory's answer names.
type Service = (Protocol, Option<Host>);

/// A login under way; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Flight<'f> {
    flights: &'f Flights,
    service: Service,
}

impl Flights {
    /// At most so many of one protocol at one host.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, under_way: Mutex::default() }
    }

    /// Begins a login, unless there are `most`, which may be fewer for a while than there may be at best.
    pub(crate) fn begin(
        &self,
        protocol: Protocol,
        host: Option<&Host>,
        most: usize,
    ) -> Option<Flight<'_>> {
        let service = (protocol, host.cloned());
        let mut under_way = self.under_way.lock();
        let count = under_way.entry(service.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Flight { flights: self, service })
    }

    /// How many there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many there are of the protocol, at the host, that has the most.
    pub(crate) fn of_the_busiest(&self) -> usize {
        self.under_way.lock().values().copied().max().unwrap_or_default()
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.service) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&self.service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAP: Protocol = Protocol::Imap;

    #[test]
    fn there_are_never_more_than_may_be_and_each_that_ends_makes_room() {
        let flights = Flights::new(2);
        let one = flights.begin(IMAP, None, flights.most()).unwrap();
        let _two = flights.begin(IMAP, None, flights.most()).unwrap();
        assert!(flights.begin(IMAP, None, flights.most()).is_none());
        assert_eq!(flights.of_the_busiest(), 2);
        drop(one);
        assert!(flights.begin(IMAP, None, flights.most()).is_some());
        assert_eq!(flights.of_the_busiest(), 1);
    }

    #[test]
    fn a_service_that_hangs_leaves_the_other_protocol_alone() {
        let flights = Flights::new(1);
        let _hung = flights.begin(Protocol::Pop3, None, 1).unwrap();
        assert!(flights.begin(Protocol::Pop3, None, 1).is_none());
        assert!(flights.begin(IMAP, None, 1).is_some());
    }

    #[test]
    fn a_host_that_only_an_answer_names_hangs_alone_and_is_forgotten() {
        let flights = Flights::new(1);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let hung = flights.begin(IMAP, Some(&one), 1).unwrap();
        assert!(flights.begin(IMAP, Some(&one), 1).is_none());
        assert!(flights.begin(IMAP, Some(&other), 1).is_some());
        assert!(flights.begin(IMAP, None, flights.most()).is_some());
        drop(hung);
        assert!(flights.under_way.lock().is_empty());
    }
}
