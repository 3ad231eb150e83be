//! One rule: a pattern, and the answer it makes of what it matches.
//!
//! Nothing here knows where a rule is written.

use std::ops::Range;

use model::UserName;
use regex::{Captures, Regex, RegexBuilder};

use crate::Answer;

/// The most memory one compiled pattern may take, in bytes, as in the name rules.
const PATTERN_BYTES: usize = 1 << 20;

/// A pattern and the answer for the keys it matches.
#[derive(Clone, Debug)]
pub struct RegexRule {
    pattern: Regex,
    /// The pattern as it is written.
    written: String,
    backend: Vec<Piece>,
    user: Option<Vec<Piece>>,
    /// Whether what stands before the match stays before the answer (Perdition).
    keeps_prefix: bool,
}

/// A part of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    /// What a group has matched. Where it has matched nothing, the text.
    Group {
        number: usize,
        otherwise: String,
    },
    Text(String),
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRule {
    /// The answer for a match could only be wrong.
    #[error(
        "`{0}` can be no answer: it is neither the name of a back end nor `[user@]host[:port]`"
    )]
    Answer(String),
    /// A pattern does not compile.
    #[error("the pattern `{pattern}` cannot be used: {detail}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An answer names a group that its pattern does not have.
    #[error(
        "`{answer}` uses the group `{group}`, which the pattern does not have; write `${{1}}x` for group 1 \
         and an x, and `$$` for a dollar sign"
    )]
    Group {
        /// The answer.
        answer: String,
        /// The group that is missing.
        group: String,
    },
}

/// What a rule says of a key.
pub(super) enum Applied {
    Answer(Answer),
    /// It does not match.
    Not,
    /// It matches, and what it makes of the key is no answer.
    Unusable(String),
}

impl RegexRule {
    /// A rule. `backend` is a back end's name or `[user@]host[:port]`, `user` the name there; in both `$1`,
    /// `${1}` and `${name}` are groups, and `$$` is a dollar sign. The pattern is anchored only by `^` and `$`.
    ///
    /// # Errors
    /// [`InvalidRule`] if it could never work.
    pub fn new(pattern: &str, backend: &str, user: Option<&str>) -> Result<Self, InvalidRule> {
        let compiled = compile(pattern, pattern)?;
        let pieces = pieces(backend, &compiled)?;
        if let [Piece::Text(fixed)] = pieces.as_slice()
            && fixed.parse::<Answer>().is_err()
        {
            return Err(InvalidRule::Answer(backend.to_owned()));
        }
        let user = user.map(|user| self::pieces(user, &compiled)).transpose()?;
        let written = pattern.to_owned();
        Ok(Self { pattern: compiled, written, backend: pieces, user, keeps_prefix: false })
    }

    /// A rule of Perdition: `translated` is the pattern `written` in our syntax.
    pub(super) fn of_perdition(
        translated: &str,
        written: &str,
        answer: Vec<Piece>,
    ) -> Result<Self, InvalidRule> {
        let (pattern, written) = (compile(translated, written)?, written.to_owned());
        Ok(Self { pattern, written, backend: answer, user: None, keeps_prefix: true })
    }

    /// The pattern as it is written.
    pub fn pattern(&self) -> &str {
        &self.written
    }

    /// Whether a part of the key becomes a part of the place, so that users can have a say in where they go.
    pub fn chooses_places(&self) -> bool {
        let is_name = |piece: &&Piece| matches!(piece, Piece::Text(text) if text.contains('@'));
        let mut place = self.backend.iter().rev().take_while(|piece| !is_name(piece));
        place.any(|piece| matches!(piece, Piece::Group { .. }))
    }

    pub(super) fn apply(&self, key: &str) -> Applied {
        let Some(groups) = self.pattern.captures(key) else { return Applied::Not };
        let start = groups.get(0).map_or(0, |whole| whole.start());
        let prefix = if self.keeps_prefix { key.get(..start).unwrap_or_default() } else { "" };
        match self.answer(prefix, &groups) {
            Ok(answer) => Applied::Answer(answer),
            Err(what) => Applied::Unusable(what),
        }
    }

    fn answer(&self, prefix: &str, groups: &Captures<'_>) -> Result<Answer, String> {
        let made = Made::of(prefix, &self.backend, groups);
        // What follows the last `@` is the place.
        let place_at = made.text.rfind('@').map_or(0, |at| at + 1);
        if let Some(strange) = made.strange_behind(place_at) {
            return Err(format!("a name with `{}` is no part of a place", strange.escape_debug()));
        }
        let mut answer: Answer =
            made.text.parse().map_err(|error: crate::InvalidAnswer| error.to_string())?;
        if let Some(user) = &self.user {
            if answer.user.is_some() {
                return Err("`backend` and `user` both name the user there".to_owned());
            }
            let user = UserName::new(Made::of("", user, groups).text);
            answer.user = Some(user.map_err(|error| error.to_string())?);
        }
        Ok(answer)
    }
}

/// A text with parts of a key in it.
struct Made {
    text: String,
    /// Where those parts are.
    of_key: Vec<Range<usize>>,
}

