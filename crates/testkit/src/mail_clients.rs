//! Tiny blocking IMAP and POP3 clients, enough to log in, deliver and read; and the start of other people's.
//! Nothing here judges what a server says.

mod imap;
mod pop3;
pub mod programs;

use std::io;

pub use imap::{ImapAnswer, ImapClient};
pub use pop3::Pop3Client;

use crate::wire::{TlsError, Trust, Wire};

/// How a client reaches its server.
#[derive(Debug, Clone)]
pub enum Security {
    /// In clear.
    Clear,
    /// In clear until STARTTLS (IMAP) or STLS (POP3).
    StartTls(Trust),
    /// TLS from the first byte.
    Tls(Trust),
}

/// Why a client got no further.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server said no, in these words.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server said something that the protocol does not have here.
    #[error("the server sent {0:?}, which does not belong here")]
    Unexpected(String),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Sockets and deadlines.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ClientError {
    /// The server's words, if it said no.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Refused(words) => Some(words),
            _ => None,
        }
    }
}

/// One line without its line end, as text.
fn text_line(wire: &mut Wire) -> Result<String, ClientError> {
    let line = wire.read_line()?.ok_or(ClientError::Closed)?;
    Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

/// The text of header `name` in a raw message, unfolded.
#[must_use]
pub fn header(message: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let mut found: Option<String> = None;
    for line in text.lines().take_while(|line| !line.is_empty()) {
        if let Some(value) = &mut found {
            if !line.starts_with([' ', '\t']) {
                break;
            }
            value.push_str(line);
        } else if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case(name)
        {
            found = Some(value.trim().to_owned());
        }
    }
    found
}
