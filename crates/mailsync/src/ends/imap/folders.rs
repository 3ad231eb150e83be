//! Mailboxes: which there are, what they are called, and new ones.
//!
//! Nothing here looks at messages.

use std::collections::{BTreeMap, BTreeSet};

use proto::imap::client::{
    Code, Command, Event, List, Listed, MailboxName, MailboxStatus, NameCoding, NamePart,
    Namespaces, Path, StatusItem, Untagged,
};

use super::{
    super::{Fault, FaultKind},
    ImapSession, said,
    wire::is_ok,
    words,
};
use crate::{Mailbox, MailboxPath, Overview, Quota, RawName, SpecialUse, Status, Uid};

/// How the server writes names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Whether the rest is known.
    known: bool,
    /// What one's own mailboxes begin with, but for INBOX.
    prefix: Vec<u8>,
    separator: Option<u8>,
    /// What others' mailboxes begin with, and nobody's.
    foreign: Vec<Vec<u8>>,
}

/// STATUS commands without an answer.
const WINDOW: usize = 32;

impl ImapSession {
    pub(super) async fn all_folders(&mut self) -> Result<Overview, Fault> {
        self.learn_names().await?;
        let capabilities = self.wire.capabilities();
        let all_at_once = capabilities.has("LIST-STATUS");
        let extended = capabilities.has("LIST-EXTENDED");
        let special_use = capabilities.has("SPECIAL-USE");
        let items = self.status_items();
        let list = List {
            patterns: vec![MailboxName::new(*b"*")],
            subscribed: extended,
            special_use,
            status: if all_at_once { items.clone() } else { Vec::new() },
            ..List::default()
        };
        let (mut listed, mut statuses) = (Vec::new(), BTreeMap::new());
        let verdict = self.wire.ask(Command::List(list), |event| match event {
            Event::Untagged(Untagged::List(one)) => listed.push(one),
            Event::Untagged(Untagged::Status(status)) => keep(&mut statuses, status),
            _ => {}
        });
        said::check(&verdict.await?)?;
        if !extended {
            self.mark_subscribed(&mut listed).await?;
        }
        listed.retain(|one| !self.names.is_foreign(&one.name));
        let mut seen = BTreeSet::new();
        listed.retain(|one| seen.insert(one.name.clone()));
        if !all_at_once {
            self.ask_statuses(&listed, &items, &mut statuses).await?;
        }
        let mailboxes = listed.iter().map(|one| self.names.mailbox(one, &statuses)).collect();
        let separator = self.names.separator.map(char::from);
        let quota = self.quota().await?;
        Ok(Overview { mailboxes, separator, quota })
    }

    fn status_items(&self) -> Vec<StatusItem> {
        let capabilities = self.wire.capabilities();
        let mut items = vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity];
        if capabilities.has("CONDSTORE") {
            items.push(StatusItem::HighestModSeq);
        }
        if capabilities.has("STATUS=SIZE") {
            items.push(StatusItem::Size);
        }
        items
    }

    async fn learn_names(&mut self) -> Result<(), Fault> {
        if self.names.known {
            return Ok(());
        }
        let (mut namespaces, mut root) = (None::<Namespaces>, None::<Listed>);
        if self.wire.capabilities().has("NAMESPACE") {
            // One that gets it wrong has no namespaces.
            let asked = self.wire.ask(Command::Namespace, |event| {
                if let Event::Untagged(Untagged::Namespace(told)) = event {
                    namespaces = Some(told);
                }
            });
            asked.await?;
        }
        let list = List { patterns: vec![MailboxName::default()], ..List::default() };
        let asked = self.wire.ask(Command::List(list), |event| {
            if let Event::Untagged(Untagged::List(told)) = event {
                root = Some(told);
            }
        });
        asked.await?;
        let namespaces = namespaces.unwrap_or_default();
        let own = namespaces.personal.into_iter().next().unwrap_or_default();
        let foreign = namespaces.others.into_iter().chain(namespaces.shared);
        self.names = Names {
            known: true,
            separator: own.separator.or_else(|| root.and_then(|root| root.separator)),
            foreign: foreign.map(|place| place.prefix).filter(|p| *p != own.prefix).collect(),
            prefix: own.prefix,
        };
        Ok(())
    }

    async fn mark_subscribed(&mut self, listed: &mut [Listed]) -> Result<(), Fault> {
        let reference = MailboxName::default();
        let lsub = Command::Lsub { reference, pattern: MailboxName::new(*b"*") };
        let mut subscribed = BTreeSet::new();
        let verdict = self.wire.ask(lsub, |event| {
            if let Event::Untagged(Untagged::Lsub(one)) = event
                && !one.no_select
            {
                subscribed.insert(one.name);
            }
        });
        said::check(&verdict.await?)?;
        for one in listed {
            one.subscribed = subscribed.contains(&one.name);
        }
        Ok(())
    }

    async fn ask_statuses(
        &mut self,
        listed: &[Listed],
        items: &[StatusItem],
        statuses: &mut BTreeMap<MailboxName, MailboxStatus>,
    ) -> Result<(), Fault> {
        let selectable: Vec<&Listed> = listed.iter().filter(|one| !one.no_select).collect();
        for some in selectable.chunks(WINDOW) {
            let ask = |one: &&Listed| {
                let status = Command::Status { mailbox: one.name.clone(), items: items.to_vec() };
                self.wire.send(&status)
            };
            let asked: Vec<_> = some.iter().map(ask).collect();
            for id in asked {
                // One that cannot be asked is listed without figures.
                let told = self.wire.finish(id, |event| {
                    if let Event::Untagged(Untagged::Status(status)) = event {
                        keep(statuses, status);
                    }
                });
                told.await?;
            }
        }
        Ok(())
    }

    async fn quota(&mut self) -> Result<Option<Quota>, Fault> {
        if !self.wire.capabilities().has("QUOTA") {
            return Ok(None);
        }
        let mut room: Option<Quota> = None;
        let asked = self.wire.ask(Command::GetQuotaRoot(MailboxName::inbox()), |event| {
            let Event::Untagged(Untagged::Quota { resources, .. }) = event else { return };
            for resource in resources.iter().filter(|resource| resource.name == "STORAGE") {
                // RFC 9208 section 5.1: in units of 1024 bytes.
                let bytes = |units: u64| units.saturating_mul(1024);
                let quota = Quota { used: bytes(resource.usage), limit: bytes(resource.limit) };
                let left = |quota: &Quota| quota.limit.saturating_sub(quota.used);
                if room.is_none_or(|room| left(&quota) < left(&room)) {
                    room = Some(quota);
                }
            }
        });
        asked.await?;
        Ok(room)
    }

    pub(super) async fn create_folder(
        &mut self,
        path: &MailboxPath,
        special_use: Option<SpecialUse>,
    ) -> Result<RawName, Fault> {
        self.learn_names().await?;
        let name = self.names.write(path)?;
        let special_use = special_use.map(words::wire_use);
        let special_use =
            special_use.filter(|_| self.wire.capabilities().has("CREATE-SPECIAL-USE"));
        let create = |special_use| Command::Create { mailbox: name.clone(), special_use };
        let mut verdict = self.wire.ask(create(special_use), |_| {}).await?;
        if verdict.words.code == Some(Code::UseAttr) {
            verdict = self.wire.ask(create(None), |_| {}).await?;
        }
        if is_ok(&verdict) || self.is_there(&name).await? {
            return Ok(words::raw(&name));
        }
        let fault = said::check(&verdict).err();
        Err(fault.map_or_else(
            || Fault::new(FaultKind::Mailbox, format!("`{path}` cannot be made")),
            |fault| Fault::new(fault.kind, format!("`{path}` cannot be made: {}", fault.said)),
        ))
    }

    async fn is_there(&mut self, name: &MailboxName) -> Result<bool, Fault> {
        let items = vec![StatusItem::Messages];
        let status = Command::Status { mailbox: name.clone(), items };
        Ok(is_ok(&self.wire.ask(status, |_| {}).await?))
    }
}

