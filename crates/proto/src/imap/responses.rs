//! What a back end says, response by response, within bounds.
//!
//! Nothing here decides what a response means for a login.

use zeroize::Zeroizing;

use super::syntax::{Framed, Framer};
use crate::back::{MAX_BYTES, MAX_LINE, MAX_LINES};
use crate::buffer::Buffer;

/// The responses of one back end.
#[derive(Debug, Default)]
pub(crate) struct Responses {
    buffer: Buffer,
    framer: Framer,
    /// How many have been read, and their bytes, since the last [`Self::count_anew`].
    lines: usize,
    bytes: usize,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// More bytes are needed.
    Incomplete,
    /// A response.
    Response(Response),
    /// The back end has said more than it may.
    TooMuch,
}

impl Responses {
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.buffer.receive(bytes);
    }

    /// Reads the next response.
    pub(crate) fn next(&mut self) -> Next {
        loop {
            let unread = self.buffer.unread();
            match self.framer.next(unread, MAX_LINE) {
                Framed::Incomplete => return Next::Incomplete,
                Framed::LineTooLong => return Next::TooMuch,
                // A status response ends with free text, which announces nothing.
                Framed::Announced(literal) if has_literals(self.framer.so_far(unread)) => {
                    let in_literals = self.framer.in_literals().saturating_add(literal.size);
                    if self.bytes.saturating_add(in_literals) > MAX_BYTES {
                        return Next::TooMuch;
                    }
                    self.framer.accept(literal.size);
                }
                Framed::Announced(_) | Framed::Misplaced | Framed::Whole => return self.take(),
            }
        }
    }

    /// Whether bytes are here that nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.buffer.unread().is_empty()
    }

    /// Lets the back end say as much again.
    pub(crate) fn count_anew(&mut self) {
        self.lines = 0;
        self.bytes = 0;
    }

    /// What has not been read, byte for byte.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.buffer.into_rest()
    }

    fn take(&mut self) -> Next {
        let response = Response(self.framer.take_whole(&mut self.buffer));
        self.lines += 1;
        self.bytes += response.0.len();
        if self.lines > MAX_LINES || self.bytes > MAX_BYTES {
            return Next::TooMuch;
        }
        Next::Response(response)
    }
}

/// Whether a line that begins so can go on with literals: untagged data can; status responses,
/// continuation requests and tagged responses cannot (RFC 3501 section 9, `response`).
pub(super) fn has_literals(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"* ") else {
        return false;
    };
    let status: [&[u8]; 5] = [b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"];
    let word = first_word(rest).0;
    !status.iter().any(|status| word.eq_ignore_ascii_case(status))
}

/// One response with its line end.
#[derive(Debug)]
pub(crate) struct Response(Zeroizing<Vec<u8>>);

/// What kind of response it is.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Kind<'a> {
    /// `+`: we are to go on. With what stands behind it, and behind the space that some servers leave out.
    Continue(&'a [u8]),
    /// None that can come now, such as another's tag.
    Foreign,
    /// The answer to our command.
    Tagged(Word, &'a [u8]),
    /// Anything else.
    Untagged(Word, &'a [u8]),
}

/// The word that says what a response is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Word {
    Bad,
    Bye,
    Capability,
    No,
    Ok,
    Other,
    PreAuth,
}

impl Response {
    /// The bytes as they came.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes without the line end.
    pub(crate) fn text(&self) -> &[u8] {
        let text = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        text.strip_suffix(b"\r").unwrap_or(text)
    }

    /// Reads the response while an answer to the command with this tag is awaited.
    pub(crate) fn kind(&self, tag: &str) -> Kind<'_> {
        let text = self.text();
        if let Some(rest) = text.strip_prefix(b"+") {
            return Kind::Continue(rest.strip_prefix(b" ").unwrap_or(rest));
        }
        match first_word(text) {
            (b"*", rest) => {
                let (word, rest) = first_word(rest);
                Kind::Untagged(Word::read(word), rest)
            }
            (first, rest) if !tag.is_empty() && first == tag.as_bytes() => {
                let (word, rest) = first_word(rest);
                Kind::Tagged(Word::read(word), rest)
            }
            _ => Kind::Foreign,
        }
    }
}

impl Word {
    fn read(word: &[u8]) -> Self {
        match word.to_ascii_uppercase().as_slice() {
            b"BAD" => Self::Bad,
            b"BYE" => Self::Bye,
            b"CAPABILITY" => Self::Capability,
            b"NO" => Self::No,
            b"OK" => Self::Ok,
            b"PREAUTH" => Self::PreAuth,
            _ => Self::Other,
        }
    }
}

/// The response code at the beginning of a text: its name in upper case and its arguments.
pub(crate) fn code(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let inside = text.strip_prefix(b"[")?;
    let end = inside.iter().position(|byte| *byte == b']')?;
    let (name, arguments) = first_word(inside.get(..end)?);
    Some((name.to_ascii_uppercase(), arguments))
}

/// The human words of a status response's text: what stands behind its response code.
pub(crate) fn words(text: &[u8]) -> &[u8] {
    match text.iter().position(|byte| *byte == b']') {
        Some(end) if text.starts_with(b"[") => text.get(end + 1..).unwrap_or_default(),
        _ => text,
    }
}

/// The bytes before the first space and those behind it.
pub(super) fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |byte| *byte == b' ');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut responses = Responses::default();
        responses.receive(bytes);
        let mut read = Vec::new();
        while let Next::Response(response) = responses.next() {
            read.push(response.bytes().to_vec());
        }
        read
    }

    #[test]
    fn a_literal_that_looks_like_our_verdict_is_none() {
        let bytes = b"* ID (\"x\" {9}\r\nt OK hi\r\n)\r\nt NO x\r\n";
        assert_eq!(read(bytes), [&bytes[..27], b"t NO x\r\n"]);
    }

    #[test]
    fn the_text_of_a_status_response_announces_no_literal() {
        assert_eq!(read(b"* OK see {5}\r\nt NO x {9}\r\n+ {1}\r\n").len(), 3);
    }

    #[test]
    fn words_have_no_case_and_codes_are_read() {
        let response = Response(Zeroizing::new(b"t no [Unavailable x y] later\r\n".to_vec()));
        let Kind::Tagged(Word::No, text) = response.kind("t") else { panic!() };
        assert_eq!(code(text), Some((b"UNAVAILABLE".to_vec(), &b"x y"[..])));
        assert_eq!(response.kind("u"), Kind::Foreign);
        assert_eq!(code(b"[UNAVAILABLE"), None);
    }

    #[test]
    fn a_back_end_may_say_only_so_much() {
        let too_much = |bytes: Vec<u8>| {
            let mut responses = Responses::default();
            responses.receive(&bytes);
            loop {
                match responses.next() {
                    Next::Response(_) => {}
                    Next::Incomplete => return false,
                    Next::TooMuch => return true,
                }
            }
        };
        assert!(!too_much(b"* X\r\n".repeat(64)));
        assert!(too_much(b"* X\r\n".repeat(65)));
        assert!(too_much(vec![b'x'; 8195]));
        assert!(too_much(b"* X {99999999}\r\n".to_vec()));
        assert!(too_much([&b"* "[..], &[b'x'; 8000], b"\r\n"].concat().repeat(9)));
    }
}
