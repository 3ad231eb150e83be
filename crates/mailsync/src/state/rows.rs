//! Mailboxes and messages in the tables.
//!
//! Nothing here decides what is written.

use std::num::NonZeroU32;

use rusqlite::{OptionalExtension, Row as SqlRow, Transaction, types::Type};
use serde::{Deserialize, Serialize};

use crate::{
    BodyHash, Fingerprint, Flags, MailboxPath, Mark, RawName, SystemFlag, Uid,
    identity::half,
    plan::{Facts, KnownMailbox, Row, RowId, Standing},
    sides::{Both, Side},
};

/// What is remembered of a mailbox on both ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct MailboxMemory {
    /// UIDVALIDITY of the rows.
    pub(crate) validity: Both<Option<u32>>,
    /// How far each end had been seen; none if it has to be listed anew.
    pub(crate) marks: Both<Option<Mark>>,
    /// By which selection it was planned.
    pub(crate) selection: Option<[u8; 16]>,
    /// Why deletes rest.
    pub(crate) suspended: Option<String>,
    /// What the rows come to, once all was done.
    pub(crate) summary: Option<Summary>,
}

/// What the rows of a mailbox come to.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// A digest of all messages that both ends have, with their flags.
    pub(crate) digest: String,
    /// Messages with a place on the left.
    pub(crate) left: u64,
    /// Messages with a place on the right.
    pub(crate) right: u64,
    /// By standing.
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) gone: u64,
    /// Of which nobody knows where they are on the right.
    pub(crate) placeless: u64,
}

/// A message that both ends have.
#[derive(Clone, Debug)]
pub(crate) struct Pairing {
    pub(crate) uids: Both<Option<Uid>>,
    pub(crate) flags: Flags,
    pub(crate) facts: Facts,
}

/// A message that one end has, and how it stands.
#[derive(Clone, Debug)]
pub(crate) struct Single {
    pub(crate) side: Side,
    pub(crate) uid: Uid,
    pub(crate) flags: Flags,
    pub(crate) facts: Facts,
    pub(crate) standing: Standing,
    /// Why, in an end's words.
    pub(crate) said: Option<String>,
}

pub(crate) fn mailboxes(tx: &Transaction<'_>) -> rusqlite::Result<Vec<KnownMailbox>> {
    let sql = "SELECT id, left_raw, right_raw, left_path, right_path FROM mailboxes";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        let raw = |column| row.get::<_, Vec<u8>>(column).map(RawName::new);
        Ok(KnownMailbox {
            id: row.get(0)?,
            raw: Both { left: raw(1)?, right: raw(2)? },
            path: Both { left: path(row, 3)?, right: path(row, 4)? },
        })
    })?;
    rows.collect()
}

/// Remembers a pair of mailboxes, which may be there under other names.
pub(crate) fn save_mailbox(
    tx: &Transaction<'_>,
    known: Option<i64>,
    raw: &Both<RawName>,
    paths: &Both<MailboxPath>,
) -> rusqlite::Result<i64> {
    let text = |path: &MailboxPath| serde_json::json!(path.parts()).to_string();
    let values = (raw.left.as_bytes(), raw.right.as_bytes(), text(&paths.left), text(&paths.right));
    let sql = "INSERT INTO mailboxes (id, left_raw, right_raw, left_path, right_path) \
               VALUES (?5, ?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET \
               left_raw = ?1, right_raw = ?2, left_path = ?3, right_path = ?4 RETURNING id";
    let (left, right, left_path, right_path) = values;
    tx.query_row(sql, (left, right, left_path, right_path, known), |row| row.get(0))
}

pub(crate) fn memory(tx: &Transaction<'_>, mailbox: i64) -> rusqlite::Result<MailboxMemory> {
    let sql = "SELECT left_validity, left_uid_next, left_modseq, left_messages, \
               right_validity, right_uid_next, right_modseq, right_messages, selection, suspended, \
               summary FROM mailboxes WHERE id = ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let mark = |row: &SqlRow<'_>, at: usize| -> rusqlite::Result<Option<Mark>> {
        let uid_next: Option<Uid> = row.get(at + 1)?;
        let Some((uid_next, uid_validity)) = uid_next.zip(row.get(at)?) else { return Ok(None) };
        let Some(messages) = row.get(at + 3)? else { return Ok(None) };
        Ok(Some(Mark { uid_validity, uid_next, highest_modseq: row.get(at + 2)?, messages }))
    };
    let memory = statement.query_row([mailbox], |row| {
        Ok(MailboxMemory {
            validity: Both { left: row.get(0)?, right: row.get(4)? },
            marks: Both { left: mark(row, 0)?, right: mark(row, 4)? },
            selection: row.get(8)?,
            suspended: row.get(9)?,
            // What cannot be read is counted again.
            summary: row
                .get_ref(10)?
                .as_str_or_null()?
                .and_then(|text| serde_json::from_str(text).ok()),
        })
    });
    Ok(memory.optional()?.unwrap_or_default())
}

