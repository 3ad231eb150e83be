//! A connection string of ODBC: which driver or data source, and what it is told, a password among it.
//!
//! Nothing here connects. No message and no print shows more of it than what cannot be a secret.

use std::fmt;

use model::Secret;
use zeroize::Zeroizing;

/// Attributes that say where a database is and who we are there.
const SHOWN: [&str; 11] = [
    "DSN",
    "FILEDSN",
    "DRIVER",
    "SERVER",
    "SERVERNAME",
    "HOST",
    "PORT",
    "DATABASE",
    "DB",
    "UID",
    "USER",
];

/// What stands in the names of attributes whose values are secrets.
const SECRET: [&str; 5] = ["PWD", "PASS", "SECRET", "TOKEN", "KEY"];

/// A connection string, well-formed.
#[derive(Clone)]
pub struct ConnectionString {
    whole: Secret,
    shown: String,
    hidden: Vec<Zeroizing<String>>,
}

/// A text is no connection string. No message shows any of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidConnectionString {
    /// A part between semicolons has no equals sign.
    #[error("each part between semicolons is NAME=VALUE; one is not")]
    Attribute,
    /// A value in braces goes on behind them, or they do not close.
    #[error("a value that begins with a brace ends with one; one does not")]
    Brace,
    /// It holds a line end, or another control character.
    #[error("it is one line, and holds a control character")]
    Control,
    /// It is longer than any.
    #[error("it has more than {LONGEST} bytes")]
    Long,
    /// It names no driver.
    #[error("it says neither DSN=, FILEDSN= nor DRIVER=")]
    NoDriver,
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    Text,
}

/// More bytes than any connection string has.
const LONGEST: usize = 8192;

impl ConnectionString {
    /// Takes over a connection string.
    ///
    /// # Errors
    /// [`InvalidConnectionString`] if it is none, or names no driver.
    pub fn new(whole: Secret) -> Result<Self, InvalidConnectionString> {
        if whole.reveal().len() > LONGEST {
            return Err(InvalidConnectionString::Long);
        }
        let text = std::str::from_utf8(whole.reveal());
        let text = text.map_err(|_| InvalidConnectionString::Text)?;
        if text.contains(char::is_control) {
            return Err(InvalidConnectionString::Control);
        }
        let attributes = attributes(text)?;
        let is =
            |name: &str, one_of: &[&str]| one_of.iter().any(|it| name.eq_ignore_ascii_case(it));
        if !attributes.iter().any(|(name, _)| is(name, &["DSN", "FILEDSN", "DRIVER"])) {
            return Err(InvalidConnectionString::NoDriver);
        }
        let shown = attributes.iter().filter(|(name, _)| is(name, &SHOWN));
        let shown: Vec<_> = shown.map(|(name, value)| format!("{name}={value}")).collect();
        let hidden = attributes.iter().filter(|(name, _)| is_secret(name));
        let values = hidden.flat_map(|(_, value)| [(*value).to_owned(), bare(value)]);
        let mut hidden: Vec<_> =
            values.filter(|value| !value.is_empty()).map(Zeroizing::new).collect();
        // What stands in braces is a part of what stands there with them.
        hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let shown = shown.join(";");
        Ok(Self { whole, shown, hidden })
    }

    /// All of it.
    pub(super) fn secret(&self) -> &Secret {
        &self.whole
    }

    /// A driver's words, in which secrets are dots.
    pub(super) fn without_secrets(&self, text: &str) -> String {
        let dots = |text: String, secret: &Zeroizing<String>| text.replace(secret.as_str(), "...");
        self.hidden.iter().fold(text.to_owned(), dots)
    }
}

/// Which database, and who we are there. Never a password.
impl fmt::Display for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionString").field(&self.shown).finish()
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET.iter().any(|part| name.contains(part))
}

/// A value as it is meant: without its braces.
fn bare(value: &str) -> String {
    let inner = value.strip_prefix('{').and_then(|value| value.strip_suffix('}'));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace("}}", "}"))
}

