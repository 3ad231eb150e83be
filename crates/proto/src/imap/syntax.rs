//! IMAP's framing and its smallest words (RFC 3501 section 4 and 9, RFC 7888, RFC 3516).
//!
//! Nothing here knows a command. Whoever frames a command with this module never mistakes the bytes of
//! a literal for a command, and whoever reads arguments with it never un-escapes a literal.

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use crate::buffer::{Buffer, Line, first_line};

/// A literal that the end of a line announces: `{n}`, `{n+}`, `~{n}`, `~{n+}`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Announced {
    /// Its bytes; `usize::MAX` if the number is larger than that.
    pub(crate) size: usize,
    /// Whether the sender waits for our word before it sends the literal.
    pub(crate) synchronizing: bool,
}

/// What stands at the beginning of unread bytes.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Framed {
    /// A line ended and announces a literal. Either [`Framer::accept`] follows, or [`Framer::take`]
    /// ends the command there.
    Announced(Announced),
    /// More bytes are needed.
    Incomplete,
    /// The text outside literals is longer than allowed.
    LineTooLong,
    /// A line ends like a non-synchronizing literal where no literal can be: nobody can say whether
    /// the next bytes are a command.
    Misplaced,
    /// A line ended and with it the command: [`Framer::take`] follows.
    Whole,
}

/// Where the parts of one command or response are, as far as its bytes have come.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// Where the text begins that has not been looked at.
    next: usize,
    /// Where the last line that was looked at ends, without and with its line end.
    line_end: usize,
    whole_end: usize,
    /// Bytes of text so far, outside literals.
    text: usize,
    /// Where the literals' bytes are.
    literals: Vec<Range<usize>>,
}

impl Framer {
    /// Looks at the next line of the command that `unread` begins with. The text of all its lines
    /// together may have `limit` bytes.
    pub(crate) fn next(&mut self, unread: &[u8], limit: usize) -> Framed {
        let Some(rest) = unread.get(self.next..) else {
            return Framed::Incomplete;
        };
        let (text, whole) = match first_line(rest, limit.saturating_sub(self.text)) {
            Line::Incomplete => return Framed::Incomplete,
            Line::TooLong => return Framed::LineTooLong,
            Line::Whole { text, whole } => (text, whole),
        };
        self.line_end = self.next + text;
        self.whole_end = self.next + whole;
        self.text += text;
        match announcement(rest.get(..text).unwrap_or_default()) {
            Announcement::Literal(literal) => Framed::Announced(literal),
            Announcement::Misplaced => Framed::Misplaced,
            Announcement::None => Framed::Whole,
        }
    }

    /// Goes on behind a literal of `size` bytes that the last line announced.
    pub(crate) fn accept(&mut self, size: usize) {
        let end = self.whole_end.saturating_add(size);
        self.literals.push(self.whole_end..end);
        self.next = end;
    }

    /// Bytes in the literals so far.
    pub(crate) fn in_literals(&self) -> usize {
        self.literals.iter().map(ExactSizeIterator::len).sum()
    }

    /// The text of the command up to the end of the last line.
    pub(crate) fn so_far<'a>(&self, unread: &'a [u8]) -> &'a [u8] {
        unread.get(..self.line_end).unwrap_or(unread)
    }

    /// Takes everything up to the end of the last line out of the buffer, line end included.
    pub(crate) fn take_whole(&mut self, buffer: &mut Buffer) -> Zeroizing<Vec<u8>> {
        let framer = std::mem::take(self);
        buffer.take(framer.whole_end)
    }

    /// Takes the command out of the buffer, up to the end of the last line.
    pub(crate) fn take(&mut self, buffer: &mut Buffer) -> Command {
        let framer = std::mem::take(self);
        let bytes = buffer.take_line(framer.line_end, framer.whole_end);
        Command { bytes, literals: framer.literals }
    }
}

/// What the end of a line announces.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Announcement {
    Literal(Announced),
    Misplaced,
    None,
}

/// What the end of a line announces.
pub(super) fn announcement(line: &[u8]) -> Announcement {
    let Some(inside) = line.strip_suffix(b"}") else {
        return Announcement::None;
    };
    let (inside, synchronizing) = match inside.strip_suffix(b"+") {
        Some(inside) => (inside, false),
        None => (inside, true),
    };
    let digits = inside.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = inside.split_at(inside.len() - digits);
    let (Some(before), false) = (before.strip_suffix(b"{"), digits.is_empty()) else {
        return Announcement::None;
    };
    let before = before.strip_suffix(b"~").unwrap_or(before);
    if !matches!(before.last(), Some(b' ' | b'(')) {
        return if synchronizing { Announcement::None } else { Announcement::Misplaced };
    }
    Announcement::Literal(Announced { size: number(digits), synchronizing })
}

/// Reads digits; what is too large is the largest number.
fn number(digits: &[u8]) -> usize {
    let add = |sum: usize, digit: &u8| {
        sum.saturating_mul(10).saturating_add(usize::from(digit.wrapping_sub(b'0')))
    };
    digits.iter().fold(0, add)
}

/// A whole command or response without its last line end, or what there is of one.
pub(crate) struct Command {
    bytes: Zeroizing<Vec<u8>>,
    literals: Vec<Range<usize>>,
}

impl Command {
    /// A reader at the beginning.
    pub(crate) fn words(&self) -> Words<'_> {
        Words { bytes: &self.bytes, literals: &self.literals, at: 0 }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({} bytes)", self.bytes.len())
    }
}

