//! Acts on the table of users.

use std::{
    fmt,
    io::BufRead,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use directory::{
    Answer, Backends, Change, Directory, Event, Home, Import, ImportFormat, ImportReport,
    PasswordChange, Place, Rules, Store, Whereabouts, WrongLines,
};
use model::{BackendName, CanonicalUser, Protocol, Secret, UserName};
use serde::{Deserialize, Serialize};

use crate::{
    Actor, ListPage, Mailbox, Refused, Removal, Why,
    elsewhere::is_looked_for,
    no_table,
    page::{MAX_PAGE, one_page},
    placement::moves_no_mail,
};

/// Events shown of a user's history.
const SHOWN_HISTORY: usize = 20;

/// What the acts on users work on.
#[derive(Clone, Debug)]
pub struct Users {
    /// The table.
    pub store: Arc<Store>,
    /// The name rules: operators may write a name as users do.
    pub rules: Rules,
    /// The back ends that users can be placed on.
    pub backends: Backends,
    /// The table's template, for addresses that no back end has.
    pub template: Option<BackendName>,
    /// Whether a pool places those for whom the table names no place.
    pub has_pool: bool,
}

impl Users {
    /// Whether an answer leads elsewhere than to where the user's mail is looked for. Who is known to nobody
    /// has no mail.
    fn moves(&self, at: &Whereabouts, answer: &Answer) -> bool {
        let Some(route) = &at.route else { return at.cannot_say.is_some() };
        let user = answer.user.as_ref().unwrap_or_else(|| at.user.name());
        let leads = self.backends.resolve(&answer.place, self.template.as_ref(), Protocol::Imap);
        leads.map_or(true, |target| route.targets != [target] || route.user != *user)
    }
}

impl Users {
    /// All that is stored of a user of the table, by the name that stands there.
    fn stored(&self, user: &str) -> Result<Option<Home>, Refused> {
        let user = CanonicalUser::declare(UserName::new(user).map_err(Refused::invalid)?);
        Ok(self.store.find(&user)?)
    }
}

/// A stored password, or what one is compared with, as a text.
fn secret_text(user: &str, secret: Option<&Secret>) -> Result<Option<String>, Refused> {
    let text = secret.map(|secret| String::from_utf8(secret.reveal().to_vec()));
    text.transpose().map_err(|_| {
        let message = format!("the password of `{user}` is no text and cannot be exported");
        Refused::new(Why::Unavailable, message)
    })
}

/// The user whom an operator means by a name.
pub(crate) fn canonical(rules: &Rules, name: &str) -> Result<CanonicalUser, Refused> {
    let typed = UserName::new(name)
        .map_err(|error| Refused::invalid(format!("the user `{}`: {error}", shown(name))))?;
    rules
        .canonical(&typed)
        .map_err(|error| Refused::invalid(format!("the user `{}`: {error}", shown(name))))
}

/// A name that may hold anything, on one line.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

pub(crate) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What becomes of the user's password in the table.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Password {
    /// It is removed.
    Forget,
    /// It stays.
    #[default]
    Keep,
    /// It is replaced.
    Set(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forget => "Forget",
            Self::Keep => "Keep",
            Self::Set(_) => "Set(..)",
        })
    }
}

/// Where a user is to be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceUser {
    /// The back end's name, or `host` or `host:port`.
    pub backend: String,
    /// His name there, where it is another.
    #[serde(default, rename = "as")]
    pub name_there: Option<String>,
    /// His password.
    #[serde(default)]
    pub password: Password,
    /// Whether the operator says that the mail is there already. Without that, a mailbox that exists is
    /// not looked for elsewhere.
    #[serde(default)]
    pub mail_is_already_there: bool,
}

/// What placing or removing a user came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Placed {
    /// The user, by the name that the rules make of what was given.
    pub user: String,
    /// `added`, `changed`, `removed` or `unchanged`.
    pub change: String,
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Changed => "changed",
        Change::Removed => "removed",
        Change::Unchanged => "unchanged",
    }
}

