//! Acts that take away what the table says of a name: whether a mailbox that exists would then be looked for
//! elsewhere is found out before.
//!
//! Nothing here changes anything.

use directory::{Directory, Query, Whereabouts};
use model::{CanonicalUser, Protocol};
use serde::{Deserialize, Serialize};

use crate::{
    Refused, RenameUser,
    look::{cannot_say, whereabouts},
    placement::moves_no_mail,
    users::{canonical, shown},
};

/// How to take a user out of the table.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveUser {
    /// Whether the operator says that the mail is where another source will have it looked for. Without that, no
    /// other source gets a word.
    #[serde(default)]
    pub mail_is_already_there: bool,
}

/// A user who may be taken out of the table.
#[derive(Clone, Debug)]
pub struct Removal {
    pub(crate) user: CanonicalUser,
}

/// A user who may get another name.
#[derive(Clone, Debug)]
pub struct Renaming {
    pub(crate) old: Whereabouts,
    pub(crate) to: CanonicalUser,
}

/// Finds out whether a user can be taken out of the table without his mail being looked for elsewhere. Must be
/// called within a tokio runtime.
///
/// # Errors
/// [`crate::Why::Invalid`] if the name is none, or another source would have his mail looked for elsewhere and it
/// is not said that it is there; [`crate::Why::Unavailable`] if a source cannot say.
pub async fn removal(
    directory: &Directory,
    name: &str,
    request: RemoveUser,
) -> Result<Removal, Refused> {
    let user = canonical(directory.rules(), name)?;
    if !request.mail_is_already_there {
        let at = whereabouts(directory, name).await?;
        stays_without_the_table(directory, &at).await?;
    }
    Ok(Removal { user })
}

/// Finds out whether a user can get another name without mail being looked for elsewhere: his, or that of whom
/// the new name stands for in another source. Must be called within a tokio runtime.
///
/// # Errors
/// As those of [`removal`].
pub async fn renaming(
    directory: &Directory,
    name: &str,
    request: &RenameUser,
) -> Result<Renaming, Refused> {
    let to = canonical(directory.rules(), &request.to)?;
    let old = whereabouts(directory, name).await?;
    if !request.mail_is_already_there {
        stays_without_the_table(directory, &old).await?;
        let new = past_the_table(directory, &to).await?;
        // What the back end calls him stays only where it is said what that is.
        let mut then = old.clone();
        if let Some(route) = then.route.as_mut().filter(|route| route.user == *old.user.name()) {
            route.user = to.name().clone();
        }
        if leads_elsewhere(&new, &then) {
            return Err(moves_no_mail(&is_looked_for(&new)));
        }
    }
    Ok(Renaming { old, to })
}

/// Refuses what would have other sources say where a user's mail is.
async fn stays_without_the_table(directory: &Directory, at: &Whereabouts) -> Result<(), Refused> {
    let then = past_the_table(directory, &at.user).await?;
    if then.source.is_some() && leads_elsewhere(at, &then) {
        return Err(moves_no_mail(&is_looked_for(at)));
    }
    Ok(())
}

async fn past_the_table(
    directory: &Directory,
    user: &CanonicalUser,
) -> Result<Whereabouts, Refused> {
    let query = Query::without_client(user.clone(), Protocol::Imap);
    directory.whereabouts_past_the_table(&query).await.map_err(cannot_say)
}

/// Whether mail that is looked for at `before` would be looked for elsewhere at `after`. Who has no home so far has
/// no mail.
fn leads_elsewhere(before: &Whereabouts, after: &Whereabouts) -> bool {
    match (&before.route, &after.route) {
        (None, _) => before.cannot_say.is_some(),
        (Some(_), None) => true,
        (Some(before), Some(after)) => before.targets != after.targets || before.user != after.user,
    }
}

/// Where a user's mail is looked for, in words.
pub(crate) fn is_looked_for(at: &Whereabouts) -> String {
    let user = shown(at.user.as_str());
    let targets = at.route.as_ref().map(|route| route.targets.as_slice());
    match targets.and_then(<[_]>::first) {
        Some(target) => format!("the mail of `{user}` is looked for at {}", target.backend),
        None => format!("it cannot be said now where the mail of `{user}` is"),
    }
}
