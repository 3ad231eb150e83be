//! What holds of the IMAP client that syncs, whatever a server sends.
//!
//! Nothing here logs in.

use std::collections::HashMap;

use proto::imap::client::{
    Answer, AppendLimits, Client, Command, Event, FetchItem, Fetching, Flags, Form, MailboxName,
    Message, MessageKey, Settings, Untagged, Which,
};

use crate::drive::{Driver, Taken};
use crate::input::Input;

/// The most that is said to a server: our commands and messages.
const MOST_SAID: usize = 8 * 1024;

/// Any server of a client that has much to do: settings are 1 LITERAL+, 2 LITERAL-, 3 MULTIAPPEND, 4 one APPEND
/// at a time; the choice says what comes first, and the first answer whether IDLE is
/// to end at once.
pub fn client(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let whole = syncs(&input, [input.stream]);
    assert_eq!(syncs(&input, input.cut(input.stream)), whole);
    if input.stream.len() < 1000 {
        assert_eq!(syncs(&input, input.stream.chunks(1)), whole);
    }
}

fn syncs<'a>(
    input: &Input<'_>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(String, usize)>, Vec<u8>, Vec<u8>) {
    let mut driver = Driver::new(busy(input));
    let (mut verdicts, mut body_left) = (HashMap::new(), 0);
    let mut compressed = Vec::new();
    driver.feed(pieces, |event| {
        assert!(body_left == 0 || matches!(event, Event::Piece(_)), "a body is interrupted");
        let taken = match event {
            Event::Body(body) => {
                body_left = body.size;
                Taken::Noted
            }
            Event::Compressing { received } => {
                compressed.clone_from(received);
                return ("compressing".to_owned(), Taken::Last);
            }
            Event::Failed(_) => Taken::Last,
            Event::Piece(bytes) => {
                assert!(!bytes.is_empty());
                let count = u64::try_from(bytes.len()).expect("a piece is no larger than memory");
                body_left = body_left.checked_sub(count).expect("a body is longer than was said");
                Taken::Noted
            }
            Event::Refused { message, .. } | Event::Stored { message, .. } => {
                assert_eq!(verdicts.insert(*message, ()), None, "a second verdict");
                Taken::Noted
            }
            Event::Untagged(Untagged::Unreadable(shown) | Untagged::Unknown(shown)) => {
                assert!(shown.len() <= 80);
                Taken::Noted
            }
            Event::Wanted { size, .. } => {
                let size = usize::try_from(*size).expect("our messages are small");
                Taken::Answered(Answer::Piece(vec![b'm'; size]))
            }
            Event::Done { .. } | Event::Idling | Event::Untagged(_) => Taken::Noted,
        };
        (format!("{event:?}"), taken)
    });
    assert!(driver.written.len() <= MOST_SAID);
    // What was received compressed by the time that it began depends on the cuts; the bytes in all do not.
    compressed.extend(driver.unfed);
    let behind = if driver.events.last().is_some_and(|(event, _)| event == "compressing") {
        compressed
    } else {
        Vec::new()
    };
    (joined(driver.events), driver.written, behind)
}

/// Joins the pieces of a body, which lie where the stream was cut.
fn joined(events: Vec<(String, usize)>) -> Vec<(String, usize)> {
    let mut joined: Vec<(String, usize)> = Vec::new();
    for (event, written) in events {
        let is_piece = |event: &str| event.starts_with("Piece(");
        match joined.last_mut() {
            Some((before, _)) if is_piece(before) && is_piece(&event) => {
                let start = before.trim_end_matches("])").to_owned();
                *before = format!("{start}, {}", event.trim_start_matches("Piece(["));
            }
            _ => joined.push((event, written)),
        }
    }
    joined
}

/// A client with something of everything to do.
fn busy(input: &Input<'_>) -> Client {
    let mut can = Vec::new();
    for (setting, capability) in [(1, "LITERAL+"), (2, "LITERAL-"), (3, "MULTIAPPEND")] {
        if input.is_set(setting) {
            can.push(capability.to_owned());
        }
    }
    let limits = AppendLimits::default();
    let window = if input.is_set(4) { 1 } else { limits.window };
    let append = AppendLimits { waits_from: 600, window, ..limits };
    let mut client = Client::new(Some(can), Settings { append, disbelieved: Vec::new() });
    let commands = [
        Command::Noop,
        Command::Subscribe(MailboxName::new("a\"b")),
        Command::Idle,
        Command::UidFetch(Fetching {
            which: Which::From(1),
            items: vec![FetchItem::Flags, FetchItem::Body],
            changed_since: None,
            vanished: false,
        }),
        Command::Compress,
    ];
    let first = usize::from(input.choice) % commands.len();
    let (later, sooner) = commands.split_at(first);
    for command in sooner {
        client.send(command);
    }
    client.append(&MailboxName::inbox(), &[3, 700, 0, 2, 5].map(message));
    for command in later {
        client.send(command);
    }
    if input.answer(0) {
        proto::Machine::answer(&mut client, Answer::EndIdle);
    }
    client
}

fn message(size: u64) -> Message {
    Message { key: MessageKey(size), size, flags: Flags::new(), date: None, form: Form::Literal }
}
