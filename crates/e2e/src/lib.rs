//! The e2e room.
