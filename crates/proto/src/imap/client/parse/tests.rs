use super::super::Client;
use super::*;
use crate::imap::client::{Date, Event, Fetched, Flags, InternalDate, Settings, SystemFlag};
use crate::{Machine, Step};

/// Reads one response, without the bodies.
fn read(line: &str) -> Untagged {
    let mut client = Client::new(None, Settings::default());
    client.receive(line.as_bytes());
    client.receive(b"\r\n");
    loop {
        match client.step() {
            Step::Event(Event::Untagged(untagged)) => return untagged,
            Step::Event(Event::Body(_) | Event::Piece(_)) => {}
            other => panic!("{line}: {other:?}"),
        }
    }
}

fn fetched(line: &str) -> Fetched {
    match read(line) {
        Untagged::Fetch(fetched) => *fetched,
        other => panic!("{line}: {other:?}"),
    }
}

fn listed(line: &str) -> Listed {
    match read(line) {
        Untagged::List(listed) => listed,
        other => panic!("{line}: {other:?}"),
    }
}

fn status(line: &str) -> MailboxStatus {
    match read(line) {
        Untagged::Status(status) => status,
        other => panic!("{line}: {other:?}"),
    }
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text)
}

fn unreadable(line: &str) -> bool {
    matches!(read(line), Untagged::Unreadable(_))
}

