//! Reads the users of a file, with the line of each mistake.
//!
//! Nothing here remembers a file, and no message holds a value: it could be a password.

use std::{
    collections::{HashMap, hash_map},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{BackendName, CanonicalUser, Secret, UserName};
use toml::{Spanned, de::DeTable, de::DeValue};
use zeroize::Zeroizing;

use super::{FileFormat, FileSettings};
use crate::{
    Answer, Backends, Rules,
    lines::{self, LineCount, LineProblem, Lines},
    sources::{Found, fields::mailbox_id, held::Reread},
};

/// How many wrong lines a message tells of.
const TOLD_PROBLEMS: usize = 20;

pub(super) type Users = HashMap<CanonicalUser, Found>;

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It is not what it should be.
    #[error("`{path}` {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Some lines are wrong.
    #[error("`{path}`: {problems}")]
    Lines {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        problems: Problems,
    },
    /// It cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Wrong lines; shown are the first 20.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problems(pub Vec<LineProblem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().take(TOLD_PROBLEMS).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.0.len().checked_sub(TOLD_PROBLEMS) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "; and {more} more"),
        }
    }
}

/// All that is needed to read the file.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) settings: FileSettings,
    pub(crate) rules: Rules,
    pub(crate) backends: Arc<Backends>,
    pub(crate) template: Option<BackendName>,
    /// Whether every user has to have a back end.
    pub(crate) homes: bool,
}

impl Reread for Reader {
    type Content = Users;
    type Problem = FileProblem;
    const ENTRIES: &'static str = "users";

    fn path(&self) -> &Path {
        &self.settings.path
    }

    fn count(users: &Users) -> u64 {
        u64::try_from(users.len()).unwrap_or(u64::MAX)
    }

    fn read(&self) -> Result<Users, FileProblem> {
        let path = || self.settings.path.clone();
        let unreadable = |source| FileProblem::Unreadable { path: path(), source };
        // There may be passwords in it.
        let text = Zeroizing::new(fs::read(&self.settings.path).map_err(unreadable)?);
        let mut found = Findings {
            reader: self,
            users: Users::new(),
            problems: Vec::new(),
            doubts: Vec::new(),
        };
        match self.settings.format {
            FileFormat::Map => found.read_map(&text).map_err(unreadable)?,
            FileFormat::Toml => found.read_toml(&text),
        }
        if !found.problems.is_empty() {
            return Err(FileProblem::Lines { path: path(), problems: Problems(found.problems) });
        }
        if !found.doubts.is_empty() {
            // Users who lead nowhere are refused one by one; the others are not made to wait.
            let shown = path();
            let doubts = Problems(found.doubts);
            tracing::warn!("`{}`: {doubts}", shown.display());
        }
        Ok(found.users)
    }
}

/// What a file was found to hold.
struct Findings<'a> {
    reader: &'a Reader,
    users: Users,
    problems: Vec<LineProblem>,
    doubts: Vec<LineProblem>,
}

