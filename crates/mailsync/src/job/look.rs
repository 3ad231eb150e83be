//! Looks at a mailbox on both ends and plans what is to be done in it.
//!
//! Nothing here changes an end or is remembered.

use std::collections::{BTreeMap, BTreeSet};

use super::lane::{Lane, Stop};
use crate::{
    End, Fault, Holdable, Mark, Policy, RawName, Uid,
    ends::{Ask, Which},
    identity::Bytes,
    plan::{Ghost, Input, MessagePlan, Needs, Row, Seen, expand, find_twins, plan_messages},
    sides::{Both, Side},
    snapshot::{Listing, Told},
    state::{Intent, MailboxMemory},
};

/// A mailbox on both ends; a name is missing where it has still to be made.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) raw: Both<Option<RawName>>,
    /// Whether both ends had messages when they were looked at as a whole.
    pub(crate) filled: bool,
}

/// What there is, and what is to be done.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) seen: Both<Seen>,
    /// How far each end has been seen now.
    pub(crate) marks: Both<Option<Mark>>,
    /// Copies that were stored after we had given them up, and whether their flags are still ours.
    pub(crate) twins: Both<Vec<(Uid, bool)>>,
    pub(crate) plan: MessagePlan,
}

/// What is remembered of a mailbox.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) memory: MailboxMemory,
    pub(crate) rows: Vec<Row>,
    pub(crate) intents: Vec<Intent>,
}

/// As often as a plan may need to know more. Fingerprints of rows, fingerprints of messages, bytes of each.
const QUESTIONS: u32 = 6;

/// Lists both ends and plans.
pub(crate) async fn look<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    place: &Place,
    known: &Remembered,
    policy: &Policy,
) -> Result<Look, Stop> {
    let mut looker = Looker { lane, place, known, policy };
    let mut listed = looker.list_both(false).await?;
    let mut look = looker.plan(&mut listed).await?;
    // What is to be copied needs its date, which changes do not tell of messages that were there before.
    let undated = |side: Side| {
        let seen = look.seen.of(side);
        let by_uid: BTreeMap<Uid, _> = seen.messages.iter().map(|m| (m.uid, m)).collect();
        let copied = look.plan.copy.of(side).iter();
        copied.filter_map(|uid| by_uid.get(uid)).any(|m| m.date.is_none() || m.size.is_none())
    };
    if listed.partial && Side::BOTH.into_iter().any(undated) {
        listed = looker.list_both(true).await?;
        look = looker.plan(&mut listed).await?;
    }
    Ok(look)
}

struct Looker<'l, 'e, L: End, R: End> {
    lane: &'l mut Lane<'e, L, R>,
    place: &'l Place,
    known: &'l Remembered,
    policy: &'l Policy,
}

struct Listed {
    seen: Both<Seen>,
    marks: Both<Option<Mark>>,
    /// Whether an end told only changes.
    partial: bool,
}

impl<L: End, R: End> Looker<'_, '_, L, R> {
    async fn list_both(&mut self, all: bool) -> Result<Listed, Stop> {
        let fingerprints = self.wants_fingerprints();
        let ask = |mark: Option<Mark>| Ask {
            which: mark.filter(|_| !all).map_or(Which::All, Which::Since),
            fingerprints,
        };
        let marks = &self.known.memory.marks;
        let asks = Both { left: ask(marks.left), right: ask(marks.right) };
        let listings = match (&self.place.raw.left, &self.place.raw.right) {
            (Some(left), Some(right)) => {
                let raw = Both { left: left.clone(), right: right.clone() };
                let Both { left, right } = self.lane.lists(&raw, asks).await?;
                Both { left: Some(left), right: Some(right) }
            }
            (Some(left), None) => {
                Both { left: Some(self.lane.list(Side::Left, left, asks.left).await?), right: None }
            }
            (None, Some(right)) => {
                let right = self.lane.list(Side::Right, right, asks.right).await?;
                Both { left: None, right: Some(right) }
            }
            (None, None) => Both::default(),
        };
        let (left, left_mark, left_partial) = self.take(Side::Left, listings.left).await?;
        let (right, right_mark, right_partial) = self.take(Side::Right, listings.right).await?;
        Ok(Listed {
            seen: Both { left, right },
            marks: Both { left: left_mark, right: right_mark },
            partial: left_partial || right_partial,
        })
    }

