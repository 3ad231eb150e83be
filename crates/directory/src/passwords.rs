//! Passwords checked here: what a source has stored for a user against what a client offers.
//!
//! Nothing here knows where a stored password came from, and nothing here words a reply. A stored password
//! that cannot be read, or that would cost more than the administrator allows, is "cannot say": never "wrong".

mod desk;
mod encoding;
mod limits;
mod memory;
mod pool;
mod schemes;
mod stored;

pub use desk::{PasswordSettings, Passwords};
pub use limits::{Limits, PlainText};
pub use pool::PoolSettings;
pub use stored::{DefaultScheme, Stored, Unusable};

/// What came of checking a password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is the password that was stored.
    Right,
    /// It is another.
    Wrong,
    /// Nobody can say: to the client this is "try later".
    CannotSay(CannotSay),
}

/// Why nobody can say whether a password is right.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CannotSay {
    /// More passwords wait to be checked than may: [`model::Reason::LimitPasswords`].
    #[error("{waiting} passwords wait to be checked already")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// What is stored cannot be used: [`model::Reason::DirectoryMisconfigured`].
    #[error("the stored password cannot be used: {0}")]
    Unusable(#[from] Unusable),
}

impl CannotSay {
    /// The reason in log and metrics.
    pub fn reason(&self) -> model::Reason {
        match self {
            Self::Busy { .. } => model::Reason::LimitPasswords,
            Self::Unusable(_) => model::Reason::DirectoryMisconfigured,
        }
    }
}
