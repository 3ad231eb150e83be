//! Who may come in: counts of connections, in all and by address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use model::Reason;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Limits;

/// The counts.
#[derive(Debug)]
pub(crate) struct Door {
    connections: usize,
    per_address: usize,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    empty: Notify,
}

/// A connection that was counted in; dropping it counts it out.
#[derive(Debug)]
pub(crate) struct Admission {
    door: Arc<Door>,
    address: IpAddr,
}

impl Door {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            per_address: limits.connections_per_address,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            empty: Notify::new(),
        }
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// The limit that forbids it.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Admission, Reason> {
        let address = network(client);
        if self.per_address > 0 {
            let mut by_address = self.by_address.lock();
            let count = by_address.entry(address).or_default();
            if *count >= self.per_address {
                return Err(Reason::LimitAddress);
            }
            *count += 1;
        }
        // From here on the admission gives back what was taken, also when it is refused.
        let admission = Admission { door: Arc::clone(self), address };
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.connections {
            return Err(Reason::LimitConnections);
        }
        Ok(admission)
    }

    /// The open connections.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns when no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.door.per_address > 0 {
            let mut by_address = self.door.by_address.lock();
            if let Some(count) = by_address.get_mut(&self.address) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    by_address.remove(&self.address);
                }
            }
        }
        if self.door.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.door.empty.notify_waiters();
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is what a household gets.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(connections: usize, connections_per_address: usize) -> Arc<Door> {
        let limits = Limits { connections_per_address, ..Limits::with_connections(connections) };
        Arc::new(Door::new(&limits))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_full_house_takes_nobody_until_somebody_leaves() {
        let door = door(2, 0);
        let one = door.admit(ip("192.0.2.1")).unwrap();
        let _two = door.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(door.admit(ip("192.0.2.2")).unwrap_err(), Reason::LimitConnections);
        drop(one);
        assert!(door.admit(ip("192.0.2.2")).is_ok());
    }

    #[test]
    fn an_address_that_has_its_share_does_not_keep_others_out() {
        let door = door(10, 1);
        let one = door.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(door.admit(ip("192.0.2.1")).unwrap_err(), Reason::LimitAddress);
        assert!(door.admit(ip("192.0.2.2")).is_ok());
        drop(one);
        assert!(door.admit(ip("192.0.2.1")).is_ok());
        assert!(door.by_address.lock().is_empty());
        assert_eq!(door.open(), 0);
    }

    #[test]
    fn an_ipv6_client_counts_by_its_64() {
        let door = door(10, 1);
        let _one = door.admit(ip("2001:db8:0:1::1")).unwrap();
        assert!(door.admit(ip("2001:db8:0:1:ffff::2")).is_err());
        assert!(door.admit(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn a_refusal_in_all_gives_back_the_place_of_the_address() {
        let door = door(0, 5);
        assert!(door.admit(ip("192.0.2.1")).is_err());
        assert!(door.by_address.lock().is_empty());
        assert_eq!(door.open(), 0);
    }
}
