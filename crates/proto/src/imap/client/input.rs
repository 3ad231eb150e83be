//! Where responses begin and end, and which bytes are a body's.
//!
//! Nothing here knows what a response means, but for three things: which literals are passed on in pieces
//! (sections in FETCH), which responses may be longer than memory should be (long lists of numbers, which
//! become ranges as they come), and that the text of a status response announces nothing.

use super::super::responses::has_literals;
use super::super::syntax::{Announcement, announcement};
use crate::buffer::{Line, first_line};

/// The most text and kept literals of one response. A thousand keywords of 200 bytes are a fifth of it.
const MAX_TEXT: usize = 1 << 20;
/// The most literals of one response.
const MAX_LITERALS: usize = 1000;
/// From this length on a list of numbers is read as it comes.
const LONG: usize = 64 * 1024;
/// The most runs in one list: 32 MiB.
const MAX_RUNS: usize = 4 << 20;

/// Bytes from a server, and the response that they are in.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// How many of `bytes` have been read.
    read: usize,
    /// The response so far.
    text: Text,
    state: State,
}

/// What the next bytes are.
#[derive(Debug, Default)]
enum State {
    /// Text up to a line end.
    #[default]
    Line,
    /// So many bytes of a literal that is kept.
    Kept(usize),
    /// So many bytes of a literal that is passed on.
    Passed(u64),
}

/// A response without its last line end.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Text {
    /// Text and kept literals as they came; line ends before literals are in it.
    pub(super) bytes: Vec<u8>,
    pub(super) literals: Vec<Literal>,
    /// Numbers that have been read already.
    pub(super) long: Option<Long>,
}

/// A literal of a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Literal {
    /// Where its bytes stand, or would stand.
    pub(super) start: usize,
    pub(super) size: u64,
    /// Whether its bytes are there; if not, they were passed on.
    pub(super) kept: bool,
}

/// The beginning of a long list of numbers.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Long {
    /// Where it stood in the text.
    pub(super) at: usize,
    pub(super) runs: Vec<(u32, u32)>,
}

/// What comes next.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// More bytes are needed.
    Incomplete,
    /// A literal is going to be passed on: what it is stands in [`Input::text`], whose last literal it is.
    Passing,
    /// Bytes of that literal; not empty.
    Piece(Vec<u8>),
    /// A response has ended.
    Response(Text),
    /// The response is longer than any may be.
    TooMuch,
}

impl Input {
    pub(super) fn receive(&mut self, new: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(new);
    }

    /// The response so far.
    pub(super) fn text(&self) -> &Text {
        &self.text
    }

    /// Takes what has not been read.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.read.min(self.bytes.len()));
        self.bytes.clear();
        self.read = 0;
        rest
    }

    pub(super) fn next(&mut self) -> Next {
        loop {
            match self.state {
                State::Line => {
                    if let Some(next) = self.line() {
                        return next;
                    }
                }
                State::Kept(left) => {
                    let bytes = unread(&self.bytes, self.read);
                    let count = left.min(bytes.len());
                    self.text.bytes.extend(bytes.iter().take(count));
                    self.read += count;
                    if count < left {
                        self.state = State::Kept(left - count);
                        return Next::Incomplete;
                    }
                    self.state = State::Line;
                }
                State::Passed(0) => self.state = State::Line,
                State::Passed(left) => return self.pass(left),
            }
        }
    }

    fn pass(&mut self, left: u64) -> Next {
        let bytes = unread(&self.bytes, self.read);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let piece: Vec<u8> = bytes.get(..count).unwrap_or_default().to_vec();
        self.read += count;
        self.state = State::Passed(left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)));
        if piece.is_empty() { Next::Incomplete } else { Next::Piece(piece) }
    }

    /// Reads a line; `None` if there is more to be read at once.
    fn line(&mut self) -> Option<Next> {
        let limit = MAX_TEXT.saturating_sub(self.text.bytes.len());
        let bytes = unread(&self.bytes, self.read);
        let (length, whole) = match first_line(bytes, limit) {
            Line::Whole { text, whole } => (text, whole),
            Line::Incomplete if bytes.len() < LONG => return Some(Next::Incomplete),
            Line::Incomplete => return Some(self.digest()),
            // What came at once may be longer than what would have been digested in pieces.
            Line::TooLong => {
                let digested = self.digest() == Next::Incomplete && self.has_room();
                return (!digested).then_some(Next::TooMuch);
            }
        };
        self.read += whole;
        let (line, end) = bytes.get(..whole)?.split_at_checked(length)?;
        self.text.bytes.extend_from_slice(line);
        let literal = match announcement(line) {
            Announcement::Literal(literal) if has_literals(&self.text.bytes) => literal,
            _ => return Some(Next::Response(std::mem::take(&mut self.text))),
        };
        let kept = !is_section(&self.text);
        self.text.bytes.extend_from_slice(end);
        let start = self.text.bytes.len();
        let size = u64::try_from(literal.size).unwrap_or(u64::MAX);
        self.text.literals.push(Literal { start, size, kept });
        if self.text.literals.len() > MAX_LITERALS {
            return Some(Next::TooMuch);
        }
        if !kept {
            self.state = State::Passed(size);
            return Some(Next::Passing);
        }
        self.state = State::Kept(literal.size);
        (start.saturating_add(literal.size) > MAX_TEXT).then_some(Next::TooMuch)
    }

    /// Whether the line that did not fit before can fit now.
    fn has_room(&self) -> bool {
        let bytes = unread(&self.bytes, self.read);
        let limit = MAX_TEXT.saturating_sub(self.text.bytes.len());
        first_line(bytes, limit) != Line::TooLong
    }

    /// Reads as many numbers as have come of a long list.
    fn digest(&mut self) -> Next {
        let bytes = unread(&self.bytes, self.read);
        if self.text.long.is_none() {
            let Some(at) = list_of_numbers(bytes).filter(|_| self.text.bytes.is_empty()) else {
                return Next::Incomplete;
            };
            self.text.bytes.extend(bytes.iter().take(at));
            self.text.long = Some(Long { at, runs: Vec::new() });
            self.read += at;
        }
        let Some(long) = &mut self.text.long else {
            return Next::Incomplete;
        };
        let separator = if has_prefix(&self.text.bytes, b"* SEARCH ") { b' ' } else { b',' };
        let bytes = unread(&self.bytes, self.read);
        for token in bytes.split_inclusive(|byte| *byte == separator) {
            let Some((last, number)) = token.split_last().filter(|(last, _)| **last == separator)
            else {
                break;
            };
            match run_of(number) {
                Some(_) if long.runs.len() == MAX_RUNS => return Next::TooMuch,
                Some(run) => long.runs.push(run),
                None if number.is_empty() && *last == b' ' => {}
                None => break,
            }
            self.read += token.len();
        }
        Next::Incomplete
    }
}

