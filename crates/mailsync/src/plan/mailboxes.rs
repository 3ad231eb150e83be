//! Which mailbox on one end is which on the other, and which have to be made.
//!
//! Nothing here looks at messages, and no two mailboxes of one end ever become one on the other: that would
//! take duplicates for copies.

use std::collections::{BTreeMap, BTreeSet};

use super::{mapping, select};
use crate::{Mailbox, MailboxPath, Overview, Policy, RawName, SpecialUse, sides::Both};

/// A pair of mailboxes that we remember.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KnownMailbox {
    pub(crate) id: i64,
    pub(crate) raw: Both<RawName>,
    pub(crate) path: Both<MailboxPath>,
}

/// A mailbox on both ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MailboxPair {
    pub(crate) known: Option<i64>,
    pub(crate) path: Both<MailboxPath>,
    /// As it is there now; none if it has to be made.
    pub(crate) there: Both<Option<Mailbox>>,
    pub(crate) special_use: Option<SpecialUse>,
    /// Whether the user is to be subscribed to it.
    pub(crate) subscribe: Both<bool>,
}

/// What is to be done with mailboxes.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct MailboxPlan {
    /// In the order of their paths on the left, so that what is within another comes behind it.
    pub(crate) pairs: Vec<MailboxPair>,
    pub(crate) warnings: Vec<String>,
}

/// Pairs the mailboxes of two ends.
pub(crate) fn plan_mailboxes(
    known: &[KnownMailbox],
    left: &Overview,
    right: &Overview,
    policy: &Policy,
) -> MailboxPlan {
    let mut planner = Planner {
        known,
        left,
        right,
        policy,
        taken: BTreeSet::new(),
        plan: MailboxPlan::default(),
    };
    planner.pair_known();
    if policy.left_to_right.copy {
        planner.pair_new();
    }
    if policy.right_to_left.copy {
        planner.pair_back();
    }
    planner.plan.pairs.sort_by(|one, two| one.path.left.cmp(&two.path.left));
    planner.plan
}

struct Planner<'p> {
    known: &'p [KnownMailbox],
    left: &'p Overview,
    right: &'p Overview,
    policy: &'p Policy,
    /// Paths on the right that have their mailbox on the left.
    taken: BTreeSet<MailboxPath>,
    plan: MailboxPlan,
}

