//! `posthouse-worker`: asks a database through unixODBC, for Posthouse, which starts it and speaks to it over its
//! standard input and output. A driver that crashes ends this process, and one that hangs has it killed.
//!
//! Nothing here is for people: nobody else starts it, and it takes no arguments.

mod odbc;
mod process;

use std::process::ExitCode;

use worker::Conversation;

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        // Nobody hears it any more; whoever started it sees how it ended.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Works until Posthouse hangs up.
fn run() -> std::io::Result<std::convert::Infallible> {
    process::close_all_else();
    process::forbid_core_dumps()?;
    let (input, output) = process::take_pipes()?;
    odbc::work(&mut Conversation::begin(input, output, process::end)?)
}
