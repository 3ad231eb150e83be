//! Which mailboxes and messages the selection takes along.
//!
//! Nothing here says what becomes of the others.

use crate::{Mailbox, Message, Selection, Uid};

/// Whether a mailbox is taken along.
pub(super) fn takes_mailbox(selection: &Selection, mailbox: &Mailbox) -> bool {
    let path = mailbox.path.to_string();
    let uses = &selection.special_use;
    mailbox.selectable
        && (selection.include.is_empty() || selection.include.iter().any(|re| re.is_match(&path)))
        && !selection.exclude.iter().any(|re| re.is_match(&path))
        && (uses.is_empty() || mailbox.special_use.is_some_and(|its| uses.contains(&its)))
        && (!selection.subscribed_only || mailbox.subscribed)
}

/// Whether a message is taken along. What is not known of it speaks for it.
pub(super) fn takes_message(
    selection: &Selection,
    message: &Message,
    found: Option<&[Uid]>,
) -> bool {
    let seconds = message.date.map(|date| date.seconds);
    let arrived = |is: &dyn Fn(i64) -> bool| seconds.is_none_or(is);
    let sized = |is: &dyn Fn(u64) -> bool| message.size.is_none_or(is);
    sized(&|size| selection.max_size.is_none_or(|max| size <= max))
        && sized(&|size| selection.min_size.is_none_or(|min| size >= min))
        && arrived(&|at| selection.since.is_none_or(|since| at >= since.seconds))
        && arrived(&|at| selection.before.is_none_or(|before| at < before.seconds))
        && selection.with_flags.difference(&message.flags).is_empty()
        && selection.without_flags.intersection(&message.flags).is_empty()
        && found.is_none_or(|found| found.binary_search(&message.uid).is_ok())
}
