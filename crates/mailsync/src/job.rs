//! One pair of accounts: look, plan, act, verify, report.
//!
//! Nothing here knows how an end is reached, or who asked for the job.

use serde::Serialize;

use crate::{
    End, Fault, MailboxPath, Observer, PairState, Policy, Quota, Report, StateError, Warning,
    report::FailedMessage,
};

/// One pair of accounts and what is to be done with it. Only one process at a time has the pair, for it has
/// its [`PairState`].
#[derive(Debug)]
pub struct Job<L, R> {
    left: L,
    right: R,
    policy: Policy,
    state: PairState,
}

/// Why a job could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The end on the left.
    #[error("{end}: {fault}")]
    Left {
        /// Its name.
        end: String,
        /// What it did.
        #[source]
        fault: Fault,
    },
    /// The end on the right.
    #[error("{end}: {fault}")]
    Right {
        /// Its name.
        end: String,
        /// What it did.
        #[source]
        fault: Fault,
    },
    /// Our own memory.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// The end on the left.
    pub left: String,
    /// The end on the right.
    pub right: String,
    /// What the right end says of its room.
    pub quota: Option<Quota>,
    /// The largest message that the right end takes, where it says.
    pub append_limit: Option<u64>,
    /// Each selected mailbox, in the order of their paths.
    pub mailboxes: Vec<SurveyedMailbox>,
    /// Collisions, names that had to be changed, mailboxes left out, lack of room.
    pub warnings: Vec<Warning>,
}

/// What a run would do in one mailbox.
#[derive(Clone, Debug, Serialize)]
pub struct SurveyedMailbox {
    /// Its path on the left.
    pub left: MailboxPath,
    /// Its path on the right.
    pub right: MailboxPath,
    /// Whether it has to be created on the right.
    pub create: bool,
    /// Messages on the left.
    pub messages: u64,
    /// Messages to copy.
    pub copy: u64,
    /// Their bytes, as far as the end says.
    pub copy_bytes: u64,
    /// Messages found on both ends without copying.
    pub adopt: u64,
    /// Messages left behind because the selection says so.
    pub skip: u64,
    /// Messages whose flags would be changed.
    pub flag: u64,
    /// Messages that would be deleted.
    pub delete: u64,
    /// Messages that would be deleted but for a guard.
    pub held: u64,
    /// Messages that the right end says it would refuse.
    pub refused: Vec<FailedMessage>,
    /// Anything else worth knowing, such as keywords that the right end does not keep.
    pub warnings: Vec<Warning>,
}

impl<L: End, R: End> Job<L, R> {
    /// A job that may begin.
    pub fn new(left: L, right: R, policy: Policy, state: PairState) -> Self {
        Self { left, right, policy, state }
    }

    /// Looks at both ends and says what a run would do. Changes nothing on either.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn survey(&self, observer: &dyn Observer) -> Result<Survey, JobError>;

    /// Does it. The future may be dropped at any moment; the next run goes on from there.
    pub async fn run(&self, observer: &dyn Observer) -> Report;
}
