//! The rows of placement: pools and their members, the pages of shards, the mailboxes, and who is drained.
//!
//! Nothing here chooses a back end or hashes an id. A page is changed only from the epoch that was read:
//! whoever comes second has to look again.

use model::{BackendName, CanonicalUser};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{
    Store, StoreError, bad_row,
    changes::{By, CHANGE_ID},
};
use crate::placement::Key;

/// A mailbox as it is stored under a user's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StoredMailbox {
    pub(crate) id: Box<str>,
    /// Whether a source gave the id; else it was drawn when the user was first seen.
    pub(crate) given: bool,
    /// The pool that placed it first, and so for good.
    pub(crate) pool: Box<str>,
}

/// What the page of a shard says of one mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Page {
    pub(crate) epoch: u64,
    /// Where all are who have no home of their own.
    pub(crate) backend: Option<BackendName>,
    /// The mailbox's own home.
    pub(crate) own: Option<OwnHome>,
}

/// A home of one mailbox alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OwnHome {
    /// Whose it is: two mailboxes may have one fingerprint.
    pub(crate) mailbox: Box<str>,
    pub(crate) backend: BackendName,
    pub(crate) epoch: u64,
}

/// A pool as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredPool {
    /// `shard` or `user`, as it was when the pool was first opened.
    pub place: String,
    /// The version of the list of members, from 1.
    pub version: u64,
    /// Its members, by name.
    pub members: Vec<BackendName>,
}

/// What is to become of a mailbox, if nobody was faster.
pub(crate) struct Settle<'a> {
    /// Who does it, and what.
    pub(crate) by: (&'a str, &'a str),
    pub(crate) user: &'a CanonicalUser,
    pub(crate) mailbox: &'a StoredMailbox,
    /// What is stored of it so far.
    pub(crate) before: Option<&'a StoredMailbox>,
    /// Whether it is stored at all.
    pub(crate) store_mailbox: bool,
    pub(crate) key: Key,
    /// Its home of its own from now on, and the epoch from which the page is changed.
    pub(crate) own: Option<(&'a BackendName, u64)>,
    /// Where it was, for the history.
    pub(crate) from: Option<&'a BackendName>,
}

/// One run of shards with the same owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShardRun {
    /// The first shard.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Their owner; none where each user has a home of his own.
    pub backend: Option<BackendName>,
    /// The highest epoch among their pages.
    pub epoch: u64,
}

/// A mailbox in a list: whose it is, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ListedMailbox {
    pub(crate) user: CanonicalUser,
    pub(crate) mailbox: StoredMailbox,
}

/// How a renaming ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Renamed {
    /// The new name stands for what the old one stood for.
    Done,
    /// Nothing is stored under the old name.
    Nobody,
    /// One of both is held.
    Held,
    /// Something is stored under the new name already.
    Taken,
}

/// How an act on pages ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Swap {
    Done,
    /// Another was faster: look again.
    Outdated,
}

impl Store {
    /// The key by which mailboxes are spread over shards.
    pub(crate) fn cluster_key(&self) -> Result<[u8; 16], StoreError> {
        let writer = self.writer.lock();
        Ok(writer.query_row("SELECT key FROM cluster", (), |row| row.get(0))?)
    }

    /// A pool; none if it was never opened.
    pub(crate) fn pool(&self, name: &str) -> Result<Option<StoredPool>, StoreError> {
        self.readers.with(|connection| pool(connection, name))
    }

    /// Opens a pool for the first time: its members, and a page for each shard with the owner that
    /// `owner` says. If another was faster, nothing is changed.
    pub(crate) fn begin_pool(
        &self,
        name: &str,
        place: &str,
        members: &[BackendName],
        owner: impl Fn(u16) -> Option<BackendName>,
    ) -> Result<(), StoreError> {
        let by = By::now("configuration", "open");
        self.write(|transaction| {
            if pool(transaction, name)?.is_some() {
                return Ok(());
            }
            let sql = "INSERT INTO pools (name, place, version) VALUES (?1, ?2, 0)";
            transaction.prepare_cached(sql)?.execute((name, place))?;
            set_members(transaction, &by, name, members)?;
            let sql =
                "INSERT INTO pages (pool, shard, epoch, backend, since) VALUES (?1, ?2, 1, ?3, ?4)";
            let mut insert = transaction.prepare_cached(sql)?;
            for shard in 0..=u16::MAX {
                let owner = owner(shard);
                let owner = owner.as_ref().map(BackendName::as_str);
                insert.execute((name, shard, owner, by.at()))?;
            }
            Ok(())
        })
    }

