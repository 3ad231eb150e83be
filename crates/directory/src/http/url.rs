//! Where a server is, as `https://host:port/path?with={placeholders}`.
//!
//! Nothing here asks it.

use std::{fmt, str::FromStr};

use model::{Host, HostPort};

use crate::{InvalidTemplate, Placeholder, Query, Template};

/// An address of HTTP. Placeholders can stand behind the server's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Url {
    private: bool,
    at: HostPort,
    target: Template,
    text: String,
}

/// Why a text is no address of HTTP that can be asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUrl {
    /// There are characters in it that have to be escaped.
    #[error("there is a character in it that has to be written as %XX, or a `#`")]
    Character,
    /// Its server is none.
    #[error("its server is none: {0}")]
    Host(#[from] model::InvalidAddress),
    /// It begins otherwise.
    #[error("it begins with neither `https://` nor `http://`")]
    Scheme,
    /// The placeholders in it are none.
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
}

impl Url {
    /// Whether it is asked by TLS.
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// The server's host.
    pub fn host(&self) -> &Host {
        &self.at.host
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.at.port.unwrap_or(if self.private { 443 } else { 80 })
    }

    /// The placeholders in it.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.target.placeholders()
    }

    /// The server alone: nothing of it is about a user.
    pub fn origin(&self) -> String {
        let scheme = if self.private { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// The server as it stands in `Host`, with its port where that is not the usual one.
    pub(crate) fn authority(&self) -> String {
        let at = HostPort { port: Some(self.port()), ..self.at.clone() };
        let usual = if self.private { ":443" } else { ":80" };
        let text = at.to_string();
        text.strip_suffix(usual).unwrap_or(&text).to_owned()
    }

    /// Path and query where nothing of them is about a user.
    pub(crate) fn fixed_target(&self) -> String {
        self.target.filled_with("")
    }

    /// Path and query for a question.
    pub(crate) fn target(&self, query: &Query, key: &str) -> String {
        self.target.render(query, key, escaped)
    }
}

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (private, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(InvalidUrl::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (at, target) = rest.split_at(end);
        let needs_escape = |c: char| {
            !c.is_ascii_graphic() || matches!(c, '#' | '"' | '<' | '>' | '\\' | '^' | '`')
        };
        if target.contains(needs_escape) {
            return Err(InvalidUrl::Character);
        }
        let root = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{root}{target}").parse()?;
        Ok(Self { private, at: at.parse()?, target, text: text.to_owned() })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A value as one piece of a path or a query (RFC 3986 section 2.1). A dot alone would be a step in a path.
fn escaped(value: &str) -> String {
    let all_dots = !value.is_empty() && value.bytes().all(|byte| byte == b'.');
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && !all_dots) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use model::{CanonicalUser, Protocol, UserName};
    use proptest::prelude::*;

    use super::*;

    fn query(user: &str) -> Query {
        let user = CanonicalUser::declare(UserName::new(user).unwrap());
        Query::without_client(user, Protocol::Imap)
    }

    #[test]
    fn an_address_names_its_server_and_its_port() {
        for (text, origin, port) in [
            ("http://127.0.0.1:8080/auth", "http://127.0.0.1:8080", 8080),
            ("https://Auth.Example.org", "https://auth.example.org", 443),
            ("https://auth.example.org:443/", "https://auth.example.org", 443),
            ("http://auth.example.org:443/", "http://auth.example.org:443", 443),
            ("http://[2001:db8::1]:81?u={user}", "http://[2001:db8::1]:81", 81),
            ("http://[2001:db8::1]/", "http://[2001:db8::1]", 80),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.origin().as_str(), url.port()), (origin, port), "{text}");
            assert_eq!(url.to_string(), text);
        }
        let bare: Url = "http://a".parse().unwrap();
        assert_eq!(bare.target(&query("bob"), "bob"), "/");
    }

    #[test]
    fn what_is_no_address_is_told_so() {
        for text in [
            "",
            "ftp://a/",
            "a.example.org",
            "http://",
            "http:///auth",
            "http://a b/",
            "http://{user}/",
            "http://me:secret@a/",
            "http://a/ b",
            "http://a/#b",
            "http://a/\u{e4}",
            "http://a/{usr}",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leaves_the_place_that_it_was_given(user in "[^\\p{Cc}]{1,40}") {
            let Ok(name) = UserName::new(&*user) else { return Ok(()) };
            let url: Url = "http://a/users/{user}/mail?as={user}".parse().unwrap();
            let target = url.target(&query(name.as_str()), name.as_str());
            let inside = target.strip_prefix("/users/").unwrap();
            let (path, asked) = inside.split_once("/mail?as=").unwrap();
            prop_assert_eq!(path, asked);
            prop_assert!(!path.contains(['/', '?', '#', '&', '=', '+', ' ', ';']));
            prop_assert!(path != "." && path != ".." && path.is_ascii());
            prop_assert!(target.parse::<hyper::Uri>().is_ok());
        }
    }
}
