//! Where something listens.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::Serialize;

/// A host: an IP address or a DNS name (lower case).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name in lower case: letters, digits, `-`, `_` and `.`, at most 253 characters.
    Name(Box<str>),
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidAddress {
    /// The host part is neither an IP address nor a DNS name.
    #[error("the host is neither an IP address nor a DNS name")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl Host {
    /// Whether what is sent there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => **name == *"localhost",
        }
    }
}

impl FromStr for Host {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            return Ok(Self::Ip(ip));
        }
        let label_fits = |label: &str| {
            let character_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            (1..=63).contains(&label.len()) && label.chars().all(character_fits)
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        // A name of digits and dots is a mistyped IP address and never a host.
        let numeric = name.chars().all(|c| c.is_ascii_digit() || c == '.');
        if name.len() > 253 || numeric || !name.split('.').all(label_fits) {
            return Err(InvalidAddress::Host);
        }
        Ok(Self::Name(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Serialize for Host {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A DNS name (lower case), such as a client names in TLS's server name indication.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DnsName(Box<str>);

impl DnsName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            Host::Ip(_) => Err(InvalidAddress::Host),
            Host::Name(name) => Ok(Self(name)),
        }
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host with a port that may be left out, as in `host`, `host:143`, `10.0.0.1:143`,
/// `[2001:db8::1]:143` or `2001:db8::1`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port, if one was given.
    pub port: Option<u16>,
}

impl FromStr for HostPort {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A bare IPv6 address is all colons and no port: the port would need brackets.
        if let Ok(host @ Host::Ip(_)) = text.parse() {
            return Ok(Self { host, port: None });
        }
        match text.rsplit_once(':') {
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port != 0);
                let port = Some(port.ok_or(InvalidAddress::Port)?);
                Ok(Self { host: host.parse()?, port })
            }
            None => Ok(Self { host: text.parse()?, port: None }),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (host, None) => host.fmt(f),
            (Host::Ip(IpAddr::V6(ip)), Some(port)) => write!(f, "[{ip}]:{port}"),
            (host, Some(port)) => write!(f, "{host}:{port}"),
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is what a household gets.
pub fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in
            ["mail.example.org", "mail:143", "10.0.0.1:143", "[2001:db8::1]:143", "2001:db8::1"]
        {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("Mail.Example.ORG.".parse::<Host>().unwrap().to_string(), "mail.example.org");
        assert_eq!("[::1]".parse::<HostPort>().unwrap().to_string(), "::1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":143", "a b", "a:0", "a:65536", "a:", "300.1.1.1", "a..b", "a\r\n", "-:x"]
        {
            assert!(text.parse::<HostPort>().is_err(), "{text:?}");
        }
        assert!("10.0.0.1".parse::<DnsName>().is_err());
        assert!("mail.example.org".parse::<DnsName>().is_ok());
    }
}
