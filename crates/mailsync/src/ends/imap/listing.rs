//! Lists the messages of a mailbox, by the best the server has: QRESYNC, CONDSTORE, else all.
//!
//! Nothing here is given away before its tagged OK, or while the counts disagree.

use std::collections::BTreeMap;

use proto::imap::client::{
    Code, Command, CommandId, Event, FetchItem, Fetched, Fetching, Returning, Searching, Section,
    Select, Selection, Since, Untagged, Verdict, Which as WireWhich, Words,
};

use super::{
    super::{Ask, Fault, FaultKind, Which},
    ImapSession, said,
    wire::is_ok,
    words,
};
use crate::{
    Fingerprint, Fingerprinter, Flags, Mark, Message, RawName, Uid,
    snapshot::{Listing, Told, Vanished},
};

/// How often a mailbox is listed anew that changes while it is listed.
const TRIES: u32 = 4;

/// What fingerprints are made of.
const FIELDS: [&str; 7] = ["Message-ID", "Date", "From", "To", "Cc", "Subject", "Received"];

/// What was heard of a mailbox.
#[derive(Default)]
struct Heard {
    selection: Selection,
    /// Whether SELECT has been answered: what follows is of this mailbox.
    selected: bool,
    messages: BTreeMap<u32, Seen>,
    /// Messages in the mailbox, as the server said last.
    exists: i64,
    gone: Vec<std::ops::RangeInclusive<u32>>,
    header: Option<Fingerprinter>,
    /// Something could not be understood.
    unreadable: bool,
}

#[derive(Default)]
struct Seen {
    flags: Option<Flags>,
    size: Option<u64>,
    date: Option<crate::InternalDate>,
    /// Whether a date was told, if only one that cannot be read.
    dated: bool,
    fingerprint: Option<Fingerprint>,
}

impl ImapSession {
    pub(super) async fn list_messages(
        &mut self,
        mailbox: &RawName,
        ask: Ask,
    ) -> Result<Listing, Fault> {
        let mut ask = ask;
        for _ in 0..TRIES {
            match self.list_once(mailbox, ask).await? {
                Some(listing) => return Ok(listing),
                // What changes do not tell, all messages do.
                None if matches!(ask.which, Which::Since(_)) => ask.which = Which::All,
                None => {}
            }
        }
        let said = "the server lists another number of messages than it says there are";
        Err(Fault::new(FaultKind::Mailbox, said))
    }

    /// None if what came is not whole.
    async fn list_once(&mut self, mailbox: &RawName, ask: Ask) -> Result<Option<Listing>, Fault> {
        let has_modseqs = self.wire.capabilities().has("CONDSTORE");
        let since = match ask.which {
            Which::Since(mark) if has_modseqs => mark.highest_modseq.map(|modseq| (mark, modseq)),
            _ => None,
        };
        let mut commands = vec![self.select(mailbox, since)];
        let fetch = |first: u32, items: Vec<FetchItem>, changed_since: Option<u64>| {
            let which = WireWhich::From(first);
            Command::UidFetch(Fetching { which, items, changed_since, vanished: false })
        };
        let items = items(ask.fingerprints);
        match (ask.which, since) {
            (Which::From(first), _) => commands.push(fetch(first.get(), items, None)),
            (_, Some((mark, modseq))) => {
                if !self.resync {
                    commands.push(fetch(1, vec![FetchItem::Flags], Some(modseq)));
                }
                commands.push(fetch(mark.uid_next.get(), items, None));
            }
            _ => commands.push(fetch(1, items, None)),
        }
        let mut heard = Heard::default();
        self.hear(mailbox, &commands, &mut heard).await?;
        if heard.unreadable {
            return Ok(None);
        }
        let validity = heard.selection.uid_validity;
        let Some(uid_validity) = validity else {
            return Err(Fault::new(FaultKind::Mailbox, "the server tells no UIDVALIDITY"));
        };
        let told = match (ask.which, since) {
            (Which::From(first), _) => heard.take_from(first),
            (_, Some((mark, _))) if mark.uid_validity == uid_validity => {
                match self.changes(&mut heard, &mark).await? {
                    Some(told) => told,
                    None => return Ok(None),
                }
            }
            // Another mailbox than before: its changes are of no use.
            (_, Some(_)) => return Ok(None),
            _ => match heard.take_all() {
                Some(told) => told,
                None => return Ok(None),
            },
        };
        Ok(Some(heard.listing(uid_validity, told)))
    }

