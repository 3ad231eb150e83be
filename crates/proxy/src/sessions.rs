//! Who is logged in: the registry, and the sweeper that ends what is idle.

mod hold;

use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use model::{BackendName, CanonicalUser, MailboxChanged, Protocol, Reason, SessionId};
use parking_lot::Mutex;
use proto::relay::Changed;
use serde::Serialize;
use transport::{Direction, Standing, Watch};

use self::hold::Holds;
pub use self::hold::{Hold, SessionHold};
use crate::changes::{Changes, Feed};

use crate::{Limits, departures::Departures};

/// Shards of the registry, so that workers seldom meet at one lock.
const SHARDS: usize = 16;
/// The sweeper's rounds within the idle limit: a session ends at most this fraction late.
const ROUNDS: u32 = 60;
/// No reason to end.
const GOES_ON: u8 = u8::MAX;

/// All logged-in sessions.
pub struct Sessions {
    shards: [Mutex<HashMap<SessionId, Arc<Entry>>>; SHARDS],
    common: Arc<Common>,
    /// The reason for which all are ended, also those that enter later, or [`GOES_ON`].
    closing: AtomicU8,
    /// Sessions by user, where their number is limited.
    by_user: Option<Mutex<HashMap<CanonicalUser, usize>>>,
    per_user: usize,
    departures: Departures,
}

/// What all sessions share.
#[derive(Default)]
struct Common {
    /// The sweeper's rounds so far: a clock that costs a relay nothing to read.
    round: AtomicU32,
    holds: Holds,
    feed: Arc<Feed>,
}

/// One logged-in session: what the relay and the operator share.
pub(crate) struct Entry {
    pub(crate) who: Who,
    common: Arc<Common>,
    started: Instant,
    up: AtomicU64,
    down: AtomicU64,
    /// The round in which bytes last moved.
    active: AtomicU32,
    /// The reason for which it is to end, or [`GOES_ON`].
    end: AtomicU8,
    /// Whether it is to be held.
    hold: AtomicBool,
    standing: Mutex<Standing>,
    relay: AtomicWaker,
}

/// Who is in a session.
pub(crate) struct Who {
    pub(crate) id: SessionId,
    pub(crate) protocol: Protocol,
    pub(crate) user: CanonicalUser,
    pub(crate) client: SocketAddr,
    pub(crate) backend: BackendName,
    pub(crate) tls: Option<&'static str>,
    /// Whether the relay follows the protocol.
    pub(crate) framed: bool,
}

/// A session as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct SessionView {
    /// Its id, as in the log.
    pub session: SessionId,
    /// The protocol.
    pub protocol: Protocol,
    /// The user.
    pub user: CanonicalUser,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The back end.
    pub backend: BackendName,
    /// The TLS version towards the client, if any.
    pub tls: Option<&'static str>,
    /// Seconds since the connection came in.
    pub seconds: u64,
    /// Bytes from the client after login.
    pub bytes_in: u64,
    /// Bytes to the client after login.
    pub bytes_out: u64,
}

