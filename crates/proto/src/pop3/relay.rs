//! The framing of POP3 after login (RFC 1939, RFC 2449, RFC 5034).
//!
//! Nothing here reads a message; bodies are searched for their end and for nothing else.

use std::collections::VecDeque;

use memchr::{memchr, memmem};
use model::Scope;

use crate::relay::{Changed, Event, Goodbye, Step};

/// The most commands that wait at a time. A client that sends more is not read from until answers
/// come.
const MOST: usize = 256;
/// The longest command word that matters.
const LONGEST_WORD: usize = 4;

/// The commands that matter to the relay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Command {
    /// AUTH with a mechanism: lines follow, each after a `+ `.
    Auth,
    /// DELE.
    Delete,
    /// What is answered with one line.
    Line,
    /// What is answered, if with `+OK`, with lines up to a `.` alone.
    Lines,
    /// QUIT.
    Quit,
    /// RSET.
    Reset,
}

/// Where the client's bytes stand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Up {
    /// Where a command may begin.
    #[default]
    Start,
    /// Within a command.
    Line(Beginning),
    /// Behind a line of AUTH: the back end asks for more or ends it.
    Waiting,
    /// Within a line of AUTH that is no command.
    Reply { begun: bool },
}

/// The beginning of a command.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Beginning {
    word: [u8; LONGEST_WORD],
    /// The word's length, at most one more than fits.
    length: usize,
    /// Whether the word has ended.
    ended: bool,
    /// Whether anything stands behind the word.
    argument: bool,
}

/// Where the back end's bytes stand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Down {
    /// Where a response may begin.
    #[default]
    Start,
    /// Within a line, of which the first bytes are these.
    Line { head: [u8; 4], length: usize, last: u8 },
    /// Within further lines; so many bytes of their end have been seen.
    Lines { end: &'static [u8], seen: usize },
}

/// The end of further lines where line ends are as they should be. A message may well hold a `.` alone
/// between bare line feeds: only the form of the first line, which no message can forge, decides.
const END: &[u8] = b"\r\n.\r\n";
/// The end of further lines of a back end that ends lines with LF alone.
const BARE_END: &[u8] = b"\n.\n";

/// The framing of a POP3 session.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    up: Up,
    down: Down,
    commands: VecDeque<Command>,
    held: bool,
    goodbye: Goodbye,
    event: Option<Event>,
    /// Whether messages are marked as deleted.
    deleted: bool,
    /// Whether the back end has said what fits no command.
    doubtful: bool,
}

