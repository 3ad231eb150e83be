//! Where the mailboxes of a pool are: an id, the shard that follows from it, and the page of that shard.
//!
//! Nothing here moves mail, and nothing here changes where an existing mailbox is looked for, but for those
//! acts of an operator who says that the mail is there already.

mod choice;
mod pools;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use aws_lc_rs::rand;
use model::{BackendName, CanonicalUser};
use siphasher::sip128::SipHasher24;

use crate::{
    Backends, Store,
    sources::CannotSay,
    store::{ListedMailbox, Page, Settle, StoredMailbox, Swap},
};

pub use self::{
    choice::{PlaceBy, Policy},
    pools::{Added, MemberView, PlaceRefused, PoolSettings, PoolView, Pools, Share},
};

/// Shards of a pool, for ever.
pub(crate) const SHARDS: u32 = 1 << 16;

/// How often somebody else may be faster before we say that we cannot say.
const TRIES: u32 = 32;

/// Who places a user at his first login, for the history.
pub(crate) const FIRST_LOGIN: (&str, &str) = ("first-login", "place");

/// Where a mailbox stands among all: its shard, and what tells it from others there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    pub(crate) shard: u16,
    pub(crate) fingerprint: i64,
}

impl Key {
    /// The first 16 bits of the keyed hash, and the next 64. This never changes: where mail is looked for
    /// hangs on it.
    fn new(cluster: &[u8; 16], id: &str) -> Self {
        let hash = SipHasher24::new_with_key(cluster).hash(id.as_bytes());
        let [s0, s1, f0, f1, f2, f3, f4, f5, f6, f7, ..] = hash.as_u128().to_be_bytes();
        Self {
            shard: u16::from_be_bytes([s0, s1]),
            fingerprint: i64::from_be_bytes([f0, f1, f2, f3, f4, f5, f6, f7]),
        }
    }
}

/// Whose mailbox is wanted, and what a source says of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) user: CanonicalUser,
    /// The pool of the source that knows him.
    pub(crate) pool: Arc<str>,
    /// Only back ends with this tag are good for a new mailbox.
    pub(crate) tag: Option<Arc<str>>,
    /// The id that a source gives him.
    pub(crate) id: Option<Box<str>>,
    /// Whether the source knows whoever asks, so that a name is all there is.
    pub(crate) anybody: bool,
    /// Whether an id may be missing only because a source could not say it.
    pub(crate) incomplete: bool,
}

/// Where a mailbox is, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// The pool.
    pub pool: Box<str>,
    /// The mailbox's id.
    pub id: Box<str>,
    /// Its shard.
    pub shard: u16,
    /// The epoch of that shard's page.
    pub epoch: u64,
    /// The back end; none if nothing says it yet: its first login will.
    pub backend: Option<BackendName>,
    /// Whether that is its own home; else it is that of its shard.
    pub own: bool,
}

/// What is known of a mailbox, and how to go on from there.
struct Seen {
    mailbox: StoredMailbox,
    before: Option<StoredMailbox>,
    /// Whether `mailbox` has to be stored.
    new: bool,
    key: Key,
    page: Page,
}

/// The pools at work.
pub(crate) struct Placement {
    store: Arc<Store>,
    backends: Arc<Backends>,
    cluster: [u8; 16],
    pools: Pools,
    living: OnceLock<Living>,
}

/// Says whether a back end may get users who have no home yet.
pub type Living = Arc<dyn Fn(&BackendName) -> bool + Send + Sync>;

impl Placement {
    /// From now on nobody gets a first home on a back end of which `living` says that it is dead.
    pub(crate) fn watch(&self, living: Living) {
        // There is one daemon in a process, and it says so once.
        let _ = self.living.set(living);
    }

    /// Says where a mailbox is, if that can be said without writing. It takes microseconds.
    pub(crate) fn find(&self, wanted: &Wanted) -> Result<Option<Placed>, CannotSay> {
        let seen = self.see(wanted)?;
        Ok(seen.filter(|seen| !seen.new).map(|seen| seen.placed()).filter(Placed::is_complete))
    }

    /// The same where nothing may be written: what is missing stays open. None if not even an id is
    /// known.
    pub(crate) fn look(&self, wanted: &Wanted) -> Result<Option<Placed>, CannotSay> {
        Ok(self.see(wanted)?.map(|seen| seen.placed()))
    }

    /// The back ends that a new mailbox may get to.
    pub(crate) fn open_to(&self, wanted: &Wanted) -> Result<Vec<BackendName>, CannotSay> {
        let candidates = self.candidates(&wanted.pool, wanted.tag.as_deref());
        let candidates = candidates.map_err(CannotSay::by_store)?;
        Ok(candidates.into_iter().map(|(backend, _)| backend).collect())
    }

