//! The stream of what sessions change, from the relays to the one who follows it.
//!
//! Nothing here waits: a follower that is slow is told of whole users in place of single changes. While
//! nobody follows, nothing is kept.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use model::{CanonicalUser, Change, MailboxChanged};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Where relays put changes.
#[derive(Default)]
pub(crate) struct Feed {
    backlog: Mutex<Option<Backlog>>,
    told: Notify,
}

/// What the follower has not taken yet.
struct Backlog {
    /// The most single changes.
    room: usize,
    changes: VecDeque<MailboxChanged>,
    /// Users of whom there was more to tell than there was room for.
    users: HashSet<CanonicalUser>,
}

/// The changes, as the one who follows them takes them. Dropping it ends the stream.
pub struct Changes {
    feed: Arc<Feed>,
}

impl Feed {
    /// Begins the stream; none if somebody follows it already.
    pub(crate) fn follow(self: &Arc<Self>, room: usize) -> Option<Changes> {
        let mut backlog = self.backlog.lock();
        if backlog.is_some() {
            return None;
        }
        *backlog = Some(Backlog { room, changes: VecDeque::new(), users: HashSet::new() });
        Some(Changes { feed: Arc::clone(self) })
    }

    /// Whether somebody follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.backlog.lock().is_some()
    }

    /// Tells the follower of a change of this user's, if there is one.
    pub(crate) fn tell(&self, user: &CanonicalUser, change: impl FnOnce() -> MailboxChanged) {
        let mut backlog = self.backlog.lock();
        let Some(Backlog { room, changes, users }) = &mut *backlog else { return };
        if users.contains(user) {
            return;
        }
        if changes.len() < *room {
            changes.push_back(change());
        } else {
            users.insert(user.clone());
        }
        self.told.notify_one();
    }

    /// Tells the follower that anything of this user's may have changed.
    pub(crate) fn tell_of(&self, user: &CanonicalUser) {
        if let Some(Backlog { users, .. }) = &mut *self.backlog.lock() {
            users.insert(user.clone());
            self.told.notify_one();
        }
    }

    fn take(&self) -> Option<Change> {
        let mut backlog = self.backlog.lock();
        let Backlog { changes, users, .. } = backlog.as_mut()?;
        if let Some(change) = changes.pop_front() {
            return Some(Change::Mailbox(change));
        }
        let user = users.iter().next()?.clone();
        users.take(&user).map(Change::User)
    }
}

impl Changes {
    /// The next change, when there is one.
    pub async fn next(&mut self) -> Change {
        loop {
            // One follower: what is told between the look and the wait is remembered.
            if let Some(change) = self.feed.take() {
                return change;
            }
            self.feed.told.notified().await;
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        *self.feed.backlog.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::{BackendName, Scope, UserName};

    use super::*;

    fn user(name: &str) -> CanonicalUser {
        CanonicalUser::declare(UserName::new(name).unwrap())
    }

    fn changed(name: &str, mailbox: &str) -> MailboxChanged {
        MailboxChanged {
            user: user(name),
            backend: BackendName::new("a").unwrap(),
            scope: Scope::Named,
            mailbox: Some(mailbox.into()),
        }
    }

    fn tell(feed: &Feed, name: &str, mailbox: &str) {
        feed.tell(&user(name), || changed(name, mailbox));
    }

    async fn next(changes: &mut Changes) -> Change {
        tokio::time::timeout(Duration::from_secs(5), changes.next()).await.unwrap()
    }

    #[tokio::test]
    async fn changes_come_in_their_order_and_to_a_follower_that_waits() {
        let feed = Arc::new(Feed::default());
        let mut changes = feed.follow(8).unwrap();
        tell(&feed, "anna", "x");
        tell(&feed, "bert", "y");
        assert_eq!(next(&mut changes).await, Change::Mailbox(changed("anna", "x")));
        assert_eq!(next(&mut changes).await, Change::Mailbox(changed("bert", "y")));
        let (told, ()) = tokio::join!(next(&mut changes), async {
            tokio::task::yield_now().await;
            tell(&feed, "anna", "z");
        });
        assert_eq!(told, Change::Mailbox(changed("anna", "z")));
    }

    #[tokio::test]
    async fn what_has_no_room_becomes_one_word_for_each_user() {
        let feed = Arc::new(Feed::default());
        let mut changes = feed.follow(1).unwrap();
        for name in ["anna", "bert", "bert", "anna", "bert"] {
            tell(&feed, name, "x");
        }
        assert_eq!(next(&mut changes).await, Change::Mailbox(changed("anna", "x")));
        // There is room again, but nothing is told of a user who is to be told of as a whole.
        tell(&feed, "bert", "x");
        let mut told = vec![next(&mut changes).await, next(&mut changes).await];
        told.sort_by_key(|change| format!("{change:?}"));
        assert_eq!(told, [Change::User(user("anna")), Change::User(user("bert"))]);
        tell(&feed, "bert", "y");
        assert_eq!(next(&mut changes).await, Change::Mailbox(changed("bert", "y")));
    }

    #[tokio::test]
    async fn a_user_of_whom_nobody_knows_is_told_of_as_a_whole_behind_what_is_known() {
        let feed = Arc::new(Feed::default());
        feed.tell_of(&user("anna"));
        let mut changes = feed.follow(8).unwrap();
        tell(&feed, "anna", "x");
        feed.tell_of(&user("anna"));
        assert_eq!(next(&mut changes).await, Change::Mailbox(changed("anna", "x")));
        assert_eq!(next(&mut changes).await, Change::User(user("anna")));
    }

    #[tokio::test]
    async fn nothing_is_kept_while_nobody_follows() {
        let feed = Arc::new(Feed::default());
        feed.tell(&user("anna"), || panic!("nobody asked"));
        let changes = feed.follow(1).unwrap();
        assert!(feed.follow(1).is_none());
        tell(&feed, "anna", "x");
        drop(changes);
        assert!(!feed.is_followed());
        assert!(feed.follow(1).unwrap().feed.take().is_none());
    }
}
