//! Finds messages again that were sent to an end, where it does not say, or nobody has heard, where they are.
//!
//! Nothing here sends anything.

use std::collections::BTreeSet;

use crate::{
    Fault, Flags, Limits, Message, RawName, Session, Uid,
    ends::{Ask, Which},
    identity::{Bytes, match_up},
    job::hashes,
    snapshot::Told,
    state::Intended,
};

/// What was found.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) uid_validity: u32,
    pub(super) uid_next: Uid,
    /// Where each of the messages is, in their order.
    pub(super) places: Vec<Option<Uid>>,
    /// How many messages there were that nobody knew.
    pub(super) unknown: usize,
}

/// Looks from a UID on for messages that nobody knows yet.
pub(super) async fn locate<S: Session>(
    session: &mut S,
    mailbox: &RawName,
    from: Uid,
    known: &BTreeSet<Uid>,
    wanted: &[Intended],
    limits: &Limits,
) -> Result<Located, Fault> {
    let ask = Ask { which: Which::From(from), fingerprints: true };
    let listing = session.list(mailbox, ask).await?;
    let messages = match listing.told {
        Told::All(messages) => messages,
        Told::Changes { changed, .. } => changed,
    };
    let mut messages: Vec<Message> = messages
        .into_iter()
        .filter(|message| message.uid >= from && !known.contains(&message.uid))
        .collect();
    let wanted: Vec<Message> = (1..).zip(wanted).filter_map(as_message).collect();
    let mut matched = match_up(&wanted, &messages, Bytes::Askable);
    let undecided = std::mem::take(&mut matched.undecided.right);
    if !undecided.is_empty() {
        let hashes = hashes(session, mailbox, &undecided, limits).await?;
        for message in &mut messages {
            message.body = hashes.get(&message.uid).copied();
        }
        matched = match_up(&wanted, &messages, Bytes::Unavailable);
    }
    let mut places = vec![None; wanted.len()];
    for (at, uid) in matched.pairs {
        let at = usize::try_from(at.get() - 1).unwrap_or(usize::MAX);
        if let Some(place) = places.get_mut(at) {
            *place = Some(uid);
        }
    }
    Ok(Located {
        uid_validity: listing.uid_validity,
        uid_next: listing.uid_next,
        places,
        unknown: messages.len(),
    })
}

/// What was sent, as a message, numbered by its place.
fn as_message((at, intended): (u32, &Intended)) -> Option<Message> {
    Some(Message {
        uid: Uid::new(at)?,
        flags: Flags::default(),
        size: Some(intended.size),
        date: intended.date,
        fingerprint: Some(intended.fingerprint),
        body: Some(intended.body),
    })
}
