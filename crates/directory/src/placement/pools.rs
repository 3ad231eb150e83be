//! The pools of back ends: how one is opened for the first time, what is changed in it by operators, and
//! what can be seen of it.
//!
//! Nothing here is on the way of a login.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use model::BackendName;

use super::{
    Moved, PlaceBy, Placed, Placement, Policy, SHARDS, Wanted,
    choice::{self, Candidate},
};
use crate::{Backends, PoolProblem, ShardRun, Store, StoreError, StoredPool, sources::CannotSay};

/// A pool of back ends, as configured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolSettings {
    /// Its name.
    pub name: Arc<str>,
    /// What it keeps track of.
    pub place: PlaceBy,
    /// How a first home is chosen.
    pub policy: Policy,
    /// The members it begins with. From then on the store says who is a member.
    pub members: Vec<BackendName>,
}

/// What a back end takes of what is new.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// Which.
    pub backend: BackendName,
    /// Its weight beside the others, from 1.
    pub weight: u32,
    /// What sources can ask for.
    pub tags: Vec<Box<str>>,
}

/// The pools of a configuration, and the shares that back ends take.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    /// The pools.
    pub pools: Vec<PoolSettings>,
    /// The shares; one that is missing has weight 1 and no tags.
    pub shares: Vec<Share>,
}

impl Pools {
    pub(super) fn of(&self, name: &str) -> Option<&PoolSettings> {
        self.pools.iter().find(|pool| *pool.name == *name)
    }

    fn weight(&self, backend: &BackendName) -> u32 {
        let share = self.shares.iter().find(|share| share.backend == *backend);
        share.map_or(1, |share| share.weight)
    }

    fn has_tag(&self, backend: &BackendName, tag: &str) -> bool {
        let mut shares = self.shares.iter().filter(|share| share.backend == *backend);
        shares.any(|share| share.tags.iter().any(|own| **own == *tag))
    }

    fn weigh(&self, members: &[BackendName]) -> Vec<Candidate> {
        members.iter().map(|name| (name.clone(), self.weight(name))).collect()
    }
}

/// What can be seen of a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolView {
    /// Its name.
    pub name: Arc<str>,
    /// What it keeps track of.
    pub place: PlaceBy,
    /// How a first home is chosen.
    pub policy: Policy,
    /// The version of the list of members.
    pub version: u64,
    /// The back ends that are members, or have mailboxes of the pool.
    pub members: Vec<MemberView>,
}

/// What can be seen of a back end in a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberView {
    /// Which.
    pub backend: BackendName,
    /// Whether it is a member.
    pub is_member: bool,
    /// Whether it is configured. If not, those who are there are told to try later.
    pub is_configured: bool,
    /// Whether it gets no new mailboxes.
    pub is_drained: bool,
    /// Its weight.
    pub weight: u32,
    /// How many shards are its.
    pub shards: u32,
    /// How many mailboxes have a home of their own there.
    pub users: u64,
}

/// What making a back end a member came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Added {
    /// What the pool keeps track of.
    pub place: PlaceBy,
    /// The version of the list of members.
    pub version: u64,
    /// Its members now.
    pub members: Vec<BackendName>,
    /// What would move if all were placed anew, by where it is: shards, or mailboxes where each has a home
    /// of its own. Nothing is moved.
    pub would_move: Vec<(BackendName, u64)>,
    /// Of how many.
    pub of: u64,
}

/// Why an act on a pool was not done; nothing was changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PlaceRefused {
    /// Another mailbox has the same fingerprint.
    #[error(
        "another mailbox has the same fingerprint in its shard; it can only go where its shard goes"
    )]
    Collision,
    /// It is a member already.
    #[error("`{0}` is a member already")]
    Member(BackendName),
    /// There is no such back end.
    #[error("there is no back end `{0}` in the configuration")]
    NoBackend(BackendName),
    /// There is no such pool.
    #[error("there is no pool `{0}` in the configuration")]
    NoPool(String),
    /// Each mailbox has a home of its own there.
    #[error("in the pool `{0}` each mailbox has a home of its own, and shards have none")]
    NoShards(String),
    /// Somebody else has changed the page, or what a source says, meanwhile.
    #[error("somebody else has changed where this mailbox is at the same moment: look again")]
    Outdated,
    /// The store or a source cannot say.
    #[error("{0}")]
    Unavailable(String),
}

