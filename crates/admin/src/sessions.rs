//! Which sessions to list, and to end. They exist in the daemon only.

use model::SessionId;
use proxy::{SessionView, Sessions};
use serde::{Deserialize, Serialize};

use crate::{Actor, Refused, Why};

/// Which sessions to list: all that fit every given part.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SessionFilter {
    /// The user, by his canonical name.
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
    /// All sessions of the user with this canonical name.
    User(String),
}

/// What a kick came to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kicked {
    /// How many sessions were ended.
    pub kicked: usize,
}

pub(crate) fn list(sessions: &Sessions, filter: &SessionFilter) -> Vec<SessionView> {
    let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|want| want == is);
    let mut list = sessions.list();
    list.retain(|view| {
        fits(&filter.user, view.user.as_str()) && fits(&filter.backend, view.backend.as_str())
    });
    list
}

pub(crate) fn kick(sessions: &Sessions, actor: &Actor, kick: &Kick) -> Result<Kicked, Refused> {
    let kicked = match kick {
        Kick::Session(id) => {
            let known = SessionId::from_shown(id).ok_or_else(|| {
                Refused::invalid(format!("`{id}` is no session id: it has 16 hexadecimal digits"))
            })?;
            usize::from(sessions.kick(known))
        }
        Kick::User(user) => {
            let filter = SessionFilter { user: Some(user.clone()), backend: None };
            let theirs = list(sessions, &filter);
            theirs.iter().filter(|view| sessions.kick(view.session)).count()
        }
    };
    let (act, actor) = ("session-kick", actor.as_str());
    match kick {
        Kick::Session(id) if kicked == 0 => {
            return Err(Refused::new(Why::NotFound, format!("there is no session `{id}`")));
        }
        Kick::Session(id) => tracing::info!(target: "audit", act, actor, session = %id, kicked),
        Kick::User(user) => tracing::info!(target: "audit", act, actor, user = %user, kicked),
    }
    Ok(Kicked { kicked })
}
