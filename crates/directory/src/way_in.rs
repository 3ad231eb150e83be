//! The way into a mailbox while holds come and go: whoever is held waits, and is then told anew where his mail is.
//!
//! Nothing here logs in anywhere, or ends what is open.

use std::{pin::pin, time::Duration};

use model::{BackendName, CanonicalUser, Proof, Route};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    Directory, Passage, Query, Refused, StoreError, Unavailable, Verdict,
    holds::{Mailbox, READ_EVERY},
};

/// How long a login waits while its user, or the back end where his mail is, is held.
pub const HELD_PATIENCE: Duration = Duration::from_secs(10);

/// What the directory says to somebody who wants in now.
#[derive(Clone, Debug)]
pub enum WayIn {
    /// He may come in by this route. Whether somebody was held since it was asked for is told by
    /// [`Directory::is_free`].
    Open(Route, Passage),
    /// He may come in, but for him, or for a back end where his mail is, which is held. This is the first of those.
    Held(Option<BackendName>),
    /// He may not come in.
    Refused(Refused),
    /// Every source was asked, and none knows him.
    Unknown,
}

impl Directory {
    /// As [`Self::admit`], and whoever is held, or would go where all are held, waits, `patience` at most. Then it is
    /// asked anew: his mailbox may be elsewhere by then.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub async fn admit_when_free(
        &self,
        query: &Query,
        proof: &Proof,
        attempt: u32,
        patience: Duration,
    ) -> Result<WayIn, Unavailable> {
        let user = &query.user;
        let give_up = Instant::now() + patience;
        loop {
            self.kept().read_holds().await;
            let passage = self.holds().passage();
            let route = match self.admit(query, proof, attempt).await? {
                Verdict::Admit(route) => route,
                Verdict::Refused(refused) => return Ok(WayIn::Refused(refused)),
                Verdict::Unknown => return Ok(WayIn::Unknown),
            };
            if !self.is_held(user, &route) {
                return Ok(WayIn::Open(route, passage));
            }
            if timeout_at(give_up, self.released(user, &route)).await.is_err() {
                let first = route.targets.into_iter().next();
                return Ok(WayIn::Held(first.map(|target| target.backend)));
            }
        }
    }

    /// Whether neither the user, by whatever name, nor the back end was held at any time since the passage began.
    pub fn is_free(&self, passage: &Passage, user: &CanonicalUser, backend: &BackendName) -> bool {
        self.holds().is_free(passage, (user, backend), || self.mailbox_of(user))
    }

    /// Whether a user is held, by this name or another one of his mailbox.
    pub fn is_user_held(&self, user: &CanonicalUser) -> bool {
        self.holds().is_user_held(user, || self.mailbox_of(user))
    }

    /// Tells of names whether they are this user's: his own, and those of the same mailbox.
    pub fn names_of(&self, user: &CanonicalUser) -> impl Fn(&CanonicalUser) -> bool {
        let mailbox = self.mailbox_of(user).ok().flatten();
        let is_same = move |name: &CanonicalUser| {
            mailbox.is_some() && self.mailbox_of(name).ok().flatten() == mailbox
        };
        move |name| name == user || is_same(name)
    }

    /// The mailbox that a user was seen to have in a pool. It takes microseconds.
    pub(crate) fn mailbox_of(&self, user: &CanonicalUser) -> Result<Option<Mailbox>, StoreError> {
        match self.kept().store() {
            Ok(store) => Ok(store.mailbox(user)?.map(Mailbox::from)),
            Err(_) => Ok(None),
        }
    }

    fn is_held(&self, user: &CanonicalUser, route: &Route) -> bool {
        self.is_user_held(user) || self.holds().is_way_held(route)
    }

    /// Waits until a user may log in by this route.
    async fn released(&self, user: &CanonicalUser, route: &Route) {
        loop {
            let mut changed = pin!(self.holds().changed());
            changed.as_mut().enable();
            if !self.is_held(user, route) {
                return;
            }
            if self.holds().is_unread() {
                // Nobody tells when it can be read.
                let _ = timeout(READ_EVERY, changed).await;
                self.kept().read_holds().await;
            } else {
                changed.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use model::{Protocol, Secret, UserName};
    use tempfile::TempDir;

    use super::*;
    use crate::{
        FileSettings, Held, KnownBackend, OpenError, PlaceBy, PlaceRefused, Policy, PoolSettings,
        PoolUse, Pools, Rules, Settings, SourceKind, SourceSettings, Store,
        passwords::PasswordSettings,
    };

    const DEADLINE: Duration = Duration::from_secs(20);
    const WITH_HOMES: &str = "[users]\nann = \"a\"\nbert = \"a\"\n";
    const WITH_IDS: &str =
        "[users]\nann = { id = \"1\" }\n\"ann@x\" = { id = \"1\" }\nbert = { id = \"2\" }\n";

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    fn held(name: &str) -> Held {
        Held::User(user(name))
    }

    fn settings(folder: &Path, users: &str, place: Option<PlaceBy>) -> Settings {
        let file = folder.join("users.toml");
        fs::write(&file, users).unwrap();
        let known = |name: &str| KnownBackend {
            name: BackendName::new(name).unwrap(),
            hosts: vec![format!("{name}.example.org").parse().unwrap()],
            imap_port: 143,
            pop3_port: 110,
            judges: true,
        };
        let members = ["a", "b"].map(|name| BackendName::new(name).unwrap()).to_vec();
        let pool =
            |place| PoolSettings { name: "main".into(), place, policy: Policy::Weighted, members };
        let source = SourceSettings {
            pool: place.map(|_| PoolUse { pool: "main".into(), tag: None }),
            ..SourceSettings::new("file", SourceKind::File(FileSettings::new(file)))
        };
        Settings {
            rules: Rules::default(),
            chain: vec![source],
            backends: vec![known("a"), known("b")],
            pools: Pools { pools: place.map(pool).into_iter().collect(), shares: Vec::new() },
            state: folder.to_owned(),
            passwords: PasswordSettings::default(),
            tokens: None,
        }
    }

    fn opened(users: &str, place: Option<PlaceBy>) -> (TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(settings(folder.path(), users, place)).unwrap();
        (folder, directory)
    }

    async fn asked(directory: &Directory, name: &str, patience: Duration) -> WayIn {
        let query = Query::without_client(user(name), Protocol::Imap);
        let proof = Proof::Password(Secret::new("secret").unwrap());
        let way = directory.admit_when_free(&query, &proof, 1, patience);
        timeout(DEADLINE, way).await.unwrap().unwrap()
    }

    async fn at_once(directory: &Directory, name: &str) -> &'static str {
        match asked(directory, name, Duration::ZERO).await {
            WayIn::Open(..) => "open",
            WayIn::Held(_) => "held",
            WayIn::Refused(_) => "refused",
            WayIn::Unknown => "unknown",
        }
    }

    #[tokio::test]
    async fn whoever_is_held_goes_on_when_all_that_holds_him_is_released() {
        let (_folder, directory) = opened(WITH_HOMES, None);
        let backend = Held::Backend(BackendName::new("a").unwrap());
        for what in [held("ann"), backend.clone()] {
            assert!(directory.hold("test", what, None).unwrap());
        }
        let WayIn::Held(Some(at)) = asked(&directory, "ann", Duration::ZERO).await else {
            panic!("he is not held")
        };
        assert_eq!(at.as_str(), "a");
        let releases = async {
            tokio::task::yield_now().await;
            directory.release("test", &held("ann")).unwrap();
            tokio::task::yield_now().await;
            assert_eq!(at_once(&directory, "ann").await, "held");
            directory.release("test", &backend).unwrap();
        };
        let (way, ()) = tokio::join!(asked(&directory, "ann", DEADLINE), releases);
        let WayIn::Open(_, passage) = way else { panic!("{way:?}") };
        let a = BackendName::new("a").unwrap();
        assert!(directory.is_free(&passage, &user("ann"), &a));
        directory.hold("test", held("ann"), None).unwrap();
        directory.release("test", &held("ann")).unwrap();
        assert!(!directory.is_free(&passage, &user("ann"), &a));
        assert_eq!(at_once(&directory, "nobody").await, "unknown");
    }

    #[tokio::test]
    async fn a_hold_is_on_the_mailbox_whatever_name_it_is_asked_for_by() {
        for seen in [false, true] {
            let (folder, directory) = opened(WITH_IDS, Some(PlaceBy::Shard));
            let names: &[&str] = if seen { &["ann", "ann@x", "bert"] } else { &["ann", "bert"] };
            for name in names {
                assert_eq!(at_once(&directory, name).await, "open", "{name}");
            }
            let query = Query::without_client(user("ann@x"), Protocol::Imap);
            let at = directory.whereabouts(&query).await.unwrap();
            directory.hold("test", held("ann@x"), Some(&at)).unwrap();
            let ann = user("ann@x");
            let of_ann = directory.names_of(&ann);
            assert!(of_ann(&user("ann")) && !of_ann(&user("bert")));
            assert!(directory.is_user_held(&user("ann")));
            drop(of_ann);
            drop(directory);
            // It is kept, with all names.
            let settings = settings(folder.path(), WITH_IDS, Some(PlaceBy::Shard));
            let directory = Directory::open(settings).unwrap();
            for name in ["ann", "ann@x"] {
                assert_eq!(at_once(&directory, name).await, "held", "{name}");
            }
            assert_eq!(at_once(&directory, "bert").await, "open");
            assert!(directory.release("test", &held("ann")).unwrap());
            assert_eq!(at_once(&directory, "ann@x").await, "open");
            assert!(directory.holds().list().is_empty());
        }
    }

    fn change(folder: &TempDir, sql: &str) {
        let path = folder.path().join(Store::FILE);
        rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }

    #[tokio::test]
    async fn while_nobody_can_say_who_is_held_everybody_waits_and_goes_on_when_it_can_be_said() {
        let (folder, directory) = opened(WITH_HOMES, None);
        directory.hold("test", held("bert"), None).unwrap();
        drop(directory);
        change(&folder, "ALTER TABLE holds RENAME TO lost");
        let directory = Directory::open(settings(folder.path(), WITH_HOMES, None)).unwrap();
        assert_eq!(at_once(&directory, "ann").await, "held");
        let mend = async {
            tokio::task::yield_now().await;
            change(&folder, "ALTER TABLE lost RENAME TO holds");
        };
        let (way, ()) = tokio::join!(asked(&directory, "ann", DEADLINE), mend);
        assert!(matches!(way, WayIn::Open(..)), "{way:?}");
        assert_eq!(at_once(&directory, "bert").await, "held");
    }

    #[tokio::test]
    async fn a_damaged_store_keeps_nobody_from_starting_who_needs_no_pools_and_is_told_as_what_it_is()
     {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(Store::FILE), "this is no database".repeat(1000)).unwrap();
        let needed = settings(folder.path(), WITH_IDS, Some(PlaceBy::Shard));
        assert!(matches!(Directory::open(needed), Err(OpenError::Store(_))));
        let directory = Directory::open(settings(folder.path(), WITH_HOMES, None)).unwrap();
        // Somebody may be held.
        assert_eq!(at_once(&directory, "ann").await, "held");
        let refused = directory.release("test", &held("ann"));
        let Err(PlaceRefused::Unavailable(told)) = refused else { panic!("{refused:?}") };
        assert!(told.contains("not a database") && !told.contains("state folder"), "{told}");
        let settings = Settings { state: "".into(), ..settings(folder.path(), WITH_HOMES, None) };
        let directory = Directory::open(settings).unwrap();
        assert_eq!(at_once(&directory, "ann").await, "open");
        let refused = directory.release("test", &held("ann"));
        assert!(
            matches!(refused, Err(PlaceRefused::Unavailable(told)) if told.contains("state folder"))
        );
    }
}
