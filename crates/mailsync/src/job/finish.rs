//! Looks at both ends once more, and says whether all is there.
//!
//! Nothing here changes an end.

use std::collections::BTreeMap;

use super::{Lane, MailboxOutcome, Stop};
use crate::{
    End, Mark, RawName, Status, Uid, Verify, Warning,
    apply::{Context, Mailbox},
    ends::{Ask, Which},
    plan::{Row, Standing},
    report::{FailedMessage, MailboxReport},
    sides::{Both, Side},
    snapshot::Told,
    state::record,
};

/// The report of each mailbox.
pub(super) async fn finish<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    outcomes: &[MailboxOutcome],
) -> Result<Vec<MailboxReport>, Stop> {
    let touched = outcomes.iter().any(|outcome| outcome.seen.is_some());
    let now = if touched { Some(statuses(lane).await?) } else { None };
    let mut reports = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let mut report = outcome.report();
        if outcome.summary.is_some() && outcome.seen.is_some() {
            let names = &outcome.work.mailbox.raw;
            let status = |side: Side| now.as_ref()?.of(side).get(names.of(side)).copied();
            let status = Both { left: status(Side::Left), right: status(Side::Right) };
            compare_counts(outcome, &status, &mut report);
            keep_mark(context, outcome, status.right).await?;
        }
        let mailbox = &outcome.work.mailbox;
        if report.failure.is_none() {
            report.failed = failures(context, mailbox.id).await?;
            compare_messages(lane, context, mailbox, &mut report).await?;
        }
        reports.push(report);
    }
    Ok(reports)
}

async fn statuses<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
) -> Result<Both<BTreeMap<RawName, Status>>, Stop> {
    let Both { left, right } = lane.overviews().await?;
    let by_name = |overview: crate::Overview| {
        let mailboxes = overview.mailboxes.into_iter();
        mailboxes.filter_map(|mailbox| Some((mailbox.raw, mailbox.status?))).collect()
    };
    Ok(Both { left: by_name(left), right: by_name(right) })
}

fn compare_counts(
    outcome: &MailboxOutcome,
    status: &Both<Option<Status>>,
    report: &mut MailboxReport,
) {
    let Some(summary) = &outcome.summary else { return };
    if let Some(left) = status.left {
        let messages = u64::from(left.messages);
        let seen = outcome.seen.as_ref().and_then(|seen| seen.left);
        let moved_on = seen.is_some_and(|seen| {
            seen.messages != left.messages
                || left.uid_next.is_some_and(|next| next != seen.uid_next)
        });
        report.counts.left = messages;
        if moved_on {
            warn(report, "the mailbox has changed while it was copied: run again".to_owned());
        } else if messages != summary.left {
            let known = summary.left;
            report.failure =
                Some(format!("only {known} of {messages} messages were accounted for"));
        }
    }
    if let Some(right) = status.right {
        let messages = u64::from(right.messages);
        let expected = summary.right + summary.placeless;
        report.counts.right = messages;
        if messages < expected {
            report.failure =
                Some(format!("the right end has {messages} messages where {expected} were stored"));
        }
    }
    if summary.placeless > 0 {
        let count = summary.placeless;
        warn(report, format!("the right end does not say where it has put {count} messages"));
    }
}

/// After our own changes the right end is where it is now. It is remembered so, if nobody else has changed it,
/// and if nothing goes back from there: a change of flags that we have not seen would be lost else.
async fn keep_mark(
    context: &Context<'_>,
    outcome: &MailboxOutcome,
    status: Option<Status>,
) -> Result<(), Stop> {
    let back = context.policy.right_to_left;
    let (Some(summary), Some(status)) = (&outcome.summary, status) else { return Ok(()) };
    let Some(uid_next) = status.uid_next else { return Ok(()) };
    let is_ours = u64::from(status.messages) == summary.right && summary.placeless == 0;
    if back.copy || back.flags || !is_ours || outcome.done.counts.held > 0 {
        return Ok(());
    }
    let mark = Mark {
        uid_validity: status.uid_validity,
        uid_next,
        highest_modseq: status.highest_modseq,
        messages: status.messages,
    };
    let id = outcome.work.mailbox.id;
    let write = context.state.write(move |tx| {
        let mut memory = record::memory(tx, id)?;
        memory.marks.right = Some(mark);
        record::save_memory(tx, id, &memory)
    });
    Ok(write.await?)
}

