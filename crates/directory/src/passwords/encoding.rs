//! The encodings that stored passwords use: hexadecimal, base64 with and without padding, and that of crypt(3).
//!
//! Nothing here knows what the bytes mean.

use base64::{Engine, engine::general_purpose};

/// How the data behind a scheme's name is encoded, if its name has a suffix that says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Encoding {
    Base64,
    Hex,
}

impl Encoding {
    /// Reads the suffix of a scheme's name: `.B64`, `.BASE64`, `.HEX`, in any case.
    pub(super) fn of_suffix(suffix: &str) -> Option<Self> {
        match suffix.to_ascii_uppercase().as_str() {
            "B64" | "BASE64" => Some(Self::Base64),
            "HEX" => Some(Self::Hex),
            _ => None,
        }
    }

    pub(super) fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => base64(text),
            Self::Hex => hex(text),
        }
    }
}

/// RFC 4648 section 4, with its padding.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    general_purpose::STANDARD.decode(text).ok()
}

/// RFC 4648 section 4 without padding, as in PHC strings.
pub(super) fn base64_unpadded(text: &[u8]) -> Option<Vec<u8>> {
    general_purpose::STANDARD_NO_PAD.decode(text).ok()
}

/// Hexadecimal in either case.
pub(super) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// The digits of crypt(3).
const CRYPT: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The value of a digit of crypt(3).
pub(super) fn crypt_digit(digit: u8) -> Option<u8> {
    CRYPT.iter().position(|known| *known == digit).and_then(|place| u8::try_from(place).ok())
}

/// The encoding of crypt(3) as yescrypt uses it: three bytes are four digits, the lowest bits first.
pub(super) fn crypt64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for digits in text.chunks(4) {
        let mut bits = 0_u32;
        for digit in digits.iter().rev() {
            bits = bits << 6 | u32::from(crypt_digit(*digit)?);
        }
        // One digit alone has not enough bits for a byte.
        let whole = match digits.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        let [one, two, three, _] = bits.to_le_bytes();
        bytes.extend([one, two, three].iter().take(whole));
        if bits >> (8 * whole) != 0 {
            return None;
        }
    }
    Some(bytes)
}

/// Encodes up to three bytes as crypt(3) does, the lowest bits first.
pub(super) fn to_crypt64(bytes: [u8; 3], digits: usize) -> impl Iterator<Item = u8> {
    let [low, middle, high] = bytes;
    let bits = u32::from_le_bytes([low, middle, high, 0]);
    (0..digits).filter_map(move |digit| {
        let value = usize::try_from(bits >> (6 * digit) & 63).ok()?;
        CRYPT.get(value).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_has_whole_bytes_of_digits_only() {
        assert_eq!(hex(b"00fFA5"), Some(vec![0, 255, 0xa5]));
        assert_eq!(hex(b""), Some(vec![]));
        for bad in [&b"0"[..], b"0g", b"+1", b"\xff0", b"0 "] {
            assert_eq!(hex(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_crypt_encodes_it_decodes() {
        for bytes in [[0, 0, 0], [1, 2, 3], [255, 255, 255], [0x80, 0, 0x7f]] {
            let text: Vec<_> = to_crypt64(bytes, 4).collect();
            assert_eq!(crypt64(&text), Some(bytes.to_vec()));
        }
        assert_eq!(
            crypt64(&to_crypt64([200, 100, 0], 3).collect::<Vec<_>>()),
            Some(vec![200, 100])
        );
        for bad in [&b"a"[..], b"zz", b"a$", b"....a", b"\xff\xff"] {
            assert_eq!(crypt64(bad), None, "{bad:?}");
        }
    }
}
