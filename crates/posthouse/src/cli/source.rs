//! `posthouse source` and `posthouse cache`: what the sources of the directory were asked, and letting them
//! be asked anew.

use admin::{Flush, Flushed, SourceLine};
use clap::{Args, Subcommand};

use super::{
    Failure,
    output::{Output, table},
    reach::{block_on, daemon},
};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// List the sources in the order in which they are asked, and what is wrong with them.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum Cache {
    /// Forget what the sources said, of one user or of all, so that they are asked anew.
    #[command(after_help = "Examples:\n  posthouse cache flush anna\n  posthouse cache flush")]
    Flush(FlushArguments),
}

#[derive(Args, Debug)]
pub(super) struct FlushArguments {
    /// Only what was said of this user, by a name that he may log in with.
    user: Option<String>,
}

pub(super) fn act(config: &Config, act: &Source, output: Output) -> Result<(), Failure> {
    match act {
        Source::List => list(config, output),
    }
}

fn list(config: &Config, output: Output) -> Result<(), Failure> {
    let list: Vec<SourceLine> = block_on(daemon(config).get("/sources"))??;
    output.print(&list, |list| {
        table(
            ["SOURCE", "ASKED", "REMEMBERED", "FAILED", "STALE", "STATE"],
            list.iter().map(|line| {
                let Some(counts) = &line.network else {
                    let local = || "-".to_owned();
                    return [
                        line.source.clone(),
                        local(),
                        local(),
                        local(),
                        local(),
                        "here".into(),
                    ];
                };
                let state = match &counts.failing {
                    None => "answers".to_owned(),
                    Some(wrong) => format!("cannot say: {wrong}"),
                };
                [
                    line.source.clone(),
                    counts.asked.to_string(),
                    counts.remembered.to_string(),
                    counts.failed.to_string(),
                    counts.stale.to_string(),
                    state,
                ]
            }),
        )
    })
}

pub(super) fn cache(config: &Config, act: Cache, output: Output) -> Result<(), Failure> {
    let Cache::Flush(FlushArguments { user }) = act;
    let flushed: Flushed = block_on(daemon(config).post("/cache/flush", &Flush { user }))??;
    output.print(&flushed, |flushed| match &flushed.user {
        Some(user) => format!("what sources said of {user} is forgotten\n"),
        None => "all that sources said is forgotten\n".to_owned(),
    })
}
