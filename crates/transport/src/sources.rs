//! Where connections to a back end come from, and how many local ports they use. Nothing here connects.
//!
//! Between one local address and one destination there are only as many connections as the kernel gives
//! local ports, 28,232 unless set otherwise. What is counted are our own connections; those that the kernel
//! keeps in TIME-WAIT are not seen.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

/// The share of the ports from which there is an alarm, in percent.
const ALARM: usize = 80;
/// The share below which there may be another one, so that a count that hovers tells once.
const QUIET: usize = 70;
/// Ways before the first look for those that nobody uses.
const PRUNE_AT: usize = 1024;
/// The range of ports of Linux where it cannot be read: 32768 to 60999.
const USUAL_PORTS: usize = 28_232;

/// From a local address to a destination. Without an address, from the one that the kernel picks, which
/// is always the same one as long as the routes are.
type Way = (Option<IpAddr>, SocketAddr);

/// The local addresses for connections to one back end.
#[derive(Debug)]
pub struct Sources {
    /// None at all lets the kernel pick one.
    addresses: Vec<IpAddr>,
    usable: usize,
    turn: AtomicUsize,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    ways: HashMap<Way, Arc<Tally>>,
    /// The number of ways at which unused ones are looked for.
    prune_at: usize,
}

/// The connections of one way.
#[derive(Debug, Default)]
struct Tally {
    open: AtomicUsize,
    usable: usize,
    alarmed: AtomicBool,
}

/// A local port in use; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct LocalPort(Arc<Tally>);

/// How many local ports are in use on one way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortsUsed {
    /// The local address; none where the kernel picks it.
    pub source: Option<IpAddr>,
    /// The back end's address.
    pub destination: SocketAddr,
    /// Our connections on this way.
    pub open: usize,
    /// The most that there can be.
    pub usable: usize,
}

impl PortsUsed {
    /// The share in use, in percent.
    pub fn percent(&self) -> usize {
        percent(self.open, self.usable)
    }

    /// Whether so many are in use that somebody should know.
    pub fn is_alarming(&self) -> bool {
        self.percent() >= ALARM
    }
}

impl Sources {
    /// Connections come from these addresses in turn, or, without any, from the one that the kernel picks.
    /// Each has `usable` ports for each destination.
    pub fn new(addresses: Vec<IpAddr>, usable: usize) -> Self {
        let used = Used { ways: HashMap::new(), prune_at: PRUNE_AT };
        Self { addresses, usable, turn: AtomicUsize::new(0), used: Mutex::new(used) }
    }

    /// The way with the most connections; none before the first one.
    pub fn fullest(&self) -> Option<PortsUsed> {
        let used = self.used.lock();
        let fullest = used.ways.iter().max_by_key(|(_, tally)| tally.open.load(Ordering::Relaxed));
        fullest.map(|((source, destination), tally)| PortsUsed {
            source: *source,
            destination: *destination,
            open: tally.open.load(Ordering::Relaxed),
            usable: tally.usable,
        })
    }

    /// The local addresses to try for a destination, the one whose turn it is first. Where none is of the
    /// destination's family, the kernel picks one.
    pub(crate) fn for_destination(&self, destination: SocketAddr) -> Vec<Option<IpAddr>> {
        let fits = |ip: &&IpAddr| ip.is_ipv4() == destination.is_ipv4();
        let mut sources: Vec<_> = self.addresses.iter().filter(fits).copied().map(Some).collect();
        if sources.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let first = turn.checked_rem(sources.len()).unwrap_or_default();
            sources.rotate_left(first);
        }
        if sources.is_empty() {
            sources.push(None);
        }
        sources
    }

    /// Counts a connection. The first one with which a way has used most of its ports is told to the log.
    pub(crate) fn take(&self, way: Way) -> LocalPort {
        let tally = self.used.lock().tally(way, self.usable);
        let open = tally.open.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let (source, destination) = way;
        if percent(open, tally.usable) >= ALARM && !tally.alarmed.swap(true, Ordering::Relaxed) {
            let source =
                source.map_or_else(|| "the kernel's choice".to_owned(), |ip| ip.to_string());
            tracing::warn!(
                source, %destination, connections = open, ports = tally.usable,
                "few local ports are left to connect from: add source_addresses to the back end"
            );
        }
        LocalPort(tally)
    }
}

