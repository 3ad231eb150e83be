//! Reads user maps line by line: the classic `user: [user@]host[:port]` and comma-separated values.
//!
//! Nothing here opens a file or knows a back end.

use std::{
    fmt,
    io::{self, BufRead},
    iter::Peekable,
    str::Chars,
};

use model::UserName;

use crate::Answer;

/// The longest line in bytes: four user names of full length fit.
const LINE_BYTES: usize = 2048;

/// What is wrong with one line of a map.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LineProblem {
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Tells in which line of a text something stands. Places that follow each other are counted on, so that many of them
/// take no longer than one.
pub(crate) struct LineCount<'t> {
    text: &'t [u8],
    counted: usize,
    line: u64,
}

impl<'t> LineCount<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        Self { text, counted: 0, line: 1 }
    }

    /// The line, from 1, of what begins at this byte.
    pub(crate) fn at(&mut self, offset: usize) -> u64 {
        if offset < self.counted {
            *self = Self::new(self.text);
        }
        let part = self.text.get(self.counted..offset).unwrap_or_default();
        self.line = part.iter().fold(self.line, |line, byte| line + u64::from(*byte == b'\n'));
        self.counted = offset;
        self.line
    }
}

/// Why a line says nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("the answer cannot be used: {0}")]
    Answer(#[from] crate::InvalidAnswer),
    #[error("{0}")]
    BadName(#[from] crate::BadName),
    #[error("a `\\` at the end has nothing to escape")]
    EscapeAtEnd,
    #[error(
        "expected 2 to {most} fields, found {found}: user,backend[,user_there[,password]], or those that the \
         first line names"
    )]
    Columns {
        /// How many there are.
        found: usize,
        /// How many there can be.
        most: usize,
    },
    #[error("whether he may log in is said by `true` or `false`")]
    Flag,
    #[error("what the password is compared with cannot be used: {0}")]
    Hash(#[from] crate::passwords::Unusable),
    #[error("the id {0}")]
    Id(&'static str),
    #[error("the line is longer than {LINE_BYTES} bytes")]
    Long,
    #[error("the name cannot be used: {0}")]
    Name(#[from] model::InvalidUserName),
    #[error("there is no `:` between the user and the place")]
    NoColon,
    #[error("the password cannot be used: {0}")]
    Password(#[from] model::InvalidSecret),
    #[error("the line is not UTF-8")]
    NotUtf8,
    #[error("there are other characters between a quoted name and what has to follow")]
    Quoted,
    #[error("a quotation mark is not closed")]
    Unclosed,
}

/// One user of a map: his name as written there, and where he is.
pub(crate) type Entry = (UserName, Answer);

/// Splits an input into numbered lines, none longer than [`LINE_BYTES`].
pub(crate) struct Lines<'a> {
    input: &'a mut dyn BufRead,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(input: &'a mut dyn BufRead) -> Self {
        Self { input, number: 0 }
    }

    /// How many lines were read.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line without its end, or none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<String, Wrong>>> {
        let mut line = Vec::new();
        let mut any = false;
        let mut long = false;
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let (part, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => (buffer.split_at(end).0, true),
                None => (buffer, false),
            };
            long |= line.len() + part.len() > LINE_BYTES;
            if !long {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(ended);
            self.input.consume(used);
            if ended {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(self.text(line, long)))
    }

    fn text(&self, line: Vec<u8>, long: bool) -> Result<String, Wrong> {
        if long {
            return Err(Wrong::Long);
        }
        let mut text = String::from_utf8(line).map_err(|_| Wrong::NotUtf8)?;
        if text.ends_with('\r') {
            text.pop();
        }
        // Some editors begin a file with a byte order mark.
        if self.number == 1 && text.starts_with('\u{feff}') {
            text.remove(0);
        }
        Ok(text)
    }
}

/// Reads a line of a text map: `user: [user@]host[:port]`.
///
/// The user ends at the first colon; with quotation marks around it he may hold colons. A backslash
/// takes the character behind it as it is. A `#` at the begin of a line, or behind white space after
/// the colon, begins a comment.
pub(crate) fn map_entry(line: &str) -> Result<Option<Entry>, Wrong> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut rest = line.chars().peekable();
    let name = match rest.next_if_eq(&'"') {
        Some(_) => {
            let name = take_until(&mut rest, |c| c == '"')?.ok_or(Wrong::Unclosed)?;
            let between = take_until(&mut rest, |c| c == ':')?.ok_or(Wrong::NoColon)?;
            if !between.trim().is_empty() {
                return Err(Wrong::Quoted);
            }
            name
        }
        None => take_until(&mut rest, |c| c == ':')?.ok_or(Wrong::NoColon)?.trim().to_owned(),
    };
    let mut answer = String::new();
    let mut spaced = false;
    while let Some(c) = rest.next() {
        match c {
            '#' if spaced => break,
            '\\' => answer.push(rest.next().ok_or(Wrong::EscapeAtEnd)?),
            c => answer.push(c),
        }
        spaced = c.is_whitespace();
    }
    Ok(Some((UserName::new(name)?, answer.trim().parse()?)))
}

