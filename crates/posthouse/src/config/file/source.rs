//! The shape of `[[directory]]`: keys that every source has, and each kind's own.

use std::{path::PathBuf, time::Duration};

use ::directory::Template;
use model::BackendName;
use toml::{Spanned, de::DeValue};

use super::{HttpSource, LdapSource, OdbcSource, SqlSource, SqliteSource, words};
use crate::config::read::{Field, Keyed, Listed, Literally, Read, Reader, Tables, table};

table! {
    /// What every source of the directory can have.
    Common, "[[directory]]" {
        /// Which kind it is.
        "source" = source: SourceWord,
        /// How log and messages call it.
        "name" = name: String,
        /// The back end whose settings count for addresses that no back end has.
        "template" = template: BackendName,
        /// What it is asked for.
        "gives" = gives: Gives,
        /// What becomes of a login when it cannot say.
        "on_error" = on_error: OnError,
        /// The keys under which it is asked, in order.
        "keys" = keys: Listed<Template>,
        /// Who places those for whom it names no back end.
        "pool" = pool: BackendName,
        /// Which back ends of the pool get its new users.
        "tag" = tag: String,
        /// Who judges passwords.
        "verify" = verify: Verify,
        /// Whether its passwords are stored as verifiers of SCRAM-SHA-256.
        "scram" = scram: bool,
        /// How long its answers count.
        "cache" = cache: Cache,
    }
}

table! {
    /// How long the answers of a source count, and how much it is asked.
    Cache, "[directory.cache]" {
        "found" = found: Duration,
        "not_found" = not_found: Duration,
        /// For a password that the source has found right.
        "judged" = judged: Duration,
        "stale_for" = stale_for: Duration,
        "stale_secrets_for" = stale_secrets_for: Duration,
        "entries" = entries: u32,
        "deadline" = deadline: Duration,
        "questions" = questions: u32,
    }
}

table! {
    /// A constant database.
    CdbSource, "source = \"cdb\"" {
        "file" = file: PathBuf,
    }
}

table! {
    /// A text map, or TOML.
    FileSource, "source = \"file\"" {
        "file" = file: PathBuf,
    }
}

table! {
    /// Ordered rules.
    RegexSource, "source = \"regex\"" {
        "rules" = rules: Tables<RegexRule>,
        /// In place of `rules`: a file of them.
        "file" = file: PathBuf,
        "format" = format: RegexFormat,
    }
}

table! {
    /// A regular expression, and the answer for what it matches.
    RegexRule, "rules" {
        "match" = pattern: Literally,
        "backend" = backend: Literally,
        "user" = user: Literally,
    }
}

words! {
    /// How a file of rules is written.
    RegexFormat, "a format of rules" {
        "perdition" = Perdition,
        "toml" = Toml,
    }
}

table! {
    /// One answer for everybody.
    StaticSource, "source = \"static\"" {
        /// The answer.
        "backend" = backend: String,
    }
}

/// A source with nothing to set: the table in the state folder, or everybody by a hash.
#[derive(Debug, Default)]
pub(in crate::config) struct NothingToSet;

impl Keyed for NothingToSet {
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn take(&mut self, _: &str, _: &Spanned<DeValue<'_>>, _: &mut Reader<'_>) -> bool {
        false
    }

    fn misspelt(&mut self, _: &str) {}
}

words! {
    /// What a source is asked for.
    Gives, "what a source gives" {
        "attributes" = Attributes,
        "home" = Home,
    }
}

words! {
    /// What becomes of a login when a source cannot say.
    OnError, "what to do when a source cannot say" {
        "continue" = Continue,
        "stop" = Stop,
    }
}

words! {
    /// Who judges passwords.
    Verify, "who judges passwords" {
        "backend" = Backend,
        "directory" = Directory,
    }
}

/// Declares the kinds of sources: their words and the tables of their own keys.
macro_rules! kinds {
    ($($word:literal = $variant:ident($table:ident),)*) => {
        words! {
            /// What answers where a user's mail is.
            SourceWord, "a source" {
                $($word = $variant,)*
            }
        }

        /// A source's own keys.
        #[derive(Debug)]
        pub(in crate::config) enum SourceShape {
            $($variant(Box<$table>),)*
        }

        impl SourceShape {
            fn new(word: SourceWord) -> Self {
                match word {
                    $(SourceWord::$variant => Self::$variant(Box::default()),)*
                }
            }

            fn keyed(&mut self) -> &mut dyn Keyed {
                match self {
                    $(Self::$variant(table) => &mut **table,)*
                }
            }

            /// The word in the file.
            pub(in crate::config) fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)*
                }
            }
        }

        /// All kinds that can be written.
        pub(in crate::config) const SOURCE_WORDS: &[&str] = &[$($word),*];

        /// The keys of any kind.
        fn all_keys() -> Vec<&'static str> {
            [Common::default().keys(), $($table::default().keys()),*].concat()
        }
    };
}

