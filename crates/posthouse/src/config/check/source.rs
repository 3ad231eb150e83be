//! `[[directory]]`: what is asked where a user's mail is.

use std::{ops::Range, path::PathBuf};

use ::directory::{
    Answer, Backends, Directory, FileFormat, FileSettings, RuleSettings, Rules, Settings,
    SourceKind, SourceSettings, StaticSettings,
};
use model::BackendName;

use super::{backend::Checked, refuse};
use crate::config::{
    Purpose,
    file::{self, SourceKind as Kind},
    mistake::{Mistake, suggest},
    read::{At, Field, Reader, Tables},
};

pub(super) fn sources(
    field: &Field<Tables<file::Source>>,
    rules: &RuleSettings,
    backends: &[Checked],
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Vec<SourceSettings> {
    // Rules that cannot be used have been told of; the files are read without them.
    let rules = Rules::new(rules.clone()).unwrap_or_default();
    let tables: &[_] = field.value().map_or(&[], |tables| &tables.0);
    let mut sources: Vec<SourceSettings> = Vec::new();
    let mut last: Option<(Kind, &Range<usize>)> = None;
    for at in tables {
        let Some(source) = source(at, backends, reader) else { continue };
        if purpose.reads_files() {
            try_file(at, &source, &rules, backends, reader);
        }
        let kind = at.value.source.or(Kind::Table);
        if let Some((Kind::Static, place)) = last {
            let title = "this source is never asked";
            let mistake = Mistake::warning(&at.span, title).help("put the static source last");
            reader.note(mistake.other(place, "this one answers for everybody"));
        }
        if kind == Kind::Table && sources.iter().any(|other| other.name == "table") {
            reader.note(Mistake::error(&at.span, "the table is asked already"));
        }
        last = Some((kind, &at.span));
        sources.push(SourceSettings { name: free_name(&source.name, &sources), ..source });
    }
    if tables.is_empty() {
        sources.push(SourceSettings {
            name: "table".into(),
            template: None,
            kind: SourceKind::Table,
        });
    }
    check_passwords(backends, &sources, reader);
    sources
}

fn source(
    at: &At<file::Source>,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) -> Option<SourceSettings> {
    let table = &at.value;
    if table.source.is_absent() {
        let mistake = Mistake::error(&at.span, "this directory has no `source`");
        reader.note(mistake.help("write source = \"table\", \"file\" or \"static\""));
    }
    let template = table.template.given();
    if let Some(template) = template {
        check_name(&template.span, &template.value, backends, reader);
    }
    let template = template.map(|template| template.value.clone());
    let (name, kind) = match *table.source.value()? {
        Kind::Table => {
            refuse!(reader, table, [file, backend], "users are placed with `posthouse user place`");
            ("table", SourceKind::Table)
        }
        Kind::File => {
            refuse!(reader, table, [backend], "it belongs to source = \"static\"");
            ("file", SourceKind::File(file_source(at, reader)?))
        }
        Kind::Static => {
            refuse!(reader, table, [file], "it belongs to source = \"file\"");
            ("static", static_source(at, backends, template.as_ref(), reader)?)
        }
    };
    Some(SourceSettings { name: name.into(), template, kind })
}

fn file_source(at: &At<file::Source>, reader: &mut Reader<'_>) -> Option<FileSettings> {
    if at.value.file.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `file`");
        reader.note(mistake.help("write file = \"users.map\""));
    }
    Some(FileSettings::new(at.value.file.value()?))
}

/// Reads the file as `serve` will, so that what it would stumble over is told before.
fn try_file(
    at: &At<file::Source>,
    source: &SourceSettings,
    rules: &Rules,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) {
    let (SourceKind::File(_), Some(file)) = (&source.kind, at.value.file.given()) else { return };
    // A chain without the table touches no state.
    let alone = Settings {
        rules: rules.clone(),
        chain: vec![source.clone()],
        backends: backends.iter().map(Checked::known).collect(),
        state: PathBuf::new(),
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
    backends: &[Checked],
    template: Option<&BackendName>,
    reader: &mut Reader<'_>,
) -> Option<SourceKind> {
    if at.value.backend.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `backend`");
        reader.note(mistake.help("write backend = \"NAME\""));
    }
    let given = at.value.backend.given()?;
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

fn names_help(wrong: &str, backends: &[Checked]) -> String {
    let names: Vec<_> = backends.iter().map(|backend| backend.name.as_str()).collect();
    match suggest(wrong, &names) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None if names.is_empty() => "write [backend.NAME] with its address".to_owned(),
        None => format!("the back ends are: {}", names.join(", ")),
    }
}

fn check_name(
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

/// Where the back end no longer looks at the client's own password, we must: some source has to know it.
fn check_passwords(backends: &[Checked], sources: &[SourceSettings], reader: &mut Reader<'_>) {
    let knows_passwords = |source: &SourceSettings| match &source.kind {
        SourceKind::File(file) => matches!(file.format, FileFormat::Toml),
        SourceKind::Static(_) => false,
        SourceKind::Table => true,
    };
    if sources.is_empty() || sources.iter().any(knows_passwords) {
        return;
    }
    for span in backends.iter().filter_map(|backend| backend.judged_here.as_ref()) {
        let title = "no source of the directory knows passwords, so nobody could log in";
        let help = "all login modes but \"forward\" compare with the directory's password: use \
                    source = \"table\" or a TOML file";
        reader.note(Mistake::error(span, title).help(help));
    }
}

fn free_name(plain: &str, sources: &[SourceSettings]) -> String {
    let taken = |name: &String| sources.iter().any(|source| source.name == *name);
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.to_owned()).chain(numbered);
    names.find(|name| !taken(name)).unwrap_or_default()
}
