//! A statement of the configuration with named parameters, `:user`, as the database numbers them.
//!
//! Nothing here asks a database, and no value ever becomes a part of a statement's text. What stands in strings,
//! quoted names, comments and dollar quotes is left alone, and so is a cast, `::text`.

use std::{ops::Range, sync::Arc};

use crate::{Placeholder, Query};

/// Whose SQL a statement is written in: quotes, comments and parameters differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// MySQL and MariaDB.
    MySql,
    /// That of any database behind an ODBC driver: what all have in common, and backquotes.
    Odbc,
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// What a statement is for; each has its own parameters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// Writes a user's back end: knows `:backend` and `:old_backend` too, and of the question only the user.
    Assign,
    /// Gives all users: has no parameter.
    List,
    /// Looks a user up.
    LookUp,
}

/// A statement, ready to be prepared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    text: Arc<str>,
    /// What is bound, in order.
    parameters: Vec<Parameter>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Parameter {
    Backend,
    Of(Placeholder),
    OldBackend,
}

/// What a statement that writes is told beside the user.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change<'c> {
    /// What the source is to say from now on.
    pub(crate) backend: &'c str,
    /// What it said until now.
    pub(crate) old_backend: &'c str,
}

/// Why a text is no statement, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidStatement {
    /// What is wrong.
    pub what: String,
    /// Where, in bytes of the text.
    pub at: Range<usize>,
}

impl Statement {
    /// Reads a statement.
    ///
    /// # Errors
    /// [`InvalidStatement`] if a parameter is unknown, a quote or comment does not end, or there is more than
    /// one statement, or none.
    pub fn parse(text: &str, dialect: Dialect, task: Task) -> Result<Self, InvalidStatement> {
        let mut reader =
            Reader { text, at: 0, dialect, task, done: String::new(), parameters: vec![] };
        reader.read()?;
        Ok(Self { text: reader.done.into(), parameters: reader.parameters })
    }

    /// The text, in which parameters are numbered as the database likes.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The placeholders in it.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Backend | Parameter::OldBackend => None,
            Parameter::Of(placeholder) => Some(*placeholder),
        })
    }

    /// Whether it says where the back end is written.
    pub fn names_backend(&self) -> bool {
        self.parameters.contains(&Parameter::Backend)
    }

    /// What is bound to its parameters, in order.
    pub(crate) fn values(&self, query: &Query, key: &str, change: Change<'_>) -> Vec<String> {
        let value = |parameter: &Parameter| match parameter {
            Parameter::Backend => change.backend.to_owned(),
            Parameter::OldBackend => change.old_backend.to_owned(),
            Parameter::Of(placeholder) => query.value(*placeholder, key).into_owned(),
        };
        self.parameters.iter().map(value).collect()
    }
}

