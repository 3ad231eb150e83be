//! Messages: reading, storing, changing their flags, moving and removing them.
//!
//! Nothing here holds a message: it comes in pieces and goes in pieces.

use std::{collections::VecDeque, io::Read};

use proto::imap::client::{
    Change, Command, CommandId, Event, FetchItem, Fetching, Form, Message, MessageKey,
    SearchExpression, SearchKey, Searching, Section, Storing, UidSet, Untagged, Which,
};

use super::{
    super::{
        Append, Appended, Bodies, Fault, FaultKind, FlagChange, Incoming, Refusal, RefusalCause,
    },
    ImapSession, said, uid_set,
    wire::Came,
    words,
};
use crate::{Flags, RawName, SystemFlag, Uid};

/// FETCH commands without an answer. Two keep the server busy; more would only fill its buffers.
const WINDOW: usize = 3;

/// Messages that one FETCH names, and bytes of their UIDs: servers have limits to their lines.
const FETCHED_AT_ONCE: u32 = 500;
const LINE: usize = 1000;

/// Bytes of a message that are sent at once.
const PIECE: usize = 64 * 1024;

impl ImapSession {
    pub(super) async fn read_messages(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        bodies: &mut Bodies,
    ) -> Result<(), Fault> {
        self.open_mailbox(mailbox).await?;
        let uids = uid_set(uids);
        let windows: Vec<UidSet> = uids.windows(FETCHED_AT_ONCE).collect();
        let mut parts: VecDeque<UidSet> =
            windows.iter().flat_map(|some| some.lines(LINE)).collect();
        let mut asked: VecDeque<CommandId> = VecDeque::new();
        loop {
            while asked.len() < WINDOW
                && let Some(part) = parts.pop_front()
            {
                asked.push_back(self.wire.send(&fetch(part)));
            }
            let Some(id) = asked.pop_front() else { return Ok(()) };
            let verdict = self.read_answer(id, bodies).await;
            if verdict.is_err() {
                // What is still on its way would be taken for answers to what is asked next.
                self.selected = None;
            }
            verdict?;
        }
    }

    /// Takes messages in until a FETCH is done.
    async fn read_answer(&mut self, id: CommandId, bodies: &mut Bodies) -> Result<(), Fault> {
        let mut incoming: Option<Incoming> = None;
        loop {
            match self.wire.event().await? {
                Event::Body(body) if body.section == Section::Body => {
                    let uid = body.uid.and_then(Uid::new).unwrap_or(Uid::MAX);
                    incoming = Some(bodies.begin(uid, body.size).await.map_err(broken_off)?);
                }
                Event::Piece(bytes) => {
                    if let Some(incoming) = &mut incoming {
                        incoming.take(&bytes).map_err(broken_off)?;
                    }
                }
                Event::Untagged(Untagged::Fetch(fetched)) => {
                    let uid = fetched.uid.and_then(Uid::new);
                    if let Some((incoming, uid)) = incoming.take().zip(uid) {
                        bodies.finish(incoming.named(uid)).await.map_err(broken_off)?;
                    }
                }
                Event::Done { command, verdict } if command == id => {
                    // Some messages were gone, or some not to be had: who counts them sees it.
                    let fault = said::check(&verdict).err();
                    return match fault {
                        Some(fault) if fault.kind != FaultKind::Mailbox => Err(fault),
                        _ => Ok(()),
                    };
                }
                _ => {}
            }
        }
    }

    pub(super) async fn append_messages(
        &mut self,
        mailbox: &RawName,
        batch: &[Append],
    ) -> Result<Vec<Appended>, Fault> {
        let binary = self.wire.capabilities().has("BINARY");
        let messages: Vec<Message> =
            (0..).zip(batch).map(|(key, append)| announced(key, append, binary)).collect();
        self.wire.client().append(&words::name(mailbox), &messages);
        let mut became: Vec<Option<Appended>> = batch.iter().map(|_| None).collect();
        let mut missing = batch.len();
        let mut reader: Option<Box<dyn Read + Send + '_>> = None;
        while missing > 0 {
            let event = match self.wire.step().await? {
                Came::Event(event) => event,
                Came::Waiting => {
                    match next_piece(&mut reader)? {
                        Some(bytes) => self.wire.give(bytes),
                        None => self.wire.receive().await?,
                    }
                    continue;
                }
            };
            let (key, outcome) = match event {
                Event::Wanted { message, .. } => {
                    let append = index(message).and_then(|at| batch.get(at));
                    let content = append.map(|append| append.body.content.reader());
                    reader = content.transpose().map_err(disk)?;
                    continue;
                }
                Event::Stored { message, place } => {
                    let place = place.and_then(|(validity, uid)| Some((validity, Uid::new(uid)?)));
                    (message, Ok(place))
                }
                Event::Refused { message, among, verdict } => {
                    (message, Err(said::refusal(&verdict, among)))
                }
                _ => continue,
            };
            if let Some(slot) = index(key).and_then(|at| became.get_mut(at))
                && slot.is_none()
            {
                *slot = Some(outcome);
                missing -= 1;
            }
        }
        let unsaid = || {
            let said = "the server has said nothing of it".to_owned();
            Err(Refusal { cause: RefusalCause::Other, among: 1, said })
        };
        Ok(became.into_iter().map(|outcome| outcome.unwrap_or_else(unsaid)).collect())
    }

