//! The command line: what can be asked for, and how it is said when something fails.

mod backend;
mod check;
mod failure;
mod import;
mod migrate;
mod output;
mod reach;
mod session;
mod shard;
mod source;
mod user;
mod version;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::Protocol;
use nix::unistd::Uid;

pub(crate) use failure::Failure;

use self::output::Output;
use crate::{
    app::{self, process},
    config::{self, Config, DEFAULT_PATH, Mistakes, Purpose, SYSTEM_STATE, Surroundings},
};

/// The front door of a mail cluster: IMAP and POP3 to each user's own server.
#[derive(Debug, Parser)]
#[command(
    name = "posthouse",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        posthouse check                        is the configuration good?\n  \
        posthouse serve                        serve until SIGTERM\n  \
        posthouse user place anna a            anna's mail is on the back end a\n  \
        posthouse session list --user anna     who is logged in as anna?\n\n\
        Exit status: 0 done, 1 failed, 2 the command line or the configuration is wrong."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
struct Common {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Print JSON, for programs; failures too, on standard error.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM; a second SIGTERM ends sessions that are left at once.
    Serve,
    /// Check the configuration, all of it, and print what follows from it.
    ///
    /// Reads every file that is named, and touches no network and no state.
    Check,
    /// Say and find out where users' mail is.
    #[command(subcommand)]
    User(user::User),
    /// Look at the back ends, and say what they get and whether anybody is let in there.
    #[command(subcommand)]
    Backend(backend::Backend),
    /// Look at the sources of the directory.
    #[command(subcommand)]
    Source(source::Source),
    /// Let the sources of the directory be asked anew.
    #[command(subcommand)]
    Cache(source::Cache),
    /// Look at the pools and their shards, and say where shards are.
    #[command(subcommand)]
    Shard(shard::Shard),
    /// Look at the sessions, and end them.
    #[command(subcommand)]
    Session(session::Session),
    /// Print another program's configuration as one for Posthouse, with a comment for each thing that differs.
    #[command(subcommand)]
    Import(import::Import),
    /// Copy accounts from any IMAP server to any other; again, only what has changed.
    #[command(after_help = "Examples:\n  \
        posthouse migrate --from imaps://ann@old.example.org --to imap://ann@new.example.org \\\n      \
        --from-password-file ann.old --to-password-file ann.new\n  \
        posthouse migrate --jobs accounts.csv --from imaps://old.example.org --to imaps://new.example.org\n  \
        posthouse migrate --from-imapsync '--host1 old --user1 ann --host2 new --user2 ann'\n\n\
        Exit status: 0 complete, also with warnings; 1 failed here, 2 the command line is wrong, 6 interrupted, 8\n\
        already running, 12 no TLS, 101 and 102 the old or new server cannot be reached, 111 not everything could be\n\
        copied, 112 too many refused, 113 the new server is full, 161 and 162 the login was refused.")]
    Migrate(Box<migrate::Migrate>),
    /// Print the version.
    Version,
}

/// A protocol, as it is written on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spoken {
    Imap,
    Pop3,
}

impl From<Spoken> for Protocol {
    fn from(spoken: Spoken) -> Self {
        match spoken {
            Spoken::Imap => Self::Imap,
            Spoken::Pop3 => Self::Pop3,
        }
    }
}

impl Cli {
    /// Whether programs read what is said.
    pub(crate) fn wants_json(&self) -> bool {
        self.common.json
    }
}

/// Does what was asked for.
pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let Cli { common, command } = cli;
    let output = Output::new(common.json);
    match command {
        Command::Serve => {
            let (config, warnings) = common.load(Purpose::Serve)?;
            app::serve(config, &warnings)
        }
        Command::Check => check::check(&common, output),
        Command::User(act) => user::act(&common.quietly(Purpose::Act)?, act, output),
        Command::Backend(act) => backend::act(&common, act, output),
        Command::Shard(act) => shard::act(&common.quietly(Purpose::Act)?, act, output),
        Command::Session(act) => session::act(&common.quietly(Purpose::Act)?, act, output),
        Command::Source(act) => source::act(&common.quietly(Purpose::Act)?, &act, output),
        Command::Cache(act) => source::cache(&common.quietly(Purpose::Act)?, act, output),
        Command::Import(what) => import::import(&what, output),
        Command::Migrate(asked) => migrate::migrate(&common, &asked, output),
        Command::Version => version::version(output),
    }
}

impl Common {
    fn load(&self, purpose: Purpose) -> Result<(Config, Mistakes), Failure> {
        let around = Surroundings {
            purpose,
            variable: &|name| std::env::var(name).ok(),
            root: Uid::effective().is_root(),
            owns_system_state: process::owns(Path::new(SYSTEM_STATE)),
        };
        Ok(config::load(&self.config, &around)?)
    }

    /// Without the warnings: `check` and `serve` tell them.
    fn quietly(&self, purpose: Purpose) -> Result<Config, Failure> {
        Ok(self.load(purpose)?.0)
    }
}
