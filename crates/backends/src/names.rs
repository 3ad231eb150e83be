//! Addresses behind names: looked up in the background, never for a single connection.
//!
//! The system's resolver answers (`/etc/hosts`, nsswitch and all), as it does for every other program
//! on the host. The last good answer is kept while it cannot.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{net::lookup_host, sync::watch, time};

/// How often a name is looked up again.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon after a failure, while nothing is known.
const RETRY: Duration = Duration::from_secs(2);
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
    loop {
        match lookup_host((&*name, 0)).await {
            Ok(found) => {
                let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                found.dedup();
                tell.send_if_modified(|known| {
                    let changed = !found.is_empty() && **known != *found;
                    if changed {
                        *known = found.into();
                    }
                    changed
                });
            }
            Err(error) => tracing::warn!(%name, %error, "name not resolved"),
        }
        let unknown = tell.borrow().is_empty();
        time::sleep(if unknown { RETRY } else { REFRESH }).await;
    }
}
