//! Framing after login: where commands and responses begin and end, so that a relay can stop there.
//!
//! Nothing here moves bytes or keeps them, beyond the few that tell one line from another. A framer
//! is shown what came from either side and says how much of it may go on as it is.

use std::fmt;

use model::{Protocol, Reason, Scope};

use crate::{farewell, imap, pop3};

/// What is to be done next with the bytes of one direction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The owner is told of something. No byte was dealt with.
    Event(Event),
    /// So many of the bytes, at least one, go on as they are. The rest is to be shown again.
    Pass(usize),
    /// Nothing is left to do before more bytes have come.
    Read,
    /// So many of the bytes, at least one, do not go on; what of them matters, the framer keeps. The
    /// rest is to be shown again.
    Take(usize),
    /// Nothing may go on now. The bytes are to be kept, no more to be read, and shown again after the
    /// other direction has moved or the hold was released.
    Wait,
    /// These go on, ahead of all bytes that have not been dealt with. No byte was dealt with.
    Write(Vec<u8>),
}

/// What the owner of a framer is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The back end has answered a command that may have changed a mailbox, and the client has been
    /// shown the answer.
    Changed(Changed),
    /// The goodbye has been written and nothing may follow it: the owner closes.
    Farewell,
}

/// What a command may have changed. Never says less than was changed, at times more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Changed {
    /// Which part of the account.
    pub scope: Scope,
    /// The mailbox that the command names, as [`model::MailboxChanged`] has it.
    pub mailbox: Option<Vec<u8>>,
}

/// Framing is lost: nobody knows any more where what begins and ends. The owner closes, or relays what
/// it holds and what comes blindly; the framer is of no more use. No byte of those shown with the call
/// that says so was dealt with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// The back end announced a literal whose size is no number of 64 bits.
    BackendLiteral,
    /// The client announced a literal whose size is no number of 64 bits.
    ClientLiteral,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BackendLiteral => "the back end announced a literal of impossible size",
            Self::ClientLiteral => "the client announced a literal of impossible size",
        })
    }
}

impl std::error::Error for Lost {}

/// The framer of a logged-in session, from the first byte behind the answer to the login.
///
/// The driver shows what it read in either direction to [`up`](Self::up) or [`down`](Self::down),
/// which ask for one step after another until they say [`Step::Read`] or [`Step::Wait`]. What has been
/// said about a byte holds no matter how the stream was cut. After one direction has moved, the other
/// is asked again, if only with what it holds or with nothing: an answer may unblock the client, and
/// a command may have been answered by the framer itself.
///
/// What it does beyond following: IMAP's COMPRESS and UNAUTHENTICATE do not reach the back end but are
/// refused, and are struck from the capabilities that the back end lists, for nobody could follow
/// the stream behind them.
#[derive(Clone, Debug)]
pub enum Framer {
    /// IMAP.
    Imap(Box<imap::relay::Relay>),
    /// POP3.
    Pop3(Box<pop3::relay::Relay>),
}

impl Framer {
    /// Makes the framer for a session that has just logged in.
    pub fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Imap => Self::Imap(Box::default()),
            Protocol::Pop3 => Self::Pop3(Box::default()),
        }
    }

    /// What is to be done with bytes from the client.
    ///
    /// Where the client ends within the beginning of a command, that beginning is never passed on.
    ///
    /// # Errors
    /// When the bytes are such that framing is lost.
    pub fn up(&mut self, bytes: &[u8]) -> Result<Step, Lost> {
        match self {
            Self::Imap(relay) => relay.up(bytes),
            Self::Pop3(relay) => Ok(relay.up(bytes)),
        }
    }

    /// What is to be done with bytes from the back end.
    ///
    /// # Errors
    /// When the bytes are such that framing is lost.
    pub fn down(&mut self, bytes: &[u8]) -> Result<Step, Lost> {
        match self {
            Self::Imap(relay) => relay.down(bytes),
            Self::Pop3(relay) => Ok(relay.down(bytes)),
        }
    }

    /// Lets the current command finish and keeps back the next: [`up`](Self::up) says [`Step::Wait`]
    /// where it would begin.
    pub fn hold(&mut self) {
        match self {
            Self::Imap(relay) => relay.hold(true),
            Self::Pop3(relay) => relay.hold(true),
        }
    }

    /// Ends the hold.
    pub fn release(&mut self) {
        match self {
            Self::Imap(relay) => relay.hold(false),
            Self::Pop3(relay) => relay.hold(false),
        }
    }

    /// Wants the client to hear the [`farewell`] for this reason where its next response may begin, whether
    /// a command is in flight or not. [`down`](Self::down) writes it there and says
    /// [`Event::Farewell`]; after that it only says [`Step::Wait`].
    pub fn say_goodbye(&mut self, reason: Reason) {
        match self {
            Self::Imap(relay) => relay.say_goodbye(farewell(Protocol::Imap, reason)),
            Self::Pop3(relay) => relay.say_goodbye(farewell(Protocol::Pop3, reason)),
        }
    }

    /// Whether a command was passed on, whole or in part, and not answered yet (IDLE: not ended).
    pub fn in_flight(&self) -> bool {
        match self {
            Self::Imap(relay) => relay.in_flight(),
            Self::Pop3(relay) => relay.in_flight(),
        }
    }

    /// Whether the back end may have changed a mailbox by a command whose answer has not been heard: what
    /// follows changes has to be told when the session ends here. Never false where it has, at times true
    /// where it has not.
    pub fn may_have_changed(&self) -> bool {
        match self {
            Self::Imap(relay) => relay.may_have_changed(),
            Self::Pop3(relay) => relay.may_have_changed(),
        }
    }

    /// Whether the session stands between a response and the next command, with nothing in flight: the
    /// place to lend the back end to somebody else or to go on with another one. Never true again once
    /// the back end has said what fits no command, for then it may understand other commands than
    /// those seen here.
    ///
    /// Speaks of the bytes that were shown; those that the driver has not delivered yet are its own.
    pub fn at_boundary(&self) -> bool {
        match self {
            Self::Imap(relay) => relay.at_boundary(),
            Self::Pop3(relay) => relay.at_boundary(),
        }
    }

    /// Whether the back end has said what fits no command, so that there is no boundary any more.
    pub fn is_doubtful(&self) -> bool {
        match self {
            Self::Imap(relay) => relay.is_doubtful(),
            Self::Pop3(relay) => relay.is_doubtful(),
        }
    }
}

/// A goodbye on its way.
#[derive(Clone, Debug, Default)]
pub(crate) enum Goodbye {
    /// Nobody asked for one.
    #[default]
    Unwanted,
    /// To be said where the next response may begin.
    Wanted(Vec<u8>),
    /// Said; the owner has yet to be told.
    Written,
    /// The owner has been told.
    Over,
}

impl Goodbye {
    /// What it wants done where a response may begin.
    pub(crate) fn step(&mut self) -> Option<Step> {
        match self {
            Self::Unwanted => None,
            Self::Wanted(words) => {
                let words = std::mem::take(words);
                *self = Self::Written;
                Some(Step::Write(words))
            }
            Self::Written => {
                *self = Self::Over;
                Some(Step::Event(Event::Farewell))
            }
            Self::Over => Some(Step::Wait),
        }
    }

    /// Whether nobody asked for one.
    pub(crate) fn is_unwanted(&self) -> bool {
        matches!(self, Self::Unwanted)
    }
}
