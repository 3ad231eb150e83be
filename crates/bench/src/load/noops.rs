//! Small commands, each answered before the next.
//! Nothing here is pipelined.

use anyhow::Result;

use super::client::Client;
use super::{Done, Target, share};

/// Read buffer of a client that only talks.
const ROOM: usize = 4 * 1024;

/// `count` NOOP round trips on `connections` connections.
///
/// # Errors
/// The first connection or round trip that went wrong.
pub(crate) fn noops(target: &Target, connections: u32, count: u32) -> Result<Done> {
    let (_, taken) = share(connections, count, |number, part| {
        let mut client = Client::connect(target, ROOM)?;
        client.log_in(number)?;
        (0..part).try_for_each(|_| client.command("n NOOP\r\n", "n"))?;
        client.log_out()
    })?;
    Ok(Done { operations: count, bytes: 0, seconds: taken.as_secs_f64() })
}
