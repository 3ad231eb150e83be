//! Untagged responses (RFC 3501 section 7).
//!
//! Nothing here fails: what cannot be read is said to be unreadable, and the next response is read.

use super::code::{flags, harmless, words};
use super::fetch;
use super::input::Text;
use super::reader::{Reader, Value};
use super::{
    CommandId, Esearch, Listed, MailboxName, MailboxStatus, Namespace, Namespaces, Resource,
    Section, SpecialUse, Status, UidSet, Untagged, Verdict,
};

/// The most that is shown of what cannot be read.
const MAX_SHOWN: usize = 80;

/// An untagged response, and the sections in it that came as quoted strings.
pub(super) struct Parsed {
    pub(super) untagged: Untagged,
    pub(super) quoted: Vec<(Section, Vec<u8>)>,
}

/// Reads a response that begins with `* `.
pub(super) fn untagged(text: &Text) -> Parsed {
    let mut reader = Reader::new(text, 2);
    reader.spaces();
    let number = reader.number32();
    if number.is_some() {
        reader.spaces();
    }
    let word = reader.word().unwrap_or_default();
    reader.spaces();
    if let (Some(sequence), b"FETCH") = (number, &*word) {
        return match fetch::read(sequence, &mut reader) {
            Some(fetch::Reading { fetched, quoted }) => {
                Parsed { untagged: Untagged::Fetch(Box::new(fetched)), quoted }
            }
            None => Parsed { untagged: unreadable(text), quoted: Vec::new() },
        };
    }
    let read = match number {
        Some(number) => numbered(number, &word),
        None => named(&word, &mut reader),
    };
    Parsed { untagged: read.unwrap_or_else(|| unreadable(text)), quoted: Vec::new() }
}

fn unreadable(text: &Text) -> Untagged {
    Untagged::Unreadable(harmless(&text.bytes, MAX_SHOWN).into_bytes())
}

fn numbered(number: u32, word: &[u8]) -> Option<Untagged> {
    match word {
        b"EXISTS" => Some(Untagged::Exists(number)),
        b"EXPUNGE" => Some(Untagged::Expunge(number)),
        b"RECENT" => Some(Untagged::Recent(number)),
        _ => None,
    }
}

fn named(word: &[u8], reader: &mut Reader<'_>) -> Option<Untagged> {
    Some(match word {
        b"OK" => said(Status::Ok, reader),
        b"NO" => said(Status::No, reader),
        b"BAD" => said(Status::Bad, reader),
        b"BYE" => Untagged::Bye(words(reader.rest())),
        b"PREAUTH" => Untagged::PreAuth(words(reader.rest())),
        b"ACL" => acl(reader)?,
        b"CAPABILITY" => Untagged::Capability,
        b"ENABLED" => Untagged::Enabled(enabled(reader)),
        b"ESEARCH" => Untagged::Esearch(esearch(reader)?),
        b"FLAGS" => Untagged::Flags(flags(reader)?),
        b"ID" => id(reader)?,
        b"LIST" => Untagged::List(listed(reader)?),
        b"LSUB" => Untagged::Lsub(listed(reader)?),
        b"METADATA" => metadata(reader)?,
        b"NAMESPACE" => Untagged::Namespace(namespaces(reader)?),
        b"QUOTA" => quota(reader)?,
        b"QUOTAROOT" => quota_root(reader)?,
        b"SEARCH" => search(reader)?,
        b"STATUS" => Untagged::Status(status(reader)?),
        b"VANISHED" => vanished(reader)?,
        word => Untagged::Unknown(harmless(word, MAX_SHOWN).into_bytes()),
    })
}

fn said(status: Status, reader: &Reader<'_>) -> Untagged {
    Untagged::Said(Verdict { status, words: words(reader.rest()) })
}

/// RFC 5161 section 3.2, with nothing behind it as iCloud answers.
fn enabled(reader: &mut Reader<'_>) -> Vec<String> {
    let mut enabled = Vec::new();
    while let Some(word) = reader.word() {
        enabled.push(harmless(&word, MAX_SHOWN));
        reader.spaces();
    }
    enabled
}

fn mailbox(reader: &mut Reader<'_>) -> Option<MailboxName> {
    reader.astring().map(MailboxName::new)
}

fn acl(reader: &mut Reader<'_>) -> Option<Untagged> {
    let mailbox = mailbox(reader)?;
    let mut rights = Vec::new();
    while !reader.at_end() {
        reader.space()?;
        let identifier = reader.astring()?;
        reader.space()?;
        rights.push((identifier, reader.astring()?));
    }
    Some(Untagged::Acl { mailbox, rights })
}

