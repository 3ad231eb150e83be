//! A request's body as a stream of bytes for a thread that may block. Nothing here holds more than a
//! few pieces at a time.

use std::io::{self, BufRead, Read};

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc::{Receiver, channel};

/// Pieces that wait for the reader.
const WAITING: usize = 4;

/// A body that a blocking reader reads while it comes in. A body that breaks off is an error to the
/// reader, never an end.
pub(crate) struct BodyReader {
    pieces: Receiver<io::Result<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl BodyReader {
    /// Begins to take in the body.
    pub(crate) fn new(body: Body) -> Self {
        let (sender, pieces) = channel(WAITING);
        tokio::spawn(async move {
            let mut stream = body.into_data_stream();
            loop {
                let piece = match stream.next().await {
                    Some(Ok(bytes)) if bytes.is_empty() => continue,
                    Some(Ok(bytes)) => Ok(bytes),
                    Some(Err(error)) => Err(io::Error::other(error)),
                    // An empty piece says that this was all: a sender that vanishes is no end.
                    None => Ok(Bytes::new()),
                };
                let last = !piece.as_ref().is_ok_and(|bytes| !bytes.is_empty());
                if sender.send(piece).await.is_err() || last {
                    return;
                }
            }
        });
        Self { pieces, current: Bytes::new(), ended: false }
    }
}

impl BufRead for BodyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() && !self.ended {
            let lost = || io::Error::from(io::ErrorKind::UnexpectedEof);
            self.current = self.pieces.blocking_recv().ok_or_else(lost)??;
            self.ended = self.current.is_empty();
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        let count = count.min(self.current.len());
        drop(self.current.split_to(count));
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
