//! What the peer sent and nobody has read yet.
//!
//! Nothing here knows a protocol. Bytes are wiped from memory once they are not needed, for there can
//! be passwords among them.

use std::{fmt, mem};

use memchr::memchr;
use zeroize::{Zeroize, Zeroizing};

/// Unread bytes, in order.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    /// How many of `bytes` have been read.
    read: usize,
}

/// What stands at the beginning of unread bytes.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Line {
    /// The line has not ended yet.
    Incomplete,
    /// The line has more bytes than it may have.
    TooLong,
    /// A line of `text` bytes, which takes up `whole` bytes with its end (CRLF, or LF alone).
    Whole { text: usize, whole: usize },
}

/// Finds the first line of `bytes`, which may have `limit` bytes without its end.
///
/// The answer depends on what was sent and never on how it was cut.
pub(crate) fn first_line(bytes: &[u8], limit: usize) -> Line {
    let Some(end) = memchr(b'\n', bytes) else {
        // The last byte may be the CR of a line end, which does not count.
        return if bytes.len() > limit.saturating_add(1) {
            Line::TooLong
        } else {
            Line::Incomplete
        };
    };
    let line = bytes.get(..end).unwrap_or_default();
    let text = line.strip_suffix(b"\r").unwrap_or(line).len();
    if text > limit { Line::TooLong } else { Line::Whole { text, whole: end + 1 } }
}

impl Buffer {
    /// Takes bytes that the peer sent.
    pub(crate) fn receive(&mut self, new: &[u8]) {
        let needed = self.bytes.len() + new.len();
        if needed > self.bytes.capacity() {
            // Growing in place would leave a copy of the old bytes behind.
            let unread = self.unread();
            let size = (unread.len() + new.len()).max(2 * unread.len());
            let mut grown = Zeroizing::new(Vec::with_capacity(size));
            grown.extend_from_slice(unread);
            self.bytes = grown;
            self.read = 0;
        }
        self.bytes.extend_from_slice(new);
    }

    /// The bytes that have not been read.
    pub(crate) fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    /// Reads `count` bytes, or as many as there are.
    pub(crate) fn take(&mut self, count: usize) -> Zeroizing<Vec<u8>> {
        let unread = self.unread();
        let taken = unread.get(..count).unwrap_or(unread);
        let taken = Zeroizing::new(taken.to_vec());
        self.skip(count);
        taken
    }

    /// Reads a line of `text` bytes and `whole` bytes with its end.
    pub(crate) fn take_line(&mut self, text: usize, whole: usize) -> Zeroizing<Vec<u8>> {
        let line = self.take(text);
        self.skip(whole.saturating_sub(text));
        line
    }

    /// Reads `count` bytes and forgets them.
    pub(crate) fn skip(&mut self, count: usize) {
        self.read = (self.read + count).min(self.bytes.len());
        if self.read == self.bytes.len() {
            self.clear();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.zeroize();
        self.read = 0;
    }

    /// What has not been read, byte for byte.
    pub(crate) fn into_rest(mut self) -> Vec<u8> {
        if self.read == 0 {
            return mem::take(&mut *self.bytes);
        }
        self.unread().to_vec()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.unread().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_crlf_or_at_lf() {
        assert_eq!(first_line(b"ab\r\nc", 9), Line::Whole { text: 2, whole: 4 });
        assert_eq!(first_line(b"ab\nc", 9), Line::Whole { text: 2, whole: 3 });
        assert_eq!(first_line(b"ab\r", 9), Line::Incomplete);
    }

    #[test]
    fn the_line_end_does_not_count_towards_the_limit() {
        assert_eq!(first_line(b"abc\r\n", 3), Line::Whole { text: 3, whole: 5 });
        assert_eq!(first_line(b"abc\r", 3), Line::Incomplete);
        assert_eq!(first_line(b"abcd\r\n", 3), Line::TooLong);
        assert_eq!(first_line(b"abcd\n", 3), Line::TooLong);
        assert_eq!(first_line(b"abcde", 3), Line::TooLong);
    }

    #[test]
    fn what_is_not_read_stays_as_it_was() {
        let mut buffer = Buffer::default();
        buffer.receive(b"one\r\ntw");
        assert_eq!(&*buffer.take_line(3, 5), b"one");
        buffer.receive(b"o\r\n");
        assert_eq!(buffer.unread(), b"two\r\n");
        assert_eq!(buffer.into_rest(), b"two\r\n");
    }

    #[test]
    fn a_debug_print_never_shows_the_bytes() {
        let mut buffer = Buffer::default();
        buffer.receive(b"hunter2");
        assert_eq!(format!("{buffer:?}"), "Buffer(7 bytes)");
    }
}
