//! What a running daemon's acts work on, and what it says of itself.

use std::{sync::Arc, time::SystemTime};

use backends::{BackendStatus, Backends};
use directory::{Directory, Held};
use model::BackendName;
use proxy::{Running, SessionView};
use serde::{Deserialize, Serialize};

use crate::{
    Actor, Flush, Flushed, Kick, Kicked, Refused, SessionFilter, SourceLine, Users, Why, sessions,
    sources, users::seconds,
};

/// A running daemon, for its operator.
pub struct Desk {
    /// The table of users, where the directory has one.
    pub users: Option<Users>,
    /// The directory at work.
    pub directory: Arc<Directory>,
    /// The back ends.
    pub backends: Arc<Backends>,
    /// The proxy at work.
    pub proxy: Arc<Running>,
    /// The program's version.
    pub version: &'static str,
    /// When it was started.
    pub started_at: SystemTime,
}

impl Desk {
    /// The table of users.
    ///
    /// # Errors
    /// [`Why::NoTable`] if the directory has none.
    pub fn users(&self) -> Result<&Users, Refused> {
        self.users.as_ref().ok_or_else(no_table)
    }
}

/// There is no table to act on.
pub fn no_table() -> Refused {
    let message = "the directory has no table of users: add [[directory]] with source = \"table\" to \
                   the configuration";
    Refused::new(Why::NoTable, message)
}

/// What a daemon says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it was started, in seconds since 1970.
    pub started_at: u64,
    /// Open connections, before login and after.
    pub connections: usize,
    /// Logged-in sessions.
    pub sessions: usize,
}

/// What the daemon says of itself.
pub fn status(desk: &Desk) -> Status {
    Status {
        version: desk.version.to_owned(),
        pid: std::process::id(),
        started_at: seconds(desk.started_at),
        connections: desk.proxy.connections(),
        sessions: desk.proxy.sessions().list().len(),
    }
}

/// A back end: how it is, and what an operator lets it get.
#[derive(Clone, Debug, Serialize)]
pub struct BackendLine {
    /// How it is.
    #[serde(flatten)]
    pub status: BackendStatus,
    /// `enabled`, `drained` (it gets no new mailboxes), `held` (nobody new is let in), or the latter two with
    /// ` and ` between them; `unknown` where the store cannot be read.
    pub state: &'static str,
}

/// The state of each back end.
pub fn backend_list(desk: &Desk) -> Vec<BackendLine> {
    let kept = desk.directory.drained().and_then(|drained| Ok((drained, desk.directory.held()?)));
    let state = |name: &BackendName| {
        let Ok((drained, held)) = &kept else { return "unknown" };
        let is_held = |held: &Held| matches!(held, Held::Backend(held) if held == name);
        match (drained.contains(name), held.iter().any(is_held)) {
            (false, false) => "enabled",
            (true, false) => "drained",
            (false, true) => "held",
            (true, true) => "drained and held",
        }
    };
    let list = desk.backends.list().into_iter();
    list.map(|status| BackendLine { state: state(&status.name), status }).collect()
}

/// Lists the sessions, oldest first.
///
/// # Errors
/// [`Why::Invalid`] if the user's name is none.
pub fn session_list(desk: &Desk, filter: SessionFilter) -> Result<Vec<SessionView>, Refused> {
    sessions::list(desk.proxy.sessions(), desk.directory.rules(), filter)
}

/// Ends sessions.
///
/// # Errors
/// [`Why::Invalid`] if the id or the name is none, [`Why::NotFound`] if there is no such session.
pub fn session_kick(desk: &Desk, actor: &Actor, kick: &Kick) -> Result<Kicked, Refused> {
    sessions::kick(desk.proxy.sessions(), desk.directory.rules(), actor, kick)
}

/// Lists the sources of the directory, and what they were asked.
pub fn source_list(desk: &Desk) -> Vec<SourceLine> {
    sources::list(&desk.directory)
}

/// Forgets what sources said, so that they are asked anew.
///
/// # Errors
/// [`Why::Invalid`] if the user's name is none.
pub fn cache_flush(desk: &Desk, actor: &Actor, flush: &Flush) -> Result<Flushed, Refused> {
    sources::flush(&desk.directory, desk.directory.rules(), actor, flush)
}
