//! The sources a chain can be made of, each in a file or folder of its name.
//!
//! Nothing here knows the order of a chain or turns an answer into a route.

pub(crate) mod cached;
pub(crate) mod cdb;
pub(crate) mod fields;
pub(crate) mod file;
mod held;
pub(crate) mod http;
pub(crate) mod ldap;
pub(crate) mod regex;
pub(crate) mod sql;
pub(crate) mod r#static;
pub(crate) mod table;

use std::{convert::Infallible, fmt, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use model::{CanonicalUser, Reason, Secret, UserName};

use crate::{
    Answer, Backends, Gives, Place, Query, Rules, SourceKind, SourceProblem, SourceSettings, Store,
    StoreError, query::DependsOn,
};

/// What a source knows of a user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Where his mail is, in the order in which to try. None: he exists, and another has to say where.
    pub(crate) places: Vec<Place>,
    /// His name at the back end; the name by which we know him if there is none.
    pub(crate) user: Option<UserName>,
    /// His password at the back end, as it is.
    pub(crate) secret: Option<Secret>,
    /// What his password is compared with here: `{SCHEME}` and what that scheme makes of a password.
    pub(crate) verifier: Option<Secret>,
    /// What stands for his mailbox whatever his name is.
    pub(crate) id: Option<Box<str>>,
    /// Whether he may not log in.
    pub(crate) disabled: bool,
    /// Whether the source has judged the password that came with the question, and found it right.
    pub(crate) judged: bool,
    /// Whether this is from before, because the source cannot say now. Secrets may have been left out.
    pub(crate) stale: bool,
    /// Whether a source that might have said more could not.
    pub(crate) incomplete: bool,
}

impl From<Answer> for Found {
    fn from(answer: Answer) -> Self {
        Self { places: vec![answer.place], user: answer.user, ..Self::default() }
    }
}

impl Found {
    /// Whether two entries say the same of a user.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |one: &Option<Secret>, other: &Option<Secret>| match (one, other) {
            (Some(one), Some(other)) => one.matches(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.places == other.places
            && self.user == other.user
            && self.id == other.id
            && self.disabled == other.disabled
            && same(&self.secret, &other.secret)
            && same(&self.verifier, &other.verifier)
    }

    /// Takes over what is left open here and said by another source.
    pub(crate) fn complete(&mut self, other: Self) {
        if self.places.is_empty() {
            self.places = other.places;
        }
        self.user = self.user.take().or(other.user);
        self.secret = self.secret.take().or(other.secret);
        self.verifier = self.verifier.take().or(other.verifier);
        self.id = self.id.take().or(other.id);
        self.disabled |= other.disabled;
        self.judged |= other.judged;
        self.stale |= other.stale;
        self.incomplete |= other.incomplete;
    }
}

/// A source's answer. Each of the three is certain: a source that cannot say gives [`CannotSay`].
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// It knows the user.
    Found(Found),
    /// It does not know the user.
    Unknown,
    /// It has judged the password that came with the question, and found it wrong, or the user, or both.
    Refused {
        /// Whether the client has to wait before it tries again; none where it may not try again.
        wait: Option<Duration>,
        /// What the source wants it to be told.
        text: Option<Box<str>>,
    },
}

impl From<Option<Found>> for Said {
    fn from(found: Option<Found>) -> Self {
        found.map_or(Self::Unknown, Self::Found)
    }
}

/// A source could not say whether it knows a user.
#[derive(Clone, Debug)]
pub(crate) struct CannotSay {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// Whether it says nothing of what the source can say to others.
    pub(crate) of_question: bool,
}

impl CannotSay {
    /// It cannot say now: it is down, hangs, or refuses us.
    pub(crate) fn unavailable(detail: impl fmt::Display) -> Self {
        let (reason, detail) = (Reason::DirectoryUnavailable, detail.to_string());
        Self { reason, detail, of_question: false }
    }

