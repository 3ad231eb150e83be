//! The chain of sources: who is asked in what order, and what becomes of their answers.
//!
//! Nothing here knows what a back end is. A source that cannot say ends the search, unless it only gives
//! what another leaves open and is set to be done without.

use std::{fmt, sync::Arc};

use model::{BackendName, CanonicalUser, Reason};

use crate::{
    DependsOn, Gives, Keys, OnError, OpenError, Place, Placeholder, PoolUse, Query, SourceSettings,
    Store, Template, Unavailable,
    directory::Refused,
    placement::Wanted,
    sources::{
        Around, Asking, Assigned, Assignment, CannotSay, Found, Offer, Question, Said, Source,
        cached::Figures, table::Table,
    },
};

/// What the chain knows of a user.
pub(crate) enum Known<'c> {
    /// Nobody knows him, and everybody could say so.
    Nobody,
    /// This source has judged his password, and it is wrong.
    Refused(&'c Link, Refused),
    /// The source that knows him, and all that is known of him.
    User(&'c Link, Found),
}

/// What a source was asked.
#[derive(Clone, Debug)]
pub struct SourceFigures {
    /// Its name.
    pub name: Arc<str>,
    /// Counts since the start; none for a source on this machine, which is simply asked.
    pub figures: Option<Figures>,
}

/// One member of the chain.
#[derive(Debug)]
pub(crate) struct Link {
    name: Arc<str>,
    template: Option<BackendName>,
    gives: Gives,
    on_error: OnError,
    keys: Keys,
    verify: bool,
    pool: Option<PoolUse>,
    knows_everybody: bool,
    cannot_ask: Option<String>,
    source: Source,
}

/// The sources, in the order in which they are asked.
pub(crate) struct Chain(Vec<Link>);

impl Chain {
    /// Opens all sources.
    pub(crate) fn open(settings: Vec<SourceSettings>, around: &Around) -> Result<Self, OpenError> {
        if !settings.iter().any(|source| source.gives == Gives::Home) {
            return Err(OpenError::Empty);
        }
        let mut chain = Self(Vec::new());
        for source in settings {
            let link = Link::open(source, around, chain.store())?;
            chain.0.push(link);
        }
        Ok(chain)
    }

    /// Has another source say what one was opened for.
    #[cfg(test)]
    pub(crate) fn exchange(&mut self, number: usize, source: Source) {
        let link = &mut self.0[number];
        (link.source, link.knows_everybody) = (source, false);
    }

    /// Asks the sources: of those that know where users are, each until one knows him; and those that
    /// complete what others know.
    pub(crate) async fn ask(
        &self,
        query: &Query,
        offer: Option<Offer>,
        how: Asking,
    ) -> Result<Known<'_>, Unavailable> {
        let query = Arc::new(query.clone());
        let (mut home, mut attributes, mut skipped) = (None, Found::default(), None);
        for link in &self.0 {
            if link.gives == Gives::Home && home.is_some() {
                continue;
            }
            if how == Asking::PastTheTable && matches!(link.source, Source::Table(_)) {
                continue;
            }
            match link.ask(&query, offer.as_ref(), how).await {
                Ok(Said::Found(found)) => match link.gives {
                    Gives::Home => home = Some((link, found)),
                    Gives::Attributes => attributes.complete(Found { places: Vec::new(), ..found }),
                },
                Ok(Said::Unknown) => {}
                Ok(Said::Refused { wait, text }) => {
                    let refused = Refused { wait, text, ..Reason::WrongPassword.into() };
                    return Ok(Known::Refused(link, refused));
                }
                Err(cannot) => {
                    let unavailable = link.unavailable(cannot);
                    if link.on_error == OnError::Stop {
                        return Err(unavailable);
                    }
                    attributes.incomplete = true;
                    skipped.get_or_insert(unavailable);
                }
            }
        }
        match (home, skipped) {
            (Some((link, mut found)), _) => {
                found.complete(attributes);
                Ok(Known::User(link, found))
            }
            (None, Some(unavailable)) => Err(unavailable),
            (None, None) => Ok(Known::Nobody),
        }
    }

    pub(crate) fn forget(&self, user: Option<&CanonicalUser>) {
        for link in &self.0 {
            let Source::Remote(remote) = &link.source else { continue };
            match user {
                Some(user) => remote.forgetter().forget(user),
                None => remote.forgetter().forget_all(),
            }
        }
    }

    pub(crate) fn figures(&self) -> Vec<SourceFigures> {
        let figures = |link: &Link| SourceFigures {
            name: Arc::clone(&link.name),
            figures: match &link.source {
                Source::Remote(remote) => Some(remote.figures()),
                _ => None,
            },
        };
        self.0.iter().map(figures).collect()
    }

    /// The source of a name.
    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.0.iter().find(|link| *link.name == *name)
    }

    /// What the answers depend on.
    pub(crate) fn depends_on(&self) -> DependsOn {
        self.0.iter().flat_map(Link::placeholders).collect()
    }

    /// The embedded store; none if there is no table.
    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        self.0.iter().find_map(|link| match &link.source {
            Source::Table(Table(store)) => Some(store),
            _ => None,
        })
    }

    /// Whether a pool places those of the table for whom it names no place.
    pub(crate) fn table_has_pool(&self) -> bool {
        let has_pool = |link: &Link| matches!(link.source, Source::Table(_)) && link.pool.is_some();
        self.0.iter().any(has_pool)
    }

    /// The template of the table.
    pub(crate) fn table_template(&self) -> Option<&BackendName> {
        let is_table = |link: &&Link| matches!(link.source, Source::Table(_));
        self.0.iter().find(is_table)?.template.as_ref()
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|link| &link.name);
        f.debug_list().entries(names).finish()
    }
}

