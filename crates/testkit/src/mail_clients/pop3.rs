//! A POP3 client (RFC 1939).
//! Nothing here deletes mail.

use std::net::ToSocketAddrs;

use super::{ClientError, Security};
use crate::wire::Wire;

/// A connection to a POP3 server.
#[derive(Debug)]
pub struct Pop3Client {
    wire: Wire,
    greeting: String,
}

impl Pop3Client {
    /// Connects and reads the greeting; the server's certificate must name `localhost` unless anything is believed.
    ///
    /// # Errors
    /// When there is no greeting, or no TLS where it is wanted.
    pub fn connect(address: impl ToSocketAddrs, security: &Security) -> Result<Self, ClientError> {
        let mut wire = Wire::connect(address)?;
        if let Security::Tls(trust) = security {
            wire = wire.into_tls_client("localhost", trust)?;
        }
        let greeting = super::text_line(&mut wire)?;
        if !greeting.starts_with("+OK") {
            return Err(ClientError::Refused(greeting));
        }
        let mut client = Self { wire, greeting };
        if let Security::StartTls(trust) = security {
            client.command("STLS")?;
            client.wire = client.wire.into_tls_client("localhost", trust)?;
        }
        Ok(client)
    }

    /// The server's first line.
    #[must_use]
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// The connection, for tests that speak by themselves.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Sends one command and reads the one line of its answer, `+OK` and what follows.
    ///
    /// # Errors
    /// `Refused` with a `-ERR` line.
    pub fn command(&mut self, command: &str) -> Result<String, ClientError> {
        self.wire.send(format!("{command}\r\n").as_bytes())?;
        let line = super::text_line(&mut self.wire)?;
        if line.starts_with("+OK") { Ok(line) } else { Err(ClientError::Refused(line)) }
    }

    /// As [`Pop3Client::command`], for answers of many lines; the lines joined, dots unstuffed.
    ///
    /// # Errors
    /// `Refused` with a `-ERR` line.
    pub fn long_command(&mut self, command: &str) -> Result<Vec<u8>, ClientError> {
        self.command(command)?;
        let mut all = Vec::new();
        loop {
            let line = self.wire.read_line()?.ok_or(ClientError::Closed)?;
            if line == b".\r\n" {
                return Ok(all);
            }
            all.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    /// `USER` and `PASS`.
    ///
    /// # Errors
    /// `Refused` with the server's words.
    pub fn login(&mut self, user: &str, password: &str) -> Result<String, ClientError> {
        self.command(&format!("USER {user}"))?;
        self.command(&format!("PASS {password}"))
    }

    /// `STAT`: the number of messages.
    ///
    /// # Errors
    /// `Refused` with the server's words.
    pub fn count(&mut self) -> Result<u32, ClientError> {
        let line = self.command("STAT")?;
        let count = line.split(' ').nth(1).and_then(|number| number.parse().ok());
        count.ok_or(ClientError::Unexpected(line))
    }

    /// `RETR`: the whole message.
    ///
    /// # Errors
    /// `Refused` with the server's words.
    pub fn retrieve(&mut self, number: u32) -> Result<Vec<u8>, ClientError> {
        self.long_command(&format!("RETR {number}"))
    }

    /// `QUIT`, and waits until the server closes.
    ///
    /// # Errors
    /// When the server does not close.
    pub fn quit(mut self) -> Result<(), ClientError> {
        self.command("QUIT")?;
        self.wire.read_to_end()?;
        Ok(())
    }
}
