//! The habits of makes of servers, as far as a client that copies mail meets them.
//! Nothing here is measured: it is what their documents, their users and other clients' work-arounds tell.

/// A make of server.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Capabilities after login; before it there are those of the login only.
    pub capabilities: Vec<&'static str>,
    /// What separates the parts of names.
    pub separator: char,
    /// What one's own mailboxes' names begin with, but for INBOX.
    pub prefix: &'static str,
    /// What else it does.
    pub quirks: Vec<Quirk>,
    /// Mailboxes that every user has, with their special uses.
    pub mailboxes: Vec<(&'static str, Option<&'static str>)>,
}

/// A habit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quirk {
    /// A message without a last line end gets one (Yahoo).
    AddsFinalLineEnd,
    /// Messages with a bare LF are refused (Cyrus).
    BareLineFeedsRefused,
    /// CREATE of a name that differs in case only is refused (Gmail, Exchange).
    CaseBlindCreate,
    /// HIGHESTMODSEQ is told only after ENABLE CONDSTORE (iCloud).
    CondStoreMustBeEnabled,
    /// `\Flagged` is lost at APPEND (Exchange).
    DropsFlagged,
    /// Empty messages are refused (Dovecot, Cyrus).
    EmptyMessagesRefused,
    /// ENABLED names nothing (iCloud).
    EmptyEnabled,
    /// RFC822.SIZE is larger than the message (Exchange).
    EstimatesSizes,
    /// EXAMINE tells another UIDVALIDITY than SELECT (Courier).
    ExamineTellsAnotherUidValidity,
    /// SELECT tells EXISTS twice, the first time wrong (Zimbra).
    ExistsTwice,
    /// Messages with longer lines are refused with `BAD Command Argument Error. 11` (Exchange).
    LongestLine(usize),
    /// A message whose Message-ID is there already is not stored again, and the old one's UID told (Gmail).
    MessageIdsOnce,
    /// At most so many keywords in a mailbox; others are dropped silently (Dovecot's Maildir).
    MostKeywords(usize),
    /// Names with this character cannot be had (Cyrus: quotes).
    NamesWithout(u8),
    /// CLOSED is not said (Zimbra).
    NoClosed,
    /// A message with NUL ends the session (Gmail).
    NulEndsSession,
    /// Messages with NUL are refused (Cyrus).
    NulRefused,
    /// No keywords but those that all know.
    NoKeywords,
    /// Names with double, leading or trailing blanks, or `^`, cannot be had (Gmail).
    PickyNames,
    /// SELECT tells no UIDNEXT.
    TellsNoUidNext,
    /// FETCH tells the UID behind all else.
    UidBehindBody,
    /// LIST writes `Inbox` (Yahoo).
    WritesInbox,
}

/// What Dovecot and Cyrus have in common, and what is used of it.
const NEARLY_ALL: &[&str] = &[
    "ID",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UIDPLUS",
    "UNSELECT",
    "CHILDREN",
    "LITERAL+",
    "MULTIAPPEND",
    "CONDSTORE",
    "QRESYNC",
    "ESEARCH",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "MOVE",
    "BINARY",
    "STATUS=SIZE",
    "OBJECTID",
    "QUOTA",
    "ACL",
];

