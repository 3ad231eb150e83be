//! What a server can do after login.
//!
//! Nothing here asks for it.

use super::super::syntax::Literals;
use crate::capability::contains;

/// What a server says it can do, without what its owner does not believe. There is no case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    listed: Vec<String>,
}

impl Capabilities {
    /// What remains of a list.
    pub(super) fn new(mut listed: Vec<String>, disbelieved: &[String]) -> Self {
        listed.retain(|capability| !contains(disbelieved, capability));
        Self { listed }
    }

    /// Whether the server has this one, such as `UIDPLUS`. QRESYNC brings CONDSTORE (RFC 7162 section 3.2.3), and
    /// LIST-STATUS brings LIST-EXTENDED; IMAP4rev2 brings what RFC 9051 took in.
    pub fn has(&self, capability: &str) -> bool {
        let brought_by = |others: &[&str]| others.iter().any(|other| contains(&self.listed, other));
        contains(&self.listed, capability)
            || match capability.to_ascii_uppercase().as_str() {
                "CONDSTORE" => brought_by(&["QRESYNC"]),
                "LIST-EXTENDED" => brought_by(&["LIST-STATUS", "IMAP4rev2"]),
                "ENABLE" | "ESEARCH" | "IDLE" | "LIST-STATUS" | "LITERAL-" | "MOVE"
                | "NAMESPACE" | "SPECIAL-USE" | "STATUS=SIZE" | "UIDPLUS" | "UNSELECT" => {
                    brought_by(&["IMAP4rev2"])
                }
                _ => false,
            }
    }

    /// The most bytes of a message that can be appended anywhere (`APPENDLIMIT=n`, RFC 7889).
    pub fn append_limit(&self) -> Option<u64> {
        self.values("APPENDLIMIT").find_map(|value| value.parse().ok())
    }

    /// What stands behind `key=`, each time.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        let pairs = self.listed.iter().filter_map(|listed| listed.split_once('='));
        pairs.filter_map(move |(name, value)| name.eq_ignore_ascii_case(key).then_some(value))
    }

    /// All, as the server wrote them.
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// The literals that the server takes.
    pub(super) fn literals(&self) -> Literals {
        if self.has("LITERAL+") {
            Literals::Plus
        } else if self.has("LITERAL-") {
            Literals::Minus
        } else {
            Literals::Synchronizing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(text: &str) -> Capabilities {
        let listed = text.split(' ').map(str::to_owned).collect();
        Capabilities::new(listed, &["qresync".to_owned()])
    }

    #[test]
    fn one_brings_another() {
        assert!(capabilities("LIST-STATUS").has("list-extended"));
        assert!(capabilities("IMAP4rev2").has("UIDPLUS"));
        assert!(!capabilities("IMAP4rev1").has("UIDPLUS"));
    }

    #[test]
    fn what_is_not_believed_is_not_there() {
        assert!(!capabilities("QRESYNC").has("QRESYNC"));
        assert!(!capabilities("QRESYNC").has("CONDSTORE"));
    }

    #[test]
    fn the_limit_of_appends_is_read() {
        assert_eq!(capabilities("X appendlimit=35651584").append_limit(), Some(35_651_584));
        assert_eq!(capabilities("APPENDLIMIT").append_limit(), None);
    }
}
