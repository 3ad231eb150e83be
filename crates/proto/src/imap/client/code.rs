//! Response codes and the words behind them (RFC 3501 section 7.1).
//!
//! Nothing here decides what is to be done about them.

use super::input::Text;
use super::reader::Reader;
use super::{Code, Flags, PermanentFlags, UidList, UidSet, Words};

/// The longest text that is kept, in bytes.
const MAX_WORDS: usize = 512;
/// The longest name and arguments of a code that is not known.
const MAX_OTHER: usize = 200;

/// Reads the text of a status response.
pub(super) fn words(text: &[u8]) -> Words {
    let Some((code, rest)) = split(text) else {
        return Words { code: None, text: harmless(text, MAX_WORDS) };
    };
    Words { code: Some(read(code)), text: harmless(rest.trim_ascii_start(), MAX_WORDS) }
}

/// What stands between the brackets, and what stands behind them. A `]` in a list or in quotes does not end a
/// code, for there are keywords with one; unless nothing else would.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"[")?;
    let (mut depth, mut quoted) = (0_usize, false);
    let outside = inside.iter().position(|byte| {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        *byte == b']' && depth == 0 && !quoted
    });
    let end = outside.or_else(|| inside.iter().position(|byte| *byte == b']'))?;
    let (code, rest) = inside.split_at_checked(end)?;
    Some((code, rest.get(1..).unwrap_or_default()))
}

/// A peer's words, without what could harm a terminal or a log.
pub(super) fn harmless(bytes: &[u8], limit: usize) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        let c = if c.is_control() { ' ' } else { c };
        if shown.len() + c.len_utf8() > limit {
            break;
        }
        shown.push(c);
    }
    shown
}

fn read(code: &[u8]) -> Code {
    let code = code.trim_ascii();
    let end = code.iter().position(|byte| *byte == b' ').unwrap_or(code.len());
    let (name, arguments) = code.split_at_checked(end).unwrap_or((code, b""));
    let (name, arguments) = (name.to_ascii_uppercase(), arguments.trim_ascii_start());
    let text = Text { bytes: arguments.to_vec(), ..Text::default() };
    alone(&name).or_else(|| with_arguments(&name, &mut Reader::new(&text, 0))).unwrap_or_else(
        || {
            let (name, arguments) = (harmless(&name, MAX_OTHER), harmless(arguments, MAX_OTHER));
            Code::Other { name, arguments }
        },
    )
}

/// A code that says all by its name. Some have arguments that do not matter.
fn alone(name: &[u8]) -> Option<Code> {
    Some(match name {
        b"ALERT" => Code::Alert,
        b"ALREADYEXISTS" => Code::AlreadyExists,
        b"AUTHENTICATIONFAILED" => Code::AuthenticationFailed,
        b"BADCHARSET" => Code::BadCharset,
        b"CANNOT" => Code::Cannot,
        b"CAPABILITY" => Code::Capability,
        b"CLIENTBUG" => Code::ClientBug,
        b"CLOSED" => Code::Closed,
        b"COMPRESSIONACTIVE" => Code::CompressionActive,
        b"CORRUPTION" => Code::Corruption,
        b"EXPIRED" => Code::Expired,
        b"EXPUNGEISSUED" => Code::ExpungeIssued,
        b"INUSE" => Code::InUse,
        b"LIMIT" => Code::Limit,
        b"NOMODSEQ" => Code::NoModSeq,
        b"NONEXISTENT" => Code::NonExistent,
        b"NOPERM" => Code::NoPerm,
        b"OVERQUOTA" => Code::OverQuota,
        b"READ-ONLY" => Code::ReadOnly,
        b"READ-WRITE" => Code::ReadWrite,
        b"SERVERBUG" => Code::ServerBug,
        b"THROTTLED" => Code::Throttled,
        b"TOOBIG" => Code::TooBig,
        b"TRYCREATE" => Code::TryCreate,
        b"UIDNOTSTICKY" => Code::UidNotSticky,
        b"UNAVAILABLE" => Code::Unavailable,
        b"UNKNOWN-CTE" => Code::UnknownCte,
        b"USEATTR" => Code::UseAttr,
        _ => return None,
    })
}

