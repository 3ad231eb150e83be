//! Doing it: one account or ten thousand, so many at a time, each by itself.
//!
//! Nothing here knows how an account is reached, or shows anything. The future may be dropped at any moment: what
//! was done is remembered, and the next run goes on from there.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailsync::{
    Cause, End, FaultKind, Job, Observer, Outcome, PairState, Policy, Progress, Report, StateError,
    Survey,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{Account, Side};

/// An account to migrate.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Where it is.
    pub from: Account,
    /// Where it goes to.
    pub to: Account,
}

/// What is to be done with all of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is done.
    pub act: Act,
    /// The folder where it is remembered what was done.
    pub state: PathBuf,
    /// What is taken along, and how.
    pub policy: Policy,
    /// Sessions of one user, where that was said; else what the provider allows.
    pub sessions: Option<usize>,
    /// Messages a second, where that was said; else what the provider allows.
    pub messages_per_second: Option<u32>,
    /// Accounts at a time.
    pub at_once: usize,
    /// Sessions at one server, those of all accounts together.
    pub per_server: Option<usize>,
    /// Whether accounts are left out that were complete without a warning at the end of their last run.
    pub skip_complete: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Mail is copied.
    Migrate,
    /// It is said what would be.
    Survey,
}

/// How an account becomes something that the engine can use.
pub trait Reach: Send + Sync {
    /// What the engine uses.
    type End: End + 'static;

    /// Prepares to reach an account; nothing is spoken to yet, but passwords are read.
    ///
    /// # Errors
    /// Why it cannot be reached, without a secret.
    fn reach(
        &self,
        account: &Account,
        side: Side,
    ) -> impl Future<Output = Result<Self::End, String>> + Send;
}

/// Who follows it. Called often, and waited for.
pub trait Watch: Send + Sync {
    /// An account's turn has come. `number` is its place among all.
    fn begins(&self, number: usize, pair: &Pair);

    /// Something happened to it.
    fn sees(&self, number: usize, progress: Progress<'_>);

    /// It is over.
    fn ends(&self, number: usize, ended: &Ended);
}

/// What came of an account.
#[derive(Debug)]
pub struct Ended {
    /// Where it was.
    pub from: String,
    /// Where it went to.
    pub to: String,
    /// What came of it.
    pub came: Result<Came, NotDone>,
}

/// What came of an account whose turn it was.
#[derive(Debug)]
pub enum Came {
    /// It was migrated, or as far as that went. The report is kept in this file.
    Migrated(Box<Report>, PathBuf),
    /// It was complete already.
    Skipped,
    /// This would be done.
    Surveyed(Box<Survey>),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub struct NotDone {
    /// In a word.
    pub why: Why,
    /// In words for people.
    pub said: String,
}

/// Why an account is not migrated, in a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The server does not let the user in.
    Access(Side),
    /// The new server has no room.
    Full,
    /// Another process works on the same accounts.
    Locked,
    /// The server cannot be reached, or breaks off again and again.
    Lost(Side),
    /// Single mailboxes could not be migrated.
    Mailboxes,
    /// Something here: a file, a password, the disk.
    Ours,
    /// More messages were refused than was allowed.
    Refusals,
    /// The connection to the server cannot be made private as it has to be.
    Tls(Side),
}

impl Ended {
    /// Why it is not migrated; none if it is.
    pub fn why(&self) -> Option<Why> {
        match &self.came {
            Err(not_done) => Some(not_done.why),
            Ok(Came::Migrated(report, _)) if report.outcome == Outcome::Failed => {
                Some(report.cause.map_or(Why::Mailboxes, why))
            }
            Ok(_) => None,
        }
    }
}

fn why(cause: Cause) -> Why {
    let (side, kind) = match cause {
        Cause::Left(kind) => (Side::From, kind),
        Cause::Right(kind) => (Side::To, kind),
        Cause::State => return Why::Ours,
    };
    match kind {
        FaultKind::Access => Why::Access(side),
        FaultKind::Busy(_) | FaultKind::Lost => Why::Lost(side),
        FaultKind::Disk => Why::Ours,
        FaultKind::Full => Why::Full,
        FaultKind::Mailbox => Why::Mailboxes,
        FaultKind::Refusals => Why::Refusals,
        FaultKind::Tls => Why::Tls(side),
    }
}

/// Migrates accounts, and says of each what came of it, in their order. Each is a task of its own; dropping the
/// future ends all.
pub async fn run<R: Reach + 'static>(
    reach: R,
    pairs: Vec<Pair>,
    settings: Settings,
    watch: Arc<dyn Watch>,
) -> Vec<Ended> {
    let gates = Arc::new(Gates::new(&settings, &pairs));
    let (reach, settings) = (Arc::new(reach), Arc::new(settings));
    let mut turns = JoinSet::new();
    for (number, pair) in pairs.into_iter().enumerate() {
        let (gates, watch) = (Arc::clone(&gates), Arc::clone(&watch));
        let (reach, settings) = (Arc::clone(&reach), Arc::clone(&settings));
        turns.spawn(async move {
            let _passed = gates.pass(&pair, sessions(&settings, &pair)).await;
            watch.begins(number, &pair);
            // Only those whose turn it is take up memory.
            let came = Box::pin(turn(&*reach, number, &pair, &settings, &*watch)).await;
            let (from, to) = (pair.from.to_string(), pair.to.to_string());
            let ended = Ended { from, to, came };
            watch.ends(number, &ended);
            (number, ended)
        });
    }
    let mut all = BTreeMap::new();
    while let Some(turn) = turns.join_next().await {
        match turn {
            Ok((number, ended)) => drop(all.insert(number, ended)),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => {}
        }
    }
    all.into_values().collect()
}

