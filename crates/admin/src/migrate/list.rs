//! A list of accounts to migrate: TOML, comma-separated values with a heading, or the `;` file that loops around
//! imapsync read.
//!
//! Nothing here opens a file. No mistake repeats a value: many of them are passwords.

mod lines;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap, fmt};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Asked, Side, Spelled};

/// The accounts of a list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// In the order of the list.
    pub pairs: Vec<Listed>,
}

/// One account to migrate.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The line where it begins, from 1.
    pub line: usize,
    /// Where it is.
    pub from: Asked,
    /// Where it goes to.
    pub to: Asked,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListFormat {
    /// Values separated by commas or semicolons, behind a line that names them; without one, imapsync's
    /// `host1;user1;password1;host2;user2;password2`.
    Lines,
    /// A table `[[account]]` for each, and what holds for all before the first.
    Toml,
}

/// All mistakes of a list.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Mistaken(pub Vec<Mistake>);

/// A mistake in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl fmt::Display for Mistaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl List {
    /// Reads a list. `from` and `to` are what holds for all of it, as the command line said it.
    ///
    /// # Errors
    /// [`Mistaken`] with all mistakes, if there is one.
    pub fn read(
        text: &str,
        format: ListFormat,
        from: &Asked,
        to: &Asked,
    ) -> Result<Self, Mistaken> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reading = Reading {
            base: Listed { line: 0, from: from.clone(), to: to.clone() },
            ..Reading::default()
        };
        match format {
            ListFormat::Lines => lines::read(text, &mut reading),
            ListFormat::Toml => reading.toml(text),
        }
        if reading.pairs.is_empty() && reading.mistakes.is_empty() {
            reading.mistaken(1, "there is no account in it");
        }
        reading.mistakes.sort_by_key(|mistake| mistake.line);
        if reading.mistakes.is_empty() {
            Ok(Self { pairs: reading.pairs })
        } else {
            Err(Mistaken(reading.mistakes))
        }
    }
}

/// A list that is being read.
#[derive(Debug, Default)]
struct Reading {
    /// What holds for all.
    base: Listed,
    pairs: Vec<Listed>,
    /// Both names of each, and its line.
    seen: HashMap<Vec<String>, usize>,
    mistakes: Vec<Mistake>,
}

impl Reading {
    fn mistaken(&mut self, line: usize, what: impl Into<String>) {
        self.mistakes.push(Mistake { line, what: what.into() });
    }

    /// Takes in an account, if it is one.
    fn push(&mut self, own: Listed) {
        let line = own.line;
        let pair =
            Listed { line, from: own.from.over(&self.base.from), to: own.to.over(&self.base.to) };
        let mut names = Vec::new();
        for (asked, side) in [(&pair.from, Side::From), (&pair.to, Side::To)] {
            match asked.account(side, Spelled::Key) {
                Ok(account) => names.push(account.to_string()),
                Err(what) => self.mistaken(line, what),
            }
        }
        if let [from, to] = names.as_slice() {
            if from == to {
                self.mistaken(line, format!("{from} cannot be migrated to itself"));
            }
            if let Some(first) = self.seen.insert(names, line) {
                self.mistaken(line, format!("these accounts stand in line {first} already"));
            }
        }
        self.pairs.push(pair);
    }

    /// Takes in a value of an account under its full name, as `from_user`.
    fn set(&mut self, own: &mut Listed, line: usize, key: &str, value: &str) {
        if let Err(what) = own.set(key, value) {
            self.mistaken(line, format!("`{key}`: {what}"));
        }
    }

    fn toml(&mut self, text: &str) {
        let line = |at: usize| {
            1 + text.get(..at).unwrap_or(text).bytes().filter(|byte| *byte == b'\n').count()
        };
        let table = match DeTable::parse(text) {
            Ok(table) => table,
            // Its own print would show the line, with what may be a password.
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                return self.mistaken(line(at), error.message());
            }
        };
        let mut base = Listed::default();
        let mut tables = None;
        for (key, value) in table.get_ref() {
            if key.get_ref() == "account" {
                tables = Some(value);
            } else {
                self.toml_value(&mut base, &line, key, value);
            }
        }
        self.base.from = base.from.over(&self.base.from);
        self.base.to = base.to.over(&self.base.to);
        let Some(tables) = tables else { return };
        let at = line(tables.span().start);
        let DeValue::Array(tables) = tables.get_ref() else {
            return self.mistaken(at, "write [[account]] before each account");
        };
        for table in tables {
            let at = line(table.span().start);
            let DeValue::Table(values) = table.get_ref() else {
                self.mistaken(at, "write [[account]] before each account");
                continue;
            };
            let mut own = Listed { line: at, ..Listed::default() };
            for (key, value) in values {
                self.toml_value(&mut own, &line, key, value);
            }
            self.push(own);
        }
    }

    fn toml_value(
        &mut self,
        own: &mut Listed,
        line: &impl Fn(usize) -> usize,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let at = line(key.span().start);
        let key = key.get_ref();
        match value.get_ref() {
            DeValue::String(text) => self.set(own, at, key, text),
            DeValue::Boolean(truth) => {
                self.set(own, at, key, if *truth { "true" } else { "false" })
            }
            _ => self.mistaken(
                at,
                format!("`{key}`: it is a text in quotation marks, or true or false"),
            ),
        }
    }
}

impl Listed {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        for (side, asked) in [(Side::From, &mut self.from), (Side::To, &mut self.to)] {
            let side = side.word();
            if key == side {
                return asked.set("", value);
            }
            if let Some(key) = key.strip_prefix(side).and_then(|key| key.strip_prefix('_')) {
                // An empty key is the location's.
                return if key.is_empty() { no_key() } else { asked.set(key, value) };
            }
        }
        no_key()
    }
}

fn no_key() -> Result<(), String> {
    Err("there is no such key: they begin with from or to, as in from_user".to_owned())
}
