//! The buffers of a worker thread, lent for the length of one poll.
//!
//! Never held across an await: an idle connection owns no buffer.

use std::cell::RefCell;

/// Bytes read from a socket at once. 128 KiB: beyond it the copy falls out of the second-level cache and
/// a gain is no longer measurable.
pub(crate) const READ: usize = 128 * 1024;

/// What one poll works with.
pub(crate) struct Scratch {
    /// What came from a socket.
    pub(crate) read: Vec<u8>,
    /// What is to go to a socket, encrypted.
    pub(crate) sealed: Outgoing,
    /// What was decrypted.
    pub(crate) opened: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ],
        sealed: Outgoing::default(),
        opened: Vec::new(),
    });
}

/// Lends the thread's buffers to `work`, which must not ask for them again.
pub(crate) fn lend<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(work)
}

/// A buffer to encode into: its bytes stay initialised, so that using it again costs nothing.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    filled: usize,
}

impl Outgoing {
    /// At least `size` bytes to write to; what was written is declared with [`Self::wrote`].
    pub(crate) fn space(&mut self, size: usize) -> &mut [u8] {
        let needed = self.filled.saturating_add(size);
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// Declares the next `count` bytes written.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.filled = self.filled.saturating_add(count).min(self.bytes.len());
    }

    /// All that was written.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Forgets what was written and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }
}
