//! What the sources of the directory were asked, and letting them be asked anew.

use directory::{Directory, Rules, SourceFigures};
use serde::{Deserialize, Serialize};

use crate::{Actor, Refused, users::canonical};

/// One source, in the order in which they are asked. Counts are since the start.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceLine {
    /// Its name.
    pub source: String,
    /// What was asked over a network; none for a source on this machine.
    pub network: Option<SourceCounts>,
}

/// What a source over a network was asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceCounts {
    /// Questions that it answered.
    pub asked: u64,
    /// Questions answered with what it had said.
    pub remembered: u64,
    /// Questions that it could not answer.
    pub failed: u64,
    /// Of these, the ones answered with what it had said too long ago to count otherwise.
    pub stale: u64,
    /// What is wrong with it now.
    pub failing: Option<String>,
}

impl From<SourceFigures> for SourceLine {
    fn from(source: SourceFigures) -> Self {
        let counts = |figures: directory::Figures| SourceCounts {
            asked: figures.asked,
            remembered: figures.remembered,
            failed: figures.failed,
            stale: figures.stale,
            failing: figures.failing,
        };
        Self { source: source.name.as_ref().to_owned(), network: source.figures.map(counts) }
    }
}

pub(crate) fn list(directory: &Directory) -> Vec<SourceLine> {
    directory.figures().into_iter().map(SourceLine::from).collect()
}

/// Of whom to forget what sources said.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Flush {
    /// Of this user only, by a name that he may log in with; none: of everybody.
    #[serde(default)]
    pub user: Option<String>,
}

/// Of whom it was forgotten.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Flushed {
    /// The user, by the name that the rules make of what was given; none: everybody.
    pub user: Option<String>,
}

pub(crate) fn flush(
    directory: &Directory,
    rules: &Rules,
    actor: &Actor,
    flush: &Flush,
) -> Result<Flushed, Refused> {
    let user = flush.user.as_deref().map(|user| canonical(rules, user)).transpose()?;
    directory.forget(user.as_ref());
    let user = user.map(|user| user.to_string());
    let (act, actor, whose) = ("cache-flush", actor.as_str(), user.as_deref().unwrap_or("all"));
    tracing::info!(target: "audit", act, actor, user = whose);
    Ok(Flushed { user })
}
