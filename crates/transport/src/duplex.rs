//! A connection in the form that libraries read and write by.
//!
//! Nothing here relays: what is read is copied, and what TLS gave beyond the reader's room is kept.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Stream, scratch};

/// Bytes read or written at once: a TLS record.
const AT_ONCE: usize = 16 * 1024;

/// A [`Stream`] for whoever speaks a protocol by a library, as HTTP.
pub struct Duplex {
    stream: Stream,
    /// What was read, and not taken yet.
    kept: Vec<u8>,
    taken: usize,
    closing: bool,
}

impl Duplex {
    /// Takes the stream over.
    pub fn new(stream: Stream) -> Self {
        Self { stream, kept: Vec::new(), taken: 0, closing: false }
    }

    /// Gives what is kept; whether there was any.
    fn give_kept(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let rest = self.kept.get(self.taken..).unwrap_or_default();
        let given = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(given);
        self.taken = self.taken.saturating_add(given.len());
        let some = !given.is_empty();
        if self.taken >= self.kept.len() {
            self.kept = Vec::new();
            self.taken = 0;
        }
        some
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 || self.give_kept(buffer) {
            return Poll::Ready(Ok(()));
        }
        // What TLS itself has to say, as for a new key. That it waits does not stop the reading.
        if let Poll::Ready(Err(error)) = self.stream.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        scratch::lend(|scratch| {
            let limit = buffer.remaining().min(AT_ONCE);
            let plain = ready!(self.stream.poll_fill(cx, limit, scratch))?;
            let plain = plain.within(&scratch.read, &scratch.opened);
            let (given, kept) = plain.split_at_checked(buffer.remaining()).unwrap_or((plain, &[]));
            buffer.put_slice(given);
            self.kept = kept.to_vec();
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_flush(cx))?;
        let bytes = bytes.get(..AT_ONCE).unwrap_or(bytes);
        scratch::lend(|scratch| self.stream.push(cx, bytes, &mut scratch.sealed))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            self.closing = true;
            self.stream.queue_close();
        }
        self.stream.poll_shut(cx)
    }
}
