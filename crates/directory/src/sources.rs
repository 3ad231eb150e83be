//! The sources a chain can be made of, each in a file of its name.
//!
//! Nothing here knows the order of a chain or turns an answer into a route.

pub(crate) mod file;
pub(crate) mod r#static;
pub(crate) mod table;

use model::{CanonicalUser, Reason, Secret};

use crate::Answer;

/// What a source knows of a user.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) answer: Answer,
    pub(crate) secret: Option<Secret>,
}

/// A source could not say whether it knows a user.
#[derive(Debug)]
pub(crate) struct CannotSay {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// One source.
#[derive(Debug)]
pub(crate) enum Source {
    File(file::File),
    Static(r#static::Static),
    Table(table::Table),
}

impl Source {
    /// Asks for a user. `None` is a "no": the source is sure that it does not know him.
    pub(crate) async fn find(&self, user: &CanonicalUser) -> Result<Option<Found>, CannotSay> {
        match self {
            Self::File(file) => Ok(file.find(user).await),
            Self::Static(fixed) => Ok(Some(fixed.find())),
            Self::Table(table) => table.find(user),
        }
    }
}
