//! Playing a dialogue over one connection, in either role.
//! Nothing here accepts or connects.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use rustls::ServerConfig;

use super::script::{Act, Bytes, Step, Variables};
use super::{Role, ScriptError};
use crate::wire::{Trust, Wire};

/// How long `SILENT` waits for the other side to give up.
const SILENCE: Duration = Duration::from_secs(60);

/// What TLS needs in each role.
pub(super) enum Tls {
    Server(Arc<ServerConfig>),
    Client { name: String, trust: Trust },
}

/// How far a dialogue got.
#[derive(Debug)]
pub(super) enum Outcome {
    Played,
    /// The other side closed before it sent anything, as a probe does.
    Untouched,
    Failed(ScriptError),
}

/// Why a step did not come to its end.
enum Failure {
    Untouched,
    Differs(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Differs(error.to_string())
    }
}

struct Player<'a> {
    tls: &'a Tls,
    heard: bool,
    variables: Variables,
    /// Lines of ours that leave in one write.
    unsent: Vec<u8>,
}

/// Plays all steps over `wire`.
pub(super) fn play(mut wire: Wire, tls: &Tls, steps: &[Step]) -> Outcome {
    let variables = Variables::new();
    let mut player = Player { tls, heard: false, variables, unsent: Vec::new() };
    for step in steps {
        wire = match player.step(wire, &step.act) {
            Ok(Some(wire)) => wire,
            Ok(None) => return Outcome::Played,
            Err(Failure::Untouched) => return Outcome::Untouched,
            Err(Failure::Differs(what)) => {
                return Outcome::Failed(ScriptError::new(step.line, what));
            }
        };
    }
    let last = steps.last().map_or(0, |step| step.line);
    if let Err(error) = wire.send(&player.unsent) {
        return Outcome::Failed(ScriptError::new(last, error.to_string()));
    }
    // All is said; the other side may have closed first.
    let _ = wire.close_sending();
    Outcome::Played
}

impl Player<'_> {
    fn role(&self) -> Role {
        match self.tls {
            Tls::Server(_) => Role::Server,
            Tls::Client { .. } => Role::Client,
        }
    }

    /// Plays one step; without a connection to go on with, the dialogue is over.
    fn step(&mut self, mut wire: Wire, act: &Act) -> Result<Option<Wire>, Failure> {
        if let Act::Say(role, bytes) = act
            && *role == self.role()
        {
            self.unsent.extend(bytes.filled_in(&self.variables));
            return Ok(Some(wire));
        }
        wire.send(&std::mem::take(&mut self.unsent))?;
        match act {
            Act::Say(_, bytes) => self.expect(&mut wire, bytes)?,
            Act::Fit(role, _) if *role == self.role() => {
                return Err(Failure::Differs("a pattern cannot be sent".to_owned()));
            }
            Act::Fit(_, regex) => self.expect_fit(&mut wire, regex)?,
            Act::Tls => return self.start_tls(wire).map(Some),
            Act::Close => {
                wire.close_sending()?;
                return Ok(None);
            }
            Act::Reset => {
                wire.reset()?;
                return Ok(None);
            }
            Act::End => {
                let more = read_until_closed(&mut wire)?;
                if !more.is_empty() {
                    return Err(differs("the end of the connection", &more));
                }
            }
            Act::Silent => {
                wire.set_deadline(SILENCE);
                read_until_closed(&mut wire)?;
                return Ok(None);
            }
        }
        Ok(Some(wire))
    }

    fn start_tls(&mut self, wire: Wire) -> Result<Wire, Failure> {
        let wire = match self.tls {
            Tls::Server(config) => wire.into_tls_server(Arc::clone(config)),
            Tls::Client { name, trust } => wire.into_tls_client(name, trust),
        };
        let wire = wire.map_err(|error| Failure::Differs(error.to_string()))?;
        self.heard = true;
        Ok(wire)
    }

    fn expect(&mut self, wire: &mut Wire, bytes: &Bytes) -> Result<(), Failure> {
        let wanted = bytes.filled_in(&self.variables);
        let got = if bytes.is_line { self.line(wire)? } else { wire.read_exact(wanted.len())? };
        self.heard = true;
        if got == wanted { Ok(()) } else { Err(differs(&shown(&wanted), &got)) }
    }

    fn expect_fit(&mut self, wire: &mut Wire, regex: &Regex) -> Result<(), Failure> {
        let got = self.line(wire)?;
        let line = got.strip_suffix(b"\r\n").unwrap_or(&got);
        let Some(groups) = regex.captures(line) else {
            return Err(differs(&format!("a line like {regex}"), &got));
        };
        for name in regex.capture_names().flatten() {
            if let Some(group) = groups.name(name) {
                self.variables.insert(name.to_owned(), group.as_bytes().to_vec());
            }
        }
        Ok(())
    }

    fn line(&mut self, wire: &mut Wire) -> Result<Vec<u8>, Failure> {
        match wire.read_line() {
            Ok(Some(line)) => {
                self.heard = true;
                Ok(line)
            }
            Ok(None) if !self.heard => Err(Failure::Untouched),
            Ok(None) => Err(Failure::Differs("expected a line, but the peer closed".to_owned())),
            Err(error) if !self.heard && error.kind() == ErrorKind::ConnectionReset => {
                Err(Failure::Untouched)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A reset is an end too.
fn read_until_closed(wire: &mut Wire) -> Result<Vec<u8>, Failure> {
    match wire.read_to_end() {
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
        {
            Ok(Vec::new())
        }
        other => Ok(other?),
    }
}

fn differs(wanted: &str, got: &[u8]) -> Failure {
    Failure::Differs(format!("expected {wanted}, got {}", shown(got)))
}

fn shown(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
