//! Panics: each is a fault of ours, ends one connection only, and is told and counted.
//! Nothing here is anybody else's doing.

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::FutureExt;
use model::{Reason, SessionId};

/// How many there were since the start.
#[derive(Debug, Default)]
pub(crate) struct Faults(AtomicU64);

impl Faults {
    /// Tells of one more.
    pub(crate) fn tell(&self, session: SessionId) {
        let faults = self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        tracing::error!(
            target: "session",
            %session, reason = %Reason::Internal, faults,
            "session ended by a fault in this program; please report it"
        );
    }
}

/// Does the work to its end, or until it panics, which is told.
///
/// Not an async function: that would keep a second copy of the work.
pub(crate) fn survive(
    work: impl Future<Output = ()> + Send,
    tell: impl FnOnce() + Send,
) -> impl Future<Output = ()> + Send {
    AssertUnwindSafe(work).catch_unwind().map(move |ended| {
        if ended.is_err() {
            tell();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        Limits,
        limits::{Admission, Door},
    };

    #[tokio::test]
    async fn a_panic_ends_one_session_only_gives_its_place_back_and_is_counted() {
        let door = Arc::new(Door::new(&Limits::with_connections(10)));
        let come = || door.admit(&Arc::default()).unwrap();
        let (faults, yielded) = (Arc::new(Faults::default()), tokio::task::yield_now);
        let session = |number, work: fn(Admission) -> bool| {
            let (faults, place) = (Arc::clone(&faults), come());
            let life = async move {
                yielded().await;
                assert!(work(place), "a fault");
            };
            let told = move || faults.tell(SessionId::new(1, number));
            tokio::spawn(survive(life, told))
        };
        let sessions = [session(1, |_| true), session(2, |_| false), session(3, |_| true)];
        assert_eq!(door.open(), 3);
        for session in sessions {
            session.await.unwrap();
        }
        assert_eq!((faults.0.load(Ordering::Relaxed), door.open()), (1, 0));
    }
}
