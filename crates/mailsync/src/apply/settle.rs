//! After messages were stored: whether they are where the end says, and have the flags that they should have,
//! and whether copies have turned up that were given up for lost.
//!
//! Nothing here copies a message.

use std::collections::{BTreeMap, BTreeSet};

use super::{Act, Placed, locate::locate};
use crate::{
    End, Flags, Uid,
    ends::{Ask, FlagChange, Which},
    job::{Stop, ghosts},
    plan::find_twins,
    sides::Side,
    snapshot::Told,
    state::{Intended, Pairing, record},
};

/// At the end of the run that missed it, and of the next.
const LOOKS_FOR_TWINS: u32 = 2;

impl<L: End, R: End> Act<'_, '_, '_, L, R> {
    /// Looks whether new messages are where the end says, and whether they have the flags that they were stored
    /// with; sets them where they have not. What an end takes twice and does not keep it cannot keep.
    pub(super) async fn settle_flags(&mut self, side: Side) -> Result<(), Stop> {
        let mut placed = std::mem::take(self.done.placed.of_mut(side));
        let Some(from) = self.done.placed_from.of_mut(side).take().filter(|_| !placed.is_empty())
        else {
            return Ok(());
        };
        let raw = self.mailbox.raw.of(side);
        let ask = Ask { which: Which::From(from), fingerprints: false };
        let mut told = self.lane.list(side, raw, ask).await?.told;
        if !is_where_it_says(&told, &placed) {
            placed = self.look_up_again(side, from, placed).await?;
            told = self.lane.list(side, raw, ask).await?.told;
        }
        let lacking = lacking(told, &placed);
        if lacking.is_empty() {
            return Ok(());
        }
        let mut changes: BTreeMap<FlagChange, Vec<Uid>> = BTreeMap::new();
        for (uid, add) in lacking {
            let change = FlagChange { add, remove: Flags::default() };
            changes.entry(change).or_default().push(uid);
        }
        self.store_on(side, &changes).await?;
        let unholdable = self::lacking(self.lane.list(side, raw, ask).await?.told, &placed);
        if unholdable.is_empty() {
            return Ok(());
        }
        let which = unholdable.iter().fold(Flags::default(), |all, (_, flags)| all.union(flags));
        self.done.warn(format!("flags that the other end takes and does not keep: {which}"));
        let mailbox = self.mailbox.id;
        let write = self.context.state.write(move |tx| {
            let mut each = unholdable.iter();
            each.try_for_each(|(uid, flags)| record::set_unholdable(tx, mailbox, side, *uid, flags))
        });
        Ok(write.await?)
    }

    /// Finds out where new messages are, on an end that says so wrongly.
    async fn look_up_again(
        &mut self,
        side: Side,
        from: Uid,
        placed: BTreeMap<Uid, Placed>,
    ) -> Result<BTreeMap<Uid, Placed>, Stop> {
        let mailbox = self.mailbox.id;
        let rows = self.context.state.write(move |tx| record::rows(tx, mailbox)).await?;
        let others = rows.iter().filter_map(|row| *row.uids.of(side));
        let known: BTreeSet<Uid> = others.filter(|uid| !placed.contains_key(uid)).collect();
        let wanted: Vec<Intended> = placed.values().map(|p| p.intended.clone()).collect();
        let (raw, limits) = (self.mailbox.raw.of(side), &self.context.policy.limits);
        let at = |fault| Stop::End(side, fault);
        let located = match side {
            Side::Left => {
                let session = self.lane.left.session().await.map_err(at)?;
                let located = locate(session, raw, from, &known, &wanted, limits).await;
                self.lane.left.keep(located)
            }
            Side::Right => {
                let session = self.lane.right.session().await.map_err(at)?;
                let located = locate(session, raw, from, &known, &wanted, limits).await;
                self.lane.right.keep(located)
            }
        };
        let places = located.map_err(at)?.places;
        let told_right = |(told, found): (&Uid, &Option<Uid>)| found.is_none_or(|uid| uid == *told);
        if placed.keys().zip(&places).all(told_right) {
            // Somebody has removed those that are not there: the next plan sees that they are gone.
            return Ok(placed);
        }
        self.done.warn("the end tells wrong UIDs of new messages: they were looked up".to_owned());
        let pairings: Vec<Pairing> =
            wanted.iter().zip(&places).map(|(message, place)| message.at(side, *place)).collect();
        let write = self.context.state.write(move |tx| {
            pairings.iter().try_for_each(|pairing| record::save_pairing(tx, mailbox, pairing))
        });
        write.await?;
        Ok(places
            .into_iter()
            .zip(placed.into_values())
            .filter_map(|(uid, p)| Some((uid?, p)))
            .collect())
    }

    /// Looks once more for copies that were stored after we had given them up.
    pub(super) async fn sweep(&mut self, side: Side) -> Result<(), Stop> {
        let mailbox = self.mailbox.id;
        let read = self
            .context
            .state
            .write(move |tx| Ok((record::intents(tx, mailbox)?, record::rows(tx, mailbox)?)));
        let (intents, rows) = read.await?;
        let mine = intents.iter().filter(|i| i.to == side && i.looked > 0);
        let Some(first) = mine.clone().map(|intent| intent.uid_next).min() else { return Ok(()) };
        let ask = Ask { which: Which::From(first), fingerprints: true };
        let listing = self.lane.list(side, self.mailbox.raw.of(side), ask).await?;
        let ghosts = ghosts(&intents, side, listing.uid_validity);
        let known: BTreeSet<Uid> = rows.iter().filter_map(|row| *row.uids.of(side)).collect();
        let Told::All(messages) = listing.told else { return Ok(()) };
        let new = messages.iter().filter(|message| !known.contains(&message.uid));
        let twins = find_twins(new, &ghosts);
        self.remove_twins(side, &twins).await?;
        let seen: Vec<(i64, bool)> = mine.map(|i| (i.id, i.looked >= LOOKS_FOR_TWINS)).collect();
        let write = self.context.state.write(move |tx| {
            seen.iter().try_for_each(|(intent, last)| match last {
                true => record::close(tx, *intent),
                false => record::looked(tx, *intent),
            })
        });
        Ok(write.await?)
    }
}

/// Whether new messages can be those that the end says. One that is gone already cannot; then it is looked for in
/// vain.
fn is_where_it_says(told: &Told, placed: &BTreeMap<Uid, Placed>) -> bool {
    let (Told::All(messages) | Told::Changes { changed: messages, .. }) = told;
    let sizes: BTreeMap<Uid, Option<u64>> = messages.iter().map(|m| (m.uid, m.size)).collect();
    placed.iter().all(|(uid, placed)| {
        let size = placed.intended.size;
        // Ends estimate, or count line ends of their own.
        let fits = |told: u64| told.abs_diff(size) <= told.max(size) / 5 + 256;
        sizes.get(uid).is_some_and(|told| told.is_none_or(fits))
    })
}

/// What flags messages lack that they should have.
fn lacking(told: Told, placed: &BTreeMap<Uid, Placed>) -> Vec<(Uid, Flags)> {
    let (Told::All(messages) | Told::Changes { changed: messages, .. }) = told;
    let lacks = messages.into_iter().filter_map(|message| {
        let lacking = placed.get(&message.uid)?.wanted.difference(&message.flags);
        (!lacking.is_empty()).then_some((message.uid, lacking))
    });
    lacks.collect()
}
