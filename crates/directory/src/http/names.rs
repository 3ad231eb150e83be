//! The addresses of a server: looked up now and then, never for a single question.
//!
//! Nothing here connects.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use model::Host;
use tokio::{net::lookup_host, sync::Mutex};

/// How long the addresses of a name count.
const FRESH: Duration = Duration::from_secs(30);

/// Where a server is, as far as is known.
pub(super) struct Addresses {
    host: Host,
    port: u16,
    known: Mutex<Option<(Arc<[SocketAddr]>, Instant)>>,
}

impl Addresses {
    pub(super) fn new(host: Host, port: u16) -> Self {
        Self { host, port, known: Mutex::new(None) }
    }

    /// The addresses. The last good ones count on while the name cannot be resolved.
    pub(super) async fn known(&self) -> io::Result<Arc<[SocketAddr]>> {
        let name = match &self.host {
            Host::Ip(ip) => return Ok([SocketAddr::new(*ip, self.port)].into()),
            Host::Name(name) => name,
        };
        // Whoever comes meanwhile waits for the same answer.
        let mut known = self.known.lock().await;
        if let Some((addresses, since)) = &*known
            && since.elapsed() < FRESH
        {
            return Ok(Arc::clone(addresses));
        }
        let found = lookup_host((&**name, self.port)).await;
        match (found.map(|found| found.collect::<Arc<[SocketAddr]>>()), &*known) {
            (Ok(found), _) if !found.is_empty() => {
                *known = Some((Arc::clone(&found), Instant::now()));
                Ok(found)
            }
            (_, Some((before, _))) => Ok(Arc::clone(before)),
            (Err(error), None) => Err(error),
            (Ok(_), None) => Err(io::Error::other("the name has no address")),
        }
    }
}
