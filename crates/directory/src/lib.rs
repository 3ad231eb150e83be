//! Who a user is and where his mail is: name rules, a chain of sources, and the embedded store.
//!
//! Nothing here knows whether a back end is alive, sees a client's connection, or words a reply. Not
//! found, found, and "cannot say" are three answers and never become one another.

mod acts;
mod answer;
mod chain;
mod decoys;
mod directory;
mod holds;
mod http;
mod judge;
mod kept;
mod lines;
pub mod passwords;
mod placement;
mod query;
mod rules;
mod settings;
mod sources;
mod store;
pub mod tokens;
mod way_in;

pub use acts::PlacedMailbox;
pub use answer::{Answer, Backends, InvalidAnswer, KnownBackend, Place, Unresolved};
pub use chain::SourceFigures;
pub use decoys::DecoyKeyError;
pub use directory::{
    Directory, OpenError, PoolProblem, Refused, SourceProblem, ToProve, Unavailable, Verdict,
    Whereabouts,
};
pub use holds::{Held, Holds, Passage};
pub use http::{HttpField, HttpServer, InvalidField, InvalidUrl, Url};
pub use lines::LineProblem;
pub use placement::{
    Added, Living, MemberView, PlaceBy, PlaceRefused, Placed, Policy, PoolSettings, PoolView,
    Pools, Share,
};
pub use query::{DependsOn, InvalidTemplate, Keys, Placeholder, Query, Template};
pub use rules::{BadName, InvalidRules, Rewrite, RuleSettings, Rules, StripDomain};
pub use settings::{Gives, OnError, PoolUse, Settings, SourceKind, SourceSettings};
pub use sources::{
    cached::{CacheSettings, Figures},
    cdb::CdbSettings,
    file::{FileFormat, FileProblem, FileSettings, Problems},
    http::{HttpContract, HttpMethod, HttpSettings},
    ldap::{
        InvalidFilter, LdapField, LdapFilter, LdapLogin, LdapScope, LdapSettings, LdapTls,
        LdapUsers,
    },
    regex::{InvalidRule, RegexFormat, RegexRule, RegexRules, RegexSettings},
    sql::{
        ConnectionString, Dialect, InvalidConnectionString, InvalidStatement, ListProblem,
        OdbcSettings, SourceUser, SqlServer, SqlSettings, SqlTls, SqliteSettings, Statement, Task,
        list_users,
    },
    r#static::StaticSettings,
};
pub use store::{
    Change, Event, Home, Import, ImportFormat, ImportReport, Listed, PasswordChange, Range,
    Renamed, ShardRun, Store, StoreError, StoredPool, WrongLines,
};
pub use way_in::{HELD_PATIENCE, WayIn};
