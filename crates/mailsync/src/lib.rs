//! The sync engine: what two mailboxes hold, what makes them agree, and doing that without losing or
//! doubling a message.
//!
//! Nothing here knows clients, a configuration file or HTTP. A [`Job`] looks at two [`End`]s, plans
//! ([`plan`] is pure), acts by intents that are on disk before a byte is sent, and reports. Its future may
//! be dropped at any moment: the next run finds what was done.

mod apply;
pub mod ends;
mod identity;
mod job;
mod name;
mod plan;
mod policy;
mod progress;
mod report;
mod sides;
mod snapshot;
mod state;

pub use self::{
    ends::{End, Fault, FaultKind, Session},
    identity::{BodyHash, Fingerprint, Fingerprinter},
    job::{Job, JobError, Survey, SurveyedMailbox},
    name::{MailboxPath, RawName},
    policy::{
        Deletes, Direction, Gone, Guards, Limits, Mapping, MarkedDeleted, Policy, Selection, Twins,
        Verify,
    },
    progress::{Observer, Progress},
    report::{Cause, Counts, FailedMessage, MailboxReport, Outcome, Report, Warning},
    snapshot::{
        Flags, Holdable, InternalDate, Keyword, Mailbox, Mark, Message, Overview, Quota,
        SpecialUse, Status, SystemFlag, Uid,
    },
    state::{PairState, StateError},
};
