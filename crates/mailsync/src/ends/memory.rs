//! An account in memory, for tests: it behaves as the best server does, or as badly as it is told to.
//!
//! Nothing here is kept, and no time passes here but by calls.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Abilities, Append, Appended, Ask, Bodies, End, Fault, FaultKind, FlagChange, Refusal,
    RefusalCause, Session, Which,
};
use crate::{
    BodyHash, Fingerprint, Flags, Holdable, InternalDate, Mailbox, MailboxPath, Message, Overview,
    RawName, SpecialUse, Status, SystemFlag, Uid,
    snapshot::{Listing, Told, Vanished},
};

/// An account in memory. Clones are the same account.
#[derive(Clone, Debug)]
pub struct MemoryEnd {
    name: String,
    account: Arc<Mutex<Account>>,
    hung: Arc<Notify>,
}

/// What is in an account, and how its server behaves.
#[derive(Debug)]
pub struct Account {
    /// Its mailboxes.
    pub mailboxes: BTreeMap<MailboxPath, Stored>,
    /// What its server is able to do.
    pub abilities: Abilities,
    /// Whether the server tells changes since a mark.
    pub tells_changes: bool,
    /// What separates parts of names.
    pub separator: char,
    /// What goes wrong, by the number of the call.
    pub troubles: BTreeMap<u64, Trouble>,
    /// A message with these bytes in it is refused.
    pub refuses: Vec<(Vec<u8>, RefusalCause)>,
    /// Flags with which a message is refused.
    pub refuses_flags: Flags,
    /// Flags that are taken with a message and not kept.
    pub drops_flags: Flags,
    /// How many calls there have been.
    pub calls: u64,
    late: Vec<(u64, MailboxPath, Vec<Given>)>,
    modseq: u64,
    validity: u32,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// The server asks to wait.
    Busy,
    /// The call never ends, and was not done.
    HangBefore,
    /// The call never ends, and was done.
    HangAfter,
    /// The connection breaks, and the call was done.
    LostAfter,
    /// The connection breaks, and the call was not done.
    LostBefore,
    /// The connection breaks, and half of the messages were stored.
    LostHalfway,
    /// The connection breaks, and messages are stored so many calls later.
    LostLate(u64),
}

/// A mailbox in memory.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its messages, by UID.
    pub messages: BTreeMap<Uid, StoredMessage>,
    /// UIDVALIDITY.
    pub validity: u32,
    /// UIDNEXT.
    pub uid_next: u32,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Whether the user is subscribed.
    pub subscribed: bool,
    /// What can be kept in it.
    pub holdable: Holdable,
    /// Whether it can be changed.
    pub read_only: bool,
    gone: BTreeMap<Uid, u64>,
    modseq: u64,
}

/// A message in memory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredMessage {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its flags.
    pub flags: Flags,
    /// When it arrived.
    pub date: Option<InternalDate>,
    modseq: u64,
}

#[derive(Clone, Debug)]
struct Given {
    bytes: Vec<u8>,
    flags: Flags,
    date: Option<InternalDate>,
}

/// A connection to an account in memory.
#[derive(Debug)]
pub struct MemorySession {
    end: MemoryEnd,
    lost: bool,
}

impl MemoryEnd {
    /// An empty account with an INBOX.
    pub fn new(name: &str) -> Self {
        let account = Account {
            mailboxes: BTreeMap::new(),
            abilities: Abilities { append_limit: None, batch: 128, uidplus: true, moves: true },
            tells_changes: true,
            separator: '/',
            troubles: BTreeMap::new(),
            refuses: Vec::new(),
            refuses_flags: Flags::default(),
            drops_flags: Flags::default(),
            calls: 0,
            late: Vec::new(),
            modseq: 1,
            validity: 1000,
        };
        let end = Self {
            name: name.to_owned(),
            account: Arc::new(Mutex::new(account)),
            hung: Arc::default(),
        };
        end.with(|account| {
            account.make(&MailboxPath::inbox(), None);
        });
        end
    }

    /// Looks into the account, or changes it, as another client would.
    pub fn with<T>(&self, act: impl FnOnce(&mut Account) -> T) -> T {
        act(&mut self.account.lock())
    }

    /// Waits until a call hangs.
    pub async fn hung(&self) {
        self.hung.notified().await;
    }
}

impl Account {
    /// Makes a mailbox, if it is not there.
    pub fn make(&mut self, path: &MailboxPath, special_use: Option<SpecialUse>) -> &mut Stored {
        self.modseq += 1;
        self.validity += 1;
        let (validity, modseq) = (self.validity, self.modseq);
        self.mailboxes.entry(path.clone()).or_insert_with(|| Stored {
            messages: BTreeMap::new(),
            validity,
            uid_next: 1,
            special_use,
            subscribed: false,
            holdable: Holdable::all(),
            read_only: false,
            gone: BTreeMap::new(),
            modseq,
        })
    }

