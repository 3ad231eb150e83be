//! The life of one mailbox in a run: what was cut off before, look, plan, act, remember; and again if a
//! connection was lost on the way.
//!
//! Nothing here is kept between two attempts but what is on disk.

use super::{Lane, Look, Patience, Place, Remembered, Stop, Work, is_fatal, look};
use crate::{
    End, MailboxPath, Mark, Policy, Progress, Status, Warning,
    apply::{Broken, Context, Done, apply, recover},
    report::{Counts, MailboxReport},
    sides::{Both, Side},
    state::{MailboxMemory, Summary, record},
};

/// What came of a mailbox.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) work: Work,
    pub(super) done: Done,
    /// What both ends hold, as far as we know; none if it was not brought to an end.
    pub(super) summary: Option<Summary>,
    /// How far each end was seen; none if nothing had changed since the last run.
    pub(super) seen: Option<Both<Option<Mark>>>,
    pub(super) failure: Option<String>,
}

impl Outcome {
    pub(super) fn path(&self) -> &Both<MailboxPath> {
        &self.work.mailbox.path
    }

    /// As far as is known without looking at the ends again.
    pub(super) fn into_report(self) -> MailboxReport {
        self.report()
    }

    pub(super) fn report(&self) -> MailboxReport {
        let summary = self.summary.clone().unwrap_or_default();
        let mut counts = self.done.counts;
        let new = counts.copied + counts.adopted;
        counts.known = summary.done.saturating_sub(new);
        (counts.failed, counts.skipped) = (summary.failed, summary.skipped);
        (counts.gone, counts.left, counts.right) = (summary.gone, summary.left, summary.right);
        let path = self.path();
        MailboxReport {
            left: path.left.clone(),
            right: path.right.clone(),
            counts: Counts { ..counts },
            digest: summary.digest,
            failed: self.done.failed.clone(),
            warnings: self.done.warnings.iter().cloned().map(Warning).collect(),
            failure: self.failure.clone(),
        }
    }
}

/// Brings one mailbox to an end. What concerns others too is given back.
pub(super) async fn run_mailbox<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    work: Work,
) -> (Outcome, Option<Stop>) {
    let mut done = Done::default();
    let mut patience = Patience::new(context);
    let mut steps = 0;
    let stop = loop {
        let stop = match pass(lane, context, &work, &mut done).await {
            Ok((summary, seen)) => {
                let summary = Some(summary);
                return (Outcome { work, done, summary, seen, failure: None }, None);
            }
            Err(stop) => stop,
        };
        if done.steps > steps {
            steps = done.steps;
            patience.renew();
        }
        if let Err(stop) = patience.bear(stop).await {
            break stop;
        }
    };
    let failure = Some(match &stop {
        Stop::End(_, fault) => fault.said.clone(),
        Stop::State(error) => error.to_string(),
    });
    let fatal = is_fatal(&stop).then_some(stop);
    (Outcome { work, done, summary: None, seen: None, failure }, fatal)
}

type Passed = (Summary, Option<Both<Option<Mark>>>);

async fn pass<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    work: &Work,
    done: &mut Done,
) -> Result<Passed, Stop> {
    let selection = selection(context.policy);
    let mut known = remembered(context, work.mailbox.id).await?;
    if known.intents.iter().any(|intent| intent.looked == 0) {
        recover_both(lane, context, work, &known, done).await?;
        known = remembered(context, work.mailbox.id).await?;
    }
    forget_what_counts_no_more(&mut known, selection);
    let filled = Side::BOTH
        .into_iter()
        .all(|side| work.status.of(side).is_some_and(|status| status.messages > 0));
    let Both { left, right } = work.mailbox.raw.clone();
    let place = Place { raw: Both { left: Some(left), right: Some(right) }, filled };
    let seen = look(lane, &place, &known, context.policy).await?;
    let mailbox = &work.mailbox.path.left;
    let (messages, bytes) = to_copy(&seen);
    context.observer.see(Progress::Planned { mailbox, messages, bytes });
    apply(lane, context, &work.mailbox, &known, &seen, done).await?;
    let summary = remember(context, work.mailbox.id, &seen, selection).await?;
    Ok((summary, Some(seen.marks)))
}

/// Sets mailboxes aside in which nothing has happened since the last run: for them nobody has to connect.
pub(super) async fn set_aside(
    context: &Context<'_>,
    works: Vec<Work>,
) -> Result<(Vec<Work>, Vec<Outcome>), Stop> {
    let selection = selection(context.policy);
    let (mut open, mut done) = (Vec::new(), Vec::new());
    for work in works {
        match untouched(context, &work, selection).await? {
            None => open.push(work),
            summary => done.push(Outcome {
                work,
                done: Done::default(),
                summary,
                seen: None,
                failure: None,
            }),
        }
    }
    Ok((open, done))
}

