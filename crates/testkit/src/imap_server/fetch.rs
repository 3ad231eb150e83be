//! FETCH.
//! Nothing here looks into the structure of a message.

use super::append::header;
use super::command::Arg;
use super::fault::Act;
use super::profile::Quirk;
use super::selected::vanished;
use super::session::{Answer, Session, bad, ok};
use super::store::Held;

impl Session {
    pub(super) fn fetch(&mut self, args: &[Arg], uid: bool) -> Answer {
        let [which, items, modifiers @ ..] = args else {
            return bad("FETCH what?");
        };
        let Some(uids) = self.uids(&which.text(), uid) else {
            return bad("FETCH which?");
        };
        let mut items: Vec<String> = items.items().iter().map(Arg::text).collect();
        if items.iter().any(|item| item.eq_ignore_ascii_case("ALL")) {
            items = ["FLAGS", "INTERNALDATE", "RFC822.SIZE"].map(str::to_owned).to_vec();
        }
        let since = self.modified(modifiers);
        if since.is_some() && !items.iter().any(|item| item.eq_ignore_ascii_case("MODSEQ")) {
            items.push("MODSEQ".to_owned());
        }
        if uid && !items.iter().any(|item| item.eq_ignore_ascii_case("UID")) {
            let place = if self.has(Quirk::UidBehindBody) { items.len() } else { 0 };
            items.insert(place, "UID".to_owned());
        }
        let uids = self.shortened(uids);
        let (gone, found) = self.look(|mailbox, known| {
            let gone = since.filter(|(_, tells)| *tells);
            let gone = gone.and_then(|(since, _)| vanished(mailbox, since));
            let changed = |held: &&Held| since.is_none_or(|(since, _)| held.mod_seq > since);
            let find = |uid: &u32| {
                let held = mailbox.messages.get(uid).filter(changed)?;
                Some((known.binary_search(uid).ok()? + 1, held.clone()))
            };
            (gone, uids.iter().filter_map(find).collect::<Vec<_>>())
        });
        gone.into_iter().for_each(|line| self.say(line));
        for (sequence, held) in found {
            self.message(sequence, &held, &items)?;
        }
        ok("done")
    }

    /// `(CHANGEDSINCE n [VANISHED])`.
    fn modified(&self, modifiers: &[Arg]) -> Option<(u64, bool)> {
        let words = modifiers.first()?.items();
        let [word, number, rest @ ..] = words else {
            return None;
        };
        let since = number.text().parse().ok().filter(|_| word.upper() == "CHANGEDSINCE")?;
        let vanished = rest.iter().any(|word| word.upper() == "VANISHED");
        Some((since, vanished && self.has_enabled("QRESYNC")))
    }

    fn message(&mut self, sequence: usize, held: &Held, items: &[String]) -> std::io::Result<()> {
        self.send(format!("* {sequence} FETCH (").as_bytes())?;
        let mut space: &[u8] = b"";
        for item in items {
            let Some(value) = self.value(held, item) else {
                continue;
            };
            self.send(space)?;
            self.send(&value)?;
            space = b" ";
        }
        self.send(b")\r\n")
    }

    /// An item with its value; none of what the make does not know.
    fn value(&self, held: &Held, item: &str) -> Option<Vec<u8>> {
        let upper = item.to_ascii_uppercase();
        let text = match upper.as_str() {
            "UID" => format!("UID {}", held.uid),
            "FLAGS" => {
                let flags: Vec<&str> = held.flags.iter().map(String::as_str).collect();
                format!("FLAGS ({})", flags.join(" "))
            }
            "INTERNALDATE" => format!("INTERNALDATE \"{}\"", held.date),
            "RFC822.SIZE" => format!("RFC822.SIZE {}", self.size(held)),
            "MODSEQ" if self.can("CONDSTORE") => format!("MODSEQ ({})", held.mod_seq),
            "EMAILID" if self.can("OBJECTID") => format!("EMAILID (M{})", held.email_id),
            "X-GM-MSGID" if self.can("X-GM-EXT-1") => format!("X-GM-MSGID {}", held.email_id),
            "X-GM-LABELS" if self.can("X-GM-EXT-1") => {
                let quoted = |label: &String| format!("\"{}\"", label.replace('\\', "\\\\"));
                let labels: Vec<String> = held.labels.iter().map(quoted).collect();
                format!("X-GM-LABELS ({})", labels.join(" "))
            }
            _ => return self.section(held, &upper),
        };
        Some(text.into_bytes())
    }

    fn size(&self, held: &Held) -> i64 {
        let size = i64::try_from(held.body.len()).unwrap_or(i64::MAX);
        let wrong = if let Some(Act::WrongSize(wrong)) = self.act { wrong } else { 0 };
        let estimated = if self.has(Quirk::EstimatesSizes) { size / 50 + 7 } else { 0 };
        size.saturating_add(wrong).saturating_add(estimated).max(0)
    }

    /// `BODY[...]`, `BODY.PEEK[...]`, `BINARY.PEEK[]`.
    fn section(&self, held: &Held, item: &str) -> Option<Vec<u8>> {
        let (name, section) = item.strip_suffix(']')?.split_once('[')?;
        let name = name.strip_suffix(".PEEK").unwrap_or(name);
        let tilde = match name {
            "BODY" => "",
            "BINARY" if self.can("BINARY") && section.is_empty() => "~",
            _ => return None,
        };
        if let Some(Act::NilBodies) = self.act {
            return Some(format!("{name}[{section}] NIL").into_bytes());
        }
        let body = &*held.body;
        let end = body.windows(4).position(|end| end == b"\r\n\r\n").map(|end| end + 4);
        let (head, text) = body.split_at_checked(end.unwrap_or(body.len()))?;
        let bytes = match section {
            "" => body.to_vec(),
            "HEADER" => head.to_vec(),
            "TEXT" => text.to_vec(),
            fields => {
                let names = fields.strip_prefix("HEADER.FIELDS (")?.strip_suffix(')')?;
                let line = |name: &str| {
                    let value = header(head, name)?;
                    Some([name.as_bytes(), b": ", &value, b"\r\n"].concat())
                };
                let lines = names.split(' ').map(|name| name.trim_matches('"')).filter_map(line);
                [lines.collect::<Vec<_>>().concat(), b"\r\n".to_vec()].concat()
            }
        };
        let start = format!("{name}[{section}] {tilde}{{{}}}\r\n", bytes.len());
        Some([start.as_bytes(), &bytes].concat())
    }
}