pub(crate) fn save_memory(
    tx: &Transaction<'_>,
    mailbox: i64,
    memory: &MailboxMemory,
) -> rusqlite::Result<()> {
    let sql = "UPDATE mailboxes SET left_validity = ?2, left_uid_next = ?3, left_modseq = ?4, \
               left_messages = ?5, right_validity = ?6, right_uid_next = ?7, right_modseq = ?8, \
               right_messages = ?9, selection = ?10, suspended = ?11, summary = ?12 WHERE id = ?1";
    let MailboxMemory { validity, marks, selection, suspended, summary } = memory;
    let summary = summary.as_ref().map(|summary| serde_json::json!(summary).to_string());
    let (left, right) = (&marks.left, &marks.right);
    let next = |mark: &Option<Mark>| mark.map(|mark| mark.uid_next);
    let modseq = |mark: &Option<Mark>| mark.and_then(|mark| mark.highest_modseq);
    let messages = |mark: &Option<Mark>| mark.map(|mark| mark.messages);
    let values = rusqlite::params![
        mailbox,
        validity.left,
        next(left),
        modseq(left),
        messages(left),
        validity.right,
        next(right),
        modseq(right),
        messages(right),
        selection,
        suspended,
        summary
    ];
    tx.prepare_cached(sql)?.execute(values).map(|_| ())
}

/// Says of which UIDVALIDITY the rows are from now on. How far an end had been seen counts no more where it is
/// another one than before.
pub(crate) fn set_validity(
    tx: &Transaction<'_>,
    mailbox: i64,
    validity: Both<u32>,
) -> rusqlite::Result<()> {
    let mut memory = memory(tx, mailbox)?;
    for side in Side::BOTH {
        let now = Some(*validity.of(side));
        if *memory.validity.of(side) != now {
            *memory.validity.of_mut(side) = now;
            *memory.marks.of_mut(side) = None;
        }
    }
    save_memory(tx, mailbox, &memory)
}

pub(crate) fn rows(tx: &Transaction<'_>, mailbox: i64) -> rusqlite::Result<Vec<Row>> {
    let sql = "SELECT m.id, left_uid, right_uid, fingerprint, size, body, flags, words, \
               left_unholdable, right_unholdable, standing \
               FROM messages m JOIN keywords k ON k.id = m.keywords WHERE mailbox = ?1 ORDER BY m.id";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([mailbox], |row| {
        let unholdable = |column| -> rusqlite::Result<Flags> {
            let words = row.get_ref(column)?.as_str_or_null()?;
            Ok(Flags::read(words.unwrap_or_default().split_whitespace()))
        };
        let hash = |column| row.get::<_, Option<[u8; 16]>>(column);
        Ok(Row {
            id: row.get(0)?,
            uids: Both { left: row.get(1)?, right: row.get(2)? },
            flags: read_flags(row, 6)?,
            unholdable: Both { left: unholdable(8)?, right: unholdable(9)? },
            facts: Facts {
                fingerprint: hash(3)?.map(Fingerprint),
                size: row.get(4)?,
                body: hash(5)?.map(BodyHash),
            },
            standing: standing(row, 10)?,
        })
    })?;
    rows.collect()
}

/// Remembers a message that both have. What was remembered of either side alone is replaced.
pub(crate) fn save_pairing(
    tx: &Transaction<'_>,
    mailbox: i64,
    pairing: &Pairing,
) -> rusqlite::Result<()> {
    let Pairing { uids, flags, facts } = pairing;
    for side in Side::BOTH {
        if let Some(uid) = uids.of(side) {
            remove_uid(tx, mailbox, side, *uid)?;
        }
    }
    insert(tx, mailbox, uids, flags, facts, Standing::Done, None)
}

