//! The selected mailbox: choosing it, changing what is in it, and hearing what others change.
//! Nothing here reads a message.

use std::collections::BTreeSet;

use super::command::{Arg, as_set, set};
use super::fault::Act;
use super::profile::Quirk;
use super::session::{Answer, Session, bad, no, ok};
use super::store::{Held, Mail, Mailbox, SYSTEM, canonical};

/// What a client knows of the mailbox that it has selected.
pub(super) struct Selected {
    pub(super) name: Vec<u8>,
    read_only: bool,
    /// The UIDs of which it was told, in order: a message's place is its sequence number.
    pub(super) known: Vec<u32>,
    /// Up to where it was told of changes.
    mod_seq: u64,
}

impl Session {
    pub(super) fn select(&mut self, command: &str, args: &[Arg]) -> Answer {
        let Some((name, options)) = args.split_first() else {
            return bad("SELECT what?");
        };
        let before = self.selected.take();
        if before.is_some() && self.has_enabled("QRESYNC") && !self.has(Quirk::NoClosed) {
            self.say("* OK [CLOSED] closed");
        }
        let (user, name) = (self.user(), name.bytes().to_vec());
        let options = options.first().map_or(&[][..], Arg::items);
        let examines = command == "EXAMINE";
        let mut world = self.world();
        let Some(mailbox) = world.mailbox(&user, &name).filter(|found| found.selectable) else {
            return no("[NONEXISTENT] there is no such mailbox");
        };
        let mut lines = self.described(mailbox, examines);
        lines.extend(self.resynced(mailbox, options));
        let read_only = examines || mailbox.read_only;
        let known = mailbox.messages.keys().copied().collect();
        let selected = Selected { name, read_only, known, mod_seq: mailbox.mod_seq };
        drop(world);
        self.selected = Some(selected);
        lines.into_iter().for_each(|line| self.say(line));
        ok(if read_only { "[READ-ONLY] done" } else { "[READ-WRITE] done" })
    }

    fn described(&self, mailbox: &Mailbox, examines: bool) -> Vec<String> {
        let keywords: BTreeSet<&str> = mailbox
            .messages
            .values()
            .flat_map(|held| &held.flags)
            .map(String::as_str)
            .filter(|flag| !flag.starts_with('\\'))
            .collect();
        let all: Vec<&str> = SYSTEM.into_iter().chain(keywords).collect();
        let all = all.join(" ");
        let new = if self.has(Quirk::NoKeywords) { "" } else { " \\*" };
        let permanent =
            if mailbox.read_only || examines { String::new() } else { format!("{all}{new}") };
        let exists = mailbox.messages.len();
        let other = examines && self.has(Quirk::ExamineTellsAnotherUidValidity);
        let mut lines =
            vec![format!("* FLAGS ({all})"), format!("* OK [PERMANENTFLAGS ({permanent})] kept")];
        if self.has(Quirk::ExistsTwice) {
            lines.push(format!("* {} EXISTS", exists.saturating_sub(1)));
        }
        lines.push(format!("* {exists} EXISTS"));
        lines.push("* 0 RECENT".to_owned());
        lines.push(format!("* OK [UIDVALIDITY {}] valid", mailbox.uid_validity + u32::from(other)));
        if !self.has(Quirk::TellsNoUidNext) {
            lines.push(format!("* OK [UIDNEXT {}] next", mailbox.uid_next));
        }
        if self.tells_mod_seq() {
            lines.push(format!("* OK [HIGHESTMODSEQ {}] highest", mailbox.mod_seq));
        } else if self.can("CONDSTORE") {
            lines.push("* OK [NOMODSEQ] enable it first".to_owned());
        }
        if self.can("OBJECTID") {
            lines.push(format!("* OK [MAILBOXID (F{})] the same", mailbox.id));
        }
        lines
    }

