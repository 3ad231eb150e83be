//! The engine between two accounts in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "this is a test"
)]

mod crashes;
mod histories;
mod house;
mod migrations;
mod mirrors;
mod servers;
