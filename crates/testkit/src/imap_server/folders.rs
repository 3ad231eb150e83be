//! Commands on mailboxes that are not selected.
//! Nothing here knows a message, but for how many there are.

use super::command::Arg;
use super::fault::Act;
use super::profile::Quirk;
use super::session::{Answer, Session, bad, no, ok};
use super::store::{Account, Mailbox, World, key};

impl Session {
    pub(super) fn folders(&mut self, command: &str, args: &[Arg]) -> Answer {
        match (command, args) {
            ("LIST", _) => self.list(args),
            ("LSUB", [_, pattern]) => self.lsub(pattern.bytes()),
            ("STATUS", [mailbox, Arg::List(items)]) => {
                let (user, name) = (self.user(), mailbox.bytes());
                let mut world = self.world();
                let Some(mailbox) = world.mailbox(&user, name) else {
                    return no("[NONEXISTENT] there is no such mailbox");
                };
                let line = self.status_line(name, mailbox, items);
                drop(world);
                self.say(line);
                ok("done")
            }
            ("CREATE", [mailbox, options @ ..]) => self.create(mailbox.bytes(), options),
            ("DELETE", [mailbox]) => self.delete(mailbox.bytes()),
            ("RENAME", [from, to]) => {
                let user = self.user();
                self.world().rename(&user, from.bytes(), to.bytes());
                ok("done")
            }
            ("SUBSCRIBE" | "UNSUBSCRIBE", [mailbox]) => {
                let (user, name) = (self.user(), key(mailbox.bytes()));
                if let Some(account) = self.world().account(&user) {
                    if command == "SUBSCRIBE" {
                        account.subscribed.insert(name);
                    } else {
                        account.subscribed.remove(&name);
                    }
                }
                ok("done")
            }
            ("NAMESPACE", []) if self.can("NAMESPACE") => {
                let profile = &self.shared.profile;
                let line = format!(
                    "* NAMESPACE ((\"{}\" \"{}\")) NIL NIL",
                    profile.prefix, profile.separator
                );
                self.say(line);
                ok("done")
            }
            ("GETQUOTAROOT", [mailbox]) if self.can("QUOTA") => {
                self.say([b"* QUOTAROOT ", &*written(mailbox.bytes()), b" \"\""].concat());
                self.say("* QUOTA \"\" (STORAGE 10 1048576)");
                ok("done")
            }
            ("GETACL", [mailbox]) if self.can("ACL") => {
                let rights = format!(" {} lrswipkxtea", self.user());
                self.say([b"* ACL ", &*written(mailbox.bytes()), rights.as_bytes()].concat());
                ok("done")
            }
            _ => bad("there is no such command"),
        }
    }

    /// LIST, with RFC 5258's options where the make has them.
    fn list(&mut self, args: &[Arg]) -> Answer {
        let extended = self.can("LIST-EXTENDED");
        let (only_subscribed, args) = match args {
            [Arg::List(options), rest @ ..] if extended => {
                (options.iter().any(|option| option.upper() == "SUBSCRIBED"), rest)
            }
            _ => (false, args),
        };
        let (patterns, returns) = match args {
            [_, patterns] => (patterns, None),
            [_, patterns, word, Arg::List(returns)] if extended && word.upper() == "RETURN" => {
                (patterns, Some(returns))
            }
            _ => return bad("LIST what?"),
        };
        let separator = self.shared.profile.separator;
        if patterns.bytes().is_empty() && !patterns.is_list() {
            self.say(format!("* LIST (\\Noselect) \"{separator}\" \"\""));
            return ok("done");
        }
        let patterns: Vec<&[u8]> = patterns.items().iter().map(Arg::bytes).collect();
        let mut lines = self.list_lines(&patterns, only_subscribed, returns);
        if let Some(Act::Short(fewer)) = self.act {
            lines.truncate(lines.len().saturating_sub(fewer));
        }
        lines.into_iter().flatten().for_each(|line| self.say(line));
        ok("done")
    }

