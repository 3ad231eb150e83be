//! `source = "regex"`: rules in the configuration or in a file.

use std::path::Path;

use ::directory::{RegexFormat, RegexRule, RegexRules, RegexSettings};

use super::Checked;
use crate::config::{
    check::refuse,
    file,
    mistake::Mistake,
    read::{At, Reader},
};

pub(super) fn settings(
    at: &At<file::Source>,
    table: &file::RegexSource,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) -> Option<RegexSettings> {
    if table.file.is_absent() {
        refuse!(reader, table, [format], "it is for a `file`");
        return Some(RegexSettings::new(RegexRules::Fixed(fixed(at, table, backends, reader)?)));
    }
    refuse!(reader, table, [rules], "the rules are in the `file`");
    let path = table.file.value()?.clone();
    let format = match table.format.value() {
        Some(file::RegexFormat::Perdition) => RegexFormat::Perdition,
        Some(file::RegexFormat::Toml) => RegexFormat::Toml,
        None => by_name(&path),
    };
    Some(RegexSettings::new(RegexRules::File { path, format }))
}

fn by_name(path: &Path) -> RegexFormat {
    if path.extension().is_some_and(|ending| ending == "toml") {
        RegexFormat::Toml
    } else {
        RegexFormat::Perdition
    }
}

fn fixed(
    at: &At<file::Source>,
    table: &file::RegexSource,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) -> Option<Vec<RegexRule>> {
    let help =
        "write rules = [{ match = \"EXPRESSION\", backend = \"NAME\" }], or file = \"popmap.re\"";
    if table.rules.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `rules` and no `file`");
        reader.note(mistake.help(help));
    }
    let given = table.rules.given()?;
    if given.value.0.is_empty() {
        reader.note(Mistake::error(&given.span, "without a rule nobody is known").help(help));
    }
    Some(given.value.0.iter().filter_map(|rule| one(at, rule, backends, reader)).collect())
}

fn one(
    source: &At<file::Source>,
    rule: &At<file::RegexRule>,
    backends: &[Checked],
    reader: &mut Reader<'_>,
) -> Option<RegexRule> {
    let table = &rule.value;
    for (missing, key) in
        [(table.pattern.is_absent(), "match"), (table.backend.is_absent(), "backend")]
    {
        if missing {
            let mistake = Mistake::error(&rule.span, format!("this rule has no `{key}`"));
            reader.note(mistake.help("write { match = \"EXPRESSION\", backend = \"NAME\" }"));
        }
    }
    let (pattern, backend) = (table.pattern.value()?, table.backend.given()?);
    let user = table.user.value().map(|user| user.0.as_str());
    let made = match RegexRule::new(&pattern.0, &backend.value.0, user) {
        Ok(made) => made,
        Err(error) => {
            reader.note(Mistake::error(&rule.span, error.to_string()));
            return None;
        }
    };
    // With a template, any host will do: whoever makes up a name would be sent the secret.
    let template = source.value.common.template.value();
    let template = backends.iter().find(|backend| Some(&backend.name) == template);
    if template.is_some_and(|template| !template.known().judges) && made.chooses_places() {
        let title =
            "a part of the user's name chooses the host, and the host gets the template's secret";
        let help = "give each host a back end of its own and leave `template` out: then it can be no other";
        reader.note(Mistake::warning(&backend.span, title).help(help));
    }
    Some(made)
}
