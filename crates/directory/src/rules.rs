//! Turns the name a client typed into the one name by which we know the user.
//!
//! Nothing here asks a source. The rules are applied once, before anything is keyed by the name, and
//! always in the order of the fields of [`RuleSettings`].

use model::{CanonicalUser, InvalidUserName, UserName};
use regex::{Regex, RegexBuilder};

/// The most memory one compiled pattern may take, in bytes. A pattern that needs more is a mistake,
/// such as `(.{1000}){1000}`.
const PATTERN_BYTES: usize = 1 << 20;

/// The rules as an operator writes them, in the order in which they are applied.
#[derive(Clone, Debug)]
pub struct RuleSettings {
    /// Cuts white space from both ends of the user's part and of the domain.
    pub trim: bool,
    /// Characters that may stand in place of `@`, such as `%`. The last of them (or `@`) in a name
    /// becomes `@`; all that is before it is the user's part.
    pub delimiters: String,
    /// Lower case by Unicode's rules. Names are not normalised otherwise: a composed and a
    /// decomposed `ü` are two names.
    pub lower_case: bool,
    /// Begins a detail that is cut away: with `+`, `user+detail@domain` becomes `user@domain`.
    pub detail: Option<char>,
    /// Which domains are cut away.
    pub strip_domain: StripDomain,
    /// The domain given to a name that has none by now.
    pub add_domain: Option<String>,
    /// Replacements, in order, each on what the one before it left.
    pub rewrites: Vec<Rewrite>,
}

impl Default for RuleSettings {
    /// Trimmed and in lower case, which is what people who type their name expect; the rest as it is.
    fn default() -> Self {
        Self {
            trim: true,
            delimiters: String::new(),
            lower_case: true,
            detail: None,
            strip_domain: StripDomain::Never,
            add_domain: None,
            rewrites: Vec::new(),
        }
    }
}

/// Which domains are cut from a name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum StripDomain {
    /// Every domain.
    Always,
    /// These domains, compared without regard to case.
    Listed(Vec<String>),
    /// None.
    #[default]
    Never,
}

/// Replaces the first match of a pattern by a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rewrite {
    /// A regular expression (syntax of the `regex` crate), not anchored.
    pub pattern: String,
    /// What the match becomes; `$1`, `$name` and `${1}` stand for groups, `$$` for a dollar sign.
    pub replacement: String,
}

/// Why rules cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRules {
    /// A delimiter is a character that names are made of.
    #[error("`{0}` cannot be a delimiter: use a punctuation mark")]
    Delimiter(char),
    /// A domain is empty or holds an `@`, a space or a control character.
    #[error("`{0}` is not a domain")]
    Domain(String),
    /// A pattern does not compile.
    #[error("the pattern `{pattern}` cannot be used: {detail}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What the compiler says.
        detail: String,
    },
    /// A replacement names a group that its pattern does not have, which would vanish silently.
    #[error(
        "the replacement `{replacement}` uses the group `{group}`, which its pattern does not have; \
         write `${{1}}x` for group 1 and an x, and `$$` for a dollar sign"
    )]
    Group {
        /// The replacement.
        replacement: String,
        /// The group that is missing.
        group: String,
    },
}

