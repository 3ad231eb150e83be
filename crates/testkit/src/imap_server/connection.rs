//! The bytes of one connection, counted, and cut where a test wants it.
//! Nothing here knows IMAP.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;

use super::{Cut, Traffic, lock};
use crate::wire::Wire;

/// How long a silent client is borne with.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection; after an error it is of no use.
pub(super) struct Connection {
    /// Missing only while TLS is being made.
    wire: Option<Wire>,
    unread: Vec<u8>,
    traffic: Arc<Mutex<Traffic>>,
    cut: Option<Cut>,
}

impl Connection {
    pub(super) fn new(
        tcp: TcpStream,
        traffic: Arc<Mutex<Traffic>>,
        cut: Option<Cut>,
    ) -> io::Result<Self> {
        let mut wire = Wire::over(tcp)?;
        wire.set_deadline(PATIENCE);
        Ok(Self { wire: Some(wire), unread: Vec::new(), traffic, cut })
    }

    pub(super) fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let wire = self.wire.take().ok_or(ErrorKind::NotConnected)?;
        let mut wire = wire.into_tls_server(config)?;
        wire.set_deadline(PATIENCE);
        self.wire = Some(wire);
        Ok(())
    }

    /// Sends, as far as the cut allows.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wire = self.wire.as_mut().ok_or(ErrorKind::NotConnected)?;
        let mut traffic = lock(&self.traffic);
        let left = match self.cut {
            Some(Cut::AfterSent(most)) => most.saturating_sub(traffic.sent),
            _ => usize::MAX,
        };
        let sent = bytes.get(..left).unwrap_or(bytes);
        traffic.sent += sent.len();
        drop(traffic);
        wire.send(sent)?;
        if sent.len() == left {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Reads a line without its end.
    pub(super) fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            self.fill()?;
        }
    }

    /// Reads so many bytes.
    pub(super) fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.fill()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Whether a line or a part of one has come within this time.
    pub(super) fn hears_within(&mut self, time: Duration) -> io::Result<bool> {
        if !self.unread.is_empty() {
            return Ok(true);
        }
        self.wire.as_mut().ok_or(ErrorKind::NotConnected)?.set_deadline(time);
        let filled = self.fill();
        self.wire.as_mut().ok_or(ErrorKind::NotConnected)?.set_deadline(PATIENCE);
        match filled {
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Reads until the client is gone, and heeds nothing.
    pub(super) fn ignore(&mut self) -> io::Result<()> {
        loop {
            self.unread.clear();
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let received = lock(&self.traffic).received;
        let left = match self.cut {
            Some(Cut::AfterReceived(most)) => most.saturating_sub(received),
            _ => usize::MAX,
        };
        if left == 0 {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let mut bytes = self.wire.as_mut().ok_or(ErrorKind::NotConnected)?.read_some()?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(left);
        lock(&self.traffic).received += bytes.len();
        self.unread.append(&mut bytes);
        Ok(())
    }
}
