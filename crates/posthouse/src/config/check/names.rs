//! `[names]`: what is done to a user name before it is looked up.

use std::ops::Range;

use ::directory::{Rewrite, RuleSettings, Rules, StripDomain};

use crate::config::{
    file::{self, Names},
    mistake::Mistake,
    read::Reader,
};

pub(super) fn rules(names: Option<&Names>, reader: &mut Reader<'_>) -> RuleSettings {
    let mut rules = RuleSettings::default();
    let Some(names) = names else { return rules };
    rules.trim = names.trim.or(rules.trim);
    rules.lower_case = names.lower_case.or(rules.lower_case);
    if let Some(given) = names.delimiters.given() {
        rules.delimiters.clone_from(&given.value);
        try_rule(&given.span, reader, |one| one.delimiters.clone_from(&rules.delimiters));
    }
    if let Some(given) = names.detail.given() {
        rules.detail = Some(given.value.0);
        try_rule(&given.span, reader, |one| one.detail = rules.detail);
    }
    if let Some(given) = names.strip_domain.given() {
        rules.strip_domain = match &given.value {
            file::StripDomain::Always => StripDomain::Always,
            file::StripDomain::Listed(domains) => StripDomain::Listed(domains.clone()),
            file::StripDomain::Never => StripDomain::Never,
        };
        try_rule(&given.span, reader, |one| one.strip_domain = rules.strip_domain.clone());
    }
    if let Some(given) = names.add_domain.given() {
        rules.add_domain = Some(given.value.clone());
        try_rule(&given.span, reader, |one| one.add_domain.clone_from(&rules.add_domain));
    }
    rules.rewrites = rewrites(names, reader);
    rules
}

fn rewrites(names: &Names, reader: &mut Reader<'_>) -> Vec<Rewrite> {
    let mut rewrites = Vec::new();
    for at in names.rewrite.value().into_iter().flat_map(|tables| &tables.0) {
        for (missing, key) in
            [(at.value.pattern.is_absent(), "match"), (at.value.replacement.is_absent(), "replace")]
        {
            if missing {
                let mistake = Mistake::error(&at.span, format!("this rewrite has no `{key}`"));
                reader.note(mistake.help("write { match = \"EXPRESSION\", replace = \"TEXT\" }"));
            }
        }
        let (Some(pattern), Some(replacement)) =
            (at.value.pattern.given(), at.value.replacement.value())
        else {
            continue;
        };
        let (pattern_text, replacement) = (pattern.value.0.clone(), replacement.0.clone());
        let rewrite = Rewrite { pattern: pattern_text, replacement };
        try_rule(&pattern.span, reader, |one| one.rewrites.push(rewrite.clone()));
        rewrites.push(rewrite);
    }
    rewrites
}

/// Tries one rule by itself, so that what is wrong with it is told at its place.
fn try_rule(span: &Range<usize>, reader: &mut Reader<'_>, set: impl FnOnce(&mut RuleSettings)) {
    let mut one = RuleSettings::default();
    set(&mut one);
    if let Err(error) = Rules::new(one) {
        reader.note(Mistake::error(span, error.to_string()));
    }
}
