//! Extended regular expressions of POSIX (IEEE Std 1003.1, chapter 9.4) in the syntax of our engine.
//!
//! Nothing here compiles them. What our engine does not know is refused and never taken for something else.

/// An expression in our syntax.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Translated {
    pub(super) pattern: String,
    /// Whether it depends on the engine how much an alternation takes: POSIX takes the longest, ours the first
    /// that fits.
    pub(super) may_differ: bool,
}

/// Translates an expression.
pub(super) fn translate(expression: &str) -> Result<Translated, String> {
    let mut translator = Translator { rest: expression, pattern: String::new() };
    let mut groups = Groups::default();
    while let Some(c) = translator.next() {
        match c {
            '[' => {
                translator.bracket()?;
                groups.is_no_literal();
            }
            '\\' => {
                let literal = translator.escape()?;
                groups.literal(literal);
            }
            '(' => {
                // `(?` would begin one of our own inventions, as `(?i)`.
                if translator.rest.starts_with(['?', '*', '+', '{']) {
                    return Err("a repetition has nothing to repeat behind `(`".to_owned());
                }
                translator.pattern.push('(');
                groups.open();
            }
            ')' => {
                translator.pattern.push(')');
                groups.close();
            }
            '|' => {
                translator.pattern.push('|');
                groups.alternative();
            }
            '{' if !translator.rest.starts_with(|c: char| c.is_ascii_digit() || c == ',') => {
                translator.pattern.push_str("\\{");
                groups.literal('{');
            }
            '}' => translator.pattern.push('}'),
            '*' | '+' | '?' | '{' => {
                translator.repetition(c)?;
                groups.is_no_literal();
            }
            '.' | '^' | '$' => {
                translator.pattern.push(c);
                groups.is_no_literal();
            }
            literal => {
                translator.pattern.push(literal);
                groups.literal(literal);
            }
        }
    }
    groups.close();
    Ok(Translated { pattern: translator.pattern, may_differ: groups.may_differ })
}

struct Translator<'e> {
    rest: &'e str,
    pattern: String,
}

impl Translator<'_> {
    fn next(&mut self) -> Option<char> {
        let mut rest = self.rest.chars();
        let next = rest.next();
        self.rest = rest.as_str();
        next
    }

    /// A repetition. A second one behind it means something else to our engine.
    fn repetition(&mut self, c: char) -> Result<(), String> {
        self.pattern.push(c);
        if c == '{' {
            let (count, rest) = self.rest.split_once('}').ok_or("`{` without its `}`")?;
            let numbers = count.chars().all(|c| c.is_ascii_digit() || c == ',');
            if !numbers || count.matches(',').count() > 1 {
                return Err(format!("`{{{count}}}` is no number of times"));
            }
            // Nothing before the comma is 0.
            let from = if count.starts_with(',') { "0" } else { "" };
            self.pattern.push_str(&format!("{from}{count}}}"));
            self.rest = rest;
        }
        if self.rest.starts_with(['*', '+', '?']) || self.rest.starts_with('{') {
            return Err(
                "two repetitions stand behind one another: put brackets around the first".into()
            );
        }
        Ok(())
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, String> {
        let c = self.next().ok_or("it ends with a backslash")?;
        match c {
            '0'..='9' => {
                return Err(format!("the back reference `\\{c}` cannot be matched in linear time"));
            }
            // Inventions of GNU and others, which are no POSIX; ours may mean something else.
            c if c.is_ascii_alphanumeric() || matches!(c, '<' | '>' | '`' | '\'') => {
                return Err(format!("`\\{c}` is no POSIX"));
            }
            c if c.is_ascii_punctuation() => self.pattern.extend(['\\', c]),
            c => self.pattern.push(c),
        }
        Ok(c)
    }

    /// A bracket expression, in which a backslash is a character like any other.
    fn bracket(&mut self) -> Result<(), String> {
        let open = "`[` without its `]`";
        self.pattern.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.pattern.push('^');
            self.rest = rest;
        }
        let mut first = true;
        loop {
            match self.next().ok_or(open)? {
                ']' if !first => break,
                '[' if self.rest.starts_with(':') => {
                    let (class, rest) = self.rest.split_once(":]").ok_or(open)?;
                    self.pattern.push_str(&format!("[{class}:]"));
                    self.rest = rest;
                }
                '[' if self.rest.starts_with(['.', '=']) => {
                    return Err("`[.` and `[=` (collating symbols) are not known here".to_owned());
                }
                '-' if !first && !self.rest.starts_with(']') => self.pattern.push('-'),
                c if c.is_ascii_punctuation() => self.pattern.extend(['\\', c]),
                c => self.pattern.push(c),
            }
            first = false;
        }
        self.pattern.push(']');
        Ok(())
    }
}