impl Findings<'_> {
    fn read_map(&mut self, mut text: &[u8]) -> io::Result<()> {
        let mut lines = Lines::new(&mut text);
        while let Some(line) = lines.next()? {
            let number = lines.number();
            match line.and_then(|line| lines::map_entry(&line)) {
                Ok(None) => {}
                Ok(Some((name, answer))) => self.take(number, &name, answer.into()),
                Err(wrong) => self.wrong(number, wrong),
            }
        }
        Ok(())
    }

    fn read_toml(&mut self, text: &[u8]) {
        let mut lines = LineCount::new(text);
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                return self.wrong(lines.at(error.valid_up_to()), lines::Wrong::NotUtf8);
            }
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
                ("users", DeValue::Table(users)) => {
                    let mut users: Vec<_> = users.into_iter().collect();
                    users.sort_by_key(|(name, _)| name.span().start);
                    for (name, value) in users {
                        let line = lines.at(name.span().start);
                        self.take_toml(line, name.get_ref(), value);
                    }
                }
                ("users", _) => self.wrong(line, "`users` has to be a table"),
                (other, _) => self
                    .wrong(line, format!("`{}` is not known: use `users`", other.escape_debug())),
            }
        }
    }

    fn take_toml(&mut self, line: u64, name: &str, value: Spanned<DeValue<'_>>) {
        let name = match UserName::new(name) {
            Ok(name) => name,
            Err(error) => return self.wrong(line, error),
        };
        match toml_entry(value.into_inner()) {
            Ok(found) if found.places.is_empty() && self.reader.homes => {
                self.wrong(line, "`backend` is missing");
            }
            Ok(found) => self.take(line, &name, found),
            Err(what) => self.wrong(line, what),
        }
    }

    fn take(&mut self, line: u64, name: &UserName, found: Found) {
        let user = match self.reader.rules.canonical(name) {
            Ok(user) => user,
            Err(bad) => return self.wrong(line, bad),
        };
        let template = self.reader.template.as_ref();
        for place in &found.places {
            if let Err(unresolved) = self.reader.backends.check(place, template) {
                let what = unresolved.to_string();
                self.doubts.push(LineProblem { line, what });
            }
        }
        match self.users.entry(user) {
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(found);
            }
            hash_map::Entry::Occupied(first) => {
                if !first.get().is_same(&found) {
                    let what =
                        format!("a line before this has another answer for `{}`", first.key());
                    self.wrong(line, what);
                }
            }
        }
    }

    fn wrong(&mut self, line: u64, what: impl ToString) {
        let what = what.to_string();
        self.problems.push(LineProblem { line, what });
    }
}

/// Reads `"ANSWER"` or
/// `{ backend = "ANSWER", user = "there", password = "there", password_hash = "{SCHEME}..", id = "..", disabled = true }`.
fn toml_entry(value: DeValue<'_>) -> Result<Found, String> {
    let fields = match value {
        DeValue::String(answer) => return Ok(toml_answer(&answer)?.into()),
        DeValue::Table(fields) => fields,
        other => return Err(format!("expected a string or a table, found {}", other.type_str())),
    };
    let mut found = Found::default();
    let mut user = None;
    for (key, value) in fields {
        let key = key.into_inner();
        let text = match (key.as_ref(), value.into_inner()) {
            ("disabled", DeValue::Boolean(disabled)) => {
                found.disabled = disabled;
                continue;
            }
            ("disabled", _) => return Err("`disabled` has to be true or false".to_owned()),
            (_, DeValue::String(text)) => text,
            _ => return Err(format!("`{}` has to be a string", key.escape_debug())),
        };
        match key.as_ref() {
            "backend" => {
                let answer = toml_answer(&text)?;
                found = Found { places: vec![answer.place], user: answer.user, ..found };
            }
            "id" => {
                let id = mailbox_id(&text).map_err(|what| format!("the id {what}"))?;
                found.id = Some(id);
            }
            "password" | "password_hash" if text.is_empty() => {
                return Err("the password is empty: leave it out for a user without one".to_owned());
            }
            "password" => found.secret = Some(secret(text)?),
            "password_hash" => found.verifier = Some(secret(text)?),
            "user" => user = Some(UserName::new(text).map_err(|error| error.to_string())?),
            _ => {
                return Err(format!(
                    "`{}` is not known: use `backend`, `user`, `password`, `password_hash`, `id` or \
                     `disabled`",
                    key.escape_debug()
                ));
            }
        }
    }
    if user.is_some() && found.user.is_some() {
        return Err("`backend` and `user` both name the user there".to_owned());
    }
    found.user = user.or(found.user);
    Ok(found)
}

fn secret(text: std::borrow::Cow<'_, str>) -> Result<Secret, String> {
    Secret::new(text.into_owned().into_bytes()).map_err(|error| error.to_string())
}

