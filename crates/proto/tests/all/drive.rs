//! Drives any machine without IO and writes down what it says and asks.

use std::collections::VecDeque;

use model::Proof;
use proto::identity::{Claims, Transport};
use proto::{Machine, Step, back, front, probe};

/// What a machine did, in order. What was written between two events is one entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Did {
    Asked(String),
    Wrote(Vec<u8>),
}

/// An event as a test sees it: one line of text, and whether it awaits an answer or ends all.
pub(crate) trait Shown {
    fn shown(&self) -> String;
    fn awaits_answer(&self) -> bool;
    fn ends(&self) -> bool;
}

impl Shown for front::Event {
    fn shown(&self) -> String {
        match self {
            Self::Closed(reason) => format!("closed {reason}"),
            Self::Identity(claims) => shown_claims(claims),
            Self::Login(credentials) => {
                let proof = match &credentials.proof {
                    Proof::Certificate => "certificate".to_owned(),
                    Proof::Password(secret) => format!("\"{}\"", secret.reveal().escape_ascii()),
                    Proof::Scram(_) => "proven".to_owned(),
                    Proof::Token(token) => {
                        format!("token \"{}\"", token.secret().reveal().escape_ascii())
                    }
                };
                format!("login {} {} {proof}", credentials.mechanism.word(), credentials.user)
            }
            Self::Refused(reason) => format!("refused {reason}"),
            Self::StartTls => "starttls".to_owned(),
            Self::Unproven { user, reason } => format!("unproven {user} {reason}"),
            Self::Verifier(user) => format!("verifier {user}"),
        }
    }

    fn awaits_answer(&self) -> bool {
        matches!(self, Self::Login(_) | Self::StartTls | Self::Unproven { .. } | Self::Verifier(_))
    }

    fn ends(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl Shown for back::Event {
    fn shown(&self) -> String {
        match self {
            Self::Failed { reason, detail, said } => match &said.challenge {
                Some(challenge) => {
                    format!("failed {reason} challenge {}: {detail}", challenge.as_str())
                }
                None => format!("failed {reason}: {detail}"),
            },
            Self::IdentityRefused { detail } => format!("identity-refused: {detail}"),
            Self::LoggedIn(welcome) => {
                let word = if welcome.unauthenticate { "logged-in (framed)" } else { "logged-in" };
                match &welcome.capabilities {
                    Some(list) => format!("{word} {}", list.join(" ")),
                    None => word.to_owned(),
                }
            }
            Self::StartTls => "starttls".to_owned(),
        }
    }

    fn awaits_answer(&self) -> bool {
        matches!(self, Self::StartTls)
    }

    fn ends(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::LoggedIn(_))
    }
}

fn shown_claims(claims: &Claims) -> String {
    let mut shown = "identity".to_owned();
    let mut add = |name: &str, value: Option<String>| {
        shown.extend(value.map(|value| format!(" {name}={value}")));
    };
    add("client", claims.client.map(|address| address.to_string()));
    add("connected", claims.connected.map(|address| address.to_string()));
    add("session", claims.session.as_ref().map(|session| session.as_str().to_owned()));
    add("ttl", claims.ttl.map(|ttl| ttl.to_string()));
    add(
        "transport",
        claims.transport.map(|transport| match transport {
            Transport::Insecure => "insecure".to_owned(),
            Transport::Tls => "TLS".to_owned(),
        }),
    );
    add("name", claims.server_name.as_ref().map(ToString::to_string));
    for (name, value) in &claims.forward {
        add(name, Some(value.clone()));
    }
    shown
}

impl Shown for probe::Event {
    fn shown(&self) -> String {
        match self {
            Self::Capabilities(list) if list.is_empty() => "capabilities".to_owned(),
            Self::Capabilities(list) => format!("capabilities {}", list.join(", ")),
            Self::Failed { reason, detail } => format!("failed {reason}: {detail}"),
            Self::StartTls => "starttls".to_owned(),
        }
    }

    fn awaits_answer(&self) -> bool {
        matches!(self, Self::StartTls)
    }

    fn ends(&self) -> bool {
        !self.awaits_answer()
    }
}

/// A machine, what it did so far, and the answers that its owner will give.
pub(crate) struct Driver<M: Machine> {
    pub(crate) machine: M,
    pub(crate) did: Vec<Did>,
    pub(crate) answers: VecDeque<M::Answer>,
    /// Whether it said that it is done.
    pub(crate) ended: bool,
    /// What was to be fed after that.
    pub(crate) unfed: Vec<u8>,
}

impl<M: Machine> Driver<M>
where
    M::Event: Shown,
{
    pub(crate) fn new(machine: M, answers: impl IntoIterator<Item = M::Answer>) -> Self {
        let answers = answers.into_iter().collect();
        Self { machine, did: Vec::new(), answers, ended: false, unfed: Vec::new() }
    }

    /// Steps until the machine wants bytes, has ended, or awaits an answer that nobody has.
    pub(crate) fn run(&mut self) {
        while !self.ended {
            match self.machine.step() {
                Step::Read => return,
                Step::Write(bytes) => self.wrote(bytes),
                Step::Event(event) => {
                    self.did.push(Did::Asked(event.shown()));
                    self.ended = event.ends();
                    if event.awaits_answer() {
                        let Some(answer) = self.answers.pop_front() else {
                            self.ended = true;
                            return;
                        };
                        self.machine.answer(answer);
                    }
                }
            }
        }
    }

    /// Feeds bytes in pieces of at most `size`, each when the machine wants it, until it has ended.
    pub(crate) fn feed(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size.max(1)) {
            self.run();
            if self.ended {
                self.unfed.extend(piece);
            } else {
                self.machine.receive(piece);
            }
        }
        self.run();
    }

    fn wrote(&mut self, bytes: Vec<u8>) {
        assert!(!bytes.is_empty(), "a machine wants to write nothing");
        match self.did.last_mut() {
            Some(Did::Wrote(before)) => before.extend(bytes),
            _ => self.did.push(Did::Wrote(bytes)),
        }
    }
}
