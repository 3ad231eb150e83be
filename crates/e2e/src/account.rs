//! Everything that an account holds, asked for by a plain IMAP client.
//! Nothing here goes through Posthouse, or believes what it reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use testkit::{
    mail_clients::{ImapAnswer, ImapClient, Security},
    servers::Service,
};

use crate::house::{House, Kind, Person};

/// A busy machine takes its time over megabytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The parts of a mailbox' name, as the server codes them.
pub type Parts = Vec<String>;

/// Somebody's account on a real server, with a client that is logged in.
pub struct Account {
    /// Where.
    pub kind: Kind,
    /// Whose.
    pub person: Person,
    client: ImapClient,
}

/// All of an account.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// The messages of each mailbox, sorted.
    pub mailboxes: BTreeMap<Parts, Vec<Mail>>,
    /// To which mailboxes the user is subscribed.
    pub subscribed: BTreeSet<Parts>,
    /// What mailboxes are for.
    pub uses: BTreeMap<Parts, String>,
}

/// A message.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mail {
    /// All of its bytes.
    pub body: Bytes,
    /// Its flags and keywords, but for `\Recent`.
    pub flags: BTreeSet<String>,
    /// Its INTERNALDATE, the day in two digits.
    pub date: String,
}

/// Bytes of which failing tests show the beginning.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.0[..self.0.len().min(60)];
        write!(f, "{} bytes: {}", self.0.len(), start.escape_ascii())
    }
}

impl Account {
    /// A new one.
    pub fn new(house: &House, kind: Kind) -> Self {
        let person = house.person(kind);
        let client = Self::logged_in(house, kind, &person);
        Self { kind, person, client }
    }

    /// Another client of the same account.
    pub fn again(&self, house: &House) -> Self {
        let client = Self::logged_in(house, self.kind, &self.person);
        Self { kind: self.kind, person: self.person.clone(), client }
    }

    fn logged_in(house: &House, kind: Kind, person: &Person) -> ImapClient {
        let address = ("127.0.0.1", house.port(kind, Service::Imap));
        let mut client = ImapClient::connect(address, &Security::Clear).unwrap();
        client.wire().set_deadline(PATIENCE);
        client.login(&person.name, &person.password).unwrap();
        client
    }

    /// The name of a mailbox on this server.
    pub fn name(&self, parts: &[&str]) -> String {
        parts.join(if self.kind == Kind::Maildir { "." } else { "/" })
    }

    /// Sends a command that must be done.
    pub fn done(&mut self, command: &str) -> ImapAnswer {
        let answer = self.client.command(command).unwrap();
        assert!(answer.is_ok(), "{:?}: {command}: {}", self.kind, answer.status);
        answer
    }

    /// Makes a mailbox.
    pub fn create(&mut self, parts: &[&str], more: &str) {
        let name = self.name(parts);
        self.done(&format!("CREATE \"{name}\"{more}"));
    }

    /// Stores a message.
    pub fn append(&mut self, parts: &[&str], flags_and_date: &str, message: &[u8]) {
        let name = self.name(parts);
        let stored = self.client.append_with(&name, flags_and_date, message);
        stored.unwrap_or_else(|error| panic!("{:?}: {error}", self.kind));
    }

    /// All that there is.
    pub fn held(&mut self) -> Held {
        let mut held = Held::default();
        for (parts, name, attributes) in self.listed("LIST \"\" \"*\" RETURN (SPECIAL-USE)") {
            let uses = ["\\Sent", "\\Drafts"];
            if let Some(what) = attributes.iter().find(|attribute| uses.contains(&&***attribute)) {
                held.uses.insert(parts.clone(), what.clone());
            }
            if !attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case("\\NoSelect")) {
                held.mailboxes.insert(parts, self.mails(&name));
            }
        }
        let subscribed = self.listed("LSUB \"\" \"*\"").into_iter();
        held.subscribed = subscribed.map(|(parts, ..)| parts).collect();
        held
    }

    /// Names in parts and whole, with their attributes.
    fn listed(&mut self, command: &str) -> Vec<(Parts, String, Vec<String>)> {
        let answer = self.done(command);
        let lines = answer.untagged.iter().filter_map(|line| {
            let line = String::from_utf8(line.clone()).unwrap();
            let (_, rest) = line.split_once('(')?;
            let (attributes, rest) = rest.split_once(") \"")?;
            let (separator, name) = rest.split_once("\" ")?;
            let name = name.trim().trim_matches('"').to_owned();
            let parts = name.split(separator).map(str::to_owned).collect();
            Some((parts, name, attributes.split(' ').map(str::to_owned).collect()))
        });
        lines.collect()
    }

    fn mails(&mut self, name: &str) -> Vec<Mail> {
        if self.client.select(name).unwrap() == 0 {
            return Vec::new();
        }
        let answer = self.done("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
        let bodies = answer.untagged.iter().filter_map(|response| mail(response));
        let mut mails: Vec<Mail> = bodies.collect();
        mails.sort();
        mails
    }
}

/// A message as FETCH shows it; what else is told meanwhile is none.
fn mail(response: &[u8]) -> Option<Mail> {
    let marker = b"BODY[] {";
    let at = response.windows(marker.len()).position(|window| window == marker)?;
    let behind = &response[at + marker.len()..];
    let end = behind.iter().position(|byte| *byte == b'}').unwrap();
    let length: usize = str::from_utf8(&behind[..end]).unwrap().parse().unwrap();
    let body = &behind[end + 3..end + 3 + length];
    let around = [&response[..at], &behind[end + 3 + length..]].concat();
    let around = String::from_utf8(around).unwrap();
    let between = |open: &str, close: &str| {
        let (_, rest) = around.split_once(open).unwrap();
        rest.split_once(close).unwrap().0.to_owned()
    };
    let flags = between("FLAGS (", ")");
    let flags = flags.split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent");
    Some(Mail {
        body: Bytes(body.to_vec()),
        flags: flags.map(str::to_owned).collect(),
        date: format!("{:0>26}", between("INTERNALDATE \"", "\"").trim()),
    })
}
