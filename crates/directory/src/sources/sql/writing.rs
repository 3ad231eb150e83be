//! Writes a user's back end by a statement of the administrator's, in one transaction with two look-ups: before it
//! he has to be where he was seen, and behind it where he is to be.
//!
//! Nothing here runs a statement. Whatever is not as it should be, nothing stays written.

use std::sync::Arc;

use super::{Known, Statement, pool::Job, statement::Change};
use crate::{
    Answer,
    sources::{Assignment, CannotSay, Found},
};

/// What is to be written, and by what.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) assignment: Assignment,
    /// Looks a user up.
    pub(super) query: Arc<Statement>,
    /// Writes where he is.
    pub(super) assign: Arc<Statement>,
}

impl Writing {
    /// Looks him up, under one key after the other until one is known.
    pub(super) fn look_ups(&self) -> impl Iterator<Item = Job> {
        self.assignment.keys.iter().map(|key| Job {
            statement: Arc::clone(&self.query),
            values: self.query.values(&self.assignment.query, key, Change::default()),
        })
    }

    /// What is to be run for one of whom this is known, and what of it must be so behind it too; none if he is not
    /// where he was seen.
    pub(super) fn statement(&self, before: Option<Known>) -> Option<(Job, Found)> {
        let Known { place, names_user, found } = before?;
        let Assignment { query, seen, to, .. } = &self.assignment;
        if found.places != *seen {
            return None;
        }
        let user = found.user.clone().filter(|_| names_user);
        let backend = Answer { user, place: to.clone() }.to_string();
        let change = Change { backend: &backend, old_backend: &place };
        let values = self.assign.values(query, "", change);
        Some((Job { statement: Arc::clone(&self.assign), values }, found))
    }

    /// Notes a statement that is not about him alone.
    pub(super) fn check_count(changed: u64) -> Result<(), CannotSay> {
        match changed {
            1 => Ok(()),
            0 => Err(nothing_written("`assign` changes no row")),
            more => Err(nothing_written(&format!("`assign` changes {more} rows, not one"))),
        }
    }

    /// Notes a statement that did something else than was asked of it.
    pub(super) fn check_after(&self, before: Found, after: Option<Known>) -> Result<(), CannotSay> {
        let wanted = Found { places: vec![self.assignment.to.clone()], ..before };
        match after {
            Some(after) if after.found.is_same(&wanted) => Ok(()),
            Some(after) if after.found.places != wanted.places => {
                Err(nothing_written("after `assign`, `query` names another back end"))
            }
            _ => Err(nothing_written("after `assign`, `query` says something else of the user")),
        }
    }
}

fn nothing_written(what: &str) -> CannotSay {
    CannotSay::misconfigured(format_args!("{what}; nothing was written"))
}
