//! All of IMAP that syncing needs, from the login on: commands out, typed responses in, bodies and literals
//! in pieces.
//!
//! Nothing here reads a socket or a clock, keeps a message's body, or decides what is to be done. Logging in
//! is [`super::back`]'s work; this machine begins where that one says `LoggedIn`.
//!
//! ```text
//! let mut client = Client::new(welcome.capabilities, Settings::default());
//! client.receive(&back.into_rest());
//! let select = client.send(Command::Select(...));        // queued; several may be, they are pipelined
//! loop {
//!     match client.step() {                               // `transport::converse` does this
//!         Step::Write(bytes) => ..., Step::Read => ...,
//!         Step::Event(Event::Untagged(response)) => selection.take(&response),
//!         Step::Event(Event::Done { command, verdict }) if command == select => ...,
//!     }
//! }
//! ```
//!
//! Answers come in the order of the server: mostly the commands' order, but untagged responses belong to no
//! command by themselves. Whoever pipelines commands with answers of the same kind has to tell them apart by
//! what they say (STATUS names its mailbox, FETCH its UID, ESEARCH its command), or by the `Done` between.

mod append;
mod capabilities;
mod code;
mod command;
mod date;
mod fetch;
mod flags;
mod input;
mod names;
mod parse;
mod reader;
mod response;
mod selection;
mod sending;
mod uids;
mod utf7;
mod write;

use std::collections::VecDeque;

use self::append::Abilities;
use self::input::{Input, Next, Text};
use self::parse::Parsed;
use self::sending::{Kind, Part, Sending};
use self::write::Writer;
use super::capability;
use super::opening::capabilities_in;
use super::responses::first_word;
use crate::{Machine, Step};

pub use append::{AppendLimits, Form, Message};
pub use capabilities::Capabilities;
pub use command::{
    Change, Command, Extension, FetchItem, Fetching, List, Mark, Returning, SearchExpression,
    SearchKey, Searching, Select, Since, SpecialUse, StatusItem, Storing, Which,
};
pub use date::{Date, InternalDate};
pub use flags::{Flags, Keyword, SystemFlag};
pub use names::{MailboxName, NameCoding, NamePart, Path, PathError};
pub use response::{
    Code, Esearch, Fetched, Listed, MailboxStatus, Namespace, Namespaces, PermanentFlags, Resource,
    Section, Status, Untagged, Verdict, Words,
};
pub use selection::Selection;
pub use uids::{Lines, UidList, UidSet};

/// What our tags begin with.
const TAG: &str = "p";
/// The most that is repeated of a response that answers nothing.
const MAX_FOREIGN: usize = 80;

/// One command of a connection; its tag follows from it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CommandId(u64);

/// The owner's own name for a message that it appends.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageKey(pub u64);

/// How a client goes about it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// How messages are appended.
    pub append: AppendLimits,
    /// Capabilities that are not to be believed, such as `QRESYNC` of a server that gets it wrong.
    pub disbelieved: Vec<String>,
}

/// What happened.
#[derive(Debug, Eq, PartialEq)]
pub enum Event {
    /// A FETCH response has come to a section. So many bytes follow, as pieces, before anything else; then
    /// perhaps other sections, and at last [`Untagged::Fetch`].
    Body(Body),
    /// The next bytes of the section; never empty.
    Piece(Vec<u8>),
    /// An untagged response.
    Untagged(Untagged),
    /// A command came to its end.
    Done {
        /// Which.
        command: CommandId,
        /// How.
        verdict: Verdict,
    },
    /// The server wants a message that is being appended, or will take it: the owner answers with
    /// [`Answer::Piece`] until so many bytes have been given. It may step and read in between. No other
    /// command goes out meanwhile. If the message cannot be had, the connection must be dropped: a literal
    /// that is not whole is never stored.
    Wanted {
        /// Which.
        message: MessageKey,
        /// Its bytes.
        size: u64,
    },
    /// A message has been appended.
    Stored {
        /// Which.
        message: MessageKey,
        /// Its UIDVALIDITY and UID, where the server said them (APPENDUID) and they can be told apart.
        place: Option<(u32, u32)>,
    },
    /// A message has not been appended.
    Refused {
        /// Which.
        message: MessageKey,
        /// How many messages the verdict is about. With more than one it is not known which of them the server
        /// does not take; none of them is stored if the server keeps to RFC 3502.
        among: usize,
        /// The server's words.
        verdict: Verdict,
    },
    /// IDLE has begun.
    Idling,
    /// COMPRESS was accepted ([`Event::Done`] came before). From here on the owner deflates what is to be
    /// written and inflates what is read, beginning with these bytes, which the server sent already.
    Compressing {
        /// Compressed.
        received: Vec<u8>,
    },
    /// What the server says cannot be IMAP, or is more than anybody may say. The machine's work is over; the
    /// owner drops the connection.
    Failed(Fault),
}