/// Remembers a message that one end has.
pub(crate) fn save_single(
    tx: &Transaction<'_>,
    mailbox: i64,
    single: &Single,
) -> rusqlite::Result<()> {
    let Single { side, uid, flags, facts, standing, said } = single;
    remove_uid(tx, mailbox, *side, *uid)?;
    let mut uids = Both::default();
    *uids.of_mut(*side) = Some(*uid);
    insert(tx, mailbox, &uids, flags, facts, *standing, said.as_deref())
}

fn remove_uid(tx: &Transaction<'_>, mailbox: i64, side: Side, uid: Uid) -> rusqlite::Result<()> {
    let sql = match side {
        Side::Left => "DELETE FROM messages WHERE mailbox = ?1 AND left_uid = ?2",
        Side::Right => "DELETE FROM messages WHERE mailbox = ?1 AND right_uid = ?2",
    };
    tx.prepare_cached(sql)?.execute((mailbox, uid)).map(|_| ())
}

fn insert(
    tx: &Transaction<'_>,
    mailbox: i64,
    uids: &Both<Option<Uid>>,
    flags: &Flags,
    facts: &Facts,
    standing: Standing,
    said: Option<&str>,
) -> rusqlite::Result<()> {
    let (system, keywords) = write_flags(tx, flags)?;
    let sql = "INSERT INTO messages (mailbox, left_uid, right_uid, fingerprint, size, body, flags, \
               keywords, standing, said) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = rusqlite::params![
        mailbox,
        uids.left,
        uids.right,
        facts.fingerprint.map(|Fingerprint(hash)| hash),
        facts.size,
        facts.body.map(|BodyHash(hash)| hash),
        system,
        keywords,
        number(standing),
        said
    ];
    tx.prepare_cached(sql)?.execute(values).map(|_| ())
}

pub(crate) fn set_uids(
    tx: &Transaction<'_>,
    row: RowId,
    uids: &Both<Option<Uid>>,
    standing: Option<Standing>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE messages SET left_uid = ?2, right_uid = ?3, standing = coalesce(?4, standing) \
               WHERE id = ?1";
    let values = (row, uids.left, uids.right, standing.map(number));
    tx.prepare_cached(sql)?.execute(values).map(|_| ())
}

pub(crate) fn set_flags(tx: &Transaction<'_>, row: RowId, flags: &Flags) -> rusqlite::Result<()> {
    let (system, keywords) = write_flags(tx, flags)?;
    let sql = "UPDATE messages SET flags = ?2, keywords = ?3 WHERE id = ?1";
    tx.prepare_cached(sql)?.execute((row, system, keywords)).map(|_| ())
}

/// Remembers that an end took flags and did not keep them.
pub(crate) fn set_unholdable(
    tx: &Transaction<'_>,
    mailbox: i64,
    side: Side,
    uid: Uid,
    flags: &Flags,
) -> rusqlite::Result<()> {
    let sql = match side {
        Side::Left => {
            "UPDATE messages SET left_unholdable = ?3 WHERE mailbox = ?1 AND left_uid = ?2"
        }
        Side::Right => {
            "UPDATE messages SET right_unholdable = ?3 WHERE mailbox = ?1 AND right_uid = ?2"
        }
    };
    tx.prepare_cached(sql)?.execute((mailbox, uid, flags.to_string())).map(|_| ())
}

pub(crate) fn forget(tx: &Transaction<'_>, row: RowId) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([row]).map(|_| ())
}

/// Remembers, before it is done, that a message is going to be deleted.
pub(crate) fn bury(
    tx: &Transaction<'_>,
    mailbox: i64,
    side: Side,
    uid: Uid,
    moved_to: Option<&MailboxPath>,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tombstones (mailbox, on_right, uid, fingerprint, moved_to, at) \
               SELECT ?1, ?2, ?3, fingerprint, ?4, unixepoch() FROM messages \
               WHERE mailbox = ?1 AND ((?2 AND right_uid = ?3) OR (NOT ?2 AND left_uid = ?3))";
    let moved_to = moved_to.map(ToString::to_string);
    tx.prepare_cached(sql)?.execute((mailbox, side == Side::Right, uid, moved_to)).map(|_| ())
}

