//! Who and where: the directory room.
mod answer;
mod rules;
pub use answer::{Answer, Backends, InvalidAnswer, KnownBackend, Place, Unresolved};
pub use rules::{BadName, InvalidRules, Rewrite, RuleSettings, Rules, StripDomain};
