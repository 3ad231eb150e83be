//! Left and right, so that what holds for one end is written once for both.
//!
//! Nothing here knows what an end is.

use serde::Serialize;

/// One of the two ends.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// Where a migration comes from.
    Left,
    /// Where it goes to.
    Right,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Left, Self::Right];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Something of each end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Both<T> {
    pub(crate) left: T,
    pub(crate) right: T,
}

impl<T> Both<T> {
    pub(crate) fn of(&self, side: Side) -> &T {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    pub(crate) fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        }
    }
}
