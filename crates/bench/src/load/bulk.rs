//! Large messages, fetched or appended on several connections at once, and long lists of small responses.
//! Nothing here looks at their text.

use anyhow::{Result, ensure};

use super::client::Client;
use super::{Done, Target, share};

/// What is read or written at a time.
const ROOM: usize = 128 * 1024;

/// Where messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the back end.
    Append,
    /// From the back end to the client.
    Fetch,
    /// From the back end to the client, in short lines: as many bytes as a message has, or some more.
    Rows,
}

/// Carries `count` messages of `bytes` each over `connections` connections.
///
/// # Errors
/// The first connection or message that went wrong.
pub(crate) fn transfer(
    target: &Target,
    direction: Direction,
    connections: u32,
    count: u32,
    bytes: u64,
) -> Result<Done> {
    let (carried, taken) = share(connections, count, |number, part| {
        let mut client = Client::connect(target, ROOM)?;
        client.log_in(number)?;
        client.command(&format!("s SELECT bytes-{bytes}\r\n"), "s")?;
        let mut carried = 0;
        for _ in 0..part {
            carried += match direction {
                Direction::Append => append(&mut client, bytes)?,
                Direction::Fetch => fetch(&mut client, bytes)?,
                Direction::Rows => client.exchange(b"r FETCH 1:* FLAGS\r\n", "r")?,
            };
        }
        client.log_out()?;
        Ok(carried)
    })?;
    let (operations, seconds) = (count, taken.as_secs_f64());
    Ok(Done { operations, bytes: carried.into_iter().sum(), seconds })
}

fn fetch(client: &mut Client, bytes: u64) -> Result<u64> {
    client.send(b"f UID FETCH 1 BODY[]\r\n")?;
    let fetched = client.skip_literal()?;
    ensure!(fetched == bytes, "{fetched} bytes fetched instead of {bytes}");
    client.finish("f")?;
    Ok(fetched)
}

fn append(client: &mut Client, bytes: u64) -> Result<u64> {
    static TEXT: [u8; ROOM] = [b'x'; ROOM];
    client.send(format!("a APPEND INBOX {{{bytes}+}}\r\n").as_bytes())?;
    let mut left = bytes;
    while left > 0 {
        let (piece, _) = TEXT.split_at(usize::try_from(left).unwrap_or(ROOM).min(ROOM));
        client.send(piece)?;
        left -= u64::try_from(piece.len())?;
    }
    client.command("\r\n", "a")?;
    Ok(bytes)
}