kinds! {
    "cdb" = Cdb(CdbSource),
    "file" = File(FileSource),
    "hash" = Hash(NothingToSet),
    "http" = Http(HttpSource),
    "ldap" = Ldap(LdapSource),
    "regex" = Regex(RegexSource),
    "mysql" = MySql(SqlSource),
    "odbc" = Odbc(OdbcSource),
    "postgres" = Postgres(SqlSource),
    "sqlite" = Sqlite(SqliteSource),
    "static" = Static(StaticSource),
    "table" = Table(NothingToSet),
}

impl SourceShape {
    /// The files without which it cannot be opened.
    pub(in crate::config) fn files(&self) -> Vec<&Field<PathBuf>> {
        match self {
            Self::Cdb(table) => vec![&table.file],
            Self::File(table) => vec![&table.file],
            Self::Http(table) => vec![&table.ca_file, &table.certificate, &table.key],
            Self::Ldap(table) => vec![&table.ca_file, &table.certificate, &table.key],
            Self::Regex(table) => vec![&table.file],
            Self::Hash(_)
            | Self::MySql(_)
            | Self::Odbc(_)
            | Self::Postgres(_)
            | Self::Sqlite(_)
            | Self::Static(_)
            | Self::Table(_) => Vec::new(),
        }
    }

    /// The files of secrets that it shows to whom it asks.
    pub(in crate::config) fn secret_files(&self) -> Vec<&Field<PathBuf>> {
        match self {
            Self::Http(table) => vec![&table.token_file, &table.headers_file],
            Self::Ldap(table) => vec![&table.password_file],
            Self::MySql(table) | Self::Postgres(table) => vec![&table.password_file],
            Self::Odbc(table) => vec![&table.connection_file],
            Self::Cdb(_)
            | Self::File(_)
            | Self::Hash(_)
            | Self::Regex(_)
            | Self::Sqlite(_)
            | Self::Static(_)
            | Self::Table(_) => Vec::new(),
        }
    }

    /// The files without which it could say nothing of anybody.
    pub(in crate::config) fn later_files(&self) -> Vec<&Field<PathBuf>> {
        match self {
            Self::MySql(table) | Self::Postgres(table) => {
                vec![&table.ca_file, &table.certificate, &table.key]
            }
            Self::Odbc(table) => vec![&table.worker],
            Self::Sqlite(table) => vec![&table.file],
            _ => Vec::new(),
        }
    }
}

/// One source of the directory, asked in the order of the file.
#[derive(Debug)]
pub(in crate::config) struct Source {
    pub(in crate::config) common: Common,
    /// Its own keys; none where its kind is missing or wrong.
    pub(in crate::config) shape: Option<SourceShape>,
}

impl Read for Source {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let table = reader.table(value, "[[directory]]")?;
        let mut common = Common::default();
        if let Some((key, kind)) = table.iter().find(|(key, _)| key.get_ref() == "source") {
            common.take(key.get_ref(), kind, reader);
        }
        let mut shape = common.source.value().map(|word| SourceShape::new(*word));
        for (key, value) in table {
            if key.get_ref() == "source" || common.take(key.get_ref(), value, reader) {
                continue;
            }
            let Some(shape) = &mut shape else {
                reader.hide(value);
                // Whose key it is cannot be said; that it is nobody's can.
                if !all_keys().contains(&key.get_ref().as_ref()) {
                    reader.unknown_key(key, value, "[[directory]]", &all_keys());
                }
                continue;
            };
            let shown = format!("source = \"{}\"", shape.word());
            let keyed = shape.keyed();
            if keyed.take(key.get_ref(), value, reader) {
                continue;
            }
            let known = [common.keys(), keyed.keys()].concat();
            if let Some(meant) = reader.unknown_key(key, value, &shown, &known) {
                common.misspelt(meant);
                keyed.misspelt(meant);
            }
        }
        Some(Self { common, shape })
    }
}

impl Read for Template {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::String(_) = value.get_ref() else {
            return reader.parsed(value, "a text", |_| Err::<Self, _>("it is none"));
        };
        reader.parsed(value, "a text with placeholders", str::parse)
    }
}