    /// Makes a back end a member. What the pool was before counts; none if it is a member already, or
    /// there is no such pool.
    pub(crate) fn add_member(
        &self,
        actor: &str,
        name: &str,
        backend: &BackendName,
    ) -> Result<Option<StoredPool>, StoreError> {
        let by = By::now(actor, "add-backend");
        self.write(|transaction| {
            let before = pool(transaction, name)?;
            let Some(before) = before.filter(|pool| !pool.members.contains(backend)) else {
                return Ok(None);
            };
            let members = [before.members.as_slice(), std::slice::from_ref(backend)].concat();
            set_members(transaction, &by, name, &members)?;
            Ok(Some(before))
        })
    }

    /// What is stored of a user's mailbox.
    pub(crate) fn mailbox(
        &self,
        user: &CanonicalUser,
    ) -> Result<Option<StoredMailbox>, StoreError> {
        self.readers.with(|connection| mailbox(connection, user))
    }

    /// What the page of its shard says of a mailbox; none if the pool was never opened.
    pub(crate) fn page(&self, pool: &str, key: Key) -> Result<Option<Page>, StoreError> {
        let sql = "SELECT p.epoch, p.backend, o.mailbox, o.backend, o.epoch FROM pages p \
                   LEFT JOIN overrides o ON o.pool = p.pool AND o.shard = p.shard AND o.fingerprint = ?3 \
                   WHERE p.pool = ?1 AND p.shard = ?2";
        self.readers.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query((pool, key.shard, key.fingerprint))?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let subject = || format!("shard {} of {pool}", key.shard);
            let owner: Option<String> = row.get(1)?;
            let mailbox: Option<String> = row.get(2)?;
            Ok(Some(Page {
                epoch: row.get(0)?,
                backend: owner.map(|name| stored_backend(name, &subject())).transpose()?,
                own: match mailbox {
                    None => None,
                    Some(mailbox) => Some(OwnHome {
                        mailbox: mailbox.into(),
                        backend: stored_backend(row.get(3)?, &subject())?,
                        epoch: row.get(4)?,
                    }),
                },
            }))
        })
    }

    /// Stores a mailbox, its own home, or both, in one transaction and only if all is as it was read.
    pub(crate) fn settle(&self, settle: &Settle<'_>) -> Result<Swap, StoreError> {
        let by = By::now(settle.by.0, settle.by.1);
        self.swap(|transaction| {
            if settle.store_mailbox && !store_mailbox(transaction, settle)? {
                return Ok(Swap::Outdated);
            }
            if let Some(before) = settle.before.filter(|_| settle.store_mailbox) {
                let ids = (Some(&*before.id), Some(&*settle.mailbox.id));
                let by = By::now(settle.by.0, CHANGE_ID);
                by.note(transaction, ("user", settle.user.as_str()), ids.0, ids.1)?;
            }
            let Some((backend, epoch)) = settle.own else { return Ok(Swap::Done) };
            let (pool, key, at) = (&*settle.mailbox.pool, settle.key, by.at());
            if !raise_epoch(transaction, pool, key.shard, epoch, at)? {
                return Ok(Swap::Outdated);
            }
            let sql = "INSERT INTO overrides (pool, shard, fingerprint, mailbox, epoch, backend, since) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET \
                       epoch = excluded.epoch, backend = excluded.backend, since = excluded.since \
                       WHERE mailbox = excluded.mailbox";
            let written = transaction.prepare_cached(sql)?.execute((
                pool,
                key.shard,
                key.fingerprint,
                &*settle.mailbox.id,
                epoch.saturating_add(1),
                backend.as_str(),
                at,
            ))?;
            // Another mailbox has this fingerprint: its home is not this one's.
            if written == 0 {
                return Ok(Swap::Outdated);
            }
            let from = settle.from.map(BackendName::as_str);
            let user = settle.user.as_str();
            by.note(transaction, ("user", user), from, Some(backend.as_str()))?;
            Ok(Swap::Done)
        })
    }

    /// Gives shards to a back end. The number of pages that had another owner.
    pub(crate) fn place_shards(
        &self,
        actor: &str,
        pool: &str,
        (first, last): (u16, u16),
        backend: &BackendName,
    ) -> Result<u64, StoreError> {
        let by = By::now(actor, "place-shards");
        self.write(|transaction| {
            let owners = runs(transaction, pool, Some((first, last)))?;
            let sql = "UPDATE pages SET epoch = epoch + 1, backend = ?4, since = ?5 \
                       WHERE pool = ?1 AND shard BETWEEN ?2 AND ?3 AND backend IS NOT ?4";
            let mut update = transaction.prepare_cached(sql)?;
            let changed = update.execute((pool, first, last, backend.as_str(), by.at()))?;
            for run in owners.iter().filter(|run| run.backend.as_ref() != Some(backend)) {
                let subject = format!("{pool} {}-{}", run.first, run.last);
                let before = run.backend.as_ref().map(BackendName::as_str);
                by.note(transaction, ("shard", &subject), before, Some(backend.as_str()))?;
            }
            Ok(u64::try_from(changed).unwrap_or(u64::MAX))
        })
    }

    /// The shards of a pool in order, runs of one owner together.
    pub(crate) fn shard_runs(&self, pool: &str) -> Result<Vec<ShardRun>, StoreError> {
        self.readers.with(|connection| runs(connection, pool, None))
    }

    /// Gives what is stored under one name to another that has nothing: the mailbox's id, and the row of
    /// the table.
    pub(crate) fn rename(
        &self,
        actor: &str,
        (old, new): (&CanonicalUser, &CanonicalUser),
        id_of_old: Option<&StoredMailbox>,
    ) -> Result<Renamed, StoreError> {
        let by = By::now(actor, "rename");
        self.write(|transaction| {
            let taken = "SELECT EXISTS (SELECT 1 FROM users WHERE name = ?1) \
                         OR EXISTS (SELECT 1 FROM mailboxes WHERE name = ?1)";
            if transaction.query_row(taken, [new.as_str()], |row| row.get(0))? {
                return Ok(Renamed::Taken);
            }
            // Under another name nothing would hold him.
            let held =
                "SELECT EXISTS (SELECT 1 FROM holds WHERE about = 'user' AND subject IN (?1, ?2))";
            if transaction.query_row(held, (old.as_str(), new.as_str()), |row| row.get(0))? {
                return Ok(Renamed::Held);
            }
            if let Some(mailbox) = id_of_old
                && self::mailbox(transaction, old)?.is_none()
            {
                insert_mailbox(transaction, old, mailbox)?;
            }
            let sql = "UPDATE mailboxes SET name = ?2 WHERE name = ?1";
            let mailboxes = transaction.execute(sql, (old.as_str(), new.as_str()))?;
            let sql = "UPDATE users SET name = ?2, changed_at = ?3 WHERE name = ?1";
            let users = transaction.execute(sql, (old.as_str(), new.as_str(), by.at()))?;
            if mailboxes + users == 0 {
                return Ok(Renamed::Nobody);
            }
            for name in [old, new] {
                let (before, after) = (Some(old.as_str()), Some(new.as_str()));
                by.note(transaction, ("user", name.as_str()), before, after)?;
            }
            Ok(Renamed::Done)
        })
    }

    /// How many mailboxes have homes of their own, by back end.
    pub(crate) fn loads(&self, pool: &str) -> Result<Vec<(BackendName, u64)>, StoreError> {
        let sql = "SELECT backend, users FROM loads WHERE pool = ?1 AND users > 0 ORDER BY backend";
        self.readers.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([pool])?;
            let mut loads = Vec::new();
            while let Some(row) = rows.next()? {
                loads.push((stored_backend(row.get(0)?, pool)?, row.get(1)?));
            }
            Ok(loads)
        })
    }

    /// The mailboxes of a range of names.
    pub(crate) fn mailboxes(&self, range: &super::Range) -> Result<Vec<ListedMailbox>, StoreError> {
        let after = range.after.as_ref().map_or("", CanonicalUser::as_str);
        let sql = "SELECT name, id, given, pool FROM mailboxes \
                   WHERE name > ?1 AND name >= ?2 AND (?3 IS NULL OR name < ?3) ORDER BY name LIMIT ?4";
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        self.readers.with(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let end = super::past(&range.prefix);
            let mut rows = statement.query((after, &range.prefix, end, limit))?;
            let mut listed = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(1)?;
                let pool: String = row.get(3)?;
                listed.push(ListedMailbox {
                    user: super::stored_user(row.get(0)?)?,
                    mailbox: StoredMailbox { id: id.into(), given: row.get(2)?, pool: pool.into() },
                });
            }
            Ok(listed)
        })
    }

    /// The back ends that get no new mailboxes.
    pub(crate) fn drained(&self) -> Result<Vec<BackendName>, StoreError> {
        self.readers.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT backend FROM drained")?;
            let mut rows = statement.query(())?;
            let mut drained = Vec::new();
            while let Some(row) = rows.next()? {
                drained.push(stored_backend(row.get(0)?, "a drained back end")?);
            }
            Ok(drained)
        })
    }

    /// Says whether a back end gets new mailboxes. Whether that is news.
    pub(crate) fn set_drained(
        &self,
        actor: &str,
        backend: &BackendName,
        drained: bool,
    ) -> Result<bool, StoreError> {
        let (act, sql) = if drained {
            ("drain", "INSERT OR IGNORE INTO drained (backend) VALUES (?1)")
        } else {
            ("enable", "DELETE FROM drained WHERE backend = ?1")
        };
        self.mark(actor, act, ("backend", backend.as_str()), sql, [backend.as_str()])
    }

    /// Stores a mailbox for a user of whom none is stored.
    pub(crate) fn remember_mailbox(
        &self,
        user: &CanonicalUser,
        new: &StoredMailbox,
    ) -> Result<(), StoreError> {
        self.write(|transaction| match mailbox(transaction, user)? {
            Some(_) => Ok(()),
            None => insert_mailbox(transaction, user, new),
        })
    }

    /// Who is held: what kind of thing, and which.
    pub(crate) fn held(&self) -> Result<Vec<(String, String)>, StoreError> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached("SELECT about, subject FROM holds")?;
            let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        let read_by_writer = read(&self.writer.lock());
        // It may know pages from before they were mended.
        read_by_writer.or_else(|_: StoreError| self.readers.with(read))
    }

    /// Says whether new logins have to wait. Whether that is news.
    pub(crate) fn set_held(
        &self,
        actor: &str,
        subject: (&str, &str),
        held: bool,
    ) -> Result<bool, StoreError> {
        let (act, sql) = if held {
            ("hold", "INSERT OR IGNORE INTO holds (about, subject) VALUES (?1, ?2)")
        } else {
            ("release", "DELETE FROM holds WHERE about = ?1 AND subject = ?2")
        };
        self.mark(actor, act, subject, sql, subject)
    }

    /// Runs a statement that changes a row or none, with its line in the history.
    fn mark(
        &self,
        actor: &str,
        act: &str,
        subject: (&str, &str),
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<bool, StoreError> {
        let by = By::now(actor, act);
        self.write(|transaction| {
            let news = transaction.execute(sql, parameters)? > 0;
            if news {
                by.note(transaction, subject, None, None)?;
            }
            Ok(news)
        })
    }

    /// As [`Self::write`], and nothing is changed if another was faster.
    fn swap(
        &self,
        act: impl FnOnce(&Transaction<'_>) -> Result<Swap, StoreError>,
    ) -> Result<Swap, StoreError> {
        self.readers.check_file()?;
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ended = act(&transaction)?;
        if ended == Swap::Done {
            transaction.commit()?;
        }
        Ok(ended)
    }
}

fn pool(connection: &Connection, name: &str) -> Result<Option<StoredPool>, StoreError> {
    let sql = "SELECT place, version FROM pools WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((place, version)): Option<(String, u64)> = found else { return Ok(None) };
    let sql = "SELECT backend FROM members WHERE pool = ?1 AND version = ?2 ORDER BY backend";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((name, version))?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        members.push(stored_backend(row.get(0)?, name)?);
    }
    Ok(Some(StoredPool { place, version, members }))
}

