//! How the commands of a client begin.
//!
//! Nothing here answers one.

use super::syntax::Words;

/// Commands that need a login, told from unknown ones to be of help.
const AFTER_LOGIN: [&[u8]; 34] = [
    b"APPEND",
    b"CHECK",
    b"CLOSE",
    b"COMPRESS",
    b"COPY",
    b"CREATE",
    b"DELETE",
    b"DELETEACL",
    b"ENABLE",
    b"EXAMINE",
    b"EXPUNGE",
    b"FETCH",
    b"GETACL",
    b"GETMETADATA",
    b"GETQUOTA",
    b"GETQUOTAROOT",
    b"IDLE",
    b"LIST",
    b"LSUB",
    b"MOVE",
    b"MYRIGHTS",
    b"NAMESPACE",
    b"NOTIFY",
    b"RENAME",
    b"SEARCH",
    b"SELECT",
    b"SORT",
    b"STATUS",
    b"STORE",
    b"SUBSCRIBE",
    b"THREAD",
    b"UID",
    b"UNSELECT",
    b"UNSUBSCRIBE",
];

/// Whether a command, in upper case, is one that needs a login.
pub(super) fn needs_login(name: &[u8]) -> bool {
    AFTER_LOGIN.contains(&name)
}

/// How a command begins.
pub(super) enum Head<'a> {
    Command { tag: &'a [u8], name: &'a [u8] },
    NoName { tag: &'a [u8] },
    NoTag,
}

/// Whether a command line begins like AUTHENTICATE, which can carry a SASL response.
pub(super) fn is_authenticate(start: &[u8]) -> bool {
    let mut words = Words::of_text(start);
    matches!(head(&mut words), Head::Command { name, .. } if name.eq_ignore_ascii_case(b"AUTHENTICATE"))
        && words.byte(b' ').is_some()
}

/// Reads how a command begins.
pub(super) fn head<'a>(words: &mut Words<'a>) -> Head<'a> {
    let Some(tag) = words.tag() else {
        return Head::NoTag;
    };
    let Some(name) = words.byte(b' ').and_then(|()| words.atom()) else {
        return if words.at_end() || words.rest().first() == Some(&b' ') {
            Head::NoName { tag }
        } else {
            Head::NoTag
        };
    };
    Head::Command { tag, name }
}
