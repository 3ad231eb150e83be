//! The relay: bytes both ways between two streams, understood by nobody (blind), or followed by a framer.
//!
//! Idle, the blind relay owns two sockets, two small states and what its owner watches with: no buffer,
//! no timer, no channel.

mod framed;

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use model::Reason;
use proto::relay::{Changed, Framer, Lost};
use tokio::time::timeout;

use self::framed::{Framing, Sides, Trouble};
use crate::{Stream, scratch};

/// How long the client may take to read our last words and close.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a goodbye waits for the end of a response that is under way.
const BETWEEN_RESPONSES: Duration = Duration::from_secs(2);
/// How long a side may take to hear that the session was ended by us or by the other.
const FAREWELL: Duration = Duration::from_secs(1);
/// Transfers in one poll at most: after a mebibyte the other direction and other tasks have their turn.
const ROUNDS: usize = 8;

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

    /// A framed relay has seen a command finish that may have changed a mailbox. Called within a poll;
    /// must not block.
    fn changed(&self, changed: &Changed) {
        let _ = changed;
    }

    /// A framed relay has ended while a command was in flight that may have changed a mailbox: nobody knows
    /// whether and which. Must not block.
    fn changed_unheard(&self) {}

    /// Why a framed relay is ended, from which follows what the client is told.
    fn reason(&self) -> Reason {
        Reason::Shutdown
    }

    /// Whether a framed relay is to stop where the next command would begin. Asked whenever it is polled:
    /// whoever changes the answer wakes it.
    fn wants_hold(&self) -> bool {
        false
    }

    /// How far a framed relay has come to a hold. Told whenever it is polled while one is wanted, and once
    /// when none is any more. Called within a poll; must not block.
    fn stands(&self, standing: Standing) {
        let _ = standing;
    }
}

/// How far a framed relay has come to a hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Standing {
    /// Bytes move: nobody wants a hold, or a command is in flight (IDLE: until DONE was answered).
    #[default]
    Moving,
    /// It stands between a response and the next command, has delivered all it read except what the
    /// client sent ahead, and neither reads nor writes until it is released.
    Held,
    /// The back end has said what fits no command, so that nobody knows any more whether one is in
    /// flight. It goes on as if nobody wanted a hold.
    Doubtful,
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
    /// A framed relay can follow no more.
    Unframed(Lost),
    /// The watcher ended it.
    Watcher,
}

/// The state of a direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flow {
    /// The sink takes nothing any more; what the source sends is left unread. It said so by a reset or
    /// only refused what came.
    Broken { reset: bool },
    /// Bytes may come.
    Held,
    /// The source has ended; the sink has yet to take what came before, and upwards to be told.
    Eof,
    /// The sink has all there was, and upwards has been told. Downwards it is told when the pair is closed.
    Shut,
}

