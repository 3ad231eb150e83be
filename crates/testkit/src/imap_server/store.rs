//! Accounts, mailboxes and messages.
//! Nothing here knows a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::profile::{Profile, Quirk};

/// A message on its way into a mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mail {
    pub(super) body: Arc<[u8]>,
    pub(super) flags: BTreeSet<String>,
    pub(super) date: String,
    pub(super) labels: Vec<String>,
}

impl Mail {
    /// With these bytes, received at a fixed time.
    #[must_use]
    pub fn new(body: impl AsRef<[u8]>) -> Self {
        Self {
            body: body.as_ref().into(),
            flags: BTreeSet::new(),
            date: "17-Jul-1996 02:44:25 -0700".to_owned(),
            labels: Vec::new(),
        }
    }

    /// With this flag or keyword, too.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.insert(canonical(flag));
        self
    }

    /// Received then, in INTERNALDATE's form or in none.
    #[must_use]
    pub fn date(mut self, date: &str) -> Self {
        date.clone_into(&mut self.date);
        self
    }

    /// With this Gmail label.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.labels.push(label.to_owned());
        self
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Held {
    /// Its UID.
    pub uid: u32,
    /// Its flags and keywords, without `\Recent`.
    pub flags: BTreeSet<String>,
    /// When it was received, as INTERNALDATE says it.
    pub date: String,
    /// Its bytes.
    pub body: Arc<[u8]>,
    /// Of its last change.
    pub mod_seq: u64,
    /// The same wherever it is copied or moved to (EMAILID, X-GM-MSGID).
    pub email_id: u64,
    /// Gmail's labels.
    pub labels: Vec<String>,
}

/// A mailbox.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    pub(super) id: u64,
    pub(super) uid_validity: u32,
    pub(super) uid_next: u32,
    pub(super) mod_seq: u64,
    pub(super) messages: BTreeMap<u32, Held>,
    /// UIDs that are gone, with the mod-sequences of that.
    pub(super) gone: Vec<(u32, u64)>,
    pub(super) special_use: Option<String>,
    pub(super) selectable: bool,
    pub(super) read_only: bool,
}

/// One user's.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    password: String,
    pub(super) mailboxes: BTreeMap<Vec<u8>, Mailbox>,
    pub(super) subscribed: BTreeSet<Vec<u8>>,
}

/// All that a server holds. Names are as on the wire, with the server's separator.
pub struct World {
    profile: Profile,
    accounts: BTreeMap<String, Account>,
    /// The last number given to a mailbox, its UIDVALIDITY, or a message.
    last: u64,
}

impl World {
    pub(super) fn new(profile: &Profile) -> Self {
        Self { profile: profile.clone(), accounts: BTreeMap::new(), last: 1000 }
    }

    /// Adds a user with an INBOX and what the make has beside it.
    pub fn add_account(&mut self, user: &str, password: &str) {
        let account = Account { password: password.to_owned(), ..Account::default() };
        self.accounts.insert(user.to_owned(), account);
        self.create(user, "INBOX");
        for (name, special_use) in self.profile.mailboxes.clone() {
            self.create(user, name);
            let Some(mailbox) = self.mailbox(user, name.as_bytes()) else {
                continue;
            };
            mailbox.selectable = special_use != Some("\\Noselect");
            mailbox.special_use = special_use.filter(|_| mailbox.selectable).map(str::to_owned);
        }
    }

    /// Makes a mailbox; nothing happens if it is there.
    pub fn create(&mut self, user: &str, name: impl AsRef<[u8]>) {
        let (id, uid_validity) = (self.number(), self.number());
        let Some(account) = self.accounts.get_mut(user) else {
            return;
        };
        let mailbox = Mailbox {
            id,
            uid_validity: u32::try_from(uid_validity).unwrap_or(u32::MAX),
            uid_next: 1,
            mod_seq: 1,
            messages: BTreeMap::new(),
            gone: Vec::new(),
            special_use: None,
            selectable: true,
            read_only: false,
        };
        account.mailboxes.entry(key(name.as_ref())).or_insert(mailbox);
    }