    /// Fingerprints cost as much as all else, so they are asked for with the first listing only where both
    /// ends may have the same messages and nobody knows which.
    fn wants_fingerprints(&self) -> bool {
        self.known.rows.is_empty()
            && self.known.memory.validity == Both::default()
            && Side::BOTH.into_iter().all(|side| self.place.raw.of(side).is_some())
            && self.place.filled
    }

    async fn take(
        &mut self,
        side: Side,
        listing: Option<Listing>,
    ) -> Result<(Seen, Option<Mark>, bool), Stop> {
        let (Some(mut listing), Some(raw)) = (listing, self.place.raw.of(side).as_ref()) else {
            return Ok((nothing(), None, false));
        };
        let limit = self.lane.abilities(side).await?.append_limit;
        let old = *self.known.memory.marks.of(side);
        let partial = matches!(listing.told, Told::Changes { .. });
        let doubt = old.filter(|old| uids_went_back(old, &listing)).map(|_| GONE_BACK);
        let lost_track = old.is_some_and(|old| changes_went_back(&old, &listing));
        let rows = &self.known.rows;
        if !(partial && (doubt.is_some() || lost_track))
            && let Some(seen) = expand(rows, side, listing.clone(), limit)
        {
            return Ok((Seen { doubt, ..seen }, Some(mark(&listing)), partial));
        }
        // What was told leads nowhere, as after a restore from a backup.
        let ask = Ask { which: Which::All, fingerprints: doubt.is_some() };
        listing = self.lane.list(side, raw, ask).await?;
        let mark = mark(&listing);
        let seen = expand(rows, side, listing, limit);
        let short = || Fault::lost("a listing has not as many messages as the mailbox");
        let seen = seen.ok_or_else(|| Stop::End(side, short()))?;
        Ok((Seen { doubt, ..seen }, Some(mark), false))
    }

    async fn plan(&mut self, listed: &mut Listed) -> Result<Look, Stop> {
        let mut twins = Both::default();
        for side in Side::BOTH {
            *twins.of_mut(side) = self.take_twins(side, listed).await?;
        }
        let found = match (&self.policy.selection.search, self.place.raw.left.as_ref()) {
            (Some(expression), Some(raw)) => Some(self.lane.search(raw, expression).await?),
            _ => None,
        };
        let mut input = Input {
            rows: &self.known.rows,
            agreed_validity: self.known.memory.validity,
            suspended: self.known.memory.suspended.as_deref(),
            seen: listed.seen.clone(),
            policy: self.policy,
            found: found.as_deref(),
            bytes: Bytes::Askable,
        };
        for question in 0..=QUESTIONS {
            if question == QUESTIONS {
                input.bytes = Bytes::Unavailable;
            }
            let plan = plan_messages(&input);
            let Some(needs) = &plan.needs else {
                let Input { seen, .. } = input;
                return Ok(Look { seen, marks: listed.marks, twins, plan });
            };
            for side in Side::BOTH {
                match needs {
                    Needs::Fingerprints(uids) => {
                        self.add_fingerprints(side, uids.of(side), input.seen.of_mut(side)).await?;
                    }
                    Needs::Bytes(uids) => {
                        self.add_bodies(side, uids.of(side), input.seen.of_mut(side)).await?;
                    }
                }
            }
        }
        let said = "a plan needs to know more than can be known";
        Err(Stop::End(Side::Left, Fault::lost(said)))
    }