    /// Says where a mailbox is, and sees to it that it is somewhere. It blocks on the disk.
    pub(crate) fn settle(&self, wanted: &Wanted) -> Result<Placed, CannotSay> {
        for _ in 0..TRIES {
            let seen = self.see_or_draw(wanted)?;
            let placed = seen.placed();
            let chosen = match &placed.backend {
                Some(_) => None,
                None if seen.is_collision() => return Err(collides(&wanted.user)),
                None => Some(self.choose(wanted, &seen)?),
            };
            if !seen.new && chosen.is_none() {
                return Ok(placed);
            }
            let swap = self.store.settle(&Settle {
                by: FIRST_LOGIN,
                user: &wanted.user,
                mailbox: &seen.mailbox,
                before: seen.before.as_ref(),
                store_mailbox: seen.new,
                key: seen.key,
                own: chosen.as_ref().map(|backend| (backend, seen.page.epoch)),
                from: None,
            });
            if swap.map_err(CannotSay::by_store)? == Swap::Done && chosen.is_none() {
                return Ok(placed);
            }
        }
        Err(CannotSay::unavailable("others place users faster than this one can be"))
    }

    /// Whether each mailbox of a pool has a home of its own.
    pub(crate) fn is_by_user(&self, pool: &str) -> bool {
        self.pools.of(pool).is_some_and(|pool| pool.place == PlaceBy::User)
    }

    /// A back end for a mailbox that has none yet, for a source to be told; nothing is kept here. It blocks on the
    /// disk.
    pub(crate) fn propose(&self, wanted: &Wanted) -> Result<BackendName, CannotSay> {
        let seen = self.see_or_draw(wanted)?;
        self.choose(wanted, &seen)
    }

    /// Gives a mailbox a home of its own, from the epoch at which its present one was read, where it was.
    fn place(
        &self,
        actor: &str,
        wanted: &Wanted,
        epoch: Option<u64>,
        backend: &BackendName,
    ) -> Result<Moved, CannotSay> {
        let seen = self.see_or_draw(wanted)?;
        let placed = seen.placed();
        if seen.is_collision() {
            return Ok(Moved::Collision);
        }
        if placed.own && placed.backend.as_ref() == Some(backend) {
            return Ok(Moved::Unchanged(placed));
        }
        let swap = self.store.settle(&Settle {
            by: (actor, "place"),
            user: &wanted.user,
            mailbox: &seen.mailbox,
            before: seen.before.as_ref(),
            store_mailbox: seen.new,
            key: seen.key,
            own: Some((backend, epoch.unwrap_or(seen.page.epoch))),
            from: placed.backend.as_ref(),
        });
        match swap.map_err(CannotSay::by_store)? {
            Swap::Done => Ok(Moved::Done(placed)),
            Swap::Outdated => Ok(Moved::Outdated),
        }
    }

