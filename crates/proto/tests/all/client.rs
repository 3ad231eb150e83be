//! Walks the dialogues of the IMAP client as written, then with the server's bytes one by one; and what holds
//! for all servers.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proto::imap::client::{
    Answer, AppendLimits, Client, Command, Event, Extension, FetchItem, Fetching, Flags, Form,
    InternalDate, List, MailboxName, Message, MessageKey, Searching, Select, Settings, Since,
    StatusItem, UidSet, Untagged, Verdict, Which,
};
use proto::{Machine, Step};

use crate::dialogue::{Dialogue, Side, Turn, bytes};
use crate::dialogues::{compare, files};
use crate::drive::Did;

#[test]
fn all_dialogues_with_a_syncing_client_go_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues/imap/client");
    let mut failed = Vec::new();
    for path in files(&root) {
        let dialogue = Dialogue::read(&fs::read_to_string(&path).unwrap());
        for size in [usize::MAX, 1] {
            if let Err(why) = play(&dialogue, size) {
                let name = path.file_name().unwrap().display();
                failed.push(format!("{name} in pieces of {size}: {why}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed.join("\n"));
}

fn play(dialogue: &Dialogue, size: usize) -> Result<(), String> {
    let mut owner = Owner::new(settings(dialogue), dialogue.setting("can"));
    let mut expected: Vec<Did> = Vec::new();
    let turns = &dialogue.turns;
    for (at, turn) in turns.iter().enumerate() {
        match turn {
            Turn::Answers(what) => {
                owner.does(what);
                owner.run();
            }
            Turn::Asks(what) => expected.push(Did::Asked(what.clone())),
            Turn::Rest(bytes) => return Err(format!("nobody asks for {}", bytes.escape_ascii())),
            Turn::Says(Side::Client, bytes) => match expected.last_mut() {
                Some(Did::Wrote(before)) => before.extend(bytes),
                _ => expected.push(Did::Wrote(bytes.clone())),
            },
            Turn::Says(Side::Server, bytes) => {
                let first = !matches!(
                    at.checked_sub(1).map(|at| &turns[at]),
                    Some(Turn::Says(Side::Server, _))
                );
                if first {
                    compare(&expected, &owner.did)?;
                }
                owner.hears(bytes, size);
            }
        }
    }
    compare(&expected, &owner.did)
}

fn settings(dialogue: &Dialogue) -> Settings {
    let setting = |key| dialogue.setting(key);
    let limits = AppendLimits::default();
    Settings {
        append: AppendLimits {
            waits_from: setting("waits-from")
                .map_or(limits.waits_from, |size| size.parse().unwrap()),
            window: setting("window").map_or(limits.window, |count| count.parse().unwrap()),
            ..limits
        },
        disbelieved: setting("disbelieved").map(str::to_owned).into_iter().collect(),
    }
}

/// A client, what it did, and who leads it.
struct Owner {
    client: Client,
    did: Vec<Did>,
    /// Whether messages are given as soon as they are wanted.
    gives: bool,
}

impl Owner {
    fn new(settings: Settings, can: Option<&str>) -> Self {
        let can = can.map(|list| list.split(' ').map(str::to_owned).collect());
        Self { client: Client::new(can, settings), did: Vec::new(), gives: false }
    }

    fn hears(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.client.receive(piece);
            self.run();
        }
    }

    /// Steps until the client wants something.
    fn run(&mut self) {
        loop {
            match self.client.step() {
                Step::Read => return,
                Step::Write(bytes) => {
                    assert!(!bytes.is_empty(), "a machine wants to write nothing");
                    match self.did.last_mut() {
                        Some(Did::Wrote(before)) => before.extend(bytes),
                        _ => self.did.push(Did::Wrote(bytes)),
                    }
                }
                Step::Event(event) => {
                    self.saw(&event);
                    if let Event::Wanted { size, .. } = event
                        && self.gives
                    {
                        let size = usize::try_from(size).unwrap();
                        self.client.answer(Answer::Piece(vec![b'm'; size]));
                    }
                }
            }
        }
    }

    fn saw(&mut self, event: &Event) {
        let shown = shown(event);
        match (self.did.last_mut(), shown.strip_prefix("piece ")) {
            (Some(Did::Asked(before)), Some(more)) if before.starts_with("piece ") => {
                before.push_str(more);
            }
            _ => self.did.push(Did::Asked(shown)),
        }
    }

    fn does(&mut self, what: &str) {
        let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
        match word {
            "append" => self.append(rest),
            "piece" => self.client.answer(Answer::Piece(bytes(rest))),
            "end-idle" => self.client.answer(Answer::EndIdle),
            _ => drop(self.client.send(&command(word, rest))),
        }
    }

    /// `MAILBOX KEY:SIZE...`
    fn append(&mut self, what: &str) {
        let mut words = what.split(' ');
        let mailbox = MailboxName::new(words.next().unwrap());
        let messages: Vec<_> = words.map(message).collect();
        self.client.append(&mailbox, &messages);
    }
}

fn message(text: &str) -> Message {
    let (key, size) = text.split_once(':').unwrap();
    Message {
        key: MessageKey(key.parse().unwrap()),
        size: size.parse().unwrap(),
        flags: Flags::new(),
        date: None,
        form: Form::Literal,
    }
}

fn command(word: &str, rest: &str) -> Command {
    let mailbox = || MailboxName::new(bytes(rest));
    let select = |read_only| {
        Command::Select(Select { mailbox: mailbox(), read_only, since: Since::Unasked })
    };
    match word {
        "compress" => Command::Compress,
        "create" => Command::Create { mailbox: mailbox(), special_use: None },
        "enable" => Command::Enable(vec![Extension::CondStore]),
        "examine" => select(true),
        "fetch" => Command::UidFetch(Fetching {
            which: Which::From(rest.parse().unwrap()),
            items: vec![FetchItem::Flags, FetchItem::Body],
            changed_since: None,
            vanished: false,
        }),
        "idle" => Command::Idle,
        "list" => Command::List(List { patterns: vec![MailboxName::new("*")], ..List::default() }),
        "logout" => Command::Logout,
        "move" => Command::UidMove { uids: UidSet::range(1, 2), mailbox: mailbox() },
        "noop" => Command::Noop,
        "search" => Command::UidSearch(Searching { returning: None, keys: Vec::new() }),
        "select" => select(false),
        "status" => Command::Status { mailbox: mailbox(), items: vec![StatusItem::Messages] },
        other => panic!("no owner does {other:?}"),
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Body(body) => {
            let uid = body.uid.map_or_else(String::new, |uid| format!(" uid {uid}"));
            format!("body {}{uid} {:?} {}", body.sequence, body.section, body.size)
        }
        Event::Piece(bytes) => format!("piece {}", bytes.escape_ascii()),
        Event::Untagged(Untagged::Said(verdict)) => format!("said {}", words(verdict)),
        Event::Untagged(untagged) => format!("{untagged:?}"),
        Event::Done { command, verdict } => format!("done {command:?} {}", words(verdict)),
        Event::Wanted { message, size } => format!("wanted {} {size}", message.0),
        Event::Stored { message, place: None } => format!("stored {}", message.0),
        Event::Stored { message, place: Some((validity, uid)) } => {
            format!("stored {} {validity}:{uid}", message.0)
        }
        Event::Refused { message, among, verdict } => {
            format!("refused {} among {among} {}", message.0, words(verdict))
        }
        Event::Idling => "idling".to_owned(),
        Event::Compressing { received } => format!("compressing {}", received.escape_ascii()),
        Event::Failed(fault) => format!("failed {fault}"),
    }
}

fn words(verdict: &Verdict) -> String {
    let code = verdict.words.code.as_ref().map_or_else(String::new, |code| format!(" {code:?}"));
    format!("{:?}{code} {}", verdict.status, verdict.words.text)
}

/// Pieces of which servers' words are made, in any order.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        " ",
        "* ",
        "* ",
        "+ ",
        "p1 OK ",
        "p2 OK x\r\n",
        "P3 no ",
        "p4 OK [APPENDUID 1 2]\r\n",
        "p2 BAD ",
        "* 1 FETCH (",
        "UID 7",
        "FLAGS (\\Seen a)",
        "BODY[] {3}\r\n",
        "BODY[] \"q\" ",
        "BODY[",
        "]",
        "{0}\r\n",
        "~{2}\r\n",
        "{999999999999}\r\n",
        "abc",
        "(",
        ")",
        "\"",
        "\\",
        "SEARCH 1 2 ",
        "VANISHED 1,",
        "2:3",
        "[UIDNEXT 4] ",
        "LIST () \"/\" ",
        "STATUS x (",
        "\u{e4}",
        "* BYE x\r\n",
        "NIL",
        "12",
        "+ go\r\n",
    ];
    let words = select(words.map(|word| word.as_bytes().to_vec()).to_vec());
    prop_oneof![9 => words, 1 => vec(any::<u8>(), 0..4)]
}

fn led(stream: &[u8], size: usize) -> Vec<Did> {
    let can = Some("LITERAL- MULTIAPPEND");
    let mut owner = Owner { gives: true, ..Owner::new(Settings::default(), can) };
    for what in [
        "select INBOX",
        "append a 1:2 2:3 3:5000 4:1",
        "fetch 1",
        "compress",
        "idle",
        "create a\"b",
    ] {
        owner.does(what);
    }
    owner.run();
    owner.hears(stream, size);
    owner.did
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_sees_the_same_however_the_stream_is_cut(pieces in vec(piece(), 0..40), size in 2_usize..9) {
        let stream = pieces.concat();
        prop_assert_eq!(led(&stream, size), led(&stream, 1));
    }

    #[test]
    fn an_internal_date_is_read_as_it_was_written(seconds in -62_167_219_200_i64..253_402_300_800) {
        let date = InternalDate::from_unix(seconds).unwrap();
        prop_assert_eq!(InternalDate::parse(date.to_string().as_bytes()), Some(date));
        prop_assert!(date.unix().is_none_or(|unix| unix == seconds));
    }

    #[test]
    fn a_name_is_the_same_name_again(
        name in vec(select(b"&-AGE,/.aP\xc3\xbc~".to_vec()), 0..20),
        separator in select(vec![None, Some(b'/'), Some(b'.')]),
    ) {
        use proto::imap::client::{NameCoding, Path};
        let name = MailboxName::new(name);
        for coding in [NameCoding::Utf7, NameCoding::Utf8] {
            prop_assert_eq!(Path::read(&name, separator, coding).write(separator, coding), Ok(name.clone()));
        }
    }

    #[test]
    fn a_text_is_a_name_and_a_text_again(text in "\\PC{0,20}") {
        use proto::imap::client::{NameCoding, NamePart, Path};
        let path = Path(vec![NamePart::Text(text.clone())]);
        for coding in [NameCoding::Utf7, NameCoding::Utf8] {
            let name = path.write(None, coding).unwrap();
            prop_assert!(coding == NameCoding::Utf8 || name.as_bytes().is_ascii());
            let read = Path::read(&name, None, coding);
            prop_assert!(read == path || name.is_inbox());
        }
    }
}
