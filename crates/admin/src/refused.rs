//! Why an act was not done: one word for programs, one sentence for people.

use directory::StoreError;
use serde::{Deserialize, Serialize};

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The request is wrong, and will be.
    Invalid,
    /// The directory has no table of users.
    NoTable,
    /// There is no such thing.
    NotFound,
    /// It cannot be done now.
    Unavailable,
}

impl Why {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NoTable => "no-table",
            Self::NotFound => "not-found",
            Self::Unavailable => "unavailable",
        }
    }
}

/// An act that was not done; nothing was changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What kind of refusal.
    #[serde(rename = "word")]
    pub why: Why,
    /// What is wrong, where, and what to do.
    pub message: String,
}

impl Refused {
    /// A refusal with its sentence.
    pub fn new(why: Why, message: impl ToString) -> Self {
        Self { why, message: message.to_string() }
    }

    /// The request is wrong.
    pub fn invalid(message: impl ToString) -> Self {
        Self::new(Why::Invalid, message)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let why =
            if matches!(error, StoreError::Input(_)) { Why::Invalid } else { Why::Unavailable };
        Self::new(why, error)
    }
}
