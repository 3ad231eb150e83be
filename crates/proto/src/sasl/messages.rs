//! The messages of the mechanisms: read as clients send them, built anew for back ends.
//!
//! Nothing here copies a message from one side to the other.

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Credentials, HostPort, Mechanism, Proof, Secret, Token, UserName};
use zeroize::Zeroizing;

/// The mechanisms that carry a token. Where a back end has only one of them, it serves for both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenMechanism {
    /// OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// XOAUTH2.
    XOAuth2,
}

impl TokenMechanism {
    /// The mechanism as one that carries a token; `None` if it carries none.
    pub fn of(mechanism: Mechanism) -> Option<Self> {
        match mechanism {
            Mechanism::OAuthBearer => Some(Self::OAuthBearer),
            Mechanism::XOAuth2 => Some(Self::XOAuth2),
            Mechanism::Command
            | Mechanism::External
            | Mechanism::Login
            | Mechanism::Plain
            | Mechanism::ScramSha256
            | Mechanism::ScramSha256Plus => None,
        }
    }

    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::OAuthBearer => Self::XOAuth2,
            Self::XOAuth2 => Self::OAuthBearer,
        }
    }

    /// Its registered name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// What a client answers to a challenge that says why its token was refused, without line end: RFC 7628
    /// section 3.2.3 has the byte 1, in base64; XOAUTH2 has nothing.
    pub(crate) fn answer_to_challenge(self) -> &'static str {
        match self {
            Self::OAuthBearer => "AQ==",
            Self::XOAuth2 => "",
        }
    }
}

/// Divides the fields of OAUTHBEARER and XOAUTH2.
const FIELD_END: u8 = 1;

/// Builds PLAIN's message (RFC 4616), in base64.
pub fn plain(authzid: Option<&UserName>, user: &UserName, secret: &Secret) -> Zeroizing<String> {
    let authzid = authzid.map_or("", UserName::as_str).as_bytes();
    encode(&[authzid, b"\0", user.as_str().as_bytes(), b"\0", secret.reveal()])
}

/// Builds EXTERNAL's message, which is the authorization identity (RFC 4422 appendix A.2), in base64.
pub fn external(user: &UserName) -> Zeroizing<String> {
    encode(&[user.as_str().as_bytes()])
}

/// Builds OAUTHBEARER's message (RFC 7628 section 3.1), in base64. `server` is the back end as it knows
/// itself, where it wants to be told.
pub fn oauthbearer(user: &UserName, token: &Token, server: Option<&HostPort>) -> Zeroizing<String> {
    let user = user.as_str().replace('=', "=3D").replace(',', "=2C");
    let host = server.map(|server| format!("host={}\x01", server.host)).unwrap_or_default();
    let port = server.and_then(|server| server.port);
    let port = port.map(|port| format!("port={port}\x01")).unwrap_or_default();
    encode(&[
        b"n,a=",
        user.as_bytes(),
        b",\x01",
        host.as_bytes(),
        port.as_bytes(),
        b"auth=Bearer ",
        token.secret().reveal(),
        b"\x01\x01",
    ])
}

/// Builds XOAUTH2's message, in base64.
pub fn xoauth2(user: &UserName, token: &Token) -> Zeroizing<String> {
    let user = user.as_str().as_bytes();
    encode(&[b"user=", user, b"\x01auth=Bearer ", token.secret().reveal(), b"\x01\x01"])
}

/// Puts the parts of a message together, in base64.
fn encode(parts: &[&[u8]]) -> Zeroizing<String> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    // Sized beforehand: growing would leave copies behind.
    let mut message = Zeroizing::new(Vec::with_capacity(length));
    parts.iter().for_each(|part| message.extend_from_slice(part));
    let mut text = Zeroizing::new(String::with_capacity(length.div_ceil(3) * 4));
    STANDARD.encode_string(&*message, &mut text);
    text
}

/// Builds credentials from what came over the wire; `None` if they cannot be any.
pub(crate) fn credentials(mechanism: Mechanism, user: &[u8], secret: &[u8]) -> Option<Credentials> {
    let user = UserName::from_bytes(user).ok()?;
    let proof = Proof::Password(Secret::new(secret).ok()?);
    Some(Credentials { mechanism, user, proof })
}

/// RFC 4616 section 2: `[authzid] NUL authcid NUL passwd`.
pub(super) fn read_plain(message: &[u8]) -> Option<Credentials> {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (authzid, authcid, secret) = (parts.next()?, parts.next()?, parts.next()?);
    // To act as another needs a right that nobody has here.
    if !authzid.is_empty() && authzid != authcid {
        return None;
    }
    credentials(Mechanism::Plain, authcid, secret)
}

/// RFC 4422 appendix A: nothing, or who the certificate says the client is.
pub(super) fn read_external(message: &[u8], certificate: UserName) -> Option<Credentials> {
    if !message.is_empty() && message != certificate.as_str().as_bytes() {
        return None;
    }
    let (mechanism, proof) = (Mechanism::External, Proof::Certificate);
    Some(Credentials { mechanism, user: certificate, proof })
}

/// RFC 7628 section 3.1: a GS2 header, then fields.
pub(super) fn read_oauthbearer(message: &[u8]) -> Option<Credentials> {
    let (header, fields) = split_at_byte(message, FIELD_END)?;
    let mut parts = header.split(|byte| *byte == b',');
    let (binding, authzid, end) = (parts.next()?, parts.next()?, parts.next()?);
    // Channel binding (`p=`) has no meaning for this mechanism (RFC 7628 section 3.1).
    if !matches!(binding, b"n" | b"y") || !end.is_empty() || parts.next().is_some() {
        return None;
    }
    // Without it only the token knows the user, and the token is not ours to read.
    let user = read_saslname(authzid.strip_prefix(b"a=")?)?;
    let (mechanism, user) = (Mechanism::OAuthBearer, UserName::from_bytes(&user).ok()?);
    Some(Credentials { mechanism, user, proof: Proof::Token(read_token(fields)?) })
}

/// `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
pub(super) fn read_xoauth2(message: &[u8]) -> Option<Credentials> {
    let (user, fields) = split_at_byte(message, FIELD_END)?;
    let user = UserName::from_bytes(user.strip_prefix(b"user=")?).ok()?;
    let proof = Proof::Token(read_token(fields)?);
    Some(Credentials { mechanism: Mechanism::XOAuth2, user, proof })
}

/// Finds the token in fields of the form `key=value ^A`, behind which stands one more ^A. It must be given
/// once: of two, who knows which one the next server takes.
fn read_token(fields: &[u8]) -> Option<Token> {
    let fields = fields.strip_suffix(&[FIELD_END, FIELD_END])?;
    let mut values = fields
        .split(|byte| *byte == FIELD_END)
        .filter_map(|field| split_at_byte(field, b'='))
        .filter(|(key, _)| key.eq_ignore_ascii_case(b"auth"))
        .map(|(_, value)| value);
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = split_at_byte(value, b' ')?;
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return None;
    }
    Token::new(token.trim_ascii_start()).ok()
}

/// RFC 5801 section 4, `saslname`: a comma is `=2C`, an equals sign `=3D`.
fn read_saslname(text: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'=' {
            name.push(*byte);
            continue;
        }
        let (escaped, behind) = rest.split_at_checked(2)?;
        rest = behind;
        name.push(match escaped {
            b"2C" | b"2c" => b',',
            b"3D" | b"3d" => b'=',
            _ => return None,
        });
    }
    Some(name)
}

fn split_at_byte(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..position)?, bytes.get(position + 1..)?))
}

#[cfg(test)]
mod tests;