/// The rules made no valid name of what the client typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the name rules make no valid name of it: {0}")]
pub struct BadName(#[from] pub InvalidUserName);

/// The rules, checked and compiled. The default is that of [`RuleSettings`].
#[derive(Clone, Debug, Default)]
pub struct Rules {
    settings: RuleSettings,
    rewrites: Vec<(Regex, String)>,
}

impl Rules {
    /// Checks the settings and compiles the patterns.
    ///
    /// # Errors
    /// [`InvalidRules`] names the first rule that cannot be used.
    pub fn new(mut settings: RuleSettings) -> Result<Self, InvalidRules> {
        let delimiters = settings.delimiters.chars().chain(settings.detail);
        for delimiter in delimiters {
            check_delimiter(delimiter)?;
        }
        if settings.detail == Some('@') {
            return Err(InvalidRules::Delimiter('@'));
        }
        if let StripDomain::Listed(domains) = &mut settings.strip_domain {
            for domain in domains {
                check_domain(domain)?;
                *domain = domain.to_lowercase();
            }
        }
        if let Some(domain) = &settings.add_domain {
            check_domain(domain)?;
        }
        let rewrites = settings.rewrites.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { settings, rewrites })
    }

    /// Applies the rules to a name.
    ///
    /// # Errors
    /// [`BadName`] if what they make of it is empty, too long, or holds control characters.
    pub fn canonical(&self, name: &UserName) -> Result<CanonicalUser, BadName> {
        let mut name = self.spell(name.as_str());
        self.cut_detail(&mut name);
        self.strip_domain(&mut name);
        self.trim_parts(&mut name);
        self.add_domain(&mut name);
        for (pattern, replacement) in &self.rewrites {
            // The common case, no match, must not copy the name.
            if let std::borrow::Cow::Owned(rewritten) = pattern.replace(&name, replacement) {
                name = rewritten;
            }
        }
        Ok(CanonicalUser::declare(UserName::new(name)?))
    }

    /// Trims, sets the delimiter and the case.
    fn spell(&self, typed: &str) -> String {
        let typed = if self.settings.trim { typed.trim() } else { typed };
        let mut name = typed.to_owned();
        if !self.settings.delimiters.is_empty() {
            let delimits = |c: char| c == '@' || self.settings.delimiters.contains(c);
            if let Some((at, delimiter)) = typed.char_indices().rev().find(|(_, c)| delimits(*c)) {
                name.replace_range(at..at + delimiter.len_utf8(), "@");
            }
        }
        if self.settings.lower_case {
            name = name.to_lowercase();
        }
        name
    }

    fn cut_detail(&self, name: &mut String) {
        let Some(delimiter) = self.settings.detail else {
            return;
        };
        let end = name.rfind('@').unwrap_or(name.len());
        let start = name.char_indices().find(|(_, c)| *c == delimiter);
        // A name that begins with the delimiter has no user's part before it, so this is no detail.
        if let Some((start, _)) = start.filter(|(start, _)| *start > 0 && *start < end) {
            name.replace_range(start..end, "");
        }
    }

    /// What was cut away may have left white space at an end that is one only now.
    fn trim_parts(&self, name: &mut String) {
        if !self.settings.trim {
            return;
        }
        let trimmed = match name.rsplit_once('@') {
            Some((user, domain)) => format!("{}@{}", user.trim(), domain.trim()),
            None => name.trim().to_owned(),
        };
        *name = trimmed;
    }

    fn strip_domain(&self, name: &mut String) {
        let Some((user, domain)) = name.rsplit_once('@') else {
            return;
        };
        let goes = match &self.settings.strip_domain {
            StripDomain::Always => true,
            StripDomain::Listed(domains) => domains.contains(&domain.to_lowercase()),
            StripDomain::Never => false,
        };
        if goes {
            name.truncate(user.len());
        }
    }

    fn add_domain(&self, name: &mut String) {
        let Some(domain) = &self.settings.add_domain else {
            return;
        };
        // A name without a user's part is bad, and a domain would hide that.
        if name.is_empty() {
            return;
        }
        match name.rsplit_once('@') {
            None => {
                name.push('@');
                name.push_str(domain);
            }
            Some((_, "")) => name.push_str(domain),
            Some(_) => {}
        }
    }
}

fn check_delimiter(delimiter: char) -> Result<(), InvalidRules> {
    if delimiter.is_alphanumeric() || delimiter.is_whitespace() || delimiter.is_control() {
        return Err(InvalidRules::Delimiter(delimiter));
    }
    Ok(())
}

fn check_domain(domain: &str) -> Result<(), InvalidRules> {
    let strange = |c: char| c == '@' || c.is_whitespace() || c.is_control();
    if domain.is_empty() || domain.contains(strange) {
        return Err(InvalidRules::Domain(domain.to_owned()));
    }
    Ok(())
}

