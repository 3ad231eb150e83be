//! Reads values of a TOML document into types that cannot be wrong, and goes on after a mistake.
//! Nothing here knows which keys there are: `file` says that, by the `table!` macro.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use model::{BackendName, Host, Protocol, Secret, UserName};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    expand::{Incomplete, expand},
    mistake::{Mistake, is_harmless, suggest},
};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) span: Range<usize>,
    pub(super) value: T,
}

/// What became of a key.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    /// It does not stand in the file.
    #[default]
    Absent,
    /// It stands there with a mistake that has been told.
    Wrong,
    /// It stands there.
    Given(At<T>),
}

impl<T> Field<T> {
    /// What was given, if it could be read.
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// The value that was given.
    pub(super) fn value(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    /// The value that was given, or another.
    pub(super) fn or(&self, default: T) -> T
    where
        T: Clone,
    {
        self.value().cloned().unwrap_or(default)
    }

    /// Whether the key is missing: one that was told to be wrong is not told to be missing too.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Notes that the key was most likely meant by one that we do not know.
    pub(super) fn misspelt(&mut self) {
        if self.is_absent() {
            *self = Self::Wrong;
        }
    }
}

/// What reading needs, and what it found.
pub(super) struct Reader<'r> {
    source: &'r str,
    /// The configuration file's folder, from which relative paths count.
    folder: &'r Path,
    variable: &'r dyn Fn(&str) -> Option<String>,
    pub(super) mistakes: Vec<Mistake>,
    /// Where secrets stand.
    pub(super) hidden: Vec<Range<usize>>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        source: &'r str,
        folder: &'r Path,
        variable: &'r dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { source, folder, variable, mistakes: Vec::new(), hidden: Vec::new() }
    }

    /// Notes a mistake.
    pub(super) fn note(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Reads one key's value.
    pub(super) fn field<T: Read>(&mut self, value: &Spanned<DeValue<'_>>) -> Field<T> {
        match T::read(value, self) {
            Some(read) => Field::Given(At { span: value.span(), value: read }),
            None => Field::Wrong,
        }
    }

    /// Notes a key that is none of `known`, and gives back the one that was meant.
    pub(super) fn unknown_key<'k>(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        table: &str,
        known: &[&'k str],
    ) -> Option<&'k str> {
        let meant = suggest(key.get_ref(), known);
        if !meant.is_some_and(|meant| is_harmless(key.get_ref(), meant)) {
            self.hide(value);
        }
        let help = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the keys of {table} are: {}", known.join(", ")),
        };
        let mistake = Mistake::error(&key.span(), format!("unknown key `{}`", key.get_ref()));
        self.note(mistake.label(format!("not a key of {table}")).help(help));
        meant
    }

    /// Keeps what stands in a value from being shown.
    pub(super) fn hide(&mut self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Array(array) => array.iter().for_each(|value| self.hide(value)),
            DeValue::Table(table) => table.iter().for_each(|(_, value)| self.hide(value)),
            _ => self.hidden.push(value.span()),
        }
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, expected: &str) {
        let title = format!("{expected} is expected here, not {}", kind(value.get_ref()));
        self.note(Mistake::error(&value.span(), title));
    }

    /// The table that a value is.
    pub(super) fn table<'v, 'i>(
        &mut self,
        value: &'v Spanned<DeValue<'i>>,
        name: &str,
    ) -> Option<&'v DeTable<'i>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(value, &format!("a table, {name},"));
            return None;
        };
        Some(table)
    }

    /// A text, its variables replaced.
    fn text(&mut self, value: &Spanned<DeValue<'_>>, expected: &str) -> Option<String> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(value, expected);
            return None;
        };
        match expand(text, self.variable) {
            Ok(text) => Some(text),
            Err(Incomplete::Missing { name, at }) => {
                let span = self.place_within(value, text, &at);
                let mistake =
                    Mistake::error(&span, format!("the environment variable {name} is not set"));
                let help = format!("set it, or write `${{{name}:-default}}`");
                self.note(mistake.help(help));
                None
            }
            Err(Incomplete::Open { at }) => {
                let span = self.place_within(value, text, &at);
                let mistake = Mistake::error(&span, "`${` without its `}`");
                self.note(mistake.help("to have `${` itself, write `$${`"));
                None
            }
        }
    }

    /// The place of a part of a text, where the text stands in the file as it is read; else the
    /// whole text's.
    fn place_within(
        &self,
        value: &Spanned<DeValue<'_>>,
        text: &str,
        part: &Range<usize>,
    ) -> Range<usize> {
        self.within(&value.span(), text, part)
    }

    /// As [`Self::place_within`], for a text that was read before.
    pub(super) fn within(
        &self,
        whole: &Range<usize>,
        text: &str,
        part: &Range<usize>,
    ) -> Range<usize> {
        let written = self.source.get(whole.clone()).unwrap_or_default();
        match written.find(text) {
            Some(offset) => {
                let start = whole.start + offset;
                start + part.start..start + part.end
            }
            None => whole.clone(),
        }
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(value, expected)?;
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let title = format!("this is not {expected}: {error}");
                self.note(Mistake::error(&value.span(), title));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(value, what)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let help = match suggest(&text, &known) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write \"{}\"", known.join("\" or \"")),
        };
        let title = format!("\"{}\" is not {what}", text.escape_debug());
        self.note(Mistake::error(&value.span(), title).help(help));
        None
    }

    fn number(&mut self, value: &Spanned<DeValue<'_>>, allowed: Range<u64>) -> Option<u64> {
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(value, "a whole number");
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| allowed.contains(number));
        if number.is_none() {
            let (from, to) = (allowed.start, allowed.end.saturating_sub(1));
            let title = format!("a number from {from} to {to} is expected here");
            self.note(Mistake::error(&value.span(), title));
        }
        number
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A type that stands in the file.
pub(super) trait Read: Sized {
    /// Reads a value; where there is a mistake, notes it and gives back nothing.
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// A table of the file, key by key.
pub(super) trait Keyed {
    /// Its keys, in the order in which they are declared.
    fn keys(&self) -> &'static [&'static str];