/// What the rows came to, if nothing has happened since they were written.
async fn untouched(
    context: &Context<'_>,
    work: &Work,
    selection: [u8; 16],
) -> Result<Option<Summary>, Stop> {
    let id = work.mailbox.id;
    let read =
        context.state.write(move |tx| Ok((record::memory(tx, id)?, record::has_intents(tx, id)?)));
    let (memory, has_intents) = read.await?;
    let MailboxMemory { marks, selection: before, summary, suspended, .. } = memory;
    // Flags of the right end do not count where nothing goes back from it.
    let back = context.policy.right_to_left;
    let one_way = !back.copy && !back.flags;
    let same = is_same(marks.left, work.status.left, false)
        && is_same(marks.right, work.status.right, one_way);
    let nothing_open = !has_intents && before == Some(selection) && suspended.is_none();
    let settled = |summary: &Summary| same && nothing_open && summary.failed == 0;
    Ok(summary.filter(settled))
}

fn is_same(mark: Option<Mark>, status: Option<Status>, without_flags: bool) -> bool {
    let Some((mark, status)) = mark.zip(status) else { return false };
    let modseq = status.highest_modseq;
    mark.uid_validity == status.uid_validity
        && Some(mark.uid_next) == status.uid_next
        && mark.messages == status.messages
        && (without_flags || (modseq.is_some() && mark.highest_modseq == modseq))
}

async fn remembered(context: &Context<'_>, mailbox: i64) -> Result<Remembered, Stop> {
    let read = context.state.write(move |tx| {
        Ok(Remembered {
            memory: record::memory(tx, mailbox)?,
            rows: record::rows(tx, mailbox)?,
            intents: record::intents(tx, mailbox)?,
        })
    });
    Ok(read.await?)
}

async fn recover_both<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    work: &Work,
    known: &Remembered,
    done: &mut Done,
) -> Result<(), Stop> {
    let mailbox = &work.mailbox;
    for side in Side::BOTH {
        if !known.intents.iter().any(|intent| intent.looked == 0 && intent.to == side) {
            continue;
        }
        let at = |fault| Stop::End(side, fault);
        let recovered = match side {
            Side::Left => {
                let session = lane.left.session().await.map_err(at)?;
                recover(session, context, mailbox, side, known, done).await
            }
            Side::Right => {
                let session = lane.right.session().await.map_err(at)?;
                recover(session, context, mailbox, side, known, done).await
            }
        };
        match recovered {
            Ok(()) => {}
            Err(Broken::State(error)) => return Err(Stop::State(error)),
            Err(Broken::End(fault)) => {
                let lost = match side {
                    Side::Left => lane.left.keep::<()>(Err(fault)),
                    Side::Right => lane.right.keep(Err(fault)),
                };
                lost.map_err(at)?;
            }
        }
    }
    Ok(())
}

/// Another selection, and what failed, want to see all messages again.
fn forget_what_counts_no_more(known: &mut Remembered, selection: [u8; 16]) {
    let memory = &mut known.memory;
    let failed = known.rows.iter().any(|row| row.standing == crate::plan::Standing::Failed);
    if memory.selection != Some(selection) {
        known.rows.retain(|row| row.standing != crate::plan::Standing::Skipped);
    }
    if failed || memory.selection != Some(selection) {
        memory.marks = Both::default();
    }
}

async fn remember(
    context: &Context<'_>,
    mailbox: i64,
    seen: &Look,
    selection: [u8; 16],
) -> Result<Summary, Stop> {
    let plan = &seen.plan;
    // What was held comes up again only if all is listed again.
    let marks = if plan.held > 0 { Both::default() } else { seen.marks };
    let validity =
        Both { left: Some(seen.seen.left.uid_validity), right: Some(seen.seen.right.uid_validity) };
    let suspended = plan.suspend.clone();
    let write = context.state.write(move |tx| {
        let summary = record::summary(tx, mailbox)?;
        let memory = MailboxMemory {
            validity,
            marks,
            selection: Some(selection),
            suspended,
            summary: Some(summary.clone()),
        };
        record::save_memory(tx, mailbox, &memory)?;
        Ok(summary)
    });
    Ok(write.await?)
}

/// What a plan depends on besides the ends.
fn selection(policy: &Policy) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    let Policy { left_to_right, right_to_left, selection, marked_deleted, gone, .. } = policy;
    let text = format!("{left_to_right:?}{right_to_left:?}{selection:?}{marked_deleted:?}{gone:?}");
    hasher.update(text.as_bytes());
    crate::identity::half(&hasher)
}

pub(super) fn to_copy(look: &Look) -> (u64, u64) {
    let mut sum = (0, 0);
    for side in Side::BOTH {
        let (uids, seen) = (look.plan.copy.of(side), look.seen.of(side));
        for message in &seen.messages {
            if uids.binary_search(&message.uid).is_ok() {
                sum = (sum.0 + 1, sum.1 + message.size.unwrap_or_default());
            }
        }
    }
    sum
}
