//! What takes minutes: `cargo test -p e2e --test long`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test"
)]

mod crowd;
mod modules;
mod patience;

use std::process::ExitCode;

/// One after the other counts its time alone; the patient one only waits.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let cases = [crowd::cases(), modules::cases(), patience::cases()];
    e2e::runner::run(cases.into_iter().flatten().collect(), THREADS)
}
