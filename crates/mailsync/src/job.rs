//! One pair of accounts: look, plan, act, verify, report.
//!
//! Nothing here knows how an end is reached, or who asked for the job.

mod begin;
mod finish;
mod lane;
mod look;
mod mailbox;
mod patience;
mod survey;

use std::{collections::VecDeque, time::Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::Serialize;

use self::{
    begin::{Begun, Work, begin},
    finish::finish,
    mailbox::{Outcome as MailboxOutcome, run_mailbox, set_aside},
    patience::Patience,
};
pub(crate) use self::{
    lane::{Lane, Link, Stop, hashes},
    look::{Look, Place, Remembered, ghosts, look},
};
use crate::{
    End, Fault, FaultKind, MailboxPath, Observer, Outcome, PairState, Policy, Progress, Quota,
    Report, StateError, Warning,
    apply::Context,
    report::{Cause, Counts, FailedMessage},
    sides::Side,
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

impl JobError {
    /// Whose failure it was, for those who go by it.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Left { fault, .. } => Cause::Left(fault.kind),
            Self::Right { fault, .. } => Cause::Right(fault.kind),
            Self::State(_) => Cause::State,
        }
    }
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
    pub async fn survey(&self, observer: &dyn Observer) -> Result<Survey, JobError> {
        let context = Context::new(&self.policy, &self.state, observer);
        let mut lane = Lane::new(&self.left, &self.right);
        let mut patience = Patience::new(&context);
        let survey = loop {
            match survey::survey(&mut lane, &context).await {
                Ok(survey) => break survey,
                Err(stop) => patience.bear(stop).await.map_err(|stop| self.error(stop))?,
            }
        };
        lane.close().await;
        Ok(Survey { left: self.left.name(), right: self.right.name(), ..survey })
    }

    /// Does it. The future may be dropped at any moment; the next run goes on from there.
    pub async fn run(&self, observer: &dyn Observer) -> Report {
        let started = Instant::now();
        let context = Context::new(&self.policy, &self.state, observer);
        let mut lane = Lane::new(&self.left, &self.right);
        let mut report = self.empty_report();
        match self.work(&context, &mut lane, &mut report).await {
            Ok(()) => lane.close().await,
            Err(stop) => {
                let error = self.error(stop);
                report.cause = Some(error.cause());
                report.failure = Some(error.to_string());
            }
        }
        report.mailboxes.sort_by(|one, two| one.left.cmp(&two.left));
        report.total = report
            .mailboxes
            .iter()
            .fold(Counts::default(), |total, mailbox| total.plus(&mailbox.counts));
        report.outcome = report.outcome();
        report.took = started.elapsed();
        report
    }

    async fn work<'e>(
        &'e self,
        context: &Context<'_>,
        lane: &mut Lane<'e, L, R>,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let mut patience = Patience::new(context);
        let Begun { works, failed, warnings } = loop {
            match begin(lane, context).await {
                Ok(begun) => break begun,
                Err(stop) => patience.bear(stop).await?,
            }
        };
        report.warnings.extend(warnings.into_iter().map(Warning));
        report.mailboxes.extend(failed);
        let (messages, bytes) = sizes(&works);
        let mailboxes = u64::try_from(works.len()).unwrap_or(u64::MAX);
        context.observer.see(Progress::Surveyed { mailboxes, messages, bytes });
        let (open, settled) = set_aside(context, works).await?;
        for outcome in &settled {
            context.observer.see(Progress::Finished { mailbox: &outcome.path().left });
        }
        let queue = Queue::new(open, settled);
        let more = self.policy.limits.sessions.min(queue.len()).saturating_sub(1);
        let mut others: Vec<Lane<'_, L, R>> =
            (0..more).map(|_| Lane::new(&self.left, &self.right)).collect();
        let first = std::iter::once((&mut *lane, Leave::Never));
        let lanes = first.chain(others.iter_mut().map(|lane| (lane, Leave::IfRefused)));
        join_all(lanes.map(|(lane, leave)| queue.empty(lane, context, leave))).await;
        for other in others {
            other.close().await;
        }
        let Queue { done, stop, .. } = queue;
        let done = done.into_inner();
        if let Some(stop) = stop.into_inner() {
            report.mailboxes.extend(done.into_iter().map(MailboxOutcome::into_report));
            return Err(stop);
        }
        let finished = loop {
            match finish(lane, context, &done).await {
                Ok(finished) => break finished,
                Err(stop) => patience.bear(stop).await?,
            }
        };
        report.mailboxes.extend(finished);
        Ok(())
    }

    fn empty_report(&self) -> Report {
        Report {
            left: self.left.name(),
            right: self.right.name(),
            outcome: Outcome::Failed,
            failure: None,
            cause: None,
            total: Counts::default(),
            mailboxes: Vec::new(),
            warnings: Vec::new(),
            took: std::time::Duration::ZERO,
        }
    }

    fn error(&self, stop: Stop) -> JobError {
        match stop {
            Stop::End(Side::Left, fault) => JobError::Left { end: self.left.name(), fault },
            Stop::End(Side::Right, fault) => JobError::Right { end: self.right.name(), fault },
            Stop::State(error) => JobError::State(error),
        }
    }
}

/// Whether a lane may leave its work to others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leave {
    /// When an end does not let it in.
    IfRefused,
    Never,
}

/// Mailboxes that lanes take one after the other.
struct Queue {
    todo: Mutex<VecDeque<Work>>,
    done: Mutex<Vec<MailboxOutcome>>,
    /// Why nothing more is to be begun.
    stop: Mutex<Option<Stop>>,
}

impl Queue {
    fn new(todo: Vec<Work>, done: Vec<MailboxOutcome>) -> Self {
        Self { todo: Mutex::new(todo.into()), done: Mutex::new(done), stop: Mutex::default() }
    }

    fn len(&self) -> usize {
        self.todo.lock().len()
    }

    fn next(&self) -> Option<Work> {
        let stopped = self.stop.lock().is_some();
        if stopped { None } else { self.todo.lock().pop_front() }
    }

    async fn empty<L: End, R: End>(
        &self,
        lane: &mut Lane<'_, L, R>,
        context: &Context<'_>,
        may_leave: Leave,
    ) {
        // Without it the others do its work.
        if may_leave == Leave::IfRefused && !lane.can_open().await {
            return;
        }
        while let Some(work) = self.next() {
            let (outcome, stop) = run_mailbox(lane, context, work).await;
            context.observer.see(Progress::Finished { mailbox: &outcome.path().left });
            self.done.lock().push(outcome);
            if let Some(stop) = stop {
                self.stop.lock().get_or_insert(stop);
            }
        }
    }
}

/// Messages and bytes on the left, as far as it says.
fn sizes(works: &[Work]) -> (u64, Option<u64>) {
    let statuses = || works.iter().filter_map(|work| work.status.left);
    let messages = statuses().map(|status| u64::from(status.messages)).sum();
    (messages, statuses().map(|status| status.size).sum())
}

/// Whether it concerns more than one mailbox.
fn is_fatal(stop: &Stop) -> bool {
    match stop {
        Stop::State(_) => true,
        Stop::End(_, fault) => {
            use FaultKind::{Access, Disk, Full, Refusals, Tls};
            matches!(fault.kind, Access | Disk | Full | Refusals | Tls)
        }
    }
}
