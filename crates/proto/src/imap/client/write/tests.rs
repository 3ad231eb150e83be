use proptest::prelude::*;

use super::super::{SearchExpression, UidSet};
use super::*;

fn parts(command: &Command, literals: Literals) -> Vec<Part> {
    let mut writer = Writer::new("t", literals);
    writer.command(command);
    writer.finish()
}

fn written(command: &Command) -> String {
    let [Part::Bytes(line)] = &*parts(command, Literals::Plus) else { panic!("it waits") };
    let line = line.strip_prefix(b"t ").and_then(|line| line.strip_suffix(b"\r\n")).unwrap();
    String::from_utf8(line.to_vec()).unwrap()
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text)
}

fn uids() -> UidSet {
    UidSet::from_ranges(vec![(1, 3), (7, 7)])
}

#[test]
fn commands_without_arguments_are_words() {
    for (command, line) in [
        (Command::Capability, "CAPABILITY"),
        (Command::Close, "CLOSE"),
        (Command::Compress, "COMPRESS DEFLATE"),
        (Command::Idle, "IDLE"),
        (Command::Logout, "LOGOUT"),
        (Command::Namespace, "NAMESPACE"),
        (Command::Noop, "NOOP"),
        (Command::Unselect, "UNSELECT"),
        (Command::Id(Vec::new()), "ID NIL"),
    ] {
        assert_eq!(written(&command), line);
    }
}

#[test]
fn commands_on_mailboxes_are_written() {
    let two = || vec!["/shared".to_owned(), "/private/a".to_owned()];
    for (command, line) in [
        (Command::Create { mailbox: name("a b"), special_use: None }, "CREATE \"a b\""),
        (
            Command::Create { mailbox: name("a"), special_use: Some(SpecialUse::Sent) },
            "CREATE \"a\" (USE (\\Sent))",
        ),
        (Command::Subscribe(name("a")), "SUBSCRIBE \"a\""),
        (Command::GetAcl(name("a")), "GETACL \"a\""),
        (Command::GetQuotaRoot(name("a")), "GETQUOTAROOT \"a\""),
        (
            Command::GetMetadata { mailbox: name(""), entries: two() },
            "GETMETADATA (DEPTH infinity) \"\" (\"/shared\" \"/private/a\")",
        ),
        (Command::Lsub { reference: name(""), pattern: name("*") }, "LSUB \"\" \"*\""),
        (
            Command::Status {
                mailbox: name("a"),
                items: vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::HighestModSeq],
            },
            "STATUS \"a\" (MESSAGES UIDNEXT HIGHESTMODSEQ)",
        ),
        (Command::UidCopy { uids: uids(), mailbox: name("a") }, "UID COPY 1:3,7 \"a\""),
        (Command::UidMove { uids: uids(), mailbox: name("a") }, "UID MOVE 1:3,7 \"a\""),
        (Command::UidExpunge(uids()), "UID EXPUNGE 1:3,7"),
        (
            Command::Enable(vec![Extension::CondStore, Extension::QResync, Extension::Utf8Accept]),
            "ENABLE CONDSTORE QRESYNC UTF8=ACCEPT",
        ),
        (
            Command::Id(vec![
                ("name".to_owned(), "Post\"house".to_owned()),
                ("x".to_owned(), String::new()),
            ]),
            "ID (\"name\" {10+}\r\nPost\"house \"x\" \"\")",
        ),
    ] {
        assert_eq!(written(&command), line);
    }
}

#[test]
fn list_is_extended_only_where_asked() {
    let plain = List { patterns: vec![name("*")], ..List::default() };
    assert_eq!(written(&Command::List(plain.clone())), "LIST \"\" \"*\"");
    let all = List {
        patterns: vec![name("INBOX"), name("*")],
        only_subscribed: true,
        subscribed: true,
        children: true,
        special_use: true,
        status: vec![StatusItem::Messages, StatusItem::UidValidity],
        ..plain
    };
    let line = "LIST (SUBSCRIBED) \"\" (\"INBOX\" \"*\") \
                RETURN (SUBSCRIBED CHILDREN SPECIAL-USE STATUS (MESSAGES UIDVALIDITY))";
    assert_eq!(written(&Command::List(all)), line);
}

#[test]
fn select_says_what_is_known() {
    let select = |read_only, since| {
        written(&Command::Select(Select { mailbox: name("INBOX"), read_only, since }))
    };
    assert_eq!(select(false, Since::Unasked), "SELECT \"INBOX\"");
    assert_eq!(select(true, Since::ModSeq), "EXAMINE \"INBOX\" (CONDSTORE)");
    let known = |known| Since::Resync { uid_validity: 67, mod_seq: 9, known };
    assert_eq!(select(false, known(None)), "SELECT \"INBOX\" (QRESYNC (67 9))");
    assert_eq!(select(false, known(Some(UidSet::new()))), "SELECT \"INBOX\" (QRESYNC (67 9))");
    assert_eq!(select(true, known(Some(uids()))), "EXAMINE \"INBOX\" (QRESYNC (67 9 1:3,7))");
}

