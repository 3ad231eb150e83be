//! The source `regex`: ordered rules, of which the first that matches a key answers.
//!
//! Nothing here takes more time than the length of a key is worth: the engine is linear. What a user calls
//! himself never becomes more of a place than letters, digits, `-`, `_` and `.`.

mod perdition;
mod posix;
mod read;
mod rule;

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{CannotSay, Found, held::Held};
use crate::FileProblem;

use self::{read::Reader, rule::Applied};

pub use self::rule::{InvalidRule, RegexRule};

/// Settings of the source `regex`.
#[derive(Clone, Debug)]
pub struct RegexSettings {
    /// Where its rules are.
    pub rules: RegexRules,
    /// How often to look whether a file of rules has changed, at most.
    pub check_every: Duration,
}

/// Where the rules are.
#[derive(Clone, Debug)]
pub enum RegexRules {
    /// These, in this order.
    Fixed(Vec<RegexRule>),
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// How it is written.
        format: RegexFormat,
    },
}

/// How a file of rules is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RegexFormat {
    /// Perdition's `popmap.re`: `PATTERN[:] [USER@]HOST[:PORT]` to a line, by its rules.
    Perdition,
    /// `rules = [{ match = "..", backend = "..", user = ".." }]`.
    Toml,
}

impl RegexSettings {
    /// Rules that never change, or a file that is looked at once a second.
    pub fn new(rules: RegexRules) -> Self {
        Self { rules, check_every: Duration::from_secs(1) }
    }
}

#[derive(Debug)]
pub(crate) enum Regex {
    Fixed(Vec<RegexRule>),
    File(Held<Reader>),
}

impl Regex {
    /// Takes the rules, or reads them for the first time.
    pub(crate) fn open(settings: &RegexSettings) -> Result<Self, FileProblem> {
        Ok(match &settings.rules {
            RegexRules::Fixed(rules) => Self::Fixed(rules.clone()),
            RegexRules::File { path, format } => {
                let reader = Reader { path: path.clone(), format: *format };
                Self::File(Held::open(reader, settings.check_every)?)
            }
        })
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<Found>, CannotSay> {
        match self {
            Self::Fixed(rules) => first(rules, key),
            Self::File(held) => {
                let rules: Arc<Vec<RegexRule>> = held.content().await;
                first(&rules, key)
            }
        }
    }
}

/// What the first rule that matches says.
fn first(rules: &[RegexRule], key: &str) -> Result<Option<Found>, CannotSay> {
    for (rule, number) in rules.iter().zip(1_usize..) {
        match rule.apply(key) {
            Applied::Not => {}
            Applied::Answer(answer) => return Ok(Some(answer.into())),
            Applied::Unusable(what) => {
                return Err(CannotSay::misconfigured(format_args!(
                    "rule {number} (`{}`) makes no answer of `{}`: {what}",
                    rule.pattern(),
                    key.escape_debug()
                )));
            }
        }
    }
    Ok(None)
}
