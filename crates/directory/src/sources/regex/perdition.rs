//! Lines of Perdition's `popmap.re`: `PATTERN[:] [USER@]HOST[:PORT]`.
//!
//! Nothing here compiles a pattern. Quotation marks, backslashes and comments are taken as Perdition takes them,
//! before the pattern is looked at: an unquoted `\.` is a `.` there.

use super::{
    posix,
    rule::{InvalidRule, Piece, RegexRule},
};

/// A rule of a file, and what may surprise in it.
pub(super) struct Line {
    pub(super) rule: RegexRule,
    pub(super) doubts: Vec<&'static str>,
}

/// Reads a line; nothing where it is empty or a comment.
pub(super) fn rule(line: &str) -> Result<Option<Line>, String> {
    let words = words(line)?;
    let (pattern, answer) = match words.texts.as_slice() {
        [] => return Ok(None),
        [pattern, answer] => (pattern.strip_suffix(':').unwrap_or(pattern), answer),
        [_] => return Err("there is no server behind the pattern, or no space between them".into()),
        _ => return Err("there are more words than a pattern and a server".into()),
    };
    if pattern.is_empty() {
        return Err("the pattern is empty".to_owned());
    }
    let unusable =
        |detail| InvalidRule::Pattern { pattern: pattern.to_owned(), detail }.to_string();
    let translated = posix::translate(pattern).map_err(unusable)?;
    let pieces = pieces(answer);
    let mut doubts = Vec::new();
    if translated.may_differ && pieces.iter().any(|piece| matches!(piece, Piece::Group { .. })) {
        doubts.push(
            "of several alternatives the first that fits is taken, and Perdition took the longest: write \
             the longest first",
        );
    }
    if words.lost_backslash {
        doubts.push(
            "a backslash outside of quotation marks is taken away before the pattern is looked at, as \
             Perdition did: put the pattern into single quotation marks to keep it",
        );
    }
    let rule = RegexRule::of_perdition(&translated.pattern, pattern, pieces);
    Ok(Some(Line { rule: rule.map_err(|error| error.to_string())?, doubts }))
}

/// An answer's parts: only `$0` to `$9` are groups, and what a group has not matched stays as it is written.
fn pieces(answer: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut fixed = String::new();
    let mut rest = answer.chars().peekable();
    while let Some(c) = rest.next() {
        let digit = rest.peek().and_then(|next| next.to_digit(10)).filter(|_| c == '$');
        match digit.and_then(|digit| usize::try_from(digit).ok()) {
            Some(number) => {
                rest.next();
                if !fixed.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut fixed)));
                }
                pieces.push(Piece::Group { number, otherwise: format!("${number}") });
            }
            None => fixed.push(c),
        }
    }
    if !fixed.is_empty() {
        pieces.push(Piece::Text(fixed));
    }
    pieces
}

#[derive(Default)]
struct Words {
    texts: Vec<String>,
    /// Whether a backslash before a character that means something in a pattern was taken away.
    lost_backslash: bool,
}

/// Parts a line into words: quotation marks keep white space and `#`, `#` begins a comment, and a backslash takes
/// the next character as it is, but within single quotation marks.
fn words(line: &str) -> Result<Words, String> {
    let mut words = Words::default();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                let c = rest.next().ok_or("it ends with a backslash")?;
                words.lost_backslash |=
                    c.is_ascii_punctuation() && !matches!(c, '#' | '"' | '\'' | '\\');
                word.get_or_insert_default().push(c);
            }
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(mark)) if c == mark => quote = None,
            ('#', None) => break,
            (c, None) if c.is_whitespace() => words.texts.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is not closed".to_owned());
    }
    words.texts.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{super::rule::Applied, *};

    fn said(line: &str, key: &str) -> String {
        match rule(line).unwrap().unwrap().rule.apply(key) {
            Applied::Answer(answer) => answer.to_string(),
            Applied::Not => "no match".to_owned(),
            Applied::Unusable(what) => what,
        }
    }

    #[test]
    fn a_line_answers_as_perdition_did() {
        for (line, key, expected) in [
            ("^[a-k]: north", "bob", "north"),
            ("^[a-k]: north", "rob", "no match"),
            ("^[^a-k]   south:110 # the others", "rob", "south:110"),
            ("^user: user2@localhost", "user", "user2@localhost"),
            ("(.*)@(.*): $1_$2@localhost", "ann@x", "ann_x@localhost"),
            // What stands before the match stays before the answer; what stands behind it does not.
            ("@example: @north", "ann@example.org", "ann@north"),
            ("'@(.*)\\.example$' @$1.internal", "ann@store.example", "ann@store.internal"),
            // No group, no value: the words stay.
            ("^(x)?ann: $1@north", "ann", "$1@north"),
            ("^ann: $2@north", "ann", "$2@north"),
            ("\"a b\": north", "a b", "north"),
            ("a\\ b north", "a b", "north"),
            // The backslash goes before the pattern is looked at.
            ("^a\\.b$ north", "axb", "north"),
            ("'^a\\.b$' north", "axb", "no match"),
        ] {
            assert_eq!(said(line, key), expected, "{line}");
        }
        for empty in ["", "   ", "# all", "  # x: y"] {
            assert!(rule(empty).unwrap().is_none(), "{empty}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_used_says_why() {
        for (line, part) in [
            ("^a:north", "no server"),
            ("^a north south", "more words"),
            ("'^a north", "not closed"),
            (": north", "empty"),
            ("'(a)\\1' north", "back reference"),
            ("( north", "cannot be used"),
            ("a\\", "backslash"),
        ] {
            let error = rule(line).err().unwrap();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn what_may_surprise_is_told() {
        let doubts = |line: &str| rule(line).unwrap().unwrap().doubts.len();
        assert_eq!(doubts("'^(a|ab)(.*)' $2@north"), 1);
        assert_eq!(doubts("'^(a|ab)' north"), 0);
        assert_eq!(doubts("^a\\.b north"), 1);
        assert_eq!(doubts("'^a\\.b' north"), 0);
    }
}