impl Made {
    fn of(prefix: &str, pieces: &[Piece], groups: &Captures<'_>) -> Self {
        let of_key = std::iter::once(0..prefix.len()).collect();
        let mut made = Self { text: prefix.to_owned(), of_key };
        for piece in pieces {
            match piece {
                Piece::Text(text) => made.text.push_str(text),
                Piece::Group { number, otherwise } => match groups.get(*number) {
                    Some(group) => {
                        let start = made.text.len();
                        made.text.push_str(group.as_str());
                        made.of_key.push(start..made.text.len());
                    }
                    None => made.text.push_str(otherwise),
                },
            }
        }
        made
    }

    /// The first character of the key from `place_at` on that would mean more in a place than a letter does.
    fn strange_behind(&self, place_at: usize) -> Option<char> {
        let parts = self
            .of_key
            .iter()
            .filter_map(|part| self.text.get(part.start.max(place_at)..part.end.max(place_at)));
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        parts.flat_map(str::chars).find(|c| !plain(c))
    }
}

fn compile(pattern: &str, written: &str) -> Result<Regex, InvalidRule> {
    let built =
        RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    built.map_err(|error| InvalidRule::Pattern {
        pattern: written.to_owned(),
        detail: error.to_string(),
    })
}

/// Takes an answer apart.
fn pieces(text: &str, pattern: &Regex) -> Result<Vec<Piece>, InvalidRule> {
    let mut pieces = Vec::new();
    let mut fixed = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        fixed.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            fixed.push('$');
            rest = escaped;
            continue;
        }
        let (group, left) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').unwrap_or(("", braced)),
            None => {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !word(c)).unwrap_or(after.len()))
            }
        };
        let number = match group.parse::<usize>() {
            Ok(number) => Some(number).filter(|number| *number < pattern.captures_len()),
            Err(_) => pattern.capture_names().position(|name| name == Some(group)),
        };
        let missing = || InvalidRule::Group { answer: text.to_owned(), group: group.to_owned() };
        let number = number.ok_or_else(missing)?;
        if !fixed.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut fixed)));
        }
        pieces.push(Piece::Group { number, otherwise: String::new() });
        rest = left;
    }
    fixed.push_str(rest);
    if !fixed.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(fixed));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(rule: &RegexRule, key: &str) -> String {
        match rule.apply(key) {
            Applied::Answer(answer) => answer.to_string(),
            Applied::Not => "no match".to_owned(),
            Applied::Unusable(what) => what,
        }
    }

    fn rule(pattern: &str, backend: &str, user: Option<&str>) -> RegexRule {
        RegexRule::new(pattern, backend, user).unwrap()
    }

    #[test]
    fn groups_stand_in_the_answer_by_number_and_by_name() {
        let split =
            rule("^(.*)@(?<domain>[a-z]+)\\.example$", "${domain}-1.internal:143", Some("$1"));
        assert_eq!(said(&split, "ann@x@north.example"), "ann@x@north-1.internal:143");
        assert_eq!(said(&split, "ann@north.example.org"), "no match");
        assert_eq!(said(&rule("^a", "north", None), "ann"), "north");
        assert_eq!(said(&rule("^(.*)@", "$1$$@north", None), "ann@x"), "ann$@north");
    }

    #[test]
    fn no_name_says_more_than_a_part_of_a_host() {
        let loose = rule("^(.*)$", "$1.example.org", None);
        assert_eq!(said(&loose, "north"), "north.example.org");
        assert_eq!(said(&loose, "ann@north"), "ann@north.example.org");
        for key in ["evil:143", "[::1]", "a b", "ann@evil:25", "a/b", "ä"] {
            assert!(
                said(&loose, key).contains("no part of a place"),
                "{key}: {}",
                said(&loose, key)
            );
        }
        assert!(loose.chooses_places() && !rule("^(.*)$", "$1@north", None).chooses_places());
        // In front of an `@` that is ours everything is his name.
        let named = rule("^(.*)$", "$1@north", None);
        assert_eq!(said(&named, "ann@evil:143"), "ann@evil:143@north");
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused() {
        let refused = |pattern, backend, user| {
            RegexRule::new(pattern, backend, user).unwrap_err().to_string()
        };
        assert!(refused("(", "north", None).contains("the pattern `(`"));
        assert!(refused("(a)", "$2", None).contains("the group `2`"));
        assert!(refused("(a)", "north", Some("${b}")).contains("the group `b`"));
        assert!(refused("a", "", None).contains("no answer"));
        assert!(refused("a", "a b", None).contains("no answer"));
        assert!(refused("(a{1000}){1000}", "north", None).contains("size limit"));
    }

    #[test]
    fn a_pattern_that_drives_others_to_distraction_takes_no_time() {
        let evil = rule("^(a+)+$", "north", None);
        assert_eq!(said(&evil, &format!("{}b", "a".repeat(511))), "no match");
    }

    proptest! {
        #[test]
        fn whatever_a_user_calls_himself_the_place_is_one_that_the_rule_means(key in "\\PC{1,40}") {
            let loose = rule("^(.*)$", "$1.example.org:143", None);
            if let Applied::Answer(answer) = loose.apply(&key) {
                prop_assert!(answer.place.to_string().ends_with(".example.org:143"));
            }
        }
    }
}
