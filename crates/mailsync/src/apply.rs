//! Carries a plan out, in an order in which a crash at any point costs nothing: flags first, then what is
//! known of messages, then copies, then deletes.
//!
//! Nothing here decides what is to be done.

mod locate;
mod pace;
mod recover;
mod settle;
mod writer;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use self::writer::{Settled, Writer};
pub(crate) use self::{pace::Pace, recover::recover};
use crate::{
    End, Fault, FaultKind, Flags, MailboxPath, Message, Observer, PairState, Policy, RawName,
    Session, StateError, Twins, Uid,
    ends::{Bodies, FlagChange, Room},
    job::{Lane, Look, Remembered, Stop},
    plan::{Facts, MessagePlan, RowId, Standing, travelling},
    report::{Counts, FailedMessage},
    sides::{Both, Side},
    snapshot::Told,
    state::{Intended, Pairing, Single, record},
};

/// What all sessions of a job share.
pub(crate) struct Context<'j> {
    pub(crate) policy: &'j Policy,
    pub(crate) state: &'j PairState,
    pub(crate) observer: &'j dyn Observer,
    pub(crate) pace: Pace,
    failed: AtomicU64,
}

/// A mailbox on both ends.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) id: i64,
    pub(crate) raw: Both<RawName>,
    pub(crate) path: Both<MailboxPath>,
}

/// What was done in a mailbox in this run, over all attempts.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) counts: Counts,
    pub(crate) failed: Vec<FailedMessage>,
    pub(crate) warnings: Vec<String>,
    /// Messages of which the end does not say where it put them.
    pub(crate) placeless: u64,
    /// New messages on each end, where that end says they are.
    placed: Both<BTreeMap<Uid, Placed>>,
    /// New messages have no lower UIDs.
    placed_from: Both<Option<Uid>>,
    /// Steps that were done; grows whenever something was.
    pub(crate) steps: u64,
}

/// A new message.
#[derive(Debug)]
struct Placed {
    intended: Intended,
    /// The flags that it should have.
    wanted: Flags,
}

/// Why work on one end stopped.
pub(crate) enum Broken {
    End(Fault),
    State(StateError),
}

impl<'j> Context<'j> {
    pub(crate) fn new(
        policy: &'j Policy,
        state: &'j PairState,
        observer: &'j dyn Observer,
    ) -> Self {
        let pace = Pace::new(&policy.limits);
        Self { policy, state, observer, pace, failed: AtomicU64::new(0) }
    }

    fn count_failed(&self) -> Result<(), Fault> {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        match self.policy.limits.max_failed {
            Some(most) if failed > most => {
                let said = format!("more than {most} messages were refused");
                Err(Fault::new(FaultKind::Refusals, said))
            }
            _ => Ok(()),
        }
    }
}

impl Done {
    fn copied(&mut self, messages: u64, bytes: u64) {
        self.counts.copied += messages;
        self.counts.copied_bytes += bytes;
        self.steps += 1;
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

/// Carries out what was planned for a mailbox.
pub(crate) async fn apply<L: End, R: End>(
    lane: &mut Lane<'_, L, R>,
    context: &Context<'_>,
    mailbox: &Mailbox,
    known: &Remembered,
    look: &Look,
    done: &mut Done,
) -> Result<(), Stop> {
    let mut act = Act { lane, context, mailbox, done };
    for side in Side::BOTH {
        act.remove_twins(side, look.twins.of(side)).await?;
    }
    act.store_flags(&look.plan).await?;
    act.remember(look).await?;
    for side in Side::BOTH {
        act.copy(side, known, look).await?;
    }
    for side in Side::BOTH {
        act.delete(side, known, look).await?;
    }
    for side in Side::BOTH {
        act.settle_flags(side).await?;
        act.sweep(side).await?;
    }
    Ok(())
}

struct Act<'a, 'e, 'j, L: End, R: End> {
    lane: &'a mut Lane<'e, L, R>,
    context: &'a Context<'j>,
    mailbox: &'a Mailbox,
    done: &'a mut Done,
}

impl<L: End, R: End> Act<'_, '_, '_, L, R> {
    async fn remove_twins(&mut self, side: Side, twins: &[(Uid, bool)]) -> Result<(), Stop> {
        let may = self.context.policy.twins == Twins::Remove;
        let may = may && !twins.is_empty() && self.lane.abilities(side).await?.uidplus;
        let ours: Vec<Uid> = twins.iter().filter(|(_, ours)| may && *ours).map(|t| t.0).collect();
        if !ours.is_empty() {
            self.lane.expunge(side, self.mailbox.raw.of(side), &ours).await?;
        }
        for (uid, _) in twins.iter().filter(|(uid, _)| !ours.contains(uid)) {
            self.done.warn(format!("message {uid} is a second copy that was stored late"));
        }
        Ok(())
    }

