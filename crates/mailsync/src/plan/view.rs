//! All messages of a mailbox, from what an end told and what we remember.
//!
//! Nothing here is believed that does not add up: then the end is asked for all.

use std::collections::BTreeMap;

use super::{Row, Seen};
use crate::{
    Message, Uid,
    sides::Side,
    snapshot::{Listing, Told, Vanished},
};

/// What an end has now. None if the changes it told do not lead from what we remember to as many messages as
/// it says it has.
pub(crate) fn expand(
    rows: &[Row],
    side: Side,
    listing: Listing,
    append_limit: Option<u64>,
) -> Option<Seen> {
    let told = match listing.told {
        Told::All(messages) => with_sizes(rows, side, messages),
        Told::Changes { changed, gone } => follow(rows, side, changed, &gone),
    };
    let count = u32::try_from(told.len()).unwrap_or(u32::MAX);
    (count == listing.messages).then_some(Seen {
        uid_validity: listing.uid_validity,
        messages: told,
        holdable: listing.holdable,
        read_only: listing.read_only,
        append_limit,
        doubt: None,
    })
}

/// Adds sizes that the end was not asked for. What else we know of a message is only true if its UID still means
/// it, which nobody has looked into yet.
fn with_sizes(rows: &[Row], side: Side, mut messages: Vec<Message>) -> Vec<Message> {
    let known: BTreeMap<Uid, &Row> =
        rows.iter().filter_map(|row| Some(((*row.uids.of(side))?, row))).collect();
    for message in &mut messages {
        if let Some(row) = known.get(&message.uid) {
            message.size = message.size.or(row.facts.size);
        }
    }
    messages
}

fn follow(rows: &[Row], side: Side, changed: Vec<Message>, gone: &Vanished) -> Vec<Message> {
    let is_gone = |uid: Uid| match gone {
        Vanished::These(ranges) => ranges.iter().any(|range| range.contains(&uid.get())),
        Vanished::AllBut(ranges) => !ranges.iter().any(|range| range.contains(&uid.get())),
    };
    let remembered = rows.iter().filter_map(|row| {
        let uid = (*row.uids.of(side))?;
        let message = Message {
            uid,
            flags: row.flags.clone(),
            size: row.facts.size,
            date: None,
            fingerprint: row.facts.fingerprint,
            body: None,
        };
        Some((uid, message))
    });
    let mut messages: BTreeMap<Uid, Message> = remembered.collect();
    for mut message in changed {
        if let Some(known) = messages.get(&message.uid) {
            message.size = message.size.or(known.size);
        }
        messages.insert(message.uid, message);
    }
    messages.retain(|uid, _| !is_gone(*uid));
    messages.into_values().collect()
}