fn with_arguments(name: &[u8], reader: &mut Reader<'_>) -> Option<Code> {
    Some(match name {
        b"APPENDUID" => {
            let uid_validity = reader.positive()?;
            reader.space()?;
            Code::AppendUid { uid_validity, uids: UidList::from_runs(reader.runs()?) }
        }
        b"COPYUID" => {
            let uid_validity = reader.positive()?;
            reader.space()?;
            let from = UidList::from_runs(reader.runs()?);
            reader.space()?;
            Code::CopyUid { uid_validity, from, to: UidList::from_runs(reader.runs()?) }
        }
        b"HIGHESTMODSEQ" => Code::HighestModSeq(reader.number()?),
        b"MAILBOXID" => Code::MailboxId(reader.list(Reader::astring)?.into_iter().next()?),
        b"MODIFIED" => Code::Modified(UidSet::from_ranges(reader.runs()?)),
        b"PERMANENTFLAGS" => Code::PermanentFlags(permanent_flags(reader)?),
        b"UIDNEXT" => Code::UidNext(reader.positive()?),
        b"UIDVALIDITY" => Code::UidValidity(reader.positive()?),
        _ => return None,
    })
}

fn permanent_flags(reader: &mut Reader<'_>) -> Option<PermanentFlags> {
    let words = reader.list(Reader::atom)?;
    let new_keywords = words.contains(&&b"\\*"[..]);
    let flags = Flags::from_wire(words.into_iter().filter(|word| *word != b"\\*"));
    Some(PermanentFlags { flags, new_keywords })
}

/// Reads a list of flags.
pub(super) fn flags(reader: &mut Reader<'_>) -> Option<Flags> {
    reader.list(Reader::atom).map(Flags::from_wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Code> {
        words(text.as_bytes()).code
    }

    fn runs(runs: &[(u32, u32)]) -> UidList {
        UidList::from_runs(runs.to_vec())
    }

    #[test]
    fn codes_are_read_in_any_case() {
        assert_eq!(code("[uidvalidity 7] ok"), Some(Code::UidValidity(7)));
        assert_eq!(code("[Throttled]"), Some(Code::Throttled));
        assert_eq!(code("[MAILBOXID (F1-x)] ok"), Some(Code::MailboxId(b"F1-x".to_vec())));
        assert_eq!(code("[BADCHARSET (UTF-8)] x"), Some(Code::BadCharset));
        assert_eq!(code("ok [ALERT]"), None);
    }

    #[test]
    fn appended_uids_keep_their_order() {
        let uids = runs(&[(9, 9), (3, 5), (8, 7)]);
        let Some(Code::AppendUid { uids: read, .. }) = code("[APPENDUID 1 9,3:5,8:7] x") else {
            panic!()
        };
        assert_eq!(read, uids);
        assert_eq!(read.iter().collect::<Vec<_>>(), [9, 3, 4, 5, 8, 7]);
        let copied = Code::CopyUid { uid_validity: 4, from: runs(&[(1, 2)]), to: runs(&[(8, 9)]) };
        assert_eq!(code("[COPYUID 4 1:2 8:9]"), Some(copied));
    }

    #[test]
    fn a_code_that_is_not_known_or_broken_is_kept_as_text() {
        let other = |name: &str, arguments: &str| {
            Some(Code::Other { name: name.to_owned(), arguments: arguments.to_owned() })
        };
        assert_eq!(code("[x-foo bar baz] x"), other("X-FOO", "bar baz"));
        assert_eq!(code("[UIDVALIDITY 0]"), other("UIDVALIDITY", "0"));
        assert_eq!(code("[APPENDUID 1 *]"), other("APPENDUID", "1 *"));
        assert_eq!(code("[UIDNEXT 99999999999]"), other("UIDNEXT", "99999999999"));
        assert_eq!(code("[PERMANENTFLAGS (\\Seen]"), other("PERMANENTFLAGS", "(\\Seen"));
        assert_eq!(code("[UIDNEXT"), None);
    }

    #[test]
    fn permanent_flags_may_contain_brackets() {
        let Some(Code::PermanentFlags(flags)) = code("[PERMANENTFLAGS (a] \\Seen \\*)] Limited")
        else {
            panic!()
        };
        assert!(flags.new_keywords && flags.flags.keywords().len() == 1);
        assert_eq!(
            code("[PERMANENTFLAGS ()] x"),
            Some(Code::PermanentFlags(PermanentFlags::default()))
        );
    }

    #[test]
    fn a_text_is_made_harmless_and_short() {
        assert_eq!(words(b"[ALERT] a\x1b[2Jb\xff").text, "a [2Jb\u{fffd}");
        assert_eq!(words("\u{e4}".repeat(999).as_bytes()).text.len(), 512);
    }
}