async fn failures(context: &Context<'_>, mailbox: i64) -> Result<Vec<FailedMessage>, Stop> {
    let failed = context.state.write(move |tx| record::failed(tx, mailbox)).await?;
    let shown =
        failed.into_iter().map(|(uid, size, said)| FailedMessage { uid: uid.get(), size, said });
    Ok(shown.collect())
}

/// Compares what the policy asks for beyond the counts.
async fn compare_messages<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    mailbox: &Mailbox,
    report: &mut MailboxReport,
) -> Result<(), Stop> {
    let verify = context.policy.verify;
    if verify == Verify::Counts {
        return Ok(());
    }
    let id = mailbox.id;
    let rows = context.state.write(move |tx| record::rows(tx, id)).await?;
    let pairs: Vec<(&Row, Uid, Uid)> = (rows.iter())
        .filter(|row| row.standing == Standing::Done)
        .filter_map(|row| Some((row, row.uids.left?, row.uids.right?)))
        .collect();
    let ask = Ask { which: Which::All, fingerprints: false };
    let listings = lane.lists(&mailbox.raw, Both { left: ask, right: ask }).await?;
    let holdable = listings.right.holdable.clone();
    let Told::All(left) = listings.left.told else { return Ok(()) };
    let Told::All(right) = listings.right.told else { return Ok(()) };
    let left: BTreeMap<Uid, _> = left.into_iter().map(|m| (m.uid, m)).collect();
    let right: BTreeMap<Uid, _> = right.into_iter().map(|m| (m.uid, m)).collect();
    let (mut missing, mut sizes, mut flags) = (0_u64, 0_u64, 0_u64);
    for (row, one, two) in &pairs {
        let (Some(one), two) = (left.get(one), right.get(two)) else { continue };
        let Some(two) = two else {
            missing += 1;
            continue;
        };
        sizes += u64::from(one.size != two.size);
        let wanted = holdable.holds(&one.flags).difference(&row.unholdable.right);
        flags += u64::from(!wanted.difference(&two.flags).is_empty());
    }
    if missing > 0 {
        report.failure = Some(format!("{missing} messages are not on the right end any more"));
    }
    if sizes > 0 {
        warn(report, format!("{sizes} messages have another size on the right end"));
    }
    if flags > 0 {
        warn(report, format!("{flags} messages lack flags on the right end"));
    }
    if let Verify::Bodies(count) = verify {
        compare_bodies(lane, context, mailbox, &pairs, count, report).await?;
    }
    Ok(())
}

/// Reads some messages of both ends, spread over the mailbox.
async fn compare_bodies<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    mailbox: &Mailbox,
    pairs: &[(&Row, Uid, Uid)],
    count: u32,
    report: &mut MailboxReport,
) -> Result<(), Stop> {
    let count = usize::try_from(count).unwrap_or(usize::MAX).max(1);
    let sample: BTreeMap<Uid, Uid> = (pairs.iter())
        .step_by(pairs.len().div_ceil(count).max(1))
        .map(|(_, left, right)| (*left, *right))
        .collect();
    let limits = &context.policy.limits;
    let left: Vec<Uid> = sample.keys().copied().collect();
    let mut right: Vec<Uid> = sample.values().copied().collect();
    right.sort_unstable();
    let left = lane.hashes(Side::Left, &mailbox.raw.left, &left, limits).await?;
    let right = lane.hashes(Side::Right, &mailbox.raw.right, &right, limits).await?;
    let differ = left.iter().filter(|(uid, hash)| {
        let there = sample.get(*uid).and_then(|uid| right.get(uid));
        there.is_some_and(|there| there != *hash)
    });
    let differ = differ.count();
    if differ > 0 {
        let read = left.len();
        warn(
            report,
            format!("{differ} of {read} messages that were read have other bytes on the right end"),
        );
    }
    Ok(())
}

fn warn(report: &mut MailboxReport, warning: String) {
    report.warnings.push(Warning(warning));
}