/// Writes the next version of a list of members; earlier ones stay.
fn set_members(
    transaction: &Transaction<'_>,
    by: &By<'_>,
    pool: &str,
    members: &[BackendName],
) -> Result<(), StoreError> {
    let sql = "UPDATE pools SET version = version + 1 WHERE name = ?1 RETURNING version";
    let version: u64 = transaction.prepare_cached(sql)?.query_row([pool], |row| row.get(0))?;
    let sql = "INSERT INTO members (pool, version, backend) VALUES (?1, ?2, ?3)";
    let mut insert = transaction.prepare_cached(sql)?;
    for member in members {
        insert.execute((pool, version, member.as_str()))?;
    }
    let names: Vec<&str> = members.iter().map(BackendName::as_str).collect();
    by.note(transaction, ("pool", pool), None, Some(&names.join(",")))
}

pub(super) fn mailbox(
    connection: &Connection,
    user: &CanonicalUser,
) -> Result<Option<StoredMailbox>, StoreError> {
    let sql = "SELECT id, given, pool FROM mailboxes WHERE name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([user.as_str()], |row| {
        let (id, given, pool): (String, bool, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(StoredMailbox { id: id.into(), given, pool: pool.into() })
    });
    Ok(found.optional()?)
}

/// Whether what is stored of the mailbox was still what it is made from.
fn store_mailbox(transaction: &Transaction<'_>, settle: &Settle<'_>) -> Result<bool, StoreError> {
    let now = mailbox(transaction, settle.user)?;
    if now.as_ref() != settle.before {
        return Ok(false);
    }
    insert_mailbox(transaction, settle.user, settle.mailbox)?;
    Ok(true)
}