impl Sessions {
    /// An empty registry.
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let per_user = limits.sessions_per_user;
        Arc::new(Self {
            shards: Default::default(),
            common: Arc::default(),
            closing: AtomicU8::new(GOES_ON),
            by_user: (per_user > 0).then(Mutex::default),
            per_user,
            departures: Departures::new(limits.disconnect_spread),
        })
    }

    /// A place for one more session of this user; none if he has as many as may be. Asked for when the
    /// back end has let him in.
    pub(crate) fn reserve(self: &Arc<Self>, user: &CanonicalUser) -> Option<Place> {
        if let Some(by_user) = &self.by_user {
            let mut by_user = by_user.lock();
            let count = by_user.get(user).copied().unwrap_or_default();
            if count >= self.per_user {
                return None;
            }
            by_user.insert(user.clone(), count + 1);
        }
        Some(Place { sessions: Arc::clone(self), user: user.clone() })
    }

    fn give_up_place(&self, user: &CanonicalUser) {
        let Some(by_user) = &self.by_user else { return };
        let mut by_user = by_user.lock();
        if let Some(count) = by_user.get_mut(user) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                by_user.remove(user);
            }
        }
    }

    /// All sessions, oldest first.
    pub fn list(&self) -> Vec<SessionView> {
        let mut list: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| shard.lock().values().map(|entry| entry.view()).collect::<Vec<_>>())
            .collect();
        list.sort_by_key(|view| view.session);
        list
    }

    /// Ends one session; whether there was one.
    pub fn kick(&self, id: SessionId) -> bool {
        self.shard(id).lock().get(&id).map(|entry| entry.end(Reason::Kicked)).is_some()
    }

    /// Follows what sessions change from now on, with room for so many changes that were not taken yet;
    /// none if somebody follows them already. Sessions that are open already and whose relay does not
    /// follow the protocol tell nothing.
    pub fn changes(&self, room: usize) -> Option<Changes> {
        self.common.feed.follow(room)
    }

    /// Whether the relay of a new session of this user has to follow the protocol, for a hold or for who
    /// follows changes.
    pub(crate) fn need_framing(&self, user: &CanonicalUser) -> bool {
        self.common.feed.is_followed() || self.common.holds.users().contains(user)
    }

    /// Ends the sessions of this moment evenly over a time, the last of them at its end: their programs come
    /// back at once, and all at the same moment would be a storm upon whoever takes them next.
    pub(crate) async fn end_evenly(&self, reason: Reason, over: Duration) {
        let mut ids: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| shard.lock().keys().copied().collect::<Vec<_>>())
            .collect();
        ids.sort_unstable();
        let begin = tokio::time::Instant::now();
        let between = over / u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
        for (id, turn) in ids.into_iter().zip(1..) {
            tokio::time::sleep_until(begin + between.saturating_mul(turn)).await;
            if let Some(entry) = self.shard(id).lock().get(&id) {
                entry.end(reason);
            }
        }
    }

    /// Ends all sessions, and those that enter from now on.
    pub(crate) fn end_all(&self, reason: Reason) {
        self.closing.store(reason as u8, Ordering::SeqCst);
        for shard in &self.shards {
            shard.lock().values().for_each(|entry| entry.end(reason));
        }
    }

    /// Enters a session, for as long as its membership is held. Its relay has to follow the protocol where
    /// [`Who::framed`] says so then: a hold, or who
    /// follows changes, may have come meanwhile.
    pub(crate) fn enter(&self, mut who: Who, started: Instant, place: Place) -> Membership {
        let id = who.id;
        self.departures.arrive(&who.backend, Instant::now());
        // Whoever holds the user meanwhile finds it, or it finds that it is to be held.
        let holds = self.common.holds.users();
        let hold = holds.contains(&who.user);
        who.framed |= hold || self.common.feed.is_followed();
        let entry = Arc::new(Entry {
            who,
            common: Arc::clone(&self.common),
            started,
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            active: AtomicU32::new(self.common.round.load(Ordering::Relaxed)),
            end: AtomicU8::new(GOES_ON),
            hold: AtomicBool::new(hold),
            standing: Mutex::default(),
            relay: AtomicWaker::new(),
        });
        self.shard(id).lock().insert(id, Arc::clone(&entry));
        drop(holds);
        // Asked for after the insertion, so that whoever closes meanwhile sees the one or the other.
        entry.end_if(self.closing.load(Ordering::SeqCst));
        Membership { place, entry }
    }

    /// Ends what is idle, for ever.
    pub(crate) async fn sweep(self: Arc<Self>, idle: Duration) {
        let mut every = tokio::time::interval((idle / ROUNDS).max(Duration::from_millis(10)));
        loop {
            every.tick().await;
            self.next_round();
        }
    }

    /// Ends what has been idle for all rounds of the limit, and lets the other relays look around: one
    /// that waits for a peer to read does not hear of the other peer's reset by itself.
    fn next_round(&self) {
        let round = self.common.round.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        for shard in &self.shards {
            for entry in shard.lock().values() {
                if round.wrapping_sub(entry.active.load(Ordering::Relaxed)) > ROUNDS {
                    entry.end(Reason::Idle);
                } else {
                    entry.relay.wake();
                }
            }
        }
    }

    fn shard(&self, id: SessionId) -> &Mutex<HashMap<SessionId, Arc<Entry>>> {
        let [first, ..] = &self.shards;
        self.shards.get(id.number() % SHARDS).unwrap_or(first)
    }
}

