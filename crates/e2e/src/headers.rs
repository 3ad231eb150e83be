//! PROXY headers, as a proxy before us writes them.
//! Nothing here is taken from the program that reads them.

use std::net::{IpAddr, SocketAddr};

/// Where all of them say that the client connected to.
const CONNECTED: [&str; 2] = ["198.51.100.1:143", "[2001:db8::1]:143"];

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

fn addresses(client: &str) -> [SocketAddr; 2] {
    let client: SocketAddr = client.parse().unwrap();
    let [v4, v6] = CONNECTED.map(|address| address.parse().unwrap());
    [client, if client.is_ipv4() { v4 } else { v6 }]
}

/// A header of version 1.
pub fn v1(client: &str) -> Vec<u8> {
    let [client, connected] = addresses(client);
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), connected.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), connected.port()).into_bytes()
}

/// A header of version 2.
pub fn v2(client: &str) -> Vec<u8> {
    header(0x21, family(client), &said(client))
}

/// The same of a client that came by TLS 1.3 (PP2_TYPE_SSL, PP2_SUBTYPE_SSL_VERSION).
pub fn v2_of_tls(client: &str) -> Vec<u8> {
    let version = [&[0x21, 0, 7][..], b"TLSv1.3"].concat();
    let verified = [1, 0, 0, 0, 0];
    let length = u16::try_from(verified.len() + version.len()).unwrap().to_be_bytes();
    let field = [&[0x20][..], &length, &verified, &version].concat();
    header(0x21, family(client), &[said(client), field].concat())
}

/// The same with a checksum (PP2_TYPE_CRC32C), to which something may be `added`.
pub fn v2_with_checksum(client: &str, added: u32) -> Vec<u8> {
    let with = |sum: u32| {
        let field = [&[3, 0, 4][..], &sum.to_be_bytes()].concat();
        header(0x21, family(client), &[said(client), field].concat())
    };
    // Computed over the whole header with 0 in its own place.
    with(crc32c(&with(0)).wrapping_add(added))
}

/// RFC 3720 appendix B.4.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| (sum >> 1) ^ (0x82f6_3b78 * (sum & 1));
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

fn family(client: &str) -> u8 {
    let client: SocketAddr = client.parse().unwrap();
    if client.is_ipv4() { 0x11 } else { 0x21 }
}

/// Both addresses and both ports.
fn said(client: &str) -> Vec<u8> {
    let [client, connected] = addresses(client);
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [client.port().to_be_bytes(), connected.port().to_be_bytes()].concat();
    [octets(client), octets(connected), ports].concat()
}

/// A header of version 2 by which the proxy speaks for itself.
pub fn v2_local() -> Vec<u8> {
    header(0x20, 0, &[])
}

fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}
