//! `posthouse shard`: which back ends the shards of a pool are looked for at.

use admin::{PlaceShards, PlacedShards, PoolLine, ShardLine, WhichPool};
use clap::{Args, Subcommand};
use web::client::escape;

use super::{
    Failure,
    output::{Output, or_dash, table},
    reach::on_store,
};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Shard {
    /// List what each back end has of the pools; with --all the shards of one pool, neighbours together.
    List(List),
    /// Have the mailboxes of some shards looked for at another back end. This moves no mail.
    #[command(after_help = "Example: posthouse shard place 0-1023 south --mail-is-already-there")]
    Place(Place),
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Only this pool.
    #[arg(long)]
    pool: Option<String>,
    /// All shards.
    #[arg(long)]
    all: bool,
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// The shards: FIRST-LAST, or one number, from 0 to 65535.
    #[arg(value_parser = range)]
    shards: (u16, u16),
    /// The back end's name.
    backend: String,
    /// The pool; may be left out where there is only one.
    #[arg(long)]
    pool: Option<String>,
    /// The mail has been brought there. Without this, nothing that exists is looked for elsewhere.
    #[arg(long)]
    mail_is_already_there: bool,
}

/// Reads `FIRST-LAST` or one number.
fn range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>();
    match (number(first), number(last)) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err("write FIRST-LAST or one number, from 0 to 65535".to_owned()),
    }
}

pub(super) fn act(config: &Config, act: Shard, output: Output) -> Result<(), Failure> {
    match act {
        Shard::List(List { pool, all: true }) => list_all(config, pool, output),
        Shard::List(List { pool, all: false }) => list(config, pool.as_deref(), output),
        Shard::Place(arguments) => place(config, arguments, output),
    }
}

fn list(config: &Config, pool: Option<&str>, output: Output) -> Result<(), Failure> {
    let mut pools = on_store(
        config,
        async |daemon| daemon.get::<Vec<PoolLine>>("/pools").await,
        |directory, _| admin::pool_list(directory),
    )?;
    pools.retain(|line| pool.is_none_or(|pool| line.pool == pool));
    output.print(&pools, |pools| {
        let lines =
            pools.iter().flat_map(|pool| pool.backends.iter().map(move |line| (pool, line)));
        table(
            ["POOL", "PLACE", "BACK END", "STATE", "WEIGHT", "SHARDS", "OWN HOMES"],
            lines.map(|(pool, line)| {
                let state = match (line.configured, line.member, line.drained) {
                    (false, ..) => "not configured",
                    (true, false, _) => "no member",
                    (true, true, true) => "drained",
                    (true, true, false) => "member",
                };
                let (shards, users) = (line.shards.to_string(), line.users.to_string());
                let (name, weight) = (line.backend.clone(), line.weight.to_string());
                [pool.pool.clone(), pool.place.clone(), name, state.into(), weight, shards, users]
            }),
        )
    })
}

fn list_all(config: &Config, pool: Option<String>, output: Output) -> Result<(), Failure> {
    let path = match &pool {
        Some(pool) => format!("/shards?pool={}", escape(pool)),
        None => "/shards".to_owned(),
    };
    let shards = on_store(
        config,
        async |daemon| daemon.get::<Vec<ShardLine>>(&path).await,
        |directory, _| admin::shard_list(directory, WhichPool { pool: pool.clone() }),
    )?;
    output.print(&shards, |shards| {
        let line = |line: &ShardLine| {
            let ShardLine { first, last, backend, epoch } = line;
            format!("{first}-{last}\t{}\t{epoch}\n", or_dash(backend.as_deref()))
        };
        shards.iter().map(line).collect()
    })
}

fn place(config: &Config, arguments: Place, output: Output) -> Result<(), Failure> {
    let Place { shards: (first, last), backend, pool, mail_is_already_there } = arguments;
    let request = PlaceShards { pool, first, last, backend, mail_is_already_there };
    let placed = on_store(
        config,
        async |daemon| daemon.post::<PlacedShards>("/shards/place", &request).await,
        |directory, actor| admin::shard_place(directory, actor, request.clone()),
    )?;
    output.print(&placed, |placed| {
        format!(
            "{}: {} shards are looked for at {} now\n",
            placed.pool, placed.changed, request.backend
        )
    })
}