impl Relay {
    /// What is to be done with bytes from the client.
    pub(crate) fn up(&mut self, bytes: &[u8]) -> Step {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            let wait = match self.up {
                Up::Start => self.held || self.commands.len() >= MOST,
                Up::Waiting => true,
                Up::Line(_) | Up::Reply { .. } => false,
            };
            if passed > 0 && (wait || rest.is_empty()) {
                return Step::Pass(passed);
            }
            if wait {
                return Step::Wait;
            }
            if rest.is_empty() {
                return Step::Read;
            }
            passed += self.follow_client(rest);
        }
    }

    /// What is to be done with bytes from the back end.
    pub(crate) fn down(&mut self, bytes: &[u8]) -> Step {
        let mut passed = 0;
        loop {
            if passed == 0
                && let Some(step) = self.say()
            {
                return step;
            }
            let rest = bytes.get(passed..).unwrap_or_default();
            let to_say =
                self.event.is_some() || self.down == Down::Start && !self.goodbye.is_unwanted();
            if passed > 0 && (rest.is_empty() || to_say) {
                return Step::Pass(passed);
            }
            if rest.is_empty() {
                return Step::Read;
            }
            passed += self.follow_backend(rest);
        }
    }

    /// Keeps back the client's next command, or no longer.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Wants these words said where a response may begin.
    pub(crate) fn say_goodbye(&mut self, words: Vec<u8>) {
        if self.goodbye.is_unwanted() {
            self.goodbye = Goodbye::Wanted(words);
        }
    }

    /// Whether a command waits for its answer or is not complete.
    pub(crate) fn in_flight(&self) -> bool {
        let answering = matches!(self.down, Down::Lines { .. });
        answering || !self.commands.is_empty() || self.up != Up::Start
    }

    /// Whether messages may be gone by what was not answered, or whose answer was not told of. A server that
    /// loses the connection is to keep what is marked (RFC 1939 section 6), and not all do.
    pub(crate) fn may_have_changed(&self) -> bool {
        let deleting = self.deleted || self.commands.contains(&Command::Delete);
        self.event.is_some() || self.doubtful || deleting
    }

    /// Whether nothing is in flight, in either direction, and nothing doubtful was heard.
    pub(crate) fn at_boundary(&self) -> bool {
        let between = !self.in_flight() && self.down == Down::Start;
        between && self.goodbye.is_unwanted() && !self.doubtful
    }

    /// Whether the back end has said what fits no command.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    fn say(&mut self) -> Option<Step> {
        if let Some(event) = self.event.take() {
            return Some(Step::Event(event));
        }
        if self.down == Down::Start { self.goodbye.step() } else { None }
    }

    /// Deals with the client's bytes up to the end of the line.
    fn follow_client(&mut self, bytes: &[u8]) -> usize {
        let end = memchr(b'\n', bytes);
        let count = end.map_or(bytes.len(), |end| end + 1);
        self.up = match (self.up, end) {
            (Up::Reply { .. } | Up::Waiting, None) => Up::Reply { begun: true },
            (Up::Reply { .. } | Up::Waiting, Some(_)) => match self.commands.back() {
                Some(Command::Auth) => Up::Waiting,
                // AUTH was ended within this line, which the back end now takes for a command.
                _ => self.send(Command::Line),
            },
            (up @ (Up::Line(_) | Up::Start), end) => {
                let mut beginning =
                    if let Up::Line(beginning) = up { beginning } else { Beginning::default() };
                beginning.read(bytes.get(..end.unwrap_or(count)).unwrap_or(bytes));
                if end.is_some() { self.send(beginning.command()) } else { Up::Line(beginning) }
            }
        };
        count
    }

    /// The client has sent a command.
    fn send(&mut self, command: Command) -> Up {
        self.commands.push_back(command);
        if command == Command::Auth { Up::Waiting } else { Up::Start }
    }

    /// Deals with the back end's bytes up to the end of a line or of further lines.
    fn follow_backend(&mut self, bytes: &[u8]) -> usize {
        let (mut head, mut length, mut last) = match self.down {
            Down::Start => ([0; 4], 0, 0),
            Down::Line { head, length, last } => (head, length, last),
            Down::Lines { end, seen } => return self.follow_lines(bytes, end, seen),
        };
        let end = memchr(b'\n', bytes);
        let text = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
        for (place, byte) in head.iter_mut().skip(length).zip(text) {
            *place = *byte;
        }
        length = (length + text.len()).min(head.len());
        last = text.last().copied().unwrap_or(last);
        self.down = match end {
            None => Down::Line { head, length, last },
            Some(_) => self.hear(head.get(..length).unwrap_or(&head), last == b'\r'),
        };
        text.len() + usize::from(end.is_some())
    }

    /// The back end has sent a line that is not a further one.
    fn hear(&mut self, head: &[u8], crlf: bool) -> Down {
        let is =
            |start: &[u8]| head.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start));
        let (ok, refused) = (is(b"+OK"), is(b"-ERR"));
        if !ok && !refused {
            self.go_on(head.first() == Some(&b'+'));
            return Down::Start;
        }
        let Some(command) = self.commands.pop_front() else {
            self.doubtful = true;
            return Down::Start;
        };
        match command {
            Command::Auth if matches!(self.up, Up::Waiting | Up::Reply { begun: false }) => {
                self.up = Up::Start;
            }
            Command::Delete => self.deleted |= ok,
            Command::Lines if ok && crlf => return Down::Lines { end: END, seen: 2 },
            Command::Lines if ok => return Down::Lines { end: BARE_END, seen: 1 },
            // Some messages may be gone even if it fails (RFC 1939 section 6).
            Command::Quit if self.deleted => {
                self.deleted = false;
                self.event = Some(Event::Changed(inbox()));
            }
            Command::Reset => self.deleted &= !ok,
            Command::Auth | Command::Line | Command::Lines | Command::Quit => {}
        }
        Down::Start
    }

    /// The back end has sent a line that answers nothing: it asks for more, or nobody knows.
    fn go_on(&mut self, asked: bool) {
        match self.up {
            Up::Waiting if asked && self.commands.len() == 1 => {
                self.up = Up::Reply { begun: false }
            }
            _ => self.doubtful = true,
        }
    }

    fn follow_lines(&mut self, bytes: &[u8], end: &'static [u8], seen: usize) -> usize {
        match search(bytes, end, seen) {
            Search::Found(count) => {
                self.down = Down::Start;
                count
            }
            Search::Seen(seen) => {
                self.down = Down::Lines { end, seen };
                bytes.len()
            }
        }
    }
}

impl Beginning {
    /// Reads more of the command, without its line end.
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let is_space = matches!(byte, b' ' | b'\t' | b'\r');
            if self.ended || is_space {
                self.ended = true;
                self.argument |= !is_space;
            } else if let Some(place) = self.word.get_mut(self.length) {
                *place = byte.to_ascii_uppercase();
                self.length += 1;
            } else {
                self.length = LONGEST_WORD + 1;
            }
            if self.argument {
                return;
            }
        }
    }

    fn command(&self) -> Command {
        match (self.word.get(..self.length).unwrap_or_default(), self.argument) {
            (b"AUTH", true) => Command::Auth,
            (b"DELE", _) => Command::Delete,
            (b"QUIT", _) => Command::Quit,
            (b"RSET", _) => Command::Reset,
            (b"CAPA" | b"RETR" | b"TOP", _) => Command::Lines,
            // LANG without an argument lists (RFC 6856 section 3.2); so does, with old servers, AUTH.
            (b"AUTH" | b"LANG" | b"LIST" | b"UIDL", false) => Command::Lines,
            _ => Command::Line,
        }
    }
}

/// All there is in POP3.
fn inbox() -> Changed {
    Changed { scope: Scope::Named, mailbox: Some(b"INBOX".to_vec()) }
}

/// What came of a search for the end of further lines.
enum Search {
    /// So many bytes lead up to it and include it.
    Found(usize),
    /// It has not come; so many bytes of it may have been the last.
    Seen(usize),
}

/// Searches for `end`, of which `seen` bytes came before.
fn search(bytes: &[u8], end: &[u8], mut seen: usize) -> Search {
    let mut read = 0;
    for byte in bytes {
        if seen == 0 {
            break;
        }
        read += 1;
        // Neither end holds its own beginning, but for its first byte.
        seen = match end.get(seen) {
            Some(expected) if expected == byte => seen + 1,
            _ => usize::from(end.first() == Some(byte)),
        };
        if seen == end.len() {
            return Search::Found(read);
        }
    }
    if seen > 0 {
        return Search::Seen(seen);
    }
    let rest = bytes.get(read..).unwrap_or_default();
    if let Some(place) = memmem::find(rest, end) {
        return Search::Found(read + place + end.len());
    }
    let begins = |count: &usize| end.get(..*count).is_some_and(|start| rest.ends_with(start));
    Search::Seen((1..end.len()).rev().find(begins).unwrap_or(0))
}
