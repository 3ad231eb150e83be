//! The directory itself: a name in, a route out, by the first source that knows the user.
//!
//! Nothing here speaks to a back end or words a reply. "No" and "cannot say" stay apart: a source that
//! cannot say ends the search.

use std::{fmt, sync::Arc, time::Duration};

use model::{BackendName, CanonicalUser, Proof, Reason, Route, Target, UserName};
use proto::sasl::scram::Verifier;
use transport::tls::ClientTlsError;

use crate::{
    Backends, BadName, DependsOn, FileProblem, Place, Query, Rules, Settings, Store, StoreError,
    Unresolved,
    chain::{Chain, Known, Link, SourceFigures},
    decoys::{DecoyKeyError, Decoys},
    holds::Holds,
    judge::{Judge, Judgement},
    kept::Kept,
    placement::{FIRST_LOGIN, Living, Placed, Placement, Wanted},
    sources::{Around, Asking, Assigned, CannotSay, Found, Offer},
};

/// How often somebody else may be faster to write where a user is.
const ASSIGN_TRIES: u32 = 5;

/// What the directory says. None of it is ever a guess.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// He is known, and his proof was right where it is judged here.
    Admit(Route),
    /// He may not come in.
    Refused(Refused),
    /// Every source was asked, and none knows him.
    Unknown,
}

/// Why the directory refuses somebody, and what its source wants him to be told.
#[derive(Clone, Debug)]
pub struct Refused {
    /// [`Reason::WrongPassword`] or [`Reason::UserDisabled`].
    pub reason: Reason,
    /// How long the client should be made to wait; none where the source does not say.
    pub wait: Option<Duration>,
    /// A source's own words.
    pub text: Option<Box<str>>,
    /// What more there is to say of it, for the log alone.
    pub detail: Option<String>,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, wait: None, text: None, detail: None }
    }
}

/// What a client has to prove by SCRAM that it knows.
#[derive(Clone, Debug)]
pub struct ToProve {
    /// What is stored for the user, or a decoy.
    pub verifier: Verifier,
    /// Why no proof is right; none for a user who may log in by this verifier.
    pub unprovable: Option<Reason>,
}

/// Nobody can say now who or where the user is. It is never a "no".
#[derive(Clone, Debug, thiserror::Error)]
#[error("source `{source_name}`: {detail}")]
pub struct Unavailable {
    /// [`Reason::DirectoryUnavailable`] or [`Reason::DirectoryMisconfigured`].
    pub reason: Reason,
    /// The source that could not say.
    pub source_name: Arc<str>,
    /// What is wrong, where, and what to do, for the log. It holds no secret.
    pub detail: String,
}

/// Why the directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What names that nobody has are shown cannot be kept.
    #[error(transparent)]
    Decoys(#[from] DecoyKeyError),
    /// The chain is empty: every user would be unknown.
    #[error("there is no source of users: configure at least one")]
    Empty,
    /// A pool cannot be used.
    #[error("pool `{name}`: {problem}")]
    Pool {
        /// The pool.
        name: Arc<str>,
        /// Why.
        problem: PoolProblem,
    },
    /// The embedded store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A source cannot be used.
    #[error("source `{name}`: {problem}")]
    Source {
        /// The source.
        name: String,
        /// Why.
        problem: SourceProblem,
    },
    /// What TLS towards the tokens' issuer needs cannot be used.
    #[error("the issuer of tokens: {0}")]
    Tokens(#[source] ClientTlsError),
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    /// A static answer leads to no back end.
    #[error(transparent)]
    Answer(#[from] Unresolved),
    /// A file of users cannot be used.
    #[error(transparent)]
    File(#[from] FileProblem),
    /// The embedded store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What TLS towards it needs cannot be used.
    #[error(transparent)]
    Tls(#[from] ClientTlsError),
    /// Its template is not configured.
    #[error("its template `{0}` is not a configured back end")]
    Template(BackendName),
}

/// Why a pool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolProblem {
    /// It was opened otherwise before.
    #[error(
        "it was opened with place = \"{0}\", and by that its mailboxes are found: write that again, or make \
         a pool of another name for new users"
    )]
    OtherPlace(String),
    /// The embedded store cannot be used.
    #[error(transparent)]
    Store(StoreError),
}

/// Where a login of a user would go, and why. Nothing was written to find out.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// Who.
    pub user: CanonicalUser,
    /// The source that knows him; none if none does.
    pub source: Option<Arc<str>>,
    /// Where a login would go. None if nobody knows him, or if his first login has to say.
    pub route: Option<Route>,
    /// Why a login would have to wait, where nobody can say its way.
    pub cannot_say: Option<Unavailable>,
    /// What his pool says, where he is in one and has been seen.
    pub placed: Option<Placed>,
    /// His mailbox, where he is in a pool.
    wanted: Option<Wanted>,
    /// What the source that knows him was asked, and where it says that he is.
    said: Option<(Query, Vec<Place>)>,
}

