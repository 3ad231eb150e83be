//! Back ends that know only old TLS, before a program that can speak it. Run on demand, after
//! `cargo build --workspace --features posthouse/legacy-tls`: `cargo test -p e2e --test legacy`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test"
)]

mod old_servers;

use std::process::ExitCode;

fn main() -> ExitCode {
    e2e::runner::run(old_servers::cases(), 4)
}