    /// The lines of each mailbox: LIST, and STATUS where it was asked for.
    fn list_lines(
        &self,
        patterns: &[&[u8]],
        only_subscribed: bool,
        returns: Option<&Vec<Arg>>,
    ) -> Vec<Vec<Vec<u8>>> {
        let user = self.user();
        let separator = self.separator();
        let status = returns.and_then(|returns| {
            let place = returns.iter().position(|word| word.upper() == "STATUS")?;
            returns.get(place + 1)
        });
        let asks = |word: &str| {
            only_subscribed
                || returns.is_some_and(|list| list.iter().any(|arg| arg.upper() == word))
        };
        let mut world = self.world();
        let Some(account) = world.account(&user) else {
            return Vec::new();
        };
        let names: Vec<&Vec<u8>> = if only_subscribed {
            account.subscribed.iter().collect()
        } else {
            account.mailboxes.keys().collect()
        };
        let mut lines = Vec::new();
        for name in names {
            if !patterns.iter().any(|pattern| fits(pattern, name, separator)) {
                continue;
            }
            let mailbox = account.mailboxes.get(name);
            let mut attributes = self.attributes(account, name);
            if asks("SUBSCRIBED") && account.subscribed.contains(name) {
                attributes.push("\\Subscribed".to_owned());
            }
            let mut of_mailbox = vec![self.list_line("LIST", &attributes, name)];
            if let (Some(items), Some(mailbox)) = (status, mailbox)
                && mailbox.selectable
            {
                of_mailbox.push(self.status_line(name, mailbox, items.items()));
            }
            lines.push(of_mailbox);
        }
        lines
    }

    fn separator(&self) -> u8 {
        u8::try_from(self.shared.profile.separator).unwrap_or(b'/')
    }

    fn attributes(&self, account: &Account, name: &[u8]) -> Vec<String> {
        let Some(mailbox) = account.mailboxes.get(name) else {
            return vec!["\\NonExistent".to_owned()];
        };
        let mut attributes = Vec::new();
        if !mailbox.selectable {
            attributes.push("\\Noselect".to_owned());
        }
        if self.can("CHILDREN") {
            let below = [name, &[self.separator()]].concat();
            let next = account.mailboxes.range(below.clone()..).next();
            let has = next.is_some_and(|(other, _)| other.starts_with(&below));
            attributes.push(if has { "\\HasChildren" } else { "\\HasNoChildren" }.to_owned());
        }
        if self.can("SPECIAL-USE") {
            attributes.extend(mailbox.special_use.clone());
        }
        attributes
    }

    fn list_line(&self, word: &str, attributes: &[String], name: &[u8]) -> Vec<u8> {
        let separator = self.shared.profile.separator;
        let inbox = name == b"INBOX" && self.has(Quirk::WritesInbox);
        let name = if inbox { &b"Inbox"[..] } else { name };
        let start = format!("* {word} ({}) \"{separator}\" ", attributes.join(" "));
        [start.as_bytes(), &written(name)].concat()
    }

    fn lsub(&mut self, pattern: &[u8]) -> Answer {
        let user = self.user();
        let subscribed = self.world().subscriptions(&user);
        for name in subscribed {
            if fits(pattern, &name, self.separator()) {
                let line = self.list_line("LSUB", &[], &name);
                self.say(line);
            }
        }
        ok("done")
    }

    fn status_line(&self, name: &[u8], mailbox: &Mailbox, items: &[Arg]) -> Vec<u8> {
        let seen = |flags: &std::collections::BTreeSet<String>| flags.contains("\\Seen");
        let messages = || mailbox.messages.values();
        let tells_mod_seq = self.tells_mod_seq();
        let mut said = Vec::new();
        for item in items.iter().map(Arg::upper) {
            let value = match item.as_str() {
                "MESSAGES" => mailbox.messages.len().to_string(),
                "RECENT" => "0".to_owned(),
                "UIDNEXT" => mailbox.uid_next.to_string(),
                "UIDVALIDITY" => mailbox.uid_validity.to_string(),
                "UNSEEN" => messages().filter(|held| !seen(&held.flags)).count().to_string(),
                "HIGHESTMODSEQ" if tells_mod_seq => mailbox.mod_seq.to_string(),
                "MAILBOXID" if self.can("OBJECTID") => format!("(F{})", mailbox.id),
                "SIZE" if self.can("STATUS=SIZE") => {
                    messages().map(|held| held.body.len()).sum::<usize>().to_string()
                }
                _ => continue,
            };
            said.push(format!("{item} {value}"));
        }
        let end = format!(" ({})", said.join(" "));
        [b"* STATUS ", &*written(name), end.as_bytes()].concat()
    }

