//! The one shape of all protocol machines.

/// What a machine wants next.
#[derive(Debug, Eq, PartialEq)]
pub enum Step<E> {
    /// More bytes from the peer are needed.
    Read,
    /// These bytes are to be written to the peer, whole, before the next step.
    Write(Vec<u8>),
    /// The owner has to decide or do something. Where the event's documentation says so, the machine
    /// waits for [`Machine::answer`]; until then `step` must not be called.
    Event(E),
}

/// A side of a protocol, without IO.
///
/// The driver's loop: call [`step`](Self::step); on `Read` read from the peer and call
/// [`receive`](Self::receive); on `Write` write everything; on `Event` hand the event to the owner,
/// who calls [`answer`](Self::answer) where the event asks for one, and goes on.
pub trait Machine {
    /// What the owner has to decide or do.
    type Event;
    /// How the owner answers.
    type Answer;

    /// Takes bytes that the peer sent. They may be cut anywhere. What is kept is bounded by the
    /// machine: a driver that reads only on [`Step::Read`] never makes it grow past its limits.
    fn receive(&mut self, bytes: &[u8]);

    /// Takes the owner's answer to the last event.
    fn answer(&mut self, answer: Self::Answer);

    /// Says what is wanted next.
    fn step(&mut self) -> Step<Self::Event>;
}
