//! What stands between a server and the LDAP library: only whole, small, well-formed answers get through, and
//! only to the request that is under way.
//!
//! Nothing here knows what an answer means. The library trusts its peer: it recurses as deep as an answer is
//! nested and panics where one is malformed, so neither may reach it.

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

use ldap3::asn1::{PL, StructureTag, TagClass, parse_tag, parse_uint};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use transport::{Received, Stream};

/// The longest answer, in bytes.
const LONGEST: usize = 4 << 20;
/// The deepest: message, operation, attributes, attribute, values, value; and some more for controls.
const DEEPEST: usize = 10;
/// The most parts an answer may have: each costs the library far more memory than bytes of the answer.
const MOST_PARTS: usize = 20_000;

/// `UnbindRequest` (RFC 4511 section 4.3) with the last message id there is.
const UNBIND: [u8; 10] = [0x30, 8, 2, 4, 0x7f, 0xff, 0xff, 0xff, 0x42, 0];

/// Why a connection was cut off.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The answer cannot be used, and another would be no better.
    Answer(&'static str),
    /// The connection is over.
    Lost(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(what) => f.write_str(what),
            Self::Lost(what) => f.write_str(what),
        }
    }
}

/// The request that is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Request {
    id: u64,
    operation: u64,
}

/// The tags of `protocolOp` (RFC 4511 section 4.2 and following).
mod operation {
    pub(super) const BIND_REQUEST: u64 = 0;
    pub(super) const BIND_RESPONSE: u64 = 1;
    pub(super) const SEARCH_REQUEST: u64 = 3;
    pub(super) const SEARCH_ENTRY: u64 = 4;
    pub(super) const SEARCH_DONE: u64 = 5;
    pub(super) const SEARCH_REFERENCE: u64 = 19;
    pub(super) const EXTENDED_REQUEST: u64 = 23;
    pub(super) const EXTENDED_RESPONSE: u64 = 24;
}

impl Request {
    /// What StartTLS is asked by.
    pub(super) const START_TLS: Self = Self { id: 1, operation: operation::EXTENDED_REQUEST };

    /// The request that the library has written.
    fn of(message: &[u8]) -> Option<Self> {
        let (_, tag) = parse_tag(message).ok()?;
        let [id, operation, ..] = parts(&tag)? else { return None };
        Some(Self { id: number(id)?, operation: operation.id })
    }

    fn is_answered_by(self, operation: u64) -> bool {
        match self.operation {
            operation::BIND_REQUEST => operation == operation::BIND_RESPONSE,
            operation::EXTENDED_REQUEST => operation == operation::EXTENDED_RESPONSE,
            operation::SEARCH_REQUEST => matches!(
                operation,
                operation::SEARCH_ENTRY | operation::SEARCH_DONE | operation::SEARCH_REFERENCE
            ),
            _ => false,
        }
    }
}

/// Bytes from the server, cut into messages.
#[derive(Default)]
pub(super) struct Incoming(Vec<u8>);

impl Incoming {
    /// Receives more from the server.
    pub(super) async fn receive(&mut self, stream: &mut Stream) -> Result<(), Fault> {
        match stream.receive(|bytes| self.0.extend_from_slice(bytes)).await {
            Ok(Received::Bytes(_)) => Ok(()),
            Ok(Received::Closed) => Err(Fault::Lost("the server closed the connection".into())),
            Err(error) => Err(Fault::Lost(error.to_string())),
        }
    }

    /// The next message, if it is whole; it is an answer to `request`.
    pub(super) fn next(&mut self, request: Option<Request>) -> Result<Option<Vec<u8>>, Fault> {
        let Some(length) = length_of_first(&self.0)? else { return Ok(None) };
        if length > self.0.len() {
            return Ok(None);
        }
        let rest = self.0.split_off(length);
        let message = std::mem::replace(&mut self.0, rest);
        check(&message, request)?;
        Ok(Some(message))
    }

