//! Who and where: the directory room.
mod answer;
mod lines;
mod rules;
mod store;
pub use answer::{Answer, Backends, InvalidAnswer, KnownBackend, Place, Unresolved};
pub use lines::LineProblem;
pub use rules::{BadName, InvalidRules, Rewrite, RuleSettings, Rules, StripDomain};
pub use store::{
    Change, Event, Home, Import, ImportFormat, ImportReport, Listed, PasswordChange, Range, Store,
    StoreError, WrongLines,
};
