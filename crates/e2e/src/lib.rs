//! What the end-to-end tests share: Posthouse behind ports of its own, real back ends, scripted ones,
//! and the runner. Nothing here tests anything.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test"
)]

pub mod account;
pub mod chance;
pub mod database;
pub mod door;
pub mod headers;
pub mod house;
pub mod inside;
pub mod load;
pub mod odbc;
pub mod outage;
pub mod processes;
pub mod programs;
pub mod runner;
pub mod secrets;
pub mod stub;
pub mod tap;
