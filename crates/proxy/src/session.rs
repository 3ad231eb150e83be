//! The life of a connection, from accept to the line in the log.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use backends::Backends;
use directory::Directory;
use model::{CanonicalUser, Reason, SessionId};
use proto::relay::Lost;
use transport::{Ended, Pair, Stream};

use crate::{
    Limits, ListenerSettings,
    closing::Closing,
    faults::Faults,
    handshakes::Handshakes,
    limits::{Admission, Door},
    login::{self, Established},
    refusal::Refusals,
    sessions::{Membership, SessionView, Sessions},
    throttle::Throttle,
};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) directory: Arc<Directory>,
    pub(crate) backends: Arc<Backends>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) door: Arc<Door>,
    pub(crate) throttle: Throttle,
    pub(crate) refusals: Refusals,
    pub(crate) closing: Closing,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) greeting_name: Arc<str>,
}

/// A client that came in and is not yet known.
pub(crate) struct Visitor {
    pub(crate) id: SessionId,
    /// The client's address; behind a PROXY header, the one that it gives.
    pub(crate) client: SocketAddr,
    /// The address that it connected to, where a PROXY header gave it.
    pub(crate) connected: Option<SocketAddr>,
    pub(crate) since: Instant,
    pub(crate) listener: Arc<ListenerSettings>,
    /// The TLS handshakes at this listener.
    pub(crate) handshakes: Arc<Handshakes>,
    pub(crate) shared: Arc<Shared>,
}

/// How a connection ended before the relay.
pub(crate) struct End {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

impl End {
    pub(crate) fn new(reason: Reason, detail: impl ToString) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

/// Serves one client from its first byte to its last.
///
/// Two phases: everything that logging in needs (buffers, machines, deadlines) lives in a box that is
/// freed before the relay begins.
pub(crate) async fn live(client: Stream, mut visitor: Box<Visitor>, mut admission: Admission) {
    let Established { mut pair, membership, lease } =
        match Box::pin(login::establish(client, &mut visitor, &mut admission)).await {
            Ok(established) => established,
            Err(end) => return log_visit(&visitor, &end),
        };
    drop(visitor);
    let ended = pair.relay(&*membership).await;
    // Where its back end has gone, nothing of the session is left there while the client waits for its turn.
    let lease = lease.filter(|_| !matches!(ended, Ended::BackendClosed | Ended::BackendLost(_)));
    Box::pin(finish(pair, ended, membership)).await;
    drop(lease);
    drop(admission);
}

/// Says goodbye to both sides, and tells the log.
async fn finish(pair: Pair, ended: Ended, membership: Membership) {
    let reason = match &ended {
        Ended::BackendClosed => Reason::BackendClosed,
        Ended::BackendLost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Reason::BackendCutOff
        }
        Ended::BackendLost(_) => Reason::BackendLost,
        Ended::ClientClosed => Reason::ClientClosed,
        Ended::ClientLost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Reason::ClientCutOff
        }
        Ended::ClientLost(_) => Reason::ClientLost,
        Ended::Unframed(Lost::BackendLiteral) => Reason::BackendProtocol,
        Ended::Unframed(Lost::ClientLiteral) => Reason::ClientProtocol,
        Ended::Watcher => membership.asked(),
    };
    let turn = match &ended {
        Ended::BackendClosed | Ended::BackendLost(_) => membership.turn(),
        _ => Duration::ZERO,
    };
    pair.close(&ended, turn, &*membership).await;
    let view = membership.view();
    drop(membership);
    log_session(&view, reason);
}

/// A line about an end, as loud as its reason is.
macro_rules! line_about {
    ($reason:expr, $($fields:tt)*) => {
        match $reason.level() {
            ::model::Level::Error => ::tracing::error!($($fields)*),
            ::model::Level::Warn => ::tracing::warn!($($fields)*),
            ::model::Level::Info => ::tracing::info!($($fields)*),
        }
    };
}
pub(crate) use line_about;

/// The line of a session.
fn log_session(view: &SessionView, reason: Reason) {
    line_about!(
        reason,
        target: "session",
        session = %view.session,
        protocol = %view.protocol,
        user = %view.user,
        client = %view.client,
        backend = %view.backend,
        tls = view.tls.unwrap_or("none"),
        r#in = view.bytes_in,
        out = view.bytes_out,
        seconds = view.seconds,
        reason = %reason,
        "session ended"
    );
}

/// The line of a connection that ended without a session.
fn log_visit(visitor: &Visitor, end: &End) {
    line_about!(
        end.reason,
        target: "session",
        session = %visitor.id,
        protocol = %visitor.listener.protocol,
        client = %visitor.client,
        seconds = visitor.since.elapsed().as_secs(),
        reason = %end.reason,
        detail = end.detail,
        "connection ended without a login"
    );
}

/// The line of a login attempt that failed.
pub(crate) fn log_refusal(
    visitor: &Visitor,
    user: Option<&CanonicalUser>,
    reason: Reason,
    backend: &str,
    detail: &str,
) {
    line_about!(
        reason,
        target: "login",
        session = %visitor.id,
        protocol = %visitor.listener.protocol,
        user = user.map_or("", CanonicalUser::as_str),
        client = %visitor.client,
        backend,
        reason = %reason,
        detail,
        "login refused"
    );
}

#[cfg(test)]
mod tests {
    fn size_of_future<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_costs_under_512_bytes_beside_its_sockets() {
        let size = size_of_future(crate::serve::guarded);
        assert!(size < 512, "the session future has {size} bytes");
    }
}