    /// Takes a mailbox away with all that is in it.
    pub fn delete(&mut self, user: &str, name: impl AsRef<[u8]>) {
        if let Some(account) = self.accounts.get_mut(user) {
            account.mailboxes.remove(&key(name.as_ref()));
        }
    }

    /// Gives a mailbox another name, as if it was always called so.
    pub fn rename(&mut self, user: &str, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        if let Some(account) = self.accounts.get_mut(user)
            && let Some(mailbox) = account.mailboxes.remove(&key(from.as_ref()))
        {
            account.mailboxes.insert(key(to.as_ref()), mailbox);
        }
    }

    /// Subscribes to a name.
    pub fn subscribe(&mut self, user: &str, name: impl AsRef<[u8]>) {
        if let Some(account) = self.accounts.get_mut(user) {
            account.subscribed.insert(key(name.as_ref()));
        }
    }

    /// Makes a mailbox that nobody may write to.
    pub fn make_read_only(&mut self, user: &str, name: impl AsRef<[u8]>) {
        if let Some(mailbox) = self.mailbox(user, name.as_ref()) {
            mailbox.read_only = true;
        }
    }

    /// Puts a message into a mailbox and gives its UID; 0 if there is no such mailbox.
    pub fn deliver(&mut self, user: &str, name: impl AsRef<[u8]>, mail: Mail) -> u32 {
        let email_id = self.number();
        self.mailbox(user, name.as_ref()).map_or(0, |mailbox| mailbox.add(mail, email_id))
    }

    /// Removes messages.
    pub fn expunge(&mut self, user: &str, name: impl AsRef<[u8]>, uids: &[u32]) {
        if let Some(mailbox) = self.mailbox(user, name.as_ref()) {
            mailbox.remove(uids);
        }
    }

    /// Gives a message exactly these flags.
    pub fn set_flags(&mut self, user: &str, name: impl AsRef<[u8]>, uid: u32, flags: &[&str]) {
        if let Some(mailbox) = self.mailbox(user, name.as_ref()) {
            let flags = flags.iter().map(|flag| canonical(flag)).collect();
            mailbox.change(uid, |held| held.flags = flags);
        }
    }

    /// Lets the next message have this UID, if no higher one was given.
    pub fn set_uid_next(&mut self, user: &str, name: impl AsRef<[u8]>, uid: u32) {
        if let Some(mailbox) = self.mailbox(user, name.as_ref()) {
            mailbox.uid_next = mailbox.uid_next.max(uid);
        }
    }

    /// Gives a mailbox another UIDVALIDITY and all messages new UIDs from 1 on.
    pub fn renumber(&mut self, user: &str, name: impl AsRef<[u8]>) {
        let validity = u32::try_from(self.number()).unwrap_or(u32::MAX);
        if let Some(mailbox) = self.mailbox(user, name.as_ref()) {
            let messages = std::mem::take(&mut mailbox.messages);
            (mailbox.uid_validity, mailbox.uid_next) = (validity, 1);
            mailbox.mod_seq += 1;
            mailbox.gone.clear();
            for (_, held) in messages {
                let uid = mailbox.uid_next;
                mailbox.uid_next += 1;
                mailbox.messages.insert(uid, Held { uid, ..held });
            }
        }
    }

    /// Gives a mailbox this UIDVALIDITY and leaves the rest as it is.
    pub fn set_uid_validity(&mut self, user: &str, name: impl AsRef<[u8]>, validity: u32) {
        if let Some(mailbox) = self.mailbox(user, name.as_ref()) {
            mailbox.uid_validity = validity;
        }
    }

    /// Gives a mailbox this mod-sequence, which may be lower than before.
    pub fn set_mod_seq(&mut self, user: &str, name: impl AsRef<[u8]>, mod_seq: u64) {
        if let Some(mailbox) = self.mailbox(user, name.as_ref()) {
            mailbox.mod_seq = mod_seq;
        }
    }

    /// UIDVALIDITY and UIDNEXT; zeros if there is no such mailbox.
    #[must_use]
    pub fn numbers(&self, user: &str, name: impl AsRef<[u8]>) -> (u32, u32) {
        let mailbox = self.look(user, name.as_ref());
        mailbox.map_or((0, 0), |mailbox| (mailbox.uid_validity, mailbox.uid_next))
    }