fn id(reader: &mut Reader<'_>) -> Option<Untagged> {
    if reader.nil().is_some() {
        return Some(Untagged::Id(Vec::new()));
    }
    let field = |reader: &mut Reader<'_>| {
        let name = reader.string()?.into_bytes()?;
        reader.spaces();
        let value = reader.nstring()?.and_then(Value::into_bytes);
        Some((name, value))
    };
    reader.list(field).map(Untagged::Id)
}

fn metadata(reader: &mut Reader<'_>) -> Option<Untagged> {
    let mailbox = mailbox(reader)?;
    reader.space()?;
    let with_value = |reader: &mut Reader<'_>| {
        let entry = reader.astring()?;
        reader.spaces();
        Some((entry, reader.nstring()?.and_then(Value::into_bytes)))
    };
    if reader.peek() == Some(b'(') {
        return Some(Untagged::Metadata { mailbox, entries: reader.list(with_value)? });
    }
    let mut entries = Vec::new();
    while !reader.at_end() {
        reader.spaces();
        entries.push((reader.astring()?, None));
    }
    Some(Untagged::Metadata { mailbox, entries })
}

fn quota(reader: &mut Reader<'_>) -> Option<Untagged> {
    let root = reader.astring()?;
    reader.space()?;
    let resource = |reader: &mut Reader<'_>| {
        let name = harmless(&reader.word()?, MAX_SHOWN);
        reader.space()?;
        let usage = reader.number()?;
        reader.space()?;
        Some(Resource { name, usage, limit: reader.number()? })
    };
    Some(Untagged::Quota { root, resources: reader.list(resource)? })
}

fn quota_root(reader: &mut Reader<'_>) -> Option<Untagged> {
    let mailbox = mailbox(reader)?;
    let mut roots = Vec::new();
    while !reader.at_end() {
        reader.space()?;
        roots.push(reader.astring()?);
    }
    Some(Untagged::QuotaRoot { mailbox, roots })
}

fn namespaces(reader: &mut Reader<'_>) -> Option<Namespaces> {
    let personal = namespace(reader)?;
    reader.space()?;
    let others = namespace(reader)?;
    reader.space()?;
    Some(Namespaces { personal, others, shared: namespace(reader)? })
}

fn namespace(reader: &mut Reader<'_>) -> Option<Vec<Namespace>> {
    if reader.nil().is_some() {
        return Some(Vec::new());
    }
    reader.list(|reader| {
        reader.byte(b'(')?;
        let prefix = reader.string()?.into_bytes()?;
        reader.space()?;
        let separator = separator(reader)?;
        // Extensions, a name and a list each.
        while reader.space().is_some() {
            reader.skip_value()?;
        }
        reader.byte(b')')?;
        Some(Namespace { prefix, separator })
    })
}

/// A quoted character, or NIL. hMailServer is known to write `"\"`.
fn separator(reader: &mut Reader<'_>) -> Option<Option<u8>> {
    for end in [b' ', b')'] {
        if reader.rest().starts_with(&[b'"', b'\\', b'"', end]) {
            (0..3).try_for_each(|_| reader.peek().and_then(|byte| reader.byte(byte)))?;
            return Some(Some(b'\\'));
        }
    }
    match reader.nstring()? {
        None => Some(None),
        Some(value) => Some(value.into_bytes()?.first().copied()),
    }
}

fn listed(reader: &mut Reader<'_>) -> Option<Listed> {
    let mut listed = Listed::default();
    reader.list(|reader| {
        listed.attribute(&reader.word()?);
        Some(())
    })?;
    reader.space()?;
    listed.separator = separator(reader)?;
    reader.space()?;
    listed.name = name_at_the_end(reader)?;
    Some(listed)
}

/// A mailbox's name before extended data (RFC 5258) or the end. Servers are known that quote no spaces.
fn name_at_the_end(reader: &mut Reader<'_>) -> Option<MailboxName> {
    let quoted = matches!(reader.peek()?, b'"' | b'{');
    let whole = reader.rest();
    let name = mailbox(reader)?;
    let extended = reader.rest().trim_ascii();
    let ends = extended.is_empty() || (extended.starts_with(b"(") && extended.ends_with(b")"));
    match (ends, quoted) {
        (true, _) => Some(name),
        (false, true) => None,
        (false, false) => Some(MailboxName::new(whole)),
    }
}

