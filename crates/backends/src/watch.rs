//! Looks at a back end again and again, to know that it has gone before users do, and that it is back.
//!
//! Nothing here judges; what was seen is given to [`crate::health`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::{Blame, Protocol, Reason};

use crate::{Backend, Backends};

/// How often a back end that is down is looked at.
const WHILE_DOWN: Duration = Duration::from_secs(1);

/// Looks as a login would, up to the greeting and the capabilities; with a test user, logs in.
pub(crate) async fn for_ever(backends: Arc<Backends>, backend: Arc<Backend>, protocol: Protocol) {
    let health = backend.health.of(protocol);
    loop {
        let down = health.is_down();
        let pause = if down { WHILE_DOWN.min(backends.look_every) } else { backends.look_every };
        tokio::time::sleep(pause).await;
        let seen = match &backend.settings.test_user {
            Some(user) => backends.try_test_user(&backend, user, protocol).await,
            None => backends.look_at(&backend, protocol).await.map(drop),
        };
        let turn = match &seen {
            Ok(()) => health.looked(true, Instant::now()),
            Err((reason, detail)) if is_its_fault(*reason) => {
                let turn = health.looked(false, Instant::now());
                if turn.is_some() {
                    backend.counters.failed(*reason, detail);
                }
                turn
            }
            // It has judged the test user's password, so it lives.
            Err((Reason::BackendMasterRefused, detail)) => {
                tracing::warn!(backend = %backend.settings.name, %protocol, detail, "the test user is refused");
                health.looked(true, Instant::now())
            }
            // It has something against this user now: his mailbox is locked, or he comes too often.
            Err((reason, _)) if reason.blame() == Blame::Client => {
                health.looked(true, Instant::now())
            }
            // We could not even ask.
            Err(_) => None,
        };
        backend.tell(protocol, turn);
    }
}

/// Whether a look failed through the back end, and not for want of something on our side, or for the test user.
fn is_its_fault(reason: Reason) -> bool {
    let ours = matches!(reason, Reason::BackendMasterRefused | Reason::BackendNoPort);
    reason.blame() == Blame::Backend && !ours
}
