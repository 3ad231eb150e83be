//! Drives a machine over a stream until it has an event for its owner.

use std::io;

use proto::{Machine, Step};
use zeroize::Zeroizing;

use crate::{Received, Stream};

/// The peer went away in the middle of a conversation.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It closed.
    #[error("the connection was closed")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Reads and writes what the machine asks for, until its next event.
///
/// # Errors
/// [`Lost`] if the peer closed while the machine waited for it, or the connection broke.
pub async fn converse<M: Machine>(stream: &mut Stream, machine: &mut M) -> Result<M::Event, Lost> {
    loop {
        match machine.step() {
            Step::Event(event) => return Ok(event),
            Step::Read => match stream.receive(|bytes| machine.receive(bytes)).await? {
                Received::Bytes(_) => {}
                Received::Closed => return Err(Lost::Closed),
            },
            // It may hold a secret.
            Step::Write(bytes) => stream.write_all(&Zeroizing::new(bytes)).await?,
        }
    }
}
