//! Which sessions to list, and to end. They exist in the daemon only.

use directory::Rules;
use model::SessionId;
use proxy::{SessionView, Sessions};
use serde::{Deserialize, Serialize};

use crate::{Actor, Refused, Why, users::canonical};

/// Which sessions to list: all that fit every given part.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionFilter {
    /// The user, by a name that the rules make his of.
    pub user: Option<String>,
    /// The back end's name.
    pub backend: Option<String>,
}

/// Which sessions to end: one, or all of a user.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kick {
    /// The session with this id.
    Session(String),
    /// All sessions of the user of whose name the rules make his.
    User(String),
}

/// What a kick came to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kicked {
    /// How many sessions were ended.
    pub kicked: usize,
}

pub(crate) fn list(
    sessions: &Sessions,
    rules: &Rules,
    filter: SessionFilter,
) -> Result<Vec<SessionView>, Refused> {
    let user = filter.user.map(|user| canonical(rules, &user)).transpose()?;
    let mut list = sessions.list();
    list.retain(|view| {
        user.as_ref().is_none_or(|user| *user == view.user)
            && filter.backend.as_ref().is_none_or(|backend| backend == view.backend.as_str())
    });
    Ok(list)
}

pub(crate) fn kick(
    sessions: &Sessions,
    rules: &Rules,
    actor: &Actor,
    kick: &Kick,
) -> Result<Kicked, Refused> {
    let (act, actor) = ("session-kick", actor.as_str());
    let kicked = match kick {
        Kick::Session(id) => {
            let known = SessionId::from_shown(id).ok_or_else(|| {
                Refused::invalid(format!("`{id}` is no session id: it has 16 hexadecimal digits"))
            })?;
            if !sessions.kick(known) {
                return Err(Refused::new(Why::NotFound, format!("there is no session `{id}`")));
            }
            tracing::info!(target: "audit", act, actor, session = %id, kicked = 1);
            1
        }
        Kick::User(user) => {
            let user = canonical(rules, user)?;
            let mut list = sessions.list();
            list.retain(|view| view.user == user);
            let kicked = list.iter().filter(|view| sessions.kick(view.session)).count();
            tracing::info!(target: "audit", act, actor, %user, kicked);
            kicked
        }
    };
    Ok(Kicked { kicked })
}