    async fn store_flags(&mut self, plan: &MessagePlan) -> Result<(), Stop> {
        for side in Side::BOTH {
            self.store_on(side, plan.store.of(side)).await?;
        }
        Ok(())
    }

    async fn store_on(
        &mut self,
        side: Side,
        changes: &BTreeMap<FlagChange, Vec<Uid>>,
    ) -> Result<(), Stop> {
        for (change, uids) in changes {
            let mut uids = uids.clone();
            uids.sort_unstable();
            self.lane.store(side, self.mailbox.raw.of(side), &uids, change).await?;
            self.done.counts.flagged += count(uids.len());
            self.done.steps += 1;
        }
        Ok(())
    }

    /// Writes down what is known now and needs no act on an end.
    async fn remember(&mut self, look: &Look) -> Result<(), Stop> {
        let plan = &look.plan;
        self.done.counts.adopted += count(plan.adopt.len());
        let by_uid = Both { left: by_uid(&look.seen.left), right: by_uid(&look.seen.right) };
        let facts = |side: Side, uid: &Uid| {
            let message = by_uid.of(side).get(uid);
            message.map_or_else(Facts::default, |message| Facts {
                fingerprint: message.fingerprint,
                size: message.size,
                body: message.body,
            })
        };
        let adopted = plan.adopt.iter().map(|(left, right, flags)| Pairing {
            uids: Both { left: Some(*left), right: Some(*right) },
            flags: flags.clone(),
            facts: facts(Side::Left, left),
        });
        let adopted: Vec<Pairing> = adopted.collect();
        let single = |side: Side| {
            let by_uid = &by_uid;
            plan.single.of(side).iter().map(move |(uid, standing)| Single {
                side,
                uid: *uid,
                flags: by_uid.of(side).get(uid).map(|m| m.flags.clone()).unwrap_or_default(),
                facts: facts(side, uid),
                standing: *standing,
                said: (*standing == Standing::Failed).then(|| TOO_LARGE.to_owned()),
            })
        };
        let singles: Vec<Single> = single(Side::Left).chain(single(Side::Right)).collect();
        let (rebind, gone) = (plan.rebind.clone(), plan.gone.clone());
        let (agree, forget) = (plan.agree.clone(), plan.forget.clone());
        let mailbox = self.mailbox.id;
        let validity =
            Both { left: look.seen.left.uid_validity, right: look.seen.right.uid_validity };
        let write = self.context.state.write(move |tx| {
            record::set_validity(tx, mailbox, validity)?;
            forget.iter().try_for_each(|row| record::forget(tx, *row))?;
            // Two rows may exchange their UIDs, of which each can be there once.
            let nowhere = Both::default();
            rebind.iter().try_for_each(|(row, _)| record::set_uids(tx, *row, &nowhere, None))?;
            rebind.iter().try_for_each(|(row, uids)| record::set_uids(tx, *row, uids, None))?;
            let is_gone = Some(Standing::Gone);
            gone.iter().try_for_each(|(row, uids)| record::set_uids(tx, *row, uids, is_gone))?;
            agree.iter().try_for_each(|(row, flags)| record::set_flags(tx, *row, flags))?;
            adopted.iter().try_for_each(|pairing| record::save_pairing(tx, mailbox, pairing))?;
            singles.iter().try_for_each(|single| record::save_single(tx, mailbox, single))
        });
        write.await?;
        self.tell_planned(plan);
        Ok(())
    }