/// Reads the words of a command one after the other. Each reader says `None` where something else
/// stands; the command is then to be refused as a whole.
#[derive(Clone)]
pub(crate) struct Words<'a> {
    bytes: &'a [u8],
    literals: &'a [Range<usize>],
    at: usize,
}

impl<'a> Words<'a> {
    /// A reader of a text in which there is no literal.
    pub(crate) fn of_text(bytes: &'a [u8]) -> Self {
        Self { bytes, literals: &[], at: 0 }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing follows but spaces.
    pub(crate) fn at_end(&self) -> bool {
        self.rest().iter().all(|byte| *byte == b' ')
    }

    /// Reads one byte that must be this one.
    pub(crate) fn byte(&mut self, byte: u8) -> Option<()> {
        (self.rest().first() == Some(&byte)).then(|| self.at += 1)
    }

    /// Reads a tag (RFC 3501 section 9: any ASTRING-CHAR but `+`).
    pub(crate) fn tag(&mut self) -> Option<&'a [u8]> {
        self.run(|byte| is_atom_byte(byte) && !b"+%*\\".contains(&byte))
    }

    /// Reads an atom. `%`, `*`, `\` and `]` are let through as all servers do: clients send names of
    /// the form `user*master` and `DOMAIN\user` without quotes.
    pub(crate) fn atom(&mut self) -> Option<&'a [u8]> {
        self.run(is_atom_byte)
    }

    /// Reads an atom, a quoted string or a literal (RFC 3501 section 9, `astring`).
    pub(crate) fn astring(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        match self.rest().first()? {
            b'"' => self.quoted(),
            b'{' => self.literal(),
            _ => self.atom().map(|atom| Zeroizing::new(atom.to_vec())),
        }
    }

    /// Reads `NIL` or a parenthesised list of strings and `NIL`s, as ID has it (RFC 2971).
    pub(crate) fn strings_or_nil(&mut self) -> Option<Vec<Option<Zeroizing<Vec<u8>>>>> {
        let mut strings = Vec::new();
        if self.byte(b'(').is_none() {
            return self.nil().map(|()| strings);
        }
        if self.byte(b')').is_some() {
            return Some(strings);
        }
        loop {
            strings.push(match self.rest().first()? {
                b'"' => Some(self.quoted()?),
                b'{' => Some(self.literal()?),
                _ => self.nil().map(|()| None)?,
            });
            if self.byte(b')').is_some() {
                return Some(strings);
            }
            self.byte(b' ')?;
        }
    }

    fn nil(&mut self) -> Option<()> {
        self.atom()?.eq_ignore_ascii_case(b"NIL").then_some(())
    }

    /// RFC 3501 section 9, `quoted`, with bytes above 127 let through: RFC 9051 allows UTF-8 there.
    fn quoted(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let inside = self.rest().strip_prefix(b"\"")?;
        let mut text = Zeroizing::new(Vec::with_capacity(inside.len()));
        let mut bytes = inside.iter().enumerate();
        loop {
            match bytes.next()? {
                (end, b'"') => {
                    self.at += end + 2;
                    return Some(text);
                }
                (_, b'\\') => match bytes.next()? {
                    (_, escaped @ (b'"' | b'\\')) => text.push(*escaped),
                    _ => return None,
                },
                (_, b'\r' | b'\n' | 0) => return None,
                (_, byte) => text.push(*byte),
            }
        }
    }

    fn literal(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let line_end = self.rest().iter().position(|byte| *byte == b'\n')?;
        let start = self.at + line_end + 1;
        let range = self.literals.iter().find(|range| range.start == start)?;
        self.at = range.end;
        self.bytes.get(range.clone()).map(|bytes| Zeroizing::new(bytes.to_vec()))
    }

    fn run(&mut self, fits: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| fits(**byte)).count();
        self.at += length;
        rest.get(..length).filter(|run| !run.is_empty())
    }
}

fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(){\"".contains(&byte)
}

/// The kinds of literals that a peer takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Literals {
    /// LITERAL-: without waiting up to 4096 bytes (RFC 7888 section 5).
    Minus,
    /// LITERAL+: without waiting.
    Plus,
    /// Only with waiting.
    Synchronizing,
}

/// The longest quoted string that we write. Servers that read lines into fixed buffers have been seen
/// with 1024 bytes; literals have no such limit.
const MAX_QUOTED: usize = 512;

/// Writes a string in the form that fits: quoted, else as a literal. Returns whether the literal's own
/// bytes have to wait for the peer's word; they have then not been written.
pub(crate) fn write_string(out: &mut Vec<u8>, bytes: &[u8], literals: Literals) -> bool {
    if bytes.len() <= MAX_QUOTED && bytes.iter().all(|byte| is_quotable(*byte)) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
        return false;
    }
    let waits = match literals {
        Literals::Minus => bytes.len() > 4096,
        Literals::Plus => false,
        Literals::Synchronizing => true,
    };
    let plus = if waits { "" } else { "+" };
    out.extend_from_slice(format!("{{{}{plus}}}\r\n", bytes.len()).as_bytes());
    if !waits {
        out.extend_from_slice(bytes);
    }
    waits
}

/// Whether a byte can stand in a quoted string as it is. `"` and `\` could be escaped, but not every
/// server un-escapes.
fn is_quotable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte)
}

#[cfg(test)]
mod tests;
