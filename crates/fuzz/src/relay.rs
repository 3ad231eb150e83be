//! What holds of the framing after login, whatever both sides send.
//!
//! Nothing here knows commands or responses.

use model::{Protocol, Reason};
use proto::relay::{Event, Framer, Lost, Step};

use crate::input::Input;

/// Between the turns of client and back end; both say it never.
const OTHER_SIDE: u8 = 0xff;

/// Any two sides, which take turns: the client begins, and 0xff gives the other one its turn. The answers
/// say before which turns the client is held back. With setting 1 a goodbye is wanted before the turn that
/// the choice names.
pub fn relay(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let new = || Session::new(input.protocol());
    let (mut whole, mut cut, mut bytes) = (new(), new(), new());
    for (number, said) in input.stream.split(|byte| *byte == OTHER_SIDE).enumerate() {
        let from_client = number % 2 == 0;
        for session in [&mut whole, &mut cut, &mut bytes] {
            session.is_told(&input, number);
        }
        whole.takes_turn(from_client, [said]);
        cut.takes_turn(from_client, input.cut(said));
        bytes.takes_turn(from_client, said.chunks(1));
        assert_eq!(whole.seen(), cut.seen());
        assert_eq!(whole.seen(), bytes.seen());
        if whole.lost.is_some() || whole.is_over() {
            break;
        }
    }
    whole.changed_nothing_needlessly();
}

/// One direction of a session.
#[derive(Default)]
struct Way {
    /// All that was sent, ever.
    sent: Vec<u8>,
    /// How much of it was dealt with.
    dealt_with: usize,
    /// What came out at the other end.
    out: Vec<u8>,
}

/// A session after login.
struct Session {
    framer: Framer,
    up: Way,
    down: Way,
    /// What was told, and how many bytes the client had got by then.
    events: Vec<(Event, usize)>,
    lost: Option<Lost>,
    goodbye: bool,
    protocol: Protocol,
}

impl Session {
    fn new(protocol: Protocol) -> Self {
        Self {
            framer: Framer::new(protocol),
            up: Way::default(),
            down: Way::default(),
            events: Vec::new(),
            lost: None,
            goodbye: false,
            protocol,
        }
    }

    /// What the owner of a framer wants of it.
    fn is_told(&mut self, input: &Input<'_>, turn: usize) {
        if input.answer(turn) {
            self.framer.hold();
        } else {
            self.framer.release();
        }
        if input.is_set(1) && turn == usize::from(input.choice) {
            self.goodbye = true;
            self.framer.say_goodbye(Reason::Kicked);
        }
        self.moves();
    }

    /// Shows a turn in pieces. The other side moves when the turn is over, as the meaning of what it holds
    /// may depend on how much it was told.
    fn takes_turn<'a>(&mut self, from_client: bool, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for piece in pieces {
            let way = if from_client { &mut self.up } else { &mut self.down };
            way.sent.extend_from_slice(piece);
            self.move_one(from_client);
        }
        self.moves();
    }

    fn moves(&mut self) {
        self.move_one(true);
        self.move_one(false);
        self.move_one(true);
    }

    /// Does what the framer says until it rests.
    fn move_one(&mut self, up: bool) {
        let length = if up { self.up.sent.len() } else { self.down.sent.len() };
        for _ in 0..1000 + 10 * length {
            if self.lost.is_some() {
                return;
            }
            let way = if up { &mut self.up } else { &mut self.down };
            let shown = way.sent.get(way.dealt_with..).unwrap_or_default();
            let step = if up { self.framer.up(shown) } else { self.framer.down(shown) };
            match step {
                Ok(Step::Event(event)) => self.events.push((event, self.down.out.len())),
                Ok(Step::Pass(count)) => {
                    assert!((1..=shown.len()).contains(&count));
                    way.out.extend(shown.iter().take(count));
                    way.dealt_with += count;
                }
                Ok(Step::Read) => {
                    assert!(shown.is_empty(), "more is asked for with bytes at hand");
                    return;
                }
                Ok(Step::Take(count)) => {
                    assert!((1..=shown.len()).contains(&count));
                    assert_eq!(self.protocol, Protocol::Imap);
                    way.dealt_with += count;
                }
                Ok(Step::Wait) => return,
                Ok(Step::Write(bytes)) => {
                    assert!(!bytes.is_empty());
                    way.out.extend(bytes);
                }
                Err(lost) => self.lost = Some(lost),
            }
        }
        unreachable!("a framer never rests");
    }

    fn is_over(&self) -> bool {
        self.events.iter().any(|(event, _)| *event == Event::Farewell)
    }

    /// All that can be seen from outside.
    fn seen(&self) -> impl PartialEq + std::fmt::Debug + use<'_> {
        // Where framing is lost, how many bytes went on before is left to the driver.
        let whole = self.lost.is_none().then(|| {
            let held = self.up.sent.get(self.up.dealt_with..);
            (&self.up.out, &self.down.out, held, &self.events)
        });
        (self.lost, self.framer.in_flight(), self.framer.at_boundary(), whole)
    }

    /// Where nobody speaks of what we refuse, what comes out is what was sent, without loss or addition.
    fn changed_nothing_needlessly(&self) {
        let refused = [&b"COMPRESS"[..], b"UNAUTHENTICATE"];
        let speaks = |way: &Way| {
            let is = |word: &[u8]| {
                way.sent.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
            };
            refused.into_iter().any(is)
        };
        if speaks(&self.up) || speaks(&self.down) {
            return;
        }
        assert!(self.up.sent.starts_with(&self.up.out));
        // A goodbye stands where the back end's bytes end.
        assert!(self.goodbye || self.down.sent.starts_with(&self.down.out));
    }
}
