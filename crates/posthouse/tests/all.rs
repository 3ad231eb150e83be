//! The real program, as its operator meets it.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "this is a test")]

#[path = "all/daemon.rs"]
mod daemon;
#[path = "all/migrate.rs"]
mod migrate;
#[path = "all/offline.rs"]
mod offline;
#[path = "all/program.rs"]
mod program;
