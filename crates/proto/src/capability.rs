//! What several back ends have in common.
//!
//! Nothing here knows what a capability means; the protocols' own modules strike and add.

use std::collections::HashSet;

/// The capabilities that stand in every list, in the order and case of the first; none if there is no
/// list. Capabilities have no case (RFC 3501 section 7.2.1, RFC 2449 section 3).
pub fn in_common<'a>(lists: impl IntoIterator<Item = &'a [String]>) -> Vec<String> {
    let mut lists = lists.into_iter();
    let Some(first) = lists.next() else {
        return Vec::new();
    };
    let mut seen = HashSet::new();
    let mut common = first.to_vec();
    common.retain(|capability| seen.insert(capability.to_ascii_uppercase()));
    for list in lists {
        common.retain(|capability| contains(list, capability));
    }
    common
}

/// Whether a list has a capability.
pub(crate) fn contains(list: &[String], capability: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(capability))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn only_what_all_have_is_in_common() {
        let (one, two) = (list("IMAP4rev1 IDLE NAMESPACE idle"), list("X idle imap4REV1"));
        assert_eq!(in_common([&*one, &*two]), list("IMAP4rev1 IDLE"));
        assert_eq!(in_common([&*one]), list("IMAP4rev1 IDLE NAMESPACE"));
        assert!(in_common([]).is_empty());
    }
}
