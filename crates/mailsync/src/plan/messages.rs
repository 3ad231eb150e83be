//! What is to be done with the messages of one mailbox.
//!
//! Nothing here copies a message twice because somebody else cannot say whether it is there: what is not
//! known is asked for ([`Needs`]).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Facts, Input, MessagePlan, Needs, Row, Seen, Standing,
    flags::{self, Settled},
    guards, select,
};
use crate::{
    Flags, Message, SystemFlag, Uid,
    identity::match_up,
    policy::{Deletes, Gone, MarkedDeleted},
    sides::{Both, Side},
};

/// Plans the messages of one mailbox.
pub(crate) fn plan_messages(input: &Input<'_>) -> MessagePlan {
    let mut planner = Planner::new(input);
    planner.doubt_uids();
    planner.follow_rows();
    if planner.plan.needs.is_none() {
        planner.meet();
    }
    if planner.plan.needs.is_none() {
        planner.place_rest();
    }
    planner.plan
}

struct Planner<'i> {
    input: &'i Input<'i>,
    /// By UID.
    now: Both<BTreeMap<Uid, &'i Message>>,
    /// Whether UIDs of rows mean nothing any more.
    void: Both<bool>,
    /// Messages of which no row says where they are on the other end.
    unpaired: Both<BTreeSet<Uid>>,
    /// Those of them that no row knows at all.
    new: Both<BTreeSet<Uid>>,
    /// Messages that are on the other end, where nobody knows under which UID.
    placeless: Both<BTreeSet<Uid>>,
    /// Rows of messages that only one end has, by their UID there.
    single: Both<BTreeMap<Uid, Standing>>,
    plan: MessagePlan,
}

impl<'i> Planner<'i> {
    fn new(input: &'i Input<'i>) -> Self {
        let by_uid = |seen: &'i Seen| seen.messages.iter().map(|m| (m.uid, m)).collect();
        let uids =
            |seen: &'i Seen| -> BTreeSet<Uid> { seen.messages.iter().map(|m| m.uid).collect() };
        let unpaired = Both { left: uids(&input.seen.left), right: uids(&input.seen.right) };
        Self {
            now: Both { left: by_uid(&input.seen.left), right: by_uid(&input.seen.right) },
            void: Both::default(),
            new: Both { left: unpaired.left.clone(), right: unpaired.right.clone() },
            unpaired,
            placeless: Both::default(),
            single: Both::default(),
            plan: MessagePlan::default(),
            input,
        }
    }

    /// Finds out whether UIDs still mean what they meant.
    fn doubt_uids(&mut self) {
        for side in Side::BOTH {
            let seen = self.input.seen.of(side);
            let changed = |validity: &u32| *validity != seen.uid_validity;
            let reason = if self.input.agreed_validity.of(side).as_ref().is_some_and(changed) {
                Some("its UIDVALIDITY has changed")
            } else {
                seen.doubt.or_else(|| self.sizes_doubt(side))
            };
            let Some(reason) = reason else { continue };
            *self.void.of_mut(side) = true;
            let which = if side == Side::Left { "left" } else { "right" };
            let reason = format!("on the {which} end {reason}");
            self.plan.warnings.push(format!("{reason}: messages were looked up by what they are"));
            self.plan.suspend = Some(format!("deletes rest, because {reason}"));
        }
    }

