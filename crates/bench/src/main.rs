//! Measures what Posthouse costs beside HAProxy and nginx, on loopback, with a stub back end and a load generator of its own.
//! Nothing here is used by the product or leaves the machine.

mod cases;
mod contenders;
mod gauge;
mod load;
mod report;
mod rounds;
mod stub;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit};
use testkit::{process, workspace};

use cases::{Amounts, Case};
use contenders::{Certificate, Contender};
use load::{Direction, Done, KeyExchange, Target};
use stub::Stub;

/// Side-by-side measurement of mail proxies.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    comparison: Comparison,
}

/// One half of the tools alone.
#[derive(Debug, Subcommand)]
enum Part {
    /// Serve as stub back end until stopped.
    Stub(stub::Settings),
    /// Measure the embedded table of users alone.
    Table {
        /// Fewer users.
        #[arg(long)]
        quick: bool,
    },
    /// Put one kind of load on a listener, and print what was done as JSON.
    Load(Load),
}

#[derive(Debug, Args)]
struct Comparison {
    /// One round with less load: a first look in a minute and a half.
    #[arg(long)]
    quick: bool,
    /// Measure these proxies only.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Measure these cases only.
    #[arg(long, value_enum, value_delimiter = ',')]
    case: Vec<Case>,
    /// Rounds, instead of five (or one if quick).
    #[arg(long)]
    rounds: Option<u32>,
    /// Clients that log in or talk at a time, instead of sixteen.
    #[arg(long)]
    clients: Option<u32>,
    /// Connections that carry messages at a time, instead of four.
    #[arg(long)]
    streams: Option<u32>,
    /// Key exchange that the TLS client offers.
    #[arg(long, value_enum, default_value_t)]
    key_exchange: KeyExchange,
    /// Result file, instead of bench/result.json in the cargo target folder.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Load {
    /// What to do.
    #[arg(value_enum)]
    kind: Kind,
    /// The listener.
    #[arg(long, default_value = "127.0.0.1:27143")]
    address: SocketAddr,
    /// Speak TLS from the first byte.
    #[arg(long)]
    tls: bool,
    /// Key exchange that the TLS client offers.
    #[arg(long, value_enum, default_value_t)]
    key_exchange: KeyExchange,
    /// Visits, messages, round trips or sessions.
    #[arg(long, default_value_t = 1_000)]
    count: u32,
    /// How many at a time.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Size of a message in bytes.
    #[arg(long, default_value_t = 1024 * 1024)]
    bytes: u64,
}

/// Kinds of load.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Connect, LOGIN, LOGOUT.
    Logins,
    /// Fetch messages.
    Fetch,
    /// Fetch short lines.
    Rows,
    /// Append messages.
    Append,
    /// NOOP round trips.
    Noops,
    /// Log in and hold the sessions until Enter is pressed.
    Idle,
}

fn main() -> Result<()> {
    process::raise_open_file_limit();
    let arguments = Arguments::parse();
    match arguments.part {
        None => compare(arguments.comparison),
        Some(Part::Stub(settings)) => {
            let stub = Stub::bind(settings)?;
            println!("{}", serde_json::to_string(&stub.ports())?);
            stub.serve();
            Ok(())
        }
        Some(Part::Table { quick }) => {
            print!("{}", table::measure(amounts_of_table(quick))?.text());
            Ok(())
        }
        Some(Part::Load(load)) => {
            println!("{}", serde_json::to_string(&load.run()?)?);
            Ok(())
        }
    }
}

fn amounts_of_table(quick: bool) -> table::Amounts {
    if quick { table::Amounts::QUICK } else { table::Amounts::WHOLE }
}

fn compare(wanted: Comparison) -> Result<()> {
    let everything = wanted.only.is_empty() && wanted.case.is_empty();
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let usual = if wanted.quick { Amounts::QUICK } else { Amounts::WHOLE };
    let amounts = Amounts {
        rounds: wanted.rounds.unwrap_or(usual.rounds),
        clients: wanted.clients.unwrap_or(usual.clients),
        streams: wanted.streams.unwrap_or(usual.streams),
        ..usual.within(open_files)
    };
    let plan = rounds::Plan {
        contenders: all_unless_named(wanted.only, &Contender::ALL),
        cases: all_unless_named(wanted.case, &Case::ALL),
        amounts,
        stub: Stub::bind(stub::Settings::anywhere())?.spawn()?,
        certificate: Certificate::generate()?,
        tls: load::client_config(wanted.key_exchange)?,
    };
    let record = rounds::run(&plan);
    print!("{}", record.table());
    let table = everything.then(|| table::measure(amounts_of_table(wanted.quick))).transpose()?;
    if let Some(table) = &table {
        print!("\n{}", table.text());
    }
    let output =
        wanted.output.unwrap_or_else(|| workspace::target_folder().join("bench/result.json"));
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&output, record.json()?)
        .with_context(|| format!("cannot write {}", output.display()))?;
    if let Some(table) = &table {
        let beside = output.with_file_name("table.json");
        fs::write(&beside, serde_json::to_string_pretty(table)?)
            .with_context(|| format!("cannot write {}", beside.display()))?;
    }
    println!("\nwritten to {}", output.display());
    ensure!(record.is_whole(), "not everything could be measured");
    Ok(())
}

fn all_unless_named<T: Copy>(named: Vec<T>, all: &[T]) -> Vec<T> {
    if named.is_empty() { all.to_vec() } else { named }
}

impl Load {
    fn run(&self) -> Result<Done> {
        let tls = self.tls.then(|| load::client_config(self.key_exchange)).transpose()?;
        let target = Target { address: self.address, tls };
        let Self { clients, count, bytes, .. } = *self;
        match self.kind {
            Kind::Logins => load::visits(&target, clients, count),
            Kind::Fetch => load::transfer(&target, Direction::Fetch, clients, count, bytes),
            Kind::Rows => load::transfer(&target, Direction::Rows, clients, count, bytes),
            Kind::Append => load::transfer(&target, Direction::Append, clients, count, bytes),
            Kind::Noops => load::noops(&target, clients, count),
            Kind::Idle => {
                let held = load::hold(&target, clients, count)?;
                eprintln!("{count} sessions are held; Enter ends them");
                std::io::stdin().read_line(&mut String::new())?;
                let done = held.done;
                held.log_out()?;
                Ok(done)
            }
        }
    }
}
