//! Peers that play a written dialogue on real sockets, as server or as client, each step under a deadline.
//! Nothing here knows a protocol.
//!
//! A dialogue is text, one step per line; empty lines and lines beginning with `#` mean nothing.
//! `S` stands for the server, `C` for the client; who plays sends its own lines and waits for the other's.
//!
//! | line | step |
//! |---|---|
//! | `S: text` | the line `text`, CRLF added |
//! | `S- text` | exactly these bytes, no line end added |
//! | `C~ regex` | any line that fits whole (without its CRLF); named groups become variables |
//! | `TLS` | both go on under TLS |
//! | `CLOSE` | who plays closes politely |
//! | `RESET` | who plays closes with a TCP reset |
//! | `END` | the other must close now, and send nothing more before |
//! | `SILENT` | who plays neither sends nor closes until the other closes |
//!
//! In `:` and `-` texts `\r`, `\n`, `\t`, `\\` and `\xNN` are bytes, and `${name}` is what a group called `name` caught.
//! Lines to send that follow each other leave in one write. The dialogue's end is a polite close.

mod client;
mod player;
mod script;
mod server;

pub use client::{Client, ScriptedClient};
pub use server::ScriptedServer;

/// Where a dialogue and the peer part.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the dialogue: {what}")]
pub struct ScriptError {
    /// Line of the dialogue, counted from 1; 0 where no line is to blame.
    pub line: usize,
    /// What was expected and what came.
    pub what: String,
}

impl ScriptError {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

/// Who plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}