/// A client and its back end.
pub struct Pair {
    client: Stream,
    backend: Stream,
    up: Flow,
    down: Flow,
    /// There in a framed relay.
    framing: Option<Box<Framing>>,
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
        Ok(Self { client, backend, up: Flow::Held, down: Flow::Held, framing: None })
    }

    /// Joins two streams by a relay that `framer` follows from here on.
    pub fn framed(
        client: Stream,
        from_client: Vec<u8>,
        backend: Stream,
        from_backend: Vec<u8>,
        framer: Framer,
    ) -> Self {
        let framing = Some(Box::new(Framing::new(framer, from_client, from_backend)));
        Self { client, backend, up: Flow::Held, down: Flow::Held, framing }
    }

    /// Relays until one side ends it. Half-close is passed on: when the client has ended its
    /// direction, the back end's answers still reach it. A framed relay that is ended by its watcher says
    /// goodbye between two responses.
    pub async fn relay(&mut self, watch: &impl Watch) -> Ended {
        let ended = poll_fn(|cx| self.poll_relay(cx, watch)).await;
        if matches!(ended, Ended::Watcher) && self.framing.is_some() {
            Box::pin(self.say_goodbye(watch)).await;
        }
        if self.framing.as_ref().is_some_and(|framing| framing.may_have_changed()) {
            watch.changed_unheard();
        }
        ended
    }

    /// Goes on until the goodbye has been written, as long as that may take.
    async fn say_goodbye(&mut self, watch: &impl Watch) {
        if let Some(framing) = &mut self.framing {
            framing.ask_goodbye(watch.reason());
        }
        // Past the limit, or when a side is lost meanwhile, it ends without.
        let _ = timeout(BETWEEN_RESPONSES, poll_fn(|cx| self.poll_goodbye(cx, watch))).await;
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>, watch: &impl Watch) -> Poll<()> {
        if self.pump(cx, watch).is_some() {
            return Poll::Ready(());
        }
        match &self.framing {
            Some(framing) if framing.has_yet_to_say_goodbye() => Poll::Pending,
            _ => self.client.poll_flush(cx).map(|_| ()),
        }
    }

    /// Says goodbye to both sides as the end demands, within a few seconds.
    ///
    /// A client that has lost its back end is told of it when its `turn` has come, unless it leaves before
    /// or the watcher ends the wait.
    pub async fn close(mut self, ended: &Ended, turn: Duration, watch: &impl Watch) {
        match ended {
            // What the client still sends is for nobody.
            Ended::BackendClosed => {
                drop(self.backend);
                self.client.hold(turn, watch).await;
                self.client.close_and_drain(DRAIN).await;
            }
            // It waits for nothing but the end.
            Ended::ClientClosed => {
                drop(self.backend);
                self.client.close_and_drain(FAREWELL).await;
            }
            // Cyrus closes so after LOGOUT. Under TLS the client can tell the end from a clean one; in clear
            // text a reset would, and would eat the goodbye before it.
            Ended::BackendLost(error) if is_truncation(error) => {
                drop(self.backend);
                self.client.hold(turn, watch).await;
                self.client.cut_off_and_drain(DRAIN).await;
            }
            // A broken stream must not look like a whole one.
            Ended::BackendLost(_) => {
                drop(self.backend);
                self.client.hold(turn, watch).await;
                self.client.reset_on_close();
            }
            // Careless clients close so after LOGOUT: their last commands still reach the back end, which
            // under TLS can tell the end from a clean one. Without TLS, half a command is not a command.
            Ended::ClientLost(error) if is_truncation(error) => {
                drop(self.client);
                self.backend.cut_off_and_drain(FAREWELL).await;
            }
            Ended::ClientLost(_) => self.backend.reset_on_close(),
            Ended::Unframed(_) => {
                self.client.reset_on_close();
                self.backend.reset_on_close();
            }
            Ended::Watcher => {
                let Self { client, backend, .. } = &mut self;
                tokio::join!(client.close_and_drain(FAREWELL), backend.close_and_drain(FAREWELL));
            }
        }
    }

    fn poll_relay(&mut self, cx: &mut Context<'_>, watch: &impl Watch) -> Poll<Ended> {
        if watch.poll_end(cx).is_ready() {
            return Poll::Ready(Ended::Watcher);
        }
        self.pump(cx, watch).map_or(Poll::Pending, Poll::Ready)
    }

    /// Moves what can be moved, and says whether that was all there will be.
    fn pump(&mut self, cx: &mut Context<'_>, watch: &impl Watch) -> Option<Ended> {
        let client_closed_first = matches!(self.up, Flow::Eof | Flow::Shut);
        let moved = match self.framing {
            None => self.pump_blindly(cx, watch),
            Some(_) => self.pump_framed(cx, watch),
        };
        if let Err(ended) = moved {
            return Some(ended);
        }
        // TLS may have had to answer while we read from the back end.
        if let Poll::Ready(Err(error)) = self.backend.poll_flush(cx) {
            self.stop_sending_up(&error);
        }
        match (self.down, client_closed_first) {
            (Flow::Shut, true) => Some(Ended::ClientClosed),
            (Flow::Shut, false) => Some(Ended::BackendClosed),
            _ => None,
        }
    }

    fn pump_blindly(&mut self, cx: &mut Context<'_>, watch: &impl Watch) -> Result<(), Ended> {
        let Self { client, backend, up, .. } = self;
        let moved = |bytes| watch.relayed(Direction::Up, bytes);
        if let Err(fault) = pump(cx, Direction::Up, client, backend, up, false, moved) {
            self.fault(Direction::Up, fault)?;
        }
        let Self { client, backend, up, down, .. } = self;
        let moved = |bytes| watch.relayed(Direction::Down, bytes);
        let was_reset = *up == Flow::Broken { reset: true };
        pump(cx, Direction::Down, backend, client, down, was_reset, moved)
            .or_else(|fault| self.fault(Direction::Down, fault))
    }

    /// A fault on the way up ends nothing: then it is tried again without.
    fn pump_framed(&mut self, cx: &mut Context<'_>, watch: &impl Watch) -> Result<(), Ended> {
        for _ in 0..2 {
            let Self { client, backend, up, down, framing } = self;
            let Some(framing) = framing else { return Ok(()) };
            let mut sides = Sides { client, backend, up, down };
            match framing.pump(cx, &mut sides, watch) {
                Ok(()) => return Ok(()),
                Err((direction, Trouble::Fault(fault))) => self.fault(direction, fault)?,
                Err((_, Trouble::Lost(lost))) => return Err(Ended::Unframed(lost)),
            }
        }
        Ok(())
    }

    /// What a fault in a direction means. One ends nothing: what a dying back end said last still
    /// reaches the client.
    fn fault(&mut self, direction: Direction, fault: Fault) -> Result<(), Ended> {
        match (direction, fault) {
            (Direction::Up, Fault::Source(error)) => Err(Ended::ClientLost(error)),
            (Direction::Up, Fault::Sink(error)) => {
                self.stop_sending_up(&error);
                Ok(())
            }
            (Direction::Down, Fault::Source(error)) => Err(Ended::BackendLost(error)),
            (Direction::Down, Fault::Sink(error)) => Err(Ended::ClientLost(error)),
        }
    }

    /// The back end takes nothing any more. It may have said goodbye before it closed: what it said still
    /// reaches the client.
    fn stop_sending_up(&mut self, error: &io::Error) {
        self.backend.drop_unsent();
        if self.up == Flow::Shut {
            // It has been told all there was.
            return;
        }
        self.up = Flow::Broken { reset: error.kind() == io::ErrorKind::ConnectionReset };
    }
}

