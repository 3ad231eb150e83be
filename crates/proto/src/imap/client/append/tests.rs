use super::super::{Keyword, UidList};
use super::*;

fn message(key: u64, size: u64) -> Message {
    Message { key: MessageKey(key), size, flags: Flags::new(), date: None, form: Form::Literal }
}

fn divided(sizes: &[u64], literals: Literals, multiappend: bool) -> Vec<(usize, bool)> {
    let messages: Vec<_> = (0..).zip(sizes).map(|(key, size)| message(key, *size)).collect();
    let limits = AppendLimits { batch_messages: 3, batch_bytes: 100, waits_from: 50, window: 4 };
    let abilities = Abilities { literals, multiappend };
    groups(&messages, abilities, &limits).map(|group| (group.messages.len(), group.waits)).collect()
}

#[test]
fn batches_have_limits_of_messages_and_bytes() {
    let sizes = [10, 10, 10, 10, 40, 40, 40, 1];
    assert_eq!(divided(&sizes, Literals::Plus, true), [(3, false), (3, false), (2, false)]);
    assert_eq!(divided(&[40, 40, 40], Literals::Plus, true), [(2, false), (1, false)]);
    assert_eq!(divided(&[10, 10], Literals::Plus, false), [(1, false), (1, false)]);
}

#[test]
fn what_waits_or_is_empty_goes_alone() {
    assert_eq!(
        divided(&[10, 50, 10, 0, 10, 10], Literals::Plus, true),
        [(1, false), (1, true), (1, false), (1, false), (2, false)]
    );
    assert_eq!(divided(&[10, 10], Literals::Synchronizing, true), [(1, true), (1, true)]);
    let messages = [message(1, 4096), message(2, 4096), message(3, 4097)];
    let abilities = Abilities { literals: Literals::Minus, multiappend: true };
    let limits = AppendLimits::default();
    let divided: Vec<_> = groups(&messages, abilities, &limits).map(|group| group.waits).collect();
    assert_eq!(divided, [false, true]);
    let binary = Message { form: Form::Binary, ..message(1, 9) };
    let messages = [message(0, 9), binary, message(2, 9)];
    let abilities = Abilities { literals: Literals::Plus, multiappend: true };
    assert_eq!(groups(&messages, abilities, &limits).count(), 3);
}

#[test]
fn flags_and_dates_that_cannot_be_written_are_left_out() {
    let mut flags = Flags::new();
    flags.add(super::super::SystemFlag::Recent);
    flags.add(super::super::SystemFlag::Flagged);
    flags.add_keyword(Keyword::new(b"a b"));
    let date = |text: &str| InternalDate::parse(text.as_bytes());
    let messages = [
        Message { flags, date: date("1-Jan-2001 00:00:00 +0100"), ..message(1, 5) },
        Message { date: date("00-Jan-0000 00:00:00 +0000"), form: Form::Utf8, ..message(2, 6) },
        Message { form: Form::Binary, ..message(3, 7) },
    ];
    let group = Group { messages: &messages, waits: false };
    let parts = group.write(Writer::new("t", Literals::Plus), &MailboxName::inbox());
    let bytes = |text: &str| Part::Bytes(text.as_bytes().to_vec());
    let wanted = |key, size| Part::Message { key: MessageKey(key), size };
    assert_eq!(
        parts,
        [
            bytes("t APPEND \"INBOX\" (\\Flagged) \"01-Jan-2001 00:00:00 +0100\" {5+}\r\n"),
            wanted(1, 5),
            bytes(" () UTF8 (~{6+}\r\n"),
            wanted(2, 6),
            bytes(") () ~{7+}\r\n"),
            wanted(3, 7),
            bytes("\r\n"),
        ]
    );
}

#[test]
fn messages_have_places_only_if_there_are_as_many_uids() {
    let code = |runs: &[(u32, u32)]| Code::AppendUid {
        uid_validity: 3,
        uids: UidList::from_runs(runs.to_vec()),
    };
    assert_eq!(
        places(3, Some(&code(&[(9, 8), (4, 4)]))),
        [Some((3, 9)), Some((3, 8)), Some((3, 4))]
    );
    assert_eq!(places(2, Some(&code(&[(1, u32::MAX)]))), [None, None]);
    assert_eq!(places(1, Some(&Code::TryCreate)), [None]);
    assert_eq!(places(1, None), [None]);
}
