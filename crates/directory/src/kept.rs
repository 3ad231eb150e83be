//! What the state folder keeps beside the table's users: placements, holds, and what was done.
//!
//! Nothing here asks a source. What cannot be read is never taken for "nothing": the reason is kept instead.

use std::{path::Path, sync::Arc};

use crate::{
    Backends, OpenError, PoolProblem, Pools, Store, StoreError,
    holds::{Held, Holds, Mailbox},
    placement::Placement,
};

/// What is kept, or why it cannot be used.
pub(crate) struct Kept {
    store: Result<Arc<Store>, String>,
    placement: Result<Arc<Placement>, String>,
    holds: Holds,
}

impl Kept {
    /// Opens it; it blocks on the disk. `table` is the store, if the chain has opened it. Where no pool needs it, what
    /// is damaged keeps nobody from starting.
    pub(crate) fn open(
        table: Option<&Arc<Store>>,
        state: &Path,
        backends: &Arc<Backends>,
        pools: Pools,
    ) -> Result<Self, OpenError> {
        let needed = !pools.pools.is_empty();
        if table.is_none() && state.as_os_str().is_empty() {
            let missing = "there is no state folder".to_owned();
            let (store, placement) = (Err(missing.clone()), Err(missing));
            return Ok(Self { store, placement, holds: Holds::new([]) });
        }
        let store = match table {
            Some(store) => Ok(Arc::clone(store)),
            None => match Store::open(state) {
                Ok(store) => Ok(Arc::new(store)),
                Err(problem @ StoreError::Database(_)) if !needed => Err(problem.to_string()),
                Err(problem) => return Err(problem.into()),
            },
        };
        let placement = match &store {
            Ok(store) => match Placement::open(Arc::clone(store), Arc::clone(backends), pools) {
                Ok(placement) => Ok(Arc::new(placement)),
                Err((name, problem)) if needed => return Err(OpenError::Pool { name, problem }),
                Err((_, PoolProblem::Store(problem))) => Err(problem.to_string()),
                Err((_, problem)) => Err(problem.to_string()),
            },
            Err(problem) => Err(problem.clone()),
        };
        if let Err(problem) = &placement {
            tracing::error!(problem, "what is kept of placements cannot be read");
        }
        let held = store
            .as_deref()
            .map_err(String::clone)
            .and_then(|store| held(store).map_err(|problem| problem.to_string()));
        let holds = held.map_or_else(
            |problem| {
                let then =
                    "who is held cannot be read: everybody is told to try later until it can";
                tracing::error!(problem, "{then}");
                Holds::unread()
            },
            Holds::new,
        );
        Ok(Self { store, placement, holds })
    }

    /// The embedded store.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn store(&self) -> Result<&Arc<Store>, &str> {
        self.store.as_ref().map_err(String::as_str)
    }

    /// The pools at work.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(crate) fn placement(&self) -> Result<&Arc<Placement>, &str> {
        self.placement.as_ref().map_err(String::as_str)
    }

    /// Who is held.
    pub(crate) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Reads who is held, if that could not be read so far. It asks the disk now and then only.
    pub(crate) async fn read_holds(&self) {
        if !self.holds.is_time_to_read() {
            return;
        }
        let Ok(store) = self.store().map(Arc::clone) else { return };
        if let Ok(Ok(held)) = tokio::task::spawn_blocking(move || held(&store)).await {
            tracing::info!("who is held can be read again");
            self.holds.learn(held);
        }
    }
}

/// Who is held, each user with his mailbox where he has one.
fn held(store: &Store) -> Result<Vec<(Held, Option<Mailbox>)>, StoreError> {
    let mut all = Vec::new();
    for (about, subject) in store.held()? {
        let Some(held) = Held::stored(&about, &subject) else {
            tracing::error!(
                about,
                subject,
                "a hold is stored that no release writes: nobody is held by it"
            );
            continue;
        };
        let mailbox = match &held {
            Held::User(user) => store.mailbox(user)?.map(Mailbox::from),
            Held::Backend(_) => None,
        };
        all.push((held, mailbox));
    }
    Ok(all)
}
