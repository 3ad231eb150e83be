//! Commands as bytes: each argument in the form that is right for it.
//!
//! Nothing here asks whether the server understands the command, and nothing puts an argument into a text
//! without a serializer.

use super::super::syntax::{Literals, write_string};
use super::sending::Part;
use super::{
    Change, Command, Extension, FetchItem, Fetching, Flags, Keyword, List, MailboxName, Mark,
    Returning, SearchKey, Searching, Select, Since, SpecialUse, StatusItem, Storing, SystemFlag,
    Which,
};

/// Writes a command, piece by piece.
pub(super) struct Writer {
    literals: Literals,
    parts: Vec<Part>,
    line: Vec<u8>,
}

impl Writer {
    /// Begins with a tag.
    pub(super) fn new(tag: &str, literals: Literals) -> Self {
        Self { literals, parts: Vec::new(), line: tag.as_bytes().to_vec() }
    }

    /// Adds a word of ours, with a space before it.
    pub(super) fn word(&mut self, word: &str) {
        self.line.push(b' ');
        self.line.extend_from_slice(word.as_bytes());
    }

    /// Adds a string, with a space before it: quoted, or as a literal.
    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.line.push(b' ');
        self.bare_string(bytes);
    }

    /// Adds strings in parentheses, with a space before them.
    fn strings<'a>(&mut self, strings: impl IntoIterator<Item = &'a [u8]>) {
        let mut before: &[u8] = b" (";
        for string in strings {
            self.bytes(before);
            self.bare_string(string);
            before = b" ";
        }
        self.bytes(b")");
    }

    fn bare_string(&mut self, bytes: &[u8]) {
        if write_string(&mut self.line, bytes, self.literals) {
            self.wait();
            self.line.extend_from_slice(bytes);
        }
    }

    fn mailbox(&mut self, mailbox: &MailboxName) {
        self.string(mailbox.as_bytes());
    }

    /// Adds words in parentheses, with a space before them.
    pub(super) fn list<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        let words: Vec<_> = words.into_iter().collect();
        self.word(&format!("({})", words.join(" ")));
    }

    /// Adds flags in parentheses, without those that cannot be written.
    pub(super) fn flags(&mut self, flags: &Flags) {
        let settable = flags.system_flags().filter(|flag| *flag != SystemFlag::Recent);
        let system = settable.map(|flag| flag.name().as_bytes());
        let keywords = flags.keywords().iter().filter(|keyword| keyword.is_atom());
        let flags: Vec<_> = system.chain(keywords.map(Keyword::as_bytes)).collect();
        self.line.extend_from_slice(b" (");
        self.line.extend_from_slice(&flags.join(&b' '));
        self.line.push(b')');
    }

    /// Adds bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
    }

    /// Lets the server speak before what follows.
    pub(super) fn wait(&mut self) {
        self.part(Part::Wait);
    }

    /// Adds something else than bytes.
    pub(super) fn part(&mut self, part: Part) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.parts.push(Part::Bytes(line));
        }
        self.parts.push(part);
    }

    /// Ends the line.
    pub(super) fn finish(mut self) -> Vec<Part> {
        self.line.extend_from_slice(b"\r\n");
        self.parts.push(Part::Bytes(self.line));
        self.parts
    }

    /// Adds a command with its arguments.
    pub(super) fn command(&mut self, command: &Command) {
        match command {
            Command::Capability => self.word("CAPABILITY"),
            Command::Close => self.word("CLOSE"),
            Command::Compress => self.word("COMPRESS DEFLATE"),
            Command::Create { mailbox, special_use } => self.create(mailbox, *special_use),
            Command::Enable(extensions) => {
                self.word("ENABLE");
                extensions.iter().for_each(|extension| self.word(extension.name()));
            }
            Command::GetAcl(mailbox) => self.of_mailbox("GETACL", mailbox),
            Command::GetMetadata { mailbox, entries } => self.get_metadata(mailbox, entries),
            Command::GetQuotaRoot(mailbox) => self.of_mailbox("GETQUOTAROOT", mailbox),
            Command::Id(fields) => self.id(fields),
            Command::Idle => self.word("IDLE"),
            Command::List(list) => self.mailboxes(list),
            Command::Logout => self.word("LOGOUT"),
            Command::Lsub { reference, pattern } => {
                self.of_mailbox("LSUB", reference);
                self.mailbox(pattern);
            }
            Command::Namespace => self.word("NAMESPACE"),
            Command::Noop => self.word("NOOP"),
            Command::Select(select) => self.select(select),
            Command::Status { mailbox, items } => {
                self.of_mailbox("STATUS", mailbox);
                self.list(items.iter().map(|item| item.name()));
            }
            Command::Subscribe(mailbox) => self.of_mailbox("SUBSCRIBE", mailbox),
            Command::UidCopy { uids, mailbox } => {
                self.word(&format!("UID COPY {uids}"));
                self.mailbox(mailbox);
            }
            Command::UidExpunge(uids) => self.word(&format!("UID EXPUNGE {uids}")),
            Command::UidFetch(fetching) => self.fetch(fetching),
            Command::UidMove { uids, mailbox } => {
                self.word(&format!("UID MOVE {uids}"));
                self.mailbox(mailbox);
            }
            Command::UidSearch(searching) => self.search(searching),
            Command::UidStore(storing) => self.store(storing),
            Command::Unselect => self.word("UNSELECT"),
        }
    }

    fn of_mailbox(&mut self, command: &str, mailbox: &MailboxName) {
        self.word(command);
        self.mailbox(mailbox);
    }

    fn create(&mut self, mailbox: &MailboxName, special_use: Option<SpecialUse>) {
        self.of_mailbox("CREATE", mailbox);
        if let Some(special_use) = special_use {
            self.word(&format!("(USE ({}))", special_use.name()));
        }
    }

    fn get_metadata(&mut self, mailbox: &MailboxName, entries: &[String]) {
        self.word("GETMETADATA (DEPTH infinity)");
        self.mailbox(mailbox);
        self.strings(entries.iter().map(String::as_bytes));
    }

    fn id(&mut self, fields: &[(String, String)]) {
        if fields.is_empty() {
            return self.word("ID NIL");
        }
        self.word("ID");
        let pairs = fields.iter().flat_map(|(name, value)| [name, value]);
        self.strings(pairs.map(String::as_bytes));
    }

    fn mailboxes(&mut self, list: &List) {
        self.word("LIST");
        if list.only_subscribed {
            self.word("(SUBSCRIBED)");
        }
        self.mailbox(&list.reference);
        match &*list.patterns {
            [pattern] => self.mailbox(pattern),
            patterns => self.strings(patterns.iter().map(MailboxName::as_bytes)),
        }
        self.list_return(list);
    }

    fn list_return(&mut self, list: &List) {
        let mut options = Vec::new();
        for (asked, option) in [
            (list.subscribed, "SUBSCRIBED"),
            (list.children, "CHILDREN"),
            (list.special_use, "SPECIAL-USE"),
        ] {
            if asked {
                options.push(option.to_owned());
            }
        }
        if !list.status.is_empty() {
            let items: Vec<_> = list.status.iter().map(|item| item.name()).collect();
            options.push(format!("STATUS ({})", items.join(" ")));
        }
        if !options.is_empty() {
            self.word(&format!("RETURN ({})", options.join(" ")));
        }
    }

    fn select(&mut self, select: &Select) {
        let command = if select.read_only { "EXAMINE" } else { "SELECT" };
        self.of_mailbox(command, &select.mailbox);
        match &select.since {
            Since::Unasked => {}
            Since::ModSeq => self.word("(CONDSTORE)"),
            Since::Resync { uid_validity, mod_seq, known } => {
                self.word(&format!("(QRESYNC ({uid_validity} {mod_seq}"));
                if let Some(known) = known.as_ref().filter(|known| !known.is_empty()) {
                    self.word(&known.to_string());
                }
                self.bytes(b"))");
            }
        }
    }

    fn fetch(&mut self, fetching: &Fetching) {
        self.word("UID FETCH");
        self.which(&fetching.which);
        self.bytes(b" (");
        for (number, item) in fetching.items.iter().enumerate() {
            if number > 0 {
                self.bytes(b" ");
            }
            self.fetch_item(item);
        }
        self.bytes(b")");
        if let Some(mod_seq) = fetching.changed_since {
            let vanished = if fetching.vanished { " VANISHED" } else { "" };
            self.word(&format!("(CHANGEDSINCE {mod_seq}{vanished})"));
        }
    }

    fn fetch_item(&mut self, item: &FetchItem) {
        self.bytes(match item {
            FetchItem::Binary => b"BINARY.PEEK[]",
            FetchItem::Body => b"BODY.PEEK[]",
            FetchItem::EmailId => b"EMAILID",
            FetchItem::Flags => b"FLAGS",
            FetchItem::GmLabels => b"X-GM-LABELS",
            FetchItem::GmMsgId => b"X-GM-MSGID",
            FetchItem::Header => b"BODY.PEEK[HEADER]",
            FetchItem::HeaderFields(names) => return self.header_fields(names),
            FetchItem::InternalDate => b"INTERNALDATE",
            FetchItem::ModSeq => b"MODSEQ",
            FetchItem::Size => b"RFC822.SIZE",
        });
    }

    fn header_fields(&mut self, names: &[String]) {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = |name: &&str| !name.is_empty() && name.bytes().all(is_token);
        let names: Vec<_> = names.iter().map(String::as_str).filter(fits).collect();
        self.bytes(b"BODY.PEEK[HEADER.FIELDS");
        self.list(names);
        self.bytes(b"]");
    }

    fn which(&mut self, which: &Which) {
        match which {
            Which::These(uids) => self.word(&uids.to_string()),
            Which::From(uid) => self.word(&format!("{uid}:*")),
        }
    }

    fn search(&mut self, searching: &Searching) {
        self.word("UID SEARCH");
        if let Some(Returning { all, count, max }) = searching.returning {
            let options = [(all, "ALL"), (count, "COUNT"), (max, "MAX")];
            let asked = options.into_iter().filter_map(|(asked, name)| asked.then_some(name));
            self.word("RETURN");
            self.list(asked);
        }
        if searching.keys.is_empty() {
            self.word("ALL");
        }
        for key in &searching.keys {
            match key {
                SearchKey::Uid(which) => {
                    self.word("UID");
                    self.which(which);
                }
                SearchKey::Has(mark) => self.mark(mark, ""),
                SearchKey::Lacks(mark) => self.mark(mark, "UN"),
                SearchKey::Expression(expression) => {
                    self.word(&format!("({})", expression.as_str()));
                }
            }
        }
    }

    /// Adds a flag, or its opposite with `UN` before it.
    fn mark(&mut self, mark: &Mark, un: &str) {
        let name = match mark {
            Mark::Answered => "ANSWERED",
            Mark::Deleted => "DELETED",
            Mark::Draft => "DRAFT",
            Mark::Flagged => "FLAGGED",
            Mark::Seen => "SEEN",
            Mark::Keyword(keyword) if keyword.is_atom() && !keyword.is_system() => {
                self.word(&format!("{un}KEYWORD "));
                return self.bytes(keyword.as_bytes());
            }
            // Nothing has what cannot be named.
            Mark::Keyword(_) => return self.word(if un.is_empty() { "NOT ALL" } else { "ALL" }),
        };
        self.word(&format!("{un}{name}"));
    }

    fn store(&mut self, storing: &Storing) {
        self.word(&format!("UID STORE {}", storing.uids));
        if let Some(mod_seq) = storing.unchanged_since {
            self.word(&format!("(UNCHANGEDSINCE {mod_seq})"));
        }
        self.word(match storing.change {
            Change::Add => "+FLAGS.SILENT",
            Change::Remove => "-FLAGS.SILENT",
        });
        self.flags(&storing.flags);
    }
}

impl Extension {
    fn name(self) -> &'static str {
        match self {
            Self::CondStore => "CONDSTORE",
            Self::QResync => "QRESYNC",
            Self::Utf8Accept => "UTF8=ACCEPT",
        }
    }
}

impl SpecialUse {
    /// As it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Important => "\\Important",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }
}

impl StatusItem {
    fn name(self) -> &'static str {
        match self {
            Self::AppendLimit => "APPENDLIMIT",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::MailboxId => "MAILBOXID",
            Self::Messages => "MESSAGES",
            Self::Size => "SIZE",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
        }
    }
}

#[cfg(test)]
mod tests;
