//! Fills the store from a list of users, in one transaction.
//!
//! Nothing here opens a file, and no line is guessed at: a wrong one is reported with its number.

mod formats;

use std::io::BufRead;

use model::{BackendName, CanonicalUser, Secret};
use rusqlite::{OptionalExtension, Transaction};

use super::{
    Change, PasswordChange, Store, StoreError,
    changes::{self, By},
    pages,
};
use crate::{
    Answer, Backends, Rules,
    lines::{LineProblem, Lines, Wrong},
};

pub(super) use self::formats::Details;
use self::formats::Format;

/// Of how many wrong lines a report tells what is wrong; the rest are counted.
const TOLD_PROBLEMS: usize = 1_000;

/// After how many lines progress is told.
const PROGRESS_LINES: u64 = 10_000;

/// How to read a list of users.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// How its lines are written.
    pub format: ImportFormat,
    /// The name rules, applied to each name as if a client had typed it.
    pub rules: &'a Rules,
    /// The back ends that places have to lead to.
    pub backends: &'a Backends,
    /// The template of the table as a source, if it has one.
    pub template: Option<&'a BackendName>,
    /// Whether a pool places those for whom a line names no place.
    pub has_pool: bool,
    /// Whether whoever imports says that the mail is there already. Without that, a line that would have an
    /// existing mailbox looked for elsewhere is wrong.
    pub mail_is_already_there: bool,
    /// What to do when lines are wrong.
    pub wrong_lines: WrongLines,
}

/// How a list of users is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ImportFormat {
    /// `user,backend[,user_there[,password]]`, or with a heading any of these and `password_hash`, `id`,
    /// `disabled` (RFC 4180).
    Csv,
    /// `user, servername[, port]`, the classic table, as the mysql program or a CSV export writes it.
    Mysql,
    /// Dovecot's passwd-file: `user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields`.
    PasswdFile,
    /// `user: [user@]host[:port]`, as Perdition's text maps.
    Perdition,
}

/// What becomes of an import with wrong lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WrongLines {
    /// Nothing is written at all.
    RefuseAll,
    /// The other lines are written.
    Skip,
}

/// What an import came to. The counts are what was done, or would have been if not `written`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ImportReport {
    /// Lines read.
    pub lines: u64,
    /// Users who were not there before.
    pub added: u64,
    /// Users who were elsewhere.
    pub changed: u64,
    /// Users who were there already.
    pub unchanged: u64,
    /// Whether the store was changed; if not, there were wrong lines.
    pub written: bool,
    /// The first 1,000 wrong lines.
    pub problems: Vec<LineProblem>,
    /// How many lines were wrong.
    pub problem_count: u64,
}

impl ImportReport {
    fn count(&mut self, line: u64, result: Result<Change, String>) {
        match result {
            Ok(Change::Added) => self.added += 1,
            Ok(Change::Changed | Change::Removed) => self.changed += 1,
            Ok(Change::Unchanged) => self.unchanged += 1,
            Err(what) => {
                self.problem_count += 1;
                if self.problems.len() < TOLD_PROBLEMS {
                    self.problems.push(LineProblem { line, what });
                }
            }
        }
    }
}