async fn turn<R: Reach>(
    reach: &R,
    number: usize,
    pair: &Pair,
    settings: &Settings,
    watch: &dyn Watch,
) -> Result<Came, NotDone> {
    let left = reached(reach, &pair.from, Side::From).await?;
    let right = reached(reach, &pair.to, Side::To).await?;
    let state = open(&settings.state, &left.name(), &right.name())?;
    let kept = state.path().with_extension("report.json");
    if settings.skip_complete && was_complete(&kept) {
        return Ok(Came::Skipped);
    }
    let job = Job::new(left, right, policy(settings, pair), state);
    let observer = |progress: Progress<'_>| watch.sees(number, progress);
    let observer: &dyn Observer = &observer;
    match settings.act {
        Act::Survey => match job.survey(observer).await {
            Ok(survey) => Ok(Came::Surveyed(Box::new(survey))),
            Err(error) => Err(NotDone { why: why(error.cause()), said: error.to_string() }),
        },
        Act::Migrate => {
            let report = job.run(observer).await;
            keep(&kept, &report).map_err(|problem| {
                let said = format!("{}: {problem}", kept.display());
                NotDone { why: Why::Ours, said }
            })?;
            Ok(Came::Migrated(Box::new(report), kept))
        }
    }
}

async fn reached<R: Reach>(reach: &R, account: &Account, side: Side) -> Result<R::End, NotDone> {
    let end = reach.reach(account, side).await;
    end.map_err(|said| NotDone { why: Why::Ours, said: format!("{side} {account}: {said}") })
}

fn open(folder: &Path, left: &str, right: &str) -> Result<PairState, NotDone> {
    PairState::open(folder, left, right).map_err(|error| {
        let why = if matches!(error, StateError::Locked(_)) { Why::Locked } else { Why::Ours };
        NotDone { why, said: error.to_string() }
    })
}

/// Sessions of one account at each of its servers.
fn sessions(settings: &Settings, pair: &Pair) -> usize {
    let preset = pair.from.preset.and(pair.to.preset);
    let sessions = settings.sessions.or(preset.sessions);
    sessions.unwrap_or(settings.policy.limits.sessions).max(1)
}

fn policy(settings: &Settings, pair: &Pair) -> Policy {
    let preset = pair.from.preset.and(pair.to.preset);
    let mut policy = settings.policy.clone();
    let most = settings.per_server.unwrap_or(usize::MAX).max(1);
    policy.limits.sessions = sessions(settings, pair).min(most);
    // Large messages wait there on their way: /tmp is memory on many machines.
    policy.limits.spill.clone_from(&settings.state);
    policy.limits.messages_per_second = settings.messages_per_second.or(preset.messages_per_second);
    policy
}

/// Whether the last report says that nothing was left to be done or told.
fn was_complete(kept: &Path) -> bool {
    let Ok(text) = std::fs::read(kept) else { return false };
    let report: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    report
        .is_some_and(|report| report.get("outcome").and_then(|it| it.as_str()) == Some("complete"))
}

/// Keeps a report beside the memory of its pair, as a whole or not at all.
fn keep(path: &Path, report: &Report) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut options = std::fs::File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(&new)?;
    serde_json::to_writer_pretty(&mut file, report)?;
    file.write_all(b"\n")?;
    std::fs::rename(&new, path)
}

/// So many accounts at a time, and so many sessions at each server.
struct Gates {
    all: Arc<Semaphore>,
    servers: HashMap<String, Arc<Semaphore>>,
    most: usize,
}

impl Gates {
    fn new(settings: &Settings, pairs: &[Pair]) -> Self {
        let most = settings.per_server.map(|most| most.clamp(1, Semaphore::MAX_PERMITS));
        let servers = (pairs.iter())
            .flat_map(|pair| [&pair.from, &pair.to])
            .filter_map(|account| Some((account.server()?.at.host.to_string(), most?)))
            .map(|(host, most)| (host, Arc::new(Semaphore::new(most))))
            .collect();
        let at_once = settings.at_once.clamp(1, Semaphore::MAX_PERMITS);
        let all = Arc::new(Semaphore::new(at_once));
        Self { all, servers, most: most.unwrap_or(usize::MAX) }
    }

    /// Waits for room at both servers, and then for a turn: who waits for a server takes no turn from those who
    /// go elsewhere. All go through the gates in one order, so nobody waits for one who waits for him.
    async fn pass(&self, pair: &Pair, sessions: usize) -> Vec<OwnedSemaphorePermit> {
        let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
        for server in [&pair.from, &pair.to].into_iter().filter_map(|account| account.server()) {
            *wanted.entry(server.at.host.to_string()).or_default() += sessions;
        }
        let mut passed = Vec::new();
        for (host, sessions) in wanted {
            let Some(gate) = self.servers.get(&host) else { continue };
            let permits = u32::try_from(sessions.min(self.most)).unwrap_or(u32::MAX);
            passed.extend(Arc::clone(gate).acquire_many_owned(permits).await.ok());
        }
        passed.extend(Arc::clone(&self.all).acquire_owned().await.ok());
        passed
    }
}

#[cfg(test)]
mod tests;
