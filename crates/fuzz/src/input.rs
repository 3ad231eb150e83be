//! The form of all inputs: a header that chooses, then the stream.
//!
//! Nothing here knows what is chosen.

use model::Protocol;

/// How many bytes come before the stream.
pub(crate) const HEADER: usize = 4;

/// An input taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    /// Settings, a bit each.
    settings: u8,
    /// Answers to what is asked, a bit each.
    answers: u8,
    /// Chooses among more than two.
    pub(crate) choice: u8,
    /// Where the stream is cut, in 256ths of its length.
    cut: u8,
    pub(crate) stream: &'a [u8],
}

impl<'a> Input<'a> {
    /// Takes an input apart; `None` if it has no whole header.
    pub(crate) fn read(data: &'a [u8]) -> Option<Self> {
        let (header, stream) = data.split_first_chunk::<HEADER>()?;
        let [settings, answers, choice, cut] = *header;
        Some(Self { settings, answers, choice, cut, stream })
    }

    /// Setting number 1 to 7; number 0 is the protocol.
    pub(crate) fn is_set(&self, number: u32) -> bool {
        self.settings >> number & 1 == 1
    }

    pub(crate) fn protocol(&self) -> Protocol {
        if self.is_set(0) { Protocol::Pop3 } else { Protocol::Imap }
    }

    /// The answer to what is asked for the `count`th time.
    pub(crate) fn answer(&self, count: usize) -> bool {
        self.answers.rotate_right(u32::try_from(count % 8).unwrap_or_default()) & 1 == 1
    }

    /// A piece of the stream in two.
    pub(crate) fn cut(&self, piece: &'a [u8]) -> [&'a [u8]; 2] {
        let (start, end) = piece.split_at(piece.len() * usize::from(self.cut) / 256);
        [start, end]
    }
}
