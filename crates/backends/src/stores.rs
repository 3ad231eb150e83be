//! Which of several servers of one store a user's sessions are on: all of them on one.
//!
//! Nothing here asks whether a server lives. Two servers that write to one mailbox at a time can damage it, so
//! while a session of a user is open on one, none opens on another.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::Arc,
};

use model::{BackendName, UserName};
use parking_lot::Mutex;

type Key = (Arc<str>, UserName);

/// The users that have sessions, or logins under way, on a store that several servers share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores(Arc<Mutex<HashMap<Key, Taken>>>);

#[derive(Debug)]
struct Taken {
    on: BackendName,
    count: usize,
}

/// A session, or a login under way, of a user on one of the servers. Dropping it ends it.
pub struct Lease {
    stores: Stores,
    key: Key,
}

impl Stores {
    /// Takes a place for a user: on the server where he is, else on `first`. Says on which.
    pub(crate) fn lease(
        &self,
        store: &Arc<str>,
        user: &UserName,
        first: &BackendName,
    ) -> (Lease, BackendName) {
        let key = (Arc::clone(store), user.clone());
        let mut taken = self.0.lock();
        let taken =
            taken.entry(key.clone()).or_insert_with(|| Taken { on: first.clone(), count: 0 });
        taken.count += 1;
        (Lease { stores: self.clone(), key }, taken.on.clone())
    }
}

impl Lease {
    /// Goes to another server, if nobody else of the user's is where he is.
    pub(crate) fn go_to(&self, backend: &BackendName) -> bool {
        match self.stores.0.lock().get_mut(&self.key) {
            Some(taken) if taken.count == 1 => {
                taken.on = backend.clone();
                true
            }
            _ => false,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.stores.0.lock().entry(self.key.clone()) {
            taken.get_mut().count -= 1;
            if taken.get().count == 0 {
                taken.remove();
            }
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("store", &self.key.0).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sessions_of_a_user_are_on_one_server_until_the_last_has_ended() {
        let stores = Stores::default();
        let (store, user) = (Arc::from("nfs"), UserName::new("bob").unwrap());
        let [a, b] = ["a", "b"].map(|name| BackendName::new(name).unwrap());
        let (one, on) = stores.lease(&store, &user, &a);
        assert_eq!(on, a);
        assert!(one.go_to(&b));
        let (two, on) = stores.lease(&store, &user, &a);
        assert_eq!(on, b);
        assert!(!one.go_to(&a) && !two.go_to(&a));
        drop(one);
        assert!(two.go_to(&a));
        drop(two);
        assert!(stores.0.lock().is_empty());
        assert_eq!(stores.lease(&store, &user, &b).1, b);
    }
}
