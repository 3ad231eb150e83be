//! The source `static`: every user has the same answer.
//!
//! Nothing here ever says "no": a source behind this one in a chain is never asked.

use super::Found;
use crate::Answer;

/// Settings of the source `static`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StaticSettings {
    /// The answer for everybody.
    pub answer: Answer,
}

#[derive(Debug)]
pub(crate) struct Static(pub(crate) StaticSettings);

impl Static {
    pub(super) fn find(&self) -> Found {
        self.0.answer.clone().into()
    }
}
