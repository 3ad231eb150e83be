//! What holds of the framing for all streams.

use model::Protocol;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proto::relay::Step;

use super::reference;
use super::session::Session;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Who says something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Backend,
    Client,
}

/// What a side says before the other has its turn.
type Turn = (Side, Vec<u8>);

fn any_of(words: &[&'static str]) -> impl Strategy<Value = Vec<u8>> + use<> {
    select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec())
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

/// What clients say, and parts of it.
fn client_piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "\r\n",
        "\n",
        " ",
        "a ",
        "b",
        "a NOOP\r\n",
        "b NOOP\r\n",
        "c APPEND \"x\" {3}\r\n",
        "d APPEND {1+}\r\nx (\\Seen) {4+}\r\na NO\r\n",
        "e IDLE\r\n",
        "DONE\r\n",
        "f AUTHENTICATE X\r\n",
        "g COMPRESS DEFLATE\r\n",
        "h COMPRESS {3+}\r\na\r\n\r\n",
        "i UNAUTHENTICATE\r\n",
        "j UID ",
        "STORE 1 x",
        "k UID MOVE 1 {2+}\r\nab\r\n",
        "l SELECT x\r\n",
        "m CLOSE\r\n",
        "{2}\r\n",
        "{0}\r\n",
        "{5+}\r\n",
        "~{3+}\r\n",
        " {18446744073709551616+}\r\n",
        "COMPRESS ",
        "\"{3}\"\r\n",
        "RETR 1\r\n",
        "LIST\r\n",
        "LIST 1\r\n",
        "DELE 1\r\n",
        "QUIT\r\n",
        "AUTH X\r\n",
        "STAT\r\n",
        "n FETCH 1 BODY[]\r\n",
    ];
    prop_oneof![9 => any_of(&words), 1 => noise()]
}

/// What back ends say, and parts of it.
fn backend_piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "\r\n",
        "\n",
        " ",
        "* ",
        "a OK done\r\n",
        "b OK\r\n",
        "c NO\r\n",
        "c OK\r\n",
        "d OK\r\n",
        "e OK\r\n",
        "e BAD\r\n",
        "f NO\r\n",
        "j OK\r\n",
        "k OK\r\n",
        "l OK [READ-ONLY]\r\n",
        "m OK\r\n",
        "+ go\r\n",
        "+\r\n",
        "* BAD what\r\n",
        "* OK x {3}\r\n",
        "* 1 FETCH (BODY[] {3}\r\n",
        "a OK x",
        "{4}\r\n",
        "* CAPABILITY A COMPRESS=DEFLATE B\r\n",
        "a OK [CAPABILITY UNAUTHENTICATE X] x\r\n",
        "UNAUTH",
        "* CAPABILITY",
        " COMPRESS=",
        " UNAUTHENTICATE",
        "]",
        "* X {18446744073709551616}\r\n",
        "DONE BAD\r\n",
        "+OK\r\n",
        "-ERR\r\n",
        "+OK 1\r\nx\r\n.\r\n",
        ".\r\n",
        "..\r\n",
        "+OK\n",
        ".\n",
        "\r\n.",
        "n OK\r\n",
    ];
    prop_oneof![9 => any_of(&words), 1 => noise()]
}

/// Rows of numbered data, and what may stand between them.
fn numbered_data() -> impl Strategy<Value = Vec<u8>> {
    let row = any_of(&[
        "* 1 FETCH (FLAGS (\\Seen))\r\n",
        "* 333 FETCH (UID 4444 FLAGS (\\Seen))\r\n",
        "* 22 EXISTS\n",
        "* 3 X }\r\n",
        "* 1 FETCH (X {4}\r\nab\r\n)\r\n",
        "* 4 X {0}\n\n",
    ]);
    (row, 1..20_usize).prop_map(|(row, times)| row.repeat(times))
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let said = |side| move |pieces: Vec<Vec<u8>>| (side, pieces.concat());
    let turn = prop_oneof![
        vec(client_piece(), 1..6).prop_map(said(Side::Client)),
        vec(backend_piece(), 1..6).prop_map(said(Side::Backend)),
    ];
    vec(turn, 1..12)
}