/// Says where a user's mail is: in the table, or to the pool that he is in; [`user_place_at_source`] goes before.
/// `at` is where it is looked for so far; `users` is the table, if there is one.
///
/// # Errors
/// [`Why::Invalid`] if the place is none, or it is another than before and it is not said that the mail is
/// there; [`Why::NoTable`] if he is in no pool, and there is no table; [`Why::Unavailable`] if it cannot be
/// written.
pub fn user_place(
    directory: &Directory,
    users: Option<&Users>,
    actor: &Actor,
    at: &Whereabouts,
    request: PlaceUser,
) -> Result<Placed, Refused> {
    if at.is_in_pool() {
        return place_in_pool(directory, actor, at, &request);
    }
    let users = users.ok_or_else(no_table)?;
    let user = &at.user;
    let place = place(&request.backend)?;
    users.backends.check(&place, users.template.as_ref()).map_err(Refused::invalid)?;
    let name_there = request.name_there.map(|name| {
        let parsed = UserName::new(name.as_str());
        parsed.map_err(|error| Refused::invalid(format!("the name there: {error}")))
    });
    let answer = Answer { user: name_there.transpose()?, place };
    if !request.mail_is_already_there && users.moves(at, &answer) {
        return Err(moves_no_mail(&is_looked_for(at)));
    }
    let password = match request.password {
        Password::Forget => PasswordChange::Forget,
        Password::Keep => PasswordChange::Keep,
        Password::Set(text) if text.is_empty() => {
            return Err(Refused::invalid(
                "the password is empty; to have none, let it be forgotten",
            ));
        }
        Password::Set(text) => PasswordChange::Set(Secret::new(text).map_err(Refused::invalid)?),
    };
    let change = users.store.place(actor.as_str(), user, &answer, password)?;
    tracing::info!(
        target: "audit",
        act = "user-place", actor = actor.as_str(), %user, answer = %answer, change = word(change),
    );
    Ok(Placed { user: user.to_string(), change: word(change).to_owned() })
}

/// Has the source that knows a user write where his mail is, if it can; none if it cannot, and it is left to
/// [`user_place`]. It has to be called within a tokio runtime.
///
/// # Errors
/// As [`user_place`]; also [`Why::Unavailable`] if the source cannot be told, or says something else of him by now.
pub async fn user_place_at_source(
    directory: &Directory,
    actor: &Actor,
    at: &Whereabouts,
    request: &PlaceUser,
) -> Result<Option<Placed>, Refused> {
    let Some(source) = at.source.as_ref().filter(|_| directory.can_assign(at)) else {
        return Ok(None);
    };
    let user = &at.user;
    if request.name_there.is_some() || !matches!(request.password, Password::Keep) {
        let message = format!(
            "the source `{source}` knows `{user}`, and only where he is can be written there from here"
        );
        return Err(Refused::invalid(message));
    }
    let place = place(&request.backend)?;
    directory.check_place(at, &place).map_err(Refused::invalid)?;
    let placed = at.placed.as_ref().and_then(|placed| placed.backend.as_ref());
    let change = match at.places() {
        [is] if *is == place => Change::Unchanged,
        // His mail is looked for nowhere.
        [] if placed.is_none() => Change::Added,
        _ if !request.mail_is_already_there => return Err(moves_no_mail(&is_looked_for(at))),
        [] => Change::Added,
        _ => Change::Changed,
    };
    if change != Change::Unchanged {
        directory.assign(actor.as_str(), at, &place).await?;
    }
    tracing::info!(
        target: "audit",
        act = "user-place", actor = actor.as_str(), %user, answer = %place, %source, change = word(change),
    );
    Ok(Some(Placed { user: user.to_string(), change: word(change).to_owned() }))
}

