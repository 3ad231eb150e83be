//! An IMAP client (RFC 3501) that sends one command at a time.
//! Nothing here keeps state of a mailbox.

use std::net::ToSocketAddrs;

use super::{ClientError, Security, header};
use crate::wire::Wire;

/// What a server sent for one command.
#[derive(Debug, Clone)]
pub struct ImapAnswer {
    /// Untagged responses, without their last line end; literals stand inside them as they came.
    pub untagged: Vec<Vec<u8>>,
    /// The tagged line after the tag: `OK ...`, `NO ...` or `BAD ...`.
    pub status: String,
}

impl ImapAnswer {
    /// Whether the command was done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status.starts_with("OK")
    }

    fn or_refused(self) -> Result<Self, ClientError> {
        if self.is_ok() { Ok(self) } else { Err(ClientError::Refused(self.status)) }
    }
}

/// A connection to an IMAP server.
#[derive(Debug)]
pub struct ImapClient {
    wire: Wire,
    greeting: String,
    commands: u32,
}

impl ImapClient {
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
        let mut client = Self { wire, greeting, commands: 0 };
        if !client.greeting.starts_with("* OK") && !client.greeting.starts_with("* PREAUTH") {
            return Err(ClientError::Refused(client.greeting));
        }
        if let Security::StartTls(trust) = security {
            client.command("STARTTLS")?.or_refused()?;
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

    /// Sends one command (without tag and line end) and reads to its tagged line.
    ///
    /// # Errors
    /// When the connection ends or a deadline passes; a `NO` is no error here.
    pub fn command(&mut self, command: &str) -> Result<ImapAnswer, ClientError> {
        let tag = self.start(command)?;
        self.finish(&tag)
    }

    fn start(&mut self, command: &str) -> Result<String, ClientError> {
        self.commands += 1;
        let tag = format!("a{}", self.commands);
        self.wire.send(format!("{tag} {command}\r\n").as_bytes())?;
        Ok(tag)
    }

    fn finish(&mut self, tag: &str) -> Result<ImapAnswer, ClientError> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            let text = String::from_utf8_lossy(&response);
            if let Some(status) = text.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                return Ok(ImapAnswer { untagged, status: status.to_owned() });
            }
            untagged.push(response);
        }
    }

    /// One response with all its literals.
    fn response(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut response = Vec::new();
        loop {
            let line = self.wire.read_line()?.ok_or(ClientError::Closed)?;
            let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
            response.extend_from_slice(line);
            let Some(length) = literal_length(line) else { return Ok(response) };
            response.extend_from_slice(b"\r\n");
            response.extend(self.wire.read_exact(length)?);
        }
    }

    /// `LOGIN`, with quoted strings, or literals where a string cannot be quoted.
    ///
    /// # Errors
    /// `Refused` with the server's words.
    pub fn login(&mut self, user: &str, password: &str) -> Result<ImapAnswer, ClientError> {
        if [user, password].iter().all(|text| can_be_quoted(text)) {
            let command = format!("LOGIN {} {}", quoted(user), quoted(password));
            return self.command(&command)?.or_refused();
        }
        let tag = self.start(&format!("LOGIN {{{}}}", user.len()))?;
        self.go_ahead()?;
        self.wire.send(format!("{user} {{{}}}\r\n", password.len()).as_bytes())?;
        self.go_ahead()?;
        self.wire.send(format!("{password}\r\n").as_bytes())?;
        self.finish(&tag)?.or_refused()
    }

    /// Waits for a continuation.
    fn go_ahead(&mut self) -> Result<(), ClientError> {
        let line = super::text_line(&mut self.wire)?;
        if line.starts_with('+') { Ok(()) } else { Err(ClientError::Refused(line)) }
    }

    /// `SELECT`; the number of messages there.
    ///
    /// # Errors
    /// `Refused` with the server's words.
    pub fn select(&mut self, mailbox: &str) -> Result<u32, ClientError> {
        let answer = self.command(&format!("SELECT {}", quoted(mailbox)))?.or_refused()?;
        let exists = answer.untagged.iter().find_map(|response| {
            let text = String::from_utf8_lossy(response);
            text.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok()
        });
        exists.ok_or_else(|| ClientError::Unexpected("SELECT without EXISTS".to_owned()))
    }

    /// `APPEND`.
    ///
    /// # Errors
    /// `Refused` with the server's words.
    pub fn append(&mut self, mailbox: &str, message: &[u8]) -> Result<(), ClientError> {
        self.append_with(mailbox, "", message)
    }

    /// The same with what stands before the message: flags in parentheses, a date in quotes, both or neither,
    /// with a space behind each.
    ///
    /// # Errors
    /// `Refused` with the server's words.
    pub fn append_with(
        &mut self,
        mailbox: &str,
        flags_and_date: &str,
        message: &[u8],
    ) -> Result<(), ClientError> {
        let length = message.len();
        let command = format!("APPEND {} {flags_and_date}{{{length}}}", quoted(mailbox));
        let tag = self.start(&command)?;
        self.go_ahead()?;
        self.wire.send(message)?;
        self.wire.send(b"\r\n")?;
        self.finish(&tag)?.or_refused().map(|_| ())
    }

    /// The whole message with this number in the selected mailbox, without setting `\Seen`.
    ///
    /// # Errors
    /// `Refused` with the server's words; `Unexpected` when there is no such message.
    pub fn fetch(&mut self, number: u32) -> Result<Vec<u8>, ClientError> {
        self.fetch_part(number, "")
    }

    /// The subject of the newest message of the selected mailbox, which has `exists` messages.
    ///
    /// # Errors
    /// As [`ImapClient::fetch`].
    pub fn subject(&mut self, exists: u32) -> Result<String, ClientError> {
        let part = self.fetch_part(exists, "HEADER.FIELDS (SUBJECT)")?;
        header(&part, "Subject")
            .ok_or_else(|| ClientError::Unexpected("a message without subject".to_owned()))
    }

    fn fetch_part(&mut self, number: u32, part: &str) -> Result<Vec<u8>, ClientError> {
        let answer = self.command(&format!("FETCH {number} BODY.PEEK[{part}]"))?.or_refused()?;
        let literal = answer.untagged.iter().find_map(|response| first_literal(response));
        literal.ok_or_else(|| ClientError::Unexpected(format!("no message {number}")))
    }

    /// `LOGOUT`, and waits until the server closes.
    ///
    /// # Errors
    /// When the server does not close.
    pub fn logout(mut self) -> Result<(), ClientError> {
        self.command("LOGOUT")?.or_refused()?;
        self.wire.read_to_end()?;
        Ok(())
    }
}

fn can_be_quoted(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// A quoted string (RFC 3501, section 4.3).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The length announced at the end of a line: `{123}`.
fn literal_length(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let from = inner.iter().rposition(|byte| *byte == b'{')? + 1;
    std::str::from_utf8(inner.get(from..)?).ok()?.parse().ok()
}

fn first_literal(response: &[u8]) -> Option<Vec<u8>> {
    let end_of_line = response.windows(2).position(|pair| pair == b"\r\n")?;
    let length = literal_length(response.get(..end_of_line)?)?;
    let start = end_of_line + 2;
    response.get(start..start + length).map(<[u8]>::to_vec)
}
