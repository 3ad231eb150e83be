//! The beginning of a back end's line: which response it is (RFC 9051 section 7).
//!
//! Nothing here reads past the first response code.

use super::command::LONGEST_TAG;

/// The longest beginning that is read: a tag, a condition, a response code's name.
pub(super) const LONGEST_HEAD: usize = LONGEST_TAG + 32;

/// What a tagged response says of its command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    /// BAD.
    Bad,
    /// NO.
    No,
    /// OK.
    Ok {
        /// Whether it bears the code READ-ONLY.
        read_only: bool,
    },
}

/// How a back end's line begins.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Head<'a> {
    /// `* CAPABILITY`.
    Capabilities,
    /// Another untagged response, which may hold literals.
    Data,
    /// `+`.
    GoOn,
    /// What is no response.
    Noise,
    /// A response with a tag.
    Tagged { tag: &'a [u8], condition: Condition },
    /// `* OK`, `* NO`, `* BYE`, `* PREAUTH`: text, which holds no literals.
    Text,
    /// `* BAD`.
    UntaggedBad,
}

/// A line's beginning and, where it holds a list of capabilities, where that begins (with the space
/// before its first).
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Read<'a> {
    pub(super) head: Head<'a>,
    pub(super) list: Option<usize>,
}

/// Reads the beginning of a line, of which `head` shows as much as has come: none while it takes more
/// to tell. The answer stays the same when more comes, and a list begins with a byte not seen before.
pub(super) fn read_head(head: &[u8]) -> Option<Read<'_>> {
    let head = head.get(..LONGEST_HEAD).unwrap_or(head);
    if let [b'*', b' ', digit, ..] = head
        && digit.is_ascii_digit()
    {
        return Some(Head::Data.into());
    }
    match read(head) {
        None if head.len() < LONGEST_HEAD => None,
        None if head.starts_with(b"* ") => Some(Head::Data.into()),
        None => Some(Head::Noise.into()),
        known => known,
    }
}

impl<'a> From<Head<'a>> for Read<'a> {
    fn from(head: Head<'a>) -> Self {
        Self { head, list: None }
    }
}

fn read(head: &[u8]) -> Option<Read<'_>> {
    let (tag, after) = word(head, 0, b" \r\n")?;
    match tag {
        // Some servers leave out the space behind it.
        [b'+', ..] => return Some(Head::GoOn.into()),
        [] => return Some(Head::Noise.into()),
        _ => {}
    }
    if head.get(after) != Some(&b' ') {
        return Some(Head::Noise.into());
    }
    let (condition, after) = word(head, after + 1, b" \r\n")?;
    if tag == b"*" && condition.eq_ignore_ascii_case(b"CAPABILITY") {
        return Some(Read { head: Head::Capabilities, list: Some(after) });
    }
    let without_code = status(tag, condition, false);
    if matches!(without_code, Head::Data | Head::Noise)
        || head.get(after) != Some(&b' ')
        || *head.get(after + 1)? != b'['
    {
        return Some(without_code.into());
    }
    let (code, end) = word(head, after + 2, b" ]\r\n")?;
    let list = code.eq_ignore_ascii_case(b"CAPABILITY").then_some(end);
    let read_only = code.eq_ignore_ascii_case(b"READ-ONLY");
    Some(Read { head: status(tag, condition, read_only), list })
}

/// The response with this first and second word.
fn status<'a>(tag: &'a [u8], condition: &[u8], read_only: bool) -> Head<'a> {
    let is = |word: &[u8]| condition.eq_ignore_ascii_case(word);
    let conditions = [
        (&b"OK"[..], Condition::Ok { read_only }),
        (b"NO", Condition::No),
        (b"BAD", Condition::Bad),
    ];
    let condition =
        conditions.into_iter().find(|(word, _)| is(word)).map(|(_, condition)| condition);
    match condition {
        Some(Condition::Bad) if tag == b"*" => Head::UntaggedBad,
        Some(_) if tag == b"*" => Head::Text,
        Some(condition) => Head::Tagged { tag, condition },
        None if tag != b"*" => Head::Noise,
        None if is(b"BYE") || is(b"PREAUTH") => Head::Text,
        None => Head::Data,
    }
}

/// The word that begins at `start` and ends before one of `ends`, and where it ends; none if the end
/// has not been seen.
fn word<'a>(head: &'a [u8], start: usize, ends: &[u8]) -> Option<(&'a [u8], usize)> {
    let rest = head.get(start..)?;
    let length = rest.iter().position(|byte| ends.contains(byte))?;
    Some((rest.get(..length)?, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(line: &str) -> Head<'_> {
        read_head(line.as_bytes()).unwrap().head
    }

    fn tagged(tag: &str, condition: Condition) -> Head<'_> {
        Head::Tagged { tag: tag.as_bytes(), condition }
    }

    #[test]
    fn each_response_is_known_by_its_beginning() {
        assert_eq!(head("* 1 FETCH"), Head::Data);
        assert_eq!(head("* LIST "), Head::Data);
        assert_eq!(head("* bye x"), Head::Text);
        assert_eq!(head("* OK\r\n"), Head::Text);
        assert_eq!(head("* BAD x"), Head::UntaggedBad);
        assert_eq!(head("+ idling\r\n"), Head::GoOn);
        assert_eq!(head("+\r\n"), Head::GoOn);
        assert_eq!(head("+idling\r\n"), Head::GoOn);
        assert_eq!(head("\r\n"), Head::Noise);
        assert_eq!(head("a FETCH "), Head::Noise);
        assert_eq!(head("a\r\n"), Head::Noise);
        assert_eq!(head("a NO\n"), tagged("a", Condition::No));
        assert_eq!(head("a] NO x"), tagged("a]", Condition::No));
        assert_eq!(head("a OK x"), tagged("a", Condition::Ok { read_only: false }));
        assert_eq!(head("a ok [read-only] x"), tagged("a", Condition::Ok { read_only: true }));
        assert_eq!(head("a OK [READ-WRITE] x"), tagged("a", Condition::Ok { read_only: false }));
    }

    #[test]
    fn lists_are_found_untagged_and_in_codes() {
        for (line, list) in [
            ("* CAPABILITY A", Some(" A")),
            ("* OK [capability A] x", Some(" A] x")),
            ("* PREAUTH [CAPABILITY A]", Some(" A]")),
            ("a OK [CAPABILITY A]", Some(" A]")),
            ("a OK [CAPABILITY]", Some("]")),
            ("a OK CAPABILITY A B", None),
            ("a OK [CAPABILITIES A]", None),
            ("* OK x [CAPABILITY A]", None),
        ] {
            let found = read_head(line.as_bytes()).unwrap().list.map(|list| &line[list..]);
            assert_eq!(found, list, "{line}");
        }
    }

    #[test]
    fn a_head_is_told_as_soon_as_more_could_not_change_it() {
        for line in ["* CAPABILITY A", "a1 OK [CAPABILITY A]", "a NO x", "* OK\r\n", "x\r\n", "+ x"]
        {
            let told = read_head(line.as_bytes()).unwrap();
            let first = (0..=line.len()).find_map(|end| {
                let read = read_head(&line.as_bytes()[..end]);
                read.inspect(|read| assert!(read.list.is_none_or(|list| list == end - 1)))
            });
            assert_eq!(first, Some(told), "{line:?}");
        }
    }
}
