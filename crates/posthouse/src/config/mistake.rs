//! A mistake in the configuration file: what, where and what to do, and how all of them look on a
//! screen. Nothing here knows which keys there are.

use std::{ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// Whether the program can start all the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// Something wrong at a place of the file.
#[derive(Clone, Debug)]
pub(crate) struct Mistake {
    pub(crate) severity: Severity,
    span: Range<usize>,
    title: String,
    label: String,
    help: Option<String>,
    other: Option<(Range<usize>, String)>,
}

impl Mistake {
    /// What is wrong; nothing stands beside the caret.
    pub(crate) fn error(span: &Range<usize>, title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: span.clone(),
            title: title.into(),
            label: String::new(),
            help: None,
            other: None,
        }
    }

    /// What is questionable.
    pub(crate) fn warning(span: &Range<usize>, title: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, title) }
    }

    /// Adds what stands beside the caret.
    pub(crate) fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// Adds what to do about it.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Adds another place that has to do with it.
    pub(crate) fn other(self, span: &Range<usize>, label: impl Into<String>) -> Self {
        Self { other: Some((span.clone(), label.into())), ..self }
    }

    fn render(&self, path: &str, source: &str, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut snippet = Snippet::source(source).path(path).annotation(
            AnnotationKind::Primary.span(fit(&self.span, source)).label(self.label.as_str()),
        );
        if let Some((span, label)) = &self.other {
            let other = AnnotationKind::Context.span(fit(span, source)).label(label.as_str());
            snippet = snippet.annotation(other);
        }
        let mut group: Group<'_> = level.primary_title(&self.title).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

/// A span within the source and on its character boundaries, and on its first line only: the caret
/// under a table's name says as much as a bracket around the whole table.
fn fit(span: &Range<usize>, source: &str) -> Range<usize> {
    let start = source.floor_char_boundary(span.start.min(source.len()));
    let end = source.ceil_char_boundary(span.end.min(source.len())).max(start);
    let line = source.get(start..end).and_then(|text| text.find('\n'));
    start..line.map_or(end, |line| start + line)
}

/// A mistake as programs read it.
#[derive(Serialize)]
pub(crate) struct ToldMistake<'m> {
    severity: Severity,
    /// From 1.
    line: usize,
    message: &'m str,
    help: Option<&'m str>,
}

/// All mistakes of a file, to be shown in the order of their places.
#[derive(Debug)]
pub(crate) struct Mistakes {
    path: String,
    source: String,
    list: Vec<Mistake>,
}

impl Mistakes {
    /// Takes over what was found in `source`; the text under `hidden` is never shown.
    pub(super) fn new(
        path: &Path,
        source: &str,
        hidden: &[Range<usize>],
        mut list: Vec<Mistake>,
    ) -> Self {
        list.sort_by_key(|mistake| mistake.span.start);
        Self { path: path.display().to_string(), source: hide(source, hidden), list }
    }

    /// Whether the program cannot start.
    pub(crate) fn are_fatal(&self) -> bool {
        self.list.iter().any(|mistake| mistake.severity == Severity::Error)
    }

    /// Whether nothing at all was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are errors.
    pub(crate) fn errors(&self) -> usize {
        self.list.iter().filter(|mistake| mistake.severity == Severity::Error).count()
    }