/// A section that is about to come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Body {
    /// The message's sequence number.
    pub sequence: u32,
    /// Its UID, if the server has said it already. Most do; the others say it in [`Fetched::uid`].
    pub uid: Option<u32>,
    /// Which section.
    pub section: Section,
    /// Its bytes.
    pub size: u64,
}

/// How the owner answers.
#[derive(Debug)]
pub enum Answer {
    /// The next bytes of the message that [`Event::Wanted`] named. More than it was announced with are not
    /// sent.
    Piece(Vec<u8>),
    /// IDLE is to end (DONE). It may be said as soon as the command is queued.
    EndIdle,
}

/// Why nothing more can be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A response without end, or with more in it than anybody needs.
    #[error("the server said more in one response than is allowed")]
    TooMuch,
    /// A continuation request (`+`) when nothing waits for one. What was sent might be taken for commands.
    #[error("the server asks for a literal that nobody has announced")]
    UnwantedContinuation,
    /// A tag that none of our unanswered commands has, or no response at all.
    #[error("the server answers what nobody has asked: {0}")]
    Foreign(String),
}

/// A connection after login.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    capabilities: Capabilities,
    input: Input,
    sending: Sending,
    events: VecDeque<Event>,
    /// Commands so far.
    commands: u64,
    failed: bool,
}

impl Client {
    /// For a connection that is logged in, with what the server said it can do. If that is not known, the owner
    /// asks ([`Command::Capability`]) first. What the server sent behind its answer to the login goes to
    /// [`Machine::receive`].
    pub fn new(capabilities: Option<Vec<String>>, settings: Settings) -> Self {
        let listed = capabilities.unwrap_or_default();
        Self {
            capabilities: Capabilities::new(listed, &settings.disbelieved),
            sending: Sending::new(settings.append.window),
            settings,
            input: Input::default(),
            events: VecDeque::new(),
            commands: 0,
            failed: false,
        }
    }

    /// What the server can do, as it said last.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether everything has been sent and answered.
    pub fn is_at_rest(&self) -> bool {
        self.sending.is_at_rest() && self.events.is_empty()
    }

    /// Queues a command. It goes out behind those before it, without waiting for their answers, except that
    /// nothing goes out while a literal waits for the server, while IDLE lasts, and before COMPRESS is answered.
    pub fn send(&mut self, command: &Command) -> CommandId {
        let id = self.next_id();
        let mut writer = Writer::new(&id.tag(), self.capabilities.literals());
        writer.command(command);
        let mut parts = writer.finish();
        if *command == Command::Idle {
            parts.extend([Part::Wait, Part::Idling]);
        }
        let compress = *command == Command::Compress;
        self.sending.queue(id, if compress { Kind::Compress } else { Kind::Plain }, parts);
        id
    }

    /// Queues messages for a mailbox, in this order. They become one APPEND or several, as the server and
    /// [`AppendLimits`] allow; [`Event::Wanted`] asks for each, in order, and each gets one
    /// [`Event::Stored`] or [`Event::Refused`]. A message whose literal the server refuses beforehand is never
    /// wanted. Those without a verdict when the connection ends may be stored or not.
    pub fn append(&mut self, mailbox: &MailboxName, messages: &[Message]) {
        let abilities = Abilities {
            literals: self.capabilities.literals(),
            multiappend: self.capabilities.has("MULTIAPPEND"),
        };
        let limits = self.settings.append;
        for group in append::groups(messages, abilities, &limits) {
            let id = self.next_id();
            let parts = group.write(Writer::new(&id.tag(), abilities.literals), mailbox);
            self.sending.queue(id, Kind::Append(group.keys()), parts);
        }
    }

    fn next_id(&mut self) -> CommandId {
        self.commands += 1;
        CommandId(self.commands)
    }

    /// Does what can be done with the bytes that are here; `false` if that is nothing.
    fn proceed(&mut self) -> bool {
        match self.input.next() {
            Next::Incomplete => return false,
            Next::Passing => {
                self.events.push_back(Event::Body(fetch::announced(self.input.text())))
            }
            Next::Piece(bytes) => self.events.push_back(Event::Piece(bytes)),
            Next::Response(text) => self.respond(&text),
            Next::TooMuch => self.fail(Fault::TooMuch),
        }
        true
    }

