//! SEARCH, with what a syncing client and its users ask.
//! Nothing here looks into a message but its header and size.

use super::append::header;
use super::command::{Arg, as_set, set};
use super::session::{Answer, Session, bad, ok};
use super::store::Held;

/// What must be true of a message.
enum Key {
    All(Vec<Self>),
    Flag(String),
    Header(String, String),
    Larger(usize),
    ModSeq(u64),
    Not(Box<Self>),
    Or(Box<Self>, Box<Self>),
    Smaller(usize),
    Uids(Vec<u32>),
}

impl Session {
    pub(super) fn search(&mut self, tag: &str, args: &[Arg], uid: bool) -> Answer {
        let (returns, args) = match args {
            [word, Arg::List(returns), rest @ ..]
                if word.upper() == "RETURN" && self.can("ESEARCH") =>
            {
                (Some(returns.iter().map(Arg::upper).collect::<Vec<_>>()), rest)
            }
            _ => (None, args),
        };
        let Some(keys) = self.keys(args) else {
            return bad("SEARCH what?");
        };
        let found: Vec<u32> = self.look(|mailbox, known| {
            let fits = |uid: &u32| mailbox.messages.get(uid).is_some_and(|held| keys.fits(held));
            let found = (1..).zip(known).filter(|(_, known)| fits(known));
            found.map(|(sequence, known)| if uid { *known } else { sequence }).collect()
        });
        let found = self.shortened(found);
        match returns {
            Some(returns) => self.say_esearch(tag, &found, &returns, uid),
            None => {
                let numbers = found.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
                self.say(format!("* SEARCH {numbers}").trim_end());
            }
        }
        ok("done")
    }

    fn say_esearch(&mut self, tag: &str, found: &[u32], returns: &[String], uid: bool) {
        let mut line = format!("* ESEARCH (TAG \"{tag}\")");
        if uid {
            line.push_str(" UID");
        }
        let asks = |word: &str| returns.iter().any(|asked| asked == word);
        if let Some(max) = found.last().filter(|_| asks("MAX")) {
            line.push_str(&format!(" MAX {max}"));
        }
        if (asks("ALL") || returns.is_empty()) && !found.is_empty() {
            line.push_str(&format!(" ALL {}", as_set(found)));
        }
        if asks("COUNT") {
            line.push_str(&format!(" COUNT {}", found.len()));
        }
        self.say(line);
    }

    fn keys(&self, args: &[Arg]) -> Option<Key> {
        let mut args = args.iter();
        let mut keys = Vec::new();
        while args.len() > 0 {
            keys.push(self.key(&mut args)?);
        }
        Some(Key::All(keys))
    }

    fn key<'a>(&self, args: &mut impl Iterator<Item = &'a Arg>) -> Option<Key> {
        let arg = args.next()?;
        if arg.is_list() {
            return self.keys(arg.items());
        }
        let word = arg.upper();
        let flag = |flag: &str| Key::Flag(flag.to_ascii_lowercase());
        let mut text = || args.next().map(Arg::text);
        Some(match word.as_str() {
            "ALL" => Key::All(Vec::new()),
            "ANSWERED" | "DELETED" | "DRAFT" | "FLAGGED" | "SEEN" => flag(&format!("\\{word}")),
            "UNANSWERED" | "UNDELETED" | "UNDRAFT" | "UNFLAGGED" | "UNSEEN" => {
                Key::Not(Box::new(flag(&word.replacen("UN", "\\", 1))))
            }
            "KEYWORD" => flag(&text()?),
            "UNKEYWORD" => Key::Not(Box::new(flag(&text()?))),
            "LARGER" => Key::Larger(text()?.parse().ok()?),
            "SMALLER" => Key::Smaller(text()?.parse().ok()?),
            "MODSEQ" => Key::ModSeq(text()?.parse().ok()?),
            "UID" => Key::Uids(self.uids(&text()?, true)?),
            "SUBJECT" | "FROM" | "TO" => Key::Header(word, text()?),
            "HEADER" => Key::Header(text()?, text()?),
            "NOT" => Key::Not(Box::new(self.key(args)?)),
            "OR" => Key::Or(Box::new(self.key(args)?), Box::new(self.key(args)?)),
            numbers => {
                set(numbers, &[])?;
                Key::Uids(self.uids(numbers, false)?)
            }
        })
    }
}

impl Key {
    fn fits(&self, held: &Held) -> bool {
        match self {
            Self::All(keys) => keys.iter().all(|key| key.fits(held)),
            Self::Flag(flag) => held.flags.iter().any(|known| known.eq_ignore_ascii_case(flag)),
            Self::Header(name, value) => {
                let found = header(&held.body, name).unwrap_or_default().to_ascii_lowercase();
                String::from_utf8_lossy(&found).contains(&value.to_ascii_lowercase())
            }
            Self::Larger(size) => held.body.len() > *size,
            Self::ModSeq(since) => held.mod_seq >= *since,
            Self::Not(key) => !key.fits(held),
            Self::Or(one, other) => one.fits(held) || other.fits(held),
            Self::Smaller(size) => held.body.len() < *size,
            Self::Uids(uids) => uids.binary_search(&held.uid).is_ok(),
        }
    }
}
