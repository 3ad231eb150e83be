//! Clients for tests: one that plays a dialogue, one that is led step by step.
//! Nothing here listens.

use std::io::{self, ErrorKind};
use std::net::ToSocketAddrs;
use std::time::Duration;

use super::ScriptError;
use super::player::{Outcome, Tls, play};
use super::script::{Step, parse};
use crate::wire::{TlsError, Trust, Wire};

/// A client that plays a dialogue with a server.
#[derive(Debug)]
pub struct ScriptedClient {
    steps: Vec<Step>,
    name: String,
    trust: Trust,
}

impl ScriptedClient {
    /// A client for this dialogue; under TLS it believes any certificate.
    ///
    /// # Errors
    /// When the dialogue has a line that is no step.
    pub fn new(dialogue: &str) -> Result<Self, ScriptError> {
        let (name, trust) = ("localhost".to_owned(), Trust::Anything);
        Ok(Self { steps: parse(dialogue)?, name, trust })
    }

    /// Under TLS, asks for this server name and believes only as told.
    #[must_use]
    pub fn trusting(mut self, name: &str, trust: Trust) -> Self {
        self.name = name.to_owned();
        self.trust = trust;
        self
    }

    /// Connects and plays the dialogue to its end.
    ///
    /// # Errors
    /// Where the server leaves the dialogue.
    pub fn play(&self, address: impl ToSocketAddrs) -> Result<(), ScriptError> {
        let wire =
            Wire::connect(address).map_err(|error| ScriptError::new(0, error.to_string()))?;
        let tls = Tls::Client { name: self.name.clone(), trust: self.trust.clone() };
        match play(wire, &tls, &self.steps) {
            Outcome::Played => Ok(()),
            Outcome::Untouched => {
                Err(ScriptError::new(1, "the server closed before it sent anything"))
            }
            Outcome::Failed(error) => Err(error),
        }
    }

    /// As [`ScriptedClient::new`] and [`ScriptedClient::play`] at once.
    ///
    /// # Errors
    /// As both.
    pub fn run(address: impl ToSocketAddrs, dialogue: &str) -> Result<(), ScriptError> {
        Self::new(dialogue)?.play(address)
    }
}

/// A connection that a test leads step by step; every read has a deadline of five seconds unless changed.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

impl Client {
    /// Connects in clear.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self { wire: Wire::connect(address)? })
    }

    /// Connects under TLS, asking for the server `name`.
    ///
    /// # Errors
    /// When there is no connection or the handshake fails.
    pub fn connect_tls(
        address: impl ToSocketAddrs,
        name: &str,
        trust: &Trust,
    ) -> Result<Self, TlsError> {
        Self::connect(address)?.start_tls(name, trust)
    }

    /// Goes on under TLS.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn start_tls(self, name: &str, trust: &Trust) -> Result<Self, TlsError> {
        Ok(Self { wire: self.wire.into_tls_client(name, trust)? })
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.send(bytes.as_ref())
    }

    /// Reads as many bytes as `wanted` has, which must be these.
    ///
    /// # Errors
    /// `InvalidData` with both when they are others; else as [`Wire::read_exact`].
    pub fn expect(&mut self, wanted: impl AsRef<[u8]>) -> io::Result<()> {
        let wanted = wanted.as_ref();
        let got = self.wire.read_exact(wanted.len())?;
        if got == wanted {
            return Ok(());
        }
        let what = format!("expected {}, got {}", wanted.escape_ascii(), got.escape_ascii());
        Err(io::Error::new(ErrorKind::InvalidData, what))
    }

    /// One line as text, without its line end.
    ///
    /// # Errors
    /// As [`Wire::read_line`], and `UnexpectedEof` when the peer has closed.
    pub fn read_line(&mut self) -> io::Result<String> {
        let line = self.wire.read_line()?.ok_or(ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    /// All lines up to and with the first that begins with `start`, without their line ends.
    ///
    /// # Errors
    /// As [`Client::read_line`].
    pub fn read_until_line_starting(&mut self, start: &str) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.read_line()?;
            let found = line.starts_with(start);
            lines.push(line);
            if found {
                return Ok(lines);
            }
        }
    }

    /// Sends one command line and reads until a line that begins with `end`.
    ///
    /// # Errors
    /// As [`Client::read_line`].
    pub fn ask(&mut self, line: &str, end: &str) -> io::Result<Vec<String>> {
        self.send(format!("{line}\r\n"))?;
        self.read_until_line_starting(end)
    }

    /// All bytes until the peer closes.
    ///
    /// # Errors
    /// As [`Wire::read_to_end`].
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        self.wire.read_to_end()
    }

    /// Sets how long each later read waits.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.wire.set_deadline(deadline);
    }

    /// The connection below.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Closes with a TCP reset.
    ///
    /// # Errors
    /// When the socket option is refused.
    pub fn reset(self) -> io::Result<()> {
        self.wire.reset()
    }
}
