//! Commands as trees of words.
//! Nothing here knows a command.

use std::mem;

/// A word of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Arg {
    Atom(Vec<u8>),
    List(Vec<Self>),
    /// A quoted string or a literal.
    Text(Vec<u8>),
}

impl Arg {
    /// The bytes of a word that is no list.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Atom(bytes) | Self::Text(bytes) => bytes,
            Self::List(_) => b"",
        }
    }

    /// A word as text, in upper case.
    pub(super) fn upper(&self) -> String {
        String::from_utf8_lossy(self.bytes()).to_ascii_uppercase()
    }

    /// A word as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The words of a list; of anything else, itself.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            other => std::slice::from_ref(other),
        }
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }
}

/// A literal at the end of a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Announced {
    pub(super) size: usize,
    pub(super) waits: bool,
}

/// Puts a command together from lines and literals.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// The words of the lists that are open, the command's own first.
    open: Vec<Vec<Arg>>,
}

impl Assembly {
    pub(super) fn new() -> Self {
        Self { open: vec![Vec::new()] }
    }

    /// Takes a line; says which literal it announces. An error is the line's fault.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<Announced>, String> {
        let announced = announced(line);
        let end = match announced {
            Some(_) => line.iter().rposition(|byte| *byte == b'{').unwrap_or(line.len()),
            None => line.len(),
        };
        let text = line.get(..end).unwrap_or(line);
        let mut rest =
            if announced.is_some() { text.strip_suffix(b"~").unwrap_or(text) } else { text };
        while let Some(first) = rest.first() {
            rest = match first {
                b' ' => rest.get(1..).unwrap_or_default(),
                b'(' => {
                    self.open.push(Vec::new());
                    rest.get(1..).unwrap_or_default()
                }
                b')' => {
                    let items = self.open.pop().filter(|_| !self.open.is_empty());
                    self.push(Arg::List(items.ok_or("a parenthesis too many")?));
                    rest.get(1..).unwrap_or_default()
                }
                b'"' => self.quoted(rest)?,
                _ => self.atom(rest),
            };
        }
        Ok(announced)
    }

    /// Takes the literal that was announced.
    pub(super) fn literal(&mut self, bytes: Vec<u8>) {
        self.push(Arg::Text(bytes));
    }

    /// What has come so far, on the outermost level.
    pub(super) fn so_far(&self) -> &[Arg] {
        self.open.first().map_or(&[], Vec::as_slice)
    }

    /// The whole command.
    pub(super) fn finish(mut self) -> Result<Vec<Arg>, String> {
        if self.open.len() != 1 {
            return Err("a parenthesis is missing".to_owned());
        }
        Ok(self.open.pop().unwrap_or_default())
    }

    fn push(&mut self, arg: Arg) {
        if let Some(list) = self.open.last_mut() {
            list.push(arg);
        }
    }

    fn quoted<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], String> {
        let (mut text, mut at) = (Vec::new(), 1);
        loop {
            match rest.get(at) {
                None => return Err("a quote is missing".to_owned()),
                Some(b'"') => break,
                Some(b'\\') => {
                    at += 1;
                    text.extend(rest.get(at));
                }
                Some(byte) => text.push(*byte),
            }
            at += 1;
        }
        self.push(Arg::Text(text));
        Ok(rest.get(at + 1..).unwrap_or_default())
    }

    /// An atom; what is in brackets belongs to it, spaces and parentheses as well.
    fn atom<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let mut inside = false;
        let end = rest.iter().position(|byte| {
            match byte {
                b'[' => inside = true,
                b']' => inside = false,
                _ => {}
            }
            !inside && b" ()\"".contains(byte)
        });
        let (atom, rest) = rest.split_at(end.unwrap_or(rest.len()));
        self.push(Arg::Atom(atom.to_vec()));
        rest
    }
}

fn announced(line: &[u8]) -> Option<Announced> {
    let inside = line.strip_suffix(b"}")?;
    let start = inside.iter().rposition(|byte| *byte == b'{')?;
    let number = std::str::from_utf8(inside.get(start + 1..)?).ok()?;
    let (number, waits) = match number.strip_suffix('+') {
        Some(number) => (number, false),
        None => (number, true),
    };
    Some(Announced { size: number.parse().ok()?, waits })
}

/// Numbers of a set such as `1:3,7,9:*`; `*` is the highest of `all`, which ascends.
pub(super) fn set(text: &str, all: &[u32]) -> Option<Vec<u32>> {
    let highest = all.last().copied().unwrap_or_default();
    let number = |text: &str| if text == "*" { Some(highest) } else { text.parse().ok() };
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let (mut first, mut last): (u32, u32) = (number(first)?, number(last)?);
        if first > last {
            mem::swap(&mut first, &mut last);
        }
        ranges.push(first..=last);
    }
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut found: Vec<u32> = Vec::new();
    for range in ranges {
        let start = all.partition_point(|number| number < range.start());
        let within = all.get(start..).unwrap_or_default().iter();
        found.extend(within.take_while(|number| *number <= range.end()));
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Numbers as a set.
pub(super) fn as_set(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let show = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}:{last}") }
    };
    runs.iter().map(show).collect::<Vec<_>>().join(",")
}