    fn tell_planned(&mut self, plan: &MessagePlan) {
        for warning in &plan.warnings {
            self.done.warn(warning.clone());
        }
        if !plan.not_kept.is_empty() {
            self.done.warn(format!("flags that the other end does not keep: {}", plan.not_kept));
        }
        self.done.counts.held = plan.held;
    }

    /// Copies messages from one end to the other.
    async fn copy(&mut self, from: Side, known: &Remembered, look: &Look) -> Result<(), Stop> {
        let uids = look.plan.copy.of(from);
        if uids.is_empty() {
            return Ok(());
        }
        let to = from.other();
        let target = look.seen.of(to);
        let messages = by_uid(look.seen.of(from));
        let policy = self.context.policy;
        let flags = |flags: &Flags| match from {
            Side::Left => travelling(flags, policy),
            Side::Right => flags.clone(),
        };
        let taken: BTreeSet<Uid> = target.messages.iter().map(|m| m.uid).collect();
        let suspects = suspects(known, to);
        let uid_next = look.marks.of(to).map_or(Uid::MIN, |mark| mark.uid_next);
        let Self { lane, context, mailbox, done } = self;
        done.placed_from.of_mut(to).get_or_insert(uid_next);
        let copying = Copying {
            context,
            mailbox,
            uids,
            messages: &messages,
            travelling: &flags,
            look,
            uid_next,
            taken,
            suspects: &suspects,
            to,
        };
        let at = |side: Side| move |fault| Stop::End(side, fault);
        let (read, written) = match from {
            Side::Left => {
                let source = lane.left.session().await.map_err(at(from))?;
                let target = lane.right.session().await.map_err(at(to))?;
                let (read, written) = pour(source, target, copying, done).await;
                (lane.left.keep(read), keep(&mut lane.right, written))
            }
            Side::Right => {
                let source = lane.right.session().await.map_err(at(from))?;
                let target = lane.left.session().await.map_err(at(to))?;
                let (read, written) = pour(source, target, copying, done).await;
                (lane.right.keep(read), keep(&mut lane.left, written))
            }
        };
        // The reader also fails because nobody takes its messages any more.
        match written {
            Err(Broken::End(fault)) => return Err(Stop::End(to, fault)),
            Err(Broken::State(error)) => return Err(Stop::State(error)),
            Ok(()) => {}
        }
        read.map_err(at(from))
    }

    /// Removes messages that are gone on the other end, after they have been missing twice.
    async fn delete(&mut self, side: Side, known: &Remembered, look: &Look) -> Result<(), Stop> {
        let rows = look.plan.delete.of(side);
        if rows.is_empty() {
            return Ok(());
        }
        let abilities = self.lane.abilities(side).await?;
        if !abilities.uidplus && !abilities.moves {
            let said = "messages were not deleted: the end cannot remove some and leave others";
            self.done.warn(said.to_owned());
            return Ok(());
        }
        let rows = self.confirmed(side, rows, known).await?;
        let uids: Vec<Uid> = rows.iter().map(|(_, uid)| *uid).collect();
        let undo = &self.context.policy.mapping.undo;
        let to = self.lane.create(side, undo, None).await?;
        let (mailbox, moved_to, buried) = (self.mailbox.id, undo.clone(), uids.clone());
        let bury = self.context.state.write(move |tx| {
            buried.iter().try_for_each(|uid| record::bury(tx, mailbox, side, *uid, Some(&moved_to)))
        });
        bury.await?;
        self.lane.relocate(side, self.mailbox.raw.of(side), &uids, &to).await?;
        self.done.counts.deleted += count(uids.len());
        self.done.steps += 1;
        let forget = self
            .context
            .state
            .write(move |tx| rows.iter().try_for_each(|(row, _)| record::forget(tx, *row)));
        Ok(forget.await?)
    }