impl Names {
    fn is_foreign(&self, name: &MailboxName) -> bool {
        let begins = |prefix: &Vec<u8>| !prefix.is_empty() && name.as_bytes().starts_with(prefix);
        self.foreign.iter().any(begins)
    }

    fn mailbox(&self, listed: &Listed, statuses: &BTreeMap<MailboxName, MailboxStatus>) -> Mailbox {
        let selectable = !listed.no_select && !listed.non_existent;
        let status = statuses.get(&key(&listed.name)).filter(|_| selectable);
        Mailbox {
            path: self.read(&listed.name),
            raw: words::raw(&listed.name),
            special_use: words::special_use(&listed.special_uses),
            selectable,
            subscribed: listed.subscribed,
            status: status.and_then(figures),
        }
    }

    /// The path of a name. INBOX within the prefix is not INBOX.
    fn read(&self, name: &MailboxName) -> MailboxPath {
        let rest = name.as_bytes().strip_prefix(&*self.prefix).filter(|rest| !rest.is_empty());
        let rest = rest.map_or_else(|| name.clone(), MailboxName::new);
        let Path(parts) = Path::read(&rest, self.separator, NameCoding::Utf7);
        let parts = parts.iter().map(NamePart::shown);
        if rest.is_inbox() && !name.is_inbox() {
            return MailboxPath::new(std::iter::once("INBOX".to_owned()).chain(parts));
        }
        MailboxPath::new(parts)
    }

    fn write(&self, path: &MailboxPath) -> Result<MailboxName, Fault> {
        if path.is_inbox() {
            return Ok(MailboxName::inbox());
        }
        let parts = path.parts().iter().map(|part| NamePart::Text(part.to_string())).collect();
        let name = Path(parts).write(self.separator, NameCoding::Utf7);
        let name = name.map_err(|error| {
            Fault::new(FaultKind::Mailbox, format!("`{path}` cannot be written: {error}"))
        })?;
        Ok(MailboxName::new([&self.prefix, name.as_bytes()].concat()))
    }
}

/// INBOX has no case, and servers answer with another than they were asked in.
fn key(name: &MailboxName) -> MailboxName {
    if name.is_inbox() { MailboxName::inbox() } else { name.clone() }
}

fn keep(statuses: &mut BTreeMap<MailboxName, MailboxStatus>, status: MailboxStatus) {
    statuses.insert(key(&status.name), status);
}

fn figures(status: &MailboxStatus) -> Option<Status> {
    Some(Status {
        messages: status.messages?,
        uid_validity: status.uid_validity?,
        uid_next: status.uid_next.and_then(Uid::new),
        highest_modseq: status.highest_mod_seq.filter(|modseq| *modseq > 0),
        size: status.size,
    })
}
