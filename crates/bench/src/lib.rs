//! The bench room.
