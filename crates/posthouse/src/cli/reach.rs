//! Finds who does an act: the daemon where one runs, else we ourselves under the state folder's lock.

use std::{sync::Arc, time::Duration};

use admin::{Actor, LockError, Refused, StateLock, Users, no_table, prepare_state};
use directory::{Backends, Directory, Rules, Settings, SourceKind, SourceSettings, Store};
use nix::unistd::Uid;
use web::client::{CallError, Client};

use super::Failure;
use crate::{
    app::{self, control, process},
    config::Config,
};

/// How long we wait for the lock: another act takes less, and a daemon that starts will answer soon.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How long a daemon that has the lock may take until it listens.
const DAEMON_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The daemon of a configuration, running or not.
pub(super) fn daemon(config: &Config) -> Client {
    Client::new(control::path(&config.state))
}

/// Runs what waits for sockets.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))?;
    Ok(runtime.block_on(work))
}

/// Has an act on users done: by the daemon, else here. A daemon that starts or stops at this very
/// moment makes no difference.
pub(super) fn on_users<T>(
    config: &Config,
    by_daemon: impl AsyncFn(&Client) -> Result<T, CallError>,
    here: impl FnOnce(&Users, &Actor) -> Result<T, Refused>,
) -> Result<T, Failure> {
    on_state(config, by_daemon, |actor| Ok(here(&users(config)?, actor)?))
}

/// Has an act on the directory done: by the daemon, else here.
pub(super) fn on_directory<T>(
    config: &Config,
    by_daemon: impl AsyncFn(&Client) -> Result<T, CallError>,
    here: impl AsyncFnOnce(&Directory, Option<&Users>, &Actor) -> Result<T, Refused>,
) -> Result<T, Failure> {
    on_state(config, by_daemon, |actor| {
        block_on(async {
            let directory = Directory::open(app::directory_settings(config)?)?;
            let users = app::users(&directory);
            Ok(here(&directory, users.as_ref(), actor).await?)
        })?
    })
}

/// Has an act done that needs what is stored and asks no source: by the daemon, else here. Whatever is wrong with
/// a source does not hinder it.
pub(super) fn on_store<T>(
    config: &Config,
    by_daemon: impl AsyncFn(&Client) -> Result<T, CallError>,
    here: impl FnOnce(&Directory, &Actor) -> Result<T, Refused>,
) -> Result<T, Failure> {
    on_state(config, by_daemon, |actor| Ok(here(&stored(config)?, actor)?))
}

/// The directory without its sources, opened by ourselves.
pub(super) fn stored(config: &Config) -> Result<Directory, Failure> {
    let chain = vec![SourceSettings::new("table", SourceKind::Table)];
    Ok(Directory::open(Settings { chain, ..app::directory_settings(config)? })?)
}

/// Has something done that needs the state folder: by the daemon, else here and under the folder's
/// lock.
pub(super) fn on_state<T>(
    config: &Config,
    by_daemon: impl AsyncFn(&Client) -> Result<T, CallError>,
    here: impl FnOnce(&Actor) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let client = daemon(config);
    match block_on(by_daemon(&client))? {
        Err(CallError::NotRunning(_)) => {}
        result => return Ok(result?),
    }
    // Who acts, before we become the folder's owner.
    let actor = Actor::local("here", Uid::current().as_raw());
    let user = process::account(config.user.as_deref())?;
    prepare_state(&config.state, process::owner(user.as_ref()))?;
    process::become_owner(&config.state)?;
    match StateLock::take(&config.state, LOCK_PATIENCE) {
        Ok(_lock) => here(&actor),
        Err(held @ LockError::Held { .. }) => block_on(ask_again(&client, by_daemon, held))?,
        Err(error) => Err(error.into()),
    }
}

/// Who has the lock is a daemon that began in the meantime, and will listen.
async fn ask_again<T>(
    client: &Client,
    by_daemon: impl AsyncFn(&Client) -> Result<T, CallError>,
    held: LockError,
) -> Result<T, Failure> {
    let asking = async {
        loop {
            match by_daemon(client).await {
                Err(CallError::NotRunning(_)) => tokio::time::sleep(ASK_EVERY).await,
                result => return Ok(result?),
            }
        }
    };
    tokio::time::timeout(DAEMON_PATIENCE, asking).await.unwrap_or_else(|_| Err(held.into()))
}

/// The table, opened by ourselves.
fn users(config: &Config) -> Result<Users, Failure> {
    let mut tables =
        config.sources.iter().filter(|source| matches!(source.kind, SourceKind::Table));
    let table = tables.next().ok_or_else(no_table)?;
    Ok(Users {
        store: Arc::new(Store::open(&config.state)?),
        rules: Rules::new(config.rules.clone())?,
        backends: Backends::new(config.known_backends.clone()),
        template: table.template.clone(),
        has_pool: table.pool.is_some(),
    })
}
