//! What operators change in pools, and whom they hold.
//!
//! Nothing here asks whether an operator may do so, or whether mail is where he says it is.

use model::{BackendName, CanonicalUser};

use crate::{
    Added, Directory, Event, Held, Place, PlaceRefused, Placed, PoolView, Range, Renamed, ShardRun,
    Store, Unresolved, Whereabouts,
    chain::Link,
    placement::{Placement, Wanted},
    sources::Assigned,
};

/// A mailbox that a pool has placed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlacedMailbox {
    /// Whose it is.
    pub user: CanonicalUser,
    /// Where it is, and why.
    pub placed: Placed,
}

impl Directory {
    /// The pools, and what each back end has of them.
    ///
    /// # Errors
    /// [`PlaceRefused::Unavailable`] if the store cannot say.
    pub fn pools(&self) -> Result<Vec<PoolView>, PlaceRefused> {
        match self.placement() {
            Ok(placement) => Ok(placement.view()?),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Makes a back end a member of a pool: it gets new mailboxes from now on. What is somewhere stays.
    ///
    /// # Errors
    /// [`PlaceRefused`]; then nothing was changed.
    pub fn add_member(
        &self,
        actor: &str,
        pool: &str,
        backend: &BackendName,
    ) -> Result<Added, PlaceRefused> {
        self.placement()?.add_member(actor, pool, backend)
    }

    /// Says whether a back end gets new mailboxes. Whether that is news.
    ///
    /// # Errors
    /// [`PlaceRefused`]; then nothing was changed.
    pub fn set_drained(
        &self,
        actor: &str,
        backend: &BackendName,
        drained: bool,
    ) -> Result<bool, PlaceRefused> {
        self.backends().check_configured(backend)?;
        Ok(self.store()?.set_drained(actor, backend, drained)?)
    }

    /// The shards of a pool, runs of one owner together.
    ///
    /// # Errors
    /// [`PlaceRefused`] if there is no such pool, or the store cannot say.
    pub fn shards(&self, pool: &str) -> Result<Vec<ShardRun>, PlaceRefused> {
        self.placement()?.shards(pool)
    }

    /// Has the mailboxes of shards looked for at a back end, but for those with a home of their own. How
    /// many of the shards were looked for elsewhere.
    ///
    /// # Errors
    /// [`PlaceRefused`]; then nothing was changed.
    pub fn place_shards(
        &self,
        actor: &str,
        pool: &str,
        range: (u16, u16),
        backend: &BackendName,
    ) -> Result<u64, PlaceRefused> {
        self.placement()?.place_shards(actor, pool, range, backend)
    }

    /// Has a mailbox of a pool looked for at a back end, whatever its shard does. Where it was looked for
    /// so far, and whether that has changed; none if the user is in no pool.
    ///
    /// # Errors
    /// [`PlaceRefused`]; then nothing was changed.
    pub fn place_mailbox(
        &self,
        actor: &str,
        whereabouts: &Whereabouts,
        backend: &BackendName,
    ) -> Result<Option<(Placed, bool)>, PlaceRefused> {
        let Some(wanted) = whereabouts.wanted() else { return Ok(None) };
        let epoch = whereabouts.placed.as_ref().map(|placed| placed.epoch);
        self.placement()?.place_mailbox(actor, wanted, epoch, backend).map(Some)
    }

    /// Whether the source that knows a user can be told where he is from now on.
    pub fn can_assign(&self, at: &Whereabouts) -> bool {
        self.assigning(at).is_some()
    }

    /// Whether a place leads to a back end, by the settings of the source that knows a user.
    ///
    /// # Errors
    /// [`Unresolved`] if it leads nowhere.
    pub fn check_place(&self, at: &Whereabouts, place: &Place) -> Result<(), Unresolved> {
        self.backends().check(place, self.assigning(at).and_then(Link::template))
    }

    /// Has the source that knows a user write where he is from now on. It has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`PlaceRefused::Outdated`] if the source says something else of him by now, [`PlaceRefused::Unavailable`] if it
    /// cannot be told; then nothing was written, unless that is what cannot be said.
    pub async fn assign(
        &self,
        actor: &str,
        at: &Whereabouts,
        to: &Place,
    ) -> Result<(), PlaceRefused> {
        let (Some(link), Some((query, seen))) = (self.assigning(at), at.said()) else {
            let detail = "the source that knows the user cannot be told where he is";
            return Err(PlaceRefused::Unavailable(detail.to_owned()));
        };
        match link.assign(query, seen.clone(), to.clone()).await {
            Ok(Assigned::Done) => {
                self.note_assigned(actor, query, seen, to).await;
                Ok(())
            }
            Ok(Assigned::Outdated) => Err(PlaceRefused::Outdated),
            Err(cannot) => Err(PlaceRefused::Unavailable(link.unavailable(cannot).to_string())),
        }
    }

    /// Lets a user's new name stand for all that his old one stood for.
    ///
    /// # Errors
    /// [`PlaceRefused`]; then nothing was changed.
    pub fn rename(
        &self,
        actor: &str,
        old: &Whereabouts,
        new: &CanonicalUser,
    ) -> Result<Renamed, PlaceRefused> {
        let mailbox = old.wanted().and_then(Wanted::mailbox_of_a_name);
        Ok(self.store()?.rename(actor, (&old.user, new), mailbox.as_ref())?)
    }

    /// The mailboxes that were seen, by their users' names.
    ///
    /// # Errors
    /// [`PlaceRefused`] if there are no pools, or the store cannot say.
    pub fn mailboxes(&self, range: &Range) -> Result<Vec<PlacedMailbox>, PlaceRefused> {
        let placement = self.placement()?;
        let place = |listed| {
            let placed = placement.of_listed(&listed)?;
            Ok(PlacedMailbox { user: listed.user, placed })
        };
        self.store()?.mailboxes(range)?.into_iter().map(place).collect()
    }

    /// The newest events of a user, newest first.
    ///
    /// # Errors
    /// [`PlaceRefused`] if the store cannot say.
    pub fn history(&self, user: &CanonicalUser, limit: usize) -> Result<Vec<Event>, PlaceRefused> {
        Ok(self.store()?.history(Some(user), limit)?)
    }

    /// All that is held.
    ///
    /// # Errors
    /// [`PlaceRefused::Unavailable`] while nobody can say.
    pub fn held(&self) -> Result<Vec<Held>, PlaceRefused> {
        if self.holds().is_unread() {
            return Err(PlaceRefused::Unavailable("who is held cannot be read".to_owned()));
        }
        Ok(self.holds().list())
    }

    /// The back ends that get no new mailboxes.
    ///
    /// # Errors
    /// [`PlaceRefused::Unavailable`] if the store cannot say.
    pub fn drained(&self) -> Result<Vec<BackendName>, PlaceRefused> {
        Ok(self.store()?.drained()?)
    }

    /// Lets nobody new in: to a user's mailbox, or to a back end. Whether that is news. A user's mailbox has all its
    /// names; that of one who was not seen yet is what `at` says.
    ///
    /// # Errors
    /// [`PlaceRefused`]; then nothing was changed.
    pub fn hold(
        &self,
        actor: &str,
        what: Held,
        at: Option<&Whereabouts>,
    ) -> Result<bool, PlaceRefused> {
        let store = self.store()?;
        match &what {
            Held::Backend(name) => self.backends().check_configured(name)?,
            Held::User(user) => {
                if let Some(mailbox) = at.and_then(Whereabouts::wanted).and_then(Wanted::given) {
                    store.remember_mailbox(user, &mailbox)?;
                }
            }
        }
        let news = store.set_held(actor, what.words(), true)?;
        let mailbox = match &what {
            Held::Backend(_) => None,
            Held::User(user) => self.mailbox_of(user)?,
        };
        self.holds().hold(what, mailbox);
        Ok(news)
    }

    /// Lets those in who waited: to a user's mailbox, by whatever name it was held, or to a back end. Whether anybody
    /// was held.
    ///
    /// # Errors
    /// [`PlaceRefused`]; then nothing more is changed.
    pub fn release(&self, actor: &str, what: &Held) -> Result<bool, PlaceRefused> {
        let mut all = vec![what.clone()];
        if let Held::User(user) = what
            && let Some(mailbox) = self.mailbox_of(user)?
        {
            let others = self.holds().users_of(&mailbox).into_iter();
            all.extend(others.filter(|other| other != user).map(Held::User));
        }
        let mut news = false;
        for what in &all {
            news |= self.store()?.set_held(actor, what.words(), false)?;
            // What it said before may be from before what was done meanwhile.
            self.forget(match what {
                Held::Backend(_) => None,
                Held::User(user) => Some(user),
            });
            self.holds().release(what);
        }
        Ok(news)
    }

    fn store(&self) -> Result<&Store, PlaceRefused> {
        let store = self.kept().store().map(AsRef::as_ref);
        store.map_err(|problem| PlaceRefused::Unavailable(problem.to_owned()))
    }

    fn placement(&self) -> Result<&Placement, PlaceRefused> {
        let placement = self.kept().placement().map(AsRef::as_ref);
        placement.map_err(|problem| PlaceRefused::Unavailable(problem.to_owned()))
    }
}