    /// Takes copies out of sight that were stored after we had given them up.
    async fn take_twins(
        &mut self,
        side: Side,
        listed: &mut Listed,
    ) -> Result<Vec<(Uid, bool)>, Stop> {
        let ghosts = ghosts(&self.known.intents, side, listed.seen.of(side).uid_validity);
        let Some(first) = ghosts.iter().map(|ghost| ghost.from).min() else {
            return Ok(Vec::new());
        };
        let rows = self.known.rows.iter().filter_map(|row| *row.uids.of(side));
        let known: BTreeSet<Uid> = rows.collect();
        let seen = listed.seen.of_mut(side);
        let new = seen.messages.iter().filter(|m| m.uid >= first && !known.contains(&m.uid));
        let new: Vec<Uid> = new.map(|m| m.uid).collect();
        self.add_fingerprints(side, &new, seen).await?;
        let candidates = seen.messages.iter().filter(|m| new.binary_search(&m.uid).is_ok());
        let twins = find_twins(candidates, &ghosts);
        seen.messages.retain(|m| !twins.iter().any(|(uid, _)| *uid == m.uid));
        Ok(twins)
    }

    async fn add_fingerprints(
        &mut self,
        side: Side,
        uids: &[Uid],
        seen: &mut Seen,
    ) -> Result<(), Stop> {
        let (Some(first), Some(raw)) = (uids.iter().min(), self.place.raw.of(side).as_ref()) else {
            return Ok(());
        };
        let ask = Ask { which: Which::From(*first), fingerprints: true };
        let listing = self.lane.list(side, raw, ask).await?;
        let Told::All(told) = listing.told else { return Ok(()) };
        let told: BTreeMap<Uid, _> = told.into_iter().map(|m| (m.uid, m)).collect();
        for message in &mut seen.messages {
            if let Some(told) = told.get(&message.uid) {
                message.fingerprint = message.fingerprint.or(told.fingerprint);
                message.size = message.size.or(told.size);
                message.date = message.date.or(told.date);
            }
        }
        // What is gone meanwhile is not there to be planned.
        seen.messages
            .retain(|m| m.uid < *first || told.contains_key(&m.uid) || m.fingerprint.is_some());
        Ok(())
    }

    async fn add_bodies(&mut self, side: Side, uids: &[Uid], seen: &mut Seen) -> Result<(), Stop> {
        let Some(raw) = self.place.raw.of(side).as_ref().filter(|_| !uids.is_empty()) else {
            return Ok(());
        };
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        let hashes = self.lane.hashes(side, raw, &uids, &self.policy.limits).await?;
        for message in &mut seen.messages {
            message.body = message.body.or_else(|| hashes.get(&message.uid).copied());
        }
        // What could not be read is gone.
        let asked = |uid: &Uid| uids.binary_search(uid).is_ok();
        seen.messages.retain(|m| !asked(&m.uid) || m.body.is_some());
        Ok(())
    }
}

/// Messages that can still turn up on a side.
pub(crate) fn ghosts(intents: &[Intent], side: Side, validity: u32) -> Vec<Ghost> {
    let looked = intents.iter().filter(|i| i.looked > 0 && i.to == side && i.validity == validity);
    let ghosts = looked.flat_map(|intent| {
        intent.messages.iter().map(|message| Ghost {
            from: intent.uid_next,
            fingerprint: message.fingerprint,
            size: message.size,
            date: message.date,
            flags: message.flags.clone(),
        })
    });
    ghosts.collect()
}

const GONE_BACK: &str = "UIDNEXT has gone back";

fn uids_went_back(old: &Mark, listing: &Listing) -> bool {
    old.uid_validity == listing.uid_validity && listing.uid_next < old.uid_next
}

fn changes_went_back(old: &Mark, listing: &Listing) -> bool {
    let modseqs = old.highest_modseq.zip(listing.highest_modseq);
    old.uid_validity == listing.uid_validity && modseqs.is_some_and(|(old, new)| new < old)
}

pub(crate) fn mark(listing: &Listing) -> Mark {
    Mark {
        uid_validity: listing.uid_validity,
        uid_next: listing.uid_next,
        highest_modseq: listing.highest_modseq,
        messages: listing.messages,
    }
}

fn nothing() -> Seen {
    Seen {
        uid_validity: 0,
        messages: Vec::new(),
        holdable: Holdable::all(),
        read_only: false,
        append_limit: None,
        doubt: None,
    }
}
