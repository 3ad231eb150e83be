//! What a machine has decided to say and to ask, until its driver takes it.
//!
//! Nothing here decides anything.

use crate::Step;

/// Bytes for the peer, then at most one event. A machine goes on only while no event waits here, so
/// that their order is the order in which things happened.
#[derive(Debug)]
pub(crate) struct Outbox<E> {
    bytes: Vec<u8>,
    event: Option<E>,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self { bytes: Vec::new(), event: None }
    }
}

impl<E> Outbox<E> {
    /// Says these parts and a line end.
    pub(crate) fn line(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Says these bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Asks this after what has been said.
    pub(crate) fn event(&mut self, event: E) {
        self.event = Some(event);
    }

    /// Whether an event waits to be taken.
    pub(crate) fn has_event(&self) -> bool {
        self.event.is_some()
    }

    /// The next thing for the driver: bytes, then the event, then the wish for more bytes.
    pub(crate) fn next(&mut self) -> Step<E> {
        if !self.bytes.is_empty() {
            return Step::Write(std::mem::take(&mut self.bytes));
        }
        self.event.take().map_or(Step::Read, Step::Event)
    }
}
