//! After a crash or a lost connection: what of that which was about to be sent has been stored?
//!
//! Nothing here sends anything again: what is not found is planned like any other message.

use std::collections::BTreeSet;

use super::{Broken, Context, Done, Mailbox, locate::locate};
use crate::{
    Progress, Session, Uid,
    job::Remembered,
    sides::Side,
    state::{Intent, Pairing, record},
};

/// A mailbox that never holds still, for it gets mail all the time, is not waited for longer.
const MOST_LOOKS: u32 = 6;

/// Looks up all intents of a mailbox towards one end that nobody has looked up yet.
pub(crate) async fn recover<S: Session>(
    session: &mut S,
    context: &Context<'_>,
    mailbox: &Mailbox,
    side: Side,
    known: &Remembered,
    done: &mut Done,
) -> Result<(), Broken> {
    let uids = known.rows.iter().filter_map(|row| *row.uids.of(side));
    let mut uids: BTreeSet<Uid> = uids.collect();
    for intent in known.intents.iter().filter(|i| i.looked == 0 && i.to == side) {
        recover_one(session, context, mailbox, intent, &mut uids, done).await?;
    }
    Ok(())
}

async fn recover_one<S: Session>(
    session: &mut S,
    context: &Context<'_>,
    mailbox: &Mailbox,
    intent: &Intent,
    known: &mut BTreeSet<Uid>,
    done: &mut Done,
) -> Result<(), Broken> {
    let raw = mailbox.raw.of(intent.to);
    let limits = &context.policy.limits;
    let (mut before, mut looks) = (None, 0);
    let located = loop {
        let wanted = &intent.messages;
        let located = locate(session, raw, intent.uid_next, known, wanted, limits).await;
        let located = located.map_err(Broken::End)?;
        let done = located.places.iter().all(Option::is_some);
        // The server may still be at it: it has to hold still for a while before anything counts as not
        // stored.
        let now = (located.uid_next, located.unknown);
        let still = before == Some(now) || looks >= MOST_LOOKS;
        if done || still || located.uid_validity != intent.validity {
            break located;
        }
        (before, looks) = (Some(now), looks + 1);
        tokio::time::sleep(limits.settle).await;
    };
    let id = intent.id;
    if located.uid_validity != intent.validity {
        // All UIDs are void: what was stored is found like anything else that nobody knows.
        let write = context.state.write(move |tx| record::close(tx, id));
        return write.await.map_err(Broken::State);
    }
    known.extend(located.places.iter().flatten());
    let found = intent.messages.iter().zip(&located.places);
    let pairings: Vec<(Uid, Pairing)> = found
        .filter_map(|(message, place)| Some((message.uid, message.at(intent.to, Some((*place)?)))))
        .collect();
    let messages = u64::try_from(pairings.len()).unwrap_or(u64::MAX);
    let bytes = pairings.iter().filter_map(|(_, pairing)| pairing.facts.size).sum();
    let path = &mailbox.path.left;
    let whole = pairings.len() == intent.messages.len();
    let mailbox = mailbox.id;
    let write = context.state.write(move |tx| {
        for (from, pairing) in &pairings {
            record::save_pairing(tx, mailbox, pairing)?;
            record::found(tx, id, *from)?;
        }
        if whole { record::close(tx, id) } else { record::looked(tx, id) }
    });
    write.await.map_err(Broken::State)?;
    if messages > 0 {
        done.copied(messages, bytes);
        context.observer.see(Progress::Copied { mailbox: path, messages, bytes });
    }
    Ok(())
}
