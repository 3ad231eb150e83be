//! The acts of an operator, one function each; those that change something leave an audit record.
//!
//! Nothing here knows of arguments, HTTP or HTML. The acts on users block on the disk: a daemon calls
//! them on a thread that may block.

mod desk;
mod elsewhere;
mod look;
pub mod migrate;
mod page;
mod placement;
mod refused;
mod sessions;
mod sources;
mod state;
mod users;

pub use crate::{
    desk::{
        BackendLine, Desk, Status, backend_list, cache_flush, no_table, session_kick, session_list,
        source_list, status,
    },
    elsewhere::{Removal, RemoveUser, Renaming, removal, renaming},
    look::{CheckedBackend, LookUp, LookedUp, Mailbox, backend_check, user_look_up, whereabouts},
    page::ListPage,
    placement::{
        AddedBackend, AlsoKick, Hold, HoldList, MailboxLine, MailboxList, MemberLine, PlaceShards,
        PlacedShards, PoolLine, RenameUser, RenamedUser, ShardLine, Switched, WhichPool, WouldMove,
        backend_add, backend_drain, hold, hold_list, mailbox_list, pool_list, release, shard_list,
        shard_place, user_rename,
    },
    refused::{Refused, Why},
    sessions::{Kick, Kicked, SessionFilter},
    sources::{Flush, Flushed, SourceCounts, SourceLine},
    state::{LockError, MIGRATIONS, StateError, StateLock, prepare_state},
    users::{
        ExportUsers, Exported, ExportedLine, HistoryLine, ImportRequest, Imported, LineMistake,
        Password, PlaceUser, Placed, ShownUser, UserLine, UserList, Users, user_export,
        user_history, user_import, user_list, user_place, user_place_at_source, user_remove,
        user_show,
    },
};

/// Who acts, for the audit record: how he came in and who he is, as in `socket:root`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Actor(String);

impl Actor {
    /// The user with this number on this machine, who came by `way`.
    pub fn local(way: &str, uid: u32) -> Self {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
        // A user without a name (in a container, for example) is known by his number.
        let name = user.ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        Self(format!("{way}:{name}"))
    }

    /// As it stands in records.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