/// A place among the sessions that a user may have; dropping it gives it up.
pub(crate) struct Place {
    sessions: Arc<Sessions>,
    user: CanonicalUser,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.give_up_place(&self.user);
    }
}

/// A session's place in the registry; dropping it gives it up, also when the session's task panics.
pub(crate) struct Membership {
    place: Place,
    entry: Arc<Entry>,
}

impl Membership {
    /// How long the client waits until it is told that its back end is gone.
    pub(crate) fn turn(&self) -> Duration {
        self.place.sessions.departures.turn(&self.entry.who.backend, Instant::now())
    }
}

impl Deref for Membership {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Who { id, backend, .. } = &self.entry.who;
        let sessions = &self.place.sessions;
        sessions.shard(*id).lock().remove(id);
        sessions.departures.depart(backend);
        if self.entry.wants_hold() {
            sessions.common.holds.tell();
        }
    }
}

impl Entry {
    /// Asks the relay to end. The first reason stays.
    fn end(&self, reason: Reason) {
        self.end_if(reason as u8);
    }

    /// The same with the number of a reason, or [`GOES_ON`].
    fn end_if(&self, wanted: u8) {
        let first = self.end.compare_exchange(GOES_ON, wanted, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() && wanted != GOES_ON {
            self.relay.wake();
        }
    }

    /// The reason for which it was asked to end.
    pub(crate) fn asked(&self) -> Reason {
        let asked = usize::from(self.end.load(Ordering::Acquire));
        Reason::ALL.get(asked).copied().unwrap_or(Reason::Internal)
    }

    pub(crate) fn view(&self) -> SessionView {
        let who = &self.who;
        SessionView {
            session: who.id,
            protocol: who.protocol,
            user: who.user.clone(),
            client: who.client,
            backend: who.backend.clone(),
            tls: who.tls,
            seconds: self.started.elapsed().as_secs(),
            bytes_in: self.up.load(Ordering::Relaxed),
            bytes_out: self.down.load(Ordering::Relaxed),
        }
    }
}

impl Watch for Entry {
    fn relayed(&self, direction: Direction, bytes: usize) {
        let counter = match direction {
            Direction::Down => &self.down,
            Direction::Up => &self.up,
        };
        // One relay writes, so that no atomic addition is needed.
        let bytes = counter.load(Ordering::Relaxed).saturating_add(bytes as u64);
        counter.store(bytes, Ordering::Relaxed);
        self.active.store(self.common.round.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.relay.register(cx.waker());
        if self.end.load(Ordering::Acquire) == GOES_ON { Poll::Pending } else { Poll::Ready(()) }
    }

    fn reason(&self) -> Reason {
        self.asked()
    }

    fn changed(&self, changed: &Changed) {
        let Who { user, backend, .. } = &self.who;
        self.common.feed.tell(user, || MailboxChanged {
            user: user.clone(),
            backend: backend.clone(),
            scope: changed.scope,
            mailbox: changed.mailbox.clone(),
        });
    }

    fn changed_unheard(&self) {
        self.common.feed.tell_of(&self.who.user);
    }

    fn wants_hold(&self) -> bool {
        self.hold.load(Ordering::Acquire)
    }

    fn stands(&self, standing: Standing) {
        // Told at each poll: who waits is woken when there is something new only.
        if std::mem::replace(&mut *self.standing.lock(), standing) != standing {
            self.common.holds.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use model::UserName;

    use super::*;

    fn sessions(sessions_per_user: usize) -> Arc<Sessions> {
        Sessions::new(&Limits { sessions_per_user, ..Limits::with_connections(100) })
    }

    fn who(count: u32) -> Who {
        Who {
            id: SessionId::new(1, count),
            protocol: Protocol::Imap,
            user: CanonicalUser::declare(UserName::new("anna").unwrap()),
            client: ([192, 0, 2, 1], 1).into(),
            backend: BackendName::new("a").unwrap(),
            tls: None,
            framed: true,
        }
    }

    fn enter(sessions: &Arc<Sessions>, count: u32) -> Membership {
        let who = who(count);
        let place = sessions.reserve(&who.user).unwrap();
        sessions.enter(who, Instant::now(), place)
    }

    #[test]
    fn a_session_without_traffic_ends_after_all_rounds_and_another_goes_on() {
        let sessions = sessions(0);
        let silent = enter(&sessions, 1);
        let talking = enter(&sessions, 2);
        let goes_on = |entry: &Entry| entry.end.load(Ordering::Acquire) == GOES_ON;
        for _ in 0..ROUNDS {
            sessions.next_round();
            talking.relayed(Direction::Up, 1);
        }
        assert!(goes_on(&silent));
        sessions.next_round();
        assert_eq!(silent.asked(), Reason::Idle);
        assert!(goes_on(&talking));
    }

    #[test]
    fn a_kicked_session_hears_the_first_reason_and_leaves_the_list() {
        let sessions = sessions(0);
        let session = enter(&sessions, 1);
        assert!(sessions.kick(session.who.id));
        sessions.end_all(Reason::Shutdown);
        assert_eq!(session.asked(), Reason::Kicked);
        assert_eq!(sessions.list().len(), 1);
        drop(session);
        assert!(sessions.list().is_empty());
        assert!(!sessions.kick(SessionId::new(1, 1)));
    }

    #[tokio::test]
    async fn sessions_end_evenly_over_the_time_and_the_last_at_its_end() {
        const OVER: Duration = Duration::from_millis(500);
        let sessions = sessions(0);
        let entered: Vec<_> = (1..=1000).map(|count| enter(&sessions, count)).collect();
        assert!(sessions.kick(SessionId::new(1, 1000)));
        let ended = || {
            let ended = |entry: &&Membership| entry.asked() == Reason::Shutdown;
            entered.iter().filter(ended).count()
        };
        let (ending, began) = (Arc::clone(&sessions), Instant::now());
        let task = tokio::spawn(async move { ending.end_evenly(Reason::Shutdown, OVER).await });
        let mut between = 0;
        while !task.is_finished() {
            tokio::time::sleep(OVER / 50).await;
            let count = ended();
            // Later than need be on a machine that has other work, and never earlier.
            assert!(
                count as u128 <= 1000 * began.elapsed().as_micros() / OVER.as_micros(),
                "{count}"
            );
            between += usize::from((1..999).contains(&count));
        }
        task.await.unwrap();
        assert!(began.elapsed() >= OVER && between > 1, "{:?}, {between}", began.elapsed());
        assert_eq!(ended(), 999);
        assert_eq!(entered[999].asked(), Reason::Kicked);
    }

    #[test]
    fn whoever_enters_while_all_are_ended_is_ended_too() {
        let sessions = sessions(0);
        sessions.end_all(Reason::Shutdown);
        assert_eq!(enter(&sessions, 1).asked(), Reason::Shutdown);
    }

    #[test]
    fn a_user_has_no_more_sessions_than_may_be() {
        let sessions = sessions(2);
        let user = who(1).user;
        let one = enter(&sessions, 1);
        // Nobody else can take a place between the back end's verdict and the welcome.
        let two = sessions.reserve(&user).unwrap();
        assert!(sessions.reserve(&user).is_none());
        let two = sessions.enter(who(2), Instant::now(), two);
        assert!(sessions.reserve(&user).is_none());
        drop(two);
        // A client may be lost in the welcome.
        drop(sessions.reserve(&user).unwrap());
        drop((sessions.reserve(&user).unwrap(), one));
        assert!(sessions.by_user.as_ref().unwrap().lock().is_empty());
    }
}
