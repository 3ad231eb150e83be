//! Who may come in: counts of connections, in all and by address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use model::{Reason, network};
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

/// The connections of one listener.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// 0 is no limit.
    connections: usize,
    open: AtomicUsize,
}

impl Gate {
    pub(crate) fn new(connections: usize) -> Self {
        Self { connections, open: AtomicUsize::new(0) }
    }
}

/// A connection that was counted in; dropping it counts it out.
#[derive(Debug)]
pub(crate) struct Admission {
    door: Arc<Door>,
    gate: Arc<Gate>,
    /// The address that it is counted for, once that is known.
    address: Option<IpAddr>,
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

    /// Counts a connection in, for nobody's address yet.
    ///
    /// # Errors
    /// The limit that forbids it.
    pub(crate) fn admit(self: &Arc<Self>, gate: &Arc<Gate>) -> Result<Admission, Reason> {
        // From here on the admission gives back what was taken, also when it is refused.
        let admission = Admission { door: Arc::clone(self), gate: Arc::clone(gate), address: None };
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        let here = gate.open.fetch_add(1, Ordering::Relaxed);
        if open >= self.connections {
            return Err(Reason::LimitConnections);
        }
        if gate.connections > 0 && here >= gate.connections {
            return Err(Reason::LimitListener);
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

impl Admission {
    /// Counts the connection for the client's address as well.
    ///
    /// # Errors
    /// The limit that forbids it.
    pub(crate) fn count_for(&mut self, client: IpAddr) -> Result<(), Reason> {
        if self.door.per_address == 0 {
            return Ok(());
        }
        let address = network(client);
        let mut by_address = self.door.by_address.lock();
        let count = by_address.entry(address).or_default();
        if *count >= self.door.per_address {
            return Err(Reason::LimitAddress);
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut by_address = self.door.by_address.lock();
            if let Some(count) = by_address.get_mut(&address) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    by_address.remove(&address);
                }
            }
        }
        self.gate.open.fetch_sub(1, Ordering::Relaxed);
        if self.door.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.door.empty.notify_waiters();
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

    /// Comes in at a listener without a limit of its own.
    fn come(door: &Arc<Door>, address: &str) -> Result<Admission, Reason> {
        let mut admission = door.admit(&Arc::default())?;
        admission.count_for(ip(address))?;
        Ok(admission)
    }

    #[test]
    fn a_full_house_takes_nobody_until_somebody_leaves() {
        let door = door(2, 0);
        let one = come(&door, "192.0.2.1").unwrap();
        let _two = come(&door, "192.0.2.1").unwrap();
        assert_eq!(come(&door, "192.0.2.2").unwrap_err(), Reason::LimitConnections);
        drop(one);
        assert!(come(&door, "192.0.2.2").is_ok());
    }

    #[test]
    fn a_full_listener_does_not_keep_others_from_being_used() {
        let door = door(10, 0);
        let (small, other) = (Arc::new(Gate::new(1)), Arc::new(Gate::new(1)));
        let one = door.admit(&small).unwrap();
        assert_eq!(door.admit(&small).unwrap_err(), Reason::LimitListener);
        assert!(door.admit(&other).is_ok());
        drop(one);
        assert!(door.admit(&small).is_ok());
        assert_eq!(door.open(), 0);
    }

    #[test]
    fn an_address_that_has_its_share_does_not_keep_others_out() {
        let door = door(10, 1);
        let one = come(&door, "192.0.2.1").unwrap();
        assert_eq!(come(&door, "192.0.2.1").unwrap_err(), Reason::LimitAddress);
        assert!(come(&door, "192.0.2.2").is_ok());
        drop(one);
        assert!(come(&door, "192.0.2.1").is_ok());
        assert!(door.by_address.lock().is_empty());
        assert_eq!(door.open(), 0);
    }

    #[test]
    fn an_ipv6_client_counts_by_its_64() {
        let door = door(10, 1);
        let _one = come(&door, "2001:db8:0:1::1").unwrap();
        assert!(come(&door, "2001:db8:0:1:ffff::2").is_err());
        assert!(come(&door, "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn a_refusal_gives_back_every_place() {
        let door = door(0, 5);
        assert!(come(&door, "192.0.2.1").is_err());
        assert!(door.by_address.lock().is_empty());
        assert_eq!(door.open(), 0);
    }
}
