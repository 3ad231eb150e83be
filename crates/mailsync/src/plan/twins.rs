//! Copies that an end stored after we had given them up.
//!
//! Nothing here removes one. A message that anybody else has delivered is never taken for a twin: it has
//! another date of arrival.

use std::collections::BTreeMap;

use crate::{Fingerprint, Flags, InternalDate, Message, Uid};

/// A message whose append was cut off and, as far as could be seen, had not been stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ghost {
    /// It can only have a UID from here on.
    pub(crate) from: Uid,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) size: u64,
    /// The date that it was sent with.
    pub(crate) date: Option<InternalDate>,
    /// The flags that it was sent with.
    pub(crate) flags: Flags,
}

/// Which of the messages are ghosts that came back after all, and whether their flags are still ours. Only
/// messages of which nobody knew may be given.
pub(crate) fn find_twins<'m>(
    messages: impl IntoIterator<Item = &'m Message>,
    ghosts: &[Ghost],
) -> Vec<(Uid, bool)> {
    let mut left: BTreeMap<(Fingerprint, u64), Vec<&Ghost>> = BTreeMap::new();
    for ghost in ghosts.iter().filter(|ghost| ghost.date.is_some()) {
        left.entry((ghost.fingerprint, ghost.size)).or_default().push(ghost);
    }
    let mut twins = Vec::new();
    for message in messages {
        let (Some(fingerprint), Some(size)) = (message.fingerprint, message.size) else { continue };
        let Some(ghosts) = left.get_mut(&(fingerprint, size)) else { continue };
        let seconds = |date: Option<InternalDate>| date.map(|date| date.seconds);
        let ours = |ghost: &&Ghost| {
            message.uid >= ghost.from && seconds(ghost.date) == seconds(message.date)
        };
        if let Some(at) = ghosts.iter().position(ours) {
            let ghost = ghosts.swap_remove(at);
            twins.push((message.uid, message.flags.difference(&ghost.flags).is_empty()));
        }
    }
    twins
}