/// Gives a mailbox of a pool a home of its own.
fn place_in_pool(
    directory: &Directory,
    actor: &Actor,
    at: &Whereabouts,
    request: &PlaceUser,
) -> Result<Placed, Refused> {
    let user = &at.user;
    if request.name_there.is_some() || !matches!(request.password, Password::Keep) {
        let message = format!("a pool says where `{user}` is, and nothing else of him");
        return Err(Refused::invalid(message));
    }
    let backend = BackendName::new(&request.backend).map_err(Refused::invalid)?;
    let now = at.placed.as_ref().and_then(|placed| placed.backend.as_ref());
    if now.is_some_and(|now| *now != backend) && !request.mail_is_already_there {
        return Err(moves_no_mail(&is_looked_for(at)));
    }
    let placed = directory.place_mailbox(actor.as_str(), at, &backend)?;
    let change = match placed {
        Some((before, true)) if before.backend.is_some() => Change::Changed,
        Some((_, true)) => Change::Added,
        _ => Change::Unchanged,
    };
    tracing::info!(
        target: "audit",
        act = "user-place", actor = actor.as_str(), %user, answer = %backend, change = word(change),
    );
    Ok(Placed { user: user.to_string(), change: word(change).to_owned() })
}

fn place(text: &str) -> Result<Place, Refused> {
    text.parse().map_err(|error| {
        let text = shown(text);
        // As in a map, where this is right.
        match text.rsplit_once('@') {
            Some((name, place)) => Refused::invalid(format!(
                "`{text}`: write `{place}`, and say with --as {name} (in the API: \"as\") what his name \
                 there is"
            )),
            None => Refused::invalid(format!("`{text}`: {error}")),
        }
    })
}

/// Takes a user out of the table. His mail is not touched.
///
/// # Errors
/// [`Why::NotFound`] if he is not in the table.
pub fn user_remove(users: &Users, actor: &Actor, removal: &Removal) -> Result<Placed, Refused> {
    let user = &removal.user;
    let change = users.store.remove(actor.as_str(), user)?;
    if change == Change::Unchanged {
        return Err(not_found(user));
    }
    tracing::info!(target: "audit", act = "user-remove", actor = actor.as_str(), %user);
    Ok(Placed { user: user.to_string(), change: word(change).to_owned() })
}

fn not_found(user: &CanonicalUser) -> Refused {
    Refused::new(Why::NotFound, format!("the user `{}` is not in the table", shown(user.as_str())))
}

/// What the table knows of a user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ShownUser {
    /// His canonical name.
    pub user: String,
    /// Where he is: a back end's name, or `host` or `host:port`; none where a pool says it.
    pub backend: Option<String>,
    /// His name there, where it is another.
    #[serde(rename = "as")]
    pub name_there: Option<String>,
    /// Whether a password is stored. It is never shown.
    pub has_password: bool,
    /// When this was last changed in the table, in seconds since 1970.
    pub changed_at: Option<u64>,
    /// What his pool says of his mailbox, where he is in one and has been seen.
    pub mailbox: Option<Mailbox>,
    /// Whether nobody new is let in to it.
    pub held: bool,
    /// What was done to him, newest first.
    pub history: Vec<HistoryLine>,
}

/// One line of a user's history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HistoryLine {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub act: String,
    /// Where he was before it.
    pub before: Option<String>,
    /// Where he was after it.
    pub after: Option<String>,
}

impl From<Event> for HistoryLine {
    fn from(event: Event) -> Self {
        let Event { at, actor, act, before, after, .. } = event;
        Self { at: seconds(at), actor, act, before, after }
    }
}

/// Shows what is stored of a user, in the table or of his mailbox. `at` is where it is looked for, or why that
/// cannot be said.
///
/// # Errors
/// [`Why::NotFound`] if nothing is; what stands in `at` if nothing is found in the table, and it cannot be said
/// whether a pool has placed him.
pub fn user_show(
    directory: &Directory,
    users: Option<&Users>,
    name: &str,
    at: Result<Whereabouts, Refused>,
) -> Result<ShownUser, Refused> {
    let user = canonical(directory.rules(), name)?;
    let home = users.map(|users| users.store.find(&user)).transpose()?.flatten();
    let placed = at.as_ref().ok().and_then(|at| at.placed.clone());
    let mailbox = placed.map(Mailbox::from);
    if home.is_none() && mailbox.is_none() {
        at?;
        return Err(if users.is_some() { not_found(&user) } else { nothing_stored(&user) });
    }
    let answer = home.as_ref().and_then(|home| home.answer.clone());
    let history = directory.history(&user, SHOWN_HISTORY)?;
    Ok(ShownUser {
        backend: match &answer {
            Some(answer) => Some(answer.place.to_string()),
            None => mailbox.as_ref().and_then(|mailbox| mailbox.backend.clone()),
        },
        name_there: answer.and_then(|answer| answer.user).map(|name| name.to_string()),
        has_password: home
            .as_ref()
            .is_some_and(|home| home.password.is_some() || home.verifier.is_some()),
        changed_at: home.map(|home| seconds(home.changed_at)),
        mailbox,
        held: directory.is_user_held(&user),
        history: history.into_iter().map(HistoryLine::from).collect(),
        user: user.to_string(),
    })
}