    /// What is told for `(QRESYNC (uidvalidity modseq ...))`.
    fn resynced(&self, mailbox: &Mailbox, options: &[Arg]) -> Vec<String> {
        let [word, Arg::List(since)] = options else {
            return Vec::new();
        };
        let number = |at: usize| since.get(at).and_then(|arg: &Arg| arg.text().parse::<u64>().ok());
        let (Some(validity), Some(mod_seq)) = (number(0), number(1)) else {
            return Vec::new();
        };
        let asked = word.upper() == "QRESYNC" && self.has_enabled("QRESYNC");
        if !asked || validity != u64::from(mailbox.uid_validity) {
            return Vec::new();
        }
        let changed = mailbox.messages.values().enumerate();
        let changed = changed.filter(|(_, held)| held.mod_seq > mod_seq);
        let changed = changed.map(|(at, held)| change_line(at + 1, held, true));
        vanished(mailbox, mod_seq).into_iter().chain(changed).collect()
    }

    pub(super) fn in_mailbox(&mut self, tag: &str, command: &str, args: &[Arg]) -> Answer {
        let uid = command.starts_with("UID ");
        match command.strip_prefix("UID ").unwrap_or(command) {
            "FETCH" => self.fetch(args, uid),
            "SEARCH" => self.search(tag, args, uid),
            "STORE" => self.store(args, uid),
            "COPY" => self.copy(args, uid, false),
            "MOVE" if self.can("MOVE") => self.copy(args, uid, true),
            "EXPUNGE" => self.expunge(args, uid),
            "CLOSE" => {
                let read_only = self.selected.as_ref().is_none_or(|selected| selected.read_only);
                if !read_only {
                    self.remove_deleted(None);
                }
                self.selected = None;
                ok("done")
            }
            "UNSELECT" if self.can("UNSELECT") => {
                self.selected = None;
                ok("done")
            }
            _ => bad("there is no such command"),
        }
    }

    /// What is found in the selected mailbox as it is now; nothing if somebody has deleted it.
    pub(super) fn look<T: Default>(&self, find: impl FnOnce(&Mailbox, &[u32]) -> T) -> T {
        let Some(selected) = &self.selected else {
            return T::default();
        };
        let mut world = self.world();
        let mailbox = world.mailbox(&self.user(), &selected.name);
        mailbox.map_or_else(T::default, |mailbox| find(mailbox, &selected.known))
    }

    /// The UIDs of a set of UIDs or sequence numbers, of which the client was told.
    pub(super) fn uids(&self, text: &str, uid: bool) -> Option<Vec<u32>> {
        let known = &self.selected.as_ref()?.known;
        if uid {
            return set(text, known);
        }
        let sequence: Vec<u32> = (1..).take(known.len()).collect();
        let numbers = set(text, &sequence)?;
        let place = |number: u32| usize::try_from(number).ok()?.checked_sub(1);
        Some(numbers.into_iter().filter_map(|number| known.get(place(number)?).copied()).collect())
    }

    fn store(&mut self, args: &[Arg], uid: bool) -> Answer {
        let (Some(uids), Some(change)) =
            (args.first().and_then(|set| self.uids(&set.text(), uid)), Change::read(args))
        else {
            return bad("STORE what?");
        };
        if self.selected.as_ref().is_none_or(|selected| selected.read_only) {
            return no("[READ-ONLY] nobody writes here");
        }
        let Some(selected) = &self.selected else {
            return bad("nothing is selected");
        };
        let (user, name) = (self.user(), selected.name.clone());
        let mut world = self.world();
        let profile = world.profile().clone();
        let (mut modified, mut told) = (Vec::new(), Vec::new());
        let mut last = 0;
        if let Some(mailbox) = world.mailbox(&user, &name) {
            for uid in uids {
                let Some(held) = mailbox.messages.get(&uid) else {
                    continue;
                };
                if change.unchanged_since.is_some_and(|since| held.mod_seq > since) {
                    modified.push(uid);
                    continue;
                }
                let flags = mailbox.keeps(&profile, change.applied(&held.flags));
                if flags != held.flags {
                    mailbox.change(uid, |held| held.flags = flags);
                }
                told.push(uid);
            }
            last = mailbox.mod_seq;
        }
        drop(world);
        self.tell_stored(&told, last, &change);
        if modified.is_empty() {
            return ok("done");
        }
        ok(&format!("[MODIFIED {}] some were changed", as_set(&modified)))
    }

