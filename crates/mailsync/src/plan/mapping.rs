//! What a mailbox of the left end is called on the right.
//!
//! Nothing here knows which names are taken.

use crate::{MailboxPath, Mapping, Overview, SpecialUse};

/// The path on the right of the path on the left, for a right end with this overview, as it can be written
/// there.
pub(super) fn map(
    mapping: &Mapping,
    path: &MailboxPath,
    special_use: Option<SpecialUse>,
    overviews: (&Overview, &Overview),
) -> MailboxPath {
    let (left, right) = overviews;
    let mapped = exact(mapping, path)
        .or_else(|| mapping.by_special_use.then(|| by_use(special_use?, left, right)).flatten())
        .unwrap_or_else(|| renamed(mapping, path));
    let mapped = match &mapping.subfolder {
        Some(outer) => mapped.within(outer),
        None => mapped,
    };
    writable(&mapped, right.separator, mapping.substitute)
}

/// The longest rule that names the mailbox or one that it is in.
fn exact(mapping: &Mapping, path: &MailboxPath) -> Option<MailboxPath> {
    let parts = path.parts();
    let fits = mapping.exact.iter().filter(|(from, _)| parts.starts_with(from.parts()));
    let (from, to) = fits.max_by_key(|(from, _)| from.parts().len())?;
    let rest = parts.iter().skip(from.parts().len());
    Some(MailboxPath::new(to.parts().iter().chain(rest).cloned()))
}

/// The mailbox on the right with the same use, where each end has one alone.
fn by_use(special_use: SpecialUse, left: &Overview, right: &Overview) -> Option<MailboxPath> {
    let only = |overview: &Overview| {
        let mut those = overview.mailboxes.iter().filter(|m| m.special_use == Some(special_use));
        those.next().filter(|_| those.next().is_none()).map(|mailbox| mailbox.path.clone())
    };
    only(left).and_then(|_| only(right))
}

fn renamed(mapping: &Mapping, path: &MailboxPath) -> MailboxPath {
    let text = path.to_string();
    let replaced = mapping.rename.iter().fold(text.clone(), |text, (pattern, with)| {
        pattern.replace_all(&text, with.as_str()).into_owned()
    });
    // A rule that leaves an empty part has nothing that can be named.
    if replaced == text { path.clone() } else { replaced.parse().unwrap_or_else(|_| path.clone()) }
}

/// The path with what no server takes replaced.
fn writable(path: &MailboxPath, separator: Option<char>, substitute: char) -> MailboxPath {
    let fits = |c: char| !c.is_control() && Some(c) != separator;
    let part = |part: &str| match part {
        "" => substitute.to_string(),
        part => part.chars().map(|c| if fits(c) { c } else { substitute }).collect(),
    };
    let parts: Vec<String> = path.parts().iter().map(|text| part(text)).collect();
    match separator {
        Some(_) => MailboxPath::new(parts),
        // Without a hierarchy a name is one part.
        None => MailboxPath::new([parts.join(&substitute.to_string())]),
    }
}
