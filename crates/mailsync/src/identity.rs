//! Which message on one end is which on the other, where no map says so: by what their headers say, as
//! multisets.
//!
//! Nothing here trusts a Message-ID alone, and nothing here takes two messages for one because they are
//! alike: of three alike on one end and two on the other, one is left over.

mod header;
mod matching;

use std::fmt;

pub use self::header::Fingerprinter;
pub(crate) use self::matching::{Bytes, match_up};

/// What a message's header says, in 128 bits: Message-ID, Date, From, To, Cc, Subject and the newest Received,
/// without what servers change on their way (folding, spaces, case of names, 8-bit characters).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(pub(crate) [u8; 16]);

impl Fingerprint {
    /// Of a header, or of a whole message that begins with one.
    pub fn of_header(bytes: &[u8]) -> Self {
        let mut fingerprinter = Fingerprinter::default();
        fingerprinter.take(bytes);
        fingerprinter.finish()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:032x})", u128::from_be_bytes(self.0))
    }
}

/// All bytes of a message but CR, in 128 bits: some ends keep lines that end with LF alone. With its length it
/// tells any two messages apart.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BodyHash(pub(crate) [u8; 16]);

/// Makes a [`BodyHash`] of a message that comes in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyHasher(blake3::Hasher);

impl BodyHasher {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\r') {
            self.0.update(line);
        }
    }

    pub(crate) fn finish(&self) -> BodyHash {
        BodyHash(half(&self.0))
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyHash({:032x})", u128::from_be_bytes(self.0))
    }
}

/// The first 128 bits: half of BLAKE3's is more than chance can hit among all mails there are.
pub(crate) fn half(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut half = [0; 16];
    hasher.finalize_xof().fill(&mut half);
    half
}
