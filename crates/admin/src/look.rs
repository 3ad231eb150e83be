//! Looking without touching: where a login of this name would go, and whether a back end answers.

use backends::Backends;
use directory::{Directory, Placed, Query, Whereabouts};
use model::{BackendName, Host, HostPort, Protocol};
use serde::{Deserialize, Serialize};

use crate::{
    Refused, Why,
    placement::no_such_backend,
    users::{canonical, shown},
};

/// For which login to look up.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LookUp {
    /// The protocol the user comes by.
    #[serde(default = "imap")]
    pub protocol: Protocol,
}

fn imap() -> Protocol {
    Protocol::Imap
}

/// Where a login goes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LookedUp {
    /// The user, by the name that the rules make of what was given.
    pub user: String,
    /// The source of the directory that knows him.
    pub source: String,
    /// The back end whose settings count.
    pub backend: String,
    /// Where to connect to, tried in turn: `host:port`.
    pub addresses: Vec<String>,
    /// His name there.
    #[serde(rename = "as")]
    pub name_there: String,
    /// Whether the source knows his password. It is never shown.
    pub has_password: bool,
    /// What his pool says of his mailbox, where he is in one.
    pub mailbox: Option<Mailbox>,
}

/// A mailbox as a pool knows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mailbox {
    /// The pool.
    pub pool: String,
    /// What stands for the mailbox whatever its user's name is.
    pub id: String,
    /// Its shard, from 0 to 65535.
    pub shard: u16,
    /// The epoch of that shard's page: it grows with each change.
    pub epoch: u64,
    /// Where it is; none until its first login.
    pub backend: Option<String>,
    /// Why it is there: `own`, a home of its own, or `shard`.
    pub from: String,
}

impl From<Placed> for Mailbox {
    fn from(placed: Placed) -> Self {
        Self {
            pool: placed.pool.into(),
            id: placed.id.into(),
            shard: placed.shard,
            epoch: placed.epoch,
            backend: placed.backend.map(|name| name.to_string()),
            from: if placed.own { "own" } else { "shard" }.to_owned(),
        }
    }
}

/// Finds out where a login of this name would go, without writing anything. Must be called within a tokio
/// runtime.
///
/// # Errors
/// [`Why::Invalid`] if the name is none, [`Why::Unavailable`] if a source cannot say.
pub async fn whereabouts(directory: &Directory, name: &str) -> Result<Whereabouts, Refused> {
    whereabouts_by(directory, name, Protocol::Imap).await
}

async fn whereabouts_by(
    directory: &Directory,
    name: &str,
    protocol: Protocol,
) -> Result<Whereabouts, Refused> {
    let query = Query::without_client(canonical(directory.rules(), name)?, protocol);
    directory.whereabouts(&query).await.map_err(cannot_say)
}

pub(crate) fn cannot_say(unavailable: directory::Unavailable) -> Refused {
    Refused::new(Why::Unavailable, format!("{}: {unavailable}", unavailable.reason))
}

/// Says where a login of this name would go, as a login would find it. Must be called within a tokio
/// runtime.
///
/// # Errors
/// [`Why::Invalid`] if the name is none, [`Why::NotFound`] if no source knows him,
/// [`Why::Unavailable`] if a source cannot say or its answer leads nowhere.
pub async fn user_look_up(
    directory: &Directory,
    name: &str,
    request: &LookUp,
) -> Result<LookedUp, Refused> {
    let protocol = request.protocol;
    let found = whereabouts_by(directory, name, protocol).await?;
    let user = shown(found.user.as_str());
    let Some(source) = &found.source else {
        let message = format!("no source of the directory knows `{user}`");
        return Err(Refused::new(Why::NotFound, message));
    };
    if let Some(unavailable) = found.cannot_say {
        return Err(cannot_say(unavailable));
    }
    let Some(route) = found.route else {
        let message = format!(
            "the source `{source}` knows `{user}`, and his pool has placed him nowhere yet: his first login will"
        );
        return Err(Refused::new(Why::NotFound, message));
    };
    let nowhere = || Refused::new(Why::Unavailable, "the answer names no back end");
    let target = route.targets.first().ok_or_else(nowhere)?;
    let known = directory.backends().get(&target.backend).ok_or_else(nowhere)?;
    let hosts = target.host.as_ref().map_or(&*known.hosts, std::slice::from_ref);
    let port = target.port.unwrap_or_else(|| known.port(protocol));
    let at = |host: &Host| HostPort { host: host.clone(), port: Some(port) }.to_string();
    Ok(LookedUp {
        user: found.user.to_string(),
        source: source.to_string(),
        backend: target.backend.to_string(),
        addresses: hosts.iter().map(at).collect(),
        name_there: route.user.to_string(),
        has_password: route.secret.is_some(),
        mailbox: found.placed.map(Mailbox::from),
    })
}

/// What was seen of a back end.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedBackend {
    /// Its name.
    pub backend: BackendName,
    /// The protocol it was asked in.
    pub protocol: Protocol,
    /// The address that accepted the connection.
    pub address: String,
    /// The version of TLS; none without TLS.
    pub tls: Option<&'static str>,
    /// The first line it said.
    pub greeting: String,
    /// What it can do before login.
    pub capabilities: Vec<String>,
}

/// Reaches a back end as a login would, without logging in. Must be called within a tokio runtime.
///
/// # Errors
/// [`Why::NotFound`] if there is no such back end, [`Why::Unavailable`] if it cannot be reached.
pub async fn backend_check(
    backends: &Backends,
    name: &str,
    protocol: Protocol,
) -> Result<CheckedBackend, Refused> {
    let unknown = || no_such_backend(name);
    let backend = BackendName::new(name).map_err(|_| unknown())?;
    let seen = backends.look(&backend, protocol).await.ok_or_else(unknown)?;
    let seen = seen.map_err(|failure| Refused::new(Why::Unavailable, failure))?;
    Ok(CheckedBackend {
        backend,
        protocol,
        address: seen.address.to_string(),
        tls: seen.tls,
        greeting: seen.greeting,
        capabilities: seen.capabilities,
    })
}
