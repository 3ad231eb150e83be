//! The blind relay: bytes both ways between two streams, understood by nobody.
//!
//! Idle, it owns two sockets, two small states and what its owner watches with: no buffer, no timer,
//! no channel.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use crate::{Stream, scratch};

/// How long the client may take to read our last words and close.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a side may take to hear that the session was ended by us.
const FAREWELL: Duration = Duration::from_secs(1);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the back end to the client.
    Down,
    /// From the client to the back end.
    Up,
}

/// Who watches a relay: is told of what moves, and may end it.
pub trait Watch {
    /// So many plain bytes went that way. Called within a poll; must not block.
    fn relayed(&self, direction: Direction, bytes: usize);

    /// Ready when the relay is to end; otherwise keeps the waker.
    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// How a relay ended.
#[derive(Debug)]
pub enum Ended {
    /// The back end closed first; the client has been given all it sent.
    BackendClosed,
    /// The connection to the back end broke.
    BackendLost(io::Error),
    /// The client closed first, then the back end.
    ClientClosed,
    /// The connection to the client broke.
    ClientLost(io::Error),
    /// The watcher ended it.
    Watcher,
}

/// The state of a direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    /// The sink takes nothing any more; what the source sends is left unread.
    Broken,
    /// Bytes may come.
    Held,
    /// The source has ended; the sink has yet to be told.
    Eof,
    /// The sink has been told.
    Shut,
}

/// A client and its back end.
pub struct Pair {
    client: Stream,
    backend: Stream,
    up: Flow,
    down: Flow,
}

/// Whose connection failed while bytes were moved.
enum Fault {
    Source(io::Error),
    Sink(io::Error),
}

impl Pair {
    /// Joins two streams. `from_client` and `from_backend` were read before and go first.
    ///
    /// # Errors
    /// What the TLS library said when it encrypted those bytes.
    pub fn new(
        mut client: Stream,
        from_client: &[u8],
        mut backend: Stream,
        from_backend: &[u8],
    ) -> io::Result<Self> {
        backend.queue(from_client)?;
        client.queue(from_backend)?;
        Ok(Self { client, backend, up: Flow::Held, down: Flow::Held })
    }

    /// Relays until one side ends it. Half-close is passed on: when the client has ended its
    /// direction, the back end's answers still reach it.
    pub async fn relay(&mut self, watch: &impl Watch) -> Ended {
        poll_fn(|cx| self.poll_relay(cx, watch)).await
    }

    /// Says goodbye to both sides as the end demands, within a few seconds.
    pub async fn close(mut self, ended: &Ended) {
        match ended {
            Ended::BackendClosed => {
                drop(self.backend);
                self.client.close_and_drain(DRAIN).await;
            }
            // Both directions have been shut.
            Ended::ClientClosed => {}
            // A broken stream must not look like a whole one.
            Ended::BackendLost(_) => self.client.reset_on_close(),
            Ended::ClientLost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                // TLS cut off by FIN, as careless clients do after LOGOUT: the back end hears a FIN.
                self.backend.close(FAREWELL).await;
            }
            Ended::ClientLost(_) => self.backend.reset_on_close(),
            Ended::Watcher => {
                self.backend.close(FAREWELL).await;
                self.client.close_and_drain(FAREWELL).await;
            }
        }
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, watch: &impl Watch) -> Poll<Ended> {
        if watch.poll_end(cx).is_ready() {
            return Poll::Ready(Ended::Watcher);
        }
        let Self { client, backend, up, down } = self;
        let client_closed_first = matches!(up, Flow::Eof | Flow::Shut);
        let moved = |bytes| watch.relayed(Direction::Up, bytes);
        match pump(cx, client, backend, up, moved) {
            Err(Fault::Source(error)) => return Poll::Ready(Ended::ClientLost(error)),
            // It may have said goodbye before it closed: what it said still reaches the client below.
            Err(Fault::Sink(_)) => *up = Flow::Broken,
            Ok(()) => {}
        }
        let moved = |bytes| watch.relayed(Direction::Down, bytes);
        match pump(cx, backend, client, down, moved) {
            Err(Fault::Source(error)) => return Poll::Ready(Ended::BackendLost(error)),
            Err(Fault::Sink(error)) => return Poll::Ready(Ended::ClientLost(error)),
            Ok(()) => {}
        }
        // TLS may have had to answer while we read from the back end.
        if let Poll::Ready(Err(error)) = backend.poll_flush(cx) {
            return Poll::Ready(Ended::BackendLost(error));
        }
        match (*down, client_closed_first) {
            (Flow::Shut, true) => Poll::Ready(Ended::ClientClosed),
            (Flow::Shut, false) => Poll::Ready(Ended::BackendClosed),
            _ => Poll::Pending,
        }
    }
}

/// Moves bytes one way as long as source and sink allow. Never reads while the sink has not taken what
/// was read before: a slow reader holds one buffer's worth and no more.
fn pump(
    cx: &mut Context<'_>,
    source: &mut Stream,
    sink: &mut Stream,
    flow: &mut Flow,
    mut moved: impl FnMut(usize),
) -> Result<(), Fault> {
    loop {
        let step = match flow {
            Flow::Broken | Flow::Shut => return Ok(()),
            Flow::Eof => sink.poll_shut(cx).map_err(Fault::Sink).map_ok(|()| *flow = Flow::Shut),
            Flow::Held => poll_transfer(cx, source, sink).map_ok(|count| match count {
                0 => {
                    sink.queue_close();
                    *flow = Flow::Eof;
                }
                count => moved(count),
            }),
        };
        match step {
            Poll::Pending => return Ok(()),
            Poll::Ready(result) => result?,
        }
    }
}

/// Reads once and writes what was read. Ready with the plain bytes moved, none at the source's end.
fn poll_transfer(
    cx: &mut Context<'_>,
    source: &mut Stream,
    sink: &mut Stream,
) -> Poll<Result<usize, Fault>> {
    ready!(sink.poll_flush(cx)).map_err(Fault::Sink)?;
    scratch::lend(|scratch| {
        let plain = ready!(source.poll_fill(cx, usize::MAX, scratch)).map_err(Fault::Source)?;
        let scratch::Scratch { read, sealed, opened } = scratch;
        let plain = plain.within(read, opened);
        if !plain.is_empty() {
            sink.push(cx, plain, sealed).map_err(Fault::Sink)?;
        }
        Poll::Ready(Ok(plain.len()))
    })
}
