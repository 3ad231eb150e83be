//! What is about to be sent, written down before the first byte of it goes out.
//!
//! Nothing here knows what became of it: whoever comes after a crash has to look.

use rusqlite::Transaction;

use super::rows::{Pairing, read_flags, write_flags};
use crate::{
    BodyHash, Fingerprint, Flags, InternalDate, Uid,
    plan::Facts,
    sides::{Both, Side},
};

/// Messages that are about to be sent to an end.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) id: i64,
    /// Where to.
    pub(crate) to: Side,
    /// UIDVALIDITY there.
    pub(crate) validity: u32,
    /// No new message there has a lower UID.
    pub(crate) uid_next: Uid,
    /// How often it was looked up since; never if its end is open.
    pub(crate) looked: u32,
    /// In the order in which they are sent.
    pub(crate) messages: Vec<Intended>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Intended {
    /// Where it comes from.
    pub(crate) uid: Uid,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) size: u64,
    pub(crate) body: BodyHash,
    pub(crate) date: Option<InternalDate>,
    /// What both will have agreed on.
    pub(crate) flags: Flags,
}

impl Intended {
    /// The pair that it becomes when it is on a side, under a UID or where nobody knows.
    pub(crate) fn at(&self, side: Side, uid: Option<Uid>) -> Pairing {
        let mut uids = Both::default();
        *uids.of_mut(side) = uid;
        *uids.of_mut(side.other()) = Some(self.uid);
        let facts = Facts {
            fingerprint: Some(self.fingerprint),
            size: Some(self.size),
            body: Some(self.body),
        };
        Pairing { uids, flags: self.flags.clone(), facts }
    }
}

/// Writes an intent down; its `id` is given.
pub(crate) fn intend(tx: &Transaction<'_>, mailbox: i64, intent: &Intent) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO intents (mailbox, to_right, validity, uid_next) VALUES (?1, ?2, ?3, ?4)";
    let values = (mailbox, intent.to == Side::Right, intent.validity, intent.uid_next);
    tx.prepare_cached(sql)?.execute(values)?;
    let id = tx.last_insert_rowid();
    let sql = "INSERT INTO intended (intent, position, uid, fingerprint, size, body, seconds, zone, \
               flags, keywords) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let mut statement = tx.prepare_cached(sql)?;
    for (position, message) in (0_i64..).zip(&intent.messages) {
        let (system, keywords) = write_flags(tx, &message.flags)?;
        statement.execute(rusqlite::params![
            id,
            position,
            message.uid,
            message.fingerprint.0,
            message.size,
            message.body.0,
            message.date.map(|date| date.seconds),
            message.date.map(|date| date.zone),
            system,
            keywords
        ])?;
    }
    Ok(id)
}

/// All intents of a mailbox, oldest first.
pub(crate) fn intents(tx: &Transaction<'_>, mailbox: i64) -> rusqlite::Result<Vec<Intent>> {
    let sql = "SELECT id, to_right, validity, uid_next, looked FROM intents WHERE mailbox = ?1 ORDER BY id";
    let mut statement = tx.prepare_cached(sql)?;
    let intents = statement.query_map([mailbox], |row| {
        Ok(Intent {
            id: row.get(0)?,
            to: if row.get(1)? { Side::Right } else { Side::Left },
            validity: row.get(2)?,
            uid_next: row.get(3)?,
            looked: row.get(4)?,
            messages: Vec::new(),
        })
    })?;
    let mut intents: Vec<Intent> = intents.collect::<Result<_, _>>()?;
    for intent in &mut intents {
        intent.messages = intended(tx, intent.id)?;
    }
    Ok(intents)
}

fn intended(tx: &Transaction<'_>, intent: i64) -> rusqlite::Result<Vec<Intended>> {
    let sql = "SELECT uid, fingerprint, size, body, seconds, zone, flags, words \
               FROM intended i JOIN keywords k ON k.id = i.keywords WHERE intent = ?1 ORDER BY position";
    let mut statement = tx.prepare_cached(sql)?;
    let messages = statement.query_map([intent], |row| {
        let (seconds, zone): (Option<i64>, Option<i16>) = (row.get(4)?, row.get(5)?);
        Ok(Intended {
            uid: row.get(0)?,
            fingerprint: Fingerprint(row.get(1)?),
            size: row.get(2)?,
            body: BodyHash(row.get(3)?),
            date: seconds.zip(zone).map(|(seconds, zone)| InternalDate { seconds, zone }),
            flags: read_flags(row, 6)?,
        })
    })?;
    messages.collect()
}

/// Says that an intent was looked up once more. Its messages stay known, for a copy can still turn up.
pub(crate) fn looked(tx: &Transaction<'_>, intent: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE intents SET looked = looked + 1 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute([intent]).map(|_| ())
}

/// Says that one message of an intent has been found.
pub(crate) fn found(tx: &Transaction<'_>, intent: i64, uid: Uid) -> rusqlite::Result<()> {
    let sql = "DELETE FROM intended WHERE intent = ?1 AND uid = ?2";
    tx.prepare_cached(sql)?.execute((intent, uid)).map(|_| ())
}

/// Nothing more can come of it.
pub(crate) fn close(tx: &Transaction<'_>, intent: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM intents WHERE id = ?1")?.execute([intent]).map(|_| ())
}
