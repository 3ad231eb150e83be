//! Which flags a message gets on which end.
//!
//! Nothing here loses a change: for each flag by itself, whoever changed it since it was agreed on is right,
//! and if both did, they did the same.

use super::{Row, Seen};
use crate::{Flags, Policy, SystemFlag, ends::FlagChange, policy::MarkedDeleted, sides::Both};

/// What becomes of a message's flags.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Settled {
    /// To change on each end.
    pub(super) change: Both<FlagChange>,
    /// What will have been agreed on.
    pub(super) agreed: Flags,
    /// What an end does not keep.
    pub(super) not_kept: Flags,
}

/// Merges the flags of a message that both have.
pub(super) fn settle(row: &Row, now: Both<&Flags>, seen: &Both<Seen>, policy: &Policy) -> Settled {
    let base = &row.flags;
    // What an end cannot keep it has not taken away. Opened for reading alone it says that it keeps nothing
    // new (RFC 3501 section 6.3.2), and nothing of what it keeps.
    let held = |flags: &Flags, seen: &Seen, unholdable: &Flags| {
        let keeps = if seen.read_only { base.clone() } else { seen.holdable.holds(base) };
        let cannot = base.difference(&keeps).union(&unholdable.intersection(base));
        flags.union(&cannot)
    };
    let left = held(&travelling(now.left, policy), &seen.left, &row.unholdable.left);
    let right = held(now.right, &seen.right, &row.unholdable.right);
    let merged = merge(base, &left, &right);
    let settled =
        finish(&row.unholdable, Both { left: &left, right: now.right }, merged, seen, policy);
    let changes = policy.left_to_right.flags || policy.right_to_left.flags;
    Settled { agreed: if changes { settled.agreed } else { base.clone() }, ..settled }
}

/// Merges the flags of a message of which nobody knew that both have it: all that either has, but a mark of
/// deletion only if both have it, and a draft is what the left end says.
pub(super) fn settle_first(now: Both<&Flags>, seen: &Both<Seen>, policy: &Policy) -> Settled {
    let left = travelling(now.left, policy);
    let mut merged = left.union(now.right);
    if !(left.contains(SystemFlag::Deleted) && now.right.contains(SystemFlag::Deleted)) {
        merged.remove(SystemFlag::Deleted);
    }
    if !left.contains(SystemFlag::Draft) {
        merged.remove(SystemFlag::Draft);
    }
    let unknown = Both::default();
    finish(&unknown, Both { left: &left, right: now.right }, merged, seen, policy)
}

/// The flags of a message of the left end, as they are to be on the right.
pub(crate) fn travelling(flags: &Flags, policy: &Policy) -> Flags {
    let mut flags = flags.clone();
    if policy.marked_deleted != MarkedDeleted::Copy {
        flags.remove(SystemFlag::Deleted);
    }
    flags
}

fn finish(
    unholdable: &Both<Flags>,
    now: Both<&Flags>,
    merged: Flags,
    seen: &Both<Seen>,
    policy: &Policy,
) -> Settled {
    let mut not_kept = Flags::default();
    let mut change = |allowed: bool, now: &Flags, seen: &Seen, unholdable: &Flags| {
        if !allowed || seen.read_only {
            return FlagChange::default();
        }
        let add = merged.difference(now);
        let keeps = seen.holdable.holds(&add);
        not_kept = not_kept.union(&add.difference(&keeps));
        let remove = seen.holdable.holds(&now.difference(&merged));
        FlagChange { add: keeps.difference(unholdable), remove }
    };
    let (there, back) = (policy.left_to_right.flags, policy.right_to_left.flags);
    let change = Both {
        right: change(there, now.right, &seen.right, &unholdable.right),
        left: change(back, now.left, &seen.left, &unholdable.left),
    };
    // One way, the source has the say of what was agreed on: were it the merged flags, the target's own
    // changes would look as if the source had taken them back.
    let agreed = match (there, back) {
        (true, true) => merged,
        (true, false) => now.left.clone(),
        (false, true) => now.right.clone(),
        (false, false) => now.left.clone(),
    };
    Settled { change, agreed, not_kept }
}

