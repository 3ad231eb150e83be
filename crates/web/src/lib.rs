//! The API of a running daemon, HTTP and JSON over a unix socket, and the client for it.
//!
//! Nothing here decides anything: a request becomes a call of `admin`, and its result an answer. The
//! listening socket is handed in.

mod answer;
mod body;
pub mod client;
mod routes;

use std::{os::unix::net::UnixListener as StdUnixListener, sync::Arc};

use admin::{Actor, Desk};
use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::net::UnixListener;

/// Serves the API on a socket until `stop` is done; requests that came in before are answered.
///
/// # Errors
/// Those of the kernel when the socket is registered with the runtime.
pub async fn serve(
    socket: StdUnixListener,
    desk: Arc<Desk>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    let listener = UnixListener::from_std(socket)?;
    let service = routes::router(desk).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

/// Who is at the other end of the socket.
#[derive(Clone, Debug)]
struct Peer(Actor);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        // The kernel knows who connected; should it not say, the overflow user stands in the records.
        let uid = stream.io().peer_cred().map_or(u32::MAX, |peer| peer.uid());
        Self(Actor::local("socket", uid))
    }
}
