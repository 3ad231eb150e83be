//! Frames there and back, and bytes that are none.

use proptest::prelude::*;

use super::*;

fn body(frame: &[u8]) -> &[u8] {
    let (head, body) = frame.split_first_chunk::<4>().unwrap();
    assert_eq!(body_length(*head), Ok(body.len()));
    body
}

fn there_and_back(number: u64, report: &Report<'_>) {
    let frame = report.frame(number).unwrap();
    assert_eq!(Report::read(body(&frame)), Ok((number, report.clone())));
}

fn open() -> Open {
    Open {
        connection: Secret::new("DSN=mail;PWD=hunter2").unwrap(),
        statement: "SELECT backend FROM users WHERE name = ?".to_owned(),
        connect_seconds: 2,
        statement_seconds: 3,
        rows: 17,
    }
}

#[test]
fn what_is_said_to_a_worker_arrives() {
    let frame = Request::Open(open()).frame().unwrap();
    let Request::Open(read) = Request::read(body(&frame)).unwrap() else { panic!() };
    assert!(read.connection.matches(&open().connection));
    assert_eq!(read.statement, open().statement);
    assert_eq!((read.connect_seconds, read.statement_seconds, read.rows), (2, 3, 17));
    let values = vec!["anna".to_owned(), String::new(), "gr\u{fc}n'\0".to_owned()];
    let frame = Request::Ask { number: u64::MAX, values: values.clone() }.frame().unwrap();
    let Request::Ask { number, values: read } = Request::read(body(&frame)).unwrap() else {
        panic!()
    };
    assert_eq!((number, read), (u64::MAX, values));
}

#[test]
fn a_connection_string_is_never_shown() {
    let shown = format!("{:?}", Request::Open(open()));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_a_worker_says_arrives_under_its_number() {
    there_and_back(0, &Report::Opened);
    there_and_back(7, &Report::End);
    there_and_back(u64::MAX, &Report::Columns(vec!["backend", "", "gr\u{fc}n"]));
    there_and_back(1, &Report::Failed(Failure { state: "42S02", text: "no such table" }));
    let cells = vec![
        Cell::Boolean(true),
        Cell::Boolean(false),
        Cell::Bytes(b"a\0\xff"),
        Cell::Integer(i64::MIN),
        Cell::Long,
        Cell::Null,
        Cell::Other,
        Cell::Text("north"),
    ];
    there_and_back(2, &Report::Row(cells));
}

#[test]
fn the_longest_row_has_room_and_a_longer_one_has_none() {
    let value = "x".repeat(LONGEST_VALUE);
    there_and_back(1, &Report::Row(vec![Cell::Text(&value); MOST_COLUMNS]));
    let more = "x".repeat(LONGEST_VALUE + 1);
    for cells in [
        vec![Cell::Text(&more)],
        vec![Cell::Bytes(more.as_bytes())],
        vec![Cell::Null; MOST_COLUMNS + 1],
    ] {
        assert_eq!(Report::Row(cells).frame(1).unwrap_err(), InvalidFrame::TooMuch);
    }
    let values = vec!["x".repeat(LONGEST_BODY)];
    assert!(matches!(
        Request::Ask { number: 1, values }.frame().unwrap_err(),
        InvalidFrame::Length(_)
    ));
}

#[test]
fn a_frame_of_another_version_is_told_from_rubbish() {
    let mut frame = Request::Open(open()).frame().unwrap();
    frame[5] = 9;
    assert_eq!(Request::read(&frame[4..]).unwrap_err(), InvalidFrame::Version(9));
}

#[test]
fn what_fills_its_frame_neither_less_nor_more_is_none() {
    let frame = Report::Columns(vec!["backend"]).frame(3).unwrap();
    let whole = body(&frame);
    for cut in 0..whole.len() {
        assert!(Report::read(&whole[..cut]).is_err(), "{cut}");
    }
    let more = [whole, b"x"].concat();
    assert_eq!(Report::read(&more), Err(InvalidFrame::Fields));
    assert_eq!(Report::read(b"X\0\0\0\0\0\0\0\0"), Err(InvalidFrame::Kind));
    assert_eq!(body_length([0, 0, 0, 0]), Err(InvalidFrame::Length(0)));
    assert_eq!(body_length([0xff; 4]), Err(InvalidFrame::Length(0xffff_ffff)));
    // A length that would take all memory is told before anything is taken.
    assert_eq!(Report::read(b"C\0\0\0\0\0\0\0\0\xff\xff\xff\xff"), Err(InvalidFrame::Fields));
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((number, report)) = Report::read(&bytes) {
            let frame = report.frame(number).unwrap();
            prop_assert_eq!(body(&frame), &*bytes);
        }
        if let Ok(request) = Request::read(&bytes) {
            let frame = request.frame().unwrap();
            prop_assert_eq!(body(&frame), &*bytes);
        }
    }

    #[test]
    fn a_frame_with_a_byte_changed_makes_nobody_panic(
        at in 0_usize..60,
        byte in any::<u8>(),
        texts in proptest::collection::vec("[a-z\u{e9}]{0,12}", 0..5),
    ) {
        let cells = texts.iter().map(|text| Cell::Text(text)).collect();
        let frame = Report::Row(cells).frame(5).unwrap();
        let mut changed = body(&frame).to_vec();
        let at = at % changed.len();
        changed[at] = byte;
        if let Ok((_, Report::Row(cells))) = Report::read(&changed) {
            prop_assert!(cells.len() <= texts.len());
        }
    }
}
