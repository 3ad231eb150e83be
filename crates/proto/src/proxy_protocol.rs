//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): who a connection is from, said in
//! its first bytes.
//!
//! Nothing here decides whom to believe: a port speaks it or it does not, and its peers are listed.

mod crc32c;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use model::{DnsName, UserName};

/// The longest header, with everything in it. Dovecot has the same; more than a certificate does not fit,
/// and nothing of that size is wanted.
pub const MAX_BYTES: usize = 1500;

/// What a proxy says of a connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// From where and to where; `None` if the connection is the proxy's own (a health check) or it cannot
    /// say. The socket's own addresses count then.
    pub addresses: Option<Addresses>,
    /// The protocol that was chosen by ALPN.
    pub alpn: Option<Vec<u8>>,
    /// The name by which the client called the server.
    pub server_name: Option<DnsName>,
    /// TLS between the client and the proxy; `None` if there was none or the proxy does not say.
    pub tls: Option<Tls>,
    /// What the proxy calls the connection: at most 128 bytes.
    pub unique_id: Option<Vec<u8>>,
}

/// From where and to where a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Addresses {
    /// The client's address.
    pub client: SocketAddr,
    /// The address to which it connected.
    pub connected: SocketAddr,
}

/// TLS between a client and a proxy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// Whether the client has shown a certificate, in this connection or in the session that it resumed,
    /// and the proxy has verified it.
    pub certificate: bool,
    /// The common name in that certificate; never of one that was not verified.
    pub common_name: Option<UserName>,
    /// The version, such as `TLSv1.3`.
    pub version: Option<String>,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Parsed {
    /// No header that can be accepted. The connection is to be closed.
    Bad(Bad),
    /// A header of `used` bytes; what follows is the client's.
    Done {
        /// The header's length in bytes.
        used: usize,
        /// What it says.
        header: Header,
    },
    /// The beginning of a header.
    NeedMore,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Bad {
    /// An address or port does not fit its family.
    #[error("the PROXY header has an address that is none")]
    Address,
    /// The checksum is another.
    #[error("the PROXY header's checksum is wrong")]
    Checksum,
    /// The family or the transport is none that mail comes by.
    #[error("the PROXY header has a family that is not TCP")]
    Family,
    /// The version or the command is unknown.
    #[error("the PROXY header has an unknown version or command")]
    Version,
    /// The bytes begin like no header.
    #[error("there is no PROXY header")]
    NoHeader,
    /// A part is longer than the whole, or has a value that it cannot have.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// There are more than [`MAX_BYTES`] bytes, or 107 in version 1.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Reads a header of either version from all bytes that have come so far.
pub fn parse(bytes: &[u8]) -> Parsed {
    let begins = |with: &[u8]| {
        let length = bytes.len().min(with.len());
        bytes.get(..length) == with.get(..length)
    };
    let result = if begins(v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins(v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(Bad::NoHeader)
    };
    match result {
        Ok(Some((used, header))) => Parsed::Done { used, header },
        Ok(None) => Parsed::NeedMore,
        Err(bad) => Parsed::Bad(bad),
    }
}

/// A header of the version, or that more bytes are needed.
type Read = Result<Option<(usize, Header)>, Bad>;

/// Builds a header of version 1, which says nothing but the addresses.
pub fn build_v1(addresses: Addresses) -> Vec<u8> {
    v1::build(addresses)
}

/// Builds a header of version 2 with a checksum; without addresses it says that the connection is our own.
/// What does not fit into a header is left out.
pub fn build_v2(header: &Header) -> Vec<u8> {
    v2::build(header)
}

impl Addresses {
    /// Both in one family, as a header has them: of mixed ones the IPv4 address is mapped.
    fn in_one_family(self) -> (SocketAddr, SocketAddr) {
        let plain =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (client, connected) = (plain(self.client), plain(self.connected));
        if client.is_ipv4() == connected.is_ipv4() {
            return (client, connected);
        }
        let mapped = |address: SocketAddr| {
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            SocketAddr::new(ip.into(), address.port())
        };
        (mapped(client), mapped(connected))
    }

    /// With mapped addresses as the IPv4 addresses that they are.
    fn canonical(client: SocketAddr, connected: SocketAddr) -> Self {
        let plain =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { client: plain(client), connected: plain(connected) }
    }
}

#[cfg(test)]
mod tests;
