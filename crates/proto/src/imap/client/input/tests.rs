use super::*;

/// All that comes out, with pieces joined.
fn read(bytes: &[u8], size: usize) -> Vec<Next> {
    let (mut input, mut read) = (Input::default(), Vec::new());
    for piece in bytes.chunks(size) {
        input.receive(piece);
        loop {
            match (input.next(), read.last_mut()) {
                (Next::Incomplete, _) => break,
                (Next::TooMuch, _) => {
                    read.push(Next::TooMuch);
                    return read;
                }
                (Next::Piece(more), Some(Next::Piece(before))) => before.extend(more),
                (next, _) => read.push(next),
            }
        }
    }
    read
}

/// The same whatever the cuts.
fn reads(bytes: &[u8]) -> Vec<Next> {
    let whole = read(bytes, usize::MAX);
    for size in [1, 7, 20_000, 70_000] {
        if bytes.len() / size < 100_000 {
            assert_eq!(shown(&read(bytes, size)), shown(&whole), "in pieces of {size}");
        }
    }
    whole
}

/// Without how much of a long list was read ahead.
fn shown(all: &[Next]) -> Vec<String> {
    let show = |next: &Next| match next {
        Next::Response(text) => {
            let parsed = super::super::parse::untagged(text);
            format!("{:?} {:?}", parsed.untagged, text.literals)
        }
        other => format!("{other:?}"),
    };
    all.iter().map(show).collect()
}

fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let text = |next| match next {
        Next::Response(text) => Some(text.bytes),
        _ => None,
    };
    reads(bytes).into_iter().filter_map(text).collect()
}

#[test]
fn a_section_is_passed_on_and_any_other_literal_kept() {
    let bytes = b"* 1 FETCH (X-GM-LABELS ({2}\r\na) b]) BODY[HEADER.FIELDS (DATE)] {5}\r\nab)\r\n UID 3)\r\n";
    let read = reads(bytes);
    let [Next::Passing, Next::Piece(piece), Next::Response(text)] = &*read else {
        panic!("{read:?}")
    };
    assert_eq!(piece, b"ab)\r\n");
    assert_eq!(text.literals.iter().map(|literal| literal.kept).collect::<Vec<_>>(), [true, false]);
    for other in [
        &b"* 1 FETCH (ENVELOPE (BODY[] {2}\r\nab))\r\n"[..],
        b"* LIST () \"/\" {2}\r\nab\r\n",
        b"* 1 FETCHED (BODY[] {2}\r\nab)\r\n",
        b"* 1 FETCH (X \"BODY[] ) {2}\r\nab)\r\n",
    ] {
        assert_eq!(texts(other).len(), 1, "{}", other.escape_ascii());
        assert!(!reads(other).contains(&Next::Passing), "{}", other.escape_ascii());
    }
    for section in ["RFC822", "rfc822.header", "BODY[]<0>", "BINARY[]", "BODY[1.MIME]"] {
        let bytes = format!("* 1 FETCH ({section} {{2}}\r\nab)\r\n");
        assert_eq!(reads(bytes.as_bytes()).first(), Some(&Next::Passing), "{section}");
    }
    assert!(reads(b"* 1 FETCH (BINARY[] ~{2}\r\nab)\r\n").contains(&Next::Passing));
}

#[test]
fn the_text_of_a_status_response_announces_nothing() {
    assert_eq!(texts(b"* OK see {5}\r\np1 NO x {9}\r\n+ {1}\r\n").len(), 3);
}

#[test]
fn an_empty_literal_ends_at_once() {
    let bytes = b"* 1 FETCH (BODY[] {0}\r\n)\r\n* LIST () NIL {0}\r\n\r\n";
    assert_eq!(texts(bytes), [&b"* 1 FETCH (BODY[] {0}\r\n)"[..], b"* LIST () NIL {0}\r\n"]);
}

#[test]
fn a_response_may_be_only_so_long() {
    let too_much = |bytes: Vec<u8>| reads(&bytes).contains(&Next::TooMuch);
    assert!(too_much(vec![b'x'; MAX_TEXT + 2]));
    assert!(too_much([&b"* FLAGS ("[..], &[b'x'; MAX_TEXT], b")\r\n"].concat()));
    assert!(too_much(b"* LIST () NIL {4294967296}\r\n".to_vec()));
    assert!(too_much(b"* X {18446744073709551615}\r\n".to_vec()));
    assert!(!too_much([&b"* FLAGS ("[..], &[b'x'; MAX_TEXT - 20], b")\r\n"].concat()));
    let literal = [&b"{1000}\r\n"[..], &[b'x'; 1000]].concat();
    assert!(too_much([&b"* X "[..], &[literal, b" ".to_vec()].concat().repeat(1100)].concat()));
}

#[test]
fn a_huge_body_is_no_trouble() {
    let start = reads(b"* 1 FETCH (BODY[] {18446744073709551616}\r\nabc");
    assert_eq!(start, [Next::Passing, Next::Piece(b"abc".to_vec())]);
}

#[test]
fn a_list_of_a_million_numbers_is_read_as_it_comes() {
    let numbers = |separator: &str| {
        let numbers: Vec<_> = (1..160_000_u32).map(|number| (2 * number).to_string()).collect();
        numbers.join(separator)
    };
    for text in [
        format!("* SEARCH {}\r\n", numbers(" ")),
        format!("* SEARCH {} (MODSEQ 917162500)\r\n", numbers(" ")),
        format!("* VANISHED (EARLIER) {}\r\n", numbers(",")),
        format!("* vanished {}\r\n", numbers(",")),
        format!("* ESEARCH (TAG \"p1\") UID ALL {} COUNT 159999\r\n", numbers(",")),
    ] {
        let read = reads(text.as_bytes());
        let [Next::Response(response)] = &*read else { panic!() };
        let kept = response.long.as_ref().unwrap().runs.len();
        assert!(text.len() > MAX_TEXT && kept > 140_000, "{kept}");
        assert!(response.bytes.len() < MAX_TEXT);
    }
}

#[test]
fn what_only_begins_like_a_list_of_numbers_ends_somewhere() {
    let text = format!("* SEARCH {} x {}\r\n", "1 ".repeat(600_000), "2 ".repeat(600_000));
    assert_eq!(reads(text.as_bytes()), [Next::TooMuch]);
}
