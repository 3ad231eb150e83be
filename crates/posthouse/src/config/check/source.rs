//! `[[directory]]`: what is asked where a user's mail is.

mod http;
mod ldap;
mod odbc;
mod regex;
mod sql;

pub(super) use self::sql::environment;

use std::{fs, ops::Range, path::PathBuf};

use ::directory::{
    Answer, Backends, CacheSettings, CdbSettings, Dialect, Directory, FileSettings, Gives, Keys,
    OnError, Placeholder, Pools, RuleSettings, Rules, Settings, SourceKind, SourceSettings,
    StaticSettings, Template, passwords::PasswordSettings,
};
use model::BackendName;

use super::{backend::Checked, pool::pool_use, refuse};
use crate::config::{
    Purpose,
    file::{self, SourceShape},
    mistake::{Mistake, suggest},
    read::{At, Field, Listed, Reader, Tables},
};

pub(super) fn sources(
    field: &Field<Tables<file::Source>>,
    rules: &RuleSettings,
    backends: &[Checked],
    pools: &Pools,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Vec<SourceSettings> {
    // Rules that cannot be used have been told of; the files are read without them.
    let rules = Rules::new(rules.clone()).unwrap_or_default();
    let tables: &[_] = field.value().map_or(&[], |tables| &tables.0);
    let mut sources: Vec<SourceSettings> = Vec::new();
    let mut last: Option<(bool, &Range<usize>)> = None;
    for at in tables {
        let Some(source) = source(at, backends, purpose, reader) else { continue };
        let pool = pool_use(&at.value.common, &source, pools, reader);
        if pool.is_none() && matches!(source.kind, SourceKind::Hash) {
            let mistake = Mistake::error(&at.span, "this source has no `pool`");
            reader.note(mistake.help("write pool = \"NAME\": it says where everybody is"));
        }
        let source = SourceSettings { pool, ..source };
        if purpose.reads_files() {
            try_file(at, &source, &rules, backends, reader);
        }
        if let Some((true, place)) = last
            && source.gives == Gives::Home
        {
            let title = "this source is never asked";
            let help = "put the source that answers for everybody last";
            let mistake = Mistake::warning(&at.span, title).help(help);
            reader.note(mistake.other(place, "this one answers for everybody"));
        }
        let is_table = |source: &SourceSettings| matches!(source.kind, SourceKind::Table);
        if is_table(&source) && sources.iter().any(is_table) {
            reader.note(Mistake::error(&at.span, "the table is asked already"));
        }
        last = Some((source.kind.knows_everybody(), &at.span));
        sources.push(SourceSettings { name: free_name(&source.name, &sources), ..source });
    }
    if tables.is_empty() {
        sources.push(SourceSettings::new("table", SourceKind::Table));
    } else if !sources.is_empty() && sources.iter().all(|source| source.gives != Gives::Home) {
        let title = "no source says where a user's mail is";
        let help = "write gives = \"home\" for one of them, or leave it out";
        reader.note(Mistake::error(&(0..0), title).help(help));
    }
    sources
}

fn source(
    at: &At<file::Source>,
    backends: &[Checked],
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<SourceSettings> {
    let common = &at.value.common;
    if common.source.is_absent() {
        let mistake = Mistake::error(&at.span, "this directory has no `source`");
        let words = file::SOURCE_WORDS.join("\", \"");
        reader.note(mistake.help(format!("write source = one of \"{words}\"")));
    }
    let template = common.template.given();
    if let Some(template) = template {
        check_name(&template.span, &template.value, backends, reader);
    }
    let template = template.map(|template| template.value.clone());
    let shape = at.value.shape.as_ref()?;
    let kind = match shape {
        SourceShape::Cdb(table) => {
            SourceKind::Cdb(CdbSettings::new(needed(at, &table.file, "users.cdb", reader)?))
        }
        SourceShape::File(table) => {
            SourceKind::File(FileSettings::new(needed(at, &table.file, "users.map", reader)?))
        }
        SourceShape::Http(table) => http::server(at, table, purpose, reader)?,
        SourceShape::Ldap(table) => ldap::ldap(at, table, purpose, reader)?,
        SourceShape::Regex(table) => {
            SourceKind::Regex(regex::settings(at, table, backends, reader)?)
        }
        SourceShape::MySql(table) => sql::server(at, table, Dialect::MySql, purpose, reader)?,
        SourceShape::Odbc(table) => odbc::database(at, table, purpose, reader)?,
        SourceShape::Postgres(table) => sql::server(at, table, Dialect::Postgres, purpose, reader)?,
        SourceShape::Sqlite(table) => sql::file(at, table, reader)?,
        SourceShape::Static(table) => {
            static_source(at, table, backends, template.as_ref(), reader)?
        }
        SourceShape::Hash(_) => SourceKind::Hash,
        SourceShape::Table(_) => SourceKind::Table,
    };
    let gives = gives(common, reader);
    let name = common.name.value().cloned().unwrap_or_else(|| shape.word().to_owned());
    Some(SourceSettings {
        template,
        gives,
        on_error: on_error(common, gives, reader),
        keys: keys(&common.keys, reader),
        verify: common.verify.value() == Some(&file::Verify::Directory),
        scram: scram(common, &kind, reader),
        cache: cache(common.cache.given(), &kind, reader),
        cannot_ask: unread(shape, purpose),
        ..SourceSettings::new(name, kind)
    })
}

/// Which of its secrets an operator may not read, and why. Asked without it, a source might say "no" of somebody
/// whom it would not show to everybody.
fn unread(shape: &SourceShape, purpose: Purpose) -> Option<String> {
    if purpose.reads_files() {
        return None;
    }
    shape.secret_files().into_iter().filter_map(Field::given).find_map(|file| {
        let error = fs::File::open(&file.value).err()?;
        Some(format!(
            "it cannot be asked from here: {} cannot be read: {error}",
            file.value.display()
        ))
    })
}

fn gives(common: &file::Common, reader: &mut Reader<'_>) -> Gives {
    match common.gives.value() {
        None | Some(file::Gives::Home) => Gives::Home,
        Some(file::Gives::Attributes) => {
            let because = "a source of attributes says nothing of places";
            refuse!(reader, common, [template], because);
            Gives::Attributes
        }
    }
}

/// Only what nobody's being known and nobody's place hangs on can be done without.
fn on_error(common: &file::Common, gives: Gives, reader: &mut Reader<'_>) -> OnError {
    let given = common.on_error.given();
    let Some(given) = given.filter(|given| given.value == file::OnError::Continue) else {
        return OnError::Stop;
    };
    if gives == Gives::Home {
        let title = "a source that says where users are cannot be done without";
        let help = "its users would be unknown, or sent to where another source says: leave `on_error` \
                    out, or write gives = \"attributes\"";
        reader.note(Mistake::error(&given.span, title).help(help));
    }
    OnError::Continue
}

fn scram(common: &file::Common, kind: &SourceKind, reader: &mut Reader<'_>) -> bool {
    let given = common.scram.given().filter(|given| given.value);
    if let Some(given) = given
        && !kind.may_hold_verifiers()
    {
        let title = "this source has no verifiers for SCRAM";
        let help = "only what gives `password_hash` has: the table, a TOML file, a database, LDAP, or a server asked with JSON";
        reader.note(Mistake::error(&given.span, title).help(help));
    }
    given.is_some()
}

fn keys(field: &Field<Listed<Template>>, reader: &mut Reader<'_>) -> Keys {
    let listed: &[_] = field.value().map_or(&[], |listed| &listed.0);
    for at in listed {
        if at.value.placeholders().any(|placeholder| placeholder == Placeholder::Key) {
            let title = "a key cannot be made of the key itself";
            reader.note(Mistake::error(&at.span, title).help("write {user}"));
        }
    }
    Keys(listed.iter().map(|at| at.value.clone()).collect())
}

fn cache(
    given: Option<&At<file::Cache>>,
    kind: &SourceKind,
    reader: &mut Reader<'_>,
) -> CacheSettings {
    let default = CacheSettings::default();
    let Some(given) = given else { return default };
    if !kind.is_remote() {
        let title = "this source is on this machine and needs no cache";
        reader.note(Mistake::error(&given.span, title).help("leave [directory.cache] out"));
    }
    let count = |field: &Field<u32>, default: usize, reader: &mut Reader<'_>| {
        let Some(given) = field.given() else { return default };
        if given.value == 0 {
            reader.note(Mistake::error(&given.span, "with 0 nothing could ever be asked"));
        }
        usize::try_from(given.value).unwrap_or(default)
    };
    let table = &given.value;
    if let Some(deadline) = table.deadline.given().filter(|deadline| deadline.value.is_zero()) {
        reader.note(Mistake::error(&deadline.span, "nobody can answer in no time"));
    }
    CacheSettings {
        found: table.found.or(default.found),
        not_found: table.not_found.or(default.not_found),
        judged: table.judged.or(default.judged),
        stale_for: table.stale_for.or(default.stale_for),
        stale_secrets_for: table.stale_secrets_for.or(default.stale_secrets_for),
        entries: count(&table.entries, default.entries, reader),
        deadline: table.deadline.or(default.deadline),
        questions: count(&table.questions, default.questions, reader),
    }
}

/// The file of a source that is nothing without one.
fn needed<'t>(
    at: &At<file::Source>,
    file: &'t Field<PathBuf>,
    example: &str,
    reader: &mut Reader<'_>,
) -> Option<&'t PathBuf> {
    if file.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `file`");
        reader.note(mistake.help(format!("write file = \"{example}\"")));
    }
    file.value()
}

