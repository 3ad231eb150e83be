//! The directory itself: a name in, a route out, by the first source that knows the user.
//!
//! Nothing here speaks to a back end or words a reply. "No" and "cannot say" stay apart: a source that
//! cannot say ends the search.

use std::{fmt, sync::Arc, time::Duration};

use model::{BackendName, CanonicalUser, Proof, Reason, Route, Target, UserName};
use transport::tls::ClientTlsError;

use crate::{
    Backends, BadName, DependsOn, FileProblem, Query, Rules, Settings, Store, StoreError,
    Unresolved,
    chain::{Chain, Known, Link, SourceFigures},
    judge::{Judge, Judgement},
    sources::{Around, Asking, CannotSay, Found, Offer},
};

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
    /// The chain is empty: every user would be unknown.
    #[error("there is no source of users: configure at least one")]
    Empty,
    /// A source cannot be used.
    #[error("source `{name}`: {problem}")]
    Source {
        /// The source.
        name: String,
        /// Why.
        problem: SourceProblem,
    },
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

/// The directory. It is shared by all sessions.
pub struct Directory {
    rules: Rules,
    backends: Arc<Backends>,
    chain: Chain,
    depends_on: DependsOn,
    judge: Judge,
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
        let chain = Chain::open(settings.chain, &around)?;
        Ok(Self {
            rules: settings.rules,
            backends,
            depends_on: chain.depends_on(),
            chain,
            judge: Judge::new(settings.passwords),
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

    /// Says where a user is, without asking whether it is he. It has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Unavailable`] if a source that has to be asked cannot say, or its answer leads nowhere.
    pub async fn look_up(&self, query: &Query) -> Result<Verdict, Unavailable> {
        Ok(self.look_up_with_source(query).await?.0)
    }

    /// As [`Self::look_up`], for somebody on whose being unknown something final hangs, such as that a
    /// message for him is refused: no source's "no" from before counts, so each is asked again.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub async fn look_up_for_good(&self, query: &Query) -> Result<Verdict, Unavailable> {
        let known = self.chain.ask(query, None, Asking::NoRememberedNo).await?;
        Ok(self.verdict(known, query, None).await?.0)
    }

    /// As [`Self::look_up`], with the name of the source that knows the user.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub async fn look_up_with_source(
        &self,
        query: &Query,
    ) -> Result<(Verdict, Option<Arc<str>>), Unavailable> {
        let known = self.chain.ask(query, None, Asking::Usual).await?;
        self.verdict(known, query, None).await
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
            Proof::Certificate | Proof::Scram | Proof::Token(_) => None,
        };
        let known = self.chain.ask(query, offer, Asking::Usual).await?;
        Ok(self.verdict(known, query, Some(proof)).await?.0)
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

    /// The embedded store; none if the chain has no table.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.chain.store()
    }

    /// The template of the table, if the chain has a table and that a template.
    pub fn table_template(&self) -> Option<&BackendName> {
        self.chain.table_template()
    }

    /// What the chain knows, as a verdict. With a proof, it is judged where the back end will not.
    async fn verdict(
        &self,
        known: Known<'_>,
        query: &Query,
        proof: Option<&Proof>,
    ) -> Result<(Verdict, Option<Arc<str>>), Unavailable> {
        let (link, found) = match known {
            Known::User(link, found) => (link, found),
            Known::Refused(refused) => return Ok((Verdict::Refused(refused), None)),
            Known::Nobody => return Ok((Verdict::Unknown, None)),
        };
        let source = Some(Arc::clone(link.name()));
        if found.disabled && proof.is_some() {
            let refused = Refused { reason: Reason::UserDisabled, wait: None, text: None };
            return Ok((Verdict::Refused(refused), source));
        }
        let targets = self.targets(link, query, &found)?;
        let judged = match proof {
            Some(proof) if link.verify() || targets.iter().any(|at| self.must_judge(at)) => {
                match self.judge.judge(&query.user, &found, proof).await {
                    Ok(Judgement::Right) => true,
                    Ok(Judgement::Wrong) => {
                        let reason = Reason::WrongPassword;
                        let refused = Refused { reason, wait: None, text: None };
                        return Ok((Verdict::Refused(refused), source));
                    }
                    Err(cannot) => return Err(link.unavailable(cannot)),
                }
            }
            _ => found.judged,
        };
        let user = found.user.unwrap_or_else(|| query.user.name().clone());
        Ok((Verdict::Admit(Route { targets, user, secret: found.secret, judged }), source))
    }

    /// Whether a back end lets in whom we name, and so leaves it to us to ask for a proof.
    fn must_judge(&self, target: &Target) -> bool {
        self.backends.get(&target.backend).is_none_or(|known| !known.judges)
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
