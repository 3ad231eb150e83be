//! Fills the store from a list of users, in one transaction.
//!
//! Nothing here opens a file, and no line is guessed at: a wrong one is reported with its number.

use std::io::BufRead;

use model::{BackendName, CanonicalUser, Secret};
use rusqlite::{OptionalExtension, Transaction};

use super::{
    Change, PasswordChange, Store, StoreError,
    changes::{self, By},
};
use crate::{
    Answer, Backends, Rules,
    lines::{self, LineProblem, Lines, Wrong},
};

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
    /// What to do when lines are wrong.
    pub wrong_lines: WrongLines,
}

/// How a list of users is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ImportFormat {
    /// `user,backend[,user_there[,password]]` with or without a header (RFC 4180).
    Csv,
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
        while let Some(line) = lines.next().map_err(StoreError::Input)? {
            let number = lines.number();
            match line.and_then(|line| self.entry(&line)) {
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

    fn entry(&self, line: &str) -> Result<Option<Entry>, Wrong> {
        let entry = match self.format {
            ImportFormat::Csv => lines::csv_entry(line)?,
            ImportFormat::Perdition => lines::map_entry(line)?.map(|entry| (entry, None)),
        };
        let canonical = |(entry, password)| {
            let (user, answer) = lines::canonical(self.rules, entry)?;
            Ok(Entry { user, answer, password })
        };
        entry.map(canonical).transpose()
    }

    /// Places one user; the inner error is a wrong line's.
    fn write(
        &self,
        transaction: &Transaction<'_>,
        by: &By<'_>,
        line: u64,
        entry: &Entry,
    ) -> Result<Result<Change, String>, StoreError> {
        let Entry { user, answer, password } = entry;
        if let Err(unresolved) = self.backends.check(&answer.place, self.template) {
            return Ok(Err(unresolved.to_string()));
        }
        let sql = "INSERT OR IGNORE INTO temp.seen (name, line) VALUES (?1, ?2)";
        let mut remember = transaction.prepare_cached(sql)?;
        if remember.execute((user.as_str(), line))? > 0 {
            let placed = changes::place(transaction, by, user, Some(answer))?;
            let Some(password) = password else { return Ok(Ok(placed)) };
            let password = PasswordChange::Set(password.clone());
            let set = changes::change_password(transaction, by, user, &password)?;
            return Ok(Ok(if placed == Change::Unchanged { set } else { placed }));
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
    answer: Answer,
    password: Option<Secret>,
}

impl Entry {
    /// Whether just this stands in the store.
    fn is_stored(&self, transaction: &Transaction<'_>) -> Result<bool, StoreError> {
        if changes::answer_of(transaction, &self.user)?.flatten().as_ref() != Some(&self.answer) {
            return Ok(false);
        }
        let Some(password) = &self.password else { return Ok(true) };
        let sql = "SELECT 1 FROM users WHERE name = ?1 AND password IS ?2";
        let mut same = transaction.prepare_cached(sql)?;
        Ok(same.exists((self.user.as_str(), password.reveal()))?)
    }
}