    /// Those of the rows that a second look by another connection finds gone too.
    async fn confirmed(
        &mut self,
        side: Side,
        rows: &[(RowId, Uid)],
        known: &Remembered,
    ) -> Result<Vec<(RowId, Uid)>, Stop> {
        let other = side.other();
        let listing = self.lane.list_anew(other, self.mailbox.raw.of(other)).await?;
        let Told::All(messages) = listing.told else { return Ok(Vec::new()) };
        let there: BTreeSet<Uid> = messages.into_iter().map(|message| message.uid).collect();
        let back: BTreeSet<RowId> = (known.rows.iter())
            .filter(|row| row.uids.of(other).is_some_and(|uid| there.contains(&uid)))
            .map(|row| row.id)
            .collect();
        if !back.is_empty() {
            let which = back.len();
            self.done.warn(format!("{which} messages were missing at the first look alone"));
        }
        Ok(rows.iter().filter(|(row, _)| !back.contains(row)).copied().collect())
    }
}

const TOO_LARGE: &str = "the message is larger than the end takes";

struct Copying<'c> {
    context: &'c Context<'c>,
    mailbox: &'c Mailbox,
    uids: &'c [Uid],
    messages: &'c BTreeMap<Uid, &'c Message>,
    travelling: &'c (dyn Fn(&Flags) -> Flags + Sync),
    look: &'c Look,
    uid_next: Uid,
    taken: BTreeSet<Uid>,
    suspects: &'c BTreeMap<Uid, u32>,
    to: Side,
}

/// One stream of messages out of an end, and batches into the other.
async fn pour<F: Session, T: Session>(
    source: &mut F,
    target: &mut T,
    copying: Copying<'_>,
    done: &mut Done,
) -> (Result<(), Fault>, Result<(), Broken>) {
    let Copying {
        context,
        mailbox,
        uids,
        messages,
        travelling,
        look,
        uid_next,
        taken,
        suspects,
        to,
    } = copying;
    let limits = &context.policy.limits;
    let (mut bodies, ready) = Bodies::new(Room::new(limits.memory, &limits.spill));
    let seen = look.seen.of(to);
    let writer = Writer {
        to: target,
        context,
        mailbox,
        side: to,
        messages,
        travelling,
        holdable: &seen.holdable,
        validity: seen.uid_validity,
        uid_next,
        taken,
        done,
        suspects,
        settled: Settled::default(),
    };
    let reading = async move {
        let read = source.read(mailbox.raw.of(to.other()), uids, &mut bodies).await;
        drop(bodies);
        read
    };
    tokio::join!(reading, writer.run(ready))
}

fn keep<E: End>(
    link: &mut crate::job::Link<'_, E>,
    written: Result<(), Broken>,
) -> Result<(), Broken> {
    match written {
        Err(Broken::End(fault)) => link.keep(Err(fault)).map_err(Broken::End),
        written => written,
    }
}

/// Messages that were sent and not stored when connections were lost, and how often.
fn suspects(known: &Remembered, to: Side) -> BTreeMap<Uid, u32> {
    let mut suspects = BTreeMap::new();
    let lost = known.intents.iter().filter(|intent| intent.to == to && intent.looked > 0);
    for message in lost.flat_map(|intent| &intent.messages) {
        *suspects.entry(message.uid).or_default() += 1;
    }
    suspects
}

fn by_uid(seen: &crate::plan::Seen) -> BTreeMap<Uid, &Message> {
    seen.messages.iter().map(|message| (message.uid, message)).collect()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