    /// Tells of what the client has changed by itself, which is no news afterwards.
    fn tell_stored(&mut self, told: &[u32], last: u64, change: &Change) {
        let tells_mod_seq = self.has_enabled("CONDSTORE") || change.unchanged_since.is_some();
        let lines: Vec<String> = self.look(|mailbox, known| {
            let line = |uid: &u32| {
                let (held, at) = (mailbox.messages.get(uid)?, known.binary_search(uid).ok()?);
                if !change.silent {
                    return Some(change_line(at + 1, held, tells_mod_seq));
                }
                let line = format!("* {} FETCH (UID {uid} MODSEQ ({}))", at + 1, held.mod_seq);
                tells_mod_seq.then_some(line)
            };
            told.iter().filter_map(line).collect()
        });
        if let Some(selected) = &mut self.selected {
            selected.mod_seq = selected.mod_seq.max(last);
        }
        lines.into_iter().for_each(|line| self.say(line));
    }

    fn copy(&mut self, args: &[Arg], uid: bool, moves: bool) -> Answer {
        let [which, to] = args else {
            return bad("COPY where?");
        };
        let (Some(uids), Some(selected)) = (self.uids(&which.text(), uid), &self.selected) else {
            return bad("COPY what?");
        };
        let (user, name, to) = (self.user(), selected.name.clone(), to.bytes().to_vec());
        let mut world = self.world();
        let held: Vec<Held> = world.mailbox(&user, &name).map_or_else(Vec::new, |mailbox| {
            uids.iter().filter_map(|uid| mailbox.messages.get(uid).cloned()).collect()
        });
        let Some(target) = world.mailbox(&user, &to) else {
            return no("[TRYCREATE] there is no such mailbox");
        };
        let validity = target.uid_validity;
        let from: Vec<u32> = held.iter().map(|held| held.uid).collect();
        let copied: Vec<u32> = held
            .into_iter()
            .map(|Held { flags, date, body, email_id, labels, .. }| {
                target.add(Mail { body, flags, date, labels }, email_id)
            })
            .collect();
        if moves && let Some(mailbox) = world.mailbox(&user, &name) {
            mailbox.remove(&from);
        }
        drop(world);
        let code = if self.can("UIDPLUS") && !from.is_empty() {
            format!("[COPYUID {validity} {} {}] ", as_set(&from), as_set(&copied))
        } else {
            String::new()
        };
        if moves {
            self.say(format!("* OK {code}moved"));
            return ok("done");
        }
        ok(&format!("{code}done"))
    }

    fn expunge(&mut self, args: &[Arg], uid: bool) -> Answer {
        let only = match args {
            [] if !uid => None,
            [which] if uid && self.can("UIDPLUS") => Some(self.uids(&which.text(), true)),
            _ => return bad("EXPUNGE what?"),
        };
        if self.selected.as_ref().is_none_or(|selected| selected.read_only) {
            return no("[READ-ONLY] nobody writes here");
        }
        match only {
            Some(None) => return bad("EXPUNGE what?"),
            Some(Some(uids)) => self.remove_deleted(Some(&uids)),
            None => self.remove_deleted(None),
        }
        ok("done")
    }

    /// Removes what is marked deleted, of these UIDs or all.
    fn remove_deleted(&mut self, only: Option<&[u32]>) {
        let Some(selected) = &self.selected else {
            return;
        };
        let user = self.user();
        let mut world = self.world();
        if let Some(mailbox) = world.mailbox(&user, &selected.name) {
            let deleted = mailbox.messages.values().filter(|held| held.flags.contains("\\Deleted"));
            let deleted: Vec<u32> = deleted
                .map(|held| held.uid)
                .filter(|uid| only.is_none_or(|only| only.contains(uid)))
                .collect();
            mailbox.remove(&deleted);
        }
    }

    /// Tells of what others have changed.
    pub(super) fn tell_news(&mut self) {
        let Some(since) = self.selected.as_ref().map(|selected| selected.mod_seq) else {
            return;
        };
        let (qresync, condstore) = (self.has_enabled("QRESYNC"), self.has_enabled("CONDSTORE"));
        let news = self.look(|mailbox, before| {
            (mailbox.mod_seq != since).then(|| News::of(mailbox, before, since, qresync, condstore))
        });
        let Some(news) = news else {
            return;
        };
        if let Some(selected) = &mut self.selected {
            (selected.known, selected.mod_seq) = (news.known, news.mod_seq);
        }
        news.lines.into_iter().for_each(|line| self.say(line));
    }
}

