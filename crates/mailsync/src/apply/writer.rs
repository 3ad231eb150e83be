//! Stores messages on an end in batches: first the intent, then the bytes, then what became of them.
//!
//! Nothing here is sent before its intent is on disk. A batch that is refused is halved until the message is
//! alone that the end does not take.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::{Broken, Context, Done, Mailbox, Placed, locate::locate};
use crate::{
    Fault, FaultKind, Flags, Holdable, Message, Progress, Session, Uid,
    ends::{Append, Appended, Body, Refusal, RefusalCause},
    plan::{Facts, Standing},
    report::FailedMessage,
    sides::Side,
    state::{Intended, Intent, Pairing, Single, record},
};

/// Messages of this many bytes go alone, so that a refusal does not cost the others.
const ALONE: u64 = 1024 * 1024;

/// Some servers end the connection over a message that they do not take. Alone it gets another chance, or two.
const TOO_OFTEN: u32 = 3;

const LOST_WITH_IT: &str = "the connection was lost each time the message was sent";

pub(super) struct Writer<'w, S> {
    pub(super) to: &'w mut S,
    pub(super) context: &'w Context<'w>,
    pub(super) mailbox: &'w Mailbox,
    /// Where they go.
    pub(super) side: Side,
    /// The messages on the end they come from.
    pub(super) messages: &'w BTreeMap<Uid, &'w Message>,
    /// The flags that will have been agreed on.
    pub(super) travelling: &'w (dyn Fn(&Flags) -> Flags + Sync),
    pub(super) holdable: &'w Holdable,
    pub(super) validity: u32,
    pub(super) uid_next: Uid,
    /// UIDs there that belong to messages we know.
    pub(super) taken: BTreeSet<Uid>,
    pub(super) done: &'w mut Done,
    /// Messages with which connections were lost, and how often.
    pub(super) suspects: &'w BTreeMap<Uid, u32>,
    /// To be written down with the next intent: that saves half of the waits for the disk, and a crash before
    /// is what intents are for.
    pub(super) settled: Settled,
}

#[derive(Debug, Default)]
pub(super) struct Settled {
    pairings: Vec<Pairing>,
    closed: Vec<i64>,
}

/// In what form a message goes that was refused before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// As it is.
    Whole,
    /// Without keywords, which some ends refuse; they are stored afterwards.
    Plain,
    /// Without its date too.
    Undated,
}