impl Planner<'_> {
    fn selected(&self) -> impl Iterator<Item = &Mailbox> {
        // What we have put aside ourselves is no part of the account.
        let undo = &self.policy.mapping.undo;
        let takes = |m: &&Mailbox| {
            select::takes_mailbox(&self.policy.selection, m)
                && !m.path.parts().starts_with(undo.parts())
        };
        self.left.mailboxes.iter().filter(takes)
    }

    fn pair_known(&mut self) {
        let by_raw: BTreeMap<&RawName, &KnownMailbox> =
            self.known.iter().map(|known| (&known.raw.left, known)).collect();
        let pairs: Vec<MailboxPair> = (self.selected())
            .filter_map(|mailbox| {
                let known = by_raw.get(&mailbox.raw)?;
                let right = self.right.mailboxes.iter().find(|m| m.raw == known.raw.right);
                Some(self.pair(Some(known.id), mailbox, known.path.right.clone(), right.cloned()))
            })
            .collect();
        for pair in &pairs {
            self.taken.insert(folded(&pair.path.right));
            if pair.there.right.is_none() {
                let path = &pair.path.right;
                self.plan.warnings.push(format!("`{path}` is gone on the right: it is made again"));
            }
        }
        self.plan.pairs.extend(pairs);
    }

    fn pair_new(&mut self) {
        let known: BTreeSet<&RawName> = self.known.iter().map(|known| &known.raw.left).collect();
        let mut new: Vec<Mailbox> =
            self.selected().filter(|m| !known.contains(&m.raw)).cloned().collect();
        // What is for something has the first choice.
        new.sort_by(|one, two| {
            (one.special_use.is_none(), &one.path).cmp(&(two.special_use.is_none(), &two.path))
        });
        for mailbox in new {
            let overviews = (self.left, self.right);
            let mapping = &self.policy.mapping;
            let wanted = mapping::map(mapping, &mailbox.path, mailbox.special_use, overviews);
            let path = self.free(&mailbox.path, wanted);
            let right = self.right.mailboxes.iter().find(|m| m.path == path).cloned();
            if right.as_ref().is_some_and(|right| !right.selectable) {
                self.plan.warnings.push(format!(
                    "`{path}` cannot hold messages on the right: `{}` may be refused",
                    mailbox.path
                ));
            }
            let right = right.filter(|right| right.selectable);
            let pair = self.pair(None, &mailbox, path, right);
            self.plan.pairs.push(pair);
        }
    }

    /// A path on the right that no other mailbox has.
    fn free(&mut self, from: &MailboxPath, wanted: MailboxPath) -> MailboxPath {
        let mut path = wanted.clone();
        let mut number = 2;
        while !self.taken.insert(folded(&path)) {
            let mut parts: Vec<String> = wanted.parts().iter().map(ToString::to_string).collect();
            if let Some(last) = parts.last_mut() {
                last.push_str(&format!(" ({number})"));
            }
            path = MailboxPath::new(parts);
            number += 1;
        }
        if path != wanted {
            self.plan.warnings.push(format!(
                "`{from}` becomes `{path}` on the right, because `{wanted}` is another mailbox's"
            ));
        }
        path
    }

    fn pair(
        &self,
        known: Option<i64>,
        left: &Mailbox,
        path: MailboxPath,
        right: Option<Mailbox>,
    ) -> MailboxPair {
        let is_there = right.as_ref().is_some_and(|right| right.subscribed);
        let subscribe = self.policy.mapping.subscribe && left.subscribed && !is_there;
        // One mailbox for each use, and a user's own choice stays.
        let uses = |special_use: &SpecialUse| {
            self.right.mailboxes.iter().all(|m| m.special_use != Some(*special_use))
        };
        MailboxPair {
            known,
            path: Both { left: left.path.clone(), right: path },
            special_use: left.special_use.filter(uses),
            subscribe: Both { left: false, right: subscribe },
            there: Both { left: Some(left.clone()), right },
        }
    }

    /// Mailboxes that only the right end has.
    fn pair_back(&mut self) {
        let paired: BTreeSet<&RawName> = (self.plan.pairs.iter())
            .filter_map(|pair| pair.there.right.as_ref())
            .map(|mailbox| &mailbox.raw)
            .collect();
        let undo = &self.policy.mapping.undo;
        let alone = self.right.mailboxes.iter().filter(|m| {
            select::takes_mailbox(&self.policy.selection, m)
                && !paired.contains(&m.raw)
                && !m.path.parts().starts_with(undo.parts())
        });
        let back = alone.map(|mailbox| {
            let known = self.known.iter().find(|known| known.raw.right == mailbox.raw);
            let path = known.map_or(&mailbox.path, |known| &known.path.left).clone();
            MailboxPair {
                known: known.map(|known| known.id),
                path: Both { left: path, right: mailbox.path.clone() },
                special_use: mailbox.special_use,
                subscribe: Both {
                    left: self.policy.mapping.subscribe && mailbox.subscribed,
                    right: false,
                },
                there: Both { left: None, right: Some(mailbox.clone()) },
            }
        });
        let back: Vec<MailboxPair> = back.collect();
        self.plan.pairs.extend(back);
    }
}

