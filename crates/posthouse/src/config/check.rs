//! Turns the file's shape into settings, or notes every mistake in it. One module for each table.

mod access;
mod answer;
mod backend;
mod between;
mod clients;
mod health;
mod limits;
mod listener;
mod names;
mod passwords;
mod pool;
mod secrets;
mod source;
mod stores;
mod tokens;
mod trust;

use std::{num::NonZeroUsize, path::PathBuf, thread, time::Duration};

use super::{
    Config, Log, LogFormat, LogLevel, SYSTEM_STATE, Surroundings,
    file::File,
    mistake::Mistake,
    read::{Field, Reader},
};

/// How long sessions may go on after SIGTERM: a download in progress mostly ends in this time, and
/// systemd kills after 90 seconds unless told otherwise.
const GRACE: Duration = Duration::from_secs(30);

/// More threads than any machine has use for.
const MAX_WORKERS: u32 = 1024;

/// Checks the whole file. What is given back counts only if no error was noted.
pub(super) fn config(file: &File, around: &Surroundings<'_>, reader: &mut Reader<'_>) -> Config {
    let mut taken = listener::Taken::default();
    let listeners = listener::listeners(&file.listeners, around.purpose, &mut taken, reader);
    let backends = backend::backends(&file.backends, around.purpose, reader);
    let rules = names::rules(file.names.value(), reader);
    let pools = pool::pools(&file.pools, &backends, reader);
    let sources =
        source::sources(&file.directory, &rules, &backends, &pools, around.purpose, reader);
    source::environment(&file.directory, around, reader);
    pool::unused(&file.pools, &sources, reader);
    let answers = answer::answers(&file.answers, &backends, around.purpose, &mut taken, reader);
    between::passwords(file, &backends, &sources, reader);
    between::tokens(file, &backends, &sources, reader);
    between::unforwardable(file, &backends, reader);
    between::scram(file, &sources, reader);
    between::loops(&backends, &listeners, reader);
    stores::stores(file, &backends, reader);
    access::foresee(file, around, reader);
    let log = file.log.value();
    Config {
        state: file.state.value().cloned().or_else(|| default_state(around)).unwrap_or_else(|| {
            let mistake = Mistake::error(&(0..0), "there is no state folder");
            reader.note(mistake.help("write state = \"FOLDER\", or set HOME"));
            PathBuf::new()
        }),
        user: user(&file.user, around, reader),
        workers: workers(&file.workers, reader),
        grace: file.grace.or(GRACE),
        log: Log {
            format: log.map_or(LogFormat::Text, |log| log.format.or(LogFormat::Text)),
            level: log.map_or(LogLevel::Info, |log| log.level.or(LogLevel::Info)),
        },
        listeners,
        limits: limits::limits(file, reader),
        deadlines: limits::deadlines(&file.deadlines, reader),
        health: health::health(&file.health, reader),
        known_backends: backends.iter().map(backend::Checked::known).collect(),
        backends: backends.into_iter().filter_map(|backend| backend.settings).collect(),
        pools,
        rules,
        sources,
        answers,
        passwords: passwords::passwords(&file.passwords, reader),
        tokens: tokens::tokens(&file.tokens, around.purpose, reader),
    }
}

/// The folder that systemd made for us (systemd.exec(5)); the service's, for root and for the user it
/// belongs to, so that the service and its operators mean one folder; else the user's own folder for
/// states (XDG base directories).
fn default_state(around: &Surroundings<'_>) -> Option<PathBuf> {
    let folder =
        |name| (around.variable)(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Of several only the first can be meant.
    let given = (around.variable)("STATE_DIRECTORY");
    let given = given.as_deref().and_then(|list| list.split(':').next()).map(PathBuf::from);
    if let Some(given) = given.filter(|path| path.is_absolute()) {
        return Some(given);
    }
    if around.root || around.owns_system_state {
        return Some(SYSTEM_STATE.into());
    }
    let states = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    Some(states?.join("posthouse"))
}

fn user(
    field: &Field<String>,
    around: &Surroundings<'_>,
    reader: &mut Reader<'_>,
) -> Option<String> {
    let user = field.given()?;
    // Only root can become somebody, and only on the machine where it serves must he exist.
    if around.root && around.purpose.reads_files() {
        let found = nix::unistd::User::from_name(&user.value);
        if !matches!(found, Ok(Some(_))) {
            let title = format!("there is no user \"{}\" on this machine", user.value);
            let help = format!("make one: useradd --system {}", user.value);
            reader.note(Mistake::error(&user.span, title).help(help));
        }
    }
    Some(user.value.clone())
}

fn workers(field: &Field<u32>, reader: &mut Reader<'_>) -> NonZeroUsize {
    let processors = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let Some(workers) = field.given() else { return processors };
    let count = usize::try_from(workers.value).ok().and_then(NonZeroUsize::new);
    match count {
        Some(count) if workers.value <= MAX_WORKERS => count,
        _ => {
            let title = format!("a number from 1 to {MAX_WORKERS} is expected here");
            let help = "leave it out to have one worker for each processor";
            reader.note(Mistake::error(&workers.span, title).help(help));
            processors
        }
    }
}

/// Notes keys that have no meaning beside the others that were chosen.
macro_rules! refuse {
    ($reader:expr, $table:expr, [$($key:ident),*], $because:expr) => {
        $(if let Some(given) = $table.$key.given() {
            let title = format!("`{}` has no meaning here", stringify!($key));
            $reader.note(Mistake::error(&given.span, title).help($because));
        })*
    };
}
use refuse;
