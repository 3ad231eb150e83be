//! The words that every source from outside says a user by, and what they mean together: `backend`, `host`,
//! `port`, `user`, `password`, `password_hash`, `id`, `disabled`.
//!
//! Nothing here asks a source. A value of the wrong type or of no use is a mistake of the source's data, named by
//! its field; it is never left out in silence, and no message shows it.

use model::{Host, Secret, UserName};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{CannotSay, Found};
use crate::{Answer, Place};

/// No field has a use for more bytes. What is longer is not kept.
const LONGEST: usize = 4096;

/// The longest id of a mailbox, in bytes.
const LONGEST_ID: usize = 255;

/// A value as a source has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'v> {
    Boolean(bool),
    Bytes(&'v [u8]),
    Integer(i64),
    Null,
    /// Of a type that no field has: what it is, as in "a date".
    Other(&'v str),
    Text(&'v str),
}

/// What a source says of one user, field by field. An empty text is as good as none.
#[derive(Default)]
pub(crate) struct Fields {
    backend: Option<String>,
    host: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<Zeroizing<Vec<u8>>>,
    password_hash: Option<Zeroizing<Vec<u8>>>,
    id: Option<String>,
    disabled: bool,
}

impl Fields {
    /// Their names.
    pub(crate) const NAMES: [&'static str; 8] =
        ["backend", "host", "port", "user", "password", "password_hash", "id", "disabled"];

    /// Takes one field. Its name is matched whatever its case, for databases have their own.
    pub(crate) fn set(&mut self, name: &str, value: Value<'_>) -> Result<(), CannotSay> {
        match name.to_ascii_lowercase().as_str() {
            "backend" => self.backend = text("backend", value)?,
            "host" => self.host = text("host", value)?,
            "port" => self.port = text_or_number("port", value)?,
            "user" => self.user = text_or_number("user", value)?,
            "password" => self.password = secret("password", value)?,
            "password_hash" => self.password_hash = secret("password_hash", value)?,
            "id" => self.id = text_or_number("id", value)?,
            "disabled" => self.disabled = truth("disabled", value)?,
            _ => {
                let shown: String = name.escape_debug().take(100).collect();
                let known = Self::NAMES.join(", ");
                return Err(CannotSay::misconfigured(format_args!(
                    "the answer has a field `{shown}`, which means nothing here; there are {known}"
                )));
            }
        }
        Ok(())
    }

    /// Whether two answers say the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same =
            |one: &Option<Zeroizing<Vec<u8>>>, two: &Option<Zeroizing<Vec<u8>>>| match (one, two) {
                (Some(one), Some(two)) => bool::from(one.ct_eq(two)),
                (None, None) => true,
                _ => false,
            };
        let open = |fields: &Self| {
            let Self { backend, host, port, user, id, disabled, .. } = fields;
            (backend.clone(), host.clone(), port.clone(), user.clone(), id.clone(), *disabled)
        };
        open(self) == open(other)
            && same(&self.password, &other.password)
            && same(&self.password_hash, &other.password_hash)
    }

    /// Where his mail is, in the source's own words.
    pub(crate) fn place_text(&self) -> &str {
        self.backend.as_deref().or(self.host.as_deref()).unwrap_or_default()
    }

    /// Whether his name there stands with the place.
    pub(crate) fn names_user_with_place(&self) -> bool {
        self.user.is_none() && self.backend.as_ref().is_some_and(|backend| backend.contains('@'))
    }

    /// What they say together.
    pub(crate) fn into_found(mut self) -> Result<Found, CannotSay> {
        let (places, user_there) = self.places()?;
        let user = match (self.user, user_there) {
            (Some(_), Some(_)) => {
                return Err(wrong("user", "is given, and `backend` names a user too"));
            }
            (Some(user), None) => {
                Some(UserName::new(user).map_err(|error| wrong("user", error.to_string()))?)
            }
            (None, there) => there,
        };
        let as_secret = |name, bytes: Option<Zeroizing<Vec<u8>>>| match bytes {
            Some(bytes) => match Secret::new(bytes.to_vec()) {
                Ok(secret) => Ok(Some(secret)),
                Err(_) => Err(wrong(name, "holds a NUL byte")),
            },
            None => Ok(None),
        };
        let id = self.id.as_deref().map(mailbox_id).transpose();
        let id = id.map_err(|what| wrong("id", what))?;
        Ok(Found {
            places,
            user,
            secret: as_secret("password", self.password)?,
            verifier: as_secret("password_hash", self.password_hash)?,
            id,
            disabled: self.disabled,
            ..Found::default()
        })
    }

    /// Where his mail is, in order, and his name there.
    fn places(&mut self) -> Result<(Vec<Place>, Option<UserName>), CannotSay> {
        match (self.backend.take(), self.host.take(), self.port.take()) {
            (Some(_), Some(_), _) => Err(wrong("host", "is given beside `backend`")),
            (Some(_), None, Some(_)) => Err(wrong("port", "is given beside `backend`")),
            (Some(listed), None, None) => candidates(&listed),
            (None, Some(host), port) => Ok((vec![at(&host, port.as_deref())?], None)),
            // A port alone is a column's default.
            (None, None, _) => Ok((Vec::new(), None)),
        }
    }
}

/// Reads `[user@]place`, or several separated by commas.
fn candidates(listed: &str) -> Result<(Vec<Place>, Option<UserName>), CannotSay> {
    let mut places = Vec::new();
    let mut users = Vec::new();
    for text in listed.split(',') {
        let answer: Answer = text
            .trim()
            .parse()
            .map_err(|error| wrong("backend", format!("is no answer: {error}")))?;
        places.push(answer.place);
        users.push(answer.user);
    }
    users.dedup();
    match (users.pop(), users.is_empty()) {
        (user, true) => Ok((places, user.flatten())),
        (_, false) => Err(wrong("backend", "names the user differently at its places")),
    }
}

fn at(host: &str, port: Option<&str>) -> Result<Place, CannotSay> {
    let host: Host = host.parse().map_err(|error| wrong("host", format!("is none: {error}")))?;
    let Some(port) = port else {
        let text = host.to_string();
        return text.parse().map_err(|error| wrong("host", format!("is none: {error}")));
    };
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| wrong("port", "is none from 1 to 65535"))?;
    let text = match host {
        Host::Ip(ip) if ip.is_ipv6() => format!("[{ip}]:{port}"),
        host => format!("{host}:{port}"),
    };
    text.parse().map_err(|error| wrong("host", format!("is none: {error}")))
}

/// What stands for a mailbox, if it can. The error says what is wrong with it.
pub(crate) fn mailbox_id(text: &str) -> Result<Box<str>, &'static str> {
    const { assert!(LONGEST_ID == 255) };
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > LONGEST_ID {
        return Err("is longer than 255 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    Ok(text.into())
}

fn wrong(name: &str, what: impl AsRef<str>) -> CannotSay {
    CannotSay::misconfigured(format_args!("`{name}` {}", what.as_ref()))
}

fn text(name: &str, value: Value<'_>) -> Result<Option<String>, CannotSay> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Text(text) => text,
        Value::Bytes(bytes) => {
            within(name, bytes.len())?;
            std::str::from_utf8(bytes).map_err(|_| wrong(name, "is not UTF-8"))?
        }
        Value::Boolean(_) => return Err(wrong(name, "is a boolean, not a text")),
        Value::Integer(_) => return Err(wrong(name, "is a number, not a text")),
        Value::Other(kind) => return Err(of_other_type(name, kind, "a text")),
    };
    within(name, text.len())?;
    if text.contains(['\0', '\r', '\n']) {
        return Err(wrong(name, "holds a line end or NUL"));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn text_or_number(name: &str, value: Value<'_>) -> Result<Option<String>, CannotSay> {
    match value {
        Value::Integer(number) => Ok(Some(number.to_string())),
        value => text(name, value),
    }
}

fn secret(name: &str, value: Value<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, CannotSay> {
    let bytes = match value {
        Value::Null => return Ok(None),
        Value::Text(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        Value::Boolean(_) => return Err(wrong(name, "is a boolean, not a text")),
        Value::Integer(_) => return Err(wrong(name, "is a number, not a text")),
        Value::Other(kind) => return Err(of_other_type(name, kind, "a text")),
    };
    within(name, bytes.len())?;
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(wrong(name, "holds a control character"));
    }
    Ok(Some(Zeroizing::new(bytes.to_vec())).filter(|bytes| !bytes.is_empty()))
}

fn truth(name: &str, value: Value<'_>) -> Result<bool, CannotSay> {
    let word = match value {
        Value::Null => return Ok(false),
        Value::Boolean(yes) => return Ok(yes),
        Value::Integer(number) => return Ok(number != 0),
        Value::Other(kind) => return Err(of_other_type(name, kind, "a boolean")),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).unwrap_or("\u{fffd}"),
        Value::Text(text) => text,
    };
    let is = |words: [&str; 5]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
    match () {
        () if is(["1", "t", "true", "y", "yes"]) => Ok(true),
        () if is(["0", "f", "false", "n", "no"]) || word.is_empty() => Ok(false),
        () => Err(wrong(name, "is neither yes nor no: it is a boolean, a number, or such a word")),
    }
}

fn of_other_type(name: &str, kind: &str, wanted: &str) -> CannotSay {
    wrong(name, format!("is {kind}, not {wanted}: cast it"))
}

fn within(name: &str, length: usize) -> Result<(), CannotSay> {
    if length > LONGEST {
        return Err(wrong(name, format!("has {length} bytes; no more than {LONGEST} are read")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::Reason;
    use proptest::prelude::*;

    use super::*;

    fn found(fields: &[(&str, Value<'_>)]) -> Result<Found, String> {
        let read = || {
            let mut read = Fields::default();
            for (name, value) in fields {
                read.set(name, *value)?;
            }
            read.into_found()
        };
        read().map_err(|cannot| {
            assert_eq!(cannot.reason, Reason::DirectoryMisconfigured);
            cannot.detail
        })
    }

    fn places(fields: &[(&str, Value<'_>)]) -> Result<Vec<String>, String> {
        Ok(found(fields)?.places.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn places_are_named_or_addressed_and_may_be_several() {
        let text = Value::Text;
        let named = places(&[("backend", text("north"))]).unwrap();
        assert_eq!(named, ["north"]);
        let several = found(&[("BACKEND", text("bob@north, bob@[2001:db8::1]:143"))]).unwrap();
        assert_eq!(several.places.len(), 2);
        assert_eq!(several.user.unwrap().as_str(), "bob");
        let addressed = |host, port| places(&[("host", text(host)), ("port", port)]).unwrap();
        assert_eq!(addressed("10.0.0.1", Value::Integer(1143)), ["10.0.0.1:1143"]);
        assert_eq!(addressed("2001:db8::1", text("143")), ["[2001:db8::1]:143"]);
        assert_eq!(addressed("mail.example.org", Value::Null), ["mail.example.org"]);
        let nowhere = [("backend", text("")), ("host", Value::Null), ("port", Value::Integer(143))];
        assert!(places(&nowhere).unwrap().is_empty());
    }

    #[test]
    fn what_contradicts_itself_is_told_by_its_field() {
        let text = Value::Text;
        for (fields, expected) in [
            (&[("backend", text("a")), ("host", text("b"))][..], "`host` is given beside"),
            (&[("backend", text("a")), ("port", text("1"))], "`port` is given beside"),
            (&[("backend", text("x@a")), ("user", text("y"))], "names a user too"),
            (&[("backend", text("x@a,y@b"))], "differently"),
            (&[("host", text("a b"))], "`host` is none"),
            (&[("host", text("a")), ("port", Value::Integer(70_000))], "`port` is none"),
            (&[("backend", Value::Integer(7))], "`backend` is a number"),
            (&[("backend", Value::Other("a date"))], "is a date, not a text"),
            (&[("disabled", text("perhaps"))], "`disabled` is neither"),
            (&[("backend", Value::Bytes(b"\xff"))], "`backend` is not UTF-8"),
            (&[("backend", text("a\r\nDELE 1"))], "`backend` holds a line end"),
            (&[("user", text("a\tb"))], "`user`"),
            (&[("id", text("a\tb"))], "`id` holds a control"),
            (&[("password", Value::Bytes(b"a\0b"))], "`password` holds a control"),
            (&[("colour", text("red"))], "`colour`"),
        ] {
            let told = found(fields).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn what_is_longer_than_any_use_is_not_kept() {
        let long = "x".repeat(1 << 20);
        for name in Fields::NAMES {
            let told = found(&[(name, Value::Text(&long))]).unwrap_err();
            assert!(told.len() < 200 && told.contains(name), "{told}");
        }
    }

    #[test]
    fn answers_are_the_same_only_if_all_of_them_is() {
        let fields = |password: &str, id| {
            let mut fields = Fields::default();
            fields.set("password", Value::Text(password)).unwrap();
            fields.set("id", Value::Integer(id)).unwrap();
            fields
        };
        assert!(fields("a", 1).is_same(&fields("a", 1)));
        assert!(!fields("a", 1).is_same(&fields("b", 1)));
        assert!(!fields("a", 1).is_same(&fields("", 1)));
        assert!(!fields("a", 1).is_same(&fields("a", 2)));
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic_or_tells_a_secret(
            name in "backend|host|port|user|password|password_hash|id|disabled|x",
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            number in any::<i64>(),
        ) {
            let _ = found(&[(&name, Value::Bytes(&bytes))]);
            let _ = found(&[(&name, Value::Integer(number))]);
            let text = format!("31337{}", String::from_utf8_lossy(&bytes));
            if let Err(told) = found(&[("password", Value::Text(&text))]) {
                prop_assert!(!told.contains("31337"));
            }
        }
    }
}
