//! APPEND, of one message or several (RFC 3502).
//! Nothing here reads a message but to find what a make would refuse.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use super::command::{Arg, as_set};
use super::fault::Act;
use super::lock;
use super::profile::{Profile, Quirk};
use super::session::{Answer, Session, bad, no, ok};
use super::store::{Mail, World, canonical};

impl Session {
    pub(super) fn append(&mut self, args: &[Arg]) -> Answer {
        let Some((mailbox, rest)) = args.split_first() else {
            return bad("APPEND where?");
        };
        let Some(mails) = mails(rest) else {
            return bad("APPEND what?");
        };
        if mails.len() > 1 && !self.can("MULTIAPPEND") {
            return bad("one message at a time");
        }
        let (user, name) = (self.user(), mailbox.bytes().to_vec());
        match self.act {
            Some(Act::Late(time)) => {
                let world = Arc::clone(&self.shared.world);
                // Nobody waits for it, as for a server's process that nobody stopped.
                drop(thread::spawn(move || {
                    thread::sleep(time);
                    let mut world = lock(&world);
                    for mail in mails {
                        let _ = store(&mut world, &user, &name, mail);
                    }
                }));
                ok("late")
            }
            Some(Act::StoresOnly(most)) => {
                let mut world = self.world();
                for mail in mails.into_iter().take(most) {
                    let _ = store(&mut world, &user, &name, mail);
                }
                drop(world);
                no("[SERVERBUG] some of it failed")
            }
            _ => self.store_all(&user, &name, mails),
        }
    }

    /// All or none.
    fn store_all(&mut self, user: &str, name: &[u8], mails: Vec<Mail>) -> Answer {
        let mut world = self.world();
        let profile = world.profile().clone();
        match world.mailbox(user, name) {
            None => return no("[TRYCREATE] there is no such mailbox"),
            Some(mailbox) if mailbox.read_only || !mailbox.selectable => {
                return no("[NOPERM] nobody writes here");
            }
            Some(_) => {}
        }
        if let Some(refusal) = mails.iter().find_map(|mail| refusal(&profile, &mail.body)) {
            return Ok(refusal.to_owned());
        }
        let uids: Vec<u32> =
            mails.into_iter().map(|mail| store(&mut world, user, name, mail)).collect();
        let (validity, _) = world.numbers(user, name);
        drop(world);
        if !self.can("UIDPLUS") {
            return ok("done");
        }
        let more = if let Some(Act::WrongUids(more)) = self.act { more } else { 0 };
        let uids: Vec<u32> = uids.into_iter().map(|uid| uid.saturating_add(more)).collect();
        ok(&format!("[APPENDUID {validity} {}] done", as_set(&uids)))
    }
}

/// `[(flags)] ["date"] literal`, or `UTF8 (literal)` in place of the literal, and so on.
fn mails(mut args: &[Arg]) -> Option<Vec<Mail>> {
    let mut mails = Vec::new();
    while !args.is_empty() {
        let (mut flags, mut date) = (BTreeSet::new(), None);
        if let Some((Arg::List(words), rest)) = args.split_first() {
            flags = words.iter().map(|flag| canonical(&flag.text())).collect();
            args = rest;
        }
        if let [Arg::Text(text), next, ..] = args
            && is_date(text)
            && !matches!(next, Arg::List(_))
        {
            date = Some(String::from_utf8_lossy(text).into_owned());
            args = args.get(1..)?;
        }
        let (body, rest) = match args {
            [Arg::Atom(utf8), Arg::List(body), rest @ ..] if utf8.eq_ignore_ascii_case(b"UTF8") => {
                (body.first()?, rest)
            }
            [body @ Arg::Text(_), rest @ ..] => (body, rest),
            _ => return None,
        };
        args = rest;
        let mail = Mail::new(body.bytes());
        let date = date.unwrap_or_else(|| "22-Nov-2026 12:00:00 +0000".to_owned());
        mails.push(Mail { flags, date, ..mail });
    }
    (!mails.is_empty()).then_some(mails)
}

fn is_date(text: &[u8]) -> bool {
    text.len() == 26 && text.get(2) == Some(&b'-') && text.get(14) == Some(&b':')
}

/// What a make answers to a message that it does not take.
fn refusal(profile: &Profile, body: &[u8]) -> Option<&'static str> {
    let has = |quirk| profile.has(quirk);
    if body.contains(&0) && has(Quirk::NulEndsSession) {
        return Some("BYE Invalid character in literal");
    }
    if body.contains(&0) && has(Quirk::NulRefused) {
        return Some("NO Message contains NUL characters");
    }
    if body.is_empty() && has(Quirk::EmptyMessagesRefused) {
        return Some("NO Can't save a zero byte message.");
    }
    let returns = |at: usize| at.checked_sub(1).and_then(|at| body.get(at)) == Some(&b'\r');
    let bare = body.iter().enumerate().any(|(at, byte)| *byte == b'\n' && !returns(at));
    if bare && has(Quirk::BareLineFeedsRefused) {
        return Some("NO Message contains bare newlines");
    }
    let longest = profile.quirks.iter().find_map(|quirk| match quirk {
        Quirk::LongestLine(longest) => Some(*longest),
        _ => None,
    });
    let too_long = |longest| body.split(|byte| *byte == b'\n').any(|line| line.len() > longest + 1);
    if longest.is_some_and(too_long) {
        return Some("BAD Command Argument Error. 11");
    }
    profile
        .append_limit()
        .is_some_and(|limit| body.len() > limit)
        .then_some("NO [TOOBIG] Message too large")
}

/// Stores a message as the make does and gives its UID; 0 if there is no such mailbox.
fn store(world: &mut World, user: &str, name: &[u8], mut mail: Mail) -> u32 {
    let profile = world.profile().clone();
    let email_id = world.number();
    let Some(mailbox) = world.mailbox(user, name) else {
        return 0;
    };
    if profile.has(Quirk::MessageIdsOnce)
        && let Some(id) = header(&mail.body, "message-id")
        && let Some(held) = mailbox
            .messages
            .values()
            .find(|held| header(&held.body, "message-id").as_ref() == Some(&id))
    {
        return held.uid;
    }
    if profile.has(Quirk::DropsFlagged) {
        mail.flags.remove("\\Flagged");
    }
    if profile.has(Quirk::AddsFinalLineEnd) && !mail.body.ends_with(b"\r\n") {
        mail.body = [&mail.body, &b"\r\n"[..]].concat().into();
    }
    mail.flags = mailbox.keeps(&profile, mail.flags);
    mailbox.add(mail, email_id)
}

/// The value of a header field, unfolded no further than its first line.
pub(super) fn header(body: &[u8], name: &str) -> Option<Vec<u8>> {
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        let Some((field, value)) = line.split_at_checked(name.len()) else {
            continue;
        };
        if field.eq_ignore_ascii_case(name.as_bytes()) && value.starts_with(b":") {
            return Some(value.get(1..).unwrap_or_default().trim_ascii().to_vec());
        }
    }
    None
}
