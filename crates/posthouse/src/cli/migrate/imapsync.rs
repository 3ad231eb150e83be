//! `posthouse migrate --from-imapsync`: the options of imapsync as a command of ours, with a comment for each
//! that has no counterpart.
//!
//! Nothing here migrates anything, or repeats a password.

mod meaning;
mod options;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::{
    meaning::Account,
    options::{Given, parse},
};
use crate::cli::{Failure, output::Output};

/// What imapsync's options come to.
#[derive(Debug, Default, Serialize)]
struct Translated {
    /// The command, as words.
    command: Vec<String>,
    /// What differs.
    remarks: Vec<String>,
    #[serde(skip)]
    pieces: Vec<Vec<String>>,
}

pub(super) fn translate(options: &str, output: Output) -> Result<(), Failure> {
    let translated = translated(options).map_err(Failure::Usage)?;
    output.print(&translated, Translated::render)
}

fn translated(options: &str) -> Result<Translated, String> {
    // A command is mostly copied as it stands in a script, over several lines.
    let one_line = options.replace("\\\r\n", " ").replace("\\\n", " ");
    let words = shlex::split(&one_line).ok_or(
        "the options of imapsync cannot be read: a quotation mark is not closed, or a `\\` stands at the end",
    )?;
    let given = parse(&words)?;
    let mut translated = Translated::default();
    for (number, side) in [("1", "from"), ("2", "to")] {
        let account = Account::of(&given, number);
        account.translate(side, number, &mut translated)?;
    }
    for one in &given {
        meaning::translate(one, &given, &mut translated);
    }
    if !given.iter().any(|one| one.name == "automap" && one.on) {
        translated.push(["--no-special-use"]);
    }
    let words = ["posthouse", "migrate"].map(str::to_owned).into_iter();
    translated.command = words.chain(translated.pieces.iter().flatten().cloned()).collect();
    Ok(translated)
}

impl Translated {
    fn push<const WORDS: usize>(&mut self, words: [&str; WORDS]) {
        let piece = words.map(str::to_owned).to_vec();
        if !self.pieces.contains(&piece) {
            self.pieces.push(piece);
        }
    }

    fn remark(&mut self, remark: impl Into<String>) {
        let remark = remark.into();
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// A comment for each remark, and the command, an option a line.
    fn render(&self) -> String {
        let mut text = String::new();
        for remark in &self.remarks {
            text.push_str(&format!("# {remark}\n"));
        }
        text.push_str("posthouse migrate");
        for piece in &self.pieces {
            let words: Vec<String> = piece.iter().map(|word| quote(word)).collect();
            let words = words.join(" ");
            text.push_str(&format!(" \\\n  {words}"));
        }
        text.push('\n');
        text
    }
}

/// A word as a shell takes it for itself.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The value of an option that counts: the last.
fn last<'g>(given: &'g [Given], name: &str) -> Option<&'g str> {
    given.iter().rev().find(|one| one.name == name).map(|one| one.value.as_str())
}

/// Whether a switch was said, and how; the last word counts.
fn switch(given: &[Given], name: &str) -> Option<bool> {
    given.iter().rev().find(|one| one.name == name).map(|one| one.on)
}