/// The groups that are open, to see whether of their alternatives one can be longer than another that comes
/// first.
#[derive(Default)]
struct Groups {
    outer: Vec<Group>,
    inner: Group,
    may_differ: bool,
}

/// The alternatives of a group, each as far as it is a text; none where it is more.
struct Group {
    before: Vec<Option<String>>,
    last: Option<String>,
}

impl Default for Group {
    fn default() -> Self {
        Self { before: Vec::new(), last: Some(String::new()) }
    }
}

impl Groups {
    fn literal(&mut self, c: char) {
        if let Some(text) = &mut self.inner.last {
            text.push(c);
        }
    }

    fn is_no_literal(&mut self) {
        self.inner.last = None;
    }

    fn alternative(&mut self) {
        let done = self.inner.last.replace(String::new());
        self.inner.before.push(done);
    }

    fn open(&mut self) {
        self.is_no_literal();
        self.outer.push(std::mem::take(&mut self.inner));
    }

    fn close(&mut self) {
        let group = std::mem::replace(&mut self.inner, self.outer.pop().unwrap_or_default());
        let mut later: Vec<&Option<String>> = vec![&group.last];
        for alternative in group.before.iter().rev() {
            self.may_differ |= later.iter().any(|later| match (alternative, later) {
                (Some(first), Some(later)) => later.starts_with(first.as_str()),
                _ => true,
            });
            later.push(alternative);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(expression: &str) -> String {
        translate(expression).unwrap().pattern
    }

    #[test]
    fn what_both_write_alike_stays_as_it_is() {
        for same in ["^(.*)@(.*)$", "^[a-k]", "a{2,3}b{4}", "(a|b)+c?", "[[:alpha:]_]", "a\\.b"] {
            let expected = same.replace("_]", "\\_]");
            assert_eq!(pattern(same), expected);
        }
    }

    #[test]
    fn in_brackets_only_the_bracket_the_hat_and_the_range_mean_something() {
        assert_eq!(pattern("[^.]"), "[^\\.]");
        assert_eq!(pattern("[]a]"), "[\\]a]");
        assert_eq!(pattern("[^]a-]"), "[^\\]a\\-]");
        assert_eq!(pattern("[\\.]"), "[\\\\\\.]");
        assert_eq!(pattern("[a&&b~~[]"), "[a\\&\\&b\\~\\~\\[]");
        for expression in ["[]a]", "[^]a-]", "[\\.]", "[a&&b~~[]", "[a-z0-9]", "a{,3}", "{", "x{y}"]
        {
            regex::Regex::new(&pattern(expression)).unwrap();
        }
    }

    #[test]
    fn what_our_engine_does_not_know_is_refused_and_not_guessed() {
        for (expression, part) in [
            ("(a)\\1", "back reference"),
            ("[[.a.]]", "collating"),
            ("[[=a=]]", "collating"),
            ("\\<a", "no POSIX"),
            ("\\w", "no POSIX"),
            ("(?i)a", "nothing to repeat"),
            ("a*?", "two repetitions"),
            ("a{1}{2}", "two repetitions"),
            ("[a", "`[`"),
            ("a\\", "backslash"),
            ("a{1,2,3}", "number of times"),
        ] {
            let error = translate(expression).unwrap_err();
            assert!(error.contains(part), "{expression}: {error}");
        }
    }

    #[test]
    fn an_alternation_is_told_only_where_the_longest_may_not_be_the_first() {
        let differs = |expression: &str| translate(expression).unwrap().may_differ;
        for expression in ["a|ab", "^(a|ab)(c|bcd)$", "(x|.*)", "a||b", "((a|b)|c)"] {
            assert!(differs(expression), "{expression}");
        }
        for expression in ["ab|a", "@(north|south)\\.example$", "(.*)@(.*)", "^a"] {
            assert!(!differs(expression), "{expression}");
        }
    }
}
