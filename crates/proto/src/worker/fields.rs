//! The fields of a frame: bytes, numbers, and what has a length before it.
//!
//! Nothing here knows what they mean.

use zeroize::Zeroizing;

use super::{InvalidFrame, LONGEST_BODY};

/// The bytes before the body.
const HEAD: usize = 4;

/// A frame that is being written. It is wiped when dropped: there may be secrets in it.
pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// A frame of a kind, with room for so many bytes: it should not grow, and leave its secrets where it was.
    pub(super) fn new(kind: u8, room: usize) -> Self {
        let mut frame = Vec::with_capacity(room.min(LONGEST_BODY) + HEAD + 1);
        frame.extend([0; HEAD]);
        frame.push(kind);
        Self(Zeroizing::new(frame))
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    /// How many members follow.
    pub(super) fn count(&mut self, count: usize) -> Result<(), InvalidFrame> {
        let count = u32::try_from(count).map_err(|_| InvalidFrame::TooMuch)?;
        self.0.extend(count.to_be_bytes());
        Ok(())
    }

    /// The same, where no more than `most` may follow.
    pub(super) fn members(&mut self, count: usize, most: usize) -> Result<(), InvalidFrame> {
        if count > most {
            return Err(InvalidFrame::TooMuch);
        }
        self.count(count)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), InvalidFrame> {
        // Four bytes of what stands here are no part of the body, and four will stand before these.
        let body = self.0.len() + bytes.len();
        if body > LONGEST_BODY {
            return Err(InvalidFrame::Length(body));
        }
        self.count(bytes.len())?;
        self.0.extend(bytes);
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str, longest: usize) -> Result<(), InvalidFrame> {
        if text.len() > longest {
            return Err(InvalidFrame::TooMuch);
        }
        self.bytes(text.as_bytes())
    }

    /// The whole frame.
    pub(super) fn done(mut self) -> Result<Zeroizing<Vec<u8>>, InvalidFrame> {
        let body = self.0.len().saturating_sub(HEAD);
        let length = u32::try_from(body).ok().filter(|_| body <= LONGEST_BODY);
        let length = length.ok_or(InvalidFrame::Length(body))?;
        if let Some(head) = self.0.first_chunk_mut::<HEAD>() {
            *head = length.to_be_bytes();
        }
        Ok(self.0)
    }
}

/// The body of a frame that is being read.
pub(super) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self(body)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidFrame> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(InvalidFrame::Fields)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(super) fn byte(&mut self) -> Result<u8, InvalidFrame> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, InvalidFrame> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn small_number(&mut self) -> Result<u32, InvalidFrame> {
        u32::try_from(self.number()?).map_err(|_| InvalidFrame::TooMuch)
    }

    /// How many members follow: each has a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, InvalidFrame> {
        let count = self.array().map(u32::from_be_bytes)?;
        let count = usize::try_from(count).map_err(|_| InvalidFrame::TooMuch)?;
        if count > self.0.len() {
            return Err(InvalidFrame::Fields);
        }
        Ok(count)
    }

    /// The same, where no more than `most` may follow.
    pub(super) fn members(&mut self, most: usize) -> Result<usize, InvalidFrame> {
        let count = self.count()?;
        if count > most { Err(InvalidFrame::TooMuch) } else { Ok(count) }
    }

    pub(super) fn bytes(&mut self, longest: usize) -> Result<&'b [u8], InvalidFrame> {
        let length = self.members(longest)?;
        let (field, rest) = self.0.split_at_checked(length).ok_or(InvalidFrame::Fields)?;
        self.0 = rest;
        Ok(field)
    }

    pub(super) fn text(&mut self, longest: usize) -> Result<&'b str, InvalidFrame> {
        std::str::from_utf8(self.bytes(longest)?).map_err(|_| InvalidFrame::Text)
    }

    /// There must be nothing left.
    pub(super) fn end(&self) -> Result<(), InvalidFrame> {
        if self.0.is_empty() { Ok(()) } else { Err(InvalidFrame::Fields) }
    }
}