impl<S: Session> Writer<'_, S> {
    /// Takes messages in and sends them off, until no more come.
    pub(super) async fn run(mut self, mut ready: mpsc::Receiver<Body>) -> Result<(), Broken> {
        let limits = &self.context.policy.limits;
        let most = self.context.pace.burst(limits.batch_messages);
        let bytes = limits.batch_bytes.min(u64::from(limits.memory / 4));
        let mut batch: Vec<Append> = Vec::new();
        let mut size = 0_u64;
        while let Some(body) = ready.recv().await {
            let full = batch.len() >= most || size.saturating_add(body.length) > bytes;
            let lost = self.suspects.get(&body.uid).copied().unwrap_or_default();
            if !batch.is_empty() && (full || body.length >= ALONE || lost > 0) {
                self.send(std::mem::take(&mut batch)).await?;
                size = 0;
            }
            size = size.saturating_add(body.length);
            let append = self.prepare(body, Form::Whole);
            match lost {
                0 => batch.push(append),
                1..TOO_OFTEN => {
                    self.send(vec![append]).await?;
                    size = 0;
                }
                _ => self.fail(&append, LOST_WITH_IT.to_owned()).await?,
            }
        }
        if !batch.is_empty() {
            self.send(batch).await?;
        }
        self.settle().await
    }

    fn prepare(&self, body: Body, form: Form) -> Append {
        let (mut flags, mut date) = (Flags::default(), None);
        if let Some(message) = self.messages.get(&body.uid) {
            flags = self.holdable.holds(&(self.travelling)(&message.flags));
            date = message.date;
        }
        if form != Form::Whole {
            flags = flags.without_keywords();
        }
        Append { body, flags, date: date.filter(|_| form != Form::Undated) }
    }

    async fn send(&mut self, batch: Vec<Append>) -> Result<(), Broken> {
        let bytes = batch.iter().map(|append| append.body.length).sum();
        self.context.pace.wait(batch.len(), bytes).await;
        let mut parts = vec![(batch, Form::Whole)];
        while let Some((part, form)) = parts.pop() {
            parts.extend(self.send_part(part, form).await?);
        }
        Ok(())
    }

    /// Sends messages in one go; gives back those that have to be sent again in smaller parts, or in another
    /// form.
    async fn send_part(
        &mut self,
        part: Vec<Append>,
        form: Form,
    ) -> Result<Vec<(Vec<Append>, Form)>, Broken> {
        let intent = self.intend(&part).await?;
        let raw = self.mailbox.raw.of(self.side);
        let became = match self.to.append(raw, &part).await {
            Ok(became) => became,
            Err(fault) => {
                // What surely was not done need not be looked up.
                if !matches!(fault.kind, FaultKind::Lost | FaultKind::Disk) {
                    self.settled.closed.push(intent.id);
                    self.settle().await?;
                }
                return Err(Broken::End(fault));
            }
        };
        if became.len() != part.len() {
            let said = "the end did not say of each message what became of it";
            return Err(Broken::End(Fault::lost(said)));
        }
        let places = self.places(&intent, &became).await?;
        self.settled.closed.push(intent.id);
        let mut again: Vec<(Vec<Append>, Form)> = Vec::new();
        let mut refused_together: Vec<Append> = Vec::new();
        let mut give_up = None;
        let (mut copied, mut copied_bytes) = (0, 0);
        let rows = part.into_iter().zip(intent.messages).zip(became.into_iter().zip(places));
        for ((append, intended), (became, place)) in rows {
            match became {
                Ok(_) => {
                    copied += 1;
                    copied_bytes += append.body.length;
                    self.stored(intended, place);
                }
                Err(refusal) if blames_no_message(&refusal).is_some() => {
                    give_up = give_up.or_else(|| blames_no_message(&refusal));
                }
                Err(refusal) if refusal.among > 1 && form == Form::Whole => {
                    refused_together.push(append);
                }
                Err(refusal) => again.extend(self.refused(append, form, refusal).await?),
            }
        }
        if copied > 0 {
            self.done.copied(copied, copied_bytes);
            let (mailbox, messages, bytes) = (&self.mailbox.path.left, copied, copied_bytes);
            self.context.observer.see(Progress::Copied { mailbox, messages, bytes });
        }
        if let Some(fault) = give_up {
            self.settle().await?;
            return Err(Broken::End(fault));
        }
        // The later half goes below, for the last part is sent first.
        let half = refused_together.len().div_ceil(2);
        let later = refused_together.split_off(half);
        again.extend(
            [later, refused_together].into_iter().filter(|p| !p.is_empty()).map(|p| (p, form)),
        );
        Ok(again)
    }

    /// Writes down what is about to be sent, and what became of that which was sent before.
    async fn intend(&mut self, part: &[Append]) -> Result<Intent, Broken> {
        let messages = part.iter().map(|append| self.intended(append)).collect();
        let Self { side, validity, uid_next, .. } = *self;
        let mut intent = Intent { id: 0, to: side, validity, uid_next, looked: 0, messages };
        let settled = std::mem::take(&mut self.settled);
        let (mailbox, written) = (self.mailbox.id, intent.clone());
        let id = self.context.state.write(move |tx| {
            settled.write(tx, mailbox)?;
            record::intend(tx, mailbox, &written)
        });
        intent.id = id.await.map_err(Broken::State)?;
        Ok(intent)
    }

    fn intended(&self, append: &Append) -> Intended {
        let body = &append.body;
        let flags = self.messages.get(&body.uid).map(|m| (self.travelling)(&m.flags));
        Intended {
            uid: body.uid,
            fingerprint: body.fingerprint,
            size: body.length,
            body: body.hash,
            date: append.date,
            flags: flags.unwrap_or_default(),
        }
    }

    /// Where the stored messages are: as the end says, if that can be, else by looking.
    async fn places(
        &mut self,
        intent: &Intent,
        became: &[Appended],
    ) -> Result<Vec<Option<Uid>>, Broken> {
        let told = became.iter().map(|became| match became {
            Ok(Some((validity, uid))) if *validity == self.validity => Some(*uid),
            _ => None,
        });
        let mut places: Vec<Option<Uid>> = told.collect();
        let mut distinct = BTreeSet::new();
        // A UID that another message has, or that was given twice, is nobody's.
        let believed = |uid: &Uid| !self.taken.contains(uid) && *uid >= intent.uid_next;
        if !places.iter().flatten().all(|uid| believed(uid) && distinct.insert(*uid)) {
            places.fill(None);
        }
        self.taken.extend(places.iter().flatten());
        let unknown = |at: &usize| {
            matches!(became.get(*at), Some(Ok(_))) && matches!(places.get(*at), Some(None))
        };
        let unknown: Vec<usize> = (0..became.len()).filter(unknown).collect();
        if !unknown.is_empty() {
            let wanted: Vec<Intended> =
                unknown.iter().filter_map(|at| intent.messages.get(*at).cloned()).collect();
            let raw = self.mailbox.raw.of(self.side);
            let limits = &self.context.policy.limits;
            let located = locate(self.to, raw, intent.uid_next, &self.taken, &wanted, limits).await;
            let located = located.map_err(Broken::End)?;
            if located.uid_validity != self.validity {
                let said = "UIDVALIDITY has changed while messages were stored";
                return Err(Broken::End(Fault::lost(said)));
            }
            self.taken.extend(located.places.iter().flatten());
            self.uid_next = self.uid_next.max(located.uid_next);
            for (at, found) in unknown.into_iter().zip(located.places) {
                self.done.placeless += u64::from(found.is_none());
                if let Some(place) = places.get_mut(at) {
                    *place = found;
                }
            }
        }
        // Recovery looks from here on, so it must not be too high: an end that names wrong UIDs leaves a gap.
        let (first, last) = (places.iter().flatten().min(), places.iter().flatten().max());
        if let Some(last) = last.filter(|_| first == Some(&self.uid_next)) {
            self.uid_next = record::after(*last);
        }
        Ok(places)
    }

    fn stored(&mut self, intended: Intended, place: Option<Uid>) {
        self.settled.pairings.push(intended.at(self.side, place));
        if let Some(place) = place {
            let wanted = self.holdable.holds(&intended.flags);
            self.done.placed.of_mut(self.side).insert(place, Placed { intended, wanted });
        }
    }

    /// A message that is refused by itself.
    async fn refused(
        &mut self,
        append: Append,
        form: Form,
        refusal: Refusal,
    ) -> Result<Option<(Vec<Append>, Form)>, Broken> {
        let has_keywords = append.flags != append.flags.without_keywords();
        let next = match form {
            _ if refusal.cause == RefusalCause::TooLarge => None,
            Form::Whole if has_keywords => Some(Form::Plain),
            Form::Whole | Form::Plain if append.date.is_some() => Some(Form::Undated),
            _ => None,
        };
        if let Some(form) = next {
            let append = self.prepare(append.body, form);
            return Ok(Some((vec![append], form)));
        }
        self.fail(&append, refusal.said).await?;
        Ok(None)
    }

    async fn fail(&mut self, append: &Append, said: String) -> Result<(), Broken> {
        let body = &append.body;
        let (mailbox, uid) = (&self.mailbox.path.left, body.uid.get());
        self.context.observer.see(Progress::Failed { mailbox, uid, said: &said });
        self.done.failed.push(FailedMessage { uid, size: body.length, said: said.clone() });
        let single = Single {
            side: self.side.other(),
            uid: body.uid,
            flags: self.messages.get(&body.uid).map(|m| m.flags.clone()).unwrap_or_default(),
            facts: Facts {
                fingerprint: Some(body.fingerprint),
                size: Some(body.length),
                body: Some(body.hash),
            },
            standing: Standing::Failed,
            said: Some(said),
        };
        let mailbox = self.mailbox.id;
        let write = self.context.state.write(move |tx| record::save_single(tx, mailbox, &single));
        write.await.map_err(Broken::State)?;
        self.context.count_failed().map_err(Broken::End)
    }

    async fn settle(&mut self) -> Result<(), Broken> {
        let settled = std::mem::take(&mut self.settled);
        let mailbox = self.mailbox.id;
        let write = self.context.state.write(move |tx| settled.write(tx, mailbox));
        write.await.map_err(Broken::State)
    }
}

impl Settled {
    fn write(&self, tx: &rusqlite::Transaction<'_>, mailbox: i64) -> rusqlite::Result<()> {
        for pairing in &self.pairings {
            record::save_pairing(tx, mailbox, pairing)?;
        }
        self.closed.iter().try_for_each(|intent| record::close(tx, *intent))
    }
}

/// A refusal that is no fault of the message.
fn blames_no_message(refusal: &Refusal) -> Option<Fault> {
    let kind = match refusal.cause {
        RefusalCause::Full => FaultKind::Full,
        RefusalCause::Mailbox => FaultKind::Mailbox,
        RefusalCause::NotNow(wait) => FaultKind::Busy(wait),
        RefusalCause::Other | RefusalCause::TooLarge => return None,
    };
    Some(Fault::new(kind, refusal.said.clone()))
}