fn unread(bytes: &[u8], read: usize) -> &[u8] {
    bytes.get(read..).unwrap_or_default()
}

fn has_prefix(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Where the numbers begin in a response that is little else.
fn list_of_numbers(bytes: &[u8]) -> Option<usize> {
    for prefix in [&b"* SEARCH "[..], b"* VANISHED (EARLIER) ", b"* VANISHED "] {
        if has_prefix(bytes, prefix) {
            return Some(prefix.len());
        }
    }
    if !has_prefix(bytes, b"* ESEARCH ") {
        return None;
    }
    let head = bytes.get(..256).unwrap_or(bytes);
    let all = head.windows(5).position(|word| word.eq_ignore_ascii_case(b" ALL "))?;
    Some(all + 5)
}

/// `n` or `n:m`.
pub(super) fn run_of(token: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(token).ok()?;
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u32>().ok().filter(|number| *number > 0) } else { None }
    };
    match text.split_once(':') {
        Some((first, last)) => Some((number(first)?, number(last)?)),
        None => number(text).map(|number| (number, number)),
    }
}

/// Whether the literal that a text ends with is a section of a FETCH response: an item of its list, behind the
/// name of a section.
fn is_section(text: &Text) -> bool {
    let mut words = text.bytes.splitn(4, |byte| *byte == b' ');
    if !words.nth(2).is_some_and(|word| word.eq_ignore_ascii_case(b"FETCH")) {
        return false;
    }
    let announced = text.bytes.iter().rposition(|byte| *byte == b'{').unwrap_or_default();
    let before = text.bytes.get(..announced).unwrap_or_default();
    let before = before.strip_suffix(b"~").unwrap_or(before).trim_ascii_end();
    let name = before.rsplit(|byte| b" (".contains(byte)).next().unwrap_or_default();
    let is_name = name.ends_with(b"]")
        || name.ends_with(b">")
        || [&b"RFC822"[..], b"RFC822.HEADER", b"RFC822.TEXT"]
            .iter()
            .any(|section| name.eq_ignore_ascii_case(section));
    is_name && depth(text) == Some(1)
}

/// How many parentheses are open at the end of a text; `None` within a quoted string.
fn depth(text: &Text) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut literals = text.literals.iter().filter(|literal| literal.kept).peekable();
    let mut at = 0;
    while let Some(byte) = text.bytes.get(at) {
        if let Some(literal) = literals.next_if(|literal| literal.start == at) {
            at += usize::try_from(literal.size).unwrap_or(usize::MAX - at);
            continue;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    (!quoted).then_some(depth)
}

#[cfg(test)]
mod tests;