pub(crate) fn nothing_stored(user: &CanonicalUser) -> Refused {
    let user = shown(user.as_str());
    Refused::new(Why::NotFound, format!("nothing is stored of the user `{user}`"))
}

/// What was done to a user, newest first.
///
/// # Errors
/// [`Why::Invalid`] if the name is none, [`Why::Unavailable`] if the store cannot be read.
pub fn user_history(directory: &Directory, name: &str) -> Result<Vec<HistoryLine>, Refused> {
    let user = canonical(directory.rules(), name)?;
    let history = directory.history(&user, MAX_PAGE)?;
    Ok(history.into_iter().map(HistoryLine::from).collect())
}

/// One page of a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UserList {
    /// The users, by name.
    pub users: Vec<UserLine>,
    /// Whether there are more: ask again, `after` the last one.
    pub more: bool,
}

/// A user in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UserLine {
    /// His canonical name.
    pub user: String,
    /// Where he is; none where a pool says it.
    pub backend: Option<String>,
    /// His name there, where it is another.
    #[serde(rename = "as")]
    pub name_there: Option<String>,
    /// Whether a password is stored.
    pub has_password: bool,
}

/// Lists a page of the table.
///
/// # Errors
/// [`Why::Invalid`] if `after` is no name.
pub fn user_list(users: &Users, request: ListPage) -> Result<UserList, Refused> {
    let (listed, more) = request.list(|range| Ok(users.store.list(range)?))?;
    let line = |listed: directory::Listed| UserLine {
        user: listed.user.to_string(),
        backend: listed.answer.as_ref().map(|answer| answer.place.to_string()),
        name_there: listed.answer.and_then(|answer| answer.user).map(|name| name.to_string()),
        has_password: listed.has_password,
    };
    Ok(UserList { users: listed.into_iter().map(line).collect(), more })
}

/// Which users to export.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExportUsers {
    /// What their names begin with.
    #[serde(default)]
    pub prefix: String,
    /// The last user of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// How many at most; 10,000 if more are asked for.
    #[serde(default = "one_page")]
    pub limit: usize,
    /// Whether their passwords are wanted.
    #[serde(default)]
    pub passwords: bool,
}

/// One page of an export.
#[derive(Debug, Deserialize, Serialize)]
pub struct Exported {
    /// The users, by name.
    pub users: Vec<ExportedLine>,
    /// Whether there are more: ask again, `after` the last one.
    pub more: bool,
}

/// A user in an export: all that is needed to place him anew.
#[derive(Deserialize, Serialize)]
pub struct ExportedLine {
    /// His canonical name.
    pub user: String,
    /// Where he is; none where a pool says it.
    pub backend: Option<String>,
    /// His name there, where it is another.
    #[serde(rename = "as")]
    pub name_there: Option<String>,
    /// His password at the back end, where one is stored and was asked for.
    pub password: Option<String>,
    /// What his password is compared with, the same.
    pub password_hash: Option<String>,
    /// What stands for his mailbox whatever his name is.
    pub id: Option<String>,
    /// Whether he may not log in.
    pub disabled: bool,
}