fn merge(base: &Flags, left: &Flags, right: &Flags) -> Flags {
    let changed = left.difference(base).union(&base.difference(left));
    left.intersection(&changed).union(&right.difference(&changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Holdable,
        plan::{Facts, Standing},
    };

    fn flags(text: &str) -> Flags {
        Flags::read(text.split_whitespace())
    }

    fn seen(holdable: Holdable) -> Seen {
        Seen {
            uid_validity: 1,
            messages: Vec::new(),
            holdable,
            read_only: false,
            append_limit: None,
            doubt: None,
        }
    }

    fn row(base: &str) -> Row {
        Row {
            id: 1,
            uids: Both::default(),
            flags: flags(base),
            unholdable: Both::default(),
            facts: Facts::default(),
            standing: Standing::Done,
        }
    }

    fn settled(base: &str, left: &str, right: &str, policy: &Policy) -> (String, String, String) {
        let both = Both { left: seen(Holdable::all()), right: seen(Holdable::all()) };
        let (left, right) = (flags(left), flags(right));
        let settled = settle(&row(base), Both { left: &left, right: &right }, &both, policy);
        let show = |c: &FlagChange| format!("+{} -{}", c.add, c.remove);
        (show(&settled.change.left), show(&settled.change.right), settled.agreed.to_string())
    }

    #[test]
    fn whoever_changed_a_flag_since_is_right() {
        let policy = Policy::mirror();
        let (left, right, agreed) =
            settled("\\Seen Work", "\\Seen \\Flagged Work", "Work $Junk", &policy);
        assert_eq!(left, "+$Junk -\\Seen");
        assert_eq!(right, "+\\Flagged -");
        assert_eq!(agreed, "\\Flagged $Junk Work");
    }

    #[test]
    fn one_way_the_target_keeps_its_own_changes_and_the_source_is_left_alone() {
        let policy = Policy::migrate();
        let (left, right, agreed) = settled("", "", "\\Seen", &policy);
        assert_eq!((&*left, &*right, &*agreed), ("+ -", "+ -", ""));
        let (left, right, agreed) = settled("", "\\Flagged", "\\Seen", &policy);
        assert_eq!((&*left, &*right, &*agreed), ("+ -", "+\\Flagged -", "\\Flagged"));
        // And again, after the store.
        let (_, right, _) = settled("\\Flagged", "\\Flagged", "\\Seen \\Flagged", &policy);
        assert_eq!(right, "+ -");
    }

    #[test]
    fn what_an_end_cannot_keep_it_has_not_taken_away() {
        let policy = Policy::mirror();
        let right = Holdable { flags: flags("\\Seen"), new_keywords: false };
        let both = Both { left: seen(Holdable::all()), right: seen(right) };
        let (left, on_right) = (flags("\\Seen Work"), flags("\\Seen"));
        let now = Both { left: &left, right: &on_right };
        let settled = settle(&row("\\Seen Work"), now, &both, &policy);
        assert_eq!(settled.change, Both::default());
        let mut dropped = row("\\Flagged");
        dropped.unholdable.right = flags("\\Flagged");
        let all = Both { left: seen(Holdable::all()), right: seen(Holdable::all()) };
        let (left, on_right) = (flags("\\Flagged"), flags(""));
        let again = settle(&dropped, Both { left: &left, right: &on_right }, &all, &policy);
        assert_eq!(again.change, Both::default());
    }

    #[test]
    fn what_is_taken_away_where_we_only_read_is_taken_away_on_the_other_end() {
        let none = Holdable { flags: Flags::default(), new_keywords: false };
        let left = Seen { read_only: true, ..seen(none) };
        let both = Both { left, right: seen(Holdable::all()) };
        let (left, right) = (flags("Work"), flags("\\Seen Work"));
        let now = Both { left: &left, right: &right };
        let settled = settle(&row("\\Seen Work"), now, &both, &Policy::migrate());
        assert_eq!(settled.change.right.remove, flags("\\Seen"));
        assert_eq!(settled.agreed, left);
    }

    #[test]
    fn a_mark_of_deletion_travels_only_where_the_policy_says_so() {
        let unmark = Policy { marked_deleted: MarkedDeleted::Unmark, ..Policy::migrate() };
        assert_eq!(settled("", "\\Deleted", "", &unmark).1, "+ -");
        assert_eq!(settled("", "\\Deleted", "", &Policy::migrate()).1, "+\\Deleted -");
    }
}