impl Used {
    fn tally(&mut self, way: Way, usable: usize) -> Arc<Tally> {
        if self.ways.len() >= self.prune_at {
            self.ways.retain(|_, tally| tally.open.load(Ordering::Relaxed) > 0);
            self.prune_at = self.ways.len().saturating_mul(2).max(PRUNE_AT);
        }
        let new = || Arc::new(Tally { usable, ..Tally::default() });
        Arc::clone(self.ways.entry(way).or_insert_with(new))
    }
}

impl Drop for LocalPort {
    fn drop(&mut self) {
        let Self(tally) = self;
        let open = tally.open.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        if percent(open, tally.usable) < QUIET {
            tally.alarmed.store(false, Ordering::Relaxed);
        }
    }
}

fn percent(open: usize, usable: usize) -> usize {
    open.saturating_mul(100).checked_div(usable).unwrap_or(100)
}

/// How many local ports the kernel has for each pair of a local address and a destination (ip(7),
/// `ip_local_port_range`). The range counts for IPv6 too.
pub fn usable_ports() -> usize {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_ascii_whitespace().map(str::parse::<u16>);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => usize::from(last - first) + 1,
        _ => USUAL_PORTS,
    }
}

/// Whether connections can come from this address.
///
/// # Errors
/// Those of the kernel, as for an address of another host.
pub fn try_source(address: IpAddr) -> io::Result<()> {
    TcpListener::bind((address, 0)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 143);

    fn sources(addresses: &[&str]) -> Sources {
        Sources::new(addresses.iter().map(|ip| ip.parse().unwrap()).collect(), 10)
    }

    fn alarmed(sources: &Sources) -> bool {
        sources.used.lock().ways.values().any(|tally| tally.alarmed.load(Ordering::Relaxed))
    }

    #[test]
    fn each_address_has_its_turn_and_the_others_stand_behind_it() {
        let sources = sources(&["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
        let tried = || {
            let tried = sources.for_destination(ANY);
            tried.iter().map(|ip| ip.unwrap().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(tried(), "192.0.2.1 192.0.2.2");
        assert_eq!(tried(), "192.0.2.2 192.0.2.1");
        assert_eq!(tried(), "192.0.2.1 192.0.2.2");
    }

    #[test]
    fn where_no_address_is_of_the_family_the_kernel_picks_one() {
        assert_eq!(sources(&[]).for_destination(ANY), [None]);
        assert_eq!(sources(&["2001:db8::1"]).for_destination(ANY), [None]);
    }

    #[test]
    fn the_alarm_comes_at_80_percent_once_for_each_crossing() {
        let sources = sources(&[]);
        let mut held: Vec<_> = (0..7).map(|_| sources.take((None, ANY))).collect();
        assert!(!alarmed(&sources) && !sources.fullest().unwrap().is_alarming());
        held.push(sources.take((None, ANY)));
        assert!(alarmed(&sources) && sources.fullest().unwrap().is_alarming());
        held.pop();
        // It hovers: no second alarm.
        assert!(alarmed(&sources));
        held.pop();
        assert!(!alarmed(&sources));
        drop(held);
        assert_eq!(sources.fullest().unwrap().open, 0);
    }

    #[test]
    fn ways_are_counted_apart_and_the_fullest_is_told() {
        let sources = sources(&[]);
        let other = SocketAddr::new("192.0.2.9".parse().unwrap(), 143);
        let _one = sources.take((None, ANY));
        let _two = [sources.take((None, other)), sources.take((None, other))];
        let fullest = sources.fullest().unwrap();
        assert_eq!((fullest.destination, fullest.open, fullest.percent()), (other, 2, 20));
    }

    #[test]
    fn ways_that_nobody_uses_any_more_are_forgotten() {
        let sources = sources(&[]);
        for port in 1..u16::try_from(4 * PRUNE_AT).unwrap() {
            drop(sources.take((None, SocketAddr::new(ANY.ip(), port))));
        }
        assert!(sources.used.lock().ways.len() <= PRUNE_AT);
    }

    #[test]
    fn the_kernel_says_how_many_ports_there_are() {
        assert!((1..=65_536).contains(&usable_ports()));
        assert!(try_source("127.0.0.9".parse().unwrap()).is_ok());
        assert!(try_source("240.0.0.1".parse().unwrap()).is_err());
    }
}
