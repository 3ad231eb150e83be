//! PostgreSQL's LISTEN: a notification makes us forget what was said of a user, or of all.
//!
//! Nothing here asks for a user. Whoever might have missed a notification forgets everything.

use std::{sync::Once, time::Duration};

use model::UserName;
use parking_lot::Mutex;
use sqlx::{
    Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::task::AbortHandle;

use super::{one_line, postgres::Postgres, words};
use crate::{Rules, sources::cached::Forgetter};

/// How long before the next try to listen; twice as long each time.
const FIRST_REST: Duration = Duration::from_millis(200);
/// The longest time between two tries.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// After such a silence the connection is tried: a server that vanished says nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Listens from the first question on, until dropped.
pub(super) struct Listening {
    once: Once,
    begin: Mutex<Option<Listener>>,
    task: Mutex<Option<AbortHandle>>,
}

struct Listener {
    servers: Postgres,
    channel: String,
    rules: Rules,
    forgetter: Forgetter,
}

impl Listening {
    pub(super) fn new(
        servers: Postgres,
        channel: String,
        rules: Rules,
        forgetter: Forgetter,
    ) -> Self {
        let listener = Listener { servers, channel, rules, forgetter };
        Self { once: Once::new(), begin: Mutex::new(Some(listener)), task: Mutex::default() }
    }

    /// Begins; once.
    pub(super) fn begin(&self) {
        self.once.call_once(|| {
            if let Some(listener) = self.begin.lock().take() {
                *self.task.lock() = Some(tokio::spawn(listener.run()).abort_handle());
            }
        });
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

impl Listener {
    async fn run(self) {
        let mut rest = FIRST_REST;
        let mut told = false;
        for server in (0..self.servers.options().len()).cycle() {
            let listened = match self.connect(server).await {
                Ok(mut listener) => {
                    tracing::debug!(target: "directory", channel = self.channel, "listening for changes");
                    (rest, told) = (FIRST_REST, false);
                    // Nobody told us what changed while we did not listen.
                    self.forgetter.forget_all();
                    self.follow(&mut listener).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = listened
                && !std::mem::replace(&mut told, true)
            {
                tracing::warn!(
                    target: "directory",
                    channel = self.channel,
                    detail = words(&error),
                    "not told of changes: what the database said counts for its lifetime"
                );
            }
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    async fn connect(&self, server: usize) -> Result<PgListener, sqlx::Error> {
        let options = self.servers.options().get(server).ok_or(sqlx::Error::PoolClosed)?;
        // It holds one connection, and makes no other while it has this one.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.servers.times().connect)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let listen =
            tokio::time::timeout(self.servers.times().statement, listener.listen(&self.channel));
        listen.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok(listener)
    }

    /// Passes notifications on until the connection ends.
    async fn follow(&self, listener: &mut PgListener) -> Result<(), sqlx::Error> {
        loop {
            match tokio::time::timeout(SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(notification))) => self.forget(notification.payload()),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let times = self.servers.times();
                    let answer =
                        tokio::time::timeout(times.statement, listener.execute("SELECT 1"));
                    answer.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                }
            }
        }
    }

    fn forget(&self, payload: &str) {
        let named = payload.trim();
        if named.is_empty() {
            return self.forgetter.forget_all();
        }
        let user = UserName::new(named).ok().and_then(|name| self.rules.canonical(&name).ok());
        match user {
            Some(user) => self.forgetter.forget(&user),
            None => tracing::warn!(
                target: "directory",
                channel = self.channel,
                payload = one_line(payload),
                "a notification names nobody who could be a user"
            ),
        }
    }
}
