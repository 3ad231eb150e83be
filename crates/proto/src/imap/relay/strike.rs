//! Strikes from a list of capabilities what cannot be used through a framed relay.
//!
//! Nothing here knows where lists begin.

/// Where striking stands within a list.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum At {
    /// Within a capability that stays.
    #[default]
    Staying,
    /// Within one that may have to be struck; its bytes, and the space before it, are held back.
    Open,
    /// Within one that is struck.
    Struck,
}

/// Compression under any name (RFC 4978): what follows could not be read.
const COMPRESS: &[u8] = b" COMPRESS=";
/// RFC 8437: the next login would bypass us.
const UNAUTHENTICATE: &[u8] = b" UNAUTHENTICATE";

/// The state of a list that may come in several pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Strike {
    at: At,
    held: Vec<u8>,
}

impl Strike {
    /// What is to go on instead of these bytes, which lie within a list.
    pub(super) fn strike(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut goes_on = Vec::with_capacity(bytes.len() + self.held.len());
        bytes.iter().for_each(|byte| self.read(*byte, &mut goes_on));
        goes_on
    }

    /// What is still held back where the list has ended; forgets the list.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let Self { at, held } = std::mem::take(self);
        if at == At::Open && !held.eq_ignore_ascii_case(UNAUTHENTICATE) { held } else { Vec::new() }
    }

    fn read(&mut self, byte: u8, goes_on: &mut Vec<u8>) {
        if byte == b' ' {
            goes_on.extend_from_slice(&self.end());
            self.at = At::Open;
        }
        match self.at {
            At::Staying => goes_on.push(byte),
            At::Struck => {}
            At::Open => {
                self.held.push(byte);
                if self.held.eq_ignore_ascii_case(COMPRESS) {
                    *self = Self { at: At::Struck, held: Vec::new() };
                } else if ![COMPRESS, UNAUTHENTICATE].iter().any(|word| self.may_become(word)) {
                    goes_on.append(&mut self.held);
                    self.at = At::Staying;
                }
            }
        }
    }

    fn may_become(&self, word: &[u8]) -> bool {
        word.get(..self.held.len()).is_some_and(|start| start.eq_ignore_ascii_case(&self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compression_and_unauthenticate_are_struck() {
        for (list, left) in [
            (" A COMPRESS=DEFLATE B", " A B"),
            (" compress=x unauthenticate", ""),
            (" UNAUTHENTICATE UNAUTHENTICATED XUNAUTHENTICATE", " UNAUTHENTICATED XUNAUTHENTICATE"),
            ("  COMPRESS COMPRESS= UNAUTH ", "  COMPRESS UNAUTH "),
        ] {
            for piece in 1..=list.len() {
                let mut strike = Strike::default();
                let pieces = list.as_bytes().chunks(piece);
                let mut struck = pieces.flat_map(|piece| strike.strike(piece)).collect::<Vec<_>>();
                struck.extend(strike.end());
                assert_eq!(String::from_utf8(struck).unwrap(), left, "{list:?} by {piece}");
            }
        }
    }
}
