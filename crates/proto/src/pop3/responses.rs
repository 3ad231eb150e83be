//! What a back end says, line by line, within bounds.
//!
//! Nothing here decides what a line means for a login.

use zeroize::Zeroizing;

use crate::back::{MAX_BYTES, MAX_LINE, MAX_LINES};
use crate::buffer::{Buffer, Line, first_line};

/// The lines of one back end.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    buffer: Buffer,
    lines: usize,
    bytes: usize,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// More bytes are needed.
    Incomplete,
    /// A line without its end.
    Line(Zeroizing<Vec<u8>>),
    /// The back end has said more than it may.
    TooMuch,
}

impl Responses {
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.receive(bytes);
    }

    /// Reads the next line.
    pub(crate) fn next(&mut self) -> Next {
        let (text, whole) = match first_line(self.buffer.unread(), MAX_LINE) {
            Line::Incomplete => return Next::Incomplete,
            Line::TooLong => return Next::TooMuch,
            Line::Whole { text, whole } => (text, whole),
        };
        self.lines += 1;
        self.bytes += whole;
        if self.lines > MAX_LINES || self.bytes > MAX_BYTES {
            return Next::TooMuch;
        }
        Next::Line(self.buffer.take_line(text, whole))
    }

    /// Whether bytes are here that nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.buffer.unread().is_empty()
    }

    /// What has not been read, byte for byte.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.buffer.into_rest()
    }
}

/// What a line says.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Status {
    /// `+`: the SASL exchange goes on (RFC 5034).
    Continue,
    /// `-ERR`, with the response code in upper case, without brackets (RFC 2449 section 8).
    Err { code: Option<Vec<u8>> },
    /// `+OK`.
    Ok,
    /// Nothing that POP3 knows.
    Other,
}

impl Status {
    pub(crate) fn read(line: &[u8]) -> Self {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        if word.eq_ignore_ascii_case(b"+OK") {
            Self::Ok
        } else if word.eq_ignore_ascii_case(b"-ERR") {
            Self::Err { code: code(line) }
        } else if word == b"+" {
            Self::Continue
        } else {
            Self::Other
        }
    }
}

/// The response code of a line in upper case, without brackets (RFC 2449 section 8).
pub(crate) fn code(line: &[u8]) -> Option<Vec<u8>> {
    let inside = behind_status(line).strip_prefix(b"[")?;
    let end = inside.iter().position(|byte| *byte == b']')?;
    inside.get(..end).map(<[u8]>::to_ascii_uppercase)
}

/// The human words of a line: what stands behind its status and response code.
pub(crate) fn words(line: &[u8]) -> &[u8] {
    let text = behind_status(line);
    match text.iter().position(|byte| *byte == b']') {
        Some(end) if text.starts_with(b"[") => text.get(end + 1..).unwrap_or_default(),
        _ => text,
    }
}

fn behind_status(line: &[u8]) -> &[u8] {
    let space = line.iter().position(|byte| *byte == b' ');
    space.and_then(|space| line.get(space + 1..)).unwrap_or_default()
}

/// Reads the answer to CAPA line by line.
#[derive(Debug, Default)]
pub(crate) struct CapaReader {
    list: Option<Vec<String>>,
}

/// What a line of the answer to CAPA gives.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Capa {
    /// The whole list; empty where the back end does not know CAPA.
    List(Vec<String>),
    /// The answer goes on.
    More,
    /// This is no answer to CAPA.
    Nonsense,
}

impl CapaReader {
    pub(crate) fn read(&mut self, line: &[u8]) -> Capa {
        let Some(list) = &mut self.list else {
            return match Status::read(line) {
                Status::Ok => {
                    self.list = Some(Vec::new());
                    Capa::More
                }
                Status::Err { .. } => Capa::List(Vec::new()),
                Status::Continue | Status::Other => Capa::Nonsense,
            };
        };
        if line == b"." {
            return Capa::List(std::mem::take(list));
        }
        // RFC 1939 section 3: a dot at the beginning is doubled.
        let line = line.strip_prefix(b".").unwrap_or(line);
        list.push(String::from_utf8_lossy(line).trim_end().to_owned());
        Capa::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_a_whole_word() {
        assert_eq!(Status::read(b"+OK"), Status::Ok);
        assert_eq!(Status::read(b"+ok ready"), Status::Ok);
        assert_eq!(Status::read(b"+OKAY"), Status::Other);
        assert_eq!(Status::read(b"+ "), Status::Continue);
        assert_eq!(Status::read(b"+"), Status::Continue);
        assert_eq!(Status::read(b"-ERR"), Status::Err { code: None });
        assert_eq!(Status::read(b"-ERR [ x"), Status::Err { code: None });
        let code = Some(b"SYS/TEMP".to_vec());
        assert_eq!(Status::read(b"-err [sys/temp] x"), Status::Err { code });
    }

    #[test]
    fn the_answer_to_capa_ends_with_a_dot() {
        let mut reader = CapaReader::default();
        assert_eq!(reader.read(b"+OK"), Capa::More);
        assert_eq!(reader.read(b"TOP "), Capa::More);
        assert_eq!(reader.read(b"..X"), Capa::More);
        assert_eq!(reader.read(b"."), Capa::List(vec!["TOP".into(), ".X".into()]));
        assert_eq!(CapaReader::default().read(b"-ERR"), Capa::List(Vec::new()));
        assert_eq!(CapaReader::default().read(b"TOP"), Capa::Nonsense);
    }
}
