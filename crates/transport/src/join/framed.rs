//! The framed relay: bytes both ways as in the blind one, but it knows where commands and responses
//! begin and end, and can say goodbye between two of them.
//!
//! What the lines mean stays unknown here: the framer is asked, step by step.

use std::{
    io,
    task::{Context, Poll},
};

use proto::relay::{Event, Framer, Lost, Step};

use super::{Direction, Fault, Flow, ROUNDS, Watch, poll_end};
use crate::{
    Stream,
    scratch::{self, Outgoing},
};

/// What a framed relay has beyond a blind one.
pub(super) struct Framing {
    pub(super) framer: Framer,
    /// Bytes of the client that may not go on yet: less than was read at once.
    pub(super) up: Vec<u8>,
    /// Bytes of the back end that may not go on yet.
    pub(super) down: Vec<u8>,
    pub(super) goodbye: Goodbye,
}

/// Whether the client is told why its session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Goodbye {
    /// Nobody asked for the end.
    No,
    /// It is told where its next response may begin.
    Asked,
    /// It has been told, and nothing more goes to it.
    Said,
}

/// Why the bytes of a direction do not go on.
pub(super) enum Trouble {
    Fault(Fault),
    Lost(Lost),
}

/// How far a direction came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// More bytes are needed.
    Read,
    /// The other direction has to move first.
    Wait,
}

/// One direction of a framed relay within one poll.
struct Lane<'l> {
    source: &'l mut Stream,
    sink: &'l mut Stream,
    flow: &'l mut Flow,
    kept: &'l mut Vec<u8>,
    goodbye: &'l mut Goodbye,
}

/// The two streams and their states, as the blind relay has them.
pub(super) struct Sides<'s> {
    pub(super) client: &'s mut Stream,
    pub(super) backend: &'s mut Stream,
    pub(super) up: &'s mut Flow,
    pub(super) down: &'s mut Flow,
}