fn compile(rewrite: &Rewrite) -> Result<(Regex, String), InvalidRules> {
    let pattern = RegexBuilder::new(&rewrite.pattern)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| InvalidRules::Pattern {
            pattern: rewrite.pattern.clone(),
            detail: error.to_string(),
        })?;
    if let Some(group) = missing_group(&pattern, &rewrite.replacement) {
        return Err(InvalidRules::Group { replacement: rewrite.replacement.clone(), group });
    }
    Ok((pattern, rewrite.replacement.clone()))
}

/// The first group that a replacement uses and its pattern does not have.
fn missing_group(pattern: &Regex, replacement: &str) -> Option<String> {
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        let (group, left) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').unwrap_or(("", braced)),
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !word(c)).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        rest = match after.strip_prefix('$') {
            Some(escaped) => escaped,
            None if group.is_empty() => left,
            None if has_group(pattern, group) => left,
            None => return Some(group.to_owned()),
        };
    }
    None
}

fn has_group(pattern: &Regex, group: &str) -> bool {
    match group.parse::<usize>() {
        Ok(number) => number < pattern.captures_len(),
        Err(_) => pattern.capture_names().flatten().any(|name| name == group),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(settings: RuleSettings, typed: &str) -> String {
        let rules = Rules::new(settings).unwrap();
        let user = rules.canonical(&UserName::new(typed).unwrap()).unwrap();
        user.as_str().to_owned()
    }

    fn rewriting(rewrites: &[(&str, &str)]) -> RuleSettings {
        let rewrite = |(pattern, replacement): &(&str, &str)| Rewrite {
            pattern: (*pattern).to_owned(),
            replacement: (*replacement).to_owned(),
        };
        RuleSettings { rewrites: rewrites.iter().map(rewrite).collect(), ..RuleSettings::default() }
    }

    #[test]
    fn without_settings_a_name_is_trimmed_and_lower_case() {
        assert_eq!(
            canonical(RuleSettings::default(), "  Alice@Example.ORG\u{a0}"),
            "alice@example.org"
        );
        assert_eq!(canonical(RuleSettings::default(), "JÜRGEN Ω"), "jürgen ω");
    }

    #[test]
    fn each_rule_can_be_left_out() {
        let none = RuleSettings { trim: false, lower_case: false, ..RuleSettings::default() };
        assert_eq!(canonical(none, " Alice+x%y "), " Alice+x%y ");
    }

    #[test]
    fn the_last_delimiter_becomes_an_at_sign() {
        let settings = RuleSettings { delimiters: "%!".to_owned(), ..RuleSettings::default() };
        for (typed, expected) in [
            ("bob%example.org", "bob@example.org"),
            ("bob%b!example.org", "bob%b@example.org"),
            ("bob%b@example.org", "bob%b@example.org"),
            ("bob", "bob"),
        ] {
            assert_eq!(canonical(settings.clone(), typed), expected);
        }
    }

    #[test]
    fn a_detail_is_cut_from_the_user_s_part_only() {
        let settings = RuleSettings { detail: Some('+'), ..RuleSettings::default() };
        for (typed, expected) in [
            ("bob+lists+x@example.org", "bob@example.org"),
            ("bob+lists", "bob"),
            ("bob@ex+ample.org", "bob@ex+ample.org"),
            ("+bob@example.org", "+bob@example.org"),
        ] {
            assert_eq!(canonical(settings.clone(), typed), expected);
        }
    }

    #[test]
    fn domains_are_stripped_before_one_is_added() {
        let settings = RuleSettings {
            strip_domain: StripDomain::Listed(vec!["Old.example".to_owned()]),
            add_domain: Some("new.example".to_owned()),
            ..RuleSettings::default()
        };
        for (typed, expected) in [
            ("bob", "bob@new.example"),
            ("bob@", "bob@new.example"),
            ("bob@OLD.example", "bob@new.example"),
            ("bob@other.example", "bob@other.example"),
            ("a@b@old.example", "a@b"),
        ] {
            assert_eq!(canonical(settings.clone(), typed), expected);
        }
    }

    #[test]
    fn rewrites_are_applied_in_order_and_once() {
        let settings =
            rewriting(&[(r"^(\w+)\.(\w+)@example\.org$", "$2.${1}@example.org"), ("^b", "c$$")]);
        assert_eq!(canonical(settings.clone(), "a.b@example.org"), "c$.a@example.org");
        assert_eq!(canonical(settings, "d@example.net"), "d@example.net");
    }

    #[test]
    fn what_is_no_name_after_the_rules_is_bad() {
        let strip = RuleSettings {
            strip_domain: StripDomain::Always,
            add_domain: Some("example.org".to_owned()),
            ..RuleSettings::default()
        };
        let bad = |settings: RuleSettings, typed: &str| {
            let name = UserName::new(typed).unwrap();
            Rules::new(settings).unwrap().canonical(&name).unwrap_err()
        };
        let empty = BadName(InvalidUserName::Empty);
        let too_long = BadName(InvalidUserName::TooLong);
        assert_eq!(bad(strip, "@example.org"), empty);
        assert_eq!(bad(RuleSettings::default(), "  "), empty);
        assert_eq!(bad(rewriting(&[("^.*$", "")]), "bob"), empty);
        assert_eq!(bad(RuleSettings::default(), &"İ".repeat(256)), too_long);
        assert_eq!(
            bad(rewriting(&[("b", "\r\n")]), "bob"),
            BadName(InvalidUserName::ControlCharacter)
        );
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let refused = |settings: RuleSettings| Rules::new(settings).unwrap_err();
        assert!(matches!(refused(rewriting(&[("(", "")])), InvalidRules::Pattern { .. }));
        assert!(matches!(
            refused(rewriting(&[("(.{1000}){1000}", "")])),
            InvalidRules::Pattern { .. }
        ));
        for replacement in ["$1x", "$2", "${name}"] {
            assert!(
                matches!(refused(rewriting(&[("(a)", replacement)])), InvalidRules::Group { .. }),
                "{replacement}"
            );
        }
        for replacement in ["${1}x", "$0", "$1", "$$2", "a$", "$-", "$$$1"] {
            assert!(Rules::new(rewriting(&[("(a)", replacement)])).is_ok(), "{replacement}");
        }
        for domain in ["", "a@b", "a b"] {
            let settings =
                RuleSettings { add_domain: Some(domain.to_owned()), ..RuleSettings::default() };
            assert_eq!(refused(settings), InvalidRules::Domain(domain.to_owned()));
        }
        for detail in ['a', ' ', '@'] {
            let settings = RuleSettings { detail: Some(detail), ..RuleSettings::default() };
            assert_eq!(refused(settings), InvalidRules::Delimiter(detail));
        }
    }

    #[test]
    fn white_space_before_what_is_cut_away_goes_with_it() {
        let settings = RuleSettings {
            delimiters: "%".to_owned(),
            detail: Some('+'),
            strip_domain: StripDomain::Always,
            ..RuleSettings::default()
        };
        let rules = Rules::new(settings).unwrap();
        for typed in [" bob %", "bob +x@y", "bob @ y "] {
            let canonical = rules.canonical(&UserName::new(typed).unwrap()).unwrap();
            assert_eq!(canonical.as_str(), "bob", "{typed}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_name_without_rewrites_stays_as_it_is(
            typed in "\\PC{1,40}", detail: bool, strip: bool, add: bool,
        ) {
            let settings = RuleSettings {
                delimiters: "%".to_owned(),
                detail: detail.then_some('+'),
                strip_domain: if strip { StripDomain::Always } else { StripDomain::Never },
                add_domain: add.then(|| "example.org".to_owned()),
                ..RuleSettings::default()
            };
            // Stripping one of several domains leaves another to strip.
            if typed.chars().filter(|c| "@%".contains(*c)).count() > 1 {
                return Ok(());
            }
            let rules = Rules::new(settings).unwrap();
            if let Ok(once) = rules.canonical(&UserName::new(typed).unwrap()) {
                prop_assert_eq!(rules.canonical(once.name()), Ok(once));
            }
        }

        #[test]
        fn a_replacement_never_panics(pattern in "\\PC{0,12}", replacement in "[$a0-2{}_]{0,12}") {
            let _ = Rules::new(rewriting(&[(&pattern, &replacement)]));
        }
    }
}