impl fmt::Debug for ExportedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedLine").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Gives out a page of the table, with passwords where they are asked for, which leaves a record.
///
/// # Errors
/// [`Why::Invalid`] if `after` is no name, [`Why::Unavailable`] if the table cannot be read, or a
/// password is no text.
pub fn user_export(
    users: &Users,
    actor: &Actor,
    request: ExportUsers,
) -> Result<Exported, Refused> {
    let ExportUsers { prefix, after, limit, passwords } = request;
    if passwords && after.is_none() {
        let (act, actor) = ("user-export-passwords", actor.as_str());
        tracing::info!(target: "audit", act, actor, prefix = %prefix);
    }
    let page = user_list(users, ListPage { prefix, after, limit })?;
    let line = |line: UserLine| {
        let home = users.stored(&line.user)?;
        let home = home.as_ref();
        let secret = |of: fn(&Home) -> Option<&Secret>| {
            secret_text(&line.user, home.filter(|_| passwords).and_then(of))
        };
        Ok(ExportedLine {
            password: secret(|home| home.password.as_ref())?,
            password_hash: secret(|home| home.verifier.as_ref())?,
            id: home.and_then(|home| home.id.as_deref()).map(str::to_owned),
            disabled: home.is_some_and(|home| home.disabled),
            user: line.user,
            backend: line.backend,
            name_there: line.name_there,
        })
    };
    let lines: Result<_, Refused> = page.users.into_iter().map(line).collect();
    Ok(Exported { users: lines?, more: page.more })
}

/// How a text of users is to be read.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// `csv`, `mysql`, `passwd-file` or `perdition`.
    #[serde(with = "ImportFormatWord")]
    pub format: ImportFormat,
    /// Whether lines that are wrong are left out; else one wrong line refuses all.
    #[serde(default)]
    pub skip_wrong: bool,
    /// Whether the operator says that the mail is there already; else a line is wrong that would have an existing
    /// mailbox looked for elsewhere.
    #[serde(default)]
    pub mail_is_already_there: bool,
}

/// The words for the formats.
#[derive(Deserialize, Serialize)]
#[serde(remote = "ImportFormat", rename_all = "kebab-case")]
enum ImportFormatWord {
    Csv,
    Mysql,
    PasswdFile,
    Perdition,
}

/// What an import came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imported {
    /// Lines read.
    pub lines: u64,
    /// Users that were not there before.
    pub added: u64,
    /// Users that were elsewhere, or otherwise, before.
    pub changed: u64,
    /// Users that were so before.
    pub unchanged: u64,
    /// Whether anything was written: not if lines were wrong and none were to be left out.
    pub written: bool,
    /// Lines that are wrong.
    pub problem_count: u64,
    /// The first of them.
    pub problems: Vec<LineMistake>,
}

/// A line that is wrong.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LineMistake {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

impl From<ImportReport> for Imported {
    fn from(report: ImportReport) -> Self {
        let mistake = |problem: directory::LineProblem| LineMistake {
            line: problem.line,
            what: problem.what,
        };
        Self {
            lines: report.lines,
            added: report.added,
            changed: report.changed,
            unchanged: report.unchanged,
            written: report.written,
            problem_count: report.problem_count,
            problems: report.problems.into_iter().map(mistake).collect(),
        }
    }
}

/// Places all users of a text, all or none; users that are not in it stay. `progress` hears the number
/// of lines read so far.
///
/// # Errors
/// [`Why::Invalid`] if the text cannot be read, [`Why::Unavailable`] if the table cannot be written.
pub fn user_import(
    users: &Users,
    actor: &Actor,
    request: ImportRequest,
    input: &mut dyn BufRead,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, Refused> {
    let import = Import {
        format: request.format,
        rules: &users.rules,
        backends: &users.backends,
        template: users.template.as_ref(),
        has_pool: users.has_pool,
        mail_is_already_there: request.mail_is_already_there,
        wrong_lines: if request.skip_wrong { WrongLines::Skip } else { WrongLines::RefuseAll },
    };
    let imported: Imported = users.store.import(actor.as_str(), &import, input, progress)?.into();
    tracing::info!(
        target: "audit",
        act = "user-import", actor = actor.as_str(), lines = imported.lines, added = imported.added,
        changed = imported.changed, wrong = imported.problem_count, written = imported.written,
    );
    Ok(imported)
}

#[cfg(test)]
mod tests;
