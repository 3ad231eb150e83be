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
/// What is known of a name: nothing before its first look-up is over, then the last good addresses,
/// none if there were never any.
type Known = Option<Addresses>;

/// All names and their addresses.
#[derive(Default)]
pub(crate) struct Names {
    known: Mutex<HashMap<Box<str>, watch::Receiver<Known>>>,
}

impl Names {
    /// Begins to follow a name, if that was not done before.
    pub(crate) fn follow(&self, name: &str) -> Option<watch::Receiver<Known>> {
        let mut known = self.known.lock();
        if let Some(addresses) = known.get(name) {
            return Some(addresses.clone());
        }
        if known.len() >= MOST {
            return None;
        }
        let (tell, addresses) = watch::channel(None);
        known.insert(name.into(), addresses.clone());
        tokio::spawn(refresh_for_ever(name.into(), tell));
        Some(addresses)
    }

    /// The addresses of a name; empty if none are known. Waits only for the end of its first look-up.
    pub(crate) async fn addresses(&self, name: &str) -> Addresses {
        let Some(mut known) = self.follow(name) else { return Addresses::default() };
        match time::timeout(FIRST, known.wait_for(Option::is_some)).await {
            Ok(Ok(known)) => known.clone().unwrap_or_default(),
            _ => Addresses::default(),
        }
    }
}

async fn refresh_for_ever(name: Box<str>, tell: watch::Sender<Known>) {
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
            Err(error) => {
                if trouble.is_worth_telling(Instant::now()) {
                    tracing::warn!(%name, %error, "name not resolved");
                }
                learn(Vec::new(), &tell);
            }
        }
        if tell.borrow().as_ref().is_none_or(|known| known.is_empty()) {
            time::sleep(retry).await;
            retry = (retry * 2).min(REFRESH);
        } else {
            time::sleep(REFRESH).await;
        }
    }
}

/// Takes over the addresses that were found, if they are others. None found changes what was known only
/// if that was nothing.
fn learn(mut found: Vec<IpAddr>, tell: &watch::Sender<Known>) {
    found.dedup();
    tell.send_if_modified(|known| {
        let changed = match known {
            None => true,
            Some(known) => !found.is_empty() && **known != *found,
        };
        if changed {
            *known = Some(found.into());
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

    #[tokio::test]
    async fn only_the_first_look_up_of_a_name_is_waited_for() {
        let names = Names::default();
        // RFC 6761 section 6.4: never resolves.
        let name = "posthouse.invalid";
        assert!(names.addresses(name).await.is_empty());
        let looked_up = names.follow(name).unwrap().borrow().is_some();
        let since = Instant::now();
        assert!(names.addresses(name).await.is_empty());
        assert!(!looked_up || since.elapsed() < FIRST / 2, "{:?}", since.elapsed());
    }

    #[test]
    fn the_last_good_addresses_stay_while_a_name_does_not_resolve() {
        let (tell, known) = watch::channel(None);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let now = || known.borrow().as_deref().map(<[_]>::to_vec);
        learn(Vec::new(), &tell);
        assert_eq!(now(), Some(vec![]));
        learn(vec![ip("192.0.2.1")], &tell);
        learn(Vec::new(), &tell);
        assert_eq!(now(), Some(vec![ip("192.0.2.1")]));
        learn(vec![ip("192.0.2.2")], &tell);
        assert_eq!(now(), Some(vec![ip("192.0.2.2")]));
    }

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