impl Link {
    fn open(
        settings: SourceSettings,
        around: &Around,
        store: Option<&Arc<Store>>,
    ) -> Result<Self, OpenError> {
        match Source::open(&settings, around, store) {
            Ok(source) => Ok(Self {
                name: settings.name.into(),
                template: settings.template,
                gives: settings.gives,
                on_error: settings.on_error,
                keys: settings.keys,
                verify: settings.verify,
                pool: settings.pool,
                knows_everybody: settings.kind.knows_everybody(),
                cannot_ask: settings.cannot_ask,
                source,
            }),
            Err(problem) => Err(OpenError::Source { name: settings.name, problem }),
        }
    }

    /// Asks under one key after the other.
    async fn ask(
        &self,
        query: &Arc<Query>,
        offer: Option<&Offer>,
        how: Asking,
    ) -> Result<Said, CannotSay> {
        if let Some(why) = &self.cannot_ask {
            return Err(CannotSay::unavailable(why));
        }
        for key in self.keys.of(query) {
            let (query, key) = (Arc::clone(query), key.into());
            let question = Question { query, key, offer: offer.cloned() };
            match self.source.ask(&question, how).await? {
                Said::Unknown => {}
                said => return Ok(said),
            }
        }
        Ok(Said::Unknown)
    }

    fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        let of_keys = self.keys.0.iter().flat_map(Template::placeholders);
        let of_source = match &self.source {
            Source::Remote(remote) => remote.depends_on(),
            _ => DependsOn::default(),
        };
        of_keys.chain(Placeholder::ALL.into_iter().filter(move |one| of_source.contains(*one)))
    }

    /// Whether it can be told where a user is from now on.
    pub(crate) fn assigns(&self) -> bool {
        matches!(&self.source, Source::Remote(remote) if remote.assigner().is_some())
    }

    /// Tells it where a user is from now on, if it still says that he is where it was `seen` to say.
    pub(crate) async fn assign(
        &self,
        query: &Query,
        seen: Vec<Place>,
        to: Place,
    ) -> Result<Assigned, CannotSay> {
        let Source::Remote(remote) = &self.source else { return Ok(Assigned::Outdated) };
        let Some(assigner) = remote.assigner() else { return Ok(Assigned::Outdated) };
        let keys = self.keys.of(query).into_iter().map(Into::into).collect();
        let assignment = Assignment { query: Arc::new(query.clone()), keys, seen, to };
        let assigned = assigner.assign(assignment).await;
        // Whatever came of it, something may have been written.
        remote.forgetter().forget(&query.user);
        assigned
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn template(&self) -> Option<&BackendName> {
        self.template.as_ref()
    }

    /// Whether passwords are judged here whatever the back end does.
    pub(crate) fn verify(&self) -> bool {
        self.verify
    }

    /// Whose mailbox is wanted, where a pool has to say where it is; none if there is no pool.
    pub(crate) fn wanted(&self, user: &CanonicalUser, found: &Found) -> Option<Wanted> {
        let PoolUse { pool, tag } = self.pool.as_ref()?;
        Some(Wanted {
            user: user.clone(),
            pool: Arc::clone(pool),
            tag: tag.clone(),
            id: found.id.clone(),
            anybody: self.knows_everybody,
            incomplete: found.incomplete,
        })
    }

    pub(crate) fn unavailable(&self, cannot: CannotSay) -> Unavailable {
        let CannotSay { reason, detail, .. } = cannot;
        Unavailable { reason, source_name: Arc::clone(&self.name), detail }
    }
}