    fn respond(&mut self, text: &Text) {
        let line = &*text.bytes;
        if line.starts_with(b"* ") {
            return self.untagged(text);
        }
        if line.starts_with(b"+") {
            if self.sending.continued().is_err() {
                self.fail(Fault::UnwantedContinuation);
            }
            return;
        }
        // Courier ends some literals with a line end too many.
        if line.trim_ascii().is_empty() {
            return;
        }
        self.tagged(line);
    }

    fn untagged(&mut self, text: &Text) {
        self.learn(text.bytes.get(2..).unwrap_or_default());
        let Parsed { untagged, quoted } = parse::untagged(text);
        if let Untagged::Fetch(fetched) = &untagged {
            let (sequence, uid) = (fetched.sequence, fetched.uid);
            for (section, bytes) in quoted {
                let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.events.push_back(Event::Body(Body { sequence, uid, section, size }));
                if !bytes.is_empty() {
                    self.events.push_back(Event::Piece(bytes));
                }
            }
        }
        self.events.push_back(Event::Untagged(untagged));
    }

    /// Takes capabilities where a response has them: in `CAPABILITY`, or in a status response's code.
    fn learn(&mut self, response: &[u8]) {
        let (word, rest) = first_word(response);
        let list = if word.eq_ignore_ascii_case(b"CAPABILITY") {
            Some(capability::read(rest))
        } else {
            capabilities_in(rest)
        };
        if let Some(list) = list {
            self.capabilities = Capabilities::new(list, &self.settings.disbelieved);
        }
    }

    fn tagged(&mut self, line: &[u8]) {
        let (tag, rest) = first_word(line);
        let (word, text) = first_word(rest);
        let status = match &*word.to_ascii_uppercase() {
            b"OK" => Some(Status::Ok),
            b"NO" => Some(Status::No),
            b"BAD" => Some(Status::Bad),
            _ => None,
        };
        let answered = status.zip(CommandId::read(tag)).and_then(|(status, command)| {
            let kind = self.sending.answered(command, status == Status::Ok).ok()?;
            Some((command, kind, status))
        });
        let Some((command, kind, status)) = answered else {
            return self.fail(Fault::Foreign(code::harmless(line, MAX_FOREIGN)));
        };
        self.learn(rest);
        let verdict = Verdict { status, words: code::words(text) };
        match kind {
            Kind::Append(messages) => self.appended(messages, &verdict),
            Kind::Plain => self.events.push_back(Event::Done { command, verdict }),
            Kind::Compress => {
                let ok = verdict.status == Status::Ok;
                self.events.push_back(Event::Done { command, verdict });
                if ok {
                    let received = self.input.take_rest();
                    self.events.push_back(Event::Compressing { received });
                }
            }
        }
    }

    fn appended(&mut self, messages: Vec<MessageKey>, verdict: &Verdict) {
        let among = messages.len();
        let places = append::places(among, verdict.words.code.as_ref());
        let events = messages.into_iter().zip(places).map(|(message, place)| {
            if verdict.status == Status::Ok {
                Event::Stored { message, place }
            } else {
                Event::Refused { message, among, verdict: verdict.clone() }
            }
        });
        self.events.extend(events);
    }

    fn fail(&mut self, fault: Fault) {
        self.failed = true;
        self.events.push_back(Event::Failed(fault));
    }
}

impl Machine for Client {
    type Event = Event;
    type Answer = Answer;

    fn receive(&mut self, bytes: &[u8]) {
        self.input.receive(bytes);
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::EndIdle => self.sending.end_idle(),
            Answer::Piece(bytes) => self.sending.piece(bytes),
        }
    }

    /// Bytes first, then events in their order. While a message is wanted, `Read` says that its bytes or the
    /// server's are missing, whichever come first.
    fn step(&mut self) -> Step<Event> {
        loop {
            if !self.failed && self.events.is_empty() {
                self.events.extend(self.sending.advance());
            }
            let out = self.sending.take_out();
            if !out.is_empty() {
                return Step::Write(out);
            }
            if let Some(event) = self.events.pop_front() {
                return Step::Event(event);
            }
            if self.failed || !self.proceed() {
                return Step::Read;
            }
        }
    }
}

impl CommandId {
    fn tag(self) -> String {
        format!("{TAG}{}", self.0)
    }

    /// Reads a tag, in any case.
    fn read(tag: &[u8]) -> Option<Self> {
        let (start, number) = tag.split_at_checked(TAG.len())?;
        let number = start.eq_ignore_ascii_case(TAG.as_bytes()).then_some(number)?;
        let digits = number.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(number).ok().filter(|_| digits)?.parse().ok().map(Self)
    }
}
