//! Follows what a back end sends: where each response begins and ends.
//!
//! Nothing here knows what the client sends, but for the tags that wait.

use memchr::{memchr, memchr_iter, memrchr};

use super::flight::Flight;
use super::literal::{Announced, Tail};
use super::response::{self, Condition, Head, LONGEST_HEAD};
use super::strike::Strike;
use crate::relay::Lost;

/// Where the back end's bytes stand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    /// Where a response may begin.
    #[default]
    Start,
    /// Within a line whose beginning is in `head` and cannot be told yet.
    Head,
    /// Within a line of untagged data, which may announce a literal.
    Data,
    /// Within a literal: so many bytes are to come.
    Literal(u64),
    /// Within text, which says this when it ends.
    Text(Heard),
    /// Within a list of capabilities, in text that says this when it ends.
    List(Heard),
}

/// What a response that has ended says to the rest of the relay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// The answer to a command.
    Answer { id: u64, condition: Condition },
    /// The client may go on.
    GoOn,
    /// What fits no command.
    Noise,
    /// Nothing that concerns it.
    Nothing,
    /// A line was refused; nobody says which.
    Refusal,
}

/// How far the next bytes go.
pub(super) struct Reach {
    /// So many bytes are dealt with; none if it only became clear what they are.
    pub(super) count: usize,
    /// What goes on instead of them, where they do not go on as they are.
    pub(super) instead: Option<Vec<u8>>,
    /// What was heard at their end.
    pub(super) heard: Option<Heard>,
}

/// Follows what a back end sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Down {
    at: At,
    /// Passed on already; kept to tell which response begins.
    head: Vec<u8>,
    tail: Tail,
    strike: Strike,
}

impl Down {
    /// Whether a response may begin here.
    pub(super) fn at_start(&self) -> bool {
        self.at == At::Start
    }

    /// Whether the next bytes are a list from which something may be struck.
    pub(super) fn in_list(&self) -> bool {
        matches!(self.at, At::List(_))
    }

    /// Deals with the next of these bytes, of which there is at least one.
    pub(super) fn advance(&mut self, bytes: &[u8], flight: &Flight) -> Result<Reach, Lost> {
        match self.at {
            At::Start => match whole_lines(bytes) {
                0 => Ok(self.begin(bytes, flight)),
                count => Ok(Reach::over(count)),
            },
            At::Head => Ok(self.begin(bytes, flight)),
            At::Data => self.data(bytes),
            At::Literal(left) => Ok(self.literal(bytes, left)),
            At::Text(heard) => Ok(self.text(bytes, heard)),
            At::List(heard) => Ok(self.list(bytes, heard)),
        }
    }