/// Names and values, the latter with their braces.
fn attributes(text: &str) -> Result<Vec<(&str, &str)>, InvalidConnectionString> {
    let mut attributes = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(';') {
            rest = behind.trim_start();
            continue;
        }
        let (name, behind) = rest.split_once('=').ok_or(InvalidConnectionString::Attribute)?;
        if name.trim().is_empty() || name.contains(';') {
            return Err(InvalidConnectionString::Attribute);
        }
        let behind = behind.trim_start();
        let (value, next) = behind.split_at(value_length(behind)?);
        attributes.push((name.trim(), value.trim_end()));
        rest = next.trim_start();
    }
    Ok(attributes)
}

/// How long the value is that a text begins with: to the next semicolon that stands in no braces.
fn value_length(text: &str) -> Result<usize, InvalidConnectionString> {
    let Some(inner) = text.strip_prefix('{') else {
        return Ok(text.find(';').unwrap_or(text.len()));
    };
    let mut from = 0;
    loop {
        let behind = inner.get(from..).unwrap_or_default();
        let close = behind.find('}').ok_or(InvalidConnectionString::Brace)?;
        from += close + 1;
        let rest = inner.get(from..).unwrap_or_default();
        if rest.starts_with('}') {
            // Twice, it is itself.
            from += 1;
        } else if rest.trim_start().is_empty() || rest.trim_start().starts_with(';') {
            return Ok(from + 1);
        } else {
            return Err(InvalidConnectionString::Brace);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<ConnectionString, InvalidConnectionString> {
        ConnectionString::new(Secret::new(text).unwrap())
    }

    #[test]
    fn it_shows_where_a_database_is_and_never_a_secret() {
        let whole = "Driver={PostgreSQL Unicode};Server=db1;Uid=posthouse;PWD={a;b}}c};sslmode=require;\
                     ApiToken=t0ken;";
        let string = read(whole).unwrap();
        assert_eq!(string.to_string(), "Driver={PostgreSQL Unicode};Server=db1;Uid=posthouse");
        assert!(!format!("{string:?}").contains("a;b"));
        let said = string.without_secrets("no {a;b}}c}, not a;b}c; t0ken!");
        assert_eq!(said, "no ..., not ...; ...!");
        assert_eq!(read(" dsn = mail ; ; PWD=;").unwrap().to_string(), "dsn=mail");
    }

    #[test]
    fn what_is_wrong_is_told_without_showing_it() {
        for (text, wrong) in [
            ("", InvalidConnectionString::NoDriver),
            ("UID=a;PWD=hunter2", InvalidConnectionString::NoDriver),
            ("DSN=a;hunter2", InvalidConnectionString::Attribute),
            ("DSN=a;hunter2;x=y", InvalidConnectionString::Attribute),
            ("=hunter2", InvalidConnectionString::Attribute),
            ("DSN=a;PWD={hunter2", InvalidConnectionString::Brace),
            ("DSN=a;PWD={hunter2}x;", InvalidConnectionString::Brace),
            ("DSN=a\nPWD=hunter2", InvalidConnectionString::Control),
        ] {
            let told = read(text).unwrap_err();
            assert_eq!(told, wrong, "{text}");
            assert!(!told.to_string().contains("hunter2"));
        }
        let long = format!("DSN={}", "x".repeat(LONGEST));
        assert_eq!(read(&long).unwrap_err(), InvalidConnectionString::Long);
        let bytes = Secret::new(*b"DSN=\xff").unwrap();
        assert_eq!(ConnectionString::new(bytes).unwrap_err(), InvalidConnectionString::Text);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "([A-Za-z=;{} \u{e9}]|DSN=|;PWD=|\\{)*") {
            let _ = read(&text);
        }

        #[test]
        fn a_password_is_hidden_however_a_driver_says_it(password in "[a-z;{}=]{3,12}") {
            let written = format!("{{{}}}", password.replace('}', "}}"));
            let string = read(&format!("UID=x;PWD={written};DSN=mail")).unwrap();
            for said in [&password, &written] {
                prop_assert_eq!(string.without_secrets(&format!("A {said} B")), "A ... B");
            }
        }
    }
}
