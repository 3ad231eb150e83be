//! Acts on pools, shards and holds.
//!
//! Nothing here says where a user is to be: that is asked of the directory.

use directory::{
    Added, Directory, Held, PlaceRefused, PlacedMailbox, PoolView, Renamed, ShardRun, Whereabouts,
};
use model::BackendName;
use proxy::Sessions;
use serde::{Deserialize, Serialize};

use crate::{
    Actor, ListPage, Mailbox, Refused, Renaming, Why,
    users::{canonical, nothing_stored, shown},
    whereabouts,
};

impl From<PlaceRefused> for Refused {
    fn from(refused: PlaceRefused) -> Self {
        let why = match refused {
            PlaceRefused::Unavailable(_) | PlaceRefused::Outdated => Why::Unavailable,
            PlaceRefused::NoBackend(_) | PlaceRefused::NoPool(_) => Why::NotFound,
            PlaceRefused::Collision | PlaceRefused::Member(_) | PlaceRefused::NoShards(_) => {
                Why::Invalid
            }
        };
        Self::new(why, refused)
    }
}

/// A pool, and what each back end has of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PoolLine {
    /// Its name.
    pub pool: String,
    /// `shard` or `user`: what has a place.
    pub place: String,
    /// `weighted` or `fewest-users`.
    pub policy: String,
    /// The version of the list of members.
    pub version: u64,
    /// The back ends that are members, or have mailboxes.
    pub backends: Vec<MemberLine>,
}

/// A back end in a pool.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberLine {
    /// Its name.
    pub backend: String,
    /// Whether it is a member.
    pub member: bool,
    /// Whether it is configured; if not, its users are told to try later.
    pub configured: bool,
    /// Whether it gets no new mailboxes.
    pub drained: bool,
    /// Its weight.
    pub weight: u32,
    /// Shards whose owner it is.
    pub shards: u32,
    /// Mailboxes with a home of their own there.
    pub users: u64,
}

impl From<PoolView> for PoolLine {
    fn from(view: PoolView) -> Self {
        let member = |member: directory::MemberView| MemberLine {
            backend: member.backend.to_string(),
            member: member.is_member,
            configured: member.is_configured,
            drained: member.is_drained,
            weight: member.weight,
            shards: member.shards,
            users: member.users,
        };
        Self {
            pool: view.name.to_string(),
            place: view.place.word().to_owned(),
            policy: view.policy.word().to_owned(),
            version: view.version,
            backends: view.members.into_iter().map(member).collect(),
        }
    }
}

/// Lists the pools, and what each back end has of them.
///
/// # Errors
/// [`Why::Unavailable`] if the store cannot be read.
pub fn pool_list(directory: &Directory) -> Result<Vec<PoolLine>, Refused> {
    Ok(directory.pools()?.into_iter().map(PoolLine::from).collect())
}

/// Which pool: may be left out where there is only one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WhichPool {
    /// Its name.
    pub pool: Option<String>,
}

/// The pool that is meant.
fn the_pool(directory: &Directory, which: Option<String>) -> Result<String, Refused> {
    if let Some(pool) = which {
        return Ok(pool);
    }
    let pools = directory.pools()?;
    match pools.as_slice() {
        [pool] => Ok(pool.name.to_string()),
        [] => {
            let message = "there is no pool: add [pool.NAME] to the configuration";
            Err(Refused::new(Why::NotFound, message))
        }
        pools => {
            let names: Vec<&str> = pools.iter().map(|pool| &*pool.name).collect();
            Err(Refused::invalid(format!("say which pool: {}", names.join(", "))))
        }
    }
}

/// What making a back end a member came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AddedBackend {
    /// The pool.
    pub pool: String,
    /// `shard` or `user`: what has a place. Where shards have one, each has its owner already, and the back end gets
    /// mailboxes when shards are placed there.
    pub place: String,
    /// The back end.
    pub backend: String,
    /// The version of the list of members.
    pub version: u64,
    /// The members now.
    pub members: Vec<String>,
    /// What would move if all were placed anew. Nothing is moved.
    pub would_move: Vec<WouldMove>,
    /// Of how many: shards, or mailboxes with a home of their own.
    pub of: u64,
}

