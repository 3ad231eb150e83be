//! The source `table`: the embedded store.
//!
//! Nothing here writes, and nothing here waits for another thread: a look-up takes microseconds and is
//! done where it is asked for.

use std::sync::Arc;

use model::{CanonicalUser, Reason};

use super::{CannotSay, Found};
use crate::{Store, StoreError};

#[derive(Debug)]
pub(crate) struct Table(pub(crate) Arc<Store>);

impl Table {
    pub(super) fn find(&self, user: &CanonicalUser) -> Result<Option<Found>, CannotSay> {
        match self.0.find(user) {
            Ok(home) => Ok(home.map(|home| Found { secret: home.password, ..home.answer.into() })),
            Err(error) => Err(CannotSay {
                reason: match error {
                    StoreError::Row { .. } => Reason::DirectoryMisconfigured,
                    _ => Reason::DirectoryUnavailable,
                },
                detail: error.to_string(),
            }),
        }
    }
}
