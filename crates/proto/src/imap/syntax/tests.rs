use super::*;

fn frame(bytes: &[u8]) -> (Framed, Framer) {
    let mut framer = Framer::default();
    loop {
        match framer.next(bytes, 100) {
            Framed::Announced(literal) => framer.accept(literal.size),
            framed => return (framed, framer),
        }
    }
}

fn command(bytes: &[u8]) -> Command {
    let (framed, mut framer) = frame(bytes);
    assert_eq!(framed, Framed::Whole);
    let mut buffer = Buffer::default();
    buffer.receive(bytes);
    framer.take(&mut buffer)
}

fn strings(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let command = command(bytes);
    let mut words = command.words();
    let mut strings = vec![words.astring()?.to_vec()];
    while !words.at_end() {
        words.byte(b' ')?;
        strings.push(words.astring()?.to_vec());
    }
    Some(strings)
}

#[test]
fn a_command_ends_behind_its_last_literal() {
    let bytes = b"a LOGIN {1}\r\n\n {2+}\r\n\r\n\r\nb NOOP\r\n";
    assert_eq!(&*command(bytes).bytes, b"a LOGIN {1}\r\n\n {2+}\r\n\r\n");
    let whole = bytes.len() - "b NOOP\r\n".len();
    for cut in 0..whole {
        assert_eq!(frame(&bytes[..cut]).0, Framed::Incomplete, "{cut}");
    }
}

#[test]
fn all_forms_of_literals_are_seen() {
    for (line, size, synchronizing) in [
        ("a {5}\r\n", 5, true),
        ("a {05+}\r\n", 5, false),
        ("a ~{5}\r\n", 5, true),
        ("a ({5+}\n", 5, false),
        ("a {99999999999999999999999}\r\n", usize::MAX, true),
    ] {
        let framed = Framer::default().next(line.as_bytes(), 100);
        assert_eq!(framed, Framed::Announced(Announced { size, synchronizing }), "{line:?}");
    }
}

#[test]
fn what_only_looks_like_a_literal_is_none() {
    for line in
        ["a {}\r\n", "a {+}\r\n", "a {-5}\r\n", "a {5 }\r\n", "a b{5}\r\n", "a {5}x\r\n", "{5}\r\n"]
    {
        assert_eq!(Framer::default().next(line.as_bytes(), 100), Framed::Whole, "{line:?}");
    }
    assert_eq!(Framer::default().next(b"a b{5+}\r\n", 100), Framed::Misplaced);
}

#[test]
fn the_limit_counts_text_of_all_lines_and_no_literal() {
    let mut framer = Framer::default();
    let bytes = b"a {9}\r\n123456789 123456789\r\n";
    assert!(matches!(framer.next(bytes, 15), Framed::Announced(_)));
    framer.accept(9);
    assert_eq!(framer.next(bytes, 15), Framed::Whole);
    assert_eq!(Framer { next: 0, ..framer }.next(bytes, 15), Framed::LineTooLong);
}

#[test]
fn escapes_are_undone_in_quoted_strings_and_nowhere_else() {
    assert_eq!(
        strings(b"\"a\\\\b\\\"\" a\\b {4}\r\na\\\\b\r\n"),
        Some(vec![b"a\\b\"".to_vec(), b"a\\b".to_vec(), b"a\\\\b".to_vec()])
    );
    assert_eq!(strings(b"\"a\\b\"\r\n"), None);
}

#[test]
fn a_quoted_string_takes_every_byte_that_a_line_can_carry() {
    assert_eq!(
        strings(b"\"\xc3\xa4\xff\x01\x7f {5}\"\r\n"),
        Some(vec![b"\xc3\xa4\xff\x01\x7f {5}".to_vec()])
    );
    assert_eq!(strings(b"\"\"\r\n"), Some(vec![Vec::new()]));
    for bad in [&b"\"a\r\n"[..], b"\"a\rb\"\r\n", b"\"a\0\"\r\n", b"\"a\\\r\n", b"\"a\"b\r\n"] {
        assert_eq!(strings(bad), None, "{bad:?}");
    }
}

#[test]
fn a_literal_takes_every_byte_and_must_be_followed_by_space_or_line_end() {
    assert_eq!(strings(b" {3}\r\n\r\n\0\r\n".strip_prefix(b" ").unwrap_or_default()), None);
    let framed = command(b"x {3}\r\n\r\n\0 y\r\n");
    let mut words = framed.words();
    assert_eq!(words.atom(), Some(&b"x"[..]));
    assert_eq!(words.byte(b' '), Some(()));
    assert_eq!(words.astring().unwrap().as_slice(), b"\r\n\0");
    assert_eq!(words.rest(), b" y");
    assert_eq!(strings(b"x {1}\r\nab\r\n"), None);
    assert_eq!(strings(b"x ~{1}\r\na\r\n"), None);
}

#[test]
fn an_unfinished_quote_never_reaches_into_a_literal() {
    assert_eq!(strings(b"x \"y {3+}\r\n\"\"\"\r\n"), None);
}

#[test]
fn the_arguments_of_id_are_nil_or_a_list() {
    for good in ["NIL", "nil", "()", "(\"a\" NIL)", "(\"a\" \"b\\\"\" \"c\" NIL)"] {
        let mut words = Words::of_text(good.as_bytes());
        assert_eq!(words.strings_or_nil().map(|_| words.at_end()), Some(true), "{good}");
    }
    for bad in ["", "(", "(\"a\"", "(a)", "(\"a\"\"b\")", "\"a\"", "((NIL))"] {
        assert_eq!(Words::of_text(bad.as_bytes()).strings_or_nil(), None, "{bad}");
    }
}

#[test]
fn a_string_is_written_in_the_form_that_fits() {
    let write = |bytes: &[u8], literals| {
        let mut out = Vec::new();
        let waits = write_string(&mut out, bytes, literals);
        (String::from_utf8(out).unwrap(), waits)
    };
    assert_eq!(write(b"a b", Literals::Synchronizing), ("\"a b\"".into(), false));
    assert_eq!(write(b"", Literals::Synchronizing), ("\"\"".into(), false));
    assert_eq!(write(b"a\\b", Literals::Synchronizing), ("{3}\r\n".into(), true));
    assert_eq!(write(b"a\"b", Literals::Plus), ("{3+}\r\na\"b".into(), false));
    assert_eq!(write(b"a\r\nb", Literals::Minus), ("{4+}\r\na\r\nb".into(), false));
    assert_eq!(write(&[b'x'; 4097], Literals::Minus), ("{4097}\r\n".into(), true));
    assert_eq!(write("\u{e4}".as_bytes(), Literals::Plus), ("{2+}\r\n\u{e4}".into(), false));
}
