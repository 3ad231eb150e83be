//! What SELECT and EXAMINE tell, put together.
//!
//! Nothing here decides whether it is believed.

use super::{Code, Fetched, Flags, PermanentFlags, UidSet, Untagged, Verdict, Words};

/// What a server says of a mailbox while it selects it. Whoever waits for a SELECT shows it every untagged
/// response ([`Selection::take`]) and then the verdict ([`Selection::end`]).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// EXISTS, the last one said: Zimbra says several.
    pub exists: Option<u32>,
    /// FLAGS.
    pub flags: Option<Flags>,
    /// PERMANENTFLAGS. RFC 3501 section 7.1: if it is missing, all flags are kept.
    pub permanent_flags: Option<PermanentFlags>,
    /// UIDVALIDITY.
    pub uid_validity: Option<u32>,
    /// UIDNEXT.
    pub uid_next: Option<u32>,
    /// HIGHESTMODSEQ; `None` where the mailbox has none (NOMODSEQ, or zero).
    pub highest_mod_seq: Option<u64>,
    /// MAILBOXID.
    pub mailbox_id: Option<Vec<u8>>,
    /// READ-ONLY.
    pub read_only: bool,
    /// UIDNOTSTICKY: UIDs are not kept.
    pub uid_not_sticky: bool,
    /// With [`super::Since::Resync`]: what is gone.
    pub vanished: UidSet,
    /// With [`super::Since::Resync`]: what has changed.
    pub changed: Vec<Fetched>,
}

impl Selection {
    /// Takes an untagged response. CLOSED says that all before was of another mailbox.
    pub fn take(&mut self, response: &Untagged) {
        match response {
            Untagged::Exists(count) => self.exists = Some(*count),
            Untagged::Flags(flags) => self.flags = Some(flags.clone()),
            Untagged::Said(Verdict { words, .. }) => self.said(words),
            Untagged::Vanished { uids, .. } => self.vanished = self.vanished.union(uids),
            Untagged::Fetch(fetched) => self.changed.push(Fetched::clone(fetched)),
            _ => {}
        }
    }

    /// Takes what the server said at the end.
    pub fn end(&mut self, verdict: &Verdict) {
        self.said(&verdict.words);
    }

    fn said(&mut self, words: &Words) {
        match &words.code {
            Some(Code::Closed) => *self = Self::default(),
            Some(Code::HighestModSeq(mod_seq)) => {
                self.highest_mod_seq = Some(*mod_seq).filter(|mod_seq| *mod_seq > 0);
            }
            Some(Code::MailboxId(id)) => self.mailbox_id = Some(id.clone()),
            Some(Code::NoModSeq) => self.highest_mod_seq = None,
            Some(Code::PermanentFlags(flags)) => self.permanent_flags = Some(flags.clone()),
            Some(Code::ReadOnly) => self.read_only = true,
            Some(Code::ReadWrite) => self.read_only = false,
            Some(Code::UidNext(uid)) => self.uid_next = Some(*uid),
            Some(Code::UidNotSticky) => self.uid_not_sticky = true,
            Some(Code::UidValidity(validity)) => self.uid_validity = Some(*validity),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::client::Status;

    fn said(code: Code) -> Untagged {
        let words = Words { code: Some(code), text: String::new() };
        Untagged::Said(Verdict { status: Status::Ok, words })
    }

    #[test]
    fn what_was_said_of_the_mailbox_before_does_not_count() {
        let mut selection = Selection::default();
        for response in [
            Untagged::Exists(9),
            Untagged::Vanished { earlier: false, uids: UidSet::range(1, 2) },
            said(Code::Closed),
            Untagged::Exists(1),
            said(Code::UidValidity(7)),
            said(Code::HighestModSeq(0)),
            Untagged::Exists(2),
        ] {
            selection.take(&response);
        }
        let words = Words { code: Some(Code::ReadOnly), text: String::new() };
        selection.end(&Verdict { status: Status::Ok, words });
        let expected = Selection {
            exists: Some(2),
            uid_validity: Some(7),
            read_only: true,
            ..Selection::default()
        };
        assert_eq!(selection, expected);
    }
}