/// What would move from one back end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WouldMove {
    /// From where.
    pub from: String,
    /// How many.
    pub count: u64,
}

/// Makes a configured back end a member of a pool: new mailboxes get there from now on.
///
/// # Errors
/// [`Why::NotFound`] if there is no such back end or pool, [`Why::Invalid`] if it is a member already.
pub fn backend_add(
    directory: &Directory,
    actor: &Actor,
    name: &str,
    which: WhichPool,
) -> Result<AddedBackend, Refused> {
    let backend = backend(name)?;
    let pool = the_pool(directory, which.pool)?;
    let added = directory.add_member(actor.as_str(), &pool, &backend)?;
    let version = added.version;
    tracing::info!(
        target: "audit", act = "backend-add", actor = actor.as_str(), %backend, %pool, version,
    );
    let Added { place, members, would_move, of, .. } = added;
    let moves = would_move.into_iter();
    Ok(AddedBackend {
        pool,
        place: place.word().to_owned(),
        backend: backend.to_string(),
        version,
        members: members.iter().map(ToString::to_string).collect(),
        would_move: moves
            .map(|(from, count)| WouldMove { from: from.to_string(), count })
            .collect(),
        of,
    })
}

/// What a switch came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Switched {
    /// Which user or back end.
    pub name: String,
    /// Whether it was otherwise before.
    pub changed: bool,
    /// How many sessions were ended.
    pub kicked: usize,
}

/// Says whether a back end gets new mailboxes. Who is there stays, and logs in as ever.
///
/// # Errors
/// [`Why::NotFound`] if there is no such back end.
pub fn backend_drain(
    directory: &Directory,
    actor: &Actor,
    name: &str,
    drained: bool,
) -> Result<Switched, Refused> {
    let backend = backend(name)?;
    let changed = directory.set_drained(actor.as_str(), &backend, drained)?;
    let act = if drained { "backend-drain" } else { "backend-enable" };
    tracing::info!(target: "audit", act, actor = actor.as_str(), %backend, changed);
    Ok(Switched { name: backend.to_string(), changed, kicked: 0 })
}

/// What is to be held, by the names that operators give.
#[derive(Clone, Copy, Debug)]
pub enum Hold<'a> {
    /// All users of a back end.
    Backend(&'a str),
    /// One user.
    User(&'a str),
}

/// Whether sessions that are open are to be ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlsoKick {
    /// Whether they are.
    #[serde(default)]
    pub kick: bool,
}

impl Hold<'_> {
    /// Where the user is, if that can be said now: by that he is held under all of his names. Must be called within a
    /// tokio runtime.
    pub async fn whereabouts(self, directory: &Directory) -> Option<Whereabouts> {
        let Self::User(name) = self else { return None };
        let at = whereabouts(directory, name).await;
        if let Err(refused) = &at {
            tracing::warn!(user = name, detail = %refused.message, "held by what was seen of him before");
        }
        at.ok()
    }

    fn what(self, directory: &Directory) -> Result<Held, Refused> {
        match self {
            Self::Backend(name) => Ok(Held::Backend(backend(name)?)),
            Self::User(name) => Ok(Held::User(canonical(directory.rules(), name)?)),
        }
    }
}

/// Lets nobody new in, until it is released: to a user's mailbox, by whatever name, or to a back end. `sessions` are
/// those at work, where there are any; `at` is where the user is, if that can be said.
///
/// # Errors
/// [`Why::Invalid`] if the name is none, [`Why::NotFound`] if there is no such back end.
pub fn hold(
    directory: &Directory,
    sessions: Option<&Sessions>,
    actor: &Actor,
    hold: Hold<'_>,
    at: Option<&Whereabouts>,
    also: AlsoKick,
) -> Result<Switched, Refused> {
    let what = hold.what(directory)?;
    let changed = directory.hold(actor.as_str(), what.clone(), at)?;
    let mut kicked = 0;
    // After the hold: whoever was on his way in meanwhile finds it.
    if let Some(sessions) = sessions.filter(|_| also.kick) {
        let mut open = sessions.list();
        match &what {
            Held::Backend(backend) => open.retain(|view| view.backend == *backend),
            Held::User(user) => {
                let is_his = directory.names_of(user);
                open.retain(|view| is_his(&view.user));
            }
        }
        kicked = open.iter().filter(|view| sessions.kick(view.session)).count();
    }
    told("hold", actor, &what, changed, kicked);
    Ok(Switched { name: name_of(&what).to_owned(), changed, kicked })
}

