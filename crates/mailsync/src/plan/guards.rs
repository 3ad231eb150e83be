//! When deletes are not done though they were asked for.
//!
//! Nothing here deletes. Each guard says its reason.

use super::Seen;
use crate::policy::Guards;

/// Of deletes on one end, because messages are gone on the other.
pub(super) struct Deletes<'d> {
    /// How many.
    pub(super) count: u64,
    /// How many messages both had.
    pub(super) known: u64,
    /// Where they are gone.
    pub(super) gone_on: &'d Seen,
    /// Where they would be deleted.
    pub(super) on: &'d Seen,
    /// Why deletes rest in this mailbox.
    pub(super) suspended: Option<&'d str>,
}

/// Why not; none if they may be done.
pub(super) fn hold(deletes: &Deletes<'_>, guards: &Guards) -> Option<String> {
    let Deletes { count, known, gone_on, on, suspended } = deletes;
    if *count == 0 {
        return None;
    }
    if let Some(reason) = suspended {
        return Some((*reason).to_owned());
    }
    if on.read_only {
        return Some("the mailbox is read-only".to_owned());
    }
    if gone_on.messages.is_empty() && *known > guards.empty {
        return Some(format!("the other end has no message left of {known}"));
    }
    let share = count.saturating_mul(100) > known.saturating_mul(guards.percent.into());
    if *count > guards.messages && share {
        let Guards { percent, messages, .. } = guards;
        return Some(format!(
            "{count} of {known} messages are gone on the other end, more than {messages} and more than \
             {percent} %"
        ));
    }
    None
}
