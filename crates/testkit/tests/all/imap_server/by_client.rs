//! The product's client against every make.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use proto::imap::client::{
    Answer, Change, Client, Code, Command, Date, Event, Extension, FetchItem, Fetched, Fetching,
    Flags, Form, InternalDate, List, MailboxName, Message, MessageKey, SearchKey, Searching,
    Select, Selection, Settings, Since, Status, StatusItem, Storing, SystemFlag, UidSet, Untagged,
    Verdict, Which,
};
use proto::{Machine, Step};
use testkit::imap_server::{ImapServer, Mail, Profile};
use testkit::servers::Service;
use testkit::servers::cyrus::{Cyrus, CyrusOptions};
use testkit::servers::dovecot::{Dovecot, DovecotOptions};

/// A connection that is led by commands, one after the other.
struct Owner {
    tcp: TcpStream,
    client: Client,
    /// What is to be appended.
    messages: HashMap<MessageKey, Vec<u8>>,
}

impl Owner {
    fn new(server: &ImapServer) -> Self {
        Self::at(server.port(), &[])
    }

    /// Logs in as alice, and does not believe that the server can do this.
    fn at(port: u16, disbelieved: &[&str]) -> Self {
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.write_all(b"a LOGIN alice sesame\r\n").unwrap();
        let mut line = Vec::new();
        while !(line.starts_with(b"a OK") && line.ends_with(b"\n")) {
            if line.ends_with(b"\n") {
                line.clear();
            }
            let mut byte = [0];
            tcp.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let disbelieved = disbelieved.iter().map(|name| (*name).to_owned()).collect();
        let client = Client::new(None, Settings { disbelieved, ..Settings::default() });
        let mut owner = Self { tcp, client, messages: HashMap::new() };
        owner.succeeds(Command::Capability);
        owner
    }

    /// The next event.
    fn event(&mut self) -> Event {
        loop {
            match self.client.step() {
                Step::Event(Event::Wanted { message, .. }) => {
                    let bytes = self.messages.remove(&message).unwrap();
                    self.client.answer(Answer::Piece(bytes));
                }
                Step::Event(event) => return event,
                Step::Write(bytes) => self.tcp.write_all(&bytes).unwrap(),
                Step::Read => {
                    let mut room = [0; 4096];
                    let count = self.tcp.read(&mut room).unwrap();
                    assert!(count > 0, "the server is gone");
                    self.client.receive(room.get(..count).unwrap());
                }
            }
        }
    }

    /// Does a command; what it said meanwhile, and at the end.
    fn does(&mut self, command: Command) -> (Vec<Event>, Verdict) {
        let id = self.client.send(&command);
        let mut events = Vec::new();
        loop {
            match self.event() {
                Event::Done { command, verdict } if command == id => return (events, verdict),
                event => events.push(event),
            }
        }
    }

    /// Does a command that succeeds; the untagged responses.
    fn succeeds(&mut self, command: Command) -> Vec<Untagged> {
        let (events, verdict) = self.does(command);
        assert_eq!(verdict.status, Status::Ok, "{verdict:?}");
        let untagged = |event| match event {
            Event::Untagged(untagged) => Some(untagged),
            _ => None,
        };
        events.into_iter().filter_map(untagged).collect()
    }

    /// Appends to INBOX; where each message is.
    fn stores(&mut self, bodies: &[Vec<u8>]) -> Vec<(u64, Option<(u32, u32)>)> {
        let messages: Vec<_> = (0..).zip(bodies).map(|(key, body)| message(key, body)).collect();
        self.messages = (0..).map(MessageKey).zip(bodies.iter().cloned()).collect();
        self.client.append(&MailboxName::inbox(), &messages);
        let mut places = Vec::new();
        while places.len() < bodies.len() {
            match self.event() {
                Event::Stored { message, place } => places.push((message.0, place)),
                Event::Untagged(_) => {}
                other => panic!("{other:?}"),
            }
        }
        places
    }

    fn fetched(&mut self, which: Which, items: Vec<FetchItem>) -> Vec<Fetched> {
        let fetching = Fetching { which, items, changed_since: None, vanished: false };
        let said = self.succeeds(Command::UidFetch(fetching));
        let fetched = |untagged| match untagged {
            Untagged::Fetch(fetched) => Some(*fetched),
            _ => None,
        };
        said.into_iter().filter_map(fetched).collect()
    }
}

fn inbox(since: Since) -> Command {
    Command::Select(Select { mailbox: MailboxName::inbox(), read_only: false, since })
}

fn message(key: u64, body: &[u8]) -> Message {
    let mut flags = Flags::new();
    flags.add(SystemFlag::Seen);
    Message {
        key: MessageKey(key),
        size: u64::try_from(body.len()).unwrap(),
        flags,
        date: InternalDate::from_unix(837_596_665),
        form: Form::Literal,
    }
}

fn bodies() -> Vec<Vec<u8>> {
    let large = ["Subject: large\r\n\r\n".to_owned(), "line\r\n".repeat(1000)].concat();
    let mut bodies: Vec<Vec<u8>> = (0..20)
        .map(|number| {
            format!("Message-ID: <n{number}@x>\r\n\r\na1 OK {{{number}}}\r\n").into_bytes()
        })
        .collect();
    bodies.insert(7, large.into_bytes());
    bodies
}

#[test]
fn every_make_takes_messages_and_gives_them_back() {
    for profile in Profile::all() {
        let name = profile.name;
        let uidplus = profile.capabilities.contains(&"UIDPLUS");
        let server = ImapServer::start(profile).unwrap();
        server.world().add_account("alice", "sesame");
        let mut owner = Owner::new(&server);
        let bodies = bodies();
        let places = owner.stores(&bodies);
        let (validity, _) = server.world().numbers("alice", "INBOX");
        let place = |key: u64| (key, uidplus.then(|| (validity, u32::try_from(key).unwrap() + 1)));
        assert_eq!(places, (0..21).map(place).collect::<Vec<_>>(), "{name}");
        let held: Vec<_> = server
            .world()
            .messages("alice", "INBOX")
            .iter()
            .map(|held| held.body.to_vec())
            .collect();
        assert_eq!(held, bodies, "{name}");
        gives_back(&mut owner, &bodies, name);
    }
}

fn gives_back(owner: &mut Owner, bodies: &[Vec<u8>], name: &str) {
    let mut selection = Selection::default();
    owner.succeeds(inbox(Since::Unasked)).iter().for_each(|said| selection.take(said));
    assert_eq!(selection.exists, Some(21), "{name}");
    assert!(selection.uid_validity.is_some() && selection.uid_next == Some(22), "{name}");
    let items = vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Body];
    let fetching = Fetching { which: Which::From(1), items, changed_since: None, vanished: false };
    let (events, verdict) = owner.does(Command::UidFetch(fetching));
    assert_eq!(verdict.status, Status::Ok);
    let mut read: Vec<(u32, Vec<u8>)> = Vec::new();
    for event in events {
        match event {
            Event::Body(body) => read.push((body.uid.unwrap(), Vec::new())),
            Event::Piece(bytes) => read.last_mut().unwrap().1.extend(bytes),
            Event::Untagged(Untagged::Fetch(fetched)) => {
                assert!(
                    fetched.flags.as_ref().is_some_and(|flags| flags.has(SystemFlag::Seen)),
                    "{name}"
                );
                assert!(
                    matches!(fetched.internal_date, Some(Date::Read(date)) if date.unix() == Some(837_596_665))
                );
            }
            Event::Untagged(_) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(read, (1..).zip(bodies.iter().cloned()).collect::<Vec<_>>(), "{name}");
}

#[test]
fn mailboxes_are_listed_with_their_figures_in_one_round_trip() {
    let server = ImapServer::start(Profile::dovecot()).unwrap();
    let mut world = server.world();
    world.add_account("alice", "sesame");
    let names: [&[u8]; 4] = [b"a \"b\\c", b"Entw&APw-rfe", b"Entw\xc3\xbcrfe", b"x/y"];
    names.iter().for_each(|name| world.create("alice", name));
    world.subscribe("alice", "x/y");
    drop(world);
    let mut owner = Owner::new(&server);
    let list = List {
        patterns: vec![MailboxName::new("*")],
        subscribed: true,
        status: vec![StatusItem::Messages, StatusItem::UidValidity, StatusItem::HighestModSeq],
        ..List::default()
    };
    let (mut listed, mut figures) = (Vec::new(), Vec::new());
    for said in owner.succeeds(Command::List(list)) {
        match said {
            Untagged::List(one) => listed.push((one.name.as_bytes().to_vec(), one.subscribed)),
            Untagged::Status(status) => figures.push((status.name, status.messages)),
            other => panic!("{other:?}"),
        }
    }
    let expected =
        [(&b"INBOX"[..], false), (names[1], false), (names[2], false), (names[0], false)];
    assert!(
        expected.iter().all(|(name, subscribed)| listed.contains(&(name.to_vec(), *subscribed)))
    );
    assert!(listed.contains(&(b"x/y".to_vec(), true)), "{listed:?}");
    assert_eq!(figures.len(), listed.len());
    for name in names {
        let name = MailboxName::new(name);
        owner.succeeds(Command::Subscribe(name.clone()));
        owner.succeeds(Command::Status { mailbox: name, items: vec![StatusItem::UidNext] });
    }
}

#[test]
fn changes_are_made_found_and_guarded() {
    let server = super::server(Profile::cyrus());
    let mut owner = Owner::new(&server);
    owner.succeeds(Command::Enable(vec![Extension::QResync]));
    let mut before = Selection::default();
    owner.succeeds(inbox(Since::ModSeq)).iter().for_each(|said| before.take(said));
    let seen = |uids, change, unchanged_since| {
        let mut flags = Flags::new();
        flags.add(SystemFlag::Seen);
        Command::UidStore(Storing { uids, change, flags, unchanged_since })
    };
    server.world().set_flags("alice", "INBOX", 1, &["$x"]);
    let (_, verdict) = owner.does(seen(UidSet::range(1, 2), Change::Add, before.highest_mod_seq));
    assert_eq!(verdict.words.code, Some(Code::Modified(UidSet::range(1, 1))));
    let keys = vec![SearchKey::Uid(Which::From(1))];
    let all = proto::imap::client::Returning { all: true, count: true, max: true };
    let said = owner.succeeds(Command::UidSearch(Searching { returning: Some(all), keys }));
    let Some(Untagged::Esearch(esearch)) =
        said.iter().find(|said| matches!(said, Untagged::Esearch(_)))
    else {
        panic!("{said:?}")
    };
    assert_eq!((esearch.count, esearch.max, esearch.command.is_some()), (Some(3), Some(3), true));
    server.world().expunge("alice", "INBOX", &[3]);
    let known = Since::Resync {
        uid_validity: before.uid_validity.unwrap(),
        mod_seq: before.highest_mod_seq.unwrap(),
        known: None,
    };
    let mut after = Selection::default();
    owner.succeeds(inbox(known)).iter().for_each(|said| after.take(said));
    assert_eq!(after.vanished, UidSet::range(3, 3));
    let changed: Vec<_> = after.changed.iter().map(|fetched| fetched.uid).collect();
    assert_eq!(changed, [Some(1), Some(2)]);
    assert_eq!(owner.fetched(Which::From(2), vec![FetchItem::EmailId]).len(), 1);
}

#[test]
fn a_mailbox_of_twenty_thousand_is_listed() {
    let server = ImapServer::start(Profile::dovecot()).unwrap();
    let mut world = server.world();
    world.add_account("alice", "sesame");
    for _ in 0..20_000 {
        world.deliver("alice", "INBOX", Mail::new("Subject: x\r\n\r\n"));
    }
    drop(world);
    let mut owner = Owner::new(&server);
    owner.succeeds(inbox(Since::ModSeq));
    let fetched = owner.fetched(Which::From(1), vec![FetchItem::Flags, FetchItem::ModSeq]);
    assert_eq!(fetched.len(), 20_000);
    let said = owner.succeeds(Command::UidSearch(Searching { returning: None, keys: Vec::new() }));
    let all = Untagged::Search { uids: UidSet::range(1, 20_000), mod_seq: None };
    assert!(said.contains(&all), "{said:?}");
}

#[test]
fn dovecot_and_cyrus_do_as_the_server_of_the_tests() {
    let dovecot = Dovecot::start(DovecotOptions::default()).unwrap();
    dovecot.add_user("alice", "sesame").unwrap();
    let cyrus = Cyrus::start(&CyrusOptions::default()).unwrap();
    cyrus.add_user("alice", "sesame").unwrap();
    for (name, port) in
        [("dovecot", dovecot.port(Service::Imap)), ("cyrus", cyrus.port(Service::Imap))]
    {
        let mut owner = Owner::at(port, &[]);
        let can = owner.client.capabilities().clone();
        for capability in ["MULTIAPPEND", "LITERAL+", "UIDPLUS", "QRESYNC", "LIST-STATUS", "MOVE"] {
            assert!(can.has(capability), "{name}: {can:?}");
        }
        let bodies = bodies();
        let places = owner.stores(&bodies);
        let uids: Vec<_> = places.iter().map(|(_, place)| place.map(|(_, uid)| uid)).collect();
        assert_eq!(uids, (1..=21).map(Some).collect::<Vec<_>>(), "{name}");
        gives_back(&mut owner, &bodies, name);
        takes_them_one_by_one(port, &bodies, name);
        tells_changes(&mut owner, port, name);
    }
}

/// With several APPENDs under way, and with each behind the literal of the one before.
fn takes_them_one_by_one(port: u16, bodies: &[Vec<u8>], name: &str) {
    for disbelieved in [&["MULTIAPPEND"][..], &["MULTIAPPEND", "LITERAL+", "LITERAL-"]] {
        let mut owner = Owner::at(port, disbelieved);
        owner.succeeds(inbox(Since::Unasked));
        let places = owner.stores(bodies);
        let uids: UidSet = places.iter().filter_map(|(_, place)| Some(place.as_ref()?.1)).collect();
        assert_eq!(uids.len(), 21, "{name}: {places:?}");
        let fetched = owner.fetched(Which::These(uids.clone()), vec![FetchItem::Size]);
        let sizes: Vec<_> = fetched.iter().filter_map(|fetched| fetched.size).collect();
        let sent: Vec<_> = bodies.iter().map(|body| body.len() as u64).collect();
        assert_eq!(sizes, sent, "{name}");
        let mut flags = Flags::new();
        flags.add(SystemFlag::Deleted);
        let change = Change::Add;
        let storing = Storing { uids: uids.clone(), change, flags, unchanged_since: None };
        owner.succeeds(Command::UidStore(storing));
        owner.succeeds(Command::UidExpunge(uids));
    }
}

/// What another connection does is told by QRESYNC, LIST-STATUS and IDLE.
fn tells_changes(owner: &mut Owner, port: u16, name: &str) {
    owner.succeeds(Command::Enable(vec![Extension::QResync]));
    let mut before = Selection::default();
    owner.succeeds(inbox(Since::ModSeq)).iter().for_each(|said| before.take(said));
    owner.succeeds(Command::Unselect);
    let mut other = Owner::at(port, &[]);
    other.succeeds(inbox(Since::Unasked));
    let archive = MailboxName::new("Entw&APw-rfe x");
    other.succeeds(Command::Create { mailbox: archive.clone(), special_use: None });
    let moved =
        other.succeeds(Command::UidMove { uids: UidSet::range(1, 2), mailbox: archive.clone() });
    let is_copied = |said: &Untagged| {
        matches!(said, Untagged::Said(Verdict { words, .. })
            if matches!(&words.code, Some(Code::CopyUid { from, to, .. }) if from.len() == 2 && to.len() == 2))
    };
    assert!(moved.iter().any(is_copied), "{name}: {moved:?}");
    let mut flags = Flags::new();
    flags.add_wire(b"$Forwarded");
    let (uids, change) = (UidSet::range(3, 4), Change::Add);
    let storing = Storing { uids, change, flags, unchanged_since: before.highest_mod_seq };
    other.succeeds(Command::UidStore(storing));
    let since = Since::Resync {
        uid_validity: before.uid_validity.unwrap(),
        mod_seq: before.highest_mod_seq.unwrap(),
        known: None,
    };
    let mut after = Selection::default();
    owner.succeeds(inbox(since)).iter().for_each(|said| after.take(said));
    assert_eq!(after.vanished, UidSet::range(1, 2), "{name}");
    let changed: Vec<_> = after.changed.iter().filter_map(|fetched| fetched.uid).collect();
    assert_eq!(changed, [3, 4], "{name}");
    assert_eq!((after.exists, after.uid_validity), (Some(19), before.uid_validity), "{name}");
    let list = List {
        patterns: vec![MailboxName::new("*")],
        status: vec![StatusItem::Messages, StatusItem::UidNext],
        ..List::default()
    };
    let said = owner.succeeds(Command::List(list));
    let counts = |said: &Untagged| match said {
        Untagged::Status(status) if status.name == archive => status.messages,
        _ => None,
    };
    assert_eq!(said.iter().find_map(counts), Some(2), "{name}: {said:?}");
}
