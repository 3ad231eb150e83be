//! A relay without sockets: shows a framer what both sides send and does what it says.

use model::{Protocol, Reason};
use proto::{
    farewell,
    relay::{Changed, Event, Framer, Lost, Step},
};

/// More steps than any stream of a test can need.
const MOST_STEPS: usize = 100_000;

/// A session after login.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) framer: Framer,
    /// Read from the client and kept back.
    pub(crate) from_client: Vec<u8>,
    from_backend: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
    pub(crate) to_backend: Vec<u8>,
    /// What was told, and how many bytes the client had got by then.
    pub(crate) events: Vec<(Event, usize)>,
    pub(crate) lost: Option<Lost>,
}

impl Session {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            framer: Framer::new(protocol),
            from_client: Vec::new(),
            from_backend: Vec::new(),
            to_client: Vec::new(),
            to_backend: Vec::new(),
            events: Vec::new(),
            lost: None,
        }
    }

    /// The client sends this; says what reaches the back end.
    pub(crate) fn client(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let start = self.to_backend.len();
        self.from_client.extend_from_slice(bytes.as_ref());
        self.move_up();
        self.move_down();
        String::from_utf8_lossy(&self.to_backend[start..]).into_owned()
    }

    /// The back end sends this; says what reaches the client.
    pub(crate) fn backend(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let start = self.to_client.len();
        self.backend_sends(bytes.as_ref());
        self.move_up();
        self.move_down();
        String::from_utf8_lossy(&self.to_client[start..]).into_owned()
    }

    /// The back end sends this, and the client's turn has not come.
    pub(crate) fn backend_sends(&mut self, bytes: &[u8]) {
        self.from_backend.extend_from_slice(bytes);
        self.move_down();
    }

    /// The client sends this; it must all reach the back end at once.
    pub(crate) fn passes_up(&mut self, bytes: &str) {
        assert_eq!(self.client(bytes), bytes);
    }

    /// The back end sends this; it must all reach the client at once.
    pub(crate) fn passes_down(&mut self, bytes: &str) {
        assert_eq!(self.backend(bytes), bytes);
    }

    /// The client sends this and gets this answer; nothing reaches the back end.
    pub(crate) fn answers(&mut self, bytes: &str, answer: &str) {
        let start = self.to_client.len();
        assert_eq!(self.client(bytes), "");
        assert_eq!(String::from_utf8_lossy(&self.to_client[start..]), answer);
    }

    /// What was said to have changed since the last time.
    pub(crate) fn changes(&mut self) -> Vec<Changed> {
        let events = std::mem::take(&mut self.events).into_iter();
        let changes = events.filter_map(|(event, _)| match event {
            Event::Changed(changed) => Some(changed),
            Event::Farewell => None,
        });
        changes.collect()
    }

    pub(crate) fn at_boundary(&self) -> bool {
        self.framer.at_boundary()
    }

    pub(crate) fn in_flight(&self) -> bool {
        self.framer.in_flight()
    }

    /// Whether a response may begin here: whether a goodbye would be said at once.
    pub(crate) fn between_responses(&self) -> bool {
        let mut framer = self.framer.clone();
        framer.say_goodbye(Reason::Idle);
        loop {
            match framer.down(&[]) {
                Ok(Step::Write(words))
                    if [Protocol::Imap, Protocol::Pop3]
                        .iter()
                        .any(|protocol| farewell(*protocol, Reason::Idle) == words) =>
                {
                    return true;
                }
                Ok(Step::Write(_) | Step::Event(_)) => {}
                _ => return false,
            }
        }
    }

    pub(crate) fn move_up(&mut self) {
        for _ in 0..MOST_STEPS {
            if self.lost.is_some() {
                return;
            }
            let step = self.framer.up(&self.from_client);
            if !self.act(step, true) {
                return;
            }
        }
        panic!("the client's side never rests");
    }

    pub(crate) fn move_down(&mut self) {
        for _ in 0..MOST_STEPS {
            if self.lost.is_some() {
                return;
            }
            let step = self.framer.down(&self.from_backend);
            if !self.act(step, false) {
                return;
            }
        }
        panic!("the back end's side never rests");
    }

    /// Does what a step says; says whether to ask again.
    fn act(&mut self, step: Result<Step, Lost>, up: bool) -> bool {
        let (from, to) = if up {
            (&mut self.from_client, &mut self.to_backend)
        } else {
            (&mut self.from_backend, &mut self.to_client)
        };
        match step {
            Ok(Step::Pass(count)) => {
                assert!(count > 0);
                to.extend(from.drain(..count));
            }
            Ok(Step::Take(count)) => {
                assert!(count > 0);
                from.drain(..count);
            }
            Ok(Step::Write(bytes)) => {
                assert!(!bytes.is_empty());
                to.extend(bytes);
            }
            Ok(Step::Event(event)) => self.events.push((event, self.to_client.len())),
            Ok(Step::Read) => {
                assert!(from.is_empty(), "asked for more with bytes at hand");
                return false;
            }
            Ok(Step::Wait) => return false,
            Err(lost) => self.lost = Some(lost),
        }
        true
    }
}