fn insert_mailbox(
    transaction: &Transaction<'_>,
    user: &CanonicalUser,
    mailbox: &StoredMailbox,
) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO mailboxes (name, id, given, pool) VALUES (?1, ?2, ?3, ?4)";
    let StoredMailbox { id, given, pool } = mailbox;
    transaction.prepare_cached(sql)?.execute((user.as_str(), &**id, given, &**pool))?;
    Ok(())
}

/// Whether the page had this epoch, and has the next one now.
fn raise_epoch(
    transaction: &Transaction<'_>,
    pool: &str,
    shard: u16,
    epoch: u64,
    at: u64,
) -> Result<bool, StoreError> {
    let sql = "UPDATE pages SET epoch = epoch + 1, since = ?4 \
               WHERE pool = ?1 AND shard = ?2 AND epoch = ?3";
    Ok(transaction.prepare_cached(sql)?.execute((pool, shard, epoch, at))? == 1)
}

fn runs(
    connection: &Connection,
    pool: &str,
    range: Option<(u16, u16)>,
) -> Result<Vec<ShardRun>, StoreError> {
    let (first, last) = range.unwrap_or((0, u16::MAX));
    let sql = "SELECT shard, backend, epoch FROM pages WHERE pool = ?1 AND shard BETWEEN ?2 AND ?3 \
               ORDER BY shard";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((pool, first, last))?;
    let mut runs: Vec<ShardRun> = Vec::new();
    while let Some(row) = rows.next()? {
        let (shard, epoch): (u16, u64) = (row.get(0)?, row.get(2)?);
        let backend: Option<String> = row.get(1)?;
        match runs.last_mut() {
            Some(run) if run.backend.as_ref().map(BackendName::as_str) == backend.as_deref() => {
                run.last = shard;
                run.epoch = run.epoch.max(epoch);
            }
            _ => {
                let backend = backend.map(|name| stored_backend(name, pool)).transpose()?;
                runs.push(ShardRun { first: shard, last: shard, backend, epoch });
            }
        }
    }
    Ok(runs)
}

fn stored_backend(name: String, subject: &str) -> Result<BackendName, StoreError> {
    BackendName::new(&name).map_err(|error| bad_row(subject, error))
}
