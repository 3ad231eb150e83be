//! Which back end gets a new mailbox, or a shard that never had an owner.
//!
//! Nothing here is asked about mailboxes that are somewhere already.

use model::BackendName;
use siphasher::sip128::SipHasher24;

/// What a pool keeps track of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PlaceBy {
    /// Mailboxes are where their shard is. Adding a back end moves no shard.
    #[default]
    Shard,
    /// Each mailbox has a home of its own, chosen when it is first needed.
    User,
}

impl PlaceBy {
    /// The word in settings and in the store.
    pub fn word(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::User => "user",
        }
    }
}

/// How the first home is chosen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// The back end with the fewest users for its weight.
    FewestUsers,
    /// By weighted rendezvous: every node chooses the same.
    #[default]
    Weighted,
}

impl Policy {
    /// The word in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::FewestUsers => "fewest-users",
            Self::Weighted => "weighted",
        }
    }
}

/// A back end that may be chosen, and its weight from 1.
pub(super) type Candidate = (BackendName, u32);

/// The candidate with the highest weighted hash: with one candidate more, about its share of all subjects
/// would choose that one, and none would change between the others.
pub(super) fn rendezvous(
    cluster: &[u8; 16],
    subject: &[u8],
    candidates: &[Candidate],
) -> Option<BackendName> {
    let score = |(backend, weight): &Candidate| {
        // The 0 keeps a subject's end apart from a name's begin: names have none.
        let hash = [b"rendezvous\0", subject, b"\0", backend.as_str().as_bytes()].concat();
        let hash = SipHasher24::new_with_key(cluster).hash(&hash);
        let [a, b, c, d, ..] = hash.as_u128().to_be_bytes();
        // Over 0 and under 1.
        let even =
            (f64::from(u32::from_be_bytes([a, b, c, d])) + 0.5) / (f64::from(u32::MAX) + 1.0);
        -f64::from(*weight) / even.ln()
    };
    let scored = candidates.iter().map(|candidate| (score(candidate), &candidate.0));
    // Of equal scores the first name counts, in whatever order they come.
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(one.1)));
    best.map(|(_, backend)| backend.clone())
}

/// The candidate with the fewest users for its weight; of equals the first by name.
pub(super) fn fewest(
    candidates: &[Candidate],
    loads: &[(BackendName, u64)],
) -> Option<BackendName> {
    let users = |backend: &BackendName| {
        loads.iter().find(|(name, _)| name == backend).map_or(0, |(_, users)| u128::from(*users))
    };
    let best = candidates.iter().min_by(|one, other| {
        // Which has fewer once it has one more: a/b < c/d as a*d < c*b.
        let left = (users(&one.0) + 1) * u128::from(other.1);
        let right = (users(&other.0) + 1) * u128::from(one.1);
        left.cmp(&right).then_with(|| one.0.cmp(&other.0))
    });
    best.map(|(backend, _)| backend.clone())
}