#[test]
fn fetch_sets_nothing_as_seen() {
    let fetch = |which, items, changed_since, vanished| {
        written(&Command::UidFetch(Fetching { which, items, changed_since, vanished }))
    };
    let fields = ["Date", "Message-ID", "a b", "", "x)"].map(str::to_owned).to_vec();
    let items = vec![
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::Size,
        FetchItem::ModSeq,
        FetchItem::EmailId,
        FetchItem::GmMsgId,
        FetchItem::GmLabels,
        FetchItem::HeaderFields(fields),
        FetchItem::Header,
        FetchItem::Body,
        FetchItem::Binary,
    ];
    assert_eq!(
        fetch(Which::These(uids()), items, None, false),
        "UID FETCH 1:3,7 (FLAGS INTERNALDATE RFC822.SIZE MODSEQ EMAILID X-GM-MSGID X-GM-LABELS \
         BODY.PEEK[HEADER.FIELDS (Date Message-ID)] BODY.PEEK[HEADER] BODY.PEEK[] BINARY.PEEK[])"
    );
    let flags = vec![FetchItem::Flags];
    let line = "UID FETCH 9:* (FLAGS) (CHANGEDSINCE 5 VANISHED)";
    assert_eq!(fetch(Which::From(9), flags.clone(), Some(5), true), line);
    let line = "UID FETCH 9:* (FLAGS) (CHANGEDSINCE 5)";
    assert_eq!(fetch(Which::From(9), flags, Some(5), false), line);
}

#[test]
fn searches_are_written() {
    let search = |returning, keys| written(&Command::UidSearch(Searching { returning, keys }));
    let all = Some(Returning { all: true, count: true, max: true });
    assert_eq!(search(all, Vec::new()), "UID SEARCH RETURN (ALL COUNT MAX) ALL");
    let keyword = |text: &str| Mark::Keyword(Keyword::new(text.as_bytes()));
    let keys = vec![
        SearchKey::Uid(Which::These(uids())),
        SearchKey::Has(Mark::Seen),
        SearchKey::Lacks(Mark::Deleted),
        SearchKey::Has(keyword("$Junk")),
        SearchKey::Lacks(keyword("x")),
        SearchKey::Has(keyword("no atom")),
        SearchKey::Lacks(keyword("\\Foo")),
        SearchKey::Expression(SearchExpression::new(" SINCE 1-Jan-2020 (OR SEEN \"a)\")").unwrap()),
    ];
    assert_eq!(
        search(None, keys),
        "UID SEARCH UID 1:3,7 SEEN UNDELETED KEYWORD $Junk UNKEYWORD x NOT ALL ALL \
         (SINCE 1-Jan-2020 (OR SEEN \"a)\"))"
    );
}

#[test]
fn a_search_expression_is_one_search() {
    for text in ["", " ", "a)", "(a", "\"a", "a\r\nb", "{3}", "\u{e4}", "a) (b", "\"a\\\""] {
        assert_eq!(SearchExpression::new(text), None, "{text}");
    }
}

#[test]
fn store_adds_and_takes_away_what_can_be_written() {
    let mut flags = Flags::new();
    flags.add(SystemFlag::Seen);
    flags.add(SystemFlag::Recent);
    [&b"$x"[..], b"a b", b"\\Foo", b"]"].into_iter().for_each(|word| flags.add_wire(word));
    let store = |change, unchanged_since| {
        let flags = flags.clone();
        written(&Command::UidStore(Storing { uids: uids(), change, flags, unchanged_since }))
    };
    assert_eq!(store(Change::Add, None), "UID STORE 1:3,7 +FLAGS.SILENT (\\Seen $x \\Foo)");
    let line = "UID STORE 1:3,7 (UNCHANGEDSINCE 12) -FLAGS.SILENT (\\Seen $x \\Foo)";
    assert_eq!(store(Change::Remove, Some(12)), line);
}

#[test]
fn a_literal_waits_unless_the_server_has_said_that_it_need_not() {
    let subscribe = Command::Subscribe(name("a\"b"));
    let bytes = |text: &str| Part::Bytes(text.as_bytes().to_vec());
    let waits = [bytes("t SUBSCRIBE {3}\r\n"), Part::Wait, bytes("a\"b\r\n")];
    assert_eq!(parts(&subscribe, Literals::Synchronizing), waits);
    let not = [bytes("t SUBSCRIBE {3+}\r\na\"b\r\n")];
    assert_eq!(parts(&subscribe, Literals::Minus), not);
    let long = Command::Subscribe(name(&"x".repeat(4097)));
    assert_eq!(parts(&long, Literals::Minus).len(), 3);
    assert_eq!(parts(&long, Literals::Plus).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A server reads back the name that was meant, and nothing after it.
    #[test]
    fn a_name_of_any_bytes_is_one_argument(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let whole = parts(&Command::Subscribe(MailboxName::new(bytes.clone())), Literals::Plus);
        let [Part::Bytes(line)] = &*whole else { panic!() };
        let rest = line.strip_prefix(b"t SUBSCRIBE ").unwrap();
        let read = match rest.strip_prefix(b"{") {
            None => rest.strip_prefix(b"\"").unwrap().strip_suffix(b"\"\r\n").unwrap().to_vec(),
            Some(literal) => {
                let line_end = literal.iter().position(|byte| *byte == b'\n').unwrap();
                let number = std::str::from_utf8(&literal[..line_end - 3]).unwrap();
                let size: usize = number.parse().unwrap();
                let (text, end) = literal[line_end + 1..].split_at(size);
                prop_assert_eq!(end, b"\r\n");
                text.to_vec()
            }
        };
        prop_assert_eq!(read, bytes);
    }
}