impl Listed {
    /// Takes an attribute in upper case (RFC 3501 section 7.2.2, RFC 5258 section 3, RFC 6154, RFC 8457).
    fn attribute(&mut self, attribute: &[u8]) {
        match attribute {
            b"\\NOSELECT" => self.no_select = true,
            b"\\NONEXISTENT" => {
                self.non_existent = true;
                self.no_select = true;
            }
            b"\\NOINFERIORS" => self.no_inferiors = true,
            b"\\SUBSCRIBED" => self.subscribed = true,
            b"\\HASCHILDREN" => self.children = Some(true),
            b"\\HASNOCHILDREN" => self.children = Some(false),
            other => self.special_uses.extend(SpecialUse::read(other)),
        }
    }
}

impl SpecialUse {
    /// Reads an attribute in upper case. Gmail's and Yahoo's old names (XLIST) are taken as well.
    fn read(attribute: &[u8]) -> Option<Self> {
        Some(match attribute {
            b"\\ALL" | b"\\ALLMAIL" => Self::All,
            b"\\ARCHIVE" => Self::Archive,
            b"\\DRAFTS" => Self::Drafts,
            b"\\FLAGGED" | b"\\STARRED" => Self::Flagged,
            b"\\IMPORTANT" => Self::Important,
            b"\\JUNK" | b"\\SPAM" => Self::Junk,
            b"\\SENT" => Self::Sent,
            b"\\TRASH" => Self::Trash,
            _ => return None,
        })
    }
}

fn status(reader: &mut Reader<'_>) -> Option<MailboxStatus> {
    let mut status = MailboxStatus { name: mailbox(reader)?, ..MailboxStatus::default() };
    reader.space()?;
    reader.list(|reader| {
        let item = reader.word()?;
        reader.space()?;
        let before = reader.clone();
        if status.item(&item, reader).is_none() {
            *reader = before;
            reader.skip_value()?;
        }
        Some(())
    })?;
    Some(status)
}

impl MailboxStatus {
    fn item(&mut self, item: &[u8], reader: &mut Reader<'_>) -> Option<()> {
        match item {
            b"APPENDLIMIT" => {
                let none = reader.nil().is_some();
                self.append_limit = Some(if none { None } else { Some(reader.number()?) });
            }
            b"HIGHESTMODSEQ" => self.highest_mod_seq = Some(reader.number()?),
            b"MAILBOXID" => self.mailbox_id = reader.list(Reader::astring)?.into_iter().next(),
            b"MESSAGES" => self.messages = Some(reader.number32()?),
            b"SIZE" => self.size = Some(reader.number()?),
            b"UIDNEXT" => self.uid_next = Some(reader.positive()?),
            b"UIDVALIDITY" => self.uid_validity = Some(reader.positive()?),
            b"UNSEEN" => self.unseen = Some(reader.number32()?),
            _ => return None,
        }
        Some(())
    }
}

fn search(reader: &mut Reader<'_>) -> Option<Untagged> {
    let uids = UidSet::from_ranges(reader.numbers()?);
    let mut mod_seq = None;
    if reader.byte(b'(').is_some() {
        reader.word().filter(|word| word == b"MODSEQ")?;
        reader.space()?;
        mod_seq = Some(reader.number()?);
        reader.byte(b')')?;
    }
    reader.at_end().then_some(Untagged::Search { uids, mod_seq })
}

/// RFC 4731 section 3.1, RFC 4466 section 2.6.2.
fn esearch(reader: &mut Reader<'_>) -> Option<Esearch> {
    let mut esearch = Esearch::default();
    if reader.byte(b'(').is_some() {
        reader.word().filter(|word| word == b"TAG")?;
        reader.space()?;
        esearch.command = CommandId::read(&reader.astring()?);
        reader.byte(b')')?;
    }
    loop {
        reader.spaces();
        if reader.at_end() {
            return Some(esearch);
        }
        let word = reader.word()?;
        if word == b"UID" {
            esearch.uid = true;
            continue;
        }
        reader.space()?;
        match &*word {
            b"ALL" => esearch.all = Some(UidSet::from_ranges(reader.runs()?)),
            b"COUNT" => esearch.count = Some(reader.number32()?),
            b"MAX" => esearch.max = Some(reader.positive()?),
            b"MODSEQ" => esearch.mod_seq = Some(reader.number()?),
            _ => reader.skip_value()?,
        }
    }
}

fn vanished(reader: &mut Reader<'_>) -> Option<Untagged> {
    let earlier = reader.byte(b'(').is_some();
    if earlier {
        reader.word().filter(|word| word == b"EARLIER")?;
        reader.byte(b')')?;
        reader.space()?;
    }
    let uids = UidSet::from_ranges(reader.runs()?);
    reader.at_end().then_some(Untagged::Vanished { earlier, uids })
}

#[cfg(test)]
mod tests;