impl Framing {
    /// Moves what can be moved. An answer may unblock the client, so that up is tried again after down
    /// has moved.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        sides: &mut Sides<'_>,
        watch: &impl Watch,
    ) -> Result<(), (Direction, Trouble)> {
        for _ in 0..ROUNDS {
            let Self { framer, up, down, goodbye } = self;
            let lane = Lane {
                source: &mut *sides.client,
                sink: &mut *sides.backend,
                flow: &mut *sides.up,
                kept: up,
                goodbye: &mut *goodbye,
            };
            let (_, waiting) = lane
                .pump(cx, Direction::Up, watch, |bytes| framer.up(bytes))
                .map_err(|trouble| (Direction::Up, trouble))?;
            let lane = Lane {
                source: &mut *sides.backend,
                sink: &mut *sides.client,
                flow: &mut *sides.down,
                kept: down,
                goodbye,
            };
            let (moved, _) = lane
                .pump(cx, Direction::Down, watch, |bytes| framer.down(bytes))
                .map_err(|trouble| (Direction::Down, trouble))?;
            if !(waiting && moved) {
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }
}

impl Lane<'_> {
    /// Moves bytes one way as long as source, sink and framer allow. Says whether anything moved, and
    /// whether the framer waits for the other direction.
    fn pump(
        mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        watch: &impl Watch,
        mut step: impl FnMut(&[u8]) -> Result<Step, Lost>,
    ) -> Result<(bool, bool), Trouble> {
        let mut moved = false;
        for _ in 0..ROUNDS {
            match self.round(cx, direction, watch, &mut step)? {
                Poll::Ready(Next::Read) => moved = true,
                Poll::Ready(Next::Wait) => return Ok((moved, true)),
                Poll::Pending => return Ok((moved, false)),
            }
        }
        cx.waker().wake_by_ref();
        Ok((moved, false))
    }

    /// Deals with what is kept, then reads once and deals with that.
    fn round(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        watch: &impl Watch,
        step: &mut impl FnMut(&[u8]) -> Result<Step, Lost>,
    ) -> Result<Poll<Next>, Trouble> {
        if matches!(self.flow, Flow::Broken { .. } | Flow::Shut) {
            return Ok(Poll::Pending);
        }
        if self.flush(cx)?.is_pending() {
            return self.source_is_there();
        }
        let kept = std::mem::take(self.kept);
        let (used, next) =
            scratch::lend(|scratch| self.deal(cx, &kept, &mut scratch.sealed, watch, step))?;
        *self.kept = kept.get(used..).unwrap_or_default().to_vec();
        if next == Next::Wait {
            return self.source_is_there().map(|_| Poll::Ready(Next::Wait));
        }
        if *self.flow == Flow::Eof {
            return self.end(cx, direction);
        }
        if self.flush(cx)?.is_pending() {
            return self.source_is_there();
        }
        scratch::lend(|scratch| {
            let filled = match self.source.poll_fill(cx, usize::MAX, scratch) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(filled) => filled.map_err(|e| Trouble::Fault(Fault::Source(e)))?,
            };
            let scratch::Scratch { read, sealed, opened } = scratch;
            let plain = filled.within(read, opened);
            if plain.is_empty() {
                if direction == Direction::Up {
                    self.sink.queue_close_with(sealed);
                }
                *self.flow = Flow::Eof;
                return Ok(Poll::Ready(Next::Read));
            }
            watch.relayed(direction, plain.len());
            let (used, next) = self.deal(cx, plain, sealed, watch, step)?;
            *self.kept = plain.get(used..).unwrap_or_default().to_vec();
            Ok(Poll::Ready(next))
        })
    }

    /// Passes on what may go on. Bytes that follow one another go in one write.
    fn deal(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        sealed: &mut Outgoing,
        watch: &impl Watch,
        step: &mut impl FnMut(&[u8]) -> Result<Step, Lost>,
    ) -> Result<(usize, Next), Trouble> {
        let (mut from, mut at) = (0, 0);
        loop {
            let next = step(bytes.get(at..).unwrap_or_default()).map_err(Trouble::Lost)?;
            if let Step::Pass(count) = next {
                at += count;
                continue;
            }
            let run = bytes.get(from..at).unwrap_or_default();
            self.send(cx, run, sealed)?;
            match next {
                Step::Event(Event::Changed(changed)) => watch.changed(&changed),
                Step::Event(Event::Farewell) => *self.goodbye = Goodbye::Said,
                Step::Pass(_) => {}
                Step::Read => return Ok((at, Next::Read)),
                Step::Take(count) => at += count,
                Step::Wait => return Ok((at, Next::Wait)),
                Step::Write(words) => self.send(cx, &words, sealed)?,
            }
            from = at;
        }
    }

    fn send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        sealed: &mut Outgoing,
    ) -> Result<(), Trouble> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.sink.push(cx, bytes, sealed).map_err(|error| Trouble::Fault(Fault::Sink(error)))
    }

    /// A source that is not read now is asked whether it was reset meanwhile.
    fn source_is_there(&self) -> Result<Poll<Next>, Trouble> {
        match self.source.take_error() {
            Some(error) => Err(Trouble::Fault(Fault::Source(error))),
            None => Ok(Poll::Pending),
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Trouble> {
        poll(self.sink.poll_flush(cx))
    }

    fn end(&mut self, cx: &mut Context<'_>, direction: Direction) -> Result<Poll<Next>, Trouble> {
        if poll(poll_end(cx, direction, self.sink))?.is_ready() {
            *self.flow = Flow::Shut;
        }
        Ok(Poll::Pending)
    }
}

fn poll(result: Poll<io::Result<()>>) -> Result<Poll<()>, Trouble> {
    match result {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
        Poll::Ready(Err(error)) => Err(Trouble::Fault(Fault::Sink(error))),
    }
}
