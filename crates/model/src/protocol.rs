//! The protocols that clients speak to us.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A protocol that a listener speaks and a back end is reached by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IMAP4rev1 (RFC 3501).
    Imap,
    /// POP3 (RFC 1939).
    Pop3,
}

impl Protocol {
    /// All protocols, in the order in which they are listed to people.
    pub const ALL: [Self; 2] = [Self::Imap, Self::Pop3];

    /// The lower-case word used in settings, logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }

    /// The protocol's ALPN identifier (IANA registry; RFC 7301, ALPACA).
    pub fn alpn(self) -> &'static [u8] {
        self.word().as_bytes()
    }

    /// The registered port without TLS or with STARTTLS.
    pub fn port(self) -> u16 {
        match self {
            Self::Imap => 143,
            Self::Pop3 => 110,
        }
    }

    /// The registered port with TLS from the first byte (RFC 8314).
    pub fn tls_port(self) -> u16 {
        match self {
            Self::Imap => 993,
            Self::Pop3 => 995,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
