//! Sessions that log in and then say nothing.
//! Nothing here ends a session before it is told to.

use anyhow::Result;

use super::client::Client;
use super::{Done, Target, share};

/// Read buffer of a client that only talks; there are thousands.
const ROOM: usize = 1024;

/// Sessions that are held as long as this value lives.
pub(crate) struct Held {
    clients: Vec<Client>,
    pub(crate) done: Done,
}

impl Held {
    /// Ends all sessions as a client should.
    ///
    /// # Errors
    /// The first session that the proxy did not keep.
    pub(crate) fn log_out(self) -> Result<()> {
        self.clients.into_iter().try_for_each(Client::log_out)
    }
}

/// Logs in `count` sessions, `threads` at a time, and holds them.
///
/// # Errors
/// The first login that went wrong; those before it are closed.
pub(crate) fn hold(target: &Target, threads: u32, count: u32) -> Result<Held> {
    let (clients, taken) = share(threads, count, |thread, part| {
        let session = |number| {
            let mut client = Client::connect(target, ROOM)?;
            client.log_in(number * threads + thread)?;
            Ok(client)
        };
        (0..part).map(session).collect::<Result<Vec<_>>>()
    })?;
    let done = Done { operations: count, bytes: 0, seconds: taken.as_secs_f64() };
    Ok(Held { clients: clients.into_iter().flatten().collect(), done })
}