/// Reads the file as `serve` will, so that what it would stumble over is told before.
fn try_file(
    at: &At<file::Source>,
    source: &SourceSettings,
    rules: &Rules,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) {
    let Some(shape) = &at.value.shape else { return };
    let file = match shape {
        SourceShape::Cdb(table) => &table.file,
        SourceShape::File(table) => &table.file,
        SourceShape::Regex(table) => &table.file,
        SourceShape::Hash(_)
        | SourceShape::Http(_)
        | SourceShape::Ldap(_)
        | SourceShape::MySql(_)
        | SourceShape::Odbc(_)
        | SourceShape::Postgres(_)
        | SourceShape::Sqlite(_)
        | SourceShape::Static(_)
        | SourceShape::Table(_) => return,
    };
    let Some(file) = file.given() else { return };
    // A chain without the table and without SCRAM touches no state.
    let alone = Settings {
        rules: rules.clone(),
        chain: vec![SourceSettings { gives: Gives::Home, scram: false, ..source.clone() }],
        backends: backends.iter().map(Checked::known).collect(),
        pools: Pools::default(),
        state: PathBuf::new(),
        passwords: PasswordSettings::default(),
        tokens: None,
    };
    if let Err(error) = Directory::open(alone) {
        let text = error.to_string();
        let (title, lines) = text.split_once('\n').unwrap_or((&text, ""));
        let mistake = Mistake::error(&file.span, title);
        reader.note(if lines.is_empty() { mistake } else { mistake.help(lines) });
    }
}

