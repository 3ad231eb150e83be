//! The socket options of both legs.
//!
//! On the client's leg they are set on the listening socket, from which Linux passes them on to each
//! accepted one: no system call per connection.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// Silence after which the kernel asks whether the peer is still there. Below the 5 minutes after
/// which many NAT devices forget a connection.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(240);
/// Time between two such questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
/// Unanswered questions after which the connection is lost.
const KEEPALIVE_TRIES: u32 = 4;
/// How long sent bytes may stay unacknowledged. On Linux it replaces the count of keepalive questions,
/// so it must not be shorter than they take together: with less, an idle connection is lost at the
/// first question that gets no answer.
const USER_TIMEOUT: Duration =
    KEEPALIVE_AFTER.saturating_add(KEEPALIVE_EVERY.saturating_mul(KEEPALIVE_TRIES));

/// Sets NODELAY (Nagle's algorithm against delayed acknowledgements stalls each visit by 44 ms),
/// keepalive and the user timeout.
pub(crate) fn configure(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_TRIES),
    )
}
