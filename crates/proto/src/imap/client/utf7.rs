//! Modified UTF-7 (RFC 3501 section 5.1.3).
//!
//! Nothing here repairs: what is not exactly what we would write ourselves is not decoded, for it would name
//! another mailbox when it is sent back.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// The text that these bytes stand for; `None` if they are broken, or could be written in another way.
pub(super) fn decode(wire: &[u8]) -> Option<String> {
    let wire = std::str::from_utf8(wire).ok().filter(|wire| wire.is_ascii())?;
    let (mut text, mut rest) = (String::new(), wire);
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (inside, after) = shifted.split_once('-')?;
        text.push_str(plain);
        if inside.is_empty() {
            text.push('&');
        } else {
            text.push_str(&utf16(inside)?);
        }
        rest = after;
    }
    text.push_str(rest);
    (encode(&text) == wire.as_bytes()).then_some(text)
}

fn utf16(base64: &str) -> Option<String> {
    let bytes = BASE64.decode(base64).ok()?;
    let (pairs, rest) = bytes.as_chunks();
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    String::from_utf16(&units).ok().filter(|_| rest.is_empty())
}

/// The one way to write this text.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let (mut wire, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let plain = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
        let (direct, other) = rest.split_at(plain);
        direct.chars().for_each(|c| match c {
            '&' => wire.extend_from_slice(b"&-"),
            c => wire.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        });
        let (shifted, after) = other.split_at(other.find(is_plain).unwrap_or(other.len()));
        if !shifted.is_empty() {
            let utf16: Vec<u8> = shifted.encode_utf16().flat_map(u16::to_be_bytes).collect();
            wire.push(b'&');
            wire.extend(BASE64.encode(utf16).bytes());
            wire.push(b'-');
        }
        rest = after;
    }
    wire
}

fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc_are_read_and_written() {
        for (wire, text) in [
            (
                "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
                "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}",
            ),
            ("&-", "&"),
            ("Entw&APw-rfe", "Entw\u{fc}rfe"),
            ("&2D3eAA-", "\u{1f600}"),
            ("", ""),
        ] {
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text), "{wire}");
            assert_eq!(encode(text), wire.as_bytes());
        }
    }

    #[test]
    fn a_second_way_to_write_a_name_is_broken() {
        // Not shifted in one go, needless shift, padding bits that are not zero, half a pair.
        for wire in ["&U,A-&Uxc-", "&AGE-", "&APx-", "&AP-", "&2D0-", "&APw", "&AP w-", "\x7f"] {
            assert_eq!(decode(wire.as_bytes()), None, "{wire}");
        }
    }
}
