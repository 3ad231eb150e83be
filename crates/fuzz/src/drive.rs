//! Drives any machine without IO and keeps what it did.
//!
//! Nothing here knows what the machine's events mean.

use proto::{Machine, Step};

/// More steps than any stream can need: each byte asks for a few at most.
const STEPS_BESIDE_BYTES: usize = 1000;

/// How the owner takes an event.
pub(crate) enum Taken<A> {
    /// It needs no answer.
    Noted,
    /// It is answered so.
    Answered(A),
    /// It is answered so, and what comes afterwards is not the machine's.
    AnsweredLast(A),
    /// Nothing follows.
    Last,
}

/// A machine and what it did so far.
pub(crate) struct Driver<M> {
    pub(crate) machine: M,
    /// Events as text, and how many bytes had been written by then.
    pub(crate) events: Vec<(String, usize)>,
    pub(crate) written: Vec<u8>,
    /// What came when the machine was done.
    pub(crate) unfed: Vec<u8>,
    ended: bool,
}

impl<M: Machine> Driver<M> {
    pub(crate) fn new(machine: M) -> Self {
        Self { machine, events: Vec::new(), written: Vec::new(), unfed: Vec::new(), ended: false }
    }

    /// Feeds a stream in pieces, each when the machine wants it, until the machine is done.
    pub(crate) fn feed<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        mut owner: impl FnMut(&M::Event) -> (String, Taken<M::Answer>),
    ) {
        self.run(0, &mut owner);
        for piece in pieces {
            if self.ended {
                self.unfed.extend(piece);
            } else {
                self.machine.receive(piece);
                self.run(piece.len(), &mut owner);
            }
        }
    }

    fn run(&mut self, fed: usize, owner: &mut impl FnMut(&M::Event) -> (String, Taken<M::Answer>)) {
        for _ in 0..STEPS_BESIDE_BYTES + 10 * fed {
            match self.machine.step() {
                Step::Read => return,
                Step::Write(bytes) => {
                    assert!(!bytes.is_empty(), "a machine wants to write nothing");
                    self.written.extend(bytes);
                }
                Step::Event(event) => {
                    assert!(!self.ended, "something follows the last event");
                    let (shown, taken) = owner(&event);
                    self.events.push((shown, self.written.len()));
                    match taken {
                        Taken::Noted => {}
                        Taken::Answered(answer) => self.machine.answer(answer),
                        Taken::AnsweredLast(answer) => {
                            self.ended = true;
                            self.machine.answer(answer);
                        }
                        Taken::Last => {
                            self.ended = true;
                            return;
                        }
                    }
                }
            }
        }
        unreachable!("a machine never rests");
    }
}
