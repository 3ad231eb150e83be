//! The directory itself: a name in, a route out, by the first source that knows the user.
//!
//! Nothing here speaks to a back end or words a reply. "No" and "cannot say" stay apart: a source that
//! cannot say ends the search.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{BackendName, CanonicalUser, Protocol, Reason, Route, UserName};

use crate::{
    Answer, Backends, BadName, FileProblem, FileSettings, KnownBackend, Rules, StaticSettings,
    Store, StoreError, Unresolved,
    sources::{
        CannotSay, Found, Source,
        file::{File, Reader},
        r#static::Static,
        table::Table,
    },
};

/// All that the directory has to know, from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name rules.
    pub rules: Rules,
    /// The sources, in the order in which they are asked.
    pub chain: Vec<SourceSettings>,
    /// The configured back ends.
    pub backends: Vec<KnownBackend>,
    /// The state folder, for the table.
    pub state: PathBuf,
}

/// One source of the chain.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// How log and errors call it.
    pub name: String,
    /// The back end whose settings count for an address that no back end has.
    pub template: Option<BackendName>,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is, with its own settings.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// A text map or TOML file.
    File(FileSettings),
    /// One answer for everybody.
    Static(StaticSettings),
    /// The embedded store in the state folder.
    Table,
}

/// What a client's login asks.
#[derive(Clone, Debug)]
pub struct Query {
    /// The name by which we know the user, see [`Directory::canonical`].
    pub user: CanonicalUser,
    /// The protocol he came by.
    pub protocol: Protocol,
}

/// What the directory says. Neither is ever a guess.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A source knows him, and says where his mail is.
    Admit(Route),
    /// Every source was asked, and none knows him.
    Unknown,
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
    /// Its template is not configured.
    #[error("its template `{0}` is not a configured back end")]
    Template(BackendName),
}

/// One member of the chain.
#[derive(Debug)]
struct Link {
    name: Arc<str>,
    template: Option<BackendName>,
    source: Source,
}

/// The directory. It is shared by all sessions.
pub struct Directory {
    rules: Rules,
    backends: Arc<Backends>,
    chain: Vec<Link>,
}

impl Directory {
    /// Opens all sources; it blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError`] if a source cannot be used or contradicts the configuration.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        if settings.chain.is_empty() {
            return Err(OpenError::Empty);
        }
        let mut directory = Self {
            rules: settings.rules,
            backends: Arc::new(Backends::new(settings.backends)),
            chain: Vec::new(),
        };
        for source in settings.chain {
            let link = directory.link(source, &settings.state)?;
            directory.chain.push(link);
        }
        Ok(directory)
    }

    /// Opens one source of the chain.
    fn link(&self, settings: SourceSettings, state: &Path) -> Result<Link, OpenError> {
        let template = settings.template;
        match self.source(settings.kind, template.as_ref(), state) {
            Ok(source) => Ok(Link { name: settings.name.into(), template, source }),
            Err(problem) => Err(OpenError::Source { name: settings.name, problem }),
        }
    }

    fn source(
        &self,
        kind: SourceKind,
        template: Option<&BackendName>,
        state: &Path,
    ) -> Result<Source, SourceProblem> {
        if let Some(unknown) = template.filter(|name| !self.backends.knows(name)) {
            return Err(SourceProblem::Template(unknown.clone()));
        }
        match kind {
            SourceKind::File(settings) => Ok(Source::File(File::open(Reader {
                settings,
                rules: self.rules.clone(),
                backends: Arc::clone(&self.backends),
                template: template.cloned(),
            })?)),
            SourceKind::Static(settings) => {
                self.backends.check(&settings.answer.place, template)?;
                Ok(Source::Static(Static(settings)))
            }
            SourceKind::Table => {
                let store = match self.store() {
                    Some(open) => Arc::clone(open),
                    None => Arc::new(Store::open(state)?),
                };
                Ok(Source::Table(Table(store)))
            }
        }
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

    /// Says where a user is. It has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Unavailable`] if a source that has to be asked cannot say, or its answer leads nowhere.
    pub async fn look_up(&self, query: &Query) -> Result<Verdict, Unavailable> {
        Ok(self.look_up_with_source(query).await?.0)
    }

    /// As [`Self::look_up`], with the name of the source that knows the user.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub async fn look_up_with_source(
        &self,
        query: &Query,
    ) -> Result<(Verdict, Option<&str>), Unavailable> {
        for link in &self.chain {
            match link.source.find(&query.user).await {
                Ok(Some(found)) => {
                    let route = self.route(link, query, found)?;
                    return Ok((Verdict::Admit(route), Some(&link.name)));
                }
                Ok(None) => {}
                Err(CannotSay { reason, detail }) => return Err(link.unavailable(reason, detail)),
            }
        }
        Ok((Verdict::Unknown, None))
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
        self.chain.iter().find_map(|link| match &link.source {
            Source::Table(Table(store)) => Some(store),
            Source::File(_) | Source::Static(_) => None,
        })
    }

    /// The template of the table, if the chain has a table and that a template.
    pub fn table_template(&self) -> Option<&BackendName> {
        let is_table = |link: &&Link| matches!(link.source, Source::Table(_));
        self.chain.iter().find(is_table)?.template.as_ref()
    }

    fn route(&self, link: &Link, query: &Query, found: Found) -> Result<Route, Unavailable> {
        let Query { user, protocol } = query;
        let Answer { user: there, place } = found.answer;
        let target = self.backends.resolve(&place, link.template.as_ref(), *protocol).map_err(
            |unresolved| {
                let detail = format!("the answer for `{user}` cannot be used: {unresolved}");
                link.unavailable(Reason::DirectoryMisconfigured, detail)
            },
        )?;
        Ok(Route {
            targets: vec![target],
            user: there.unwrap_or_else(|| user.name().clone()),
            secret: found.secret,
        })
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.chain.iter().map(|link| &link.name);
        f.debug_set().entries(names).finish()
    }
}

impl Link {
    fn unavailable(&self, reason: Reason, detail: String) -> Unavailable {
        Unavailable { reason, source_name: Arc::clone(&self.name), detail }
    }
}
