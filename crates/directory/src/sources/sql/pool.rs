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

use super::{Each, Known, Rows, Statement, Times, perhaps_written, writing::Writing};
use crate::sources::{Assigned, CannotSay};

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

impl Failure {
    /// The connection works.
    fn of_question(cannot: CannotSay) -> Self {
        Self { cannot, fault: Fault::Question }
    }
}

/// What a failure says of the connection it came over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// It is of no more use, and so may be the server: a new one may do better.
    Connection,
    /// It was ended in the middle of an answer that cannot be used.
    Interrupted,
    /// Somebody else has changed what this one was about to.
    Overtaken,
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

    /// Runs a statement that gives rows.
    fn read(
        &self,
        connection: &mut Self::Connection,
        job: &Job,
        each: Each<'_>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How one that can write is spoken to.
pub(super) trait Writer: Driver {
    /// Begins a transaction that writes, and of which two that touch the same rows do not both come to an end.
    fn begin(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Runs a statement that changes rows; how many.
    fn execute(
        &self,
        connection: &mut Self::Connection,
        job: &Job,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Ends the transaction.
    fn commit(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Undoes the transaction.
    fn rollback(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
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
            let mut rows = Rows::default();
            match self.driver.read(connection, &job, &mut |columns| rows.add(columns)).await {
                Ok(()) => {
                    self.keep(turn);
                    return Ok(rows);
                }
                Err(Failure { cannot, fault: Fault::Overtaken | Fault::Question }) => {
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

impl<D: Writer> Pool<D> {
    /// Writes in one transaction. Whatever is not as it should be, what was begun is undone.
    pub(super) async fn write(&self, writing: &Writing) -> Result<Assigned, CannotSay> {
        let mut turn = self.turn().await?;
        // One that was kept may have been given up meanwhile; nothing has been written yet.
        if let Some(kept) = turn.connection.as_mut()
            && self.driver.begin(kept).await.is_err()
        {
            turn.connection = None;
        }
        if turn.connection.is_none() {
            let connected = self.connect().await;
            turn.finished |= connected.is_err();
            let begun = self.driver.begin(turn.connection.insert(connected?)).await;
            turn.finished |= begun.is_err();
            begun.map_err(|failure| failure.cannot)?;
        }
        let Some(connection) = turn.connection.as_mut() else {
            return Err(CannotSay::unavailable("there is no connection"));
        };
        let written = self.transact(connection, writing).await;
        let undone = match &written {
            Ok(Assigned::Done) => true,
            Err(Failure { fault: Fault::Connection | Fault::Interrupted, .. }) => false,
            _ => self.driver.rollback(connection).await.is_ok(),
        };
        if !undone {
            turn.connection = None;
        }
        turn.finished = true;
        match written {
            Ok(assigned) => {
                self.keep(turn);
                Ok(assigned)
            }
            // What a look-up says of the server is more: this statement alone may be wrong.
            Err(Failure { cannot, .. }) => {
                self.idle.lock().extend(turn.connection.take());
                Err(cannot)
            }
        }
    }

    async fn transact(
        &self,
        connection: &mut D::Connection,
        writing: &Writing,
    ) -> Result<Assigned, Failure> {
        let done = async {
            let before = self.known(connection, writing).await?;
            let Some((job, before)) = writing.statement(before) else {
                return Ok(Assigned::Outdated);
            };
            let changed = self.driver.execute(connection, &job).await?;
            Writing::check_count(changed).map_err(Failure::of_question)?;
            let after = self.known(connection, writing).await?;
            writing.check_after(before, after).map_err(Failure::of_question)?;
            self.driver.commit(connection).await.map_err(|failure| match failure.fault {
                Fault::Connection => {
                    Failure { cannot: perhaps_written(failure.cannot.detail), ..failure }
                }
                _ => failure,
            })?;
            Ok(Assigned::Done)
        };
        match done.await {
            Err(Failure { fault: Fault::Overtaken, .. }) => Ok(Assigned::Outdated),
            done => done,
        }
    }

    /// What the database has of the user now.
    async fn known(
        &self,
        connection: &mut D::Connection,
        writing: &Writing,
    ) -> Result<Option<Known>, Failure> {
        for job in writing.look_ups() {
            let mut rows = Rows::default();
            self.driver.read(connection, &job, &mut |columns| rows.add(columns)).await?;
            let known = rows.into_known().map_err(Failure::of_question)?;
            if known.is_some() {
                return Ok(known);
            }
        }
        Ok(None)
    }
}
