//! The source `table`: the embedded store.
//!
//! Nothing here writes, and nothing here waits for another thread: a look-up takes microseconds and is
//! done where it is asked for.

use std::sync::Arc;

use model::CanonicalUser;

use super::{CannotSay, Found};
use crate::Store;

#[derive(Debug)]
pub(crate) struct Table(pub(crate) Arc<Store>);

impl Table {
    pub(super) fn find(&self, user: &CanonicalUser) -> Result<Option<Found>, CannotSay> {
        match self.0.find(user) {
            Ok(home) => Ok(home.map(|home| Found {
                secret: home.password,
                verifier: home.verifier,
                id: home.id,
                disabled: home.disabled,
                ..home.answer.map(Found::from).unwrap_or_default()
            })),
            Err(error) => Err(CannotSay::by_store(error)),
        }
    }
}