/// Shows a turn in pieces. The other side moves when the turn is over, as the meaning of what it
/// holds may depend on how much it was told.
fn take_turn<'a>(s: &mut Session, side: Side, pieces: impl Iterator<Item = &'a [u8]>) {
    for piece in pieces {
        match side {
            Side::Client => {
                s.from_client.extend_from_slice(piece);
                s.move_up();
            }
            Side::Backend => s.backend_sends(piece),
        }
    }
    s.move_up();
    s.move_down();
}

/// All that can be seen of a session from outside.
fn seen(s: &Session) -> impl PartialEq + std::fmt::Debug + use<> {
    // Where framing is lost, how many bytes went on before is left to the driver.
    let whole = s.lost.is_none().then(|| {
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let kept_back = shown(&s.from_client);
        (
            shown(&s.to_backend),
            shown(&s.to_client),
            kept_back,
            s.events.clone(),
            s.between_responses(),
        )
    });
    (s.lost, s.in_flight(), s.at_boundary(), whole)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Imap, Protocol::Imap, Protocol::Imap, Protocol::Pop3])
}

/// A message's text that looks like everything else.
fn body() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![backend_piece(), client_piece()], 0..5).prop_map(|pieces| pieces.concat())
}

/// A part of a conversation, after which nothing is in flight; within, something always is.
fn exchange() -> impl Strategy<Value = Vec<Turn>> {
    let client = |text: &str| (Side::Client, text.as_bytes().to_vec());
    let backend = |text: &str| (Side::Backend, text.as_bytes().to_vec());
    let literal = |before: &str, body: &[u8], after: &str| {
        let announced = format!("{before} {{{}}}\r\n", body.len());
        [announced.as_bytes(), body, after.as_bytes()].concat()
    };
    let announce = |body: &[u8]| format!(" {{{}}}\r\n", body.len());
    prop_oneof![
        Just(vec![client("a NOOP\r\n"), backend("* 1 EXISTS\r\n"), backend("a OK {5}\r\n")]),
        body().prop_map(move |body| vec![
            client("a FETCH 1:2 (BODY.PEEK[])\r\n"),
            (Side::Backend, literal("* 1 FETCH (X \"a OK {2}\" BODY[]", &body, ")\r\n")),
            (Side::Backend, literal("* 2 FETCH (BINARY[]<0>", &body, " UID 2)\r\n")),
            backend("a OK\r\n"),
        ]),
        vec(body(), 1..4).prop_map(move |bodies| {
            let mut turns = vec![client("a APPEND x")];
            for body in bodies {
                turns.push(client(&announce(&body)));
                turns.push(backend("* OK {3}\r\n+ go\r\n"));
                turns.push((Side::Client, body));
            }
            turns.extend([client("\r\n"), backend("a OK\r\n")]);
            turns
        }),
        body().prop_map(move |body| vec![
            client("a APPEND x"),
            client(&announce(&body)),
            backend("a NO [OVERQUOTA] no\r\n"),
        ]),
        Just(vec![
            client("a IDLE\r\n"),
            backend("+ idling\r\n"),
            backend("* 2 EXISTS\r\n"),
            client("DONE\r\nb NOOP\r\n"),
            backend("a OK\r\n"),
            backend("b OK\r\n"),
        ]),
        Just(vec![client("a IDLE\r\n"), backend("+ idling\r\n"), backend("a NO enough\r\n")]),
        "[a-z {}+]{0,20}".prop_map(move |line| vec![
            client("a AUTHENTICATE X\r\n"),
            backend("+ \r\n"),
            client(&format!("{line}\r\n")),
            backend("+ {9}\r\n"),
            client("z COMPRESS DEFLATE\r\n"),
            backend("a NO\r\n"),
        ]),
        Just(vec!["b OK\r\n", "a NO\r\n", "c BAD\r\n"]).prop_shuffle().prop_map(move |answers| {
            let commands = "a NOOP\r\nb SELECT x{5}\r\nc APPEND {1+}\r\nx {3+}\r\n\r\n\r\r\n";
            [vec![client(commands)], answers.into_iter().map(backend).collect()].concat()
        }),
    ]
}

