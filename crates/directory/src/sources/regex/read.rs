//! Reads a file of rules, with the line of each mistake.
//!
//! Nothing here applies a rule.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{RegexFormat, RegexRule, perdition};
use crate::{
    FileProblem, LineProblem, Problems,
    lines::{LineCount, Lines},
    sources::held::Reread,
};

/// Reads the rules.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) path: PathBuf,
    pub(super) format: RegexFormat,
}

impl Reread for Reader {
    type Content = Vec<RegexRule>;
    type Problem = FileProblem;
    const ENTRIES: &'static str = "rules";

    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<Vec<RegexRule>, FileProblem> {
        let path = || self.path.clone();
        let unreadable = |source| FileProblem::Unreadable { path: path(), source };
        let text = fs::read(&self.path).map_err(unreadable)?;
        let mut findings = Findings::default();
        match self.format {
            RegexFormat::Perdition => findings.perdition(&text).map_err(unreadable)?,
            RegexFormat::Toml => findings.toml(&text),
        }
        if !findings.problems.is_empty() {
            return Err(FileProblem::Lines { path: path(), problems: Problems(findings.problems) });
        }
        if !findings.doubts.is_empty() {
            let doubts = Problems(findings.doubts);
            tracing::warn!("`{}`: {doubts}", self.path.display());
        }
        Ok(findings.rules)
    }

    fn count(rules: &Vec<RegexRule>) -> u64 {
        u64::try_from(rules.len()).unwrap_or(u64::MAX)
    }
}

#[derive(Default)]
struct Findings {
    rules: Vec<RegexRule>,
    problems: Vec<LineProblem>,
    doubts: Vec<LineProblem>,
}

impl Findings {
    fn perdition(&mut self, mut text: &[u8]) -> io::Result<()> {
        let mut lines = Lines::new(&mut text);
        let mut begun = String::new();
        while let Some(line) = lines.next()? {
            let number = lines.number();
            let line = match line {
                Ok(line) => line,
                Err(wrong) => {
                    self.wrong(number, wrong);
                    continue;
                }
            };
            begun.push_str(&line);
            // A backslash before the end of a line joins the next one to it; two of them are one backslash.
            let backslashes = begun.chars().rev().take_while(|c| *c == '\\').count();
            if backslashes % 2 == 1 {
                begun.pop();
                continue;
            }
            self.perdition_line(number, &std::mem::take(&mut begun));
        }
        self.perdition_line(lines.number(), &begun);
        Ok(())
    }

    fn perdition_line(&mut self, number: u64, line: &str) {
        match perdition::rule(line) {
            Ok(None) => {}
            Ok(Some(line)) => {
                self.rules.push(line.rule);
                let doubt = |what: &str| LineProblem { line: number, what: what.to_owned() };
                self.doubts.extend(line.doubts.into_iter().map(doubt));
            }
            Err(what) => self.wrong(number, what),
        }
    }

    fn toml(&mut self, text: &[u8]) {
        let mut lines = LineCount::new(text);
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => return self.wrong(lines.at(error.valid_up_to()), "it is not UTF-8"),
        };
        let document = match DeTable::parse(text) {
            Ok(document) => document.into_inner(),
            Err(error) => {
                let line = lines.at(error.span().map_or(0, |span| span.start));
                return self.wrong(line, error.message());
            }
        };
        for (key, value) in document {
            let line = lines.at(key.span().start);
            match (key.get_ref().as_ref(), value.into_inner()) {
                ("rules", DeValue::Array(rules)) => {
                    for rule in rules {
                        let line = lines.at(rule.span().start);
                        match toml_rule(rule) {
                            Ok(rule) => self.rules.push(rule),
                            Err(what) => self.wrong(line, what),
                        }
                    }
                }
                ("rules", _) => self.wrong(line, "`rules` has to be a list"),
                (other, _) => {
                    self.wrong(
                        line,
                        format!("`{}` is not known: use `rules`", other.escape_debug()),
                    );
                }
            }
        }
    }

    fn wrong(&mut self, line: u64, what: impl ToString) {
        self.problems.push(LineProblem { line, what: what.to_string() });
    }
}

/// Reads `{ match = "PATTERN", backend = "ANSWER", user = "there" }`.
fn toml_rule(rule: Spanned<DeValue<'_>>) -> Result<RegexRule, String> {
    let DeValue::Table(fields) = rule.into_inner() else {
        return Err("expected { match = \"PATTERN\", backend = \"ANSWER\" }".to_owned());
    };
    let (mut pattern, mut backend, mut user) = (None, None, None);
    for (key, value) in fields {
        let key = key.into_inner();
        let DeValue::String(text) = value.into_inner() else {
            return Err(format!("`{}` has to be a string", key.escape_debug()));
        };
        match key.as_ref() {
            "match" => pattern = Some(text),
            "backend" => backend = Some(text),
            "user" => user = Some(text),
            _ => {
                let key = key.escape_debug();
                return Err(format!("`{key}` is not known: use `match`, `backend` or `user`"));
            }
        }
    }
    let pattern = pattern.ok_or("`match` is missing")?;
    let backend = backend.ok_or("`backend` is missing")?;
    RegexRule::new(&pattern, &backend, user.as_deref()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(format: RegexFormat, text: &[u8]) -> Result<Vec<RegexRule>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules");
        fs::write(&path, text).unwrap();
        Reader { path, format }.read().map_err(|problem| problem.to_string())
    }

    fn patterns(format: RegexFormat, text: &[u8]) -> Vec<String> {
        let rules = read(format, text).unwrap();
        rules.iter().map(|rule| rule.pattern().to_owned()).collect()
    }

    #[test]
    fn rules_stand_in_the_order_of_the_file() {
        let text = b"# all\n^b: north\n\n^\\\na: south\n";
        assert_eq!(patterns(RegexFormat::Perdition, text), ["^b", "^a"]);
        let text = b"rules = [\n{ match = '^b', backend = 'north' },\n\
            { match = '^(a)', backend = '$1.x', user = '$1' },\n]\n";
        assert_eq!(patterns(RegexFormat::Toml, text), ["^b", "^(a)"]);
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number() {
        let told = read(RegexFormat::Perdition, b"^a: north\n(\n'(a)\\1' north\n^b:north\n");
        let told = told.unwrap_err();
        for part in ["line 2:", "line 3:", "back reference", "line 4:"] {
            assert!(told.contains(part), "{told}");
        }
        let text = b"rules = [\n{ match = '(', backend = 'a' },\n{ match = 'a' },\n7,\n\
            { match = 'a', backend = 'a', uesr = 'b' },\n]\nrule = 1\n";
        let told = read(RegexFormat::Toml, text).unwrap_err();
        for part in ["line 2:", "line 3: `backend`", "line 4:", "line 5: `uesr`", "line 7: `rule`"]
        {
            assert!(told.contains(part), "{told}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_a_reader_fall(noise: Vec<u8>, text in "([\\[(|)\\\\.*+?{}'\"a-c: \n$0-3#]){0,60}") {
            for format in [RegexFormat::Perdition, RegexFormat::Toml] {
                let _ = read(format, &noise);
                let _ = read(format, text.as_bytes());
            }
        }
    }
}