    /// The messages of a mailbox by their UIDs; none if there is no such mailbox.
    #[must_use]
    pub fn messages(&self, user: &str, name: impl AsRef<[u8]>) -> Vec<Held> {
        let mailbox = self.look(user, name.as_ref());
        mailbox.map_or_else(Vec::new, |mailbox| mailbox.messages.values().cloned().collect())
    }

    /// The names of a user's mailboxes.
    #[must_use]
    pub fn mailboxes(&self, user: &str) -> Vec<Vec<u8>> {
        let account = self.accounts.get(user);
        account.map_or_else(Vec::new, |account| account.mailboxes.keys().cloned().collect())
    }

    /// What a user is subscribed to.
    #[must_use]
    pub fn subscriptions(&self, user: &str) -> Vec<Vec<u8>> {
        let account = self.accounts.get(user);
        account.map_or_else(Vec::new, |account| account.subscribed.iter().cloned().collect())
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn lets_in(&self, user: &str, password: &str) -> bool {
        self.accounts.get(user).is_some_and(|account| account.password == password)
    }

    pub(super) fn account(&mut self, user: &str) -> Option<&mut Account> {
        self.accounts.get_mut(user)
    }

    pub(super) fn mailbox(&mut self, user: &str, name: &[u8]) -> Option<&mut Mailbox> {
        self.accounts.get_mut(user)?.mailboxes.get_mut(&key(name))
    }

    fn look(&self, user: &str, name: &[u8]) -> Option<&Mailbox> {
        self.accounts.get(user)?.mailboxes.get(&key(name))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Mailbox {
    /// Adds a message and gives its UID.
    pub(super) fn add(&mut self, mail: Mail, email_id: u64) -> u32 {
        let uid = self.uid_next;
        self.uid_next = self.uid_next.saturating_add(1);
        self.mod_seq += 1;
        let Mail { body, flags, date, labels } = mail;
        let held = Held { uid, flags, date, body, mod_seq: self.mod_seq, email_id, labels };
        self.messages.insert(uid, held);
        uid
    }

    /// Removes messages; gives those that were there.
    pub(super) fn remove(&mut self, uids: &[u32]) -> Vec<u32> {
        let there: Vec<u32> =
            uids.iter().copied().filter(|uid| self.messages.remove(uid).is_some()).collect();
        if !there.is_empty() {
            self.mod_seq += 1;
            self.gone.extend(there.iter().map(|uid| (*uid, self.mod_seq)));
        }
        there
    }

    /// Changes a message.
    pub(super) fn change(&mut self, uid: u32, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.messages.get_mut(&uid) {
            self.mod_seq += 1;
            held.mod_seq = self.mod_seq;
            change(held);
        }
    }

    /// Which of these flags it keeps: no `\Recent`, and no more keywords than the make has.
    pub(super) fn keeps(&self, profile: &Profile, flags: BTreeSet<String>) -> BTreeSet<String> {
        let all = self.messages.values().flat_map(|held| &held.flags);
        let mut known: BTreeSet<String> =
            all.filter(|flag| !flag.starts_with('\\')).cloned().collect();
        let most = profile.quirks.iter().find_map(|quirk| match quirk {
            Quirk::MostKeywords(most) => Some(*most),
            Quirk::NoKeywords => Some(0),
            _ => None,
        });
        flags
            .into_iter()
            .filter(|flag| {
                if flag.starts_with('\\') {
                    return SYSTEM.contains(&flag.as_str());
                }
                let room = most.is_none_or(|most| known.len() < most);
                if room {
                    known.insert(flag.clone());
                }
                known.contains(flag)
            })
            .collect()
    }
}

/// The flags that can be set.
pub(super) const SYSTEM: [&str; 5] = ["\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen"];

/// A flag in the case that we write.
pub(super) fn canonical(flag: &str) -> String {
    let known = SYSTEM.iter().find(|known| known.eq_ignore_ascii_case(flag));
    known.map_or_else(|| flag.to_owned(), |known| (*known).to_owned())
}

/// What a mailbox is found by: INBOX has no case.
pub(super) fn key(name: &[u8]) -> Vec<u8> {
    if name.eq_ignore_ascii_case(b"INBOX") { b"INBOX".to_vec() } else { name.to_vec() }
}
