//! Reads the words of a response one after the other.
//!
//! Nothing here knows a response. Each reader says `None` where something else stands; the response is then
//! unreadable.

use std::borrow::Cow;

use super::input::{Literal, Text, run_of};

/// The deepest list that is passed over.
const MAX_DEPTH: usize = 200;

/// The longest announcement of a literal with its line end; its number may have zeros before it.
const MAX_ANNOUNCEMENT: usize = 64;

/// A place in a response.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    text: &'a Text,
    at: usize,
}

/// A string.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Value<'a> {
    Bytes(Cow<'a, [u8]>),
    /// A literal that was passed on, of so many bytes.
    Passed(u64),
}

impl Value<'_> {
    /// The bytes, if they are here.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes.into_owned()),
            Self::Passed(_) => None,
        }
    }
}

impl<'a> Reader<'a> {
    /// At the beginning, behind `skipped` bytes.
    pub(super) fn new(text: &'a Text, skipped: usize) -> Self {
        Self { text, at: skipped }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing follows but spaces: some servers end lines with them.
    pub(super) fn at_end(&self) -> bool {
        self.rest().iter().all(|byte| *byte == b' ')
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// Reads one byte that must be this one.
    pub(super) fn byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads a space, or several as some servers write.
    pub(super) fn space(&mut self) -> Option<()> {
        self.run(|byte| byte == b' ').map(|_| ())
    }

    /// Passes over spaces.
    pub(super) fn spaces(&mut self) {
        self.run(|byte| byte == b' ');
    }

    /// Reads all that is neither space, parenthesis nor quote: flags and names with brackets too.
    pub(super) fn atom(&mut self) -> Option<&'a [u8]> {
        self.run(|byte| !b" ()\"\r\n".contains(&byte))
    }

    /// Reads up to and with this byte.
    pub(super) fn through(&mut self, last: u8) -> Option<&'a [u8]> {
        let rest = self.rest();
        let length = rest.iter().position(|byte| *byte == last)? + 1;
        self.at += length;
        rest.get(..length)
    }

    /// Reads a word and gives it in upper case.
    pub(super) fn word(&mut self) -> Option<Vec<u8>> {
        self.atom().map(<[u8]>::to_ascii_uppercase)
    }

    /// Reads a number.
    pub(super) fn number(&mut self) -> Option<u64> {
        let digits = self.run(|byte| byte.is_ascii_digit())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Reads a number that is no larger than RFC 3501 allows.
    pub(super) fn number32(&mut self) -> Option<u32> {
        self.number().and_then(|number| u32::try_from(number).ok())
    }

    /// Reads a UID or sequence number.
    pub(super) fn positive(&mut self) -> Option<u32> {
        self.number32().filter(|number| *number > 0)
    }

    /// Reads `a,b:c` in its order.
    pub(super) fn runs(&mut self) -> Option<Vec<(u32, u32)>> {
        let mut runs = self.long_runs();
        loop {
            let token = self.run(|byte| byte.is_ascii_digit() || byte == b':')?;
            runs.push(run_of(token)?);
            if self.byte(b',').is_none() {
                return Some(runs);
            }
        }
    }

    /// Reads numbers with spaces between them, as far as they go.
    pub(super) fn numbers(&mut self) -> Option<Vec<(u32, u32)>> {
        let mut runs = self.long_runs();
        self.spaces();
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            let number = self.positive()?;
            runs.push((number, number));
            self.spaces();
        }
        Some(runs)
    }

    /// The numbers that were read before, if they stood here.
    fn long_runs(&self) -> Vec<(u32, u32)> {
        let long = self.text.long.as_ref().filter(|long| long.at == self.at);
        long.map(|long| long.runs.clone()).unwrap_or_default()
    }

    /// Reads a quoted string or a literal.
    pub(super) fn string(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => self.quoted().map(Value::Bytes),
            b'{' | b'~' => self.literal(),
            _ => None,
        }
    }

    /// Reads a string, or NIL, which is `None`.
    pub(super) fn nstring(&mut self) -> Option<Option<Value<'a>>> {
        if matches!(self.peek()?, b'"' | b'{' | b'~') {
            return self.string().map(Some);
        }
        self.nil().map(|()| None)
    }

    /// Reads NIL.
    pub(super) fn nil(&mut self) -> Option<()> {
        let mut ahead = self.clone();
        let is_nil = ahead.atom()?.eq_ignore_ascii_case(b"NIL");
        is_nil.then(|| *self = ahead)
    }

    /// Reads a string or an atom (RFC 3501 section 9, `astring`).
    pub(super) fn astring(&mut self) -> Option<Vec<u8>> {
        match self.peek()? {
            b'"' | b'{' => self.string()?.into_bytes(),
            _ => self.atom().map(<[u8]>::to_vec),
        }
    }

    /// Reads a parenthesised list, whose items `item` reads.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.byte(b'(')?;
        let mut items = Vec::new();
        loop {
            self.spaces();
            if self.byte(b')').is_some() {
                return Some(items);
            }
            items.push(item(self)?);
        }
    }

    /// Passes over a value: an atom, a string, or a list with anything in it.
    pub(super) fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'(' => {
                    depth = Some(depth + 1).filter(|depth| *depth <= MAX_DEPTH)?;
                    self.at += 1;
                }
                b')' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b'"' => drop(self.quoted()?),
                b' ' => self.spaces(),
                b'{' | b'~' => match self.literal() {
                    Some(_) => {}
                    None => drop(self.atom()?),
                },
                _ => drop(self.atom()?),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// RFC 3501 section 9, `quoted`; with any byte in it, and a backslash that escapes nothing left out only
    /// before what it can escape, for servers forget to write two.
    fn quoted(&mut self) -> Option<Cow<'a, [u8]>> {
        let inside = self.rest().strip_prefix(b"\"")?;
        let plain = inside.iter().take_while(|byte| !b"\"\\".contains(byte)).count();
        if inside.get(plain) == Some(&b'"') {
            self.at += plain + 2;
            return inside.get(..plain).map(Cow::Borrowed);
        }
        let mut text = Vec::new();
        let mut bytes = inside.iter().copied().enumerate().peekable();
        loop {
            match bytes.next()? {
                (end, b'"') => {
                    self.at += end + 2;
                    return Some(Cow::Owned(text));
                }
                (_, b'\\') => match bytes.next_if(|(_, byte)| b"\"\\".contains(byte)) {
                    Some((_, escaped)) => text.push(escaped),
                    None => text.push(b'\\'),
                },
                (_, byte) => text.push(byte),
            }
        }
    }

    fn literal(&mut self) -> Option<Value<'a>> {
        // No announcement is longer, and nobody makes us look through the rest for each brace.
        let line_end = self.rest().iter().take(MAX_ANNOUNCEMENT).position(|byte| *byte == b'\n')?;
        let start = self.at + line_end + 1;
        let found = |literal: &&Literal| literal.start == start;
        let literal = self.text.literals.iter().find(found)?;
        self.at = start;
        if !literal.kept {
            return Some(Value::Passed(literal.size));
        }
        let size = usize::try_from(literal.size).ok()?;
        let bytes = self.text.bytes.get(start..start.checked_add(size)?)?;
        self.at += size;
        Some(Value::Bytes(Cow::Borrowed(bytes)))
    }

    fn run(&mut self, fits: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| fits(**byte)).count();
        self.at += length;
        rest.get(..length).filter(|run| !run.is_empty())
    }
}