/// Lets those in who waited.
///
/// # Errors
/// [`Why::Invalid`] if the name is none.
pub fn release(directory: &Directory, actor: &Actor, hold: Hold<'_>) -> Result<Switched, Refused> {
    let what = hold.what(directory)?;
    let changed = directory.release(actor.as_str(), &what)?;
    told("release", actor, &what, changed, 0);
    Ok(Switched { name: name_of(&what).to_owned(), changed, kicked: 0 })
}

fn name_of(what: &Held) -> &str {
    match what {
        Held::Backend(name) => name.as_str(),
        Held::User(user) => user.as_str(),
    }
}

fn told(act: &str, actor: &Actor, what: &Held, changed: bool, kicked: usize) {
    let actor = actor.as_str();
    match what {
        Held::Backend(backend) => {
            let act = format!("backend-{act}");
            tracing::info!(target: "audit", act, actor, %backend, changed, kicked);
        }
        Held::User(user) => {
            let act = format!("user-{act}");
            tracing::info!(target: "audit", act, actor, %user, changed, kicked);
        }
    }
}

/// Who is held.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct HoldList {
    /// Back ends.
    pub backends: Vec<String>,
    /// Users.
    pub users: Vec<String>,
}

/// Lists who is held.
///
/// # Errors
/// [`Why::Unavailable`] if the store cannot be read.
pub fn hold_list(directory: &Directory) -> Result<HoldList, Refused> {
    let mut list = HoldList::default();
    for held in directory.held()? {
        match held {
            Held::Backend(name) => list.backends.push(name.to_string()),
            Held::User(user) => list.users.push(user.to_string()),
        }
    }
    Ok(list)
}

/// Some shards with one owner.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ShardLine {
    /// The first, from 0.
    pub first: u16,
    /// The last, up to 65535.
    pub last: u16,
    /// Their owner; none where each mailbox has a home of its own.
    pub backend: Option<String>,
    /// The highest epoch of their pages.
    pub epoch: u64,
}

impl From<ShardRun> for ShardLine {
    fn from(run: ShardRun) -> Self {
        let backend = run.backend.map(|name| name.to_string());
        Self { first: run.first, last: run.last, backend, epoch: run.epoch }
    }
}

/// Lists the shards of a pool, neighbours of one owner together.
///
/// # Errors
/// [`Why::NotFound`] if there is no such pool.
pub fn shard_list(directory: &Directory, which: WhichPool) -> Result<Vec<ShardLine>, Refused> {
    let pool = the_pool(directory, which.pool)?;
    Ok(directory.shards(&pool)?.into_iter().map(ShardLine::from).collect())
}

/// Which shards are to be looked for where.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceShards {
    /// The pool.
    #[serde(default)]
    pub pool: Option<String>,
    /// The first shard.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// The back end.
    pub backend: String,
    /// Whether the operator says that the mail is there already. Without that, nothing is changed.
    #[serde(default)]
    pub mail_is_already_there: bool,
}

/// What placing shards came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PlacedShards {
    /// The pool.
    pub pool: String,
    /// How many shards were looked for elsewhere before.
    pub changed: u64,
}

