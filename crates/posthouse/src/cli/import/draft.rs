//! A configuration of ours that is being written: tables, keys, and remarks on what differs.
//!
//! Nothing here knows where it comes from.

use std::{fmt::Write, path::Path};

use super::Place;

/// Where a comment is broken, in characters.
const WIDTH: usize = 100;

/// A configuration that is being written.
#[derive(Debug, Default)]
pub(super) struct Draft {
    remarks: Vec<(Place, String)>,
    tables: Vec<Table>,
}

/// A table of it.
#[derive(Debug)]
pub(super) struct Table {
    header: String,
    lines: Vec<String>,
}

impl Draft {
    /// Says what differs, and where the reason stands.
    pub(super) fn remark(&mut self, at: &Place, text: impl Into<String>) {
        self.remarks.push((at.clone(), text.into()));
    }

    /// Adds a table. The keys that belong to the top of the file have an empty header, and come first.
    pub(super) fn push(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// The remarks in the order of the lines, each with its place.
    pub(super) fn told(&self) -> impl Iterator<Item = String> {
        let mut remarks: Vec<_> = self.remarks.iter().collect();
        remarks.sort_by(|one, other| one.0.cmp(&other.0));
        remarks.into_iter().map(|(at, text)| format!("{at}: {text}"))
    }

    /// The whole text.
    pub(super) fn render(&self, from: &Path) -> String {
        let mut text = String::new();
        let from = from.display();
        comment(
            &mut text,
            &format!("Made by posthouse import from {from}. To go on: posthouse check."),
        );
        if self.remarks.is_empty() {
            comment(&mut text, "Nothing differs.");
        } else {
            comment(&mut text, "");
            comment(&mut text, "What differs:");
            for remark in self.told() {
                comment(&mut text, &format!("- {remark}"));
            }
        }
        for table in self.tables.iter().filter(|table| !table.lines.is_empty()) {
            text.push('\n');
            if !table.header.is_empty() {
                let _ = writeln!(text, "{}", table.header);
            }
            for line in &table.lines {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }
}

impl Table {
    pub(super) fn new(header: impl Into<String>) -> Self {
        Self { header: header.into(), lines: Vec::new() }
    }

    /// A text in which nothing is a variable.
    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.written(key, &quoted(&value.replace("${", "$${")))
    }

    /// One text, or a list of them.
    pub(super) fn texts<T: AsRef<str>>(&mut self, key: &str, values: &[T]) -> &mut Self {
        match values {
            [only] => self.text(key, only.as_ref()),
            several => {
                let texts =
                    several.iter().map(|value| quoted(&value.as_ref().replace("${", "$${")));
                let list = texts.collect::<Vec<_>>().join(", ");
                self.written(key, &format!("[{list}]"))
            }
        }
    }

    pub(super) fn number(&mut self, key: &str, number: u64) -> &mut Self {
        self.written(key, &number.to_string())
    }

    pub(super) fn flag(&mut self, key: &str, yes: bool) -> &mut Self {
        self.written(key, &yes.to_string())
    }

    pub(super) fn comment(&mut self, text: &str) -> &mut Self {
        let mut lines = String::new();
        comment(&mut lines, text);
        self.lines.push(lines.trim_end().to_owned());
        self
    }

    /// Whether a key stands in it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.iter().any(|line| line.starts_with(&format!("{key} = ")))
    }

    /// Whether a key stands in it with this text.
    pub(super) fn says(&self, key: &str, text: &str) -> bool {
        self.lines.contains(&format!("{key} = {}", quoted(text)))
    }

    fn written(&mut self, key: &str, value: &str) -> &mut Self {
        self.lines.push(format!("{key} = {value}"));
        self
    }
}

/// A comment, broken into lines.
fn comment(text: &mut String, words: &str) {
    // What stands in a file of others must not end the comment.
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = "#".to_owned();
    for word in words.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > 3 {
            let _ = writeln!(text, "{line}");
            line = "#  ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
