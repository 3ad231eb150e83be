//! The servers, their connections, and which of them is worth trying.
//!
//! Nothing here searches or judges. Connections for searches and for users' binds are kept apart: a bind changes
//! who a connection is (RFC 4511 section 4.2.1).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::HostPort;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connection, Trouble};

/// How long a server that failed is left alone first, where another one may be asked; twice as long each time.
const FIRST_REST: Duration = Duration::from_millis(500);
/// How long at most.
const LONGEST_REST: Duration = Duration::from_secs(15);
/// How often a server that failed is tried. A wrong password must not be tried more often either:
/// servers lock accounts.
const TRIAL_EVERY: Duration = Duration::from_millis(500);

/// A server's connections of one kind.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    seats: Arc<Semaphore>,
}

struct Idle(Connection);

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// The right to have one more connection in use.
pub(super) struct Seat(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Pool {
    fn new(connections: usize) -> Self {
        let seats = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Self { idle: Mutex::default(), seats }
    }

    /// Waits until there may be another connection.
    pub(super) async fn seat(&self) -> Result<Seat, Trouble> {
        let seat = Arc::clone(&self.seats).acquire_owned().await;
        seat.map(Seat).map_err(|closed| Trouble::Down(closed.to_string()))
    }

    /// An idle connection that can be used, the one that was used last.
    pub(super) fn take(&self, max_age: Duration) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some(Idle(mut connection)) = idle.pop() {
            if connection.is_usable(max_age) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next one, whom the seat is left to.
    pub(super) fn put(&self, connection: Connection, seat: Seat) {
        self.idle.lock().push(Idle(connection));
        drop(seat);
    }
}

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) at: HostPort,
    pub(super) searches: Pool,
    pub(super) binds: Pool,
    rest: Mutex<Option<Rest>>,
}

/// A server that failed.
#[derive(Clone, Debug)]
struct Rest {
    until: Instant,
    length: Duration,
    tried: Instant,
    detail: String,
}

impl Server {
    /// It answered.
    pub(super) fn works(&self) {
        let mut rest = self.rest.lock();
        if rest.take().is_some() {
            tracing::info!(target: "directory", server = %self.at, "an LDAP server answers again");
        }
    }

    /// It failed.
    pub(super) fn failed(&self, detail: &str, now: Instant) {
        let mut rest = self.rest.lock();
        let length = match &mut *rest {
            // Of many questions that were on their way at once, one counts.
            Some(rest) if now < rest.until => {
                rest.detail = detail.to_owned();
                return;
            }
            Some(rest) => rest.length.saturating_mul(2).min(LONGEST_REST),
            None => {
                tracing::warn!(target: "directory", server = %self.at, detail, "an LDAP server fails");
                FIRST_REST
            }
        };
        *rest = Some(Rest { until: now + length, length, tried: now, detail: detail.to_owned() });
    }

    fn rest(&self) -> Option<Rest> {
        self.rest.lock().clone()
    }

    /// Whether it may be tried although it failed; then nobody else may for a while.
    fn may_be_tried(&self, now: Instant) -> bool {
        let mut rest = self.rest.lock();
        let Some(rest) = &mut *rest else { return true };
        if now.duration_since(rest.tried) < TRIAL_EVERY {
            return false;
        }
        rest.tried = now;
        true
    }
}

/// All servers, in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Servers(Vec<Server>);

impl Servers {
    pub(super) fn new(at: &[HostPort], connections: usize) -> Self {
        let server = |at: &HostPort| Server {
            at: at.clone(),
            searches: Pool::new(connections),
            binds: Pool::new(connections),
            rest: Mutex::new(None),
        };
        Self(at.iter().map(server).collect())
    }

    /// Those worth asking now, in order: all that did not fail, and one question to each that has rested; else one
    /// to the one that has rested longest. Otherwise what was wrong with each.
    pub(super) fn worth_asking(&self, now: Instant) -> Result<Vec<&Server>, String> {
        let resting = |server: &Server| server.rest().is_some_and(|rest| now < rest.until);
        let worth = |server: &&Server| !resting(server) && server.may_be_tried(now);
        let awake: Vec<_> = self.0.iter().filter(worth).collect();
        if !awake.is_empty() {
            return Ok(awake);
        }
        let until = |server: &&Server| server.rest().map(|rest| rest.until);
        let next = self.0.iter().min_by_key(until);
        if let Some(next) = next.filter(|next| next.may_be_tried(now)) {
            return Ok(vec![next]);
        }
        let told = |server: &Server| Some(format!("{}: {}", server.at, server.rest()?.detail));
        Err(self.0.iter().filter_map(told).collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Servers {
        Servers::new(&["a".parse().unwrap(), "b".parse().unwrap()], 1)
    }

    fn asked(servers: &Servers, now: Instant) -> Vec<String> {
        let asked = servers.worth_asking(now).unwrap_or_default();
        asked.iter().map(|server| server.at.to_string()).collect()
    }

    #[test]
    fn a_server_that_failed_rests_longer_each_time_while_the_other_is_asked() {
        let (servers, start) = (servers(), Instant::now());
        assert_eq!(asked(&servers, start), ["a", "b"]);
        let mut now = start;
        let mut rests = Vec::new();
        for _ in 0..8 {
            servers.0[0].failed("refused", now);
            let failed = now;
            while asked(&servers, now) == ["b"] {
                now += Duration::from_millis(100);
            }
            rests.push(now - failed);
        }
        let expected = [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000];
        assert_eq!(rests, expected.map(Duration::from_millis));
        servers.0[0].works();
        assert_eq!(asked(&servers, now), ["a", "b"]);
    }

    #[test]
    fn where_all_failed_one_is_tried_now_and_then_and_the_others_hear_why() {
        let (servers, mut now) = (servers(), Instant::now());
        for _ in 0..6 {
            now += LONGEST_REST;
            servers.0[0].failed("refused", now);
            servers.0[1].failed("hangs", now);
        }
        assert_eq!(servers.worth_asking(now).unwrap_err(), "a: refused; b: hangs");
        now += TRIAL_EVERY;
        assert_eq!(asked(&servers, now), ["a"]);
        assert!(asked(&servers, now).is_empty());
        assert_eq!(asked(&servers, now + TRIAL_EVERY), ["a"]);
    }

    #[test]
    fn many_who_fail_at_once_count_as_one_and_one_finds_out_whether_it_works_again() {
        let (servers, now) = (servers(), Instant::now());
        for _ in 0..100 {
            servers.0[0].failed("refused", now);
        }
        let rested = now + FIRST_REST;
        assert_eq!(asked(&servers, rested), ["a", "b"]);
        assert_eq!(asked(&servers, rested), ["b"]);
        servers.0[0].works();
        assert_eq!(asked(&servers, rested), ["a", "b"]);
    }
}
