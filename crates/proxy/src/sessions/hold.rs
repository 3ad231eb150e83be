//! Holding a user's sessions between two commands, so that something can be done behind their backs.
//!
//! Nothing here keeps anybody from logging in; who logs in meanwhile is held as well.

use std::{collections::HashSet, sync::atomic::Ordering, time::Duration};

use model::{CanonicalUser, SessionId};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::{
    sync::{Notify, futures::Notified},
    time::timeout,
};
use transport::Standing;

use super::{Entry, Sessions};

/// The holds that are wanted.
#[derive(Default)]
pub(super) struct Holds {
    users: Mutex<HashSet<CanonicalUser>>,
    told: Notify,
}

/// How far a session has come to a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// It stands between a response and the next command. What the client says meanwhile waits in its
    /// socket.
    Held,
    /// A command is in flight (IDLE: until the answer to DONE); it is held when that was answered.
    InFlight,
    /// It cannot be held and goes on: its relay does not follow the protocol, or no longer can.
    Blind,
}

/// A session and how far it has come to a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct SessionHold {
    /// Its id, as in the log.
    pub session: SessionId,
    /// How far it has come.
    pub hold: Hold,
}

impl Sessions {
    /// Holds all sessions of a user between two commands, also those that enter later (none of their
    /// commands goes on), until they are released. Returns when none is on its way any more, or when patience is at an end; what was
    /// [`Hold::InFlight`] then will be held later, and asking again waits on. A user is held or is not,
    /// however often that was asked for. A held session can be ended, and ends itself when it is idle.
    pub async fn hold(&self, user: &CanonicalUser, patience: Duration) -> Vec<SessionHold> {
        {
            let mut users = self.common.holds.users();
            users.insert(user.clone());
            self.set_hold(user, true);
        }
        // Past the limit, what has been reached by then counts.
        let _ = timeout(patience, self.none_in_flight(user)).await;
        self.holds(user)
    }

    /// Lets the sessions of a user go on. Whether they were held.
    pub fn release(&self, user: &CanonicalUser) -> bool {
        let mut users = self.common.holds.users();
        let was_held = users.remove(user);
        self.set_hold(user, false);
        was_held
    }

    /// How far the sessions of a user have come to a hold, oldest first.
    pub fn holds(&self, user: &CanonicalUser) -> Vec<SessionHold> {
        let mut holds = Vec::new();
        self.for_each_of(user, |entry| {
            holds.push(SessionHold { session: entry.who.id, hold: entry.held() });
        });
        holds.sort_by_key(|hold| hold.session);
        holds
    }

    async fn none_in_flight(&self, user: &CanonicalUser) {
        loop {
            let mut told = std::pin::pin!(self.common.holds.told());
            told.as_mut().enable();
            if self.holds(user).iter().all(|session| session.hold != Hold::InFlight) {
                return;
            }
            told.await;
        }
    }

    fn set_hold(&self, user: &CanonicalUser, wanted: bool) {
        self.for_each_of(user, |entry| entry.set_hold(wanted));
    }

    fn for_each_of(&self, user: &CanonicalUser, mut act: impl FnMut(&Entry)) {
        for shard in &self.shards {
            for entry in shard.lock().values().filter(|entry| entry.who.user == *user) {
                act(entry);
            }
        }
    }
}

impl Holds {
    /// Those who are held.
    pub(super) fn users(&self) -> MutexGuard<'_, HashSet<CanonicalUser>> {
        self.users.lock()
    }

    /// Tells those who wait that a session has come to stand otherwise.
    pub(super) fn tell(&self) {
        self.told.notify_waiters();
    }

    fn told(&self) -> Notified<'_> {
        self.told.notified()
    }
}

impl Entry {
    fn set_hold(&self, wanted: bool) {
        if wanted && !self.hold.swap(wanted, Ordering::AcqRel) {
            // What an earlier hold has come to counts no more; the relay tells anew.
            *self.standing.lock() = Standing::Moving;
        }
        self.hold.store(wanted, Ordering::Release);
        self.relay.wake();
    }

    fn held(&self) -> Hold {
        match *self.standing.lock() {
            _ if !self.who.framed => Hold::Blind,
            Standing::Doubtful => Hold::Blind,
            Standing::Held => Hold::Held,
            Standing::Moving => Hold::InFlight,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use model::{BackendName, Protocol, UserName};
    use transport::Watch;

    use super::*;
    use crate::{
        Limits,
        sessions::{Membership, Who},
    };

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    fn enter(sessions: &Arc<Sessions>, count: u32, name: &str, framed: bool) -> Membership {
        let who = Who {
            id: SessionId::new(1, count),
            protocol: Protocol::Imap,
            user: user(name),
            client: ([192, 0, 2, 1], 1).into(),
            backend: BackendName::new("a").unwrap(),
            tls: None,
            framed,
        };
        let place = sessions.reserve(&who.user).unwrap();
        sessions.enter(who, Instant::now(), place)
    }

    fn report(holds: &[SessionHold]) -> Vec<Hold> {
        holds.iter().map(|session| session.hold).collect()
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_hold_waits_for_those_in_flight_and_tells_who_cannot_be_held() {
        let sessions = Sessions::new(&Limits::with_connections(100));
        let _blind = enter(&sessions, 1, "anna", false);
        let framed = enter(&sessions, 2, "anna", true);
        let ends = enter(&sessions, 3, "anna", true);
        let doubtful = enter(&sessions, 4, "anna", true);
        let other = enter(&sessions, 5, "bert", true);
        let anna = user("anna");
        let (held, ()) = tokio::join!(sessions.hold(&anna, PATIENCE), async {
            assert!(framed.wants_hold() && !other.wants_hold());
            framed.stands(Standing::Held);
            doubtful.stands(Standing::Doubtful);
            tokio::task::yield_now().await;
            drop(ends);
        });
        assert_eq!(report(&held), [Hold::Blind, Hold::Held, Hold::Blind]);
        assert!(sessions.release(&anna) && !sessions.release(&anna));
        assert!(!framed.wants_hold());
    }

    #[tokio::test]
    async fn a_hold_that_takes_too_long_is_told_of_and_still_wanted() {
        let sessions = Sessions::new(&Limits::with_connections(100));
        let session = enter(&sessions, 1, "anna", true);
        let anna = user("anna");
        assert_eq!(report(&sessions.hold(&anna, Duration::ZERO).await), [Hold::InFlight]);
        assert!(session.wants_hold());
        session.stands(Standing::Held);
        assert_eq!(report(&sessions.hold(&anna, PATIENCE).await), [Hold::Held]);
        // Nothing that an earlier hold has come to counts for the next.
        sessions.release(&anna);
        assert_eq!(report(&sessions.hold(&anna, Duration::ZERO).await), [Hold::InFlight]);
    }

    #[tokio::test]
    async fn whoever_enters_while_the_user_is_held_is_held_too() {
        let sessions = Sessions::new(&Limits::with_connections(100));
        let anna = user("anna");
        assert!(!sessions.need_framing(&anna));
        assert!(sessions.hold(&anna, PATIENCE).await.is_empty());
        assert!(sessions.need_framing(&anna));
        // It was decided that its relay is blind before the hold began.
        let late = enter(&sessions, 1, "anna", false);
        assert!(late.wants_hold() && late.who.framed);
        sessions.release(&anna);
        assert!(!late.wants_hold());
        assert!(!enter(&sessions, 2, "anna", true).wants_hold());
    }
}