fn static_source(
    at: &At<file::Source>,
    table: &file::StaticSource,
    backends: &[Checked],
    template: Option<&BackendName>,
    reader: &mut Reader<'_>,
) -> Option<SourceKind> {
    if table.backend.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `backend`");
        reader.note(mistake.help("write backend = \"NAME\""));
    }
    let given = table.backend.given()?;
    let answer = match given.value.parse::<Answer>() {
        Ok(answer) => answer,
        Err(error) => {
            reader.note(Mistake::error(&given.span, format!("this is no answer: {error}")));
            return None;
        }
    };
    let known = Backends::new(backends.iter().map(Checked::known).collect());
    if let Err(unresolved) = known.check(&answer.place, template) {
        let mistake = Mistake::error(&given.span, unresolved.to_string());
        reader.note(mistake.help(names_help(&answer.place.to_string(), backends)));
    }
    Some(SourceKind::Static(StaticSettings { answer }))
}

pub(super) fn names_help(wrong: &str, backends: &[Checked]) -> String {
    let names: Vec<_> = backends.iter().map(|backend| backend.name.as_str()).collect();
    match suggest(wrong, &names) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if names.is_empty() => "write [backend.NAME] with its address".to_owned(),
        None => format!("the back ends are: {}", names.join(", ")),
    }
}

pub(super) fn check_name(
    span: &Range<usize>,
    name: &BackendName,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) {
    if !backends.iter().any(|backend| backend.name == *name) {
        let mistake = Mistake::error(span, format!("there is no back end \"{name}\""));
        reader.note(mistake.help(names_help(name.as_str(), backends)));
    }
}

fn free_name(plain: &str, sources: &[SourceSettings]) -> String {
    let taken = |name: &String| sources.iter().any(|source| source.name == *name);
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.to_owned()).chain(numbered);
    names.find(|name| !taken(name)).unwrap_or_default()
}