#[test]
fn all_items_of_a_message_are_read() {
    let message = fetched(
        "* 12 FETCH (FLAGS (\\Seen $Forwarded) UID 7 RFC822.SIZE 4294967296 MODSEQ (18446744073709551615) \
         INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" EMAILID (M6d99ac3275bb4e) THREADID (T1) \
         X-GM-MSGID 1278455344230334865 X-GM-LABELS (\\Inbox \"\\\\Sent\" \"a b\" foo) \
         SAVEDATE NIL BODY[] NIL)",
    );
    let mut flags = Flags::new();
    flags.add(SystemFlag::Seen);
    flags.add_wire(b"$Forwarded");
    let date = InternalDate::parse(b"17-Jul-1996 02:44:25 -0700").unwrap();
    let labels = ["\\Inbox", "\\Sent", "a b", "foo"].map(|label| label.as_bytes().to_vec());
    let expected = Fetched {
        sequence: 12,
        uid: Some(7),
        flags: Some(flags),
        internal_date: Some(Date::Read(date)),
        size: Some(1 << 32),
        mod_seq: Some(u64::MAX),
        email_id: Some(b"M6d99ac3275bb4e".to_vec()),
        gm_msg_id: Some(1_278_455_344_230_334_865),
        gm_labels: Some(labels.to_vec()),
        bodies: vec![(Section::Body, None)],
    };
    assert_eq!(message, expected);
}

#[test]
fn an_item_that_nobody_understands_costs_only_itself() {
    let message = fetched(
        "* 1 FETCH (X-FOO (a (b \"c)\") {2}\r\n)) d) ENVELOPE NIL RFC822.SIZE -1 MODSEQ 5 UID 3 FLAGS ())",
    );
    assert_eq!((message.uid, message.size, message.mod_seq), (Some(3), None, None));
    assert_eq!(message.flags, Some(Flags::new()));
}

#[test]
fn a_date_that_is_none_is_told_as_it_came() {
    let date =
        |text: &str| fetched(&format!("* 1 FETCH (UID 1 INTERNALDATE {text})")).internal_date;
    assert_eq!(date("\"gestern\""), Some(Date::Broken(b"gestern".to_vec())));
    assert_eq!(date("NIL"), None);
    let Some(Date::Read(impossible)) = date("\"00-Jan-0000 00:00:00 +0000\"") else { panic!() };
    assert!(!impossible.is_valid());
}

#[test]
fn a_message_without_uid_is_told_without() {
    assert_eq!(fetched("* 4 FETCH (FLAGS (\\Recent))").uid, None);
    assert_eq!(fetched("* 4 FETCH (UID 0)").uid, None);
}

#[test]
fn sections_are_told_apart() {
    let message = fetched(
        "* 1 FETCH (BODY[HEADER.FIELDS (\"DATE\" FROM)] \"\" BODY[]<0> {1}\r\nx BINARY[] ~{1}\r\ny \
         RFC822.HEADER {0}\r\n BODY[1.2.MIME] \"z\" UID 2)",
    );
    let sections = [
        (Section::HeaderFields, Some(0)),
        (Section::Body, Some(1)),
        (Section::Binary, Some(1)),
        (Section::Header, Some(0)),
        (Section::Other(b"1.2.MIME".to_vec()), Some(1)),
    ];
    assert_eq!((message.bodies, message.uid), (sections.to_vec(), Some(2)));
}

#[test]
fn half_a_response_is_unreadable() {
    for line in [
        "* 1 FETCH (UID 3",
        "* 1 FETCH UID 3",
        "* 1 FETCH (UID 3) x",
        "* LIST (\\x \"/\" a",
        "* LIST () \"/\"",
        "* STATUS a (MESSAGES 1",
        "* SEARCH 1 x",
        "* SEARCH 0",
        "* SEARCH 1 4294967296",
        "* VANISHED",
        "* VANISHED (EARLIER)",
        "* VANISHED 1:*",
        "* ESEARCH UID ALL",
        "* FLAGS \\Seen",
        "* 99999999999 EXISTS",
        "* x EXISTS y) {",
        "* 1 NEWS",
    ] {
        assert!(
            unreadable(line) || matches!(read(line), Untagged::Unknown(_)),
            "{line}: {:?}",
            read(line)
        );
    }
    assert!(unreadable("* 1 FETCH (UID 3"));
}

#[test]
fn lists_deeper_than_any_message_are_not_followed() {
    let deep =
        |depth: usize| format!("* 1 FETCH (X {}{} UID 3)", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(fetched(&deep(200)).uid, Some(3));
    assert!(unreadable(&deep(201)));
    assert!(unreadable(&deep(100_000)));
}

#[test]
fn mailboxes_are_listed_with_what_is_said_of_them() {
    let sent =
        listed("* LIST (\\HasNoChildren \\Sent \\subscribed \\Important) \"/\" \"Sent Items\"");
    let expected = Listed {
        name: name("Sent Items"),
        separator: Some(b'/'),
        subscribed: true,
        children: Some(false),
        special_uses: vec![SpecialUse::Sent, SpecialUse::Important],
        ..Listed::default()
    };
    assert_eq!(sent, expected);
    let gone =
        listed("* LIST (\\NonExistent \\HasChildren) NIL x (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    assert!(gone.non_existent && gone.no_select && gone.separator.is_none());
    assert_eq!((gone.name, gone.children), (name("x"), Some(true)));
}

#[test]
fn names_are_kept_byte_for_byte() {
    for (line, expected) in [
        ("* LIST () \"/\" {5}\r\na\"b\r\n", "a\"b\r\n"),
        ("* LIST () \"/\" \"a\\\"b\\\\c\"", "a\"b\\c"),
        ("* LIST () \"/\" &AGE-", "&AGE-"),
        ("* LIST () \"/\" NIL", "NIL"),
        ("* LIST () \".\" \"\u{e4}\"", "\u{e4}"),
        ("* LIST () \"/\" \"\"", ""),
        ("* LIST () \"/\" a]b*%", "a]b*%"),
    ] {
        assert_eq!(listed(line).name, name(expected), "{line}");
    }
}

#[test]
fn hmailserver_s_separator_is_a_backslash_without_an_escape() {
    assert_eq!(listed("* LIST () \"\\\" \"a\\b\"").separator, Some(b'\\'));
    assert_eq!(listed("* LIST () \"\\\\\" a").separator, Some(b'\\'));
    let Untagged::Namespace(spaces) = read("* NAMESPACE ((\"\" \"\\\")) NIL NIL") else { panic!() };
    assert_eq!(spaces.personal, [Namespace { prefix: Vec::new(), separator: Some(b'\\') }]);
}

#[test]
fn names_with_spaces_that_nobody_quoted_are_whole() {
    assert_eq!(listed("* LIST () \"/\" Deleted Items").name, name("Deleted Items"));
    assert_eq!(listed("* LIST () \"/\" a(b)").name, name("a"));
    assert!(unreadable("* LIST () \"/\" \"a\" b"));
}

#[test]
fn xlist_s_names_of_special_uses_are_understood() {
    let uses = listed("* LIST (\\AllMail \\Starred \\Spam) \"/\" x").special_uses;
    assert_eq!(uses, [SpecialUse::All, SpecialUse::Flagged, SpecialUse::Junk]);
}

#[test]
fn status_says_what_it_was_asked() {
    let said = status(
        "* STATUS \"a b\" (MESSAGES 231 UIDNEXT 44292 UIDVALIDITY 4294967295 UNSEEN 0 SIZE 99999999999 \
         HIGHESTMODSEQ 7011231777 MAILBOXID (F2212ea87) APPENDLIMIT NIL X-FOO (1 2) RECENT 1 )",
    );
    let expected = MailboxStatus {
        name: name("a b"),
        append_limit: Some(None),
        highest_mod_seq: Some(7_011_231_777),
        mailbox_id: Some(b"F2212ea87".to_vec()),
        messages: Some(231),
        size: Some(99_999_999_999),
        uid_next: Some(44292),
        uid_validity: Some(u32::MAX),
        unseen: Some(0),
    };
    assert_eq!(said, expected);
    assert_eq!(status("* STATUS x (UIDNEXT 0 MESSAGES 1)").uid_next, None);
}

#[test]
fn searches_may_be_unsorted_and_name_a_message_twice() {
    let search = |line: &str| match read(line) {
        Untagged::Search { uids, mod_seq } => (uids.to_string(), mod_seq),
        other => panic!("{other:?}"),
    };
    assert_eq!(search("* SEARCH 9 3 4 3 10 "), ("3:4,9:10".to_owned(), None));
    assert_eq!(search("* SEARCH 2 5 (MODSEQ 917162500)"), ("2,5".to_owned(), Some(917_162_500)));
    assert_eq!(search("* SEARCH"), (String::new(), None));
}

#[test]
fn esearch_says_sets_and_which_command_it_answers() {
    let Untagged::Esearch(esearch) =
        read("* ESEARCH (TAG \"p12\") UID MIN 2 ALL 2,10:11 COUNT 3 MAX 11 MODSEQ 9")
    else {
        panic!()
    };
    let expected = Esearch {
        command: CommandId::read(b"p12"),
        uid: true,
        all: Some(UidSet::from_ranges(vec![(2, 2), (10, 11)])),
        count: Some(3),
        max: Some(11),
        mod_seq: Some(9),
    };
    assert_eq!(esearch, expected);
    assert!(expected.command.is_some());
    let Untagged::Esearch(nothing) = read("* ESEARCH (TAG {2}\r\np3) UID") else { panic!() };
    assert_eq!((nothing.all, nothing.uid), (None, true));
}

#[test]
fn what_vanished_is_told() {
    let vanished = |earlier, ranges: &[(u32, u32)]| Untagged::Vanished {
        earlier,
        uids: UidSet::from_ranges(ranges.to_vec()),
    };
    assert_eq!(read("* VANISHED (EARLIER) 41,43:116"), vanished(true, &[(41, 41), (43, 116)]));
    assert_eq!(read("* vanished 5"), vanished(false, &[(5, 5)]));
}

#[test]
fn icloud_s_empty_enabled_is_none() {
    assert_eq!(read("* ENABLED"), Untagged::Enabled(Vec::new()));
    assert_eq!(read("* ENABLED "), Untagged::Enabled(Vec::new()));
    let both = vec!["CONDSTORE".to_owned(), "QRESYNC".to_owned()];
    assert_eq!(read("* ENABLED condstore QRESYNC"), Untagged::Enabled(both));
}

#[test]
fn quota_rights_metadata_and_ids_are_read() {
    let resources = vec![Resource { name: "STORAGE".to_owned(), usage: 10, limit: 512 }];
    assert_eq!(
        read("* QUOTA \"\" (STORAGE 10 512)"),
        Untagged::Quota { root: Vec::new(), resources }
    );
    let none = Untagged::Quota { root: b"a b".to_vec(), resources: Vec::new() };
    assert_eq!(read("* QUOTA \"a b\" ()"), none);
    let roots =
        Untagged::QuotaRoot { mailbox: name("INBOX"), roots: vec![Vec::new(), b"x".to_vec()] };
    assert_eq!(read("* QUOTAROOT INBOX \"\" x"), roots);
    assert_eq!(
        read("* ACL INBOX Fred rwipsldexta \"a b\" \"\""),
        Untagged::Acl {
            mailbox: name("INBOX"),
            rights: vec![
                (b"Fred".to_vec(), b"rwipsldexta".to_vec()),
                (b"a b".to_vec(), Vec::new())
            ],
        }
    );
    let entries =
        vec![(b"/shared/comment".to_vec(), Some(b"x)".to_vec())), (b"/private/y".to_vec(), None)];
    assert_eq!(
        read("* METADATA \"\" (/shared/comment {2}\r\nx) /private/y NIL)"),
        Untagged::Metadata { mailbox: name(""), entries }
    );
    let changed =
        Untagged::Metadata { mailbox: name("a"), entries: vec![(b"/shared/x".to_vec(), None)] };
    assert_eq!(read("* METADATA a /shared/x"), changed);
    let id = vec![(b"name".to_vec(), Some(b"Cyrus".to_vec())), (b"os".to_vec(), None)];
    assert_eq!(read("* ID (\"name\" \"Cyrus\" \"os\" NIL)"), Untagged::Id(id));
    assert_eq!(read("* ID NIL"), Untagged::Id(Vec::new()));
}

#[test]
fn namespaces_may_have_extensions_and_be_missing() {
    let Untagged::Namespace(spaces) = read(
        "* NAMESPACE ((\"INBOX.\" \".\")(\"x/\" \"/\" \"X-PARAM\" (\"a\" \"b\"))) NIL ((\"Public\" NIL))",
    ) else {
        panic!()
    };
    let space = |prefix: &str, separator| Namespace { prefix: prefix.into(), separator };
    assert_eq!(spaces.personal, [space("INBOX.", Some(b'.')), space("x/", Some(b'/'))]);
    assert!(spaces.others.is_empty());
    assert_eq!(spaces.shared, [space("Public", None)]);
}

#[test]
fn status_responses_and_numbers_are_read_in_any_case() {
    assert_eq!(read("* 5 exists"), Untagged::Exists(5));
    assert_eq!(read("*  3   Expunge"), Untagged::Expunge(3));
    assert_eq!(read("* 0 RECENT"), Untagged::Recent(0));
    let Untagged::Bye(words) = read("* BYE") else { panic!() };
    assert_eq!(words.text, "");
    let Untagged::Said(Verdict { status, words }) = read("* ok [X-FOO] [bar]") else { panic!() };
    assert_eq!((status, words.text), (Status::Ok, "[bar]".to_owned()));
    assert!(matches!(read("* PREAUTH ready"), Untagged::PreAuth(_)));
    assert_eq!(read("* THREAD (1)(2)"), Untagged::Unknown(b"THREAD".to_vec()));
}

/// Nobody makes us work longer than the length of what is said.
#[test]
fn no_response_takes_long_to_read() {
    let long = |start: &str, again: &str, end: &str| {
        let count = 300_000 / again.len();
        [start, &again.repeat(count), end].concat()
    };
    for line in [
        long("* 1 FETCH (X ", "{ ", ")"),
        long("* 1 FETCH (X (", "{ ", "))"),
        long("* 1 FETCH (", "BODY[ ", ")"),
        long("* 1 FETCH (", "BODY[x ", "])"),
        long("* 1 FETCH (", "BODY[] \"\" ", ")"),
        long("* 1 FETCH (FLAGS (", "a ", "))"),
        long("* OK [PERMANENTFLAGS (", "a ", ")]"),
        long("* OK [", "(\"", "] x"),
        long("* LIST (", "\\x ", ") \"/\" a"),
        long("* NAMESPACE (", "(\"\" \"/\")", ") NIL NIL"),
        long("* ID (\"", "\\\"", "\" NIL)"),
        long("* SEARCH ", "9 8 ", ""),
        long("* VANISHED ", "9:1,", "3"),
        long("* STATUS x (", "X 1 ", ")"),
        long("* ESEARCH ", "X (1) ", ""),
        long("* 1 FETCH (X ", "\"\\", ")"),
    ] {
        let shown: String = line.chars().take(40).collect();
        let start = std::time::Instant::now();
        read(&line);
        assert!(start.elapsed().as_secs() < 10, "{shown}");
    }
}

#[test]
fn no_response_has_more_literals_than_anybody_needs() {
    let mut client = Client::new(None, Settings::default());
    client.receive("* 1 FETCH (".as_bytes());
    client.receive("BODY[] {0}\r\n ".repeat(2000).as_bytes());
    let mut events = 0;
    loop {
        match client.step() {
            Step::Event(Event::Body(_)) => events += 1,
            Step::Event(Event::Failed(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(events, 1000);
}
