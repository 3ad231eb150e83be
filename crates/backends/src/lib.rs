//! The backends room.
