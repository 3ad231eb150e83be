//! The messages of SCRAM (RFC 5802 section 7): read into types, and the parts that are built from.
//!
//! Nothing here computes a proof.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use model::UserName;
use zeroize::Zeroizing;

/// What ties an exchange to the TLS connection beneath it (RFC 5802 section 6), as far as it is known.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ChannelBindings {
    /// `tls-exporter` (RFC 9266): of TLS 1.3 only.
    pub exporter: Option<Box<[u8]>>,
    /// `tls-server-end-point` (RFC 5929 section 4): the digest of the server's certificate.
    pub server_end_point: Option<Box<[u8]>>,
}

impl ChannelBindings {
    /// Whether nothing is known, so that no -PLUS mechanism can be taken.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none() && self.server_end_point.is_none()
    }

    /// What is known of a type, by its registered name.
    pub(super) fn of(&self, name: &str) -> Option<&[u8]> {
        match name {
            "tls-exporter" => self.exporter.as_deref(),
            "tls-server-end-point" => self.server_end_point.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = ["tls-exporter", "tls-server-end-point"].into_iter();
        f.debug_set().entries(known.filter(|name| self.of(name).is_some())).finish()
    }
}

/// One side's part of the nonce: printable ASCII without comma, drawn anew for each exchange.
#[derive(Clone)]
pub struct Nonce(Box<str>);

impl Nonce {
    /// A nonce of random bytes.
    pub fn of(random: [u8; 18]) -> Self {
        Self(STANDARD.encode(random).into())
    }