    /// Whether something came that nobody has taken.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How long the message is that begins here; nothing while that cannot be seen.
fn length_of_first(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some((tag, _)) = bytes.split_first() else { return Ok(None) };
    if *tag != 0x30 {
        return Err(Fault::Answer("the server does not speak LDAP"));
    }
    match header(bytes) {
        Some(Ok(header)) if header.whole() > LONGEST => {
            Err(Fault::Answer("the server's answer is longer than 4 MiB"))
        }
        Some(Ok(header)) => Ok(Some(header.whole())),
        Some(Err(NotBer)) => Err(Fault::Answer("the server does not speak LDAP")),
        None => Ok(None),
    }
}

/// The beginning of a part: whether it is made of others, and how long it is.
struct Header {
    constructed: bool,
    length: usize,
    content: usize,
}

impl Header {
    fn whole(&self) -> usize {
        self.length.saturating_add(self.content)
    }
}

/// What LDAP does not allow of BER (RFC 4511 section 5.1), or no BER at all.
struct NotBer;

/// Reads a header; nothing while it is not whole.
fn header(bytes: &[u8]) -> Option<Result<Header, NotBer>> {
    let (tag, rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return Some(Err(NotBer));
    }
    let constructed = tag & 0x20 != 0;
    let (first, rest) = rest.split_first()?;
    match *first {
        short @ 0..=0x7f => {
            Some(Ok(Header { constructed, length: 2, content: usize::from(short) }))
        }
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7f);
            let digits = rest.get(..count)?;
            let content = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            Some(Ok(Header { constructed, length: 2 + count, content }))
        }
        _ => Some(Err(NotBer)),
    }
}

/// Whether a whole message can be given to the library.
fn check(message: &[u8], request: Option<Request>) -> Result<(), Fault> {
    if !is_shallow(message) {
        return Err(Fault::Answer(
            "the server's answer is nested too deep, has too many parts or is malformed",
        ));
    }
    let malformed = Fault::Answer("the server's answer is malformed");
    let (rest, tag) = parse_tag(message).map_err(|_| malformed.clone())?;
    let answered = answered(&tag).filter(|_| rest.is_empty()).ok_or(malformed)?;
    if answered.id == 0 {
        // RFC 4511 section 4.4.1: the only one there is announces the end.
        return Err(Fault::Lost("the server gave notice of disconnection".into()));
    }
    let fits =
        |request: &Request| request.id == answered.id && request.is_answered_by(answered.operation);
    if !request.as_ref().is_some_and(fits) {
        return Err(Fault::Answer("the server answers what it was not asked"));
    }
    Ok(())
}

/// Whether all parts are whole, not too many, and not nested too deep.
fn is_shallow(message: &[u8]) -> bool {
    let mut ends = vec![message.len()];
    let (mut at, mut count) = (0, 0);
    while let Some(end) = ends.last().copied() {
        if at == end {
            ends.pop();
            continue;
        }
        let Some(Some(Ok(part))) = message.get(at..end).map(header) else { return false };
        let Some(next) = at.checked_add(part.whole()).filter(|next| *next <= end) else {
            return false;
        };
        count += 1;
        if part.constructed {
            ends.push(next);
            at += part.length;
        } else {
            at = next;
        }
        if count > MOST_PARTS || ends.len() > DEEPEST {
            return false;
        }
    }
    true
}

/// What a message answers, if it is well-formed in all that the library reads.
fn answered(message: &StructureTag) -> Option<Request> {
    let (id, rest) = parts(message)?.split_first()?;
    let (id, (body, controls)) = (number(id)?, rest.split_first()?);
    if id == 0 {
        return Some(Request { id, operation: body.id });
    }
    let controls_fit = match controls {
        [] => true,
        [controls] => are_controls(controls),
        _ => false,
    };
    let fits = match body.id {
        operation::SEARCH_ENTRY => is_entry(body),
        operation::SEARCH_REFERENCE => parts(body)?.iter().all(is_text),
        operation::BIND_RESPONSE | operation::SEARCH_DONE | operation::EXTENDED_RESPONSE => {
            is_result(body)
        }
        _ => false,
    };
    (body.class == TagClass::Application && controls_fit && fits)
        .then_some(Request { id, operation: body.id })
}

/// `LDAPResult` (RFC 4511 section 4.1.9) and what responses add to it.
fn is_result(body: &StructureTag) -> bool {
    let Some([code, matched, text, rest @ ..]) = parts(body) else { return false };
    let is_code = code.class == TagClass::Universal && code.id == 10 && bytes(code).is_some();
    let fits = |part: &StructureTag| match part.id {
        3 => parts(part).is_some_and(|uris| uris.iter().all(is_text)),
        7 | 11 => bytes(part).is_some(),
        10 => is_text(part),
        _ => true,
    };
    is_code && is_text(matched) && is_text(text) && rest.iter().all(fits)
}

