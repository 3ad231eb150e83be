//! `posthouse`: the front door of a mail cluster. Nothing here decides anything: this reads the command
//! line and says how it ended.

mod app;
mod cli;
mod config;
mod time;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // The only provider there is; a second installation is refused, and this is the first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = cli::Cli::parse();
    let json = cli.wants_json();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(json),
    }
}