    /// It cannot say now, of this user; it works for others.
    pub(crate) fn of_question(detail: impl fmt::Display) -> Self {
        Self { of_question: true, ..Self::unavailable(detail) }
    }

    /// The embedded store cannot say: now, or because of what stands in it.
    pub(crate) fn by_store(error: StoreError) -> Self {
        match error {
            StoreError::Row { .. } => Self::misconfigured(error),
            _ => Self::unavailable(error),
        }
    }

    /// What it says cannot be used, and waiting does not help.
    pub(crate) fn misconfigured(detail: impl fmt::Display) -> Self {
        let (reason, detail) = (Reason::DirectoryMisconfigured, detail.to_string());
        Self { reason, detail, of_question: true }
    }
}

/// What a source is asked.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Who asks, and how he came.
    pub(crate) query: Arc<Query>,
    /// The key under which to look for him.
    pub(crate) key: Arc<str>,
    /// What the client offers, for a source that judges passwords itself.
    pub(crate) offer: Option<Offer>,
}

impl Question {
    /// The key as the name of a user; none if it cannot be one.
    fn key_as_user(&self) -> Option<CanonicalUser> {
        if *self.key == *self.query.user.as_str() {
            return Some(self.query.user.clone());
        }
        UserName::new(&*self.key).ok().map(CanonicalUser::declare)
    }
}

/// What a client offers to a source that judges.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The password.
    pub(crate) password: Secret,
    /// The how manieth attempt of this connection it is, from 1.
    pub(crate) attempt: u32,
}

/// An answer that is on its way.
pub(crate) type Answering<'a> = Pin<Box<dyn Future<Output = Result<Said, CannotSay>> + Send + 'a>>;

/// A source that is asked over a network, or by something else that may hang. Each question is asked in a
/// task of its own with a deadline, so an implementation needs none.
pub(crate) trait Remote: fmt::Debug + Send + Sync {
    /// What the answers depend on, beside the key.
    fn depends_on(&self) -> DependsOn;

    /// Whether it judges passwords itself, and so has to be given them.
    fn judges(&self) -> bool {
        false
    }

    /// Asks it.
    fn ask(&self, question: Question) -> Answering<'_>;

    /// What can be told where a user is from now on; none if it cannot be told.
    fn assigner(&self) -> Option<&dyn Assigner> {
        None
    }
}

/// A source that can be told where a user is from now on.
pub(crate) trait Assigner: Send + Sync {
    /// Writes it, if the source still says of him what was seen, and says what it was told when it is asked then;
    /// else nothing is written. The deadline is its own.
    fn assign(&self, assignment: Assignment) -> Assigning<'_>;
}

/// Where a user is to be from now on.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) query: Arc<Query>,
    /// The keys under which he is looked for, in order.
    pub(crate) keys: Vec<Arc<str>>,
    /// Where the source was seen to say that he is.
    pub(crate) seen: Vec<Place>,
    pub(crate) to: Place,
}

/// What became of an assignment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Assigned {
    Done,
    /// The source says something else by now; nothing was written.
    Outdated,
}

/// An assignment that is on its way.
pub(crate) type Assigning<'a> =
    Pin<Box<dyn Future<Output = Result<Assigned, CannotSay>> + Send + 'a>>;

/// What a source is opened with, beside its own settings.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    pub(crate) rules: Rules,
    pub(crate) backends: Arc<Backends>,
    /// The state folder.
    pub(crate) state: PathBuf,
}