    /// Whether mod-sequences are told of.
    pub(super) fn tells_mod_seq(&self) -> bool {
        let must_be_enabled = self.has(Quirk::CondStoreMustBeEnabled);
        self.can("CONDSTORE") && (!must_be_enabled || self.has_enabled("CONDSTORE"))
    }

    fn create(&mut self, name: &[u8], options: &[Arg]) -> Answer {
        let separator = self.separator();
        let name = name.strip_suffix(&[separator]).unwrap_or(name);
        let user = self.user();
        if self.has(Quirk::PickyNames) && is_picky(name, separator) {
            return no("[CANNOT] Invalid folder name");
        }
        if name.iter().any(|byte| self.has(Quirk::NamesWithout(*byte))) {
            return no("Invalid mailbox name");
        }
        let prefix = self.shared.profile.prefix.as_bytes();
        if !name.starts_with(prefix) {
            return no("[CANNOT] Mailbox must be below INBOX");
        }
        let case_blind = self.has(Quirk::CaseBlindCreate);
        let mut world = self.world();
        let same = |known: &Vec<u8>| {
            *known == key(name) || (case_blind && known.eq_ignore_ascii_case(name))
        };
        if world.mailboxes(&user).iter().any(same) {
            return no("[ALREADYEXISTS] it is there");
        }
        create_with_parents(&mut world, &user, name, separator);
        if let [word] = options
            && let [name_of, Arg::List(uses)] = word.items()
            && name_of.upper() == "USE"
            && let Some(mailbox) = world.mailbox(&user, name)
        {
            mailbox.special_use = uses.first().map(Arg::text);
        }
        ok("done")
    }

    fn delete(&mut self, name: &[u8]) -> Answer {
        let user = self.user();
        let mut world = self.world();
        if world.mailbox(&user, name).is_none() {
            return no("[NONEXISTENT] there is no such mailbox");
        }
        world.delete(&user, name);
        ok("done")
    }
}

fn create_with_parents(world: &mut World, user: &str, name: &[u8], separator: u8) {
    for (at, byte) in name.iter().enumerate() {
        if *byte == separator {
            world.create(user, name.get(..at).unwrap_or_default());
        }
    }
    world.create(user, name);
}

/// A name that Gmail does not take.
fn is_picky(name: &[u8], separator: u8) -> bool {
    name.split(|byte| *byte == separator).any(|part| {
        part.is_empty()
            || part.starts_with(b" ")
            || part.ends_with(b" ")
            || part.contains(&b'^')
            || part.windows(2).any(|pair| pair == b"  ")
    })
}

/// A name as it is written: as a literal where quotes do not do.
fn written(name: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && !b"\"\\".contains(byte);
    if name.iter().all(plain) {
        return [b"\"", name, b"\""].concat();
    }
    [format!("{{{}}}\r\n", name.len()).as_bytes(), name].concat()
}

/// Whether a name fits a pattern: `*` is anything, `%` anything within a part.
fn fits(pattern: &[u8], name: &[u8], separator: u8) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => {
            (0..=name.len()).any(|at| fits(rest, name.get(at..).unwrap_or_default(), separator))
        }
        Some((b'%', rest)) => {
            let part = name.iter().take_while(|byte| **byte != separator).count();
            (0..=part).any(|at| fits(rest, name.get(at..).unwrap_or_default(), separator))
        }
        Some((byte, rest)) => name.split_first().is_some_and(|(first, name)| {
            first.eq_ignore_ascii_case(byte) && fits(rest, name, separator)
        }),
    }
}