impl Store {
    /// Reads a list of users and places them, all in one transaction. Stored passwords stay where a
    /// line has none.
    /// `progress` is told the number of lines read, now and then and at the end.
    ///
    /// # Errors
    /// [`StoreError`] if the list cannot be read or the store cannot be written; then nothing was
    /// changed. Wrong lines are no error but in the report.
    pub fn import(
        &self,
        actor: &str,
        import: &Import<'_>,
        input: &mut dyn BufRead,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ImportReport, StoreError> {
        let by = By::now(actor, "import");
        self.readers.check_file()?;
        let mut writer = self.writer.lock();
        let behavior = rusqlite::TransactionBehavior::Immediate;
        let transaction = writer.transaction_with_behavior(behavior)?;
        // On disk and within the transaction: memory stays bounded, and a rollback removes it.
        let seen = "CREATE TEMP TABLE seen (name TEXT NOT NULL PRIMARY KEY, line INTEGER NOT NULL) \
                    STRICT, WITHOUT ROWID";
        transaction.execute_batch(seen)?;
        transaction.execute_batch("PRAGMA temp.cache_size = -32768")?;
        let mut report = import.read(&transaction, &by, input, progress)?;
        transaction.execute_batch("DROP TABLE temp.seen")?;
        if report.problem_count == 0 || import.wrong_lines == WrongLines::Skip {
            transaction.commit()?;
            report.written = true;
        }
        Ok(report)
    }
}

impl Import<'_> {
    fn read(
        &self,
        transaction: &Transaction<'_>,
        by: &By<'_>,
        input: &mut dyn BufRead,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ImportReport, StoreError> {
        let mut report = ImportReport::default();
        let mut lines = Lines::new(input);
        let mut format = Format::new(self.format);
        while let Some(line) = lines.next().map_err(StoreError::Input)? {
            let number = lines.number();
            match line.and_then(|line| self.entry(&mut format, number, &line)) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    let result = self.write(transaction, by, number, &entry)?;
                    report.count(number, result);
                }
                Err(wrong) => report.count(number, Err(wrong.to_string())),
            }
            if number.is_multiple_of(PROGRESS_LINES) {
                progress(number);
            }
        }
        report.lines = lines.number();
        progress(report.lines);
        Ok(report)
    }

    fn entry(&self, format: &mut Format, number: u64, line: &str) -> Result<Option<Entry>, Wrong> {
        let Some(said) = format.read(number, line)? else { return Ok(None) };
        let user = self.rules.canonical(&said.name)?;
        Ok(Some(Entry { user, answer: said.answer, details: said.details }))
    }

    /// Places one user; the inner error is a wrong line's.
    fn write(
        &self,
        transaction: &Transaction<'_>,
        by: &By<'_>,
        line: u64,
        entry: &Entry,
    ) -> Result<Result<Change, String>, StoreError> {
        let Entry { user, answer, .. } = entry;
        match answer {
            Some(answer) => {
                if let Err(unresolved) = self.backends.check(&answer.place, self.template) {
                    return Ok(Err(unresolved.to_string()));
                }
            }
            None if !self.has_pool => {
                return Ok(Err("there is no back end, and the table has no pool".to_owned()));
            }
            None => {}
        }
        let sql = "INSERT OR IGNORE INTO temp.seen (name, line) VALUES (?1, ?2)";
        let mut remember = transaction.prepare_cached(sql)?;
        if remember.execute((user.as_str(), line))? > 0 {
            if !self.mail_is_already_there
                && let Some(home) = entry.would_leave(transaction)?
            {
                return Ok(Err(format!(
                    "the mail of `{user}` is looked for {home}, and an import moves no mail: bring it there \
                     first, then say --mail-is-already-there"
                )));
            }
            return entry.store(transaction, by).map(Ok);
        }
        if entry.is_stored(transaction)? {
            return Ok(Ok(Change::Unchanged));
        }
        let sql = "SELECT line FROM temp.seen WHERE name = ?1";
        let mut first = transaction.prepare_cached(sql)?;
        let first: Option<u64> = first.query_row([user.as_str()], |row| row.get(0)).optional()?;
        let first = first.unwrap_or_default();
        Ok(Err(format!("line {first} has another answer for `{user}`")))
    }
}

/// One line's user.
struct Entry {
    user: CanonicalUser,
    answer: Option<Answer>,
    details: Details,
}

impl Entry {
    /// Where the user's mail is looked for, if that would change.
    fn would_leave(&self, transaction: &Transaction<'_>) -> Result<Option<String>, StoreError> {
        let before = changes::answer_of(transaction, &self.user)?.flatten();
        if let (Some(before), Some(answer)) = (&before, &self.answer) {
            return Ok((before != answer).then(|| format!("at {before}")));
        }
        // A mailbox of a pool is found by its id.
        if before.is_none()
            && let Some(mailbox) = pages::mailbox(transaction, &self.user)?
        {
            let is_another = |id: &str| mailbox.given && *mailbox.id != *id;
            let leaves =
                self.answer.is_some() || self.details.id.as_deref().is_some_and(is_another);
            return Ok(leaves.then(|| format!("by the pool `{}`", mailbox.pool)));
        }
        Ok(None)
    }

    fn store(&self, transaction: &Transaction<'_>, by: &By<'_>) -> Result<Change, StoreError> {
        let Self { user, answer, details } = self;
        let placed = changes::place(transaction, by, user, answer.as_ref())?;
        let mut changes = vec![placed];
        if let Some(password) = &details.password {
            let password = PasswordChange::Set(password.clone());
            changes.push(changes::change_password(transaction, by, user, &password)?);
        }
        changes.push(changes::detail(transaction, by, user, details, placed)?);
        let change = changes.into_iter().find(|change| *change != Change::Unchanged);
        Ok(change.unwrap_or(Change::Unchanged))
    }

    /// Whether just this stands in the store.
    fn is_stored(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        let Some(stored) = changes::answer_of(transaction, &self.user)? else { return Ok(false) };
        if self.answer.is_some() && stored != self.answer {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM users WHERE name = ?1 AND password IS coalesce(?2, password) \
                   AND password_hash IS coalesce(?3, password_hash) AND id IS coalesce(?4, id) \
                   AND disabled IS coalesce(?5, disabled)";
        let mut same = transaction.prepare_cached(sql)?;
        let Details { password, verifier, id, disabled } = &self.details;
        let password = password.as_ref().map(Secret::reveal);
        let verifier = verifier.as_ref().map(Secret::reveal);
        Ok(same.exists((self.user.as_str(), password, verifier, id.as_deref(), disabled))?)
    }
}