    /// Where the mailbox of a listed user is.
    pub(crate) fn of_listed(&self, listed: &ListedMailbox) -> Result<Placed, CannotSay> {
        let key = Key::new(&self.cluster, &listed.mailbox.id);
        let page = self.page(&listed.mailbox.pool, key)?;
        let (mailbox, before) = (listed.mailbox.clone(), None);
        Ok(Seen { mailbox, before, new: false, key, page }.placed())
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    fn see(&self, wanted: &Wanted) -> Result<Option<Seen>, CannotSay> {
        let before = self.store.mailbox(&wanted.user).map_err(CannotSay::by_store)?;
        let Some(mailbox) = wanted.mailbox(before.as_ref()) else { return Ok(None) };
        let new = !wanted.anybody && before.as_ref() != Some(&mailbox);
        self.seen(mailbox, before, new).map(Some)
    }

    /// As [`Self::see`]; an id that nobody gives is drawn.
    fn see_or_draw(&self, wanted: &Wanted) -> Result<Seen, CannotSay> {
        if let Some(seen) = self.see(wanted)? {
            return Ok(seen);
        }
        if wanted.incomplete {
            let detail = format!(
                "`{}` is seen for the first time, and a source that may give an id for him cannot say",
                wanted.user
            );
            return Err(CannotSay::unavailable(detail));
        }
        let mailbox =
            StoredMailbox { id: draw_id()?, given: false, pool: Box::from(&*wanted.pool) };
        self.seen(mailbox, None, true)
    }

    fn seen(
        &self,
        mailbox: StoredMailbox,
        before: Option<StoredMailbox>,
        new: bool,
    ) -> Result<Seen, CannotSay> {
        let key = Key::new(&self.cluster, &mailbox.id);
        let page = self.page(&mailbox.pool, key)?;
        Ok(Seen { mailbox, before, new, key, page })
    }

    fn page(&self, pool: &str, key: Key) -> Result<Page, CannotSay> {
        let page = self.store.page(pool, key).map_err(CannotSay::by_store)?;
        page.ok_or_else(|| CannotSay::misconfigured(format!("there is no pool `{pool}`")))
    }

    fn choose(&self, wanted: &Wanted, seen: &Seen) -> Result<BackendName, CannotSay> {
        let pool = &*seen.mailbox.pool;
        let policy = self.pools.of(pool).map_or(Policy::Weighted, |pool| pool.policy);
        let mut candidates =
            self.candidates(pool, wanted.tag.as_deref()).map_err(CannotSay::by_store)?;
        if let Some(living) = self.living.get() {
            let any = !candidates.is_empty();
            candidates.retain(|(backend, _)| living(backend));
            if any && candidates.is_empty() {
                let detail = format!("no back end of the pool `{pool}` lives that could take him");
                return Err(CannotSay::unavailable(detail));
            }
        }
        let loads = match policy {
            Policy::FewestUsers => self.store.loads(pool).map_err(CannotSay::by_store)?,
            Policy::Weighted => Vec::new(),
        };
        let chosen = match policy {
            Policy::FewestUsers => choice::fewest(&candidates, &loads),
            Policy::Weighted => {
                choice::rendezvous(&self.cluster, seen.mailbox.id.as_bytes(), &candidates)
            }
        };
        chosen.ok_or_else(|| {
            let tagged = wanted
                .tag
                .as_ref()
                .map_or_else(String::new, |tag| format!(" with the tag `{tag}`"));
            let detail = format!("no back end{tagged} of the pool `{pool}` takes new mailboxes");
            CannotSay::misconfigured(detail)
        })
    }
}

impl Wanted {
    /// The mailbox of whoever is known by his name alone, for a name that comes instead.
    pub(crate) fn mailbox_of_a_name(&self) -> Option<StoredMailbox> {
        if self.anybody { self.mailbox(None) } else { None }
    }

    /// The mailbox whose id a source gives.
    pub(crate) fn given(&self) -> Option<StoredMailbox> {
        self.mailbox(None).filter(|mailbox| mailbox.given)
    }

    /// The mailbox that this is, where it can be said. What is stored goes before what is new, so that an
    /// attribute that comes or goes moves nobody; but another id of the source's own is another person.
    fn mailbox(&self, stored: Option<&StoredMailbox>) -> Option<StoredMailbox> {
        let new =
            |id: &str, given| StoredMailbox { id: id.into(), given, pool: Box::from(&*self.pool) };
        match (stored, self.id.as_deref()) {
            (Some(stored), Some(id)) if stored.given && *stored.id != *id => Some(new(id, true)),
            (Some(stored), _) => Some(stored.clone()),
            (None, Some(id)) => Some(new(id, true)),
            (None, None) if self.anybody => Some(new(self.user.as_str(), false)),
            (None, None) => None,
        }
    }
}

impl Placed {
    fn is_complete(&self) -> bool {
        self.backend.is_some()
    }
}

impl Seen {
    fn placed(&self) -> Placed {
        let own = self.page.own.as_ref().filter(|own| own.mailbox == self.mailbox.id);
        Placed {
            pool: self.mailbox.pool.clone(),
            id: self.mailbox.id.clone(),
            shard: self.key.shard,
            epoch: self.page.epoch,
            backend: own.map(|own| &own.backend).or(self.page.backend.as_ref()).cloned(),
            own: own.is_some(),
        }
    }

    /// Whether another mailbox has its fingerprint: it cannot have a home of its own.
    fn is_collision(&self) -> bool {
        self.page.own.as_ref().is_some_and(|own| own.mailbox != self.mailbox.id)
    }
}

/// How placing a mailbox ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Moved {
    /// Another mailbox has its fingerprint.
    Collision,
    /// It is there now; this is where it was.
    Done(Placed),
    /// Something changed its page meanwhile.
    Outdated,
    /// It was there.
    Unchanged(Placed),
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pools.fmt(f)
    }
}

/// Of a mailbox that its shard has no home for, and that cannot have one of its own.
fn collides(user: &CanonicalUser) -> CannotSay {
    CannotSay::misconfigured(format_args!(
        "the mailbox of `{user}` has the fingerprint of another one in its shard: give it another id"
    ))
}

/// An id that nobody can guess and nobody has.
fn draw_id() -> Result<Box<str>, CannotSay> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)
        .map_err(|_| CannotSay::unavailable("the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
}

#[cfg(test)]
mod tests;