    /// Takes a nonce as it stands; for known answers.
    #[cfg(test)]
    pub(super) fn known(text: &str) -> Self {
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// What a client says of channel binding.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Flag<'m> {
    /// `n`: it does not know of it.
    Unable,
    /// `y`: it could, and believes that we cannot.
    Unused,
    /// `p`: it uses this type.
    Used(&'m str),
}

/// client-first-message.
#[derive(Debug)]
pub(super) struct ClientFirst<'m> {
    pub(super) flag: Flag<'m>,
    /// The GS2 header as it stands, commas included.
    pub(super) header: &'m str,
    pub(super) authzid: Option<UserName>,
    pub(super) user: UserName,
    pub(super) nonce: &'m str,
    /// client-first-message-bare.
    pub(super) bare: &'m str,
}

/// The longest nonce that is taken of a client. Those in use have under 50 bytes.
const MAX_NONCE: usize = 256;

impl<'m> ClientFirst<'m> {
    pub(super) fn read(message: &'m [u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let mut parts = message.splitn(3, ',');
        let (flag, authzid, bare) = (parts.next()?, parts.next()?, parts.next()?);
        let header = message.strip_suffix(bare)?;
        let flag = match flag {
            "n" => Flag::Unable,
            "y" => Flag::Unused,
            other => Flag::Used(other.strip_prefix("p=")?),
        };
        let authzid = match authzid {
            "" => None,
            named => Some(read_name(named.strip_prefix("a=")?)?),
        };
        // `m=` before the name would be an extension that has to be understood.
        let mut attributes = bare.split(',');
        let user = read_name(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if !is_nonce(nonce) || nonce.len() > MAX_NONCE || !attributes.all(is_attribute) {
            return None;
        }
        Some(Self { flag, header, authzid, user, nonce, bare })
    }
}

/// client-final-message.
pub(super) struct ClientFinal<'m> {
    pub(super) binding: &'m str,
    pub(super) nonce: &'m str,
    pub(super) proof: Zeroizing<Vec<u8>>,
    /// client-final-message-without-proof.
    pub(super) without_proof: &'m str,
}

impl<'m> ClientFinal<'m> {
    pub(super) fn read(message: &'m [u8]) -> Option<Self> {
        let message = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let proof = Zeroizing::new(STANDARD.decode(proof).ok()?);
        let mut attributes = without_proof.split(',');
        let binding = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let whole = attributes.all(is_attribute);
        whole.then_some(Self { binding, nonce, proof, without_proof })
    }
}

/// server-first-message.
pub(super) struct ServerFirst<'m> {
    pub(super) nonce: &'m str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

impl<'m> ServerFirst<'m> {
    pub(super) fn read(message: &'m str) -> Option<Self> {
        let mut attributes = message.split(',');
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        let salt = STANDARD.decode(attributes.next()?.strip_prefix("s=")?).ok()?;
        let iterations = attributes.next()?.strip_prefix("i=")?;
        if !iterations.bytes().all(|byte| byte.is_ascii_digit()) || !attributes.all(is_attribute) {
            return None;
        }
        let iterations = iterations.parse().ok().filter(|_| !salt.is_empty())?;
        Some(Self { nonce, salt, iterations })
    }
}

/// A name as `saslname`, which has neither comma nor equals sign.
pub(super) fn write_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a `saslname` and prepares it (RFC 4013).
fn read_name(written: &str) -> Option<UserName> {
    let mut name = String::with_capacity(written.len());
    let mut parts = written.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        let (escaped, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (None, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        name.push(escaped);
        name.push_str(rest);
    }
    let prepared = stringprep::saslprep(&name).ok()?;
    UserName::new(&*prepared).ok()
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Whether this is an attribute that may be passed over: `x=` and a value.
fn is_attribute(text: &str) -> bool {
    matches!(text.as_bytes(), [name, b'=', _, ..] if name.is_ascii_alphabetic() && *name != b'm')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Option<ClientFirst<'_>> {
        ClientFirst::read(message.as_bytes())
    }

    #[test]
    fn a_name_with_comma_and_equals_sign_comes_through() {
        let first = read("n,a=x=3Dy=2C,n=x=3Dy=2C,r=abc,x=1").unwrap();
        assert_eq!((first.user.as_str(), first.nonce), ("x=y,", "abc"));
        assert_eq!(first.authzid, Some(first.user));
        assert_eq!((first.header, first.bare), ("n,a=x=3Dy=2C,", "n=x=3Dy=2C,r=abc,x=1"));
        assert_eq!(write_name("x=y,"), "x=3Dy=2C");
    }

    #[test]
    fn names_are_prepared_and_what_cannot_be_is_no_name() {
        assert_eq!(read("n,,n=\u{2168}\u{ad},r=x").unwrap().user.as_str(), "IX");
        assert!(read("n,,n=\u{7},r=x").is_none());
        assert!(read("n,,n=\u{ad},r=x").is_none());
    }

    #[test]
    fn what_is_malformed_is_not_guessed_at() {
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=",
            "n,,n=u",
            "n,,n=u,r=",
            "n,,r=x,n=u",
            "n,,n=u,r=a b",
            "n,,n=u=,r=x",
            "n,,n=u=2c,r=x",
            "n,,m=e,n=u,r=x",
            "n,,n=u,r=x,m=e",
            "n,,n=u,r=x,",
            "n,,n=u,r=x,x=",
            "p,,n=u,r=x",
            "N,,n=u,r=x",
            "n,u,n=u,r=x",
            "n,a=,n=u,r=x",
            " n,,n=u,r=x",
            "n,,n=u,r=\u{e4}",
        ] {
            assert!(read(message).is_none(), "{message}");
        }
        assert!(ClientFirst::read(b"n,,n=\xff,r=x").is_none());
        assert!(read(&format!("n,,n=u,r={}", "x".repeat(257))).is_none());
        for message in
            ["", "c=biws", "c=biws,r=x", "c=biws,r=x,p=", "r=x,c=biws,p=AAAA", "c=biws,r=x,p=?"]
        {
            let read = ClientFinal::read(message.as_bytes());
            assert!(read.is_none_or(|read| read.proof.is_empty()), "{message}");
        }
        for message in [
            "",
            "r=x",
            "r=x,s=AAAA",
            "r=x,s=,i=1",
            "r=x,s=AAAA,i=+1",
            "r=x,s=AAAA,i=9999999999",
            "m=x,r=x,s=AAAA,i=1",
        ] {
            assert!(ServerFirst::read(message).is_none(), "{message}");
        }
    }
}