struct Reader<'t> {
    text: &'t str,
    /// How far it has been read, in bytes.
    at: usize,
    dialect: Dialect,
    task: Task,
    done: String,
    parameters: Vec<Parameter>,
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), InvalidStatement> {
        let mut anything = false;
        while let Some(c) = self.peek() {
            let start = self.at;
            if c == '\0' {
                return Err(self.wrong(start..start + 1, "a statement holds no NUL"));
            }
            if self.comment()? || c.is_whitespace() {
                if self.at == start {
                    self.copy(c.len_utf8());
                }
                continue;
            }
            if c == ';' {
                self.end_of_statement()?;
                break;
            }
            anything = true;
            if self.quoted(c)? || self.dollar_quoted(c)? {
                continue;
            }
            match c {
                ':' => self.colon()?,
                '?' | '$' | '@' if self.is_raw_parameter(c) => {
                    let what = "parameters are written by name here, such as `:user`";
                    return Err(self.wrong(start..start + 1, what));
                }
                c if in_name(c) => {
                    let word = self.rest().find(|c| !in_name(c) && c != '$');
                    self.copy(word.unwrap_or_else(|| self.rest().len()));
                }
                c => self.copy(c.len_utf8()),
            }
        }
        if !anything {
            return Err(self.wrong(0..self.text.len(), "there is no statement"));
        }
        Ok(())
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The character before.
    fn before(&self) -> Option<char> {
        self.text.get(..self.at)?.chars().next_back()
    }

    fn copy(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        self.done.push_str(self.text.get(self.at..end).unwrap_or_default());
        self.at = end;
    }

    fn wrong(&self, at: Range<usize>, what: impl Into<String>) -> InvalidStatement {
        InvalidStatement { what: what.into(), at }
    }

    /// Nothing but space and comments may follow: what came behind would not be done.
    fn end_of_statement(&mut self) -> Result<(), InvalidStatement> {
        self.at += 1;
        let done = self.done.len();
        while let Some(c) = self.peek() {
            let start = self.at;
            if self.comment()? {
                self.done.truncate(done);
                continue;
            }
            if !c.is_whitespace() && c != ';' {
                return Err(self.wrong(start..self.text.len(), "only one statement can stand here"));
            }
            self.at += c.len_utf8();
        }
        Ok(())
    }

    /// Leaves a comment alone. Where a driver would look for `?` in it, it goes, unless it is a hint to the database.
    fn comment(&mut self) -> Result<bool, InvalidStatement> {
        let (start, done) = (self.at, self.done.len());
        let commented = self.copy_comment()?;
        let text = self.text.get(start..self.at).unwrap_or_default();
        if commented && self.dialect == Dialect::Odbc && !text.starts_with("/*+") {
            self.done.truncate(done);
            self.done.push(' ');
        }
        Ok(commented)
    }

    fn copy_comment(&mut self) -> Result<bool, InvalidStatement> {
        let rest = self.rest();
        // MySQL takes `5--2` for a difference.
        let dashes = rest.strip_prefix("--").is_some_and(|behind| {
            self.dialect != Dialect::MySql || behind.chars().next().is_none_or(char::is_whitespace)
        });
        if dashes || self.dialect == Dialect::MySql && rest.starts_with('#') {
            let line = rest.find('\n').unwrap_or(rest.len());
            self.copy(line);
            return Ok(true);
        }
        if !rest.starts_with("/*") {
            return Ok(false);
        }
        let start = self.at;
        let mut depth = 1_u32;
        self.copy(2);
        while depth > 0 {
            let Some(c) = self.peek() else {
                // SQLite takes the end for the end.
                if self.dialect == Dialect::Sqlite {
                    break;
                }
                return Err(self.wrong(start..start + 2, "this comment does not end"));
            };
            match self.rest() {
                rest if rest.starts_with("*/") => {
                    depth -= 1;
                    self.copy(2);
                }
                rest if rest.starts_with("/*") && self.dialect == Dialect::Postgres => {
                    depth += 1;
                    self.copy(2);
                }
                _ => self.copy(c.len_utf8()),
            }
        }
        Ok(true)
    }

    /// Leaves a string or a quoted name alone.
    fn quoted(&mut self, c: char) -> Result<bool, InvalidStatement> {
        let close = match (c, self.dialect) {
            ('\'' | '"', _) => c,
            ('`', Dialect::MySql | Dialect::Odbc | Dialect::Sqlite) => '`',
            ('[', Dialect::Sqlite) => ']',
            _ => return Ok(false),
        };
        let start = self.at;
        let escapes = match self.dialect {
            Dialect::MySql => c != '`',
            // PostgreSQL's E'..', whose E belongs to no longer name.
            Dialect::Postgres => {
                let before = self.text.get(..start).unwrap_or_default();
                let stem = before.strip_suffix(['E', 'e']);
                c == '\'' && stem.is_some_and(|stem| !stem.ends_with(in_name))
            }
            Dialect::Odbc | Dialect::Sqlite => false,
        };
        self.copy(1);
        loop {
            match self.peek() {
                None => return Err(self.wrong(start..start + 1, "this quote has no end")),
                Some('\\') if escapes => {
                    self.copy(1);
                    let next = self.peek().map_or(0, char::len_utf8);
                    self.copy(next);
                }
                Some(end) if end == close => {
                    self.copy(1);
                    // Twice, it is itself.
                    if close == ']' || self.peek() != Some(close) {
                        return Ok(true);
                    }
                    self.copy(1);
                }
                Some(c) => self.copy(c.len_utf8()),
            }
        }
    }

    /// Leaves PostgreSQL's `$tag$ .. $tag$` alone.
    fn dollar_quoted(&mut self, c: char) -> Result<bool, InvalidStatement> {
        if c != '$' || self.dialect != Dialect::Postgres {
            return Ok(false);
        }
        let behind = self.rest().get(1..).unwrap_or_default();
        let Some((tag, _)) = behind.split_once('$') else { return Ok(false) };
        if !tag.chars().all(in_name) || tag.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(false);
        }
        let (start, tag) = (self.at, format!("${tag}$"));
        self.copy(tag.len());
        let Some(length) = self.rest().find(&tag) else {
            return Err(self.wrong(start..start + tag.len(), "this quote has no end"));
        };
        self.copy(length + tag.len());
        Ok(true)
    }

    /// Whether it would be a parameter to the database, for which nothing would be bound.
    fn is_raw_parameter(&self, c: char) -> bool {
        let next = self.rest().chars().nth(1);
        match (self.dialect, c) {
            (Dialect::MySql | Dialect::Odbc, c) => c == '?',
            (Dialect::Postgres, c) => c == '$' && next.is_some_and(|c| c.is_ascii_digit()),
            (Dialect::Sqlite, '?') => true,
            (Dialect::Sqlite, _) => next.is_some_and(in_name),
        }
    }

    /// A cast, an assignment, or a parameter.
    fn colon(&mut self) -> Result<(), InvalidStatement> {
        let start = self.at;
        let behind = self.rest().get(1..).unwrap_or_default();
        if behind.starts_with([':', '=']) {
            self.copy(2);
            return Ok(());
        }
        let length = behind.find(|c| !in_name(c)).unwrap_or(behind.len());
        let name = behind.get(..length).unwrap_or_default();
        // `a[1:2]` is a slice.
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            self.copy(1);
            return Ok(());
        }
        let at = start..start + 1 + length;
        if self.before().is_some_and(in_name) {
            let what = "a parameter begins behind a space or a sign; for a slice put a space behind the colon";
            return Err(self.wrong(at, what));
        }
        let parameter = self.parameter(name).map_err(|what| self.wrong(at.clone(), what))?;
        self.at = at.end;
        let known = self.parameters.iter().position(|other| *other == parameter);
        let number = match (self.dialect, known) {
            (Dialect::Postgres | Dialect::Sqlite, Some(index)) => index + 1,
            _ => {
                self.parameters.push(parameter);
                self.parameters.len()
            }
        };
        match self.dialect {
            Dialect::MySql | Dialect::Odbc => self.done.push('?'),
            Dialect::Postgres => self.done.push_str(&format!("${number}")),
            Dialect::Sqlite => self.done.push_str(&format!("?{number}")),
        }
        Ok(())
    }

    fn parameter(&self, name: &str) -> Result<Parameter, String> {
        let known: &[Placeholder] = match self.task {
            Task::List => return Err("a list of all users has no parameters".to_owned()),
            Task::Assign => &[Placeholder::User, Placeholder::Local, Placeholder::Domain],
            Task::LookUp => &Placeholder::ALL,
        };
        match (self.task, name) {
            (Task::Assign, "backend") => return Ok(Parameter::Backend),
            (Task::Assign, "old_backend") => return Ok(Parameter::OldBackend),
            _ => {}
        }
        if let Some(placeholder) = known.iter().find(|known| known.word() == name) {
            return Ok(Parameter::Of(*placeholder));
        }
        let mut words: Vec<_> = known.iter().map(|known| known.word()).collect();
        if self.task == Task::Assign {
            words.extend(["backend", "old_backend"]);
        }
        Err(format!("`:{name}` is no parameter; there are :{}", words.join(", :")))
    }
}

#[cfg(test)]
mod tests;
