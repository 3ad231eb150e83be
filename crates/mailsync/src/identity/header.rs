//! Reads a header as it comes in, and makes the fingerprint of it.
//!
//! Nothing here keeps a message, or more of a field than it needs.

use super::{Fingerprint, half};

/// What tells this hash from every other use of BLAKE3. It must stay for ever: fingerprints are stored.
const CONTEXT: &str = "posthouse mailsync 2026 fingerprint of a message header, first form";

/// The fields that count, in the order in which they are hashed: ends may tell them in another.
const FIELDS: [&str; 7] = ["message-id", "date", "from", "to", "cc", "subject", "received"];

/// Of which only the first counts: each server on the way puts its own before it, and all copies of a
/// message have come the same way.
const RECEIVED: usize = 6;

/// Of a field no more counts.
const LONGEST_FIELD: usize = 16 * 1024;

/// Of a field's name.
const LONGEST_NAME: usize = 16;

/// Makes a fingerprint of a header that comes in pieces, cut anywhere. What follows the header is ignored.
#[derive(Debug, Default)]
pub struct Fingerprinter {
    values: [Vec<u8>; 7],
    line: Line,
    /// The field that a continuation line would belong to.
    field: Option<usize>,
    /// Whether white space stands between what was taken and what comes.
    gap: bool,
}

/// Where in a line we are.
#[derive(Debug, Default)]
enum Line {
    /// Behind the empty line.
    Body,
    /// Nothing of it has come.
    #[default]
    Start,
    /// A CR has come and nothing else: an empty line, if a LF follows.
    MaybeEmpty,
    /// In a field's name, as far as it is of interest.
    Name(Vec<u8>),
    /// In a field's value.
    Value,
}

impl Fingerprinter {
    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if matches!(self.line, Line::Body) {
                return;
            }
            self.take_byte(*byte);
        }
    }

    /// The fingerprint of what has come.
    pub fn finish(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        for value in &self.values {
            let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
            hasher.update(&length.to_be_bytes()).update(value);
        }
        Fingerprint(half(&hasher))
    }

    fn take_byte(&mut self, byte: u8) {
        match (&mut self.line, byte) {
            (Line::Start | Line::MaybeEmpty, b'\n') => self.line = Line::Body,
            (Line::Start, b'\r') => self.line = Line::MaybeEmpty,
            (_, b'\n') => self.line = Line::Start,
            (Line::Start, b' ' | b'\t') => {
                self.line = Line::Value;
                self.gap = true;
            }
            (Line::Start | Line::MaybeEmpty, _) => self.line = Line::Name(vec![byte]),
            (Line::Name(name), b':') => {
                let name = std::mem::take(name);
                self.begin(&name);
            }
            (Line::Name(name), _) if name.len() < LONGEST_NAME => name.push(byte),
            (Line::Name(_) | Line::Body, _) => {}
            (Line::Value, _) => self.take_value(byte),
        }
    }

    fn begin(&mut self, name: &[u8]) {
        let name = name.trim_ascii_end();
        let field = FIELDS.iter().position(|field| name.eq_ignore_ascii_case(field.as_bytes()));
        let value = |field: &usize| self.values.get(*field).is_some_and(|value| !value.is_empty());
        self.field = field.filter(|field| !(*field == RECEIVED && value(field)));
        self.line = Line::Value;
        // Two fields of one name are not one with both values.
        if let Some(value) = self.field.and_then(|field| self.values.get_mut(field)) {
            value.push(b'\n');
        }
        self.gap = false;
    }

    fn take_value(&mut self, byte: u8) {
        let Some(value) = self.field.and_then(|field| self.values.get_mut(field)) else { return };
        match byte {
            b' ' | b'\t' => self.gap = true,
            // Controls and 8-bit characters are what servers replace.
            0..0x20 | 0x7f.. => {}
            _ if value.len() >= LONGEST_FIELD => {}
            _ => {
                if self.gap && value.last().is_some_and(|last| *last != b'\n') {
                    value.push(b' ');
                }
                self.gap = false;
                value.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"Received: from a by b\r\nReceived: from c by d\r\nMessage-ID: <1@x>\r\n\
        From: A <a@x>\r\nSubject: Hello world\r\n\r\nbody";

    #[test]
    fn a_fingerprint_does_not_depend_on_folding_spaces_line_ends_or_order() {
        let same: [&[u8]; 5] = [
            b"received: from a by b\nRECEIVED: other\nmessage-id:<1@x>\nfrom: A  <a@x>\nsubject: Hello\n\tworld\n\n",
            b"Subject: Hello\r\n world\r\nFrom: A <a@x>\r\nMessage-Id: <1@x>\r\nReceived: from a by b\r\n",
            b"Received: from a by b\r\nMessage-ID: <1@x>\r\nFrom: A <a@x>\r\nSubject: Hello world \r\n\r\n",
            b"X-More: 1\r\nReceived: from a by b\r\nMessage-ID : <1@x>\r\nFrom: A <a@x>\r\nSubject: Hello world",
            b"Received: from a by b\r\nMessage-ID: <1@x>\r\nFrom: A <a@x>\r\nSubject: Hell\xc3\xb6o world\0\r\n\r\n",
        ];
        for header in same {
            let text = String::from_utf8_lossy(header);
            assert_eq!(Fingerprint::of_header(header), Fingerprint::of_header(PLAIN), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_does_not_depend_on_where_the_bytes_are_cut() {
        for cut in 0..PLAIN.len() {
            let mut fingerprinter = Fingerprinter::default();
            fingerprinter.take(&PLAIN[..cut]);
            fingerprinter.take(&PLAIN[cut..]);
            assert_eq!(fingerprinter.finish(), Fingerprint::of_header(PLAIN), "{cut}");
        }
    }

    #[test]
    fn every_field_counts_and_what_is_behind_the_header_does_not() {
        let of = |text: &str| Fingerprint::of_header(text.as_bytes());
        assert_eq!(of("Subject: a\r\n\r\nTo: b"), of("Subject: a\r\n\r\n"));
        for field in FIELDS {
            assert_ne!(of(&format!("{field}: a\r\n\r\n")), of("\r\n"), "{field}");
        }
        assert_ne!(of("To: a\r\nTo: b\r\n\r\n"), of("To: a b\r\n\r\n"));
        assert_ne!(of("To: ab\r\n\r\n"), of("Cc: ab\r\n\r\n"));
        assert_ne!(of("Message-ID: <1>\r\nMessage-ID: <2>\r\n\r\n"), of("Message-ID: <1>\r\n\r\n"));
    }

    #[test]
    fn a_header_of_any_length_takes_a_bounded_part_of_memory() {
        let mut fingerprinter = Fingerprinter::default();
        fingerprinter.take(b"Subject:");
        for _ in 0..1000 {
            fingerprinter.take(&[b'x'; 4096]);
        }
        assert!(
            fingerprinter.values.iter().map(Vec::len).sum::<usize>() <= 7 * (LONGEST_FIELD + 2)
        );
    }
}