impl Profile {
    fn new(name: &'static str, capabilities: &[&'static str]) -> Self {
        Self {
            name,
            capabilities: capabilities.to_vec(),
            separator: '/',
            prefix: "",
            quirks: Vec::new(),
            mailboxes: Vec::new(),
        }
    }

    /// IMAP4rev1 and nothing else.
    #[must_use]
    pub fn plain() -> Self {
        Self::new("plain", &[])
    }

    /// Dovecot with sdbox.
    #[must_use]
    pub fn dovecot() -> Self {
        Self { quirks: vec![Quirk::EmptyMessagesRefused], ..Self::new("dovecot", NEARLY_ALL) }
    }

    /// Cyrus.
    #[must_use]
    pub fn cyrus() -> Self {
        let quirks = vec![
            Quirk::BareLineFeedsRefused,
            Quirk::NulRefused,
            Quirk::EmptyMessagesRefused,
            Quirk::NamesWithout(b'"'),
        ];
        let mut profile = Self { quirks, separator: '.', ..Self::new("cyrus", NEARLY_ALL) };
        profile.capabilities.push("APPENDLIMIT=52428800");
        profile
    }

    /// Courier: everything lies below INBOX.
    #[must_use]
    pub fn courier() -> Self {
        Self {
            separator: '.',
            prefix: "INBOX.",
            quirks: vec![Quirk::ExamineTellsAnotherUidValidity],
            ..Self::new("courier", &["UIDPLUS", "CHILDREN", "NAMESPACE", "QUOTA", "IDLE", "ACL"])
        }
    }

    /// Gmail.
    #[must_use]
    pub fn gmail() -> Self {
        let capabilities = [
            "ID",
            "UNSELECT",
            "IDLE",
            "NAMESPACE",
            "QUOTA",
            "CHILDREN",
            "X-GM-EXT-1",
            "UIDPLUS",
            "ENABLE",
            "MOVE",
            "CONDSTORE",
            "ESEARCH",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "LITERAL-",
            "SPECIAL-USE",
            "APPENDLIMIT=35651584",
        ];
        Self {
            quirks: vec![
                Quirk::CaseBlindCreate,
                Quirk::MessageIdsOnce,
                Quirk::NulEndsSession,
                Quirk::PickyNames,
            ],
            mailboxes: vec![
                ("[Gmail]", Some("\\Noselect")),
                ("[Gmail]/All Mail", Some("\\All")),
                ("[Gmail]/Sent Mail", Some("\\Sent")),
                ("[Gmail]/Trash", Some("\\Trash")),
            ],
            ..Self::new("gmail", &capabilities)
        }
    }

    /// Exchange Online.
    #[must_use]
    pub fn exchange() -> Self {
        let capabilities =
            ["UIDPLUS", "MOVE", "ID", "UNSELECT", "CHILDREN", "IDLE", "NAMESPACE", "LITERAL+"];
        Self {
            quirks: vec![
                Quirk::CaseBlindCreate,
                Quirk::DropsFlagged,
                Quirk::EstimatesSizes,
                Quirk::LongestLine(10_239),
                Quirk::NoKeywords,
            ],
            mailboxes: vec![("Sent Items", None), ("Deleted Items", None), ("Calendar", None)],
            ..Self::new("exchange", &capabilities)
        }
    }

    /// Yahoo.
    #[must_use]
    pub fn yahoo() -> Self {
        let capabilities = [
            "ID",
            "MOVE",
            "NAMESPACE",
            "UIDPLUS",
            "LITERAL+",
            "CHILDREN",
            "UNSELECT",
            "OBJECTID",
            "ENABLE",
            "CONDSTORE",
            "ESEARCH",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "SPECIAL-USE",
            "APPENDLIMIT=41697280",
        ];
        Self {
            quirks: vec![Quirk::AddsFinalLineEnd, Quirk::WritesInbox],
            mailboxes: vec![("Sent", Some("\\Sent")), ("Bulk", Some("\\Junk"))],
            ..Self::new("yahoo", &capabilities)
        }
    }

    /// iCloud.
    #[must_use]
    pub fn icloud() -> Self {
        let capabilities = [
            "ID",
            "UIDPLUS",
            "QUOTA",
            "ENABLE",
            "CONDSTORE",
            "ESEARCH",
            "NAMESPACE",
            "CHILDREN",
            "LITERAL+",
            "UNSELECT",
            "IDLE",
        ];
        Self {
            quirks: vec![Quirk::CondStoreMustBeEnabled, Quirk::EmptyEnabled],
            mailboxes: vec![("Sent Messages", None), ("Deleted Messages", None)],
            ..Self::new("icloud", &capabilities)
        }
    }

    /// Zimbra.
    #[must_use]
    pub fn zimbra() -> Self {
        let capabilities = [
            "ACL",
            "CHILDREN",
            "CONDSTORE",
            "ENABLE",
            "ESEARCH",
            "ID",
            "IDLE",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "LITERAL+",
            "MULTIAPPEND",
            "NAMESPACE",
            "QRESYNC",
            "QUOTA",
            "UIDPLUS",
            "UNSELECT",
        ];
        Self {
            quirks: vec![Quirk::ExistsTwice, Quirk::NoClosed],
            mailboxes: vec![("Sent", None), ("Junk", None)],
            ..Self::new("zimbra", &capabilities)
        }
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::plain(),
            Self::dovecot(),
            Self::cyrus(),
            Self::courier(),
            Self::gmail(),
            Self::exchange(),
            Self::yahoo(),
            Self::icloud(),
            Self::zimbra(),
        ]
    }

    /// The same with another habit.
    #[must_use]
    pub fn with(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    /// The same without an extension.
    #[must_use]
    pub fn without(mut self, capability: &str) -> Self {
        self.capabilities.retain(|listed| *listed != capability);
        self
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability)
    }

    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    /// The largest message, where there is a limit.
    pub(super) fn append_limit(&self) -> Option<usize> {
        let limit = |listed: &&str| listed.strip_prefix("APPENDLIMIT=")?.parse().ok();
        self.capabilities.iter().find_map(limit)
    }
}
