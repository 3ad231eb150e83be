//! `posthouse import`: another program's configuration as one of ours, with a comment for each thing that
//! differs.
//!
//! Nothing here reads our own configuration, asks anybody or writes a file.

mod draft;
mod imapproxy;
mod nginx;
mod perdition;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Subcommand, ValueHint};
use serde::Serialize;

use self::draft::Draft;
use super::{Failure, output::Output};

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// Perdition's perdition.conf.
    Perdition {
        /// The file, such as /etc/perdition/perdition.imap4.conf.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// The mail part of nginx.conf, with what it includes.
    Nginx {
        /// The file, such as /etc/nginx/nginx.conf.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// imapproxy.conf.
    Imapproxy {
        /// The file, such as /etc/imapproxy.conf.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Imported {
    /// The configuration, as text.
    configuration: String,
    /// What differs, as in the text's comments.
    remarks: Vec<String>,
}

pub(super) fn import(what: &Import, output: Output) -> Result<(), Failure> {
    let (file, made) = match what {
        Import::Perdition { file } => (file, perdition::import(file)),
        Import::Nginx { file } => (file, nginx::import(file)),
        Import::Imapproxy { file } => (file, imapproxy::import(file)),
    };
    let made = made.map_err(|unusable| Failure::new(unusable.to_string()))?;
    let imported = Imported { configuration: made.render(file), remarks: made.told().collect() };
    output.print(&imported, |imported| imported.configuration.clone())
}

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {what}")]
struct Unusable {
    at: Place,
    what: String,
}

/// A line of a file.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    file: PathBuf,
    /// From 1; 0 is the file as a whole.
    line: usize,
}

impl Place {
    fn new(file: &Path, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }

    fn unusable(&self, what: impl Into<String>) -> Unusable {
        Unusable { at: self.clone(), what: what.into() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// The text of a file.
fn read(file: &Path) -> Result<String, Unusable> {
    let whole = Place::new(file, 0);
    let unreadable = |error: std::io::Error| whole.unusable(error.to_string());
    if fs::metadata(file).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(whole.unusable(format!("it is longer than {MAX_BYTES} bytes")));
    }
    String::from_utf8(fs::read(file).map_err(unreadable)?).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Place::new(file, line).unusable("it is not UTF-8")
    })
}

/// `y`, `yes`, `true`, `on` and their opposites.
fn yes_or_no(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}