/// What a client is to be told, and what it knows then.
struct News {
    lines: Vec<String>,
    known: Vec<u32>,
    mod_seq: u64,
}

impl News {
    fn of(mailbox: &Mailbox, before: &[u32], since: u64, qresync: bool, condstore: bool) -> Self {
        let is_gone = |uid: &u32| !mailbox.messages.contains_key(uid);
        let highest = before.last().copied().unwrap_or_default();
        let known: Vec<u32> = mailbox.messages.keys().copied().collect();
        let gone: Vec<u32> = before.iter().copied().filter(is_gone).collect();
        let mut lines = Vec::new();
        if qresync && !gone.is_empty() {
            lines.push(format!("* VANISHED {}", as_set(&gone)));
        } else {
            let places = before.iter().enumerate().rev().filter(|(_, uid)| is_gone(uid));
            lines.extend(places.map(|(at, _)| format!("* {} EXPUNGE", at + 1)));
        }
        if known.len() + gone.len() != before.len() {
            lines.push(format!("* {} EXISTS", known.len()));
        }
        for (at, held) in mailbox.messages.values().enumerate() {
            if held.mod_seq > since && held.uid <= highest {
                lines.push(change_line(at + 1, held, condstore));
            }
        }
        Self { lines, known, mod_seq: mailbox.mod_seq }
    }
}

/// `VANISHED (EARLIER)`, where there is any.
pub(super) fn vanished(mailbox: &Mailbox, since: u64) -> Option<String> {
    let gone = mailbox.gone.iter().filter(|(_, mod_seq)| *mod_seq > since);
    let mut gone: Vec<u32> = gone.map(|(uid, _)| *uid).collect();
    gone.sort_unstable();
    (!gone.is_empty()).then(|| format!("* VANISHED (EARLIER) {}", as_set(&gone)))
}

fn change_line(sequence: usize, held: &Held, tells_mod_seq: bool) -> String {
    let flags = held.flags.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let mod_seq = if tells_mod_seq { format!(" MODSEQ ({})", held.mod_seq) } else { String::new() };
    format!("* {sequence} FETCH (UID {} FLAGS ({flags}){mod_seq})", held.uid)
}

/// What STORE does.
struct Change {
    /// `+`, `-`, or nothing for exactly these.
    sign: Option<char>,
    flags: BTreeSet<String>,
    silent: bool,
    unchanged_since: Option<u64>,
}

impl Change {
    /// `set [(UNCHANGEDSINCE n)] [+|-]FLAGS[.SILENT] (flags)`
    fn read(args: &[Arg]) -> Option<Self> {
        let (unchanged_since, item, flags) = match args {
            [_, Arg::List(options), item, flags @ ..] => {
                let [word, number] = options.as_slice() else {
                    return None;
                };
                let number =
                    number.text().parse().ok().filter(|_| word.upper() == "UNCHANGEDSINCE");
                (Some(number?), item.upper(), flags)
            }
            [_, item, flags @ ..] => (None, item.upper(), flags),
            _ => return None,
        };
        let sign = item.chars().next().filter(|sign| "+-".contains(*sign));
        let item = item.trim_start_matches(['+', '-']);
        let silent = item == "FLAGS.SILENT";
        if !silent && item != "FLAGS" {
            return None;
        }
        let flags = flags.iter().flat_map(Arg::items).map(|flag| canonical(&flag.text()));
        Some(Self { sign, flags: flags.collect(), silent, unchanged_since })
    }

    fn applied(&self, flags: &BTreeSet<String>) -> BTreeSet<String> {
        match self.sign {
            Some('+') => flags.union(&self.flags).cloned().collect(),
            Some(_) => flags.difference(&self.flags).cloned().collect(),
            None => self.flags.clone(),
        }
    }
}

impl Session {
    /// So many lines less where a test wants a listing that comes short.
    pub(super) fn shortened<T>(&self, mut lines: Vec<T>) -> Vec<T> {
        if let Some(Act::Short(fewer)) = self.act {
            lines.truncate(lines.len().saturating_sub(fewer));
        }
        lines
    }
}
