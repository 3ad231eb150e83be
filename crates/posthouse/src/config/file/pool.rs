//! The shape of `[pool.NAME]`.

use model::BackendName;
use toml::{Spanned, de::DeValue};

use super::words;
use crate::config::read::{Field, Keyed, Listed, Read, Reader, table};

table! {
    /// Back ends among which mailboxes are placed.
    Pool, "[pool.NAME]" {
        /// The members that it begins with.
        "backends" = backends: Listed<BackendName>,
        /// What has a place: a shard, or each user.
        "place" = place: PlaceWord,
        /// How a first place is chosen.
        "policy" = policy: PolicyWord,
    }
}

words! {
    /// What has a place.
    PlaceWord, "what has a place in a pool" {
        "shard" = Shard,
        "user" = User,
    }
}

words! {
    /// How a first place is chosen.
    PolicyWord, "a policy" {
        "fewest-users" = FewestUsers,
        "weighted" = Weighted,
    }
}
