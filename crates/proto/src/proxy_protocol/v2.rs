//! Version 2: binary, with fields for more than addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::UserName;

use super::crc32c::crc32c;
use super::{Addresses, Bad, Header, MAX_BYTES, Read, Tls};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

/// The types of fields.
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_COMMON_NAME: u8 = 0x22;

/// The flags in the field SSL.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERTIFICATE: u8 = 0x02;
const CLIENT_CERTIFICATE_OF_SESSION: u8 = 0x04;

const MAX_UNIQUE_ID: usize = 128;
/// The longest TLS version that we write; all there are have under ten bytes.
const MAX_VERSION: usize = 32;

pub(super) fn parse(bytes: &[u8]) -> Read {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    if !matches!(command, LOCAL | PROXY) {
        return Err(Bad::Version);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let used = FIXED + length;
    if used > MAX_BYTES {
        return Err(Bad::TooLong);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    // A health check, whose addresses count for nothing.
    if command == LOCAL {
        return Ok(Some((used, Header::default())));
    }
    let (addresses, fields) = addresses(family, body)?;
    let mut header = Header { addresses, ..Header::default() };
    for field in (Fields { rest: fields }) {
        let (kind, value) = field?;
        if kind == CRC32C {
            let whole = bytes.get(..used).unwrap_or_default();
            check(whole, fields, value)?;
        } else {
            read_field(&mut header, kind, value)?;
        }
    }
    Ok(Some((used, header)))
}

fn addresses(family: u8, body: &[u8]) -> Result<(Option<Addresses>, &[u8]), Bad> {
    let whole = |client: IpAddr, connected: IpAddr, ports: [u8; 4]| {
        let [client_high, client_low, high, low] = ports;
        let client = SocketAddr::new(client, u16::from_be_bytes([client_high, client_low]));
        let connected = SocketAddr::new(connected, u16::from_be_bytes([high, low]));
        Some(Addresses::canonical(client, connected))
    };
    match family {
        UNSPECIFIED => Ok((None, body)),
        TCP4 => {
            let (client, rest) = part::<4>(body)?;
            let (connected, rest) = part::<4>(rest)?;
            let (ports, rest) = part::<4>(rest)?;
            let (client, connected) = (Ipv4Addr::from(client), Ipv4Addr::from(connected));
            Ok((whole(client.into(), connected.into(), ports), rest))
        }
        TCP6 => {
            let (client, rest) = part::<16>(body)?;
            let (connected, rest) = part::<16>(rest)?;
            let (ports, rest) = part::<4>(rest)?;
            let (client, connected) = (Ipv6Addr::from(client), Ipv6Addr::from(connected));
            Ok((whole(client.into(), connected.into(), ports), rest))
        }
        // Paths of sockets, which say nothing of a client.
        UNIX => part::<216>(body).map(|(_, rest)| (None, rest)),
        _ => Err(Bad::Family),
    }
}

fn part<const LENGTH: usize>(bytes: &[u8]) -> Result<([u8; LENGTH], &[u8]), Bad> {
    let (part, rest) = bytes.split_first_chunk().ok_or(Bad::Malformed)?;
    Ok((*part, rest))
}

/// Reads type, length and value of each field. An error is the last item.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = part::<3>(self.rest).and_then(|([kind, high, low], rest)| {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let (value, rest) = rest.split_at_checked(length).ok_or(Bad::Malformed)?;
            self.rest = rest;
            Ok((kind, value))
        });
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The checksum is that of the header with zeros in the checksum's place.
fn check(whole: &[u8], fields: &[u8], value: &[u8]) -> Result<(), Bad> {
    let said = <[u8; 4]>::try_from(value).map_err(|_| Bad::Malformed)?;
    // Where the value is: what is behind it in the fields is known by what is before it.
    let mut before = 0;
    for field in (Fields { rest: fields }) {
        let (kind, other) = field?;
        if kind == CRC32C {
            break;
        }
        before += 3 + other.len();
    }
    let at = whole.len() - fields.len() + before + 3;
    let (start, rest) = whole.split_at_checked(at).ok_or(Bad::Malformed)?;
    let behind = rest.get(said.len()..).ok_or(Bad::Malformed)?;
    if crc32c([start, &[0; 4], behind]) == u32::from_be_bytes(said) {
        Ok(())
    } else {
        Err(Bad::Checksum)
    }
}