impl Whereabouts {
    /// Whether the source that knows him leaves it to a pool where he is.
    pub fn is_in_pool(&self) -> bool {
        self.wanted.is_some()
    }

    /// What the source that knows him was asked, and where it says that he is.
    pub(crate) fn said(&self) -> Option<&(Query, Vec<Place>)> {
        self.said.as_ref()
    }

    /// Where the source that knows him says that he is; none if it leaves that open.
    pub fn places(&self) -> &[Place] {
        self.said.as_ref().map_or(&[], |(_, places)| places)
    }

    /// His mailbox, where he is in a pool.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }
}

/// Where the mail of somebody who is known is.
enum Home {
    At(Vec<Target>),
    /// Nowhere yet: one of these back ends would get it.
    New {
        placement: Arc<Placement>,
        wanted: Wanted,
        members: Vec<BackendName>,
    },
}

impl Home {
    /// Where it is, or may come to be.
    fn possible(&self) -> impl Iterator<Item = &BackendName> {
        let (targets, members): (&[Target], &[BackendName]) = match self {
            Self::At(targets) => (targets, &[]),
            Self::New { members, .. } => (&[], members),
        };
        targets.iter().map(|target| &target.backend).chain(members)
    }
}

/// The directory. It is shared by all sessions.
pub struct Directory {
    rules: Rules,
    backends: Arc<Backends>,
    chain: Chain,
    depends_on: DependsOn,
    judge: Judge,
    kept: Kept,
    decoys: Option<Decoys>,
}

