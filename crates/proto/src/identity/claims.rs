//! What a proxy before us says of the client.
//!
//! Nothing here decides whether that proxy is believed.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use model::DnsName;

use super::{
    FORWARD_IN_ID, FORWARD_IN_XCLIENT, Field, IN_ID, IN_XCLIENT, MAX_VALUE, SessionName, Transport,
    address, is_forward_name, unescaped,
};

/// What a proxy before us says of the client: what it left out is not known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Claims {
    /// The client's address; port 0 if only the address was said.
    pub client: Option<SocketAddr>,
    /// The address to which the client connected; port 0 if only the address was said.
    pub connected: Option<SocketAddr>,
    /// What is only passed on, by name.
    pub forward: Vec<(String, String)>,
    /// The name by which the client called the server.
    pub server_name: Option<DnsName>,
    /// The name of the session.
    pub session: Option<SessionName>,
    /// Whether the client's own connection is private.
    pub transport: Option<Transport>,
    /// Through how many proxies the connection may still go.
    pub ttl: Option<u8>,
}

/// A field that we know has a value that it cannot have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidClaim;

/// A name and a value of IMAP's ID; the value can be NIL.
pub(crate) type Pair<'a> = (&'a [u8], Option<&'a [u8]>);

impl Claims {
    /// Reads the fields of an ID that are claims; none of them is believed but the TTL where the peer is
    /// not `trusted`: with that one a liar can only harm itself, and we find out where we lead to
    /// ourselves.
    pub(crate) fn in_id<'a>(
        pairs: impl IntoIterator<Item = Pair<'a>>,
        trusted: bool,
    ) -> Result<Self, InvalidClaim> {
        let mut reader = Reader::default();
        for (name, value) in pairs {
            let Some(value) = value else {
                continue;
            };
            if let Some(field) = field(&IN_ID, name) {
                if trusted {
                    reader.read(field, value)?;
                } else if field == Field::Ttl {
                    // What cannot be a TTL is no claim either.
                    let _ = reader.read(field, value);
                }
            } else if trusted && let Some(name) = forwarded(name) {
                reader.forward(name, value)?;
            }
        }
        Ok(reader.claims())
    }

    /// Reads what stands behind XCLIENT.
    pub(crate) fn in_xclient(arguments: &[u8]) -> Result<Self, InvalidClaim> {
        let mut reader = Reader::default();
        for argument in arguments.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
            let end = argument.iter().position(|byte| *byte == b'=').ok_or(InvalidClaim)?;
            let (name, value) = argument.split_at(end);
            let value = value.get(1..).unwrap_or_default();
            if let Some(field) = field(&IN_XCLIENT, name) {
                reader.read(field, value)?;
            } else if name.eq_ignore_ascii_case(FORWARD_IN_XCLIENT.as_bytes()) {
                reader.forward_all(value)?;
            }
        }
        Ok(reader.claims())
    }
}

fn field(fields: &[(&str, Field)], name: &[u8]) -> Option<Field> {
    let is = |known: &&(&str, Field)| name.eq_ignore_ascii_case(known.0.as_bytes());
    fields.iter().find(is).map(|(_, field)| *field)
}

/// The name of a forwarded field.
fn forwarded(name: &[u8]) -> Option<&[u8]> {
    let (start, rest) = name.split_at_checked(FORWARD_IN_ID.len())?;
    start.eq_ignore_ascii_case(FORWARD_IN_ID.as_bytes()).then_some(rest)
}

/// Puts claims together, of which addresses come in two parts.
#[derive(Default)]
struct Reader {
    claims: Claims,
    client: (Option<IpAddr>, Option<u16>),
    connected: (Option<IpAddr>, Option<u16>),
}

impl Reader {
    fn read(&mut self, field: Field, value: &[u8]) -> Result<(), InvalidClaim> {
        let text = std::str::from_utf8(value).map_err(|_| InvalidClaim)?;
        let port = || text.parse().ok();
        let read = match field {
            Field::Address => set(&mut self.client.0, address(text)),
            Field::ConnectedAddress => set(&mut self.connected.0, address(text)),
            Field::ConnectedPort => set(&mut self.connected.1, port()),
            Field::Port => set(&mut self.client.1, port()),
            Field::ServerName => set(&mut self.claims.server_name, text.parse().ok()),
            Field::Session => set(&mut self.claims.session, SessionName::new(text)),
            Field::Transport => set(&mut self.claims.transport, transport(text)),
            Field::Ttl => set(&mut self.claims.ttl, text.parse().ok()),
        };
        read.ok_or(InvalidClaim)
    }

    fn forward(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidClaim> {
        let (name, value) = (std::str::from_utf8(name), std::str::from_utf8(value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(InvalidClaim);
        };
        if !is_forward_name(name.as_bytes()) || value.len() > MAX_VALUE {
            return Err(InvalidClaim);
        }
        self.claims.forward.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Fields divided by TABs, in base64.
    fn forward_all(&mut self, value: &[u8]) -> Result<(), InvalidClaim> {
        let decoded = STANDARD.decode(value).map_err(|_| InvalidClaim)?;
        let text = std::str::from_utf8(&decoded).map_err(|_| InvalidClaim)?;
        for field in text.split('\t') {
            let field = unescaped(field).ok_or(InvalidClaim)?;
            let (name, value) = field.split_once('=').ok_or(InvalidClaim)?;
            self.forward(name.as_bytes(), value.as_bytes())?;
        }
        Ok(())
    }

    fn claims(self) -> Claims {
        let whole = |(ip, port): (Option<IpAddr>, Option<u16>)| {
            Some(SocketAddr::new(ip?, port.unwrap_or_default()))
        };
        Claims { client: whole(self.client), connected: whole(self.connected), ..self.claims }
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

fn transport(text: &str) -> Option<Transport> {
    if text.eq_ignore_ascii_case("TLS") {
        Some(Transport::Tls)
    } else if text.eq_ignore_ascii_case("insecure") {
        Some(Transport::Insecure)
    } else {
        None
    }
}
