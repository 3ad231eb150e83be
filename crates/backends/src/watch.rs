//! Looks at a back end again and again, to know that it has gone before users do, and that it is back.
//!
//! Nothing here judges; what was seen is given to [`crate::health`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::Protocol;

use crate::{Backend, Backends};

/// How often a back end that is down is looked at.
const WHILE_DOWN: Duration = Duration::from_secs(1);

/// Looks as a login would, up to the greeting and the capabilities; with a test user, logs in.
pub(crate) async fn for_ever(backends: Arc<Backends>, backend: Arc<Backend>, protocol: Protocol) {
    loop {
        let down = backend.health.is_down();
        let pause = if down { WHILE_DOWN.min(backends.look_every) } else { backends.look_every };
        tokio::time::sleep(pause).await;
        let seen = match &backend.settings.test_user {
            Some(user) => backends.try_test_user(&backend, user, protocol).await,
            None => backends.look_at(&backend, protocol).await.map(drop),
        };
        let turn = match &seen {
            Ok(()) => backend.health.looked(true, Instant::now()),
            Err((reason, detail)) => {
                let turn = backend.health.looked(false, Instant::now());
                if turn.is_some() {
                    backend.counters.failed(*reason, detail);
                }
                turn
            }
        };
        backend.tell(turn);
    }
}