fn read_field(header: &mut Header, kind: u8, value: &[u8]) -> Result<(), Bad> {
    match kind {
        ALPN => header.alpn = Some(value.to_vec()),
        // What the client made up, so that a name that is none is no reason to send it away.
        AUTHORITY => {
            let text = std::str::from_utf8(value).ok();
            header.server_name = text.and_then(|text| text.parse().ok());
        }
        UNIQUE_ID if value.len() > MAX_UNIQUE_ID => return Err(Bad::Malformed),
        UNIQUE_ID => header.unique_id = Some(value.to_vec()),
        SSL => header.tls = read_tls(value)?,
        // Padding, name spaces and what others have made up.
        _ => {}
    }
    Ok(())
}

fn read_tls(value: &[u8]) -> Result<Option<Tls>, Bad> {
    let ([flags, verify @ ..], fields) = part::<5>(value)?;
    if flags & CLIENT_SSL == 0 {
        return Ok(None);
    }
    let shown = flags & (CLIENT_CERTIFICATE | CLIENT_CERTIFICATE_OF_SESSION) != 0;
    // Both have to hold: a name in a certificate that nobody verified is anybody's.
    let mut tls = Tls { certificate: shown && verify == [0; 4], ..Tls::default() };
    for field in (Fields { rest: fields }) {
        match field? {
            (SSL_COMMON_NAME, name) if tls.certificate => {
                tls.common_name = UserName::from_bytes(name).ok();
            }
            (SSL_VERSION, version) if version.iter().all(u8::is_ascii_graphic) => {
                tls.version = String::from_utf8(version.to_vec()).ok();
            }
            _ => {}
        }
    }
    Ok(Some(tls))
}

pub(super) fn build(header: &Header) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    let Some(addresses) = header.addresses else {
        bytes.extend([LOCAL, UNSPECIFIED, 0, 0]);
        return bytes;
    };
    let (family, mut body) = build_addresses(addresses);
    if let Some(tls) = &header.tls {
        build_field(&mut body, SSL, &build_tls(tls));
    }
    if let Some(name) = &header.server_name {
        build_field(&mut body, AUTHORITY, name.as_str().as_bytes());
    }
    if let Some(id) = header.unique_id.as_ref().filter(|id| id.len() <= MAX_UNIQUE_ID) {
        build_field(&mut body, UNIQUE_ID, id);
    }
    if let Some(alpn) = header.alpn.as_ref().filter(|alpn| alpn.len() <= usize::from(u8::MAX)) {
        build_field(&mut body, ALPN, alpn);
    }
    // The checksum comes last and counts as zeros: its field of 7 bytes is put in place when it is known.
    let length = u16::try_from(body.len() + 7).unwrap_or_default();
    bytes.extend([PROXY, family]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes.extend([CRC32C, 0, 4]);
    let checksum = crc32c([&bytes[..], &[0; 4]]);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

fn build_addresses(addresses: Addresses) -> (u8, Vec<u8>) {
    let (client, connected) = addresses.in_one_family();
    let mut body = Vec::new();
    for ip in [client.ip(), connected.ip()] {
        match ip {
            IpAddr::V4(ip) => body.extend(ip.octets()),
            IpAddr::V6(ip) => body.extend(ip.octets()),
        }
    }
    for port in [client.port(), connected.port()] {
        body.extend(port.to_be_bytes());
    }
    (if client.is_ipv4() { TCP4 } else { TCP6 }, body)
}

fn build_tls(tls: &Tls) -> Vec<u8> {
    let (flags, verify) = match tls.certificate {
        true => (CLIENT_SSL | CLIENT_CERTIFICATE, 0_u32),
        // Not zero where no certificate was shown, too.
        false => (CLIENT_SSL, 1),
    };
    let mut value = vec![flags];
    value.extend(verify.to_be_bytes());
    if let Some(version) = tls.version.as_ref().filter(|version| version.len() <= MAX_VERSION) {
        build_field(&mut value, SSL_VERSION, version.as_bytes());
    }
    if let Some(name) = tls.common_name.as_ref().filter(|_| tls.certificate) {
        build_field(&mut value, SSL_COMMON_NAME, name.as_str().as_bytes());
    }
    value
}

/// Adds a field, unless its value is too long to be one.
fn build_field(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len()) {
        body.push(kind);
        body.extend(length.to_be_bytes());
        body.extend(value);
    }
}
