//! Which mailboxes there are, and those that have to be made.
//!
//! Nothing here looks at messages.

use super::{Lane, Stop};
use crate::{
    End, FaultKind, Overview, RawName, Status, Warning,
    apply::{Context, Mailbox},
    plan::{MailboxPair, MailboxPlan, plan_mailboxes},
    report::{Counts, MailboxReport},
    sides::{Both, Side},
    state::record,
};

/// What is to be done.
pub(super) struct Begun {
    pub(super) works: Vec<Work>,
    /// Mailboxes that cannot be made.
    pub(super) failed: Vec<MailboxReport>,
    pub(super) warnings: Vec<String>,
}

/// A mailbox on both ends.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) mailbox: Mailbox,
    /// Its figures before anything was done; none of one that was made now.
    pub(crate) status: Both<Option<Status>>,
}

/// Looks at both ends and plans their mailboxes.
pub(super) async fn plan<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
) -> Result<(Both<Overview>, MailboxPlan), Stop> {
    let overviews = lane.overviews().await?;
    let known = context.state.write(record::mailboxes).await?;
    let plan = plan_mailboxes(&known, &overviews.left, &overviews.right, context.policy);
    Ok((overviews, plan))
}

/// Makes the mailboxes that are missing.
pub(super) async fn begin<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
) -> Result<Begun, Stop> {
    let (_, plan) = plan(lane, context).await?;
    let mut begun = Begun { works: Vec::new(), failed: Vec::new(), warnings: plan.warnings };
    for pair in plan.pairs {
        match make(lane, context, &pair).await {
            Ok(work) => begun.works.push(work),
            Err(Stop::End(_, fault)) if fault.kind == FaultKind::Mailbox => {
                begun.failed.push(failed(&pair, fault.said));
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(begun)
}

async fn make<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    pair: &MailboxPair,
) -> Result<Work, Stop> {
    let left = make_on(lane, pair, Side::Left).await?;
    let right = make_on(lane, pair, Side::Right).await?;
    let raw = Both { left, right };
    for side in Side::BOTH {
        if *pair.subscribe.of(side) {
            lane.subscribe(side, raw.of(side)).await?;
        }
    }
    let (known, names, path) = (pair.known, raw.clone(), pair.path.clone());
    let write = context.state.write(move |tx| record::save_mailbox(tx, known, &names, &path));
    let id = write.await?;
    let status = |side: Side| pair.there.of(side).as_ref().and_then(|mailbox| mailbox.status);
    Ok(Work {
        mailbox: Mailbox { id, raw, path: pair.path.clone() },
        status: Both { left: status(Side::Left), right: status(Side::Right) },
    })
}

async fn make_on<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    pair: &MailboxPair,
    side: Side,
) -> Result<RawName, Stop> {
    match pair.there.of(side) {
        Some(mailbox) => Ok(mailbox.raw.clone()),
        None => lane.create(side, pair.path.of(side), pair.special_use).await,
    }
}

fn failed(pair: &MailboxPair, said: String) -> MailboxReport {
    MailboxReport {
        left: pair.path.left.clone(),
        right: pair.path.right.clone(),
        counts: Counts::default(),
        digest: String::new(),
        failed: Vec::new(),
        warnings: Vec::<Warning>::new(),
        failure: Some(said),
    }
}
