//! Addresses behind names: looked up in the background, never for a single connection.
//!
//! The system's resolver answers (`/etc/hosts`, nsswitch and all), as it does for every other program
//! on the host. The last good answer is kept while it cannot.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{net::lookup_host, sync::watch, time};

/// How often a name is looked up again.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon after the first failure, while nothing is known; after each further one twice as late, up
/// to [`REFRESH`].
const RETRY: Duration = Duration::from_secs(2);
/// How often a failure that goes on is told again.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// How long the first connection to a name that was never seen before waits for its addresses.
const FIRST: Duration = Duration::from_secs(3);
/// Names followed at most; they come from the configuration and from the directory's answers.
const MOST: usize = 10_000;

type Addresses = Arc<[IpAddr]>;

/// All names and their addresses.
#[derive(Default)]
pub(crate) struct Names {
    known: Mutex<HashMap<Box<str>, watch::Receiver<Addresses>>>,
}

impl Names {
    /// Begins to follow a name, if that was not done before.
    pub(crate) fn follow(&self, name: &str) -> Option<watch::Receiver<Addresses>> {
        let mut known = self.known.lock();
        if let Some(addresses) = known.get(name) {
            return Some(addresses.clone());
        }
        if known.len() >= MOST {
            return None;
        }
        let (tell, addresses) = watch::channel(Addresses::default());
        known.insert(name.into(), addresses.clone());
        tokio::spawn(refresh_for_ever(name.into(), tell));
        Some(addresses)
    }

    /// The addresses of a name; empty if none are known. Waits only where the name is new.
    pub(crate) async fn addresses(&self, name: &str) -> Addresses {
        let Some(mut addresses) = self.follow(name) else { return Addresses::default() };
        let first = addresses.wait_for(|addresses| !addresses.is_empty());
        match time::timeout(FIRST, first).await {
            Ok(Ok(addresses)) => Arc::clone(&addresses),
            _ => Addresses::default(),
        }
    }
}

async fn refresh_for_ever(name: Box<str>, tell: watch::Sender<Addresses>) {
    let mut trouble = Trouble::default();
    let mut retry = RETRY;
    loop {
        match lookup_host((&*name, 0)).await {
            Ok(found) => {
                if trouble.ended() {
                    tracing::info!(%name, "name resolved again");
                }
                learn(found.map(|address| address.ip()).collect(), &tell);
            }
            Err(error) if trouble.is_worth_telling(Instant::now()) => {
                tracing::warn!(%name, %error, "name not resolved");
            }
            Err(_) => {}
        }
        if tell.borrow().is_empty() {
            time::sleep(retry).await;
            retry = (retry * 2).min(REFRESH);
        } else {
            time::sleep(REFRESH).await;
        }
    }
}

/// Takes over the addresses that were found, if there are any and they are others.
fn learn(mut found: Vec<IpAddr>, tell: &watch::Sender<Addresses>) {
    found.dedup();
    tell.send_if_modified(|known| {
        let changed = !found.is_empty() && **known != *found;
        if changed {
            *known = found.into();
        }
        changed
    });
}

/// A name's trouble: told when it begins, now and then while it lasts, and when it is over.
#[derive(Default)]
struct Trouble {
    told: Option<Instant>,
}

impl Trouble {
    /// Whether a failure at this time is to be told.
    fn is_worth_telling(&mut self, now: Instant) -> bool {
        let worth = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if worth {
            self.told = Some(now);
        }
        worth
    }

    /// Whether a success ends trouble that was told.
    fn ended(&mut self) -> bool {
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_begins_every_ten_minutes_and_when_it_ends() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        assert!(!trouble.ended());
        let told = (0..=1200)
            .filter(|second| trouble.is_worth_telling(start + Duration::from_secs(*second)));
        assert_eq!(told.collect::<Vec<u64>>(), [0, 600, 1200]);
        assert!(trouble.ended());
        assert!(!trouble.ended());
        assert!(trouble.is_worth_telling(start));
    }
}
