//! The framed relay: bytes both ways as in the blind one, but it knows where commands and responses
//! begin and end, can say goodbye between two of them, and can be held there.
//!
//! What the lines mean stays unknown here: the framer is asked, step by step.

use std::{
    io,
    task::{Context, Poll},
};

use model::Reason;
use proto::relay::{Event, Framer, Lost, Step};

use super::{Direction, Fault, Flow, ROUNDS, Standing, Watch, end_of, poll_end};
use crate::{
    Stream,
    scratch::{self, Outgoing},
};

/// What a framed relay has beyond a blind one.
pub(super) struct Framing {
    framer: Framer,
    /// Bytes of the client that may not go on yet: less than was read at once.
    up: Vec<u8>,
    /// Bytes of the back end that may not go on yet.
    down: Vec<u8>,
    goodbye: Goodbye,
    /// How far it has come to a hold, as its watcher knows.
    standing: Standing,
}

/// Whether the client is told why its session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Goodbye {
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
    /// Whether the source has been found reset while writing to it.
    was_reset: bool,
    kept: &'l mut Vec<u8>,
    /// Whether nothing is kept, and the framer has said since that it needs more bytes.
    settled: bool,
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
    /// With what was read before, which the framer has yet to see.
    pub(super) fn new(framer: Framer, from_client: Vec<u8>, from_backend: Vec<u8>) -> Self {
        Self {
            framer,
            up: from_client,
            down: from_backend,
            goodbye: Goodbye::No,
            standing: Standing::Moving,
        }
    }

    /// Wants the client told why its session ends.
    pub(super) fn ask_goodbye(&mut self, reason: Reason) {
        self.framer.say_goodbye(reason);
        self.goodbye = Goodbye::Asked;
    }

    /// Whether the client was to be told and has not been.
    pub(super) fn has_yet_to_say_goodbye(&self) -> bool {
        self.goodbye == Goodbye::Asked
    }

    /// Whether a mailbox may have been changed by a command that was not answered.
    pub(super) fn may_have_changed(&self) -> bool {
        self.framer.may_have_changed()
    }

    /// Moves what can be moved, unless it is held.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        sides: &mut Sides<'_>,
        watch: &impl Watch,
    ) -> Result<(), (Direction, Trouble)> {
        let wanted = watch.wants_hold();
        let held = wanted && !self.framer.is_doubtful();
        if held {
            self.framer.hold()
        } else {
            self.framer.release()
        }
        if held && self.standing == Standing::Held && self.goodbye == Goodbye::No {
            watch.stands(Standing::Held);
            return sides.are_there();
        }
        self.pump_both(cx, sides, watch)?;
        let standing = if wanted { self.come_to_stand(sides) } else { Standing::Moving };
        if wanted || standing != self.standing {
            self.standing = standing;
            watch.stands(standing);
        }
        Ok(())
    }

    /// Moves what can be moved. An answer may unblock the client, so that up is tried again after down
    /// has moved.
    fn pump_both(
        &mut self,
        cx: &mut Context<'_>,
        sides: &mut Sides<'_>,
        watch: &impl Watch,
    ) -> Result<(), (Direction, Trouble)> {
        for _ in 0..ROUNDS {
            let Self { framer, up, down, goodbye, .. } = self;
            let was_reset = *sides.up == Flow::Broken { reset: true };
            let lane = Lane {
                source: &mut *sides.client,
                sink: &mut *sides.backend,
                flow: &mut *sides.up,
                was_reset: false,
                kept: up,
                settled: false,
                goodbye: &mut *goodbye,
            };
            let (_, waiting) = lane
                .pump(cx, Direction::Up, watch, |bytes| framer.up(bytes))
                .map_err(|trouble| (Direction::Up, trouble))?;
            let lane = Lane {
                source: &mut *sides.backend,
                sink: &mut *sides.client,
                flow: &mut *sides.down,
                was_reset,
                kept: down,
                settled: false,
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

    /// How far it has come to a hold that is wanted.
    fn come_to_stand(&self, sides: &Sides<'_>) -> Standing {
        if self.framer.is_doubtful() {
            Standing::Doubtful
        } else if self.framer.at_boundary() && self.down.is_empty() && sides.have_got_all() {
            Standing::Held
        } else {
            Standing::Moving
        }
    }
}

impl Sides<'_> {
    /// Whether neither has ended, and each has got all that was to go to it.
    fn have_got_all(&self) -> bool {
        let open = *self.up == Flow::Held && *self.down == Flow::Held;
        open && !self.client.has_unsent() && !self.backend.has_unsent()
    }

    /// Sides that are not read are asked whether they were reset meanwhile.
    fn are_there(&self) -> Result<(), (Direction, Trouble)> {
        for (source, direction) in
            [(&*self.client, Direction::Up), (&*self.backend, Direction::Down)]
        {
            if let Some(error) = source.take_error() {
                return Err((direction, Trouble::Fault(Fault::Source(error))));
            }
        }
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
        if !self.settled {
            let kept = std::mem::take(self.kept);
            let (used, next) =
                scratch::lend(|scratch| self.deal(cx, &kept, &mut scratch.sealed, watch, step))?;
            *self.kept = kept.get(used..).unwrap_or_default().to_vec();
            if next == Next::Wait {
                return self.source_is_there().map(|_| Poll::Ready(Next::Wait));
            }
            if self.flush(cx)?.is_pending() {
                return self.source_is_there();
            }
        }
        if *self.flow == Flow::Eof {
            return self.end(cx, direction);
        }
        scratch::lend(|scratch| {
            let filled = match self.source.poll_fill(cx, usize::MAX, scratch) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(filled) => filled.map_err(|e| Trouble::Fault(Fault::Source(e)))?,
            };
            let scratch::Scratch { read, sealed, opened } = scratch;
            let plain = filled.within(read, opened);
            if plain.is_empty() {
                end_of(self.source, self.was_reset).map_err(Trouble::Fault)?;
                if direction == Direction::Up {
                    self.sink.queue_close_with(sealed);
                }
                *self.flow = Flow::Eof;
                return Ok(Poll::Ready(Next::Read));
            }
            watch.relayed(direction, plain.len());
            let (used, next) = self.deal(cx, plain, sealed, watch, step)?;
            *self.kept = plain.get(used..).unwrap_or_default().to_vec();
            self.settled = next == Next::Read && self.kept.is_empty();
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
