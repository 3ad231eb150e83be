//! What takes minutes: `cargo test -p e2e --test long`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test"
)]

mod crowd;
mod death;
mod hostile;
mod large;
mod modules;
mod outages;
mod patience;
mod refusals;

use std::process::ExitCode;

/// Most of them count time or memory.
const THREADS: usize = 1;

fn main() -> ExitCode {
    if let Some(port) = crowd::stub_port(std::env::args()) {
        return crowd::serve_stub(port);
    }
    let cases = [
        crowd::cases(),
        death::cases(),
        hostile::cases(),
        large::cases(),
        modules::cases(),
        outages::cases(),
        refusals::cases(),
        patience::cases(),
    ];
    e2e::runner::run(cases.into_iter().flatten().collect(), THREADS)
}