/// Cuts bytes at these places.
fn cut<'a>(bytes: &'a [u8], places: &[Index]) -> impl Iterator<Item = &'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.push(bytes.len());
    places.sort_unstable();
    let mut start = 0;
    places.into_iter().map(move |end| &bytes[std::mem::replace(&mut start, end)..end])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn how_both_streams_are_cut_changes_nothing(
        protocol in protocol(),
        turns in turns(),
        places in vec(any::<Index>(), 1..5),
    ) {
        let new = || Session::new(protocol);
        let (mut whole, mut pieces, mut bytes) = (new(), new(), new());
        for (side, said) in &turns {
            take_turn(&mut whole, *side, [&said[..]].into_iter());
            take_turn(&mut pieces, *side, cut(said, &places));
            take_turn(&mut bytes, *side, said.chunks(1));
            prop_assert_eq!(seen(&whole), seen(&pieces));
            prop_assert_eq!(seen(&whole), seen(&bytes));
            if whole.lost.is_some() {
                break;
            }
        }
    }

    #[test]
    fn a_conversation_passes_whole_and_comes_to_rest_exactly_where_all_is_answered(
        exchanges in vec(exchange(), 1..6),
        places in vec(any::<Index>(), 0..4),
    ) {
        let mut s = Session::new(Protocol::Imap);
        for turns in &exchanges {
            for (number, (side, said)) in turns.iter().enumerate() {
                let (up, down) = (s.to_backend.len(), s.to_client.len());
                take_turn(&mut s, *side, cut(said, &places));
                let is_last = number + 1 == turns.len();
                prop_assert_eq!(s.at_boundary(), is_last, "{:?} {}", turns, number);
                prop_assert_eq!(s.in_flight(), !is_last);
                let (passed, other) = match side {
                    Side::Client => (&s.to_backend[up..], s.to_client.len() - down),
                    Side::Backend => (&s.to_client[down..], s.to_backend.len() - up),
                };
                prop_assert_eq!((passed, other), (&said[..], 0));
            }
        }
    }

    #[test]
    fn a_hold_stops_where_a_slow_parser_says_that_a_command_ends(
        pieces in vec(prop_oneof![
            8 => any_of(&[
                "a NOOP\r\n", "b LIST \"\" \"x {4+}\"\r\n", "c APPEND x {4+}\r\nab\r\n\r\n", "d X{3+}\r\n", "e X ",
                "f UID MOVE 1 {1+}\r\nx\r\n", "\r\n", "\n", "{2+}\r\n", " ({0+}\r\n", "~{1+}\r\n", "\"\r\n", "g Y\n",
                "h COMPRESS DEFLATE\r\n", "i UNAUTHENTICATE\r\n", "j COMPRESS {3+}\r\nabc\r\n", "x",
            ]),
            1 => "[a-z ]{0,5}".prop_map(String::into_bytes),
        ], 0..20),
        place in any::<Index>(),
    ) {
        let stream = pieces.concat();
        let expected = reference::commands(&stream);
        let mut s = Session::new(Protocol::Imap);
        s.client(&stream);
        let last = *expected.ends.last().unwrap();
        prop_assert_eq!(&s.to_backend[..last], &expected.passed[..]);

        let mut held = Session::new(Protocol::Imap);
        let shown = place.index(stream.len() + 1);
        held.client(&stream[..shown]);
        let before = held.to_backend.len();
        held.framer.hold();
        held.client(&stream[shown..]);
        let stopped = held.to_backend.len();
        // The last command may not be complete, or it is one that goes nowhere.
        prop_assert!(expected.ends.contains(&stopped) || stopped > last);
        let next = expected.ends.range(before..).next().copied();
        prop_assert!(next.is_none_or(|next| stopped == next), "{before} {stopped} {next:?}");
    }

    #[test]
    fn a_response_may_begin_exactly_where_a_slow_parser_says(
        pieces in vec(prop_oneof![backend_piece(), numbered_data()], 0..40),
        places in vec(any::<Index>(), 10),
    ) {
        let stream = pieces.concat();
        let lost = b"{18446744073709551616}";
        // Behind it nothing is framed. Not `prop_assume`: long runs would stop at too many such cases.
        if stream.windows(lost.len()).any(|window| window == lost) {
            return Ok(());
        }
        let expected = reference::responses(&stream);
        let mut s = Session::new(Protocol::Imap);
        for (place, byte) in stream.iter().enumerate() {
            prop_assert_eq!(s.between_responses(), expected.contains(&place), "at {}", place);
            s.backend([*byte]);
        }
        for place in places {
            let place = place.index(stream.len() + 1);
            let mut s = Session::new(Protocol::Imap);
            s.backend(&stream[..place]);
            prop_assert_eq!(s.between_responses(), expected.contains(&place), "up to {}", place);
        }
    }

    #[test]
    fn among_rows_of_data_nothing_is_overlooked(
        before in vec(numbered_data(), 1..8),
        odd in any_of(&[
            "* OK {3}\r\n", "* BAD what\r\n", "* 1 X {8}\r\na OK x\r\n\r\n", "+ x\r\n", "x\r\n",
            "* 1 X {70}\r\n* 1 X xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na OK x\r\n\r\n", "* CAPABILITY X COMPRESS=DEFLATE\r\n",
        ]),
        after in vec(numbered_data(), 1..8),
    ) {
        let stream = [before.concat(), odd, after.concat(), b"a OK done\r\n".to_vec()].concat();
        let mut whole = Session::new(Protocol::Imap);
        // It is answered in the end; only then is there a boundary to compare.
        whole.passes_up("a NOOP\r\n");
        let mut bytes = whole.clone();
        take_turn(&mut whole, Side::Backend, [&stream[..]].into_iter());
        take_turn(&mut bytes, Side::Backend, stream.chunks(1));
        prop_assert_eq!(seen(&whole), seen(&bytes));
    }

    #[test]
    fn a_pop3_answer_may_begin_exactly_where_a_slow_parser_says(
        commands in vec(any::<bool>(), 0..8),
        pieces in vec(backend_piece(), 0..20),
    ) {
        let mut s = Session::new(Protocol::Pop3);
        for further in &commands {
            s.passes_up(if *further { "RETR 1\r\n" } else { "LIST 1\r\n" });
        }
        let stream = pieces.concat();
        let expected = reference::answers(&stream, &commands);
        for (place, byte) in stream.iter().enumerate() {
            prop_assert_eq!(s.between_responses(), expected.contains(&place), "at {}", place);
            s.backend([*byte]);
        }
    }

    #[test]
    fn no_stream_makes_a_framer_panic_or_keep_much(
        protocol in protocol(),
        turns in turns(),
        flood in prop_oneof![client_piece(), noise()],
        size in 1..5000_usize,
    ) {
        let mut s = Session::new(protocol);
        for (side, said) in &turns {
            take_turn(&mut s, *side, said.chunks(size));
        }
        for _ in 0..200 {
            show(&mut s, &flood.repeat(50));
        }
        // A byte takes up at most five characters; a command's other parts a few hundred.
        let kept = format!("{:?}", s.framer).len();
        prop_assert!(kept < 200_000, "{kept}");
    }
}

/// Shows bytes of both sides to a framer until it wants no more, and throws them away.
fn show(s: &mut Session, bytes: &[u8]) {
    for up in [true, false] {
        let mut rest = bytes;
        loop {
            let step = if up { s.framer.up(rest) } else { s.framer.down(rest) };
            match step {
                Ok(Step::Pass(count) | Step::Take(count)) => rest = &rest[count..],
                Ok(Step::Write(_) | Step::Event(_)) => {}
                Ok(Step::Read | Step::Wait) | Err(_) => break,
            }
        }
    }
}
