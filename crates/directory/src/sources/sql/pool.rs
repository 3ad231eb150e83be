//! A few connections to a database, made when they are needed and kept.
//!
//! Nothing here waits for a server that has just failed: while it is down one question after another tries it, ever
//! more seldom, and the others are told at once what was wrong.

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Rows, Statement, Times};
use crate::sources::CannotSay;

/// How long a server is left alone after its first failure; then twice as long each time.
const FIRST_REST: Duration = Duration::from_millis(100);
/// The longest that it is left alone.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// A statement and what is bound to its parameters.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) statement: Arc<Statement>,
    pub(super) values: Vec<String>,
}

/// Why a job was not done.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cannot: CannotSay,
    pub(super) fault: Fault,
}

/// What a failure says of the connection it came over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// It is of no more use, and so may be the server: a new one may do better.
    Connection,
    /// It was ended in the middle of an answer that cannot be used.
    Interrupted,
    /// It works; this question cannot be answered.
    Question,
}

/// How one kind of database is spoken to.
pub(super) trait Driver: Send + Sync {
    type Connection: Send;

    /// How many servers there are to choose from.
    fn servers(&self) -> usize;

    /// Connects to one of them and logs in.
    fn connect(
        &self,
        server: usize,
    ) -> impl Future<Output = Result<Self::Connection, CannotSay>> + Send;

    /// Runs a statement that gives rows of one user.
    fn look_up(
        &self,
        connection: &mut Self::Connection,
        job: &Job,
    ) -> impl Future<Output = Result<Rows, Failure>> + Send;
}

/// The connections.
pub(super) struct Pool<D: Driver> {
    driver: D,
    permits: Semaphore,
    idle: Mutex<Vec<D::Connection>>,
    /// The server that answered last.
    server: AtomicUsize,
    health: Mutex<Health>,
    times: Times,
}

/// Whether the servers answer.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    /// What was wrong, and until when nobody asks.
    trouble: Option<(CannotSay, Instant)>,
    /// Whether somebody is trying.
    on_trial: bool,
}

impl Health {
    /// Whether somebody may ask now.
    fn check(&self, now: Instant) -> Result<(), CannotSay> {
        match &self.trouble {
            Some((cannot, until)) if self.on_trial || now < *until => Err(cannot.clone()),
            _ => Ok(()),
        }
    }

    /// Lets somebody ask; whether he does so for all others.
    fn admit(&mut self, now: Instant) -> Result<bool, CannotSay> {
        self.check(now)?;
        self.on_trial = self.trouble.is_some();
        Ok(self.on_trial)
    }

    fn failed(&mut self, cannot: CannotSay, now: Instant) {
        let rest = FIRST_REST.saturating_mul(1 << self.failures.min(10)).min(LONGEST_REST);
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some((cannot, now + rest));
    }
}

/// A turn at the database. Whoever is given up on leaves no connection behind.
struct Turn<'p, D: Driver> {
    pool: &'p Pool<D>,
    is_trial: bool,
    since: Instant,
    finished: bool,
    // In this order: the connection is closed before the next may be made.
    connection: Option<D::Connection>,
    permit: SemaphorePermit<'p>,
}

impl<D: Driver> Drop for Turn<'_, D> {
    fn drop(&mut self) {
        let mut health = self.pool.health.lock();
        if self.is_trial {
            health.on_trial = false;
        }
        let elapsed = self.since.elapsed();
        // The server would have ended the statement by itself.
        if !self.finished && elapsed >= self.pool.times.statement {
            let detail = format!("the database has not answered for {elapsed:.1?}");
            health.failed(CannotSay::unavailable(detail), Instant::now());
        }
        let _ = &self.permit;
    }
}

impl<D: Driver> Pool<D> {
    pub(super) fn new(driver: D, connections: usize, times: Times) -> Self {
        Self {
            driver,
            permits: Semaphore::new(connections),
            idle: Mutex::default(),
            server: AtomicUsize::new(0),
            health: Mutex::default(),
            times,
        }
    }

    /// Looks a user up.
    pub(super) async fn look_up(&self, job: Job) -> Result<Rows, CannotSay> {
        let mut turn = self.turn().await?;
        let mut fresh = turn.connection.is_none();
        loop {
            if turn.connection.is_none() {
                let connected = self.connect().await;
                turn.finished |= connected.is_err();
                turn.connection = Some(connected?);
            }
            let Some(connection) = turn.connection.as_mut() else { continue };
            match self.driver.look_up(connection, &job).await {
                Ok(rows) => {
                    self.keep(turn);
                    return Ok(rows);
                }
                Err(Failure { cannot, fault: Fault::Question }) => {
                    self.keep(turn);
                    return Err(cannot);
                }
                Err(Failure { cannot, fault: Fault::Interrupted }) => {
                    turn.connection = None;
                    self.keep(turn);
                    return Err(cannot);
                }
                // The server may have been started anew since this connection was made, or the tables altered.
                Err(Failure { fault: Fault::Connection, .. }) if !fresh => {
                    turn.connection = None;
                    self.idle.lock().clear();
                    fresh = true;
                }
                Err(Failure { cannot, fault: Fault::Connection }) => {
                    turn.connection = None;
                    turn.finished = true;
                    self.health.lock().failed(cannot.clone(), Instant::now());
                    return Err(cannot);
                }
            }
        }
    }

    async fn turn(&self) -> Result<Turn<'_, D>, CannotSay> {
        self.health.lock().check(Instant::now())?;
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| CannotSay::unavailable("the source is closed"))?;
        // The server may have failed while we waited.
        let is_trial = self.health.lock().admit(Instant::now())?;
        let connection = self.idle.lock().pop();
        Ok(Turn {
            pool: self,
            is_trial,
            since: Instant::now(),
            finished: false,
            connection,
            permit,
        })
    }

    /// Connects, to the server that answered last or the next that does.
    async fn connect(&self) -> Result<D::Connection, CannotSay> {
        let (count, first) = (self.driver.servers().max(1), self.server.load(Ordering::Relaxed));
        let mut failed = CannotSay::unavailable("there is no server");
        for server in (0..count).map(|step| (first + step) % count) {
            let connected = tokio::time::timeout(self.times.connect, self.driver.connect(server));
            match connected.await {
                Ok(Ok(connection)) => {
                    self.server.store(server, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Err(cannot)) => failed = cannot,
                Err(_) => {
                    let detail = format!("no connection within {:.1?}", self.times.connect);
                    failed = CannotSay::unavailable(detail);
                }
            }
        }
        self.health.lock().failed(failed.clone(), Instant::now());
        Err(failed)
    }

    /// Keeps a connection for the next.
    fn keep(&self, mut turn: Turn<'_, D>) {
        turn.finished = true;
        let mut health = self.health.lock();
        (health.failures, health.trouble) = (0, None);
        drop(health);
        self.idle.lock().extend(turn.connection.take());
    }
}