fn is_entry(body: &StructureTag) -> bool {
    let Some([name, attributes]) = parts(body) else { return false };
    let is_attribute = |attribute: &StructureTag| match parts(attribute) {
        Some([name, values]) => {
            is_text(name) && parts(values).is_some_and(|all| all.iter().all(|v| bytes(v).is_some()))
        }
        _ => false,
    };
    is_text(name) && parts(attributes).is_some_and(|all| all.iter().all(is_attribute))
}

/// `Controls` (RFC 4511 section 4.1.11).
fn are_controls(controls: &StructureTag) -> bool {
    let is_flag =
        |part: &StructureTag| part.id == 1 && bytes(part).is_some_and(|it| !it.is_empty());
    let is_value = |part: &StructureTag| part.id == 4 && bytes(part).is_some();
    let is_control = |control: &StructureTag| match parts(control) {
        Some([name, rest @ ..]) => {
            is_text(name)
                && match rest {
                    [] => true,
                    [one] => is_flag(one) || is_value(one),
                    [flag, value] => is_flag(flag) && is_value(value),
                    _ => false,
                }
        }
        _ => false,
    };
    controls.class == TagClass::Context
        && controls.id == 0
        && parts(controls).is_some_and(|all| all.iter().all(is_control))
}

/// The parts of something that is made of parts.
pub(super) fn parts(tag: &StructureTag) -> Option<&[StructureTag]> {
    match &tag.payload {
        PL::C(parts) => Some(parts),
        PL::P(_) => None,
    }
}

/// The bytes of something that is not.
pub(super) fn bytes(tag: &StructureTag) -> Option<&[u8]> {
    match &tag.payload {
        PL::C(_) => None,
        PL::P(bytes) => Some(bytes),
    }
}

fn is_text(tag: &StructureTag) -> bool {
    bytes(tag).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok())
}

/// A message id: `INTEGER (0 .. 2^31 - 1)`.
fn number(tag: &StructureTag) -> Option<u64> {
    let digits = bytes(tag).filter(|digits| (1..=4).contains(&digits.len()))?;
    let is_integer = tag.class == TagClass::Universal && tag.id == 2;
    parse_uint(digits).ok().filter(|_| is_integer).map(|(_, number)| number)
}

/// Carries requests to the server and answers to the library, until one of the two is done or an answer is
/// none. What went wrong stands in `fault` then, before the library hears of the end.
pub(super) async fn carry(
    mut server: Stream,
    mut library: UnixStream,
    fault: Arc<OnceLock<Fault>>,
) {
    let mut incoming = Incoming::default();
    let mut request = None;
    let mut buffer = vec![0; 4096];
    let mut outgoing = Vec::new();
    let why = loop {
        tokio::select! {
            received = incoming.receive(&mut server) => {
                let passed = match received {
                    Ok(()) => pass(&mut incoming, request, &mut library).await,
                    Err(fault) => Err(fault),
                };
                if let Err(why) = passed {
                    break why;
                }
            }
            read = library.read(&mut buffer) => {
                let bytes = buffer.get(..read.unwrap_or(0)).unwrap_or_default();
                if bytes.is_empty() {
                    // Nobody holds the connection any more. Whether the server hears so matters little.
                    let _ = server.write_all(&UNBIND).await;
                    return;
                }
                outgoing.extend_from_slice(bytes);
                if let Err(error) = send(&mut outgoing, &mut request, &mut server).await {
                    break Fault::Lost(error.to_string());
                }
            }
        }
    };
    // The first fault is the one to tell.
    let _ = fault.set(why);
}

async fn pass(
    incoming: &mut Incoming,
    request: Option<Request>,
    library: &mut UnixStream,
) -> Result<(), Fault> {
    while let Some(message) = incoming.next(request)? {
        library.write_all(&message).await.map_err(|error| Fault::Lost(error.to_string()))?;
    }
    Ok(())
}

/// Sends what is whole of the library's requests, and notes the last one.
async fn send(
    outgoing: &mut Vec<u8>,
    request: &mut Option<Request>,
    server: &mut Stream,
) -> io::Result<()> {
    while let Some(Ok(header)) = header(outgoing) {
        if header.whole() > outgoing.len() {
            break;
        }
        let rest = outgoing.split_off(header.whole());
        let message = zeroize::Zeroizing::new(std::mem::replace(outgoing, rest));
        *request = Request::of(&message);
        server.write_all(&message).await?;
    }
    Ok(())
}