    fn select(&self, mailbox: &RawName, since: Option<(Mark, u64)>) -> Command {
        let since = match since {
            Some((mark, mod_seq)) if self.resync => {
                Since::Resync { uid_validity: mark.uid_validity, mod_seq, known: None }
            }
            _ if self.wire.capabilities().has("CONDSTORE") => Since::ModSeq,
            _ => Since::Unasked,
        };
        Command::Select(Select { mailbox: words::name(mailbox), read_only: self.read_only, since })
    }

    /// Does commands behind one another, the first of which selects the mailbox.
    async fn hear(
        &mut self,
        mailbox: &RawName,
        commands: &[Command],
        heard: &mut Heard,
    ) -> Result<(), Fault> {
        self.selected = None;
        let ids: Vec<CommandId> = commands.iter().map(|command| self.wire.send(command)).collect();
        let mut first = None;
        let mut verdicts: Vec<Verdict> = Vec::new();
        for id in ids {
            let verdict = self.wire.finish(id, |event| heard.take(event)).await?;
            if first.is_none() {
                heard.selection.end(&verdict);
                heard.selected = true;
                heard.exists = i64::from(heard.selection.exists.unwrap_or_default());
                first = Some(verdict);
            } else {
                verdicts.push(verdict);
            }
        }
        if let Some(first) = &first {
            said::check(first)?;
            self.selected = Some(mailbox.clone());
        }
        // An empty mailbox has no messages to name; some servers call that an error.
        if heard.exists > 0 {
            verdicts.iter().try_for_each(said::check)?;
        }
        Ok(())
    }

    async fn changes(&mut self, heard: &mut Heard, mark: &Mark) -> Result<Option<Told>, Fault> {
        let known = i64::from(mark.messages);
        let is_new = |uid: &&u32| **uid >= mark.uid_next.get();
        let new = i64::try_from(heard.messages.keys().filter(is_new).count()).unwrap_or(i64::MAX);
        let changed = |heard: &mut Heard| {
            let changed = std::mem::take(&mut heard.messages).into_iter();
            changed.filter_map(|(uid, seen)| seen.message(uid)).collect()
        };
        if self.resync {
            let mut gone = std::mem::take(&mut heard.gone);
            gone.extend(heard.selection.vanished.ranges().map(|(first, last)| first..=last));
            return Ok(Some(Told::Changes {
                changed: changed(heard),
                gone: Vanished::These(gone),
            }));
        }
        if heard.exists == known + new {
            let gone = Vanished::These(Vec::new());
            return Ok(Some(Told::Changes { changed: changed(heard), gone }));
        }
        let there = self.all_uids().await?;
        Ok(Some(Told::Changes { changed: changed(heard), gone: Vanished::AllBut(there) }))
    }

    /// All UIDs of the selected mailbox.
    async fn all_uids(&mut self) -> Result<Vec<std::ops::RangeInclusive<u32>>, Fault> {
        let esearch = self.wire.capabilities().has("ESEARCH");
        let returning = esearch.then(|| Returning { all: true, ..Returning::default() });
        let search = Command::UidSearch(Searching { returning, keys: Vec::new() });
        let mut ranges = Vec::new();
        let verdict = self.wire.ask(search, |event| {
            let uids = match event {
                Event::Untagged(Untagged::Esearch(found)) => found.all,
                Event::Untagged(Untagged::Search { uids, .. }) => Some(uids),
                _ => None,
            };
            ranges.extend(uids.iter().flat_map(|uids| uids.ranges()).map(|(a, b)| a..=b));
        });
        said::check(&verdict.await?)?;
        Ok(ranges)
    }

    /// Selects a mailbox, unless it is selected.
    pub(super) async fn open_mailbox(&mut self, mailbox: &RawName) -> Result<(), Fault> {
        if self.selected.as_ref() == Some(mailbox) {
            return Ok(());
        }
        self.selected = None;
        let verdict = self.wire.ask(self.select(mailbox, None), |_| {}).await?;
        said::check(&verdict)?;
        self.selected = is_ok(&verdict).then(|| mailbox.clone());
        Ok(())
    }
}