/// One source.
#[derive(Debug)]
pub(crate) enum Source {
    Cdb(cdb::Cdb),
    File(file::File),
    /// It knows everybody, and leaves to a pool where.
    Hash,
    Regex(regex::Regex),
    Remote(Box<cached::Cached>),
    Static(r#static::Static),
    Table(table::Table),
}

impl Source {
    /// Opens a source. `store` is the embedded store, if an earlier source has opened it.
    pub(crate) fn open(
        settings: &SourceSettings,
        around: &Around,
        store: Option<&Arc<Store>>,
    ) -> Result<Self, SourceProblem> {
        let template = settings.template.as_ref();
        if let Some(unknown) = template.filter(|name| !around.backends.knows(name)) {
            return Err(SourceProblem::Template(unknown.clone()));
        }
        let (deadline, rules) = (settings.cache.deadline, &around.rules);
        match &settings.kind {
            SourceKind::Cdb(cdb) => Ok(Self::Cdb(cdb::Cdb::open(cdb)?)),
            SourceKind::File(file) => Ok(Self::File(file::File::open(file::Reader {
                settings: file.clone(),
                rules: around.rules.clone(),
                backends: Arc::clone(&around.backends),
                template: template.cloned(),
                homes: settings.gives == Gives::Home && settings.pool.is_none(),
            })?)),
            SourceKind::Hash => Ok(Self::Hash),
            SourceKind::Http(http) => {
                let backends = Arc::clone(&around.backends);
                let http = Arc::new(http::Http::new(http, backends, deadline)?);
                Ok(Self::remote(settings, |_| http))
            }
            SourceKind::Ldap(ldap) => {
                let ldap = Arc::new(ldap::Ldap::new(ldap.as_ref().clone())?);
                Ok(Self::remote(settings, |_| ldap))
            }
            SourceKind::Odbc(odbc) => {
                Ok(Self::remote(settings, |_| Arc::new(sql::Odbc::new(odbc, deadline))))
            }
            SourceKind::Regex(rules) => Ok(Self::Regex(regex::Regex::open(rules)?)),
            SourceKind::Sql(sql) => Ok(Self::remote(settings, |forgetter| {
                Arc::new(sql::Sql::new(sql, deadline, rules, forgetter))
            })),
            SourceKind::Sqlite(sqlite) => {
                Ok(Self::remote(settings, |_| Arc::new(sql::Sqlite::new(sqlite, deadline))))
            }
            SourceKind::Static(fixed) => {
                around.backends.check(&fixed.answer.place, template)?;
                Ok(Self::Static(r#static::Static(fixed.clone())))
            }
            SourceKind::Table => {
                let store = match store {
                    Some(open) => Arc::clone(open),
                    None => Arc::new(Store::open(&around.state)?),
                };
                Ok(Self::Table(table::Table(store)))
            }
        }
    }

    /// A source with a memory before it.
    fn remote(
        settings: &SourceSettings,
        make: impl FnOnce(cached::Forgetter) -> Arc<dyn Remote>,
    ) -> Self {
        let made =
            cached::Cached::new(settings.name.as_str().into(), &settings.cache, |forgetter| {
                Ok::<_, Infallible>(make(forgetter))
            });
        match made {
            Ok(cached) => Self::Remote(Box::new(cached)),
            Err(never) => match never {},
        }
    }

    /// Asks for a user.
    pub(crate) async fn ask(&self, question: &Question, how: Asking) -> Result<Said, CannotSay> {
        match self {
            Self::Cdb(cdb) => cdb.find(&question.key).await.map(Said::from),
            Self::File(file) => match question.key_as_user() {
                Some(user) => Ok(file.find(&user).await.into()),
                None => Ok(Said::Unknown),
            },
            Self::Hash => Ok(Said::Found(Found::default())),
            Self::Regex(regex) => regex.find(&question.key).await.map(Said::from),
            Self::Remote(remote) => remote.ask(question, how).await,
            Self::Static(fixed) => Ok(Said::Found(fixed.find())),
            Self::Table(table) => match question.key_as_user() {
                Some(user) => table.find(&user).map(Said::from),
                None => Ok(Said::Unknown),
            },
        }
    }
}

/// How much a remembered answer counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asking {
    /// As long as it is set to.
    Usual,
    /// A remembered "no" does not count: something final hangs on it.
    NoRememberedNo,
    /// As long as it is set to; and the table is not asked, as if nobody were in it.
    PastTheTable,
}