fn toml_answer(text: &str) -> Result<Answer, String> {
    let answer = text.parse::<Answer>();
    answer.map_err(|error| format!("the answer cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(name: &str, text: &[u8]) -> Result<Users, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        let reader = Reader {
            settings: FileSettings::new(&path),
            rules: Rules::default(),
            backends: Arc::new(Backends::default()),
            template: None,
            homes: true,
        };
        reader.read().map_err(|problem| problem.to_string())
    }

    fn shown(users: &Users) -> Vec<String> {
        let line = |(user, found): (&CanonicalUser, &Found)| {
            let secret = found.secret.as_ref().map_or(&b""[..], Secret::reveal);
            let secret = String::from_utf8_lossy(secret);
            let place = found.places.first().unwrap();
            let there = found.user.as_ref().map_or(String::new(), |there| format!("{there}@"));
            format!("{user} {there}{place} {secret}")
        };
        let mut lines: Vec<String> = users.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_text_map_is_read() {
        let users = read("map", b"# all\nuser0:a\nUser1 : b@x:143\n\nuser0: a\n").unwrap();
        assert_eq!(shown(&users), ["user0 a ", "user1 b@x:143 "]);
    }

    #[test]
    fn a_toml_file_is_read() {
        let text = b"[users]\n\"Bob@x\" = \"a\"\n\
            eve = { backend = \"b:143\", user = \"E ve\", password = \"p\\\"w\" }\n\
            [users.\"o'neil\"]\nbackend = \"x@c\"\n";
        let users = read("map.toml", text).unwrap();
        assert_eq!(shown(&users), ["bob@x a ", "eve E ve@b:143 p\"w", "o'neil x@c "]);
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number() {
        let text = b"ok:a\nwrong\n\nok:b\nbob:a b\nx\xff:a\n";
        let told = read("map", text).unwrap_err();
        for part in ["line 2:", "line 4:", "`ok`", "line 5:", "line 6:"] {
            assert!(told.contains(part), "{told}");
        }
        let text = b"[users]\na = 1\n\n\"\" = \"a\"\nc = { user = \"x\" }\nD = \"a\"\nd = \"b\"\n\
            e = { backend = \"x@a\", user = \"y\" }\n[more]\n";
        let told = read("map.toml", text).unwrap_err();
        for line in [2, 4, 5, 7, 8, 9] {
            assert!(told.contains(&format!("line {line}:")), "{line}: {told}");
        }
        assert!(!told.contains("line 6:"), "{told}");
        assert!(read("map.toml", b"[users\n").unwrap_err().contains("line 1:"));
        assert!(read("map.toml", b"\n\xff").unwrap_err().contains("line 2:"));
        let empty =
            read("map.toml", b"[users]\na = { backend = \"a\", password = \"\" }\n").unwrap_err();
        assert!(empty.contains("line 2: the password is empty"), "{empty}");
        let many = read("map", "x\n".repeat(30).as_bytes()).unwrap_err();
        assert!(many.ends_with("; and 10 more"), "{many}");
    }

    #[test]
    fn no_message_tells_a_password() {
        for text in [
            "[users]\nbob = { backend = \"a\", password = 31337 }\n",
            "[users]\nbob = { backend = \"a\", password = \"31337\\u0000\" }\n",
            "[users]\nbob = { backend = \"a\", password = \"31337 }\n",
            "[users]\nbob = { backend = \"a\", password = 31337x }\n",
            "[users]\nbob = { backend = \"a\", passwort = \"31337\" }\n",
            "[users]\nbob = { backend = \"a\", password = \"31337\" }\nBOB = { backend = \"a\", password = \"1\" }\n",
        ] {
            let told = read("map.toml", text.as_bytes()).unwrap_err();
            assert!(!told.contains("31337"), "{told}");
        }
        let users = read("map.toml", b"[users]\nbob = { backend = \"a\", password = \"31337\" }\n");
        assert!(!format!("{users:?}").contains("31337"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_file_makes_the_reader_panic(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            toml in "(\\[users\\]\n)?([a-b\"'={}\\[\\], .\n]|user|backend|password)*",
        ) {
            let _ = read("map", &text);
            let _ = read("map.toml", &text);
            let _ = read("map.toml", toml.as_bytes());
        }
    }
}