    /// Reads a response's beginning. All of it that cannot be told yet is passed on.
    fn begin(&mut self, bytes: &[u8], flight: &Flight) -> Reach {
        let known = self.head.len();
        let mut head = std::mem::take(&mut self.head);
        let told = if known == 0 {
            response::read_head(bytes)
        } else {
            let room = LONGEST_HEAD.saturating_sub(known);
            head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            response::read_head(&head)
        };
        let Some(told) = told else {
            self.head = if known == 0 { bytes.to_vec() } else { head };
            self.tail.add(bytes);
            self.at = At::Head;
            return Reach::over(bytes.len());
        };
        let heard = heard(&told.head, flight);
        let count = match told.list {
            Some(list) => list.saturating_sub(known),
            None => 0,
        };
        self.at = match (told.list, told.head) {
            (Some(_), _) => At::List(heard),
            (None, Head::Data) => At::Data,
            (None, _) => At::Text(heard),
        };
        Reach::over(count)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<Reach, Lost> {
        let Some(end) = memchr(b'\n', bytes) else {
            self.tail.add(bytes);
            return Ok(Reach::over(bytes.len()));
        };
        let line = bytes.get(..=end).unwrap_or(bytes);
        self.at = match self.tail.end(line) {
            Announced::TooLong => return Err(Lost::BackendLiteral),
            Announced::Literal { size, .. } => At::Literal(size),
            Announced::Nothing => At::Start,
        };
        Ok(Reach::over(line.len()))
    }

    fn literal(&mut self, bytes: &[u8], left: u64) -> Reach {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        self.at = if left == 0 { At::Data } else { At::Literal(left) };
        Reach::over(count)
    }

    fn text(&mut self, bytes: &[u8], heard: Heard) -> Reach {
        self.tail.clear();
        let Some(end) = memchr(b'\n', bytes) else {
            return Reach::over(bytes.len());
        };
        self.at = At::Start;
        Reach { heard: Some(heard), ..Reach::over(end + 1) }
    }

    /// Deals with a part of a list, up to the byte that ends it.
    fn list(&mut self, bytes: &[u8], heard: Heard) -> Reach {
        let end = bytes.iter().position(|byte| b"]\r\n".contains(byte));
        let list = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        let mut goes_on = self.strike.strike(list);
        if end.is_some() {
            goes_on.extend_from_slice(&self.strike.end());
            self.at = At::Text(heard);
        }
        let instead = (goes_on != list).then_some(goes_on);
        Reach { instead, ..Reach::over(list.len()) }
    }
}

impl Reach {
    fn over(count: usize) -> Self {
        Self { count, instead: None, heard: None }
    }
}

/// How many bytes at the beginning are whole responses of numbered data without a literal: what there
/// are thousands of in a row when a client looks through a mailbox.
fn whole_lines(bytes: &[u8]) -> usize {
    if !matches!(bytes, [b'*', b' ', b'0'..=b'9', ..]) {
        return 0;
    }
    let mut plain = 0;
    while bytes.get(plain..).and_then(<[u8]>::first_chunk).is_some_and(is_plain) {
        plain += BLOCK;
    }
    let run = bytes.get(..plain).unwrap_or_default();
    let mut start = memrchr(b'\n', run).map_or(0, |end| end + 1);
    let rest = bytes.get(start..).unwrap_or_default();
    for end in memchr_iter(b'\n', rest).map(|end| end + bytes.len() - rest.len()) {
        let line = bytes.get(start..end).unwrap_or_default();
        let [b'*', b' ', b'0'..=b'9', .., before, last] = line else {
            break;
        };
        if *last == b'}' || (*last == b'\r' && *before == b'}') {
            break;
        }
        start = end + 1;
    }
    start
}

/// Bytes that are looked at together.
const BLOCK: usize = 256;

/// Whether data begins behind each line end, and no literal can be announced. The block has three bytes
/// more, for the beginning of a line whose predecessor ends with the last.
///
/// Looks at all bytes in any case and never asks which, for then the compiler makes few instructions of
/// it. So what passes for a digit is any byte from 0x30 to 0x3F: no response but data begins with one.
fn is_plain(block: &[u8; BLOCK + 3]) -> bool {
    let behind = |distance| block.get(distance..distance + BLOCK);
    let (Some(ends), Some(stars), Some(spaces), Some(digits)) =
        (behind(0), behind(1), behind(2), behind(3))
    else {
        return false;
    };
    let mut unlike = 0;
    for (((end, star), space), digit) in ends.iter().zip(stars).zip(spaces).zip(digits) {
        let behind_end = u8::from(*end == b'\n').wrapping_neg();
        unlike |= behind_end & ((star ^ b'*') | (space ^ b' ') | ((digit ^ b'0') & 0xF0));
        unlike |= u8::from(*end == b'}');
    }
    unlike == 0
}

/// What a response will have said when it has ended.
fn heard(head: &Head<'_>, flight: &Flight) -> Heard {
    match *head {
        Head::Capabilities | Head::Data | Head::Text => Heard::Nothing,
        Head::GoOn => Heard::GoOn,
        Head::Noise => Heard::Noise,
        Head::Tagged { tag, condition } => {
            flight.find(tag).map_or(Heard::Noise, |id| Heard::Answer { id, condition })
        }
        Head::UntaggedBad => Heard::Refusal,
    }
}
