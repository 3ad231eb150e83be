//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Bad, Header, Read};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line with its end.
const MAX_LINE: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Read {
    let start = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = start.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() >= MAX_LINE { Err(Bad::TooLong) } else { Ok(None) };
    };
    let line = start.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Bad::Malformed)?;
    let line = std::str::from_utf8(line).map_err(|_| Bad::Malformed)?;
    let addresses = addresses(line)?;
    Ok(Some((end + 1, Header { addresses, ..Header::default() })))
}

fn addresses(line: &str) -> Result<Option<Addresses>, Bad> {
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(Bad::Malformed);
    let (client, connected) = match word()? {
        // What follows says nothing.
        "UNKNOWN" => return Ok(None),
        "TCP4" => (ip::<Ipv4Addr>(word()?)?, ip::<Ipv4Addr>(word()?)?),
        "TCP6" => (ip::<Ipv6Addr>(word()?)?, ip::<Ipv6Addr>(word()?)?),
        _ => return Err(Bad::Family),
    };
    let client = SocketAddr::new(client, port(word()?)?);
    let connected = SocketAddr::new(connected, port(word()?)?);
    if words.next().is_some() {
        return Err(Bad::Malformed);
    }
    Ok(Some(Addresses::canonical(client, connected)))
}

fn ip<Ip: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Bad> {
    text.parse::<Ip>().map(Into::into).map_err(|_| Bad::Address)
}

/// Digits without a sign or leading zeros.
fn port(text: &str) -> Result<u16, Bad> {
    let exact = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| exact).ok_or(Bad::Address)
}

pub(super) fn build(addresses: Addresses) -> Vec<u8> {
    let (client, connected) = addresses.in_one_family();
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    // A mapped address is written with its IPv4 part in digits and dots, which every reader takes.
    let (from, to) = (client.ip(), connected.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), connected.port()).into_bytes()
}
