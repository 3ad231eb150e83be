//! `posthouse backend add|drain|enable|hold|release`: what a back end gets, and who is let in there.

use std::cell::Cell;

use admin::{AddedBackend, AlsoKick, Hold, Switched, WhichPool};
use clap::Args;
use web::client::escape;

use crate::{
    cli::{Failure, failure::say, output::Output, reach::on_store},
    config::Config,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Add {
    /// The back end's name in the configuration.
    name: String,
    /// The pool; may be left out where there is only one.
    #[arg(long)]
    pool: Option<String>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct HoldArguments {
    /// The back end's name.
    name: String,
    /// End the sessions that are open there.
    #[arg(long)]
    kick: bool,
}

pub(super) fn add(config: &Config, arguments: &Add, output: Output) -> Result<(), Failure> {
    let Add { name, pool } = arguments;
    let which = WhichPool { pool: pool.clone() };
    let path = format!("/members/{}", escape(name));
    let added = on_store(
        config,
        async |daemon| daemon.post::<AddedBackend>(&path, &which).await,
        |directory, actor| admin::backend_add(directory, actor, name, which.clone()),
    )?;
    output.print(&added, |added| {
        let AddedBackend { pool, place, backend, version, members, would_move, of } = added;
        let members = members.join(", ");
        let follows = if place == "shard" {
            "Each shard has its owner, and keeps it: it gets mailboxes when shards are placed there (shard place)."
        } else {
            "New mailboxes may get there; what is somewhere stays there."
        };
        let mut text = format!(
            "{backend} is a member of {pool} now (version {version}: {members}).\n{follows}\n"
        );
        let all: u64 = would_move.iter().map(|line| line.count).sum();
        text.push_str(&format!("Were all {of} placed anew, {all} would move there:\n"));
        for line in would_move {
            text.push_str(&format!("  {:>10} from {}\n", line.count, line.from));
        }
        text
    })
}

pub(super) fn drain(
    config: &Config,
    name: &str,
    drained: bool,
    output: Output,
) -> Result<(), Failure> {
    let path = format!("/drained/{}", escape(name));
    let switched = on_store(
        config,
        async |daemon| match drained {
            true => daemon.put::<Switched>(&path, &AlsoKick::default()).await,
            false => daemon.delete::<Switched>(&path).await,
        },
        |directory, actor| admin::backend_drain(directory, actor, name, drained),
    )?;
    output.print(&switched, |switched| {
        let what = if drained {
            "gets no new mailboxes, but for users whose shard it has (pools with place = \"shard\")"
        } else {
            "gets new mailboxes"
        };
        format!("{} {what}{}\n", switched.name, already(switched))
    })
}

pub(super) fn hold(
    config: &Config,
    arguments: &HoldArguments,
    output: Output,
) -> Result<(), Failure> {
    let HoldArguments { name, kick } = arguments;
    let path = format!("/holds/backends/{}", escape(name));
    hold_at(config, &path, Hold::Backend(name), *kick, output)
}

pub(super) fn release(config: &Config, name: &str, output: Output) -> Result<(), Failure> {
    release_at(config, &format!("/holds/backends/{}", escape(name)), Hold::Backend(name), output)
}

/// Holds, and ends sessions: they are the daemon's.
pub(in crate::cli) fn hold_at(
    config: &Config,
    path: &str,
    hold: Hold<'_>,
    kick: bool,
    output: Output,
) -> Result<(), Failure> {
    let also = AlsoKick { kick };
    let nobody_kicked = Cell::new(false);
    let switched = on_store(
        config,
        async |daemon| daemon.put::<Switched>(path, &also).await,
        |directory, actor| {
            nobody_kicked.set(kick);
            admin::hold(directory, None, actor, hold, None, also)
        },
    )?;
    if nobody_kicked.get() {
        say(
            "no posthouse runs here, so no session was ended: those of one that is stopping go on until its \
             `grace` is over\n",
        );
    }
    output.print(&switched, |switched| {
        let kicked =
            if kick { format!(", {} sessions ended", switched.kicked) } else { String::new() };
        format!("{} is held{kicked}{}\n", switched.name, already(switched))
    })
}

pub(in crate::cli) fn release_at(
    config: &Config,
    path: &str,
    hold: Hold<'_>,
    output: Output,
) -> Result<(), Failure> {
    let switched = on_store(
        config,
        async |daemon| daemon.delete::<Switched>(path).await,
        |directory, actor| admin::release(directory, actor, hold),
    )?;
    output.print(&switched, |switched| {
        format!("{} is held no more{}\n", switched.name, already(switched))
    })
}

fn already(switched: &Switched) -> &'static str {
    if switched.changed { "" } else { " (it was so already)" }
}
