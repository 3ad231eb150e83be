//! Where an account is, as `imaps://USER@HOST:PORT`.
//!
//! Nothing here looks a name up. No error repeats the text: there may be a password in it.

use std::{fmt, str::FromStr};

use model::{HostPort, InvalidAddress, InvalidUserName, UserName};

/// Where an account is, and perhaps whose it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// How its server is spoken to.
    pub scheme: Scheme,
    /// Whose account it is, where that was said.
    pub user: Option<UserName>,
    /// Its server.
    pub at: HostPort,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// STARTTLS, at port 143.
    Imap,
    /// TLS from the first byte, at port 993.
    Imaps,
}

/// Why a text says no place of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidLocation {
    /// Neither name nor address.
    #[error("{0}; write imaps://USER@HOST or imaps://USER@HOST:PORT")]
    Address(#[from] InvalidAddress),
    /// Something stands behind the server.
    #[error("nothing may stand behind the server: mailboxes are chosen by --include and --exclude")]
    Path,
    /// A colon in the user's name.
    #[error(
        "a `:` stands before the server; a password has no place there, where every user of this \
         machine could read it: put it into a file. In a user's name `:` is written %3A"
    )]
    Password,
    /// A `%` that is followed by something else than two hexadecimal digits.
    #[error("in the user's name a `%` is followed by two hexadecimal digits; `%` itself is %25")]
    Percent,
    /// Neither `imap` nor `imaps`.
    #[error("it begins with neither `imaps://` (TLS) nor `imap://` (STARTTLS)")]
    Scheme,
    /// The user's name is none.
    #[error("the user's name cannot be one: {0}")]
    User(#[from] InvalidUserName),
}

impl Location {
    /// The port: the one that was said, or the scheme's.
    pub fn port(&self) -> u16 {
        self.at.port.unwrap_or_else(|| self.scheme.port())
    }
}

impl Scheme {
    /// The port where nothing else is said.
    pub fn port(self) -> u16 {
        match self {
            Self::Imap => 143,
            Self::Imaps => 993,
        }
    }

    /// The word before `://`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Imaps => "imaps",
        }
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidLocation::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "imap" => Scheme::Imap,
            "imaps" => Scheme::Imaps,
            _ => return Err(InvalidLocation::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A name may hold `@` and `/`, a server neither.
        let (user, at) = match rest.rsplit_once('@') {
            Some((user, at)) => (Some(self::user(user)?), at),
            None => (None, rest),
        };
        if at.contains(['/', '?', '#', ';']) {
            return Err(InvalidLocation::Path);
        }
        Ok(Self { scheme, user, at: at.parse()? })
    }
}

fn user(escaped: &str) -> Result<UserName, InvalidLocation> {
    if escaped.contains(':') {
        return Err(InvalidLocation::Password);
    }
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            name.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let byte = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        name.push(byte.ok_or(InvalidLocation::Percent)?);
    }
    Ok(UserName::from_bytes(&name)?)
}

/// As it is read. Without a port where the scheme says it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.word())?;
        if let Some(user) = &self.user {
            for letter in user.as_str().chars() {
                match letter {
                    '%' | ':' | ' ' => write!(f, "%{:02X}", u32::from(letter))?,
                    _ => write!(f, "{letter}")?,
                }
            }
            f.write_str("@")?;
        }
        let port = self.at.port.filter(|port| *port != self.scheme.port());
        let bare = matches!(&self.at.host, model::Host::Ip(std::net::IpAddr::V6(_)));
        match (port, bare) {
            (None, true) => write!(f, "[{}]", self.at.host),
            _ => HostPort { host: self.at.host.clone(), port }.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_last_at_splits_and_an_escaped_one_belongs_to_the_name() {
        let cases = [
            ("imaps://ann@old.test", "ann", "old.test", 993),
            ("imap://ann@old.test", "ann", "old.test", 143),
            ("IMAPS://ann@example.org@Old.Test:1993", "ann@example.org", "old.test", 1993),
            ("imap://ann%40example.org@old.test/", "ann@example.org", "old.test", 143),
            ("imaps://a%3Ab%25@[2001:db8::1]:10993", "a:b%", "2001:db8::1", 10993),
            ("imaps://dom/ann@old.test", "dom/ann", "old.test", 993),
        ];
        for (text, user, host, port) in cases {
            let location = location(text);
            assert_eq!(location.user.as_ref().unwrap().as_str(), user, "{text}");
            assert_eq!(location.at.host.to_string(), host, "{text}");
            assert_eq!(location.port(), port, "{text}");
        }
        assert_eq!(location("imaps://old.test").user, None);
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for text in [
            "imaps://ann@old.test",
            "imap://ann@example.org@old.test:1143",
            "imaps://a%3Ab%25c@[2001:db8::1]",
            "imaps://[2001:db8::1]:10993",
            "imap://a%20b@10.0.0.1",
        ] {
            assert_eq!(location(text).to_string(), text);
        }
        assert_eq!(location("imaps://ann@old.test:993/").to_string(), "imaps://ann@old.test");
    }

    #[test]
    fn a_mistake_is_told_without_repeating_what_may_be_a_password() {
        let cases = [
            ("old.test", "imaps://"),
            ("pop3://hunter2@old.test", "imaps://"),
            ("imaps://ann:hunter2@old.test", "put it into a file"),
            ("imaps://ann:hunter2@evil@old.test", "put it into a file"),
            ("imaps://100%hunter2@old.test", "%25"),
            ("imaps://ann%4@old.test", "%25"),
            ("imaps://ann@old.test/INBOX", "--include"),
            ("imaps://ann@old.test:imap", "port"),
            ("imaps://ann@", "host"),
            ("imaps://@old.test", "name"),
            ("imaps://ann%0A@old.test", "name"),
        ];
        for (text, told) in cases {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
