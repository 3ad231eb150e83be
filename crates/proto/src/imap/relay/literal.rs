//! Literals announced at a line's end (RFC 3501 section 4.3, RFC 7888, RFC 3516).
//!
//! Nothing here sees a literal's body.

/// The most bytes at a line's end that matter to an announcement: `~{`, 20 digits, `+}`, CRLF, what
/// stands before, and enough more to see that there are too many digits.
const LONGEST: usize = 32;
/// The digits of the greatest number of 64 bits.
const DIGITS: usize = 20;

/// What a line's end announces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Announced {
    /// No literal: the line ends what it is part of.
    Nothing,
    /// A literal, then more of the line.
    Literal {
        /// The literal's size in bytes.
        size: u64,
        /// Whether a client waits for a `+` before it sends the literal.
        waits: bool,
        /// Whether it stands where an argument may begin.
        apart: bool,
    },
    /// A literal whose size is no number of 64 bits.
    TooLong,
}

/// Reads the end of a line. `line` ends with its LF; a beginning may be left out.
pub(super) fn announced(line: &[u8]) -> Announced {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let Some(text) = text.strip_suffix(b"}") else {
        return Announced::Nothing;
    };
    let (text, waits) = text.strip_suffix(b"+").map_or((text, true), |text| (text, false));
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > DIGITS {
        return Announced::TooLong;
    }
    let Some((before, digits)) = text.split_at_checked(text.len() - digits) else {
        return Announced::Nothing;
    };
    let Some(before) = before.strip_suffix(b"{").filter(|_| !digits.is_empty()) else {
        return Announced::Nothing;
    };
    let apart = matches!(before.last(), Some(b' ' | b'(' | b'~'));
    let add = |size: u64, digit: &u8| size.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let size = digits.iter().try_fold(0, add);
    size.map_or(Announced::TooLong, |size| Announced::Literal { size, waits, apart })
}

/// The end of a line that came in several pieces, as far as it matters to an announcement.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Adds a piece of the line.
    pub(super) fn add(&mut self, piece: &[u8]) {
        let end = piece.get(piece.len().saturating_sub(LONGEST)..).unwrap_or(piece);
        let excess = (self.0.len() + end.len()).saturating_sub(LONGEST);
        self.0.drain(..excess.min(self.0.len()));
        self.0.extend_from_slice(end);
    }

    /// What the line announces whose last piece this is; forgets the line.
    pub(super) fn end(&mut self, piece: &[u8]) -> Announced {
        if self.0.is_empty() {
            return announced(piece);
        }
        self.add(piece);
        announced(&std::mem::take(&mut self.0))
    }

    /// Forgets the line.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(size: u64, waits: bool, apart: bool) -> Announced {
        Announced::Literal { size, waits, apart }
    }

    #[test]
    fn only_braces_at_the_very_end_announce_a_literal() {
        assert_eq!(announced(b"a X {5}\r\n"), literal(5, true, true));
        assert_eq!(announced(b"a X {5}\n"), literal(5, true, true));
        assert_eq!(announced(b"a X ~{5+}\r\n"), literal(5, false, true));
        assert_eq!(announced(b"a X ({0}\r\n"), literal(0, true, true));
        assert_eq!(announced(b"a X{5}\r\n"), literal(5, true, false));
        for line in ["\"{5}\"\r\n", "{5} \r\n", "{}\r\n", "{+}\r\n", "{5-}\r\n", "5}\r\n", "\n"] {
            assert_eq!(announced(line.as_bytes()), Announced::Nothing, "{line:?}");
        }
    }

    #[test]
    fn a_size_beyond_64_bits_is_too_long_and_not_something_else() {
        assert_eq!(announced(b" {18446744073709551615}\r\n"), literal(u64::MAX, true, true));
        for size in ["18446744073709551616", "99999999999999999999", "000000000000000000001"] {
            assert_eq!(announced(format!(" {{{size}}}\r\n").as_bytes()), Announced::TooLong);
        }
    }

    #[test]
    fn a_line_s_end_is_read_the_same_in_pieces() {
        for line in
            ["a X {123+}\r\n", "a X {18446744073709551615+}\n", " {1234567890123456789012}\n"]
        {
            let long = format!("{}{line}", "9".repeat(100));
            for piece in 1..long.len() {
                let mut tail = Tail::default();
                let pieces: Vec<_> = long.as_bytes().chunks(piece).collect();
                let (last, first) = pieces.split_last().unwrap();
                first.iter().for_each(|piece| tail.add(piece));
                assert_eq!(tail.end(last), announced(long.as_bytes()), "{line} by {piece}");
            }
        }
    }
}
