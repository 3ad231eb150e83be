//! Who the client is, as one proxy tells the next server: by IMAP `ID` (Dovecot's `x-` fields) or by
//! XCLIENT.
//!
//! Nothing here decides whom to believe or whom to tell.

mod claims;
mod client_id;

use std::net::{IpAddr, SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use model::DnsName;

pub use claims::Claims;
pub use client_id::ClientId;

/// What a back end is told of a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The client's address.
    pub client: SocketAddr,
    /// The address to which the client connected.
    pub connected: SocketAddr,
    /// More for the back end's own use, by name. Names over 20 bytes are left out, for the receiver would
    /// drop them without a word; so is what does not fit into the message.
    pub forward: Vec<(String, String)>,
    /// The name by which the client called the server in the TLS handshake.
    pub server_name: Option<DnsName>,
    /// Names the session in the logs of all servers on the way.
    pub session: SessionName,
    /// Whether the client's connection is private.
    pub transport: Transport,
    /// Through how many proxies the connection may still go ([`ttl_onwards`]).
    pub ttl: u8,
}

/// Whether a client's connection is private.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// It is in clear.
    Insecure,
    /// It is under TLS.
    Tls,
}

/// The name of a session as it goes from server to server: 1 to 64 visible ASCII characters, neither `"`
/// nor `\`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionName(Box<str>);

impl SessionName {
    /// Reads a name; `None` if it cannot be one.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        ((1..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Through how many proxies a connection may go. 7, as with Dovecot.
pub const FIRST_TTL: u8 = 7;

/// What to tell the next server, where a proxy before us told us `claimed`; `None` if we are one proxy too
/// many, which means that one of them leads to itself.
pub fn ttl_onwards(claimed: Option<u8>) -> Option<u8> {
    match claimed {
        None => Some(FIRST_TTL),
        Some(0 | 1) => None,
        Some(claimed) => Some(claimed.min(FIRST_TTL) - 1),
    }
}

/// The fields that both dialects have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    Address,
    ConnectedAddress,
    ConnectedPort,
    Port,
    ServerName,
    Session,
    Transport,
    Ttl,
}

/// The fields in IMAP's ID.
const IN_ID: [(&str, Field); 8] = [
    ("x-session-id", Field::Session),
    ("x-originating-ip", Field::Address),
    ("x-originating-port", Field::Port),
    ("x-connected-ip", Field::ConnectedAddress),
    ("x-connected-port", Field::ConnectedPort),
    ("x-proxy-ttl", Field::Ttl),
    ("x-client-transport", Field::Transport),
    ("x-connected-name", Field::ServerName),
];
/// What the names of forwarded fields begin with in IMAP's ID.
const FORWARD_IN_ID: &str = "x-forward-";

/// The fields in POP3's XCLIENT.
const IN_XCLIENT: [(&str, Field); 8] = [
    ("ADDR", Field::Address),
    ("PORT", Field::Port),
    ("DESTADDR", Field::ConnectedAddress),
    ("DESTPORT", Field::ConnectedPort),
    ("SESSION", Field::Session),
    ("TTL", Field::Ttl),
    ("CLIENT-TRANSPORT", Field::Transport),
    ("DESTNAME", Field::ServerName),
];
/// The name of the forwarded fields in XCLIENT.
const FORWARD_IN_XCLIENT: &str = "FORWARD";

/// The most pairs in an ID, and the longest field and value (RFC 2971 section 3.3).
const MAX_PAIRS: usize = 30;
const MAX_NAME: usize = 30;
const MAX_VALUE: usize = 1024;
/// The longest ID line that we write: servers that read lines into fixed buffers have 8 KiB.
const MAX_ID: usize = 8000;
/// The longest XCLIENT line with its end.
const MAX_XCLIENT: usize = 1024;

impl Identity {
    /// The parenthesised list that IMAP's ID takes.
    pub(crate) fn id_list(&self) -> String {
        let mut pairs: Vec<_> = IN_ID
            .iter()
            .filter_map(|(name, field)| Some(format!("\"{name}\" \"{}\"", self.value(*field)?)))
            .collect();
        let mut length = pairs.iter().map(|pair| pair.len() + 1).sum::<usize>();
        for (name, value) in self.forwardable() {
            let Some(value) = quoted(value.as_bytes()) else {
                continue;
            };
            let pair = format!("\"{FORWARD_IN_ID}{name}\" {value}");
            length += pair.len() + 1;
            if pairs.len() == MAX_PAIRS || length > MAX_ID {
                break;
            }
            pairs.push(pair);
        }
        format!("({})", pairs.join(" "))
    }

    /// The XCLIENT command without its line end.
    pub(crate) fn xclient(&self) -> String {
        let fields = IN_XCLIENT
            .iter()
            .filter_map(|(name, field)| Some(format!(" {name}={}", self.value(*field)?)));
        let line = format!("XCLIENT{}", fields.collect::<String>());
        let mut forwarded: Vec<_> =
            self.forwardable().map(|(name, value)| escaped(&format!("{name}={value}"))).collect();
        while !forwarded.is_empty() {
            let encoded = STANDARD.encode(forwarded.join("\t"));
            let whole = format!("{line} {FORWARD_IN_XCLIENT}={encoded}");
            if whole.len() + "\r\n".len() <= MAX_XCLIENT {
                return whole;
            }
            forwarded.pop();
        }
        line
    }

    fn value(&self, field: Field) -> Option<String> {
        Some(match field {
            Field::Address => self.client.ip().to_canonical().to_string(),
            Field::ConnectedAddress => self.connected.ip().to_canonical().to_string(),
            Field::ConnectedPort => self.connected.port().to_string(),
            Field::Port => self.client.port().to_string(),
            Field::ServerName => self.server_name.as_ref()?.to_string(),
            Field::Session => self.session.as_str().to_owned(),
            Field::Transport => match self.transport {
                Transport::Insecure => "insecure".to_owned(),
                Transport::Tls => "TLS".to_owned(),
            },
            Field::Ttl => self.ttl.to_string(),
        })
    }

    fn forwardable(&self) -> impl Iterator<Item = &(String, String)> {
        self.forward
            .iter()
            .filter(|(name, value)| is_forward_name(name.as_bytes()) && value.len() <= MAX_VALUE)
    }
}

/// Whether a name can be forwarded in every dialect.
fn is_forward_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    (1..=MAX_NAME - FORWARD_IN_ID.len()).contains(&name.len()) && name.iter().all(fits)
}

/// A quoted string (RFC 3501 section 9); `None` where the text would need a literal.
fn quoted(text: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.push('\\'),
            b' '..=b'~' => {}
            _ => return None,
        }
        out.push(char::from(*byte));
    }
    out.push('"');
    Some(out)
}

/// Dovecot's escaping of fields that are divided by TABs: the byte 1, then a letter.
const ESCAPED: [(char, char); 5] =
    [('\0', '0'), ('\u{1}', '1'), ('\t', 't'), ('\r', 'r'), ('\n', 'n')];

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match ESCAPED.iter().find(|(plain, _)| *plain == c) {
            Some((_, letter)) => out.extend(['\u{1}', *letter]),
            None => out.push(c),
        }
    }
    out
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\u{1}' {
            out.push(c);
            continue;
        }
        let letter = chars.next()?;
        out.push(ESCAPED.iter().find(|(_, escaped)| *escaped == letter)?.0);
    }
    Some(out)
}

/// Reads an address that may have `IPV6:` before it, as SMTP's XCLIENT has.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.split_at_checked(5) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("IPV6:") => rest,
        _ => text,
    };
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests;