    /// Delivers a message into a mailbox, which is made if it is not there.
    pub fn deliver(
        &mut self,
        path: &MailboxPath,
        bytes: &[u8],
        flags: &Flags,
        date: Option<InternalDate>,
    ) -> Uid {
        self.make(path, None);
        let given = Given { bytes: bytes.to_vec(), flags: flags.clone(), date };
        self.put(path, given).unwrap_or(Uid::MIN)
    }

    /// Changes a message's flags.
    pub fn set_flags(&mut self, path: &MailboxPath, uid: Uid, flags: Flags) {
        self.modseq += 1;
        let modseq = self.modseq;
        let Some(mailbox) = self.mailboxes.get_mut(path) else { return };
        if let Some(message) = mailbox.messages.get_mut(&uid) {
            (message.flags, message.modseq) = (flags, modseq);
            mailbox.modseq = modseq;
        }
    }

    /// Removes a message.
    pub fn remove(&mut self, path: &MailboxPath, uid: Uid) {
        self.modseq += 1;
        let modseq = self.modseq;
        let Some(mailbox) = self.mailboxes.get_mut(path) else { return };
        if mailbox.messages.remove(&uid).is_some() {
            mailbox.gone.insert(uid, modseq);
            mailbox.modseq = modseq;
        }
    }

    /// Gives all messages of a mailbox other UIDs.
    pub fn renumber(&mut self, path: &MailboxPath) {
        self.validity += 1;
        let validity = self.validity;
        let Some(mailbox) = self.mailboxes.get_mut(path) else { return };
        let messages = std::mem::take(&mut mailbox.messages);
        mailbox.gone.clear();
        mailbox.validity = validity;
        mailbox.uid_next = 1;
        for message in messages.into_values() {
            let uid = mailbox.next();
            mailbox.messages.insert(uid, message);
        }
    }

    fn put(&mut self, path: &MailboxPath, given: Given) -> Option<Uid> {
        self.modseq += 1;
        let modseq = self.modseq;
        let drops = self.drops_flags.clone();
        let mailbox = self.mailboxes.get_mut(path)?;
        let uid = mailbox.next();
        let Given { bytes, flags, date } = given;
        let flags = mailbox.holdable.holds(&flags).difference(&drops);
        mailbox.messages.insert(uid, StoredMessage { bytes, flags, date, modseq });
        mailbox.modseq = modseq;
        Some(uid)
    }

    /// Counts a call, and stores what was late.
    fn call(&mut self) -> Option<Trouble> {
        self.calls += 1;
        let calls = self.calls;
        let (due, rest) =
            std::mem::take(&mut self.late).into_iter().partition(|(at, _, _)| *at <= calls);
        self.late = rest;
        let due: Vec<(u64, MailboxPath, Vec<Given>)> = due;
        for (_, path, messages) in due {
            for message in messages {
                self.put(&path, message);
            }
        }
        self.troubles.remove(&calls)
    }

    fn find(&mut self, raw: &RawName) -> Result<(MailboxPath, &mut Stored), Fault> {
        let found = self
            .mailboxes
            .iter_mut()
            .find(|(path, _)| path.to_string().as_bytes() == raw.as_bytes());
        let missing = || Fault::new(FaultKind::Mailbox, "NO [NONEXISTENT] no such mailbox");
        found.map(|(path, mailbox)| (path.clone(), mailbox)).ok_or_else(missing)
    }

    fn refusal(&self, message: &Given) -> Option<Refusal> {
        let has = |bytes: &[u8]| message.bytes.windows(bytes.len()).any(|window| window == bytes);
        let refused = self.refuses.iter().find(|(bytes, _)| has(bytes)).map(|(_, cause)| *cause);
        let flags = !self.refuses_flags.intersection(&message.flags).is_empty();
        let cause = refused.or_else(|| flags.then_some(RefusalCause::Other))?;
        Some(Refusal { cause, among: 1, said: "NO not this one".to_owned() })
    }
}

impl Stored {
    fn next(&mut self) -> Uid {
        let uid = Uid::new(self.uid_next).unwrap_or(Uid::MAX);
        self.uid_next = self.uid_next.saturating_add(1);
        uid
    }

