//! Questions on their way: equal ones are one, each in a task of its own, and no more than may be.
//!
//! Nothing here knows what is asked. Whoever stops waiting does not stop the question: its answer is worth
//! remembering, and others may wait for it.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::{CannotSay, Key, Said, memory::Ticket};

type Outcome = Result<Said, CannotSay>;

/// Whom to wait for, and since when the question is on its way.
struct Flight {
    ticket: Ticket,
    landing: watch::Receiver<Option<Outcome>>,
}

pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<Key, Flight>>>,
    seats: Arc<Semaphore>,
    /// How many seats there are.
    all: usize,
}

/// Takes a flight off the list when it lands, and when it crashes.
struct Landing {
    under_way: Arc<Mutex<HashMap<Key, Flight>>>,
    key: Key,
    ticket: Ticket,
}

impl Drop for Landing {
    fn drop(&mut self) {
        // A later one of the same key, begun after something was forgotten, stays.
        let mut under_way = self.under_way.lock();
        if under_way.get(&self.key).is_some_and(|flight| flight.ticket == self.ticket) {
            under_way.remove(&self.key);
        }
    }
}

impl Flights {
    pub(super) fn new(seats: usize) -> Self {
        let all = seats.min(Semaphore::MAX_PERMITS);
        Self { under_way: Arc::default(), seats: Arc::new(Semaphore::new(all)), all }
    }

    /// Waits for the answer to the same question if it is on its way and was asked with the same ticket; else
    /// sends `flight` on its way.
    pub(super) async fn join(
        &self,
        key: Key,
        ticket: Ticket,
        flight: impl Future<Output = Outcome> + Send + 'static,
    ) -> Outcome {
        let mut landing = self.board(key, ticket, flight)?;
        let landed = match landing.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        landed.unwrap_or_else(|| Err(CannotSay::unavailable("a fault in this program")))
    }

    fn board(
        &self,
        key: Key,
        ticket: Ticket,
        flight: impl Future<Output = Outcome> + Send + 'static,
    ) -> Result<watch::Receiver<Option<Outcome>>, CannotSay> {
        let mut under_way = self.under_way.lock();
        if let hash_map::Entry::Occupied(same) = under_way.entry(key.clone())
            && same.get().ticket == ticket
        {
            return Ok(same.get().landing.clone());
        }
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            let full = format_args!("{} questions are on their way already", self.all);
            return Err(CannotSay::unavailable(full));
        };
        let (land, landing) = watch::channel(None);
        under_way.insert(key.clone(), Flight { ticket, landing: landing.clone() });
        let list = Landing { under_way: Arc::clone(&self.under_way), key, ticket };
        tokio::spawn(async move {
            let outcome = flight.await;
            drop(list);
            drop(seat);
            land.send_replace(Some(outcome));
        });
        Ok(landing)
    }

    /// How many are on their way.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.under_way.lock().len()
    }
}