impl From<StoreError> for PlaceRefused {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<CannotSay> for PlaceRefused {
    fn from(cannot: CannotSay) -> Self {
        Self::Unavailable(cannot.detail)
    }
}

impl Backends {
    /// Fails for a back end that no act can be about.
    pub(crate) fn check_configured(&self, backend: &BackendName) -> Result<(), PlaceRefused> {
        if self.knows(backend) {
            return Ok(());
        }
        Err(PlaceRefused::NoBackend(backend.clone()))
    }
}

impl Placement {
    /// Opens the pools. One that is opened for the first time gets a page for each shard; from then on its
    /// pages stay as they are.
    pub(crate) fn open(
        store: Arc<Store>,
        backends: Arc<Backends>,
        pools: Pools,
    ) -> Result<Self, (Arc<str>, PoolProblem)> {
        let of = |name: &Arc<str>| {
            let name = Arc::clone(name);
            move |problem| (name, PoolProblem::Store(problem))
        };
        let any = pools.pools.first().map_or_else(|| "".into(), |pool| Arc::clone(&pool.name));
        let cluster = store.cluster_key().map_err(of(&any))?;
        let placement = Self { store, backends, cluster, pools, living: OnceLock::new() };
        for pool in &placement.pools.pools {
            let name = &pool.name;
            let stored = match placement.store.pool(name).map_err(of(name))? {
                Some(stored) => stored,
                None => placement.begin(pool).map_err(of(name))?,
            };
            if stored.place != pool.place.word() {
                return Err((Arc::clone(name), PoolProblem::OtherPlace(stored.place)));
            }
            placement.warn(pool, &stored).map_err(of(name))?;
        }
        Ok(placement)
    }

    fn begin(&self, pool: &PoolSettings) -> Result<StoredPool, StoreError> {
        let candidates = self.pools.weigh(&pool.members);
        self.store.begin_pool(&pool.name, pool.place.word(), &pool.members, |shard| match pool
            .place
        {
            PlaceBy::Shard => self.owner(shard, &candidates),
            PlaceBy::User => None,
        })?;
        Ok(self.store.pool(&pool.name)?.unwrap_or_else(|| StoredPool {
            place: pool.place.word().to_owned(),
            version: 0,
            members: Vec::new(),
        }))
    }

    fn owner(&self, shard: u16, candidates: &[Candidate]) -> Option<BackendName> {
        choice::rendezvous(&self.cluster, &shard.to_be_bytes(), candidates)
    }

    /// Tells where configuration and store differ: what is in the store counts.
    fn warn(&self, pool: &PoolSettings, stored: &StoredPool) -> Result<(), StoreError> {
        for backend in pool.members.iter().filter(|name| !stored.members.contains(name)) {
            tracing::warn!(
                pool = &*pool.name, %backend,
                "this back end is no member yet and gets no mailboxes: posthouse backend add {backend}",
            );
        }
        for member in self.members(pool, stored)?.iter().filter(|member| !member.is_configured) {
            let MemberView { backend, shards, users, .. } = member;
            tracing::warn!(
                pool = &*pool.name, %backend, shards, users,
                "this back end is not configured: whoever is there is told to try later",
            );
        }
        Ok(())
    }

    /// The members that get new mailboxes.
    pub(super) fn candidates(
        &self,
        pool: &str,
        tag: Option<&str>,
    ) -> Result<Vec<Candidate>, StoreError> {
        let drained = self.store.drained()?;
        let mut members = self.store.pool(pool)?.map(|pool| pool.members).unwrap_or_default();
        members.retain(|name| {
            self.backends.knows(name)
                && !drained.contains(name)
                && tag.is_none_or(|tag| self.pools.has_tag(name, tag))
        });
        Ok(self.pools.weigh(&members))
    }

    /// The pools, and what each back end has of them.
    pub(crate) fn view(&self) -> Result<Vec<PoolView>, StoreError> {
        let view = |pool: &PoolSettings| {
            let stored = self.store.pool(&pool.name)?;
            let version = stored.as_ref().map_or(0, |stored| stored.version);
            Ok(PoolView {
                name: Arc::clone(&pool.name),
                place: pool.place,
                policy: pool.policy,
                version,
                members: match &stored {
                    Some(stored) => self.members(pool, stored)?,
                    None => Vec::new(),
                },
            })
        };
        self.pools.pools.iter().map(view).collect()
    }