/// Whether TLS was cut off without close_notify.
fn is_truncation(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// Moves bytes one way as long as source and sink allow. Never reads while the sink has not taken what
/// was read before: a slow reader holds one buffer's worth and no more.
///
/// `was_reset` says that the source's connection has been found reset while writing to it.
fn pump(
    cx: &mut Context<'_>,
    direction: Direction,
    source: &mut Stream,
    sink: &mut Stream,
    flow: &mut Flow,
    was_reset: bool,
    mut moved: impl FnMut(usize),
) -> Result<(), Fault> {
    for _ in 0..ROUNDS {
        let step = match flow {
            Flow::Broken { .. } | Flow::Shut => return Ok(()),
            Flow::Eof => {
                poll_end(cx, direction, sink).map_err(Fault::Sink).map_ok(|()| *flow = Flow::Shut)
            }
            Flow::Held => match poll_transfer(cx, source, sink) {
                Poll::Ready(Ok(0)) => {
                    end_of(source, was_reset)?;
                    if direction == Direction::Up {
                        sink.queue_close();
                    }
                    *flow = Flow::Eof;
                    continue;
                }
                step => step.map_ok(&mut moved),
            },
        };
        match step {
            Poll::Pending => return Ok(()),
            Poll::Ready(result) => result?,
        }
    }
    cx.waker().wake_by_ref();
    Ok(())
}

/// Sends the last of what the source said. A back end is told the end at once; a client later, for when
/// many lose their back end at once each has its turn.
fn poll_end(cx: &mut Context<'_>, direction: Direction, sink: &mut Stream) -> Poll<io::Result<()>> {
    match direction {
        Direction::Down => sink.poll_flush(cx),
        Direction::Up => sink.poll_shut(cx),
    }
}

/// Whether the end of a source is one. A connection that was found reset while writing to it is told of
/// once by the kernel, and then shows the reader an ordinary end.
fn end_of(source: &Stream, was_reset: bool) -> Result<(), Fault> {
    if was_reset && !source.is_tls() {
        return Err(Fault::Source(io::ErrorKind::ConnectionReset.into()));
    }
    Ok(())
}

/// Reads once and writes what was read. Ready with the plain bytes moved, none at the source's end.
///
/// While the sink takes nothing the source is not read, so nobody would hear of its reset; it is asked
/// for instead, whenever this is polled (the watcher sees to it that this happens now and then).
fn poll_transfer(
    cx: &mut Context<'_>,
    source: &mut Stream,
    sink: &mut Stream,
) -> Poll<Result<usize, Fault>> {
    if sink.poll_flush(cx).map_err(Fault::Sink)?.is_pending() {
        return match source.take_error() {
            Some(error) => Poll::Ready(Err(Fault::Source(error))),
            None => Poll::Pending,
        };
    }
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

#[cfg(test)]
mod tests;
