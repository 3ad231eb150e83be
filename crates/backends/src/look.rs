//! Looking at a back end as a login finds it: connect, TLS, greeting, capabilities.
//!
//! Nothing here logs in or holds a secret.

use std::net::SocketAddr;

use model::{BackendName, Protocol, Target};
use proto::{
    Machine, Step,
    back::Answer,
    front::Said,
    probe::{Event, Probe},
};

use crate::{Backend, Backends, Failure, enter::Trouble, identity};

/// The longest part of a greeting that is kept, in bytes: the length of a line (RFC 2449 section 4),
/// to which servers that tell their capabilities in it do not keep.
const GREETING: usize = 512;

/// What was seen of a back end.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The address that accepted the connection.
    pub address: SocketAddr,
    /// The version of TLS, `1.3` or `1.2`; none without TLS.
    pub tls: Option<&'static str>,
    /// The first line it said, or the beginning of a very long one.
    pub greeting: String,
    /// What it can do before login, under TLS where that is used.
    pub capabilities: Vec<String>,
}

impl Backends {
    /// Looks at a back end without logging in; nothing if there is none of this name.
    ///
    /// # Errors
    /// [`Failure`] says how far it went and what was in the way.
    pub async fn look(
        &self,
        name: &BackendName,
        protocol: Protocol,
    ) -> Option<Result<Seen, Failure>> {
        let backend = self.table.get(name)?;
        let seen = self.look_at(backend, protocol).await;
        Some(seen.map_err(|(reason, detail)| Failure {
            backend: Some(name.clone()),
            reason,
            detail,
            said: Said::default(),
        }))
    }

    pub(crate) async fn look_at(
        &self,
        backend: &Backend,
        protocol: Protocol,
    ) -> Result<Seen, Trouble> {
        let target = Target::backend(backend.settings.name.clone());
        let header = identity::header_of_a_look(backend.settings.identity.of(protocol));
        let mut visit = self.reach(backend, &target, protocol, header).await?;
        let mut machine = Overheard::new(Probe::new(protocol, backend.starttls()));
        loop {
            match visit.converse(&mut machine).await? {
                Event::Capabilities(capabilities) => {
                    let (address, tls) = visit.seen();
                    return Ok(Seen { address, tls, greeting: machine.first_line(), capabilities });
                }
                Event::Failed { reason, detail } => return Err((reason, detail)),
                Event::StartTls => {
                    visit.start_tls(backend).await?;
                    machine.answer(Answer::TlsStarted);
                }
            }
        }
    }
}

/// A machine whose peer's first line is kept.
struct Overheard {
    machine: Probe,
    first: Vec<u8>,
}

impl Overheard {
    fn new(machine: Probe) -> Self {
        Self { machine, first: Vec::new() }
    }

    fn first_line(&self) -> String {
        let line = self.first.split(|byte| *byte == b'\n').next().unwrap_or_default();
        String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
    }
}

impl Machine for Overheard {
    type Event = Event;
    type Answer = Answer;

    fn receive(&mut self, bytes: &[u8]) {
        let room = GREETING.saturating_sub(self.first.len());
        self.first.extend(bytes.iter().take(room));
        self.machine.receive(bytes);
    }

    fn answer(&mut self, answer: Answer) {
        self.machine.answer(answer);
    }

    fn step(&mut self) -> Step<Event> {
        self.machine.step()
    }
}

#[cfg(test)]
mod tests {
    use proto::back::{Settings, Tls};

    use super::*;

    #[test]
    fn of_what_a_peer_says_the_first_line_is_kept() {
        let mut machine = Overheard::new(Probe::new(Protocol::Imap, Settings::new(Tls::AsItIs)));
        machine.receive(b"* OK [CAPABILITY IMAP4rev1] he");
        machine.receive(b"llo\r\n* CAPABILITY x\r\n");
        assert_eq!(machine.first_line(), "* OK [CAPABILITY IMAP4rev1] hello");
        machine.receive(&[b'x'; 4 * GREETING]);
        assert_eq!(machine.first.len(), GREETING);
    }
}
