//! What a run would do.
//!
//! Nothing here changes an end or is remembered.

use super::{Lane, Look, Place, Remembered, Stop, Survey, SurveyedMailbox, begin, look};
use crate::{
    End, Progress, Warning,
    apply::Context,
    plan::{MailboxPair, Standing},
    report::FailedMessage,
    sides::{Both, Side},
    state::record,
};

/// Looks at both ends. The names are left empty.
pub(super) async fn survey<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
) -> Result<Survey, Stop> {
    let (overviews, plan) = begin::plan(lane, context).await?;
    let append_limit = lane.abilities(Side::Right).await?.append_limit;
    let mut survey = Survey {
        left: String::new(),
        right: String::new(),
        quota: overviews.right.quota,
        append_limit,
        mailboxes: Vec::new(),
        warnings: plan.warnings.into_iter().map(Warning).collect(),
    };
    for pair in &plan.pairs {
        let surveyed = survey_mailbox(lane, context, pair).await?;
        let (messages, bytes) = (surveyed.copy, surveyed.copy_bytes);
        let mailbox = &pair.path.left;
        context.observer.see(Progress::Planned { mailbox, messages, bytes });
        survey.mailboxes.push(surveyed);
    }
    let bytes: u64 = survey.mailboxes.iter().map(|mailbox| mailbox.copy_bytes).sum();
    if let Some(quota) = survey.quota
        && quota.limit.saturating_sub(quota.used) < bytes
    {
        let room = quota.limit.saturating_sub(quota.used);
        let said = format!("{bytes} bytes are to be copied, and the right end has room for {room}");
        survey.warnings.push(Warning(said));
    }
    Ok(survey)
}

async fn survey_mailbox<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    pair: &MailboxPair,
) -> Result<SurveyedMailbox, Stop> {
    let known = match pair.known {
        None => Remembered::default(),
        Some(id) => {
            let read = context.state.write(move |tx| {
                Ok(Remembered {
                    memory: record::memory(tx, id)?,
                    rows: record::rows(tx, id)?,
                    intents: record::intents(tx, id)?,
                })
            });
            read.await?
        }
    };
    let raw = |side: Side| pair.there.of(side).as_ref().map(|mailbox| mailbox.raw.clone());
    let filled = Side::BOTH.into_iter().all(|side| {
        let status = pair.there.of(side).as_ref().and_then(|mailbox| mailbox.status);
        status.is_some_and(|status| status.messages > 0)
    });
    let place = Place { raw: Both { left: raw(Side::Left), right: raw(Side::Right) }, filled };
    let seen = look(lane, &place, &known, context.policy).await?;
    Ok(surveyed(pair, &seen))
}

fn surveyed(pair: &MailboxPair, look: &Look) -> SurveyedMailbox {
    let plan = &look.plan;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let both = |of: &dyn Fn(Side) -> usize| count(of(Side::Left) + of(Side::Right));
    let (copy, copy_bytes) = super::mailbox::to_copy(look);
    let refused = plan.too_large.left.iter().map(|(uid, size)| FailedMessage {
        uid: uid.get(),
        size: *size,
        said: "larger than the right end takes".to_owned(),
    });
    let mut warnings: Vec<Warning> = plan.warnings.iter().cloned().map(Warning).collect();
    if !plan.not_kept.is_empty() {
        let flags = &plan.not_kept;
        warnings.push(Warning(format!("flags that the other end does not keep: {flags}")));
    }
    let skipped = plan.single.left.iter().filter(|(_, standing)| *standing == Standing::Skipped);
    SurveyedMailbox {
        left: pair.path.left.clone(),
        right: pair.path.right.clone(),
        create: pair.there.right.is_none(),
        messages: count(look.seen.left.messages.len()),
        copy,
        copy_bytes,
        adopt: count(plan.adopt.len()),
        skip: count(skipped.count()),
        flag: both(&|side| plan.store.of(side).values().map(Vec::len).sum()),
        delete: both(&|side| plan.delete.of(side).len()),
        held: plan.held,
        refused: refused.collect(),
        warnings,
    }
}
