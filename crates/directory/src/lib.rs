//! Who a user is and where his mail is: name rules, a chain of sources, and the embedded store.
//!
//! Nothing here knows whether a back end is alive, sees a client's connection, or words a reply. Not
//! found, found, and "cannot say" are three answers and never become one another.

mod answer;
mod directory;
mod lines;
pub mod passwords;
mod rules;
mod sources;
mod store;

pub use answer::{Answer, Backends, InvalidAnswer, KnownBackend, Place, Unresolved};
pub use directory::{
    Directory, OpenError, Query, Settings, SourceKind, SourceProblem, SourceSettings, Unavailable,
    Verdict,
};
pub use lines::LineProblem;
pub use rules::{BadName, InvalidRules, Rewrite, RuleSettings, Rules, StripDomain};
pub use sources::{
    file::{FileFormat, FileProblem, FileSettings, Problems},
    r#static::StaticSettings,
};
pub use store::{
    Change, Event, Home, Import, ImportFormat, ImportReport, Listed, PasswordChange, Range, Store,
    StoreError, WrongLines,
};
