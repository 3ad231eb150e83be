//! What is set for the directory.
//!
//! Nothing here opens a source or knows how the configuration file is written.

use std::{path::PathBuf, sync::Arc};

use model::BackendName;

use crate::{
    CacheSettings, CdbSettings, FileFormat, FileSettings, HttpContract, HttpSettings, Keys,
    KnownBackend, LdapField, LdapSettings, OdbcSettings, Pools, RegexSettings, Rules, SqlSettings,
    SqliteSettings, StaticSettings, passwords::PasswordSettings, tokens::TokenSettings,
};

/// All that the directory has to know, from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name rules.
    pub rules: Rules,
    /// The sources, in the order in which they are asked.
    pub chain: Vec<SourceSettings>,
    /// The configured back ends.
    pub backends: Vec<KnownBackend>,
    /// The pools of back ends.
    pub pools: Pools,
    /// The state folder, for the store and the key of decoys. With an empty path nothing is kept: good for a chain without a table,
    /// pools and SCRAM.
    pub state: PathBuf,
    /// How passwords are checked here.
    pub passwords: PasswordSettings,
    /// How tokens are; none where only back ends judge them.
    pub tokens: Option<TokenSettings>,
}

/// One source of the chain.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// How log and errors call it.
    pub name: String,
    /// The back end whose settings count for an address that no back end has.
    pub template: Option<BackendName>,
    /// What it is asked for.
    pub gives: Gives,
    /// What becomes of a login when it cannot say.
    pub on_error: OnError,
    /// The keys under which it is asked, in order.
    pub keys: Keys,
    /// Whether passwords are always judged here by what it says, even for a back end that would judge them
    /// itself.
    pub verify: bool,
    /// Who places those whom it knows and for whom it names no back end.
    pub pool: Option<PoolUse>,
    /// Whether it has verifiers of SCRAM-SHA-256 for its users: all its passwords are stored as such.
    pub scram: bool,
    /// How long its answers count, for a source that is asked over a network.
    pub cache: CacheSettings,
    /// Why it cannot be asked by this process, where that is so: it can say nothing then.
    pub cannot_ask: Option<String>,
    /// What it is.
    pub kind: SourceKind,
}

impl SourceSettings {
    /// A source that knows who exists and where, with all else as it is by default.
    pub fn new(name: impl Into<String>, kind: SourceKind) -> Self {
        Self {
            name: name.into(),
            template: None,
            gives: Gives::Home,
            on_error: OnError::Stop,
            keys: Keys::default(),
            verify: false,
            pool: None,
            scram: false,
            cache: CacheSettings::default(),
            cannot_ask: None,
            kind,
        }
    }
}

/// How the users of a source get a home.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolUse {
    /// The pool.
    pub pool: Arc<str>,
    /// Only its back ends with this tag get their mailboxes.
    pub tag: Option<Arc<str>>,
}

/// What a source is asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Gives {
    /// What other sources leave open of a user whom one of them knows: his password, his id. Never that he
    /// exists, and never where his mail is.
    Attributes,
    /// Who exists, and where his mail is. Of these, the first that knows a user answers.
    #[default]
    Home,
}

/// What becomes of a login when a source cannot say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnError {
    /// It goes on without this source, if it only gives attributes. That nobody knows the user is then
    /// nothing that can be said.
    Continue,
    /// It has to wait.
    #[default]
    Stop,
}

/// What a source is, with its own settings.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A constant database.
    Cdb(CdbSettings),
    /// A text map or TOML file.
    File(FileSettings),
    /// It knows everybody, and leaves to a pool where.
    Hash,
    /// A server that is asked by HTTP.
    Http(HttpSettings),
    /// Ordered rules.
    Regex(RegexSettings),
    /// A directory behind LDAP.
    Ldap(Box<LdapSettings>),
    /// A database behind an ODBC driver, asked by other processes.
    Odbc(Box<OdbcSettings>),
    /// PostgreSQL, MySQL or MariaDB.
    Sql(Box<SqlSettings>),
    /// A file of SQLite.
    Sqlite(SqliteSettings),
    /// One answer for everybody.
    Static(StaticSettings),
    /// The embedded store in the state folder.
    Table,
}

impl SourceKind {
    /// Whether it is asked over a network, so that what it says is remembered.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Http(_) | Self::Ldap(_) | Self::Odbc(_) | Self::Sql(_) | Self::Sqlite(_) => true,
            Self::Cdb(_)
            | Self::File(_)
            | Self::Hash
            | Self::Regex(_)
            | Self::Static(_)
            | Self::Table => false,
        }
    }

    /// Whether it knows whoever asks. It can say where, but not who is there.
    pub fn knows_everybody(&self) -> bool {
        matches!(self, Self::Hash | Self::Static(_))
    }

    /// Whether it can be told where a user is from now on.
    pub fn assigns(&self) -> bool {
        match self {
            Self::Sql(sql) => sql.assign.is_some(),
            Self::Sqlite(sqlite) => sqlite.assign.is_some(),
            _ => false,
        }
    }

    /// Whether it can say by which hash, or SCRAM verifier, a user's password is judged.
    pub fn may_hold_verifiers(&self) -> bool {
        match self {
            Self::File(file) => matches!(file.format, FileFormat::Toml),
            Self::Http(http) => matches!(http.contract, HttpContract::Json { .. }),
            Self::Ldap(ldap) => ldap.reads(LdapField::PasswordHash),
            Self::Odbc(_) | Self::Sql(_) | Self::Sqlite(_) | Self::Table => true,
            Self::Cdb(_) | Self::Hash | Self::Regex(_) | Self::Static(_) => false,
        }
    }

    /// Whether passwords are shown to it, so that what it says may hang on them.
    pub fn is_shown_passwords(&self) -> bool {
        match self {
            Self::Http(http) => http.contract.is_shown_passwords(),
            Self::Ldap(ldap) => ldap.bind,
            Self::Cdb(_)
            | Self::File(_)
            | Self::Hash
            | Self::Odbc(_)
            | Self::Regex(_)
            | Self::Sql(_)
            | Self::Sqlite(_)
            | Self::Static(_)
            | Self::Table => false,
        }
    }

    /// Whether it can hold what passwords are judged by, or judges them itself.
    pub fn may_judge(&self) -> bool {
        match self {
            Self::File(file) => matches!(file.format, FileFormat::Toml),
            Self::Cdb(_) | Self::Hash | Self::Regex(_) | Self::Static(_) => false,
            Self::Http(http) => http.contract.may_judge(),
            Self::Ldap(ldap) => {
                ldap.bind || ldap.reads(LdapField::Password) || ldap.reads(LdapField::PasswordHash)
            }
            Self::Odbc(_) | Self::Sql(_) | Self::Sqlite(_) | Self::Table => true,
        }
    }
}
