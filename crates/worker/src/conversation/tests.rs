//! A conversation over pipes.

use std::{
    io::{PipeReader, PipeWriter, pipe},
    sync::mpsc,
    time::Duration,
};

use model::Secret;
use proto::worker::Cell;

use super::*;

const SOON: Duration = Duration::from_secs(10);

struct Posthouse {
    /// None: it has hung up.
    to: Option<PipeWriter>,
    from: PipeReader,
    ended: Receiver<()>,
}

fn talk() -> (Posthouse, Conversation<PipeWriter>) {
    let (input, to) = pipe().unwrap();
    let (from, output) = pipe().unwrap();
    let (tell, ended) = mpsc::channel();
    let begun = Conversation::begin(input, output, move || tell.send(()).unwrap()).unwrap();
    (Posthouse { to: Some(to), from, ended }, begun)
}

impl Posthouse {
    fn says(&mut self, bytes: &[u8]) {
        self.to.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn asks(&mut self, request: &Request) {
        self.says(&request.frame().unwrap());
    }

    fn hears(&mut self) -> Vec<u8> {
        body(&mut self.from).unwrap().unwrap().to_vec()
    }
}

fn open() -> Request {
    Request::Open(Open {
        connection: Secret::new("DSN=mail").unwrap(),
        statement: "SELECT ?".to_owned(),
        connect_seconds: 1,
        statement_seconds: 1,
        rows: 2,
    })
}

#[test]
fn questions_are_answered_under_their_numbers() {
    let (mut posthouse, mut conversation) = talk();
    posthouse.asks(&open());
    assert_eq!(conversation.open().unwrap().statement, "SELECT ?");
    conversation.opened().unwrap();
    assert_eq!(Report::read(&posthouse.hears()), Ok((0, Report::Opened)));
    for number in [1, 2] {
        posthouse.asks(&Request::Ask { number, values: vec!["anna".to_owned()] });
        let question = conversation.next_question().unwrap();
        assert_eq!(question.values, ["anna"]);
        let mut answer = question.answer();
        answer.add(&Report::Columns(vec!["backend"])).unwrap();
        answer.add(&Report::Row(vec![Cell::Text("north")])).unwrap();
        conversation.answer(&question, Ok(answer)).unwrap();
        for expected in
            [Report::Columns(vec!["backend"]), Report::Row(vec![Cell::Text("north")]), Report::End]
        {
            assert_eq!(Report::read(&posthouse.hears()), Ok((number, expected)));
        }
    }
}

#[test]
fn a_failure_is_told_however_long_its_words() {
    let (mut posthouse, mut conversation) = talk();
    posthouse.asks(&Request::Ask { number: 9, values: vec![] });
    let question = conversation.next_question().unwrap();
    let failed = Failed { state: "42000".to_owned(), text: "\u{fc}".repeat(LONGEST_NAME) };
    conversation.answer(&question, Err(failed)).unwrap();
    let body = posthouse.hears();
    let Ok((9, Report::Failed(failure))) = Report::read(&body) else { panic!() };
    assert_eq!((failure.state, failure.text.len()), ("42000", LONGEST_NAME));
    let name = "x".repeat(LONGEST_NAME + 1);
    let too_long = question.answer().add(&Report::Columns(vec![&name])).unwrap_err();
    assert!(too_long.text.contains("too much"), "{too_long:?}");
}

#[test]
fn the_end_of_posthouse_is_seen_while_nobody_listens() {
    let (mut posthouse, _conversation) = talk();
    posthouse.to = None;
    posthouse.ended.recv_timeout(SOON).unwrap();
}

#[test]
fn what_comes_out_of_turn_or_is_no_frame_ends_the_conversation() {
    for bytes in [&b"\0\0\0\x01X"[..], b"\xff\xff\xff\xff", b"\0\0\0\0"] {
        let (mut posthouse, mut conversation) = talk();
        posthouse.says(bytes);
        assert_eq!(conversation.open().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    let (mut posthouse, mut conversation) = talk();
    posthouse.asks(&open());
    assert!(conversation.next_question().is_err());
    posthouse.asks(&Request::Ask { number: 1, values: vec![] });
    assert!(conversation.open().is_err());
}

#[test]
fn another_version_of_posthouse_is_told_so() {
    let (mut posthouse, mut conversation) = talk();
    let mut frame = open().frame().unwrap();
    frame[5] += 1;
    posthouse.says(&frame);
    assert!(conversation.open().is_err());
    let body = posthouse.hears();
    let Ok((0, Report::Failed(failure))) = Report::read(&body) else { panic!() };
    assert!(failure.text.contains("another version"), "{failure:?}");
}