    /// A mailbox that was removed and made again can have the UIDVALIDITY of the old one (within one second,
    /// or restored from a backup).
    fn sizes_doubt(&self, side: Side) -> Option<&'static str> {
        let now = self.now.of(side);
        let (mut known, mut other) = (0_u64, 0_u64);
        for row in self.input.rows {
            let there = row.uids.of(side).and_then(|uid| now.get(&uid));
            let Some((size, told)) = row.facts.size.zip(there.and_then(|m| m.size)) else {
                continue;
            };
            known += 1;
            other += u64::from(size.abs_diff(told) > size.max(told) / 5 + 256);
        }
        (other * 10 > known).then_some("messages have other sizes under the same UIDs")
    }

    /// Looks what became of the messages that we know.
    fn follow_rows(&mut self) {
        let rebound = self.rebind();
        if self.plan.needs.is_some() {
            return;
        }
        let mut deletes: Both<Vec<&Row>> = Both::default();
        for row in self.input.rows {
            let uids = rebound.get(&row.id).copied().unwrap_or(row.uids);
            if uids != row.uids && uids != Both::default() {
                self.plan.rebind.push((row.id, uids));
            }
            for side in Side::BOTH {
                if let Some(uid) = uids.of(side) {
                    self.new.of_mut(side).remove(uid);
                }
            }
            let there = Both {
                left: uids.left.and_then(|uid| self.now.left.get(&uid).copied()),
                right: uids.right.and_then(|uid| self.now.right.get(&uid).copied()),
            };
            match (there.left, there.right) {
                (Some(left), Some(right)) => self.merge_flags(row, left, right),
                (None, None) => self.plan.forget.push(row.id),
                (Some(here), None) => self.one_is_left(row, Side::Left, here, uids, &mut deletes),
                (None, Some(here)) => self.one_is_left(row, Side::Right, here, uids, &mut deletes),
            }
        }
        self.guard(&deletes);
    }

    /// Where UIDs mean nothing any more, looks up which message a row tells of. A row that is not found has
    /// nothing left there.
    fn rebind(&mut self) -> BTreeMap<i64, Both<Option<Uid>>> {
        let mut rebound: BTreeMap<i64, Both<Option<Uid>>> = BTreeMap::new();
        for side in Side::BOTH {
            if !*self.void.of(side) {
                continue;
            }
            let rows = || self.input.rows.iter().filter(|row| row.uids.of(side).is_some());
            let messages = || self.now.of(side).values().copied();
            let lacking: Vec<Uid> =
                messages().filter(|m| m.fingerprint.is_none()).map(|m| m.uid).collect();
            if rows().next().is_some() && !lacking.is_empty() {
                self.need_fingerprints(side, lacking);
                continue;
            }
            // Rows as messages, numbered by their place.
            let known: Vec<Message> =
                rows().zip(1..).filter_map(|(row, at)| as_message(row, at)).collect();
            let matched = match_up(&known, messages(), self.input.bytes);
            let undecided = matched.undecided.of(Side::Right);
            if !undecided.is_empty() {
                self.need_bytes(side, undecided);
                continue;
            }
            let found: BTreeMap<Uid, Uid> = matched.pairs.into_iter().collect();
            let (all, kept) = (rows().count(), found.len());
            for (row, at) in rows().zip(1..) {
                let uid = Uid::new(at).and_then(|at| found.get(&at)).copied();
                *rebound.entry(row.id).or_insert(row.uids).of_mut(side) = uid;
            }
            self.plan.warnings.push(format!("{kept} of {all} known messages were found again"));
        }
        rebound
    }

    fn merge_flags(&mut self, row: &Row, left: &Message, right: &Message) {
        self.unpaired.left.remove(&left.uid);
        self.unpaired.right.remove(&right.uid);
        let now = Both { left: &left.flags, right: &right.flags };
        let settled = flags::settle(row, now, &self.input.seen, self.input.policy);
        if settled.agreed != row.flags {
            self.plan.agree.push((row.id, settled.agreed.clone()));
        }
        self.change_flags(settled, left.uid, right.uid);
    }

    fn change_flags(&mut self, settled: Settled, left: Uid, right: Uid) {
        let Settled { change, not_kept, .. } = settled;
        self.plan.not_kept = self.plan.not_kept.union(&not_kept);
        if change.left != Default::default() {
            self.plan.store.left.entry(change.left).or_default().push(left);
        }
        if change.right != Default::default() {
            self.plan.store.right.entry(change.right).or_default().push(right);
        }
    }

    /// A row whose message is on one end only.
    fn one_is_left(
        &mut self,
        row: &'i Row,
        side: Side,
        here: &Message,
        uids: Both<Option<Uid>>,
        deletes: &mut Both<Vec<&'i Row>>,
    ) {
        let other = side.other();
        match row.standing {
            // It was copied to an end that does not say where. It may be among what is new there.
            Standing::Done if row.uids.of(other).is_none() => {
                self.placeless.of_mut(side).insert(here.uid);
            }
            // Nobody deleted it: with UIDVALIDITY its place has gone. It is looked for, and copied if need be.
            Standing::Done if *self.void.of(other) => self.plan.forget.push(row.id),
            Standing::Done => {
                self.unpaired.of_mut(side).remove(&here.uid);
                let direction = self.direction(other);
                if direction.deletes == Deletes::Own {
                    deletes.of_mut(side).push(row);
                } else if self.copies_again(side) {
                    self.plan.forget.push(row.id);
                    self.place(side, here.uid);
                } else {
                    let mut left = uids;
                    *left.of_mut(other) = None;
                    self.plan.gone.push((row.id, left));
                }
            }
            Standing::Gone if self.copies_again(side) => {
                self.unpaired.of_mut(side).remove(&here.uid);
                self.place(side, here.uid);
            }
            Standing::Gone => {
                self.unpaired.of_mut(side).remove(&here.uid);
            }
            standing => {
                self.single.of_mut(side).insert(here.uid, standing);
            }
        }
    }

    /// Whether what is gone on the other end is copied there again.
    fn copies_again(&self, from: Side) -> bool {
        self.input.policy.gone == Gone::CopyAgain && self.direction(from).copy
    }

    /// What goes from a side to the other.
    fn direction(&self, from: Side) -> crate::policy::Direction {
        match from {
            Side::Left => self.input.policy.left_to_right,
            Side::Right => self.input.policy.right_to_left,
        }
    }

    fn guard(&mut self, deletes: &Both<Vec<&Row>>) {
        for side in Side::BOTH {
            let rows = deletes.of(side);
            let known = self.input.rows.iter().filter(|row| row.standing == Standing::Done).count();
            let suspended = self.plan.suspend.clone();
            let held = guards::hold(
                &guards::Deletes {
                    count: count(rows.len()),
                    known: count(known),
                    gone_on: self.input.seen.of(side.other()),
                    on: self.input.seen.of(side),
                    suspended: suspended.as_deref().or(self.input.suspended),
                },
                &self.input.policy.guards,
            );
            match held {
                None => {
                    let uids = rows.iter().filter_map(|row| Some((row.id, (*row.uids.of(side))?)));
                    self.plan.delete.of_mut(side).extend(uids);
                }
                Some(reason) => {
                    self.plan.held += count(rows.len());
                    self.plan
                        .warnings
                        .push(format!("{} messages were not deleted: {reason}", rows.len()));
                }
            }
        }
    }

    /// Pairs what is new on one end with what the other has.
    fn meet(&mut self) {
        let is_new = |side: Side| !self.new.of(side).is_empty();
        let both = Side::BOTH.into_iter().all(|side| !self.unpaired.of(side).is_empty());
        if !both || !(is_new(Side::Left) || is_new(Side::Right)) {
            return;
        }
        let candidates =
            Both { left: self.candidates(Side::Left), right: self.candidates(Side::Right) };
        for side in Side::BOTH {
            let lacking = candidates.of(side).iter().filter(|m| m.fingerprint.is_none());
            let lacking: Vec<Uid> = lacking.map(|message| message.uid).collect();
            if !lacking.is_empty() {
                self.need_fingerprints(side, lacking);
            }
        }
        if self.plan.needs.is_some() {
            return;
        }
        let matched = match_up(&candidates.left, &candidates.right, self.input.bytes);
        if matched.undecided != Both::default() {
            self.plan.needs = Some(Needs::Bytes(matched.undecided));
            return;
        }
        for (left, right) in matched.pairs {
            self.adopt(left, right);
        }
    }

    /// Messages that may be on the other end, with what we know of them.
    fn candidates(&self, side: Side) -> Vec<Message> {
        let trusted = self.input.rows.iter().filter(|_| !*self.void.of(side));
        let known: BTreeMap<Uid, Facts> =
            trusted.filter_map(|row| Some(((*row.uids.of(side))?, row.facts))).collect();
        let unpaired = self.unpaired.of(side).iter();
        let messages = unpaired.filter_map(|uid| self.now.of(side).get(uid).copied().cloned());
        let with_facts = messages.map(|message| Message {
            fingerprint: (message.fingerprint)
                .or_else(|| known.get(&message.uid).and_then(|facts| facts.fingerprint)),
            ..message
        });
        with_facts.collect()
    }

    fn adopt(&mut self, left: Uid, right: Uid) {
        let (Some(one), Some(two)) = (self.now.left.get(&left), self.now.right.get(&right)) else {
            return;
        };
        self.unpaired.left.remove(&left);
        self.unpaired.right.remove(&right);
        let now = Both { left: &one.flags, right: &two.flags };
        let settled = flags::settle_first(now, &self.input.seen, self.input.policy);
        self.plan.adopt.push((left, right, settled.agreed.clone()));
        self.change_flags(settled, left, right);
    }

    /// What nobody has on the other end is copied there, or says why not.
    fn place_rest(&mut self) {
        for side in Side::BOTH {
            let placeless = std::mem::take(self.placeless.of_mut(side));
            for uid in std::mem::take(self.unpaired.of_mut(side)) {
                if !placeless.contains(&uid) {
                    self.place(side, uid);
                }
            }
        }
        for side in Side::BOTH {
            self.plan.copy.of_mut(side).sort_unstable();
        }
    }

    fn place(&mut self, side: Side, uid: Uid) {
        let Some(message) = self.now.of(side).get(&uid).copied() else { return };
        let policy = self.input.policy;
        let marked = policy.marked_deleted == MarkedDeleted::Skip
            && message.flags.contains(SystemFlag::Deleted);
        let found = self.input.found.filter(|_| side == Side::Left);
        let limit = self.input.seen.of(side.other()).append_limit;
        let too_large = message.size.zip(limit).is_some_and(|(size, limit)| size > limit);
        let standing = if !self.direction(side).copy {
            Standing::Alone
        } else if marked || !select::takes_message(&policy.selection, message, found) {
            Standing::Skipped
        } else if too_large {
            self.plan.too_large.of_mut(side).push((uid, message.size.unwrap_or_default()));
            Standing::Failed
        } else {
            self.plan.copy.of_mut(side).push(uid);
            return;
        };
        if self.single.of(side).get(&uid) != Some(&standing) {
            self.plan.single.of_mut(side).push((uid, standing));
        }
    }

    fn need_fingerprints(&mut self, side: Side, uids: Vec<Uid>) {
        match &mut self.plan.needs {
            Some(Needs::Fingerprints(needs)) => needs.of_mut(side).extend(uids),
            _ => {
                let mut needs = Both::default();
                *needs.of_mut(side) = uids;
                self.plan.needs = Some(Needs::Fingerprints(needs));
            }
        }
    }

    fn need_bytes(&mut self, side: Side, uids: &[Uid]) {
        if self.plan.needs.is_none() {
            let mut needs: Both<Vec<Uid>> = Both::default();
            needs.of_mut(side).extend(uids);
            self.plan.needs = Some(Needs::Bytes(needs));
        }
    }
}

/// A row as a message that has it; none without a fingerprint.
fn as_message(row: &Row, at: u32) -> Option<Message> {
    let Facts { fingerprint, size, body } = row.facts;
    Some(Message {
        uid: Uid::new(at)?,
        flags: Flags::default(),
        size,
        date: None,
        fingerprint: Some(fingerprint?),
        body,
    })
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