    pub(super) async fn change_flags(
        &mut self,
        mailbox: &RawName,
        uids: &UidSet,
        change: &FlagChange,
    ) -> Result<(), Fault> {
        self.open_mailbox(mailbox).await?;
        let mut asked = Vec::new();
        for uids in uids.lines(LINE) {
            for (kind, flags) in [(Change::Add, &change.add), (Change::Remove, &change.remove)] {
                if !flags.is_empty() {
                    let flags = words::wire_flags(flags);
                    let unchanged_since = None;
                    let uids = uids.clone();
                    let storing = Storing { uids, change: kind, flags, unchanged_since };
                    asked.push(self.wire.send(&Command::UidStore(storing)));
                }
            }
        }
        let mut verdicts = Vec::new();
        for id in asked {
            verdicts.push(self.wire.finish(id, |_| {}).await?);
        }
        verdicts.iter().try_for_each(said::check)
    }

    pub(super) async fn move_messages(
        &mut self,
        mailbox: &RawName,
        uids: &UidSet,
        to: &RawName,
    ) -> Result<(), Fault> {
        self.open_mailbox(mailbox).await?;
        let moves = self.wire.capabilities().has("MOVE");
        for uids in uids.lines(LINE) {
            let mailbox = words::name(to);
            if moves {
                self.wire.succeed(Command::UidMove { uids, mailbox }).await?;
            } else {
                self.wire.succeed(Command::UidCopy { uids, mailbox }).await?;
            }
        }
        if moves { Ok(()) } else { self.remove_messages(mailbox, uids).await }
    }

    pub(super) async fn remove_messages(
        &mut self,
        mailbox: &RawName,
        uids: &UidSet,
    ) -> Result<(), Fault> {
        let mut add = Flags::default();
        add.insert(SystemFlag::Deleted);
        let change = FlagChange { add, remove: Flags::default() };
        self.change_flags(mailbox, uids, &change).await?;
        for uids in uids.lines(LINE) {
            self.wire.succeed(Command::UidExpunge(uids)).await?;
        }
        Ok(())
    }

    pub(super) async fn find(
        &mut self,
        mailbox: &RawName,
        expression: &str,
    ) -> Result<Vec<Uid>, Fault> {
        let invalid = || Fault::new(FaultKind::Mailbox, "the search is no IMAP search");
        let expression = SearchExpression::new(expression).ok_or_else(invalid)?;
        self.open_mailbox(mailbox).await?;
        let keys = vec![SearchKey::Expression(expression)];
        let search = Command::UidSearch(Searching { returning: None, keys });
        let mut found = UidSet::new();
        let verdict = self.wire.ask(search, |event| {
            if let Event::Untagged(Untagged::Search { uids, .. }) = event {
                found = found.union(&uids);
            }
        });
        said::check(&verdict.await?)?;
        Ok(found.iter().filter_map(Uid::new).collect())
    }
}

fn fetch(uids: UidSet) -> Command {
    Command::UidFetch(Fetching {
        which: Which::These(uids),
        items: vec![FetchItem::Body],
        changed_since: None,
        vanished: false,
    })
}

fn announced(key: u64, append: &Append, binary: bool) -> Message {
    Message {
        key: MessageKey(key),
        size: append.body.length,
        flags: words::wire_flags(&append.flags),
        date: append.date.and_then(words::wire_date),
        form: if binary && append.body.has_nul { Form::Binary } else { Form::Literal },
    }
}

fn index(key: MessageKey) -> Option<usize> {
    usize::try_from(key.0).ok()
}

/// The next bytes of the message on its way; none if all are given.
fn next_piece(reader: &mut Option<Box<dyn Read + Send + '_>>) -> Result<Option<Vec<u8>>, Fault> {
    let Some(from) = reader else { return Ok(None) };
    let mut bytes = vec![0; PIECE];
    let count = from.read(&mut bytes).map_err(disk)?;
    bytes.truncate(count);
    if count == 0 {
        *reader = None;
        return Ok(None);
    }
    Ok(Some(bytes))
}

/// A stream that nobody takes any more, or that broke, leaves the connection in the middle of an answer.
fn broken_off(fault: Fault) -> Fault {
    Fault::lost(fault.said)
}

fn disk(error: std::io::Error) -> Fault {
    // The literal that was begun is not whole: the server never stores it.
    Fault::lost(format!("a large message cannot be read again: {error}"))
}
