//! Posthouse between real clients and real servers, as a whole.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test"
)]

mod answers;
mod clients;
mod injection;
mod right_door;

use std::process::ExitCode;

/// Most tests wait more than they work.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let cases = [answers::cases(), injection::cases(), clients::cases(), right_door::cases()];
    e2e::runner::run(cases.into_iter().flatten().collect(), THREADS)
}