    fn list(&self, ask: Ask, tells_changes: bool) -> Listing {
        let uid_next = Uid::new(self.uid_next).unwrap_or(Uid::MAX);
        let all = || self.messages.iter();
        let show = |(uid, message): (&Uid, &StoredMessage)| message.show(*uid, ask.fingerprints);
        let told = match ask.which {
            Which::Since(mark) if tells_changes && mark.uid_validity == self.validity => {
                let since = mark.highest_modseq.unwrap_or(0);
                let gone = self.gone.iter().filter(|(_, modseq)| **modseq > since);
                Told::Changes {
                    changed: all().filter(|(_, m)| m.modseq > since).map(show).collect(),
                    gone: Vanished::These(gone.map(|(uid, _)| uid.get()..=uid.get()).collect()),
                }
            }
            Which::All | Which::Since(_) => Told::All(all().map(show).collect()),
            Which::From(first) => {
                Told::All(all().filter(|(uid, _)| **uid >= first).map(show).collect())
            }
        };
        Listing {
            uid_validity: self.validity,
            uid_next,
            highest_modseq: tells_changes.then_some(self.modseq),
            messages: u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            holdable: self.holdable.clone(),
            read_only: self.read_only,
            told,
        }
    }
}

impl StoredMessage {
    fn show(&self, uid: Uid, fingerprints: bool) -> Message {
        Message {
            uid,
            flags: self.flags.clone(),
            size: Some(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)),
            date: self.date,
            fingerprint: fingerprints.then(|| Fingerprint::of_header(&self.bytes)),
            body: None::<BodyHash>,
        }
    }
}

impl End for MemoryEnd {
    type Session = MemorySession;

    fn name(&self) -> String {
        self.name.clone()
    }

    async fn open(&self) -> Result<MemorySession, Fault> {
        let session = MemorySession { end: self.clone(), lost: false };
        Ok(session)
    }
}

impl MemorySession {
    /// Does a call, or what goes wrong instead.
    async fn call<T>(
        &mut self,
        act: impl FnOnce(&mut Account) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.lost {
            return Err(Fault::lost("the connection was lost before"));
        }
        let trouble = self.end.with(Account::call);
        let lost = || Fault::lost("connection reset by peer");
        let done = match trouble {
            None => return self.end.with(act),
            Some(Trouble::Busy) => {
                return Err(Fault::new(FaultKind::Busy(None), "NO [UNAVAILABLE] later"));
            }
            Some(Trouble::HangBefore) => None,
            Some(Trouble::HangAfter) => Some(self.end.with(act)),
            Some(Trouble::LostAfter) => {
                self.lost = true;
                return self.end.with(act).and_then(|_| Err(lost()));
            }
            Some(Trouble::LostBefore | Trouble::LostHalfway | Trouble::LostLate(_)) => {
                self.lost = true;
                return Err(lost());
            }
        };
        drop(done);
        self.end.hung.notify_one();
        std::future::pending().await
    }
}

impl Session for MemorySession {
    fn abilities(&self) -> Abilities {
        self.end.with(|account| account.abilities)
    }

    async fn overview(&mut self) -> Result<Overview, Fault> {
        self.call(|account| {
            let tells_changes = account.tells_changes;
            let mailboxes = account.mailboxes.iter().map(|(path, mailbox)| Mailbox {
                path: path.clone(),
                raw: raw(path),
                special_use: mailbox.special_use,
                selectable: true,
                subscribed: mailbox.subscribed,
                status: Some(Status {
                    messages: u32::try_from(mailbox.messages.len()).unwrap_or(u32::MAX),
                    uid_validity: mailbox.validity,
                    uid_next: Uid::new(mailbox.uid_next),
                    highest_modseq: tells_changes.then_some(mailbox.modseq),
                    size: None,
                }),
            });
            let separator = Some(account.separator);
            Ok(Overview { mailboxes: mailboxes.collect(), separator, quota: None })
        })
        .await
    }

    async fn list(&mut self, mailbox: &RawName, ask: Ask) -> Result<Listing, Fault> {
        self.call(|account| {
            let tells_changes = account.tells_changes;
            Ok(account.find(mailbox)?.1.list(ask, tells_changes))
        })
        .await
    }

    async fn search(&mut self, mailbox: &RawName, expression: &str) -> Result<Vec<Uid>, Fault> {
        self.call(|account| {
            let (_, mailbox) = account.find(mailbox)?;
            let seen = |m: &StoredMessage| m.flags.contains(SystemFlag::Seen);
            let wanted: &dyn Fn(&StoredMessage) -> bool = match expression {
                "SEEN" => &seen,
                "UNSEEN" => &|m| !seen(m),
                _ => return Err(Fault::new(FaultKind::Mailbox, "BAD SEARCH")),
            };
            Ok(mailbox.messages.iter().filter(|(_, m)| wanted(m)).map(|(uid, _)| *uid).collect())
        })
        .await
    }