    /// Reads a key's value, if it is one of this table's.
    fn take(&mut self, key: &str, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> bool;

    /// Notes that a key was most likely meant by one that is not known.
    fn misspelt(&mut self, key: &str);
}

/// What has a name for people.
pub(super) trait Shown {
    /// As it is written in the file.
    const SHOWN: &'static str;
}

/// Declares a table of the file: its name for people, its keys and their types. Unknown keys and
/// wrong types are noted, and reading goes on.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident, $shown:literal {
        $($(#[$field_doc:meta])* $key:literal = $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(in crate::config) struct $name {
            $($(#[$field_doc])* pub(in crate::config) $field: Field<$type>,)*
        }

        impl crate::config::read::Shown for $name {
            const SHOWN: &'static str = $shown;
        }

        impl Keyed for $name {
            fn keys(&self) -> &'static [&'static str] {
                &[$($key),*]
            }

            fn take(
                &mut self,
                key: &str,
                value: &Spanned<DeValue<'_>>,
                reader: &mut Reader<'_>,
            ) -> bool {
                match key {
                    $($key => self.$field = reader.field(value),)*
                    _ => return false,
                }
                true
            }

            fn misspelt(&mut self, key: &str) {
                match key {
                    $($key => self.$field.misspelt(),)*
                    _ => {}
                }
            }
        }

        impl Read for $name {
            fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
                let table = reader.table(value, $shown)?;
                let mut read = Self::default();
                for (key, value) in table {
                    if !read.take(key.get_ref(), value, reader)
                        && let Some(meant) = reader.unknown_key(key, value, $shown, read.keys())
                    {
                        read.misspelt(meant);
                    }
                }
                Some(read)
            }
        }
    };
}
pub(super) use table;

/// A list, or one value in place of a list of one.
#[derive(Clone, Debug)]
pub(super) struct Listed<T>(pub(super) Vec<At<T>>);

impl<T: Read> Read for Listed<T> {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let single = std::slice::from_ref(value);
        let values: &[_] = if let DeValue::Array(array) = value.get_ref() { array } else { single };
        let mut read = Vec::with_capacity(values.len());
        for value in values {
            read.push(At { span: value.span(), value: T::read(value, reader)? });
        }
        Some(Self(read))
    }
}

/// Tables under one name, `[[name]]`. What can be read of them is kept when one is wrong.
#[derive(Debug)]
pub(super) struct Tables<T>(pub(super) Vec<At<T>>);