    fn members(
        &self,
        pool: &PoolSettings,
        stored: &StoredPool,
    ) -> Result<Vec<MemberView>, StoreError> {
        let drained = self.store.drained()?;
        let mut has: BTreeMap<BackendName, (u32, u64)> = BTreeMap::new();
        has.extend(stored.members.iter().map(|name| (name.clone(), (0, 0))));
        for run in self.store.shard_runs(&pool.name)? {
            if let Some(backend) = run.backend {
                has.entry(backend).or_default().0 += u32::from(run.last - run.first) + 1;
            }
        }
        for (backend, users) in self.store.loads(&pool.name)? {
            has.entry(backend).or_default().1 = users;
        }
        let view = |(backend, (shards, users)): (BackendName, (u32, u64))| MemberView {
            is_member: stored.members.contains(&backend),
            is_configured: self.backends.knows(&backend),
            is_drained: drained.contains(&backend),
            weight: self.pools.weight(&backend),
            shards,
            users,
            backend,
        };
        Ok(has.into_iter().map(view).collect())
    }

    /// Makes a back end a member, so that it gets new mailboxes. What is somewhere stays there.
    pub(crate) fn add_member(
        &self,
        actor: &str,
        pool: &str,
        backend: &BackendName,
    ) -> Result<Added, PlaceRefused> {
        let settings = self.known(pool, backend)?;
        let added = self.store.add_member(actor, pool, backend)?;
        let before = added.ok_or_else(|| PlaceRefused::Member(backend.clone()))?;
        let mut members = before.members;
        members.push(backend.clone());
        members.sort();
        let candidates = self.pools.weigh(&members);
        let (would_move, of) = match settings.place {
            PlaceBy::Shard => self.shards_won(pool, backend, &candidates)?,
            PlaceBy::User => self.share_of_users(pool, backend, &candidates)?,
        };
        let place = settings.place;
        Ok(Added { place, version: before.version + 1, members, would_move, of })
    }

    /// The shards that would be the back end's if all were placed anew, by owner.
    fn shards_won(
        &self,
        pool: &str,
        backend: &BackendName,
        candidates: &[Candidate],
    ) -> Result<(Vec<(BackendName, u64)>, u64), StoreError> {
        let mut won: BTreeMap<BackendName, u64> = BTreeMap::new();
        for run in self.store.shard_runs(pool)? {
            let Some(owner) = run.backend.filter(|owner| owner != backend) else { continue };
            let wins = |shard: &u16| self.owner(*shard, candidates).as_ref() == Some(backend);
            let count = (run.first..=run.last).filter(wins).count();
            *won.entry(owner).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
        }
        Ok((won.into_iter().collect(), u64::from(SHARDS)))
    }

    /// The back end's share of the users of each of the others.
    fn share_of_users(
        &self,
        pool: &str,
        backend: &BackendName,
        candidates: &[Candidate],
    ) -> Result<(Vec<(BackendName, u64)>, u64), StoreError> {
        let all: u64 = candidates.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let own = u64::from(self.pools.weight(backend));
        let loads = self.store.loads(pool)?;
        let of = loads.iter().map(|(_, users)| users).sum();
        let share = |(name, users): (BackendName, u64)| {
            (name, users.saturating_mul(own).checked_div(all).unwrap_or(0))
        };
        Ok((loads.into_iter().filter(|(name, _)| name != backend).map(share).collect(), of))
    }

    /// The shards of a pool, runs of one owner together.
    pub(crate) fn shards(&self, pool: &str) -> Result<Vec<ShardRun>, PlaceRefused> {
        self.pools.of(pool).ok_or_else(|| PlaceRefused::NoPool(pool.to_owned()))?;
        Ok(self.store.shard_runs(pool)?)
    }

    /// Gives shards to a back end. How many had another owner.
    pub(crate) fn place_shards(
        &self,
        actor: &str,
        pool: &str,
        range: (u16, u16),
        backend: &BackendName,
    ) -> Result<u64, PlaceRefused> {
        if self.known(pool, backend)?.place == PlaceBy::User {
            return Err(PlaceRefused::NoShards(pool.to_owned()));
        }
        Ok(self.store.place_shards(actor, pool, range, backend)?)
    }

    /// Gives a mailbox a home of its own. Where it was, and whether that is news.
    pub(crate) fn place_mailbox(
        &self,
        actor: &str,
        wanted: &Wanted,
        epoch: Option<u64>,
        backend: &BackendName,
    ) -> Result<(Placed, bool), PlaceRefused> {
        self.backends.check_configured(backend)?;
        match self.place(actor, wanted, epoch, backend)? {
            Moved::Collision => Err(PlaceRefused::Collision),
            Moved::Done(before) => Ok((before, true)),
            Moved::Outdated => Err(PlaceRefused::Outdated),
            Moved::Unchanged(placed) => Ok((placed, false)),
        }
    }

    fn known(&self, pool: &str, backend: &BackendName) -> Result<&PoolSettings, PlaceRefused> {
        self.backends.check_configured(backend)?;
        self.pools.of(pool).ok_or_else(|| PlaceRefused::NoPool(pool.to_owned()))
    }
}
