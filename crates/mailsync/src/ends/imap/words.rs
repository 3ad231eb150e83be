//! Our words in IMAP's, and back.
//!
//! Nothing here speaks with a server.

use proto::imap::client::{
    self, Date, Fetched, MailboxName, PermanentFlags, SystemFlag as WireFlag,
};

use crate::{Flags, Holdable, InternalDate, Keyword, RawName, SpecialUse, SystemFlag};

pub(super) fn name(raw: &RawName) -> MailboxName {
    MailboxName::new(raw.as_bytes())
}

pub(super) fn raw(name: &MailboxName) -> RawName {
    RawName::new(name.as_bytes())
}

pub(super) fn flags(wire: &client::Flags) -> Flags {
    let mut flags = Flags::default();
    for flag in wire.system_flags() {
        match flag {
            WireFlag::Answered => flags.insert(SystemFlag::Answered),
            WireFlag::Deleted => flags.insert(SystemFlag::Deleted),
            WireFlag::Draft => flags.insert(SystemFlag::Draft),
            WireFlag::Flagged => flags.insert(SystemFlag::Flagged),
            WireFlag::Recent => {}
            WireFlag::Seen => flags.insert(SystemFlag::Seen),
        }
    }
    for keyword in wire.keywords() {
        flags.insert_keyword(Keyword::new(String::from_utf8_lossy(keyword.as_bytes())));
    }
    flags
}

pub(super) fn wire_flags(flags: &Flags) -> client::Flags {
    let mut wire = client::Flags::new();
    flags.words().for_each(|word| wire.add_wire(word.as_bytes()));
    wire
}

/// RFC 3501 section 7.1: a server that does not say keeps all.
pub(super) fn holdable(permanent: Option<&PermanentFlags>) -> Holdable {
    permanent.map_or_else(Holdable::all, |permanent| Holdable {
        flags: flags(&permanent.flags),
        new_keywords: permanent.new_keywords,
    })
}

pub(super) fn date(fetched: &Fetched) -> Option<InternalDate> {
    match fetched.internal_date.as_ref()? {
        Date::Read(date) => Some(InternalDate { seconds: date.unix()?, zone: date.zone() }),
        Date::Broken(_) => None,
    }
}

pub(super) fn wire_date(date: InternalDate) -> Option<client::InternalDate> {
    client::InternalDate::from_unix_in(date.seconds, date.zone)
}

pub(super) fn special_use(uses: &[client::SpecialUse]) -> Option<SpecialUse> {
    uses.iter().find_map(|special_use| match special_use {
        client::SpecialUse::All => Some(SpecialUse::All),
        client::SpecialUse::Archive => Some(SpecialUse::Archive),
        client::SpecialUse::Drafts => Some(SpecialUse::Drafts),
        client::SpecialUse::Flagged => Some(SpecialUse::Flagged),
        client::SpecialUse::Important => None,
        client::SpecialUse::Junk => Some(SpecialUse::Junk),
        client::SpecialUse::Sent => Some(SpecialUse::Sent),
        client::SpecialUse::Trash => Some(SpecialUse::Trash),
    })
}

pub(super) fn wire_use(special_use: SpecialUse) -> client::SpecialUse {
    match special_use {
        SpecialUse::All => client::SpecialUse::All,
        SpecialUse::Archive => client::SpecialUse::Archive,
        SpecialUse::Drafts => client::SpecialUse::Drafts,
        SpecialUse::Flagged => client::SpecialUse::Flagged,
        SpecialUse::Junk => client::SpecialUse::Junk,
        SpecialUse::Sent => client::SpecialUse::Sent,
        SpecialUse::Trash => client::SpecialUse::Trash,
    }
}