/// Some ends take names that differ by case alone for one.
fn folded(path: &MailboxPath) -> MailboxPath {
    MailboxPath::new(path.parts().iter().map(|part| part.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::Mapping;

    fn account(separator: char, names: &[(&str, Option<SpecialUse>)]) -> Overview {
        let mailbox = |(name, special_use): &(&str, Option<SpecialUse>)| Mailbox {
            path: name.parse().unwrap(),
            raw: RawName::new(name.as_bytes()),
            special_use: *special_use,
            selectable: true,
            subscribed: false,
            status: None,
        };
        Overview {
            mailboxes: names.iter().map(mailbox).collect(),
            separator: Some(separator),
            quota: None,
        }
    }

    fn mapped(policy: &Policy, left: &Overview, right: &Overview) -> Vec<String> {
        let plan = plan_mailboxes(&[], left, right, policy);
        plan.pairs.iter().map(|p| format!("{} -> {}", p.path.left, p.path.right)).collect()
    }

    #[test]
    fn separators_of_the_other_end_are_no_part_of_a_name_there() {
        let left = account('/', &[("INBOX", None), ("a.b/c", None), ("a_b/c", None)]);
        let right = account('.', &[("INBOX", None)]);
        let pairs = mapped(&Policy::migrate(), &left, &right);
        assert_eq!(pairs, ["INBOX -> INBOX", "a.b/c -> a_b/c", "a_b/c -> a_b/c (2)"]);
    }

    #[test]
    fn names_that_differ_by_case_alone_stay_two_mailboxes() {
        let left = account('/', &[("Work", None), ("work", None)]);
        let pairs = mapped(&Policy::migrate(), &left, &account('/', &[]));
        assert_eq!(pairs, ["Work -> Work", "work -> work (2)"]);
    }

    #[test]
    fn mailboxes_for_one_use_are_one_and_a_name_in_the_way_gets_another() {
        let left = account('/', &[("Sent", Some(SpecialUse::Sent)), ("Gesendet", None)]);
        let right = account('/', &[("Gesendet", Some(SpecialUse::Sent))]);
        let pairs = mapped(&Policy::migrate(), &left, &right);
        assert_eq!(pairs, ["Gesendet -> Gesendet (2)", "Sent -> Gesendet"]);
        let twice = account('/', &[("a", Some(SpecialUse::Sent)), ("b", Some(SpecialUse::Sent))]);
        assert_eq!(mapped(&Policy::migrate(), &twice, &right), ["a -> a", "b -> b"]);
    }

    #[test]
    fn rules_are_tried_in_their_order_and_a_subfolder_takes_all() {
        let mapping = Mapping {
            exact: vec![("Old".parse().unwrap(), "Archive/Old".parse().unwrap())],
            rename: vec![(Regex::new("^Lists/").unwrap(), "Groups/".to_owned())],
            subfolder: Some("Moved".parse().unwrap()),
            ..Mapping::default()
        };
        let policy = Policy { mapping, ..Policy::migrate() };
        let left = account('/', &[("INBOX", None), ("Lists/rust", None), ("Old/2001", None)]);
        let pairs = mapped(&policy, &left, &account('/', &[]));
        assert_eq!(
            pairs,
            [
                "INBOX -> Moved/INBOX",
                "Lists/rust -> Moved/Groups/rust",
                "Old/2001 -> Moved/Archive/Old/2001"
            ]
        );
    }

    #[test]
    fn a_known_pair_keeps_its_names_whatever_the_rules_say_now() {
        let left = account('/', &[("Work", None), ("Job", None)]);
        let right = account('/', &[("Job", None)]);
        let known = [KnownMailbox {
            id: 7,
            raw: Both { left: RawName::new(*b"Work"), right: RawName::new(*b"Job") },
            path: Both { left: "Work".parse().unwrap(), right: "Job".parse().unwrap() },
        }];
        let plan = plan_mailboxes(&known, &left, &right, &Policy::migrate());
        let pairs: Vec<_> = plan.pairs.iter().map(|p| p.path.right.to_string()).collect();
        assert_eq!(pairs, ["Job (2)", "Job"]);
        assert_eq!(plan.pairs[1].known, Some(7));
    }
}