/// Has the mailboxes of shards looked for at a back end, but for those with a home of their own.
///
/// # Errors
/// [`Why::Invalid`] if the range is none, or anything would change and it is not said that the mail is
/// there; [`Why::NotFound`] if there is no such pool or back end.
pub fn shard_place(
    directory: &Directory,
    actor: &Actor,
    request: PlaceShards,
) -> Result<PlacedShards, Refused> {
    let backend = backend(&request.backend)?;
    let pool = the_pool(directory, request.pool)?;
    let (first, last) = (request.first, request.last);
    if first > last {
        return Err(Refused::invalid(format!("the shards {first}-{last} are none")));
    }
    let elsewhere = |run: &ShardRun| {
        run.first <= last && run.last >= first && run.backend.as_ref() != Some(&backend)
    };
    let runs = directory.shards(&pool)?;
    if runs.iter().any(elsewhere) && !request.mail_is_already_there {
        return Err(moves_no_mail("these shards have another owner"));
    }
    let changed = directory.place_shards(actor.as_str(), &pool, (first, last), &backend)?;
    tracing::info!(
        target: "audit", act = "shard-place", actor = actor.as_str(), %pool, first, last, %backend, changed,
    );
    Ok(PlacedShards { pool, changed })
}

/// The refusal of what would look for mail where it may not be.
pub(crate) fn moves_no_mail(what: &str) -> Refused {
    Refused::invalid(format!(
        "{what}, and this moves no mail: bring it there first, then say --mail-is-already-there (in the \
         API: \"mail_is_already_there\": true)"
    ))
}

/// The new name of a user.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RenameUser {
    /// The name.
    pub to: String,
    /// Whether the operator says that the mail is where it will be looked for. Without that, no name that a
    /// source knows is given to a mailbox elsewhere.
    #[serde(default)]
    pub mail_is_already_there: bool,
}

/// What renaming a user came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RenamedUser {
    /// His name so far.
    pub user: String,
    /// His name now.
    pub to: String,
}

/// Lets a user's new name stand for the mailbox, and for the row of the table, that his old one stood for.
/// Sources elsewhere, and the back end, have to know the new name by themselves.
///
/// # Errors
/// [`Why::Invalid`] if the new name has a mailbox; [`Why::NotFound`] if nothing is stored under the old one.
pub fn user_rename(
    directory: &Directory,
    actor: &Actor,
    renaming: &Renaming,
) -> Result<RenamedUser, Refused> {
    let Renaming { old, to } = renaming;
    let user = &old.user;
    match directory.rename(actor.as_str(), old, to)? {
        Renamed::Done => {}
        Renamed::Nobody => return Err(nothing_stored(user)),
        Renamed::Held => {
            let message = format!(
                "`{}` or `{}` is held: release both",
                shown(user.as_str()),
                shown(to.as_str())
            );
            return Err(Refused::invalid(message));
        }
        Renamed::Taken => {
            let message = format!("something is stored of `{}` already", shown(to.as_str()));
            return Err(Refused::invalid(message));
        }
    }
    tracing::info!(target: "audit", act = "user-rename", actor = actor.as_str(), %user, %to);
    Ok(RenamedUser { user: user.to_string(), to: to.to_string() })
}

/// One page of a list of mailboxes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MailboxList {
    /// The mailboxes, by their users' names.
    pub mailboxes: Vec<MailboxLine>,
    /// Whether there are more: ask again, `after` the last one.
    pub more: bool,
}

/// A mailbox in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MailboxLine {
    /// Its user's canonical name.
    pub user: String,
    /// The mailbox.
    #[serde(flatten)]
    pub mailbox: Mailbox,
}

/// Lists a page of the mailboxes that pools have seen.
///
/// # Errors
/// [`Why::Invalid`] if `after` is no name, [`Why::Unavailable`] if the store cannot be read.
pub fn mailbox_list(directory: &Directory, request: ListPage) -> Result<MailboxList, Refused> {
    let (listed, more) = request.list(|range| Ok(directory.mailboxes(range)?))?;
    let line = |PlacedMailbox { user, placed }| MailboxLine {
        user: user.to_string(),
        mailbox: Mailbox::from(placed),
    };
    Ok(MailboxList { mailboxes: listed.into_iter().map(line).collect(), more })
}

fn backend(name: &str) -> Result<BackendName, Refused> {
    BackendName::new(name).map_err(|_| no_such_backend(name))
}

/// The refusal where a name is none of a back end.
pub(crate) fn no_such_backend(name: &str) -> Refused {
    let message = format!("there is no back end `{}` in the configuration", shown(name));
    Refused::new(Why::NotFound, message)
}