    async fn read(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        bodies: &mut Bodies,
    ) -> Result<(), Fault> {
        for uid in uids {
            let bytes = self.call(|account| {
                let (_, mailbox) = account.find(mailbox)?;
                Ok(mailbox.messages.get(uid).map(|message| message.bytes.clone()))
            });
            if let Some(bytes) = bytes.await? {
                bodies.give(*uid, &bytes).await?;
            }
        }
        Ok(())
    }

    async fn append(
        &mut self,
        mailbox: &RawName,
        batch: &[Append],
    ) -> Result<Vec<Appended>, Fault> {
        let mut given = Vec::new();
        for message in batch {
            let mut bytes = Vec::new();
            let read = message.body.content.reader().and_then(|mut r| r.read_to_end(&mut bytes));
            read.map_err(|error| Fault::new(FaultKind::Disk, error.to_string()))?;
            let Append { flags, date, .. } = message;
            given.push(Given { bytes, flags: flags.clone(), date: *date });
        }
        // The next call's trouble decides what of it is stored.
        let next = self.end.with(|account| account.troubles.get(&(account.calls + 1)).copied());
        let path = self.end.with(|account| account.find(mailbox).map(|(path, _)| path))?;
        match next {
            Some(Trouble::LostHalfway) => {
                let half = given.len() / 2;
                self.end.with(|account| {
                    for message in given.iter().take(half) {
                        account.put(&path, message.clone());
                    }
                });
            }
            Some(Trouble::LostLate(calls)) => {
                let late = given.clone();
                self.end
                    .with(|account| account.late.push((account.calls + calls, path.clone(), late)));
            }
            _ => {}
        }
        self.call(|account| {
            let refused = given.iter().find_map(|message| account.refusal(message));
            if let Some(refusal) = refused {
                let refusal = Refusal { among: given.len(), ..refusal };
                return Ok(given.iter().map(|_| Err(refusal.clone())).collect());
            }
            let (_, stored) = account.find(mailbox)?;
            let validity = stored.validity;
            let uidplus = account.abilities.uidplus;
            let stored = given.into_iter().map(|message| account.put(&path, message));
            let stored: Vec<Option<Uid>> = stored.collect();
            let place = |uid: Option<Uid>| uid.filter(|_| uidplus).map(|uid| (validity, uid));
            Ok(stored.into_iter().map(|uid| Ok(place(uid))).collect())
        })
        .await
    }

    async fn store(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<(), Fault> {
        self.call(|account| {
            let (path, mailbox) = account.find(mailbox)?;
            let flags: Vec<(Uid, Flags)> = (uids.iter())
                .filter_map(|uid| {
                    let message = mailbox.messages.get(uid)?;
                    let wanted = message.flags.difference(&change.remove).union(&change.add);
                    Some((*uid, mailbox.holdable.holds(&wanted)))
                })
                .collect();
            flags.into_iter().for_each(|(uid, flags)| account.set_flags(&path, uid, flags));
            Ok(())
        })
        .await
    }

    async fn create(
        &mut self,
        path: &MailboxPath,
        special_use: Option<SpecialUse>,
    ) -> Result<RawName, Fault> {
        self.call(|account| {
            account.make(path, special_use);
            Ok(raw(path))
        })
        .await
    }

    async fn subscribe(&mut self, mailbox: &RawName) -> Result<(), Fault> {
        self.call(|account| {
            account.find(mailbox)?.1.subscribed = true;
            Ok(())
        })
        .await
    }

    async fn relocate(
        &mut self,
        mailbox: &RawName,
        uids: &[Uid],
        to: &RawName,
    ) -> Result<(), Fault> {
        self.call(|account| {
            let (target, _) = account.find(to)?;
            let (path, mailbox) = account.find(mailbox)?;
            let moved: Vec<(Uid, StoredMessage)> = uids
                .iter()
                .filter_map(|uid| Some((*uid, mailbox.messages.get(uid)?.clone())))
                .collect();
            for (uid, StoredMessage { bytes, flags, date, .. }) in moved {
                account.remove(&path, uid);
                account.put(&target, Given { bytes, flags, date });
            }
            Ok(())
        })
        .await
    }

    async fn expunge(&mut self, mailbox: &RawName, uids: &[Uid]) -> Result<(), Fault> {
        self.call(|account| {
            let (path, _) = account.find(mailbox)?;
            uids.iter().for_each(|uid| account.remove(&path, *uid));
            Ok(())
        })
        .await
    }

    async fn close(self) {}
}

fn raw(path: &MailboxPath) -> RawName {
    RawName::new(path.to_string().into_bytes())
}
