//! How many TLS handshakes may be in flight. Nobody waits for a place, and a full house always has one for
//! a client from a quiet address: the busiest address loses its oldest handshake for it.
//!
//! Nothing here reads a clock or a socket.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use model::{Reason, network};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Limits;

/// The handshakes in flight.
#[derive(Debug)]
pub(crate) struct Handshakes {
    /// 0 is no limit.
    most: usize,
    /// 0 is no limit.
    per_address: usize,
    flight: Mutex<Flight>,
}

#[derive(Debug, Default)]
struct Flight {
    /// By address, and there by age.
    by_address: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    count: usize,
    next: u64,
}

/// A place for one handshake; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    address: IpAddr,
    number: u64,
    cut: Arc<Notify>,
}

impl Handshakes {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            most: limits.handshakes,
            per_address: limits.handshakes_per_address,
            flight: Mutex::default(),
        })
    }

    /// Takes a place, if need be that of the oldest handshake of the address that has the most.
    ///
    /// # Errors
    /// [`Reason::LimitHandshakes`] if the client's address has its share, or, in a full house, more than any
    /// other.
    pub(crate) fn begin(self: &Arc<Self>, client: IpAddr) -> Result<Handshake, Reason> {
        let address = network(client);
        let mut flight = self.flight.lock();
        let own = flight.by_address.get(&address).map_or(0, BTreeMap::len);
        if self.per_address > 0 && own >= self.per_address {
            return Err(Reason::LimitHandshakes);
        }
        if self.most > 0 && flight.count >= self.most && !flight.make_room(own) {
            return Err(Reason::LimitHandshakes);
        }
        let (number, cut) = (flight.next, Arc::new(Notify::new()));
        flight.next += 1;
        flight.count += 1;
        flight.by_address.entry(address).or_default().insert(number, Arc::clone(&cut));
        Ok(Handshake { handshakes: Arc::clone(self), address, number, cut })
    }
}

impl Flight {
    /// Cuts the oldest handshake of the busiest address, unless all others have fewer than the newcomer's
    /// would have.
    fn make_room(&mut self, newcomers: usize) -> bool {
        let age = |flight: &BTreeMap<u64, _>| flight.first_key_value().map(|(number, _)| *number);
        let busiest = self
            .by_address
            .iter()
            .filter_map(|(address, flight)| Some((flight.len(), age(flight)?, *address)))
            .max_by_key(|(count, oldest, _)| (*count, std::cmp::Reverse(*oldest)));
        let Some((_, oldest, address)) = busiest.filter(|(count, ..)| *count > newcomers) else {
            return false;
        };
        if let Some(cut) = self.remove(address, oldest) {
            cut.notify_one();
        }
        true
    }

    fn remove(&mut self, address: IpAddr, number: u64) -> Option<Arc<Notify>> {
        let flight = self.by_address.get_mut(&address)?;
        let cut = flight.remove(&number)?;
        if flight.is_empty() {
            self.by_address.remove(&address);
        }
        self.count = self.count.saturating_sub(1);
        Some(cut)
    }
}

impl Handshake {
    /// Does the work, unless the place is given to somebody else meanwhile: then there is no result.
    pub(crate) async fn unless_cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            result = work => Some(result),
            () = self.cut.notified() => None,
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.flight.lock().remove(self.address, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn handshakes(handshakes: usize, handshakes_per_address: usize) -> Arc<Handshakes> {
        let limits = Limits::with_connections(1);
        Handshakes::new(&Limits { handshakes, handshakes_per_address, ..limits })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn is_cut(handshake: &Handshake) -> bool {
        tokio::select! {
            biased;
            result = handshake.unless_cut(pending::<()>()) => result.is_none(),
            () = ready(()) => false,
        }
    }

    #[tokio::test]
    async fn a_full_house_has_a_place_for_a_quiet_address_and_the_busiest_loses_its_oldest() {
        let handshakes = handshakes(4, 0);
        let quiet = handshakes.begin(ip("192.0.2.1")).unwrap();
        let busy: Vec<_> = (0..3).map(|_| handshakes.begin(ip("192.0.2.66")).unwrap()).collect();
        // It has the most already.
        assert_eq!(handshakes.begin(ip("192.0.2.66")).unwrap_err(), Reason::LimitHandshakes);
        let newcomer = handshakes.begin(ip("192.0.2.2")).unwrap();
        assert!(is_cut(&busy[0]).await);
        for other in [&quiet, &busy[1], &busy[2], &newcomer] {
            assert!(!is_cut(other).await);
        }
        assert_eq!(handshakes.flight.lock().count, 4);
        drop((quiet, busy, newcomer));
        assert_eq!(handshakes.flight.lock().count, 0);
        assert!(handshakes.flight.lock().by_address.is_empty());
    }

    #[tokio::test]
    async fn where_all_addresses_have_as_many_the_oldest_handshake_loses() {
        let handshakes = handshakes(2, 0);
        let first = handshakes.begin(ip("192.0.2.1")).unwrap();
        let second = handshakes.begin(ip("192.0.2.2")).unwrap();
        let _third = handshakes.begin(ip("192.0.2.3")).unwrap();
        assert!(is_cut(&first).await && !is_cut(&second).await);
    }

    #[test]
    fn no_address_has_more_than_its_share_and_an_ipv6_network_is_one() {
        let handshakes = handshakes(0, 1);
        let one = handshakes.begin(ip("2001:db8::1")).unwrap();
        assert!(handshakes.begin(ip("2001:db8::2")).is_err());
        let other = handshakes.begin(ip("2001:db8:0:1::1"));
        assert!(other.is_ok());
        drop(one);
        assert!(handshakes.begin(ip("2001:db8::2")).is_ok());
    }
}