impl Heard {
    fn take(&mut self, event: Event) {
        match event {
            Event::Untagged(untagged) => self.take_untagged(&untagged),
            Event::Body(body) if body.section == Section::HeaderFields => {
                self.header = Some(Fingerprinter::default());
            }
            Event::Piece(bytes) => {
                if let Some(header) = &mut self.header {
                    header.take(&bytes);
                }
            }
            _ => {}
        }
    }

    fn take_untagged(&mut self, untagged: &Untagged) {
        if !self.selected {
            self.selection.take(untagged);
            if let Untagged::Said(Verdict {
                words: Words { code: Some(Code::Closed), .. }, ..
            }) = untagged
            {
                // All before was of the mailbox that was selected until now.
                self.messages.clear();
                self.header = None;
                self.unreadable = false;
            }
        }
        match untagged {
            Untagged::Fetch(fetched) => self.take_message(fetched),
            Untagged::Unreadable(_) => self.unreadable = true,
            Untagged::Exists(count) if self.selected => self.exists = i64::from(*count),
            Untagged::Expunge(_) if self.selected => self.exists -= 1,
            Untagged::Vanished { earlier: false, uids } if self.selected => {
                self.exists -= i64::try_from(uids.len()).unwrap_or(i64::MAX);
                self.gone.extend(uids.ranges().map(|(first, last)| first..=last));
            }
            _ => {}
        }
    }

    fn take_message(&mut self, fetched: &Fetched) {
        let header = self.header.take();
        // Somebody changed the flags of a message without a number: the next listing tells.
        let Some(uid) = fetched.uid else { return };
        let seen = self.messages.entry(uid).or_default();
        if let Some(flags) = &fetched.flags {
            seen.flags = Some(words::flags(flags));
        }
        seen.size = fetched.size.or(seen.size);
        seen.dated |= fetched.internal_date.is_some();
        seen.date = words::date(fetched).or(seen.date);
        if let Some(header) = header {
            seen.fingerprint = Some(header.finish());
        }
    }

    /// All messages, if they are as many as there should be.
    fn take_all(&mut self) -> Option<Told> {
        let gone = std::mem::take(&mut self.gone);
        self.messages.retain(|uid, _| !gone.iter().any(|range| range.contains(uid)));
        // Another's change of flags tells of a message that is listed anyway, or will be.
        let whole = self.messages.values().all(|seen| seen.flags.is_some() && seen.size.is_some());
        let count = i64::try_from(self.messages.len()).unwrap_or(i64::MAX);
        if !whole || count != self.exists {
            return None;
        }
        let messages = std::mem::take(&mut self.messages).into_iter();
        Some(Told::All(messages.filter_map(|(uid, seen)| seen.message(uid)).collect()))
    }

    fn take_from(&mut self, first: Uid) -> Told {
        // `n:*` tells the last message even if it is below n.
        let messages = std::mem::take(&mut self.messages).split_off(&first.get()).into_iter();
        let whole = messages.filter(|(_, seen)| seen.size.is_some());
        Told::All(whole.filter_map(|(uid, seen)| seen.message(uid)).collect())
    }

    fn listing(&self, uid_validity: u32, told: Told) -> Listing {
        let (Told::All(messages) | Told::Changes { changed: messages, .. }) = &told;
        let last = messages.last().and_then(|last| last.uid.checked_add(1)).unwrap_or(Uid::MIN);
        let next = self.selection.uid_next.and_then(Uid::new).unwrap_or(Uid::MIN);
        Listing {
            uid_validity,
            uid_next: next.max(last),
            highest_modseq: self.selection.highest_mod_seq,
            messages: u32::try_from(self.exists).unwrap_or_default(),
            holdable: words::holdable(self.selection.permanent_flags.as_ref()),
            read_only: self.selection.read_only,
            told,
        }
    }
}

impl Seen {
    fn message(self, uid: u32) -> Option<Message> {
        Some(Message {
            uid: Uid::new(uid)?,
            flags: self.flags.unwrap_or_default(),
            size: self.size,
            date: self.date,
            fingerprint: self.fingerprint,
            body: None,
        })
    }
}

fn items(fingerprints: bool) -> Vec<FetchItem> {
    let mut items = vec![FetchItem::Flags, FetchItem::Size, FetchItem::InternalDate];
    if fingerprints {
        items.push(FetchItem::HeaderFields(FIELDS.map(str::to_owned).to_vec()));
    }
    items
}