/// Counts the rows of a mailbox.
pub(crate) fn summary(tx: &Transaction<'_>, mailbox: i64) -> rusqlite::Result<Summary> {
    let mut summary = Summary::default();
    let mut digest = [0_u8; 16];
    for row in rows(tx, mailbox)? {
        summary.left += u64::from(row.uids.left.is_some());
        summary.right += u64::from(row.uids.right.is_some());
        match row.standing {
            Standing::Done => {
                summary.done += 1;
                summary.placeless += u64::from(row.uids.right.is_none());
                let mut hasher = blake3::Hasher::new();
                hasher.update(&row.facts.fingerprint.map_or([0; 16], |Fingerprint(hash)| hash));
                hasher.update(row.flags.to_string().to_ascii_lowercase().as_bytes());
                let hash = half(&hasher);
                digest.iter_mut().zip(hash).for_each(|(digest, byte)| *digest ^= byte);
            }
            Standing::Failed => summary.failed += 1,
            Standing::Skipped => summary.skipped += 1,
            Standing::Gone => summary.gone += 1,
            Standing::Alone => {}
        }
    }
    summary.digest = format!("{:032x}", u128::from_be_bytes(digest));
    Ok(summary)
}

/// Whether a mailbox has intents.
pub(crate) fn has_intents(tx: &Transaction<'_>, mailbox: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM intents WHERE mailbox = ?1)";
    tx.prepare_cached(sql)?.query_row([mailbox], |row| row.get(0))
}

/// Messages that were refused, with their sizes and why.
pub(crate) fn failed(
    tx: &Transaction<'_>,
    mailbox: i64,
) -> rusqlite::Result<Vec<(Uid, u64, String)>> {
    let sql = "SELECT coalesce(left_uid, right_uid), coalesce(size, 0), coalesce(said, '') FROM messages \
               WHERE mailbox = ?1 AND standing = ?2 ORDER BY 1";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map((mailbox, number(Standing::Failed)), |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    rows.collect()
}

pub(super) fn write_flags(tx: &Transaction<'_>, flags: &Flags) -> rusqlite::Result<(u8, i64)> {
    let system = SystemFlag::ALL.into_iter().filter(|flag| flags.contains(*flag));
    let system = system.fold(0, |bits, flag| bits | bit(flag));
    let words: Vec<&str> = flags.keywords().map(crate::Keyword::as_str).collect();
    let words = words.join(" ");
    let known = "SELECT id FROM keywords WHERE words = ?1";
    let known: Option<i64> =
        tx.prepare_cached(known)?.query_row([&words], |row| row.get(0)).optional()?;
    let id = match known {
        Some(id) => id,
        None => {
            tx.prepare_cached("INSERT INTO keywords (words) VALUES (?1)")?.execute([&words])?;
            tx.last_insert_rowid()
        }
    };
    Ok((system, id))
}

/// Flags in a column of bits and, behind it, one of words.
pub(super) fn read_flags(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Flags> {
    let bits: u8 = row.get(column)?;
    let words = row.get_ref(column + 1)?.as_str()?;
    let mut flags = Flags::read(words.split_whitespace());
    for flag in SystemFlag::ALL {
        if bits & bit(flag) != 0 {
            flags.insert(flag);
        }
    }
    Ok(flags)
}

/// The bits are stored: they never change.
fn bit(flag: SystemFlag) -> u8 {
    match flag {
        SystemFlag::Answered => 1,
        SystemFlag::Deleted => 2,
        SystemFlag::Draft => 4,
        SystemFlag::Flagged => 8,
        SystemFlag::Seen => 16,
    }
}

/// The numbers are stored: they never change.
fn number(standing: Standing) -> u8 {
    match standing {
        Standing::Done => 1,
        Standing::Failed => 2,
        Standing::Skipped => 3,
        Standing::Gone => 4,
        Standing::Alone => 5,
    }
}

fn standing(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Standing> {
    let stored: u8 = row.get(column)?;
    let all =
        [Standing::Done, Standing::Failed, Standing::Skipped, Standing::Gone, Standing::Alone];
    let known = all.into_iter().find(|standing| number(*standing) == stored);
    known.ok_or_else(|| wrong(column, Type::Integer, "no such standing"))
}

fn path(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<MailboxPath> {
    let text = row.get_ref(column)?.as_str()?;
    let parts: Vec<String> =
        serde_json::from_str(text).map_err(|_| wrong(column, Type::Text, "no mailbox path"))?;
    Ok(MailboxPath::new(parts))
}

fn wrong(column: usize, kind: Type, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, what.into())
}

/// The UID behind the last one that there can be is taken for the last one.
pub(crate) fn after(uid: Uid) -> Uid {
    uid.checked_add(1).unwrap_or(NonZeroU32::MAX)
}