impl Directory {
    /// Opens all sources; it blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`] if a source cannot be used or contradicts the configuration.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let backends = Arc::new(Backends::new(settings.backends));
        let around = Around {
            rules: settings.rules.clone(),
            backends: Arc::clone(&backends),
            state: settings.state,
        };
        let state = around.state.clone();
        let has_verifiers = settings.chain.iter().any(|source| source.scram);
        let iterations = settings.passwords.scram_iterations;
        let decoys = has_verifiers.then(|| Decoys::open(&around.state, iterations)).transpose()?;
        let judge =
            Judge::open(settings.passwords, settings.tokens.as_ref(), settings.rules.clone())
                .map_err(OpenError::Tokens)?;
        let chain = Chain::open(settings.chain, &around)?;
        let kept = Kept::open(chain.store(), &state, &backends, settings.pools)?;
        Ok(Self {
            rules: settings.rules,
            backends,
            depends_on: chain.depends_on(),
            chain,
            judge,
            kept,
            decoys,
        })
    }

    /// The one name by which we know a user. It is made once for each login, before anything is keyed
    /// by it.
    ///
    /// # Errors
    /// [`BadName`] if the name rules make no valid name of what he typed. To the client this is the
    /// same as [`Verdict::Unknown`].
    pub fn canonical(&self, typed: &UserName) -> Result<CanonicalUser, BadName> {
        self.rules.canonical(typed)
    }

    /// Says where a user is, without asking whether it is he. A new one gets a home, where that is left to a
    /// pool. It has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Unavailable`] if a source that has to be asked cannot say, or its answer leads nowhere.
    pub async fn look_up(&self, query: &Query) -> Result<Verdict, Unavailable> {
        self.asked(query, None, None, Asking::Usual).await
    }

    /// As [`Self::look_up`], for somebody on whose being unknown something final hangs, such as that a
    /// message for him is refused: no source's "no" from before counts, so each is asked again.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub async fn look_up_for_good(&self, query: &Query) -> Result<Verdict, Unavailable> {
        self.asked(query, None, None, Asking::NoRememberedNo).await
    }

    /// Says where a login of a user would go, and writes nothing: who has no home yet gets none. It has to
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Unavailable`] if a source that has to be asked cannot say.
    pub async fn whereabouts(&self, query: &Query) -> Result<Whereabouts, Unavailable> {
        self.looked_for(query, Asking::Usual).await
    }

    /// As [`Self::whereabouts`], if the user were not in the table.
    ///
    /// # Errors
    /// As [`Self::whereabouts`].
    pub async fn whereabouts_past_the_table(
        &self,
        query: &Query,
    ) -> Result<Whereabouts, Unavailable> {
        self.looked_for(query, Asking::PastTheTable).await
    }

    async fn looked_for(&self, query: &Query, how: Asking) -> Result<Whereabouts, Unavailable> {
        let nowhere = Whereabouts {
            user: query.user.clone(),
            source: None,
            route: None,
            cannot_say: None,
            placed: None,
            wanted: None,
            said: None,
        };
        let (link, found) = match self.chain.ask(query, None, how).await? {
            Known::User(link, found) => (link, found),
            Known::Refused(link, _) => {
                let told = "it refuses him, and does not say whether it knows him";
                let cannot_say = Some(link.unavailable(CannotSay::unavailable(told)));
                let source = Some(Arc::clone(link.name()));
                return Ok(Whereabouts { source, cannot_say, ..nowhere });
            }
            Known::Nobody => return Ok(nowhere),
        };
        let source = Some(Arc::clone(link.name()));
        let wanted = self.wanted(link, query, &found);
        let looked = match &wanted {
            Some(wanted) => match self.placed_by() {
                Ok(placement) => placement.look(wanted),
                Err(cannot) => {
                    let cannot_say = Some(link.unavailable(cannot));
                    return Ok(Whereabouts {
                        source,
                        cannot_say,
                        wanted: Some(wanted.clone()),
                        ..nowhere
                    });
                }
            },
            None => Ok(None),
        };
        let placed = looked.map_err(|cannot| link.unavailable(cannot))?;
        let targets = match &placed {
            None if wanted.is_some() => None,
            None => Some(self.targets(link, query, &found)),
            Some(placed) => {
                let backend = placed.backend.as_ref();
                backend.map(|backend| self.target(&placed.pool, backend, link))
            }
        };
        let (targets, cannot_say) = match targets.transpose() {
            Ok(targets) => (targets, None),
            Err(unavailable) => (None, Some(unavailable)),
        };
        let user = found.user.unwrap_or_else(|| query.user.name().clone());
        let (secret, judged, stale) = (found.secret, found.judged, found.stale);
        let route = targets.map(|targets| Route { targets, user, secret, judged, stale });
        let said = Some((query.clone(), found.places));
        Ok(Whereabouts { source, route, cannot_say, placed, wanted, said, ..nowhere })
    }

    /// Says whether a client is let in, and where its mail is. Its proof is judged here unless the back end
    /// will. `attempt` is the how manieth of its connection this is, from 1. It has to be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// As [`Self::look_up`]; also if it would have to be judged here, and nothing says by what.
    pub async fn admit(
        &self,
        query: &Query,
        proof: &Proof,
        attempt: u32,
    ) -> Result<Verdict, Unavailable> {
        let offer = match proof {
            Proof::Password(password) => Some(Offer { password: password.clone(), attempt }),
            Proof::Certificate | Proof::Scram(_) | Proof::Token(_) => None,
        };
        self.asked(query, Some(proof), offer, Asking::Usual).await
    }

    /// What a client has to prove by SCRAM that it knows. Nobody can tell by it who exists: for who does not, there
    /// is a decoy. It has to be called within a tokio runtime.
    ///
    /// # Errors
    /// As [`Self::look_up`]; also if what is stored for the user cannot be read, or no source has verifiers.
    pub async fn to_prove(&self, query: &Query) -> Result<ToProve, Unavailable> {
        let decoys = self.decoys()?;
        // For everybody, so that it takes as long for whoever exists.
        let decoy = decoys.of(query.user.name());
        let decoy = |reason| ToProve { verifier: decoy, unprovable: Some(reason) };
        let (link, found) = match self.chain.ask(query, None, Asking::Usual).await? {
            Known::User(link, found) => (link, found),
            Known::Refused(_, refused) => return Ok(decoy(refused.reason)),
            Known::Nobody => return Ok(decoy(Reason::UnknownUser)),
        };
        let disabled = found.disabled.then_some(Reason::UserDisabled);
        match self.judge.verifier(&found) {
            Ok(Some(verifier)) => {
                decoys.compare(&verifier);
                Ok(ToProve { verifier, unprovable: disabled })
            }
            Ok(None) => Ok(decoy(disabled.unwrap_or(Reason::DirectoryMisconfigured))),
            Err(cannot) => Err(link.unavailable(cannot)),
        }
    }

    /// As [`Self::to_prove`], for a name of which the name rules make none.
    ///
    /// # Errors
    /// [`Unavailable`] if no source has verifiers.
    pub fn decoy(&self, typed: &UserName) -> Result<ToProve, Unavailable> {
        let verifier = self.decoys()?.of(typed);
        Ok(ToProve { verifier, unprovable: Some(Reason::ClientBadCredentials) })
    }

    fn decoys(&self) -> Result<&Decoys, Unavailable> {
        self.decoys.as_ref().ok_or_else(|| Unavailable {
            reason: Reason::DirectoryMisconfigured,
            source_name: "all".into(),
            detail: "none is declared to have verifiers for SCRAM".to_owned(),
        })
    }

    /// What the sources' answers depend on, beside the user and the protocol.
    pub fn depends_on(&self) -> DependsOn {
        self.depends_on
    }

    /// Forgets what sources said: of one user, or of all.
    pub fn forget(&self, user: Option<&CanonicalUser>) {
        self.chain.forget(user);
        self.judge.forget(user);
    }

    /// The sources in the order in which they are asked, and what they were asked since the start.
    pub fn figures(&self) -> Vec<SourceFigures> {
        self.chain.figures()
    }

    /// The name rules, for those who write names into the store.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The configured back ends, for those who write places into the store.
    pub fn backends(&self) -> &Backends {
        &self.backends
    }

    /// The embedded store, if the chain has a table.
    pub fn table(&self) -> Option<&Arc<Store>> {
        self.chain.store()
    }

    /// What is kept of pools and holds.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// From now on nobody gets a first home on a back end of which `living` says that it is dead. Whoever has a
    /// home is always looked for there.
    pub fn place_on_the_living(&self, living: Living) {
        if let Ok(placement) = self.kept.placement() {
            placement.watch(living);
        }
    }

    /// Who is held.
    pub fn holds(&self) -> &Holds {
        self.kept.holds()
    }

    /// Whether the chain has a table whose users a pool places where it leaves that open.
    pub fn table_has_pool(&self) -> bool {
        self.chain.table_has_pool()
    }

    /// The template of the table, if the chain has a table and that a template.
    pub fn table_template(&self) -> Option<&BackendName> {
        self.chain.table_template()
    }

    /// Asks the chain, and says what follows. Of somebody whose home a source has just been told, all that it says
    /// then counts: another may have been faster, and have changed more than his place.
    async fn asked(
        &self,
        query: &Query,
        proof: Option<&Proof>,
        offer: Option<Offer>,
        mut how: Asking,
    ) -> Result<Verdict, Unavailable> {
        for _ in 0..ASSIGN_TRIES {
            let known = self.chain.ask(query, offer.clone(), how).await?;
            if let Some(verdict) = self.verdict(known, query, proof).await? {
                return Ok(verdict);
            }
            how = Asking::NoRememberedNo;
        }
        Err(Unavailable {
            reason: Reason::DirectoryUnavailable,
            source_name: "all".into(),
            detail: "others change where the user is faster than a home can be written".to_owned(),
        })
    }

    /// What the chain knows, as a verdict; none if it has to be asked again. With a proof, it is judged where the
    /// back end will not.
    async fn verdict(
        &self,
        known: Known<'_>,
        query: &Query,
        proof: Option<&Proof>,
    ) -> Result<Option<Verdict>, Unavailable> {
        let (link, found) = match known {
            Known::User(link, found) => (link, found),
            Known::Refused(_, refused) => return Ok(Some(Verdict::Refused(refused))),
            Known::Nobody => return Ok(Some(Verdict::Unknown)),
        };
        if found.disabled && proof.is_some() {
            return Ok(Some(Verdict::Refused(Reason::UserDisabled.into())));
        }
        let home = match self.wanted(link, query, &found) {
            Some(wanted) => self.home(link, wanted)?,
            None => Home::At(self.targets(link, query, &found)?),
        };
        let mut judged = found.judged;
        // Before anything is written: whoever only tries a name gives nobody a home.
        if let Some(proof) = proof
            && self.must_judge(link, proof, home.possible())
        {
            if let Some(refused) = self.refusal(link, query, &found, proof).await? {
                return Ok(Some(Verdict::Refused(refused)));
            }
            judged = true;
        }
        let targets = match home {
            Home::At(targets) => targets,
            Home::New { placement, wanted, .. }
                if link.assigns() && placement.is_by_user(&wanted.pool) =>
            {
                self.assign_first_home(link, query, placement, wanted).await?;
                return Ok(None);
            }
            Home::New { placement, wanted, .. } => self.settled(link, placement, wanted).await?,
        };
        // Somebody else may have placed him meanwhile, where nobody asks for his proof.
        if let Some(proof) = proof
            && !judged
            && self.must_judge(link, proof, targets.iter().map(|target| &target.backend))
        {
            if let Some(refused) = self.refusal(link, query, &found, proof).await? {
                return Ok(Some(Verdict::Refused(refused)));
            }
            judged = true;
        }
        let user = found.user.unwrap_or_else(|| query.user.name().clone());
        let (secret, stale) = (found.secret, found.stale);
        Ok(Some(Verdict::Admit(Route { targets, user, secret, judged, stale })))
    }

    /// Why a proof is refused; none if it is right.
    async fn refusal(
        &self,
        link: &Link,
        query: &Query,
        found: &Found,
        proof: &Proof,
    ) -> Result<Option<Refused>, Unavailable> {
        match self.judge.judge(&query.user, found, proof).await {
            Ok(Judgement::Right) => Ok(None),
            Ok(Judgement::Wrong(detail)) => {
                Ok(Some(Refused { detail, ..Reason::WrongPassword.into() }))
            }
            Err(cannot) => Err(link.unavailable(cannot)),
        }
    }

    /// The mailbox that a pool has to say the home of; none if the source has said where it is, or has no
    /// pool.
    fn wanted(&self, link: &Link, query: &Query, found: &Found) -> Option<Wanted> {
        if found.places.is_empty() { link.wanted(&query.user, found) } else { None }
    }

    fn placed_by(&self) -> Result<&Arc<Placement>, CannotSay> {
        self.kept.placement().map_err(|problem| {
            CannotSay::misconfigured(format_args!("its pool keeps nothing: {problem}"))
        })
    }

    /// Where a pool has a mailbox, or may come to have it. Nothing is written.
    fn home(&self, link: &Link, wanted: Wanted) -> Result<Home, Unavailable> {
        let cannot = |cannot| link.unavailable(cannot);
        let placement = self.placed_by().map_err(cannot)?;
        match placement.find(&wanted).map_err(cannot)? {
            Some(placed) => self.placed(link, &placed).map(Home::At),
            None => {
                let members = placement.open_to(&wanted).map_err(cannot)?;
                Ok(Home::New { placement: Arc::clone(placement), wanted, members })
            }
        }
    }

    /// Where a pool has a mailbox from now on. It waits for the disk, and perhaps for another process that
    /// writes.
    async fn settled(
        &self,
        link: &Link,
        placement: Arc<Placement>,
        wanted: Wanted,
    ) -> Result<Vec<Target>, Unavailable> {
        let settling = tokio::task::spawn_blocking(move || placement.settle(&wanted));
        let settled = match settling.await {
            Ok(settled) => settled,
            Err(lost) => Err(CannotSay::unavailable(lost)),
        };
        self.placed(link, &settled.map_err(|cannot| link.unavailable(cannot))?)
    }

    fn placed(&self, link: &Link, placed: &Placed) -> Result<Vec<Target>, Unavailable> {
        match &placed.backend {
            Some(backend) => self.target(&placed.pool, backend, link),
            None => {
                let detail = "its pool has placed the user nowhere";
                Err(link.unavailable(CannotSay::unavailable(detail)))
            }
        }
    }

    /// Gives somebody a first home, and has the source that knows him write it: it says where he is from then
    /// on, and has to be asked again. Where another was faster, his word counts.
    async fn assign_first_home(
        &self,
        link: &Link,
        query: &Query,
        placement: Arc<Placement>,
        wanted: Wanted,
    ) -> Result<(), Unavailable> {
        let cannot = |cannot| link.unavailable(cannot);
        let choosing = tokio::task::spawn_blocking(move || placement.propose(&wanted));
        let chosen = choosing.await.map_err(|lost| cannot(CannotSay::unavailable(lost)))?;
        let chosen = Place::from(chosen.map_err(cannot)?);
        match link.assign(query, Vec::new(), chosen.clone()).await.map_err(cannot)? {
            Assigned::Done => self.note_assigned(FIRST_LOGIN.0, query, &[], &chosen).await,
            Assigned::Outdated => {}
        }
        Ok(())
    }

    /// Notes in the history what a source was told. It has been told, whatever becomes of the note.
    pub(crate) async fn note_assigned(
        &self,
        actor: &str,
        query: &Query,
        before: &[Place],
        after: &Place,
    ) {
        let before: Vec<_> = before.iter().map(Place::to_string).collect();
        let before = (!before.is_empty()).then(|| before.join(", "));
        let (actor, user, after) = (actor.to_owned(), query.user.clone(), after.to_string());
        let noted = match self.kept().store().map(Arc::clone) {
            Ok(store) => {
                let note = move || store.note_assigned(&actor, &user, before.as_deref(), &after);
                tokio::task::spawn_blocking(note).await.map_err(|lost| lost.to_string())
            }
            Err(problem) => Err(problem.to_owned()),
        };
        let problem = match noted {
            Ok(Ok(())) => return,
            Ok(Err(problem)) => problem.to_string(),
            Err(problem) => problem,
        };
        tracing::error!(user = %query.user, problem, "the history lacks what a source was told");
    }

    /// The source that knows somebody, if it can be told where he is from now on.
    pub(crate) fn assigning(&self, at: &Whereabouts) -> Option<&Link> {
        let link = self.chain.named(at.source.as_deref()?)?;
        link.assigns().then_some(link)
    }

    /// A back end that a pool names. One that is gone from the configuration still has the mail.
    fn target(
        &self,
        pool: &str,
        backend: &BackendName,
        link: &Link,
    ) -> Result<Vec<Target>, Unavailable> {
        if self.backends.knows(backend) {
            return Ok(vec![Target::backend(backend.clone())]);
        }
        let detail = format!(
            "the pool `{pool}` has the mailbox on `{backend}`, which is not configured any more: configure it \
             again, or bring the mail elsewhere and say so (user place, shard place)"
        );
        Err(link.unavailable(CannotSay::misconfigured(detail)))
    }

    /// Whether a proof has to be judged here: it is set so, it cannot be shown to a back end, or one lets in whom we
    /// name, and so leaves it to us to ask for a proof.
    fn must_judge<'b>(
        &self,
        link: &Link,
        proof: &Proof,
        mut backends: impl Iterator<Item = &'b BackendName>,
    ) -> bool {
        let trusts = |name: &BackendName| self.backends.get(name).is_none_or(|known| !known.judges);
        link.verify() || matches!(proof, Proof::Scram(_)) || backends.any(trusts)
    }

    /// Where the places of an answer lead.
    fn targets(
        &self,
        link: &Link,
        query: &Query,
        found: &Found,
    ) -> Result<Vec<Target>, Unavailable> {
        let user = &query.user;
        if found.places.is_empty() {
            let detail = format!("it knows `{user}` and names no back end for him");
            return Err(link.unavailable(CannotSay::misconfigured(detail)));
        }
        let resolve = |place| self.backends.resolve(place, link.template(), query.protocol);
        found.places.iter().map(resolve).collect::<Result<_, _>>().map_err(|unresolved| {
            let detail = format!("the answer for `{user}` cannot be used: {unresolved}");
            link.unavailable(CannotSay::misconfigured(detail))
        })
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chain.fmt(f)
    }
}

#[cfg(test)]
mod tests;