impl<T: Read> Read for Tables<T> {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(array) = value.get_ref() else {
            let title = "a list of tables is expected here";
            let help = "write its name in two brackets, as in [[listener]]";
            reader.note(Mistake::error(&value.span(), title).help(help));
            return None;
        };
        let read = |value: &Spanned<DeValue<'_>>| {
            Some(At { span: value.span(), value: T::read(value, reader)? })
        };
        Some(Self(array.iter().filter_map(read).collect()))
    }
}

/// Tables with names of their own, as `[backend.NAME]`, in the order of the file.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) Vec<(At<BackendName>, T)>);

impl<T: Read + Shown> Read for Named<T> {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let table = reader.table(value, T::SHOWN)?;
        let mut read = Vec::new();
        for (key, value) in table {
            let inside = T::read(value, reader);
            match (BackendName::new(key.get_ref()), inside) {
                (Ok(name), Some(inside)) => {
                    read.push((At { span: key.span(), value: name }, inside));
                }
                (Err(error), _) => reader.note(Mistake::error(&key.span(), error.to_string())),
                (Ok(_), None) => {}
            }
        }
        read.sort_by_key(|(name, _)| name.span.start);
        Some(Self(read))
    }
}

impl Read for bool {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Boolean(yes) = value.get_ref() else {
            reader.wrong_type(value, "true or false");
            return None;
        };
        Some(*yes)
    }
}

/// A TCP port.
impl Read for u16 {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        Self::try_from(reader.number(value, 1..65536)?).ok()
    }
}

/// A count.
impl Read for u32 {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        Self::try_from(reader.number(value, 0..1 << 32)?).ok()
    }
}

/// A text in which `${NAME}` is no variable: to a regular expression it is a group.
#[derive(Clone, Debug)]
pub(super) struct Literally(pub(super) String);

impl Read for Literally {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::String(text) = value.get_ref() else {
            reader.wrong_type(value, "a text");
            return None;
        };
        Some(Self(text.to_string()))
    }
}

impl Read for String {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(value, "a text")
    }
}

impl Read for PathBuf {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let folder = reader.folder;
        reader.parsed(value, "the path of a file or folder", |text| {
            if text.is_empty() || text.contains('\0') {
                return Err("there is nothing in it that could be a name");
            }
            Ok(folder.join(text))
        })
    }
}

impl Read for Secret {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.hidden.push(value.span());
        reader.parsed(value, "a secret", |text| match text {
            "" => Err("it is empty".to_owned()),
            text => Self::new(text).map_err(|error| error.to_string()),
        })
    }
}

impl Read for UserName {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a user name", |text| Self::new(text))
    }
}

impl Read for BackendName {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "the name of a back end", Self::new)
    }
}

impl Read for Host {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a host", |text| {
            Self::from_str(text).map_err(|error| {
                if text.rsplit_once(':').is_some() {
                    "the port goes into `imap_port` or `pop3_port`".to_owned()
                } else {
                    error.to_string()
                }
            })
        })
    }
}

impl Read for Protocol {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let words = Self::ALL.map(|protocol| (protocol.word(), protocol));
        reader.word(value, "a protocol", &words)
    }
}

/// A number with its unit: `500ms`, `30s`, `5m`, `2h`, `1d`.
impl Read for Duration {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a duration, such as \"30s\",", |text| {
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = text.get(digits.len()..).unwrap_or_default();
            let milliseconds: u64 = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err("write a number and one of ms, s, m, h, d"),
            };
            let count: u64 = digits.trim().parse().map_err(|_| "the number is missing or wrong")?;
            let whole = count.checked_mul(milliseconds).ok_or("it is too long")?;
            Ok(Self::from_millis(whole))
        })
    }
}

/// The SHA-256 of a certificate, in hexadecimal digits; colons between them may stay.
impl Read for [u8; 32] {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a SHA-256 fingerprint", |text| {
            let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
            let nibble = |digit: &u8| {
                let value = char::from(*digit).to_digit(16)?;
                u8::try_from(value).ok()
            };
            let byte = |pair: &[u8]| match pair {
                [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
                _ => None,
            };
            let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
            let wrong = "it has 64 hexadecimal digits";
            Self::try_from(bytes.ok_or(wrong)?).map_err(|_| wrong)
        })
    }
}