/// Takes characters up to one that stops, which is dropped; none if nothing stops.
fn take_until(
    rest: &mut Peekable<Chars<'_>>,
    stops: impl Fn(char) -> bool,
) -> Result<Option<String>, Wrong> {
    let mut taken = String::new();
    while let Some(c) = rest.next() {
        match c {
            c if stops(c) => return Ok(Some(taken)),
            '\\' => taken.push(rest.next().ok_or(Wrong::EscapeAtEnd)?),
            c => taken.push(c),
        }
    }
    Ok(None)
}

/// Splits a line of comma-separated values (RFC 4180, without line ends in fields).
pub(crate) fn csv_fields(line: &str) -> Result<Vec<String>, Wrong> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => csv_quoted(quoted)?,
            None => match rest.split_once(',') {
                Some((field, after)) => (field.trim().to_owned(), Some(after)),
                None => (rest.trim().to_owned(), None),
            },
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A quoted field, from behind its opening mark, and what is behind its comma.
fn csv_quoted(quoted: &str) -> Result<(String, Option<&str>), Wrong> {
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"').ok_or(Wrong::Unclosed)?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => {
                let after = after.trim();
                return match after.strip_prefix(',') {
                    Some(next) => Ok((field, Some(next))),
                    None if after.is_empty() => Ok((field, None)),
                    None => Err(Wrong::Quoted),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(line: &str) -> Option<(String, String)> {
        let entry = map_entry(line).unwrap();
        entry.map(|(name, answer)| (name.to_string(), answer.to_string()))
    }

    fn pair(name: &str, answer: &str) -> Option<(String, String)> {
        Some((name.to_owned(), answer.to_owned()))
    }

    #[test]
    fn lines_are_counted_from_the_begin_wherever_one_looked_before() {
        let mut lines = LineCount::new(b"a\nb\n\nc");
        for (offset, line) in [(0, 1), (2, 2), (2, 2), (5, 4), (4, 3), (1, 1), (6, 4), (6, 4)] {
            assert_eq!(lines.at(offset), line, "{offset}");
        }
    }

    #[test]
    fn a_map_line_is_split_at_its_first_colon() {
        for (line, name, answer) in [
            ("user0:a", "user0", "a"),
            (" bob smith : b@x@mail.example.org:1143 ", "bob smith", "b@x@mail.example.org:1143"),
            ("\"a:b \\\"c\\\" \" : [2001:db8::1]:143", "a:b \"c\" ", "[2001:db8::1]:143"),
            (r"a\:b\\c:host", r"a:b\c", "host"),
            ("o'neil: host # moved", "o'neil", "host"),
            ("bob: x#y@host", "bob", "x#y@host"),
            ("bob: x \\#y@host", "bob", "x #y@host"),
            ("bob#1: host", "bob#1", "host"),
        ] {
            assert_eq!(map(line), pair(name, answer), "{line}");
        }
        for line in ["", "  \t", "# a: b", "  #"] {
            assert_eq!(map(line), None, "{line}");
        }
    }

    #[test]
    fn a_map_line_that_says_nothing_is_wrong() {
        for line in [
            "bob",
            ": host",
            "bob:",
            "bob: # host",
            "bob: a b",
            "bob: host:0",
            "\"bob: host",
            "\"bob\" x: host",
            "\"bob\"",
            "bob: host\\",
            "bob\\",
            "b\u{7f}b: host",
            "bob: x@",
        ] {
            assert!(map_entry(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lines_are_numbered_and_bounded() {
        let long = "x".repeat(LINE_BYTES + 1);
        let text = format!("\u{feff}a\r\n{long}\n\n\u{feff}b");
        let mut input = io::BufReader::with_capacity(7, text.as_bytes());
        let mut lines = Lines::new(&mut input);
        assert_eq!(lines.next().unwrap(), Some(Ok("a".to_owned())));
        assert_eq!(lines.next().unwrap(), Some(Err(Wrong::Long)));
        assert_eq!(lines.next().unwrap(), Some(Ok(String::new())));
        assert_eq!(lines.next().unwrap(), Some(Ok("\u{feff}b".to_owned())));
        assert_eq!(lines.number(), 4);
        assert_eq!(lines.next().unwrap(), None);
        let mut input: &[u8] = b"\xff\n";
        assert_eq!(Lines::new(&mut input).next().unwrap(), Some(Err(Wrong::NotUtf8)));
    }

    proptest! {
        #[test]
        fn no_line_makes_a_reader_panic(line in "([\\PC]|[:\"\\\\#, ])*") {
            let _ = map_entry(&line);
            let _ = csv_fields(&line);
        }

        #[test]
        fn any_name_can_be_written_quoted(name in "\\PC{1,40}") {
            let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(map(&format!("\"{escaped}\": a")), pair(&name, "a"));
            let doubled = name.replace('"', "\"\"");
            let fields = csv_fields(&format!("\"{doubled}\",a")).unwrap();
            prop_assert_eq!(fields, [name.as_str(), "a"]);
        }
    }
}