    /// All of them, for programs.
    pub(crate) fn list(&self) -> impl Iterator<Item = ToldMistake<'_>> {
        self.list.iter().map(|mistake| ToldMistake {
            severity: mistake.severity,
            line: self.line_of(&mistake.span),
            message: &mistake.title,
            help: mistake.help.as_deref(),
        })
    }

    /// The titles of the warnings, each with its line, for the log.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = (usize, &str)> {
        let warnings = self.list.iter().filter(|mistake| mistake.severity == Severity::Warning);
        warnings.map(|warning| (self.line_of(&warning.span), warning.title.as_str()))
    }

    /// Everything as text, with colours where `colour` says so.
    pub(crate) fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let show = |mistake: &Mistake| mistake.render(&self.path, &self.source, &renderer);
        let shown: Vec<_> = self.list.iter().map(show).collect();
        shown.join("\n\n")
    }

    fn line_of(&self, span: &Range<usize>) -> usize {
        let before = self.source.get(..fit(span, &self.source).start).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

/// Overwrites secrets with stars, so that the line around a mistake can be shown. Lengths stay, so
/// that spans do.
fn hide(source: &str, hidden: &[Range<usize>]) -> String {
    let is_hidden = |at: usize| hidden.iter().any(|span| span.contains(&at));
    let star = |(at, character): (usize, char)| {
        if character != '\n' && is_hidden(at) {
            "*".repeat(character.len_utf8())
        } else {
            character.to_string()
        }
    };
    source.char_indices().map(star).collect()
}

/// What may be a secret on the lines of a place that could not be read as TOML.
pub(super) fn secrets_on_line(source: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let from = source.get(..fit(span, source).start)?.rfind('\n').map_or(0, |at| at + 1);
    let end = source.ceil_char_boundary(span.end.min(source.len()).max(from));
    let to = source.get(end..)?.find('\n').map_or(source.len(), |at| end + at);
    let lines = source.get(from..to)?;
    if let Some(value) = value_of_key(lines) {
        return may_be_secret(lines).then(|| to - value.len()..to);
    }
    if is_heading(lines) {
        return None;
    }
    // What has no key may belong to the key of a line before.
    let mut before = source.get(..from)?.lines().rev();
    let key = before.find(|line| is_heading(line) || value_of_key(line).is_some());
    (may_be_secret(lines) || key.is_some_and(may_be_secret)).then_some(from..to)
}

/// What stands behind the key with which a line begins.
fn value_of_key(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || " \t_-.\"'".contains(c);
    (!key.trim().is_empty() && key.chars().all(fits)).then_some(value)
}

/// Whether a line begins as the heading of a table does.
fn is_heading(line: &str) -> bool {
    let name = line.trim_start().strip_prefix('[').map(|rest| rest.trim_start_matches('['));
    name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Whether what stands under a wrong key is surely no secret: one letter is wrong, and the key that was meant has
/// none. `bindpw` might be meant by somebody who is told of `bind`.
pub(super) fn is_harmless(wrong: &str, meant: &str) -> bool {
    strsim::damerau_levenshtein(wrong, meant) == 1 && !may_be_secret(wrong) && !may_be_secret(meant)
}

/// Whether a line with keys may hold a secret, to judge by its words.
fn may_be_secret(line: &str) -> bool {
    let line = line.to_lowercase();
    ["secret", "pass", "pwd", "token", "header", "connection"]
        .iter()
        .any(|word| line.contains(word))
}

/// The one of `words` that somebody who wrote `wrong` most likely meant.
pub(super) fn suggest<'w>(wrong: &str, words: &[&'w str]) -> Option<&'w str> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    // A third of the letters may be wrong: `adress` is `address`, `imap` is not `name`.
    let limit = (wrong.chars().count() / 3).max(1);
    let distance = |word: &str| strsim::damerau_levenshtein(&wrong, &word.replace('-', "_"));
    let ranked = words.iter().map(|word| (distance(word), *word));
    // One letter for another is no slip of the pen where there is only one.
    let fits = |distance: usize| distance <= limit && distance < wrong.chars().count();
    ranked.filter(|(distance, _)| fits(*distance)).min().map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        let words = ["address", "tls", "imap_port", "pop3_port"];
        assert_eq!(suggest("adress", &words), Some("address"));
        assert_eq!(suggest("imap-port", &words), Some("imap_port"));
        assert_eq!(suggest("TLS", &words), Some("tls"));
        assert_eq!(suggest("colour", &words), None);
        assert_eq!(suggest("b", &["a"]), None);
    }

    #[test]
    fn a_hidden_place_is_shown_as_stars_only() {
        let source = "a = 1\nsecret = \"hünter2\"\n";
        let (span, hidden) = (15..25, 15..24);
        let mistake = Mistake::error(&span, "wrong").label("here");
        let shown = Mistakes::new(
            Path::new("x.toml"),
            source,
            std::slice::from_ref(&hidden),
            vec![mistake],
        )
        .render(false);
        assert!(shown.contains("secret = *********"), "{shown}");
        assert!(!shown.contains("nter2"), "{shown}");
    }

    #[test]
    fn a_span_beyond_the_file_is_no_panic() {
        let mistake = Mistake::error(&(3..900), "wrong").other(&(7..8), "too");
        let shown = Mistakes::new(Path::new("x.toml"), "ä\nb", &[], vec![mistake]).render(false);
        assert!(shown.contains("wrong"), "{shown}");
    }
}
