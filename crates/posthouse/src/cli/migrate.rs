//! `posthouse migrate`: accounts from any IMAP server to any other. In the foreground and in this process, without
//! a daemon.
//!
//! Nothing here decides what is copied.

mod accounts;
mod choose;
mod follow;
mod imapsync;
mod show;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use admin::{
    MIGRATIONS,
    migrate::{Act, ByImap, Ended, List, ListFormat, Listed, Pair, Settings, Side, Spelled, run},
    prepare_state,
};
use clap::Args;
use nix::unistd::Uid;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    accounts::{From, To},
    choose::{Choice, Pace},
    follow::Follow,
};
use super::{Common, Failure, failure::say, output::Output};
use crate::config::{DEFAULT_PATH, Purpose, SYSTEM_STATE};

/// The longest list that is read, in bytes: a hundred thousand accounts, and no disk image by mistake.
const MAX_LIST: u64 = 64 << 20;

/// How the program ends after a signal; imapsync's number.
const INTERRUPTED: u8 = 6;

#[derive(Args, Debug)]
pub(super) struct Migrate {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    to: To,
    /// Where the server offers no STARTTLS, send passwords and mail in clear text (imap:// only).
    #[arg(long, help_heading = "Accounts")]
    allow_clear_text: bool,
    /// Migrate all accounts of a file: TOML (*.toml), columns with a heading, or imapsync's
    /// host1;user1;password1;host2;user2;password2. What is said here holds for those that say nothing else.
    #[arg(long, value_name = "FILE", help_heading = "Many accounts")]
    jobs: Option<PathBuf>,
    /// Accounts at a time.
    #[arg(
        long, value_name = "NUMBER", default_value_t = 8, requires = "jobs", help_heading = "Many accounts",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    at_once: u16,
    /// Sessions at one server at a time, those of all accounts together.
    #[arg(
        long, value_name = "NUMBER", requires = "jobs", help_heading = "Many accounts",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    per_server: Option<u16>,
    /// Leave out accounts whose last run was complete without a warning.
    #[arg(long, requires = "jobs", help_heading = "Many accounts")]
    skip_complete: bool,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    pace: Pace,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The folder where it is remembered what was copied [default: the configured state folder; without a
    /// configuration /var/lib/posthouse for root, $XDG_STATE_HOME/posthouse for others].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print the command that does what imapsync would do with these options, and nothing else.
    #[arg(long, value_name = "OPTIONS", allow_hyphen_values = true, exclusive = true)]
    from_imapsync: Option<String>,
}

pub(super) fn migrate(common: &Common, asked: &Migrate, output: Output) -> Result<(), Failure> {
    if let Some(options) = &asked.from_imapsync {
        return imapsync::translate(options, output);
    }
    let pairs = asked.pairs()?;
    let policy = asked.choice.policy(&asked.pace, SystemTime::now());
    let policy = policy.map_err(|unusable| Failure::Usage(unusable.to_string()))?;
    let folder = folder(common, asked.state.as_deref())?;
    prepare_state(&folder, None)?;
    let settings = Settings {
        act: if asked.dry_run { Act::Survey } else { Act::Migrate },
        state: folder.join(MIGRATIONS),
        policy,
        sessions: asked.pace.sessions(),
        messages_per_second: asked.pace.messages_per_second(),
        at_once: asked.at_once.into(),
        per_server: asked.per_server.map(usize::from),
        skip_complete: asked.skip_complete,
    };
    let watch = Arc::new(Follow::new(&pairs, output));
    let ended = carry_out(pairs, settings, Arc::clone(&watch))?;
    watch.done();
    let Some(ended) = ended else {
        say(
            "posthouse: interrupted; what was copied is remembered: give the same command again to go on\n",
        );
        return Err(Failure::Ended(INTERRUPTED));
    };
    if !output.is_json() {
        super::output::write(&show::all(&ended))?;
    }
    match show::status(&ended) {
        0 => Ok(()),
        status => Err(Failure::Ended(status)),
    }
}

/// Migrates them; none if a signal came first.
fn carry_out(
    pairs: Vec<Pair>,
    settings: Settings,
    watch: Arc<Follow>,
) -> Result<Option<Vec<Ended>>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))?;
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok::<_, io::Error>(tokio::select! {
            ended = run(ByImap::default(), pairs, settings, watch) => Some(ended),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        })
    });
    // A command that fetches a password may still run; nobody waits for it.
    runtime.shutdown_background();
    ended.map_err(|error| Failure::new(format!("signals cannot be waited for: {error}")))
}

impl Migrate {
    /// The accounts of the command line, or of the list.
    fn pairs(&self) -> Result<Vec<Pair>, Failure> {
        let mut from = self.from.asked().map_err(Failure::Usage)?;
        let mut to = self.to.asked().map_err(Failure::Usage)?;
        if self.allow_clear_text {
            (from.clear_text, to.clear_text) = (Some(true), Some(true));
        }
        let Some(file) = &self.jobs else {
            let pair = Listed { line: 0, from, to };
            return Ok(vec![pair_of(&pair, Spelled::Option).map_err(Failure::Usage)?]);
        };
        let format = match file.extension() {
            Some(extension) if extension == "toml" => ListFormat::Toml,
            _ => ListFormat::Lines,
        };
        let list = List::read(&read(file)?, format, &from, &to).map_err(|mistaken| {
            let at = |mistake| format!("{}: {mistake}", file.display());
            let told: Vec<String> = mistaken.0.iter().map(at).collect();
            Failure::Usage(told.join("\nposthouse: "))
        })?;
        let pairs = list.pairs.iter().map(|pair| pair_of(pair, Spelled::Key));
        pairs.collect::<Result<_, _>>().map_err(Failure::Usage)
    }
}

fn pair_of(pair: &Listed, spelled: Spelled) -> Result<Pair, String> {
    let from = pair.from.account(Side::From, spelled)?;
    let to = pair.to.account(Side::To, spelled)?;
    if from.to_string() == to.to_string() {
        return Err(format!("{from} cannot be migrated to itself"));
    }
    Ok(Pair { from, to })
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |problem: String| Failure::new(format!("{}: {problem}", file.display()));
    let size = fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if size > MAX_LIST {
        return Err(failed(format!("it is longer than {MAX_LIST} bytes, so it is no list")));
    }
    let bytes = fs::read(file).map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))
}

/// The folder for what must outlive us.
fn folder(common: &Common, asked: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = asked {
        return Ok(folder.to_owned());
    }
    // One that is there counts even if nobody named it: the daemon's state is where one looks for it.
    if common.config != Path::new(DEFAULT_PATH) || common.config.exists() {
        return Ok(common.quietly(Purpose::Act)?.state);
    }
    if Uid::effective().is_root() {
        return Ok(SYSTEM_STATE.into());
    }
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let none = || {
        Failure::Usage("neither XDG_STATE_HOME nor HOME names a folder: give --state DIR".into())
    };
    Ok(base.ok_or_else(none)?.join("posthouse"))
}
