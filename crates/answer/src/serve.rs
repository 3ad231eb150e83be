//! The life of a question: who may ask, one request, one answer, each with its limits.
//!
//! Nothing here knows what is asked.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use backends::Backends;
use directory::Directory;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};
use transport::{Duplex, Listener};

use crate::{Bound, Settings, auth_http};

/// For the head of a question.
const HEAD: Duration = Duration::from_secs(5);
/// For a question and its answer, in all. Whoever asks gives up after a minute (nginx's `auth_http_timeout`).
const WHOLE: Duration = Duration::from_secs(60);
/// The longest head of a question, in bytes: nginx sends certificates along.
const MAX_HEAD: usize = 32 * 1024;
/// Fields in the head of a question, at most.
const MAX_FIELDS: usize = 100;
/// After the kernel could give no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What all questions to one server share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) directory: Arc<Directory>,
    pub(crate) backends: Arc<Backends>,
    /// For questions of users who may turn out to be held, and then wait.
    pub(crate) may_wait: Semaphore,
}

/// The servers at work. Dropped, they listen no more; questions under way are answered.
pub struct Running(Vec<JoinHandle<()>>);

impl Drop for Running {
    fn drop(&mut self) {
        for listening in &self.0 {
            listening.abort();
        }
    }
}

/// Serves. It has to be called within the runtime.
///
/// # Errors
/// Those of the kernel.
pub fn serve(
    bound: Bound,
    directory: &Arc<Directory>,
    backends: &Arc<Backends>,
) -> io::Result<Running> {
    let mut running = Running(Vec::new());
    for (settings, socket) in bound.0 {
        let listener = Listener::register(socket)?;
        let (directory, backends) = (Arc::clone(directory), Arc::clone(backends));
        let address = listener.address()?;
        tracing::info!(target: "answer", server = &*settings.name, %address, "answering");
        let may_wait = Semaphore::new(settings.connections / 2);
        let shared = Arc::new(Shared { settings, directory, backends, may_wait });
        running.0.push(tokio::spawn(listen(listener, shared)));
    }
    Ok(running)
}

async fn listen(listener: Listener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(shared.settings.connections));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    answer(Duplex::new(stream), peer, &shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(target: "answer", server = &*shared.settings.name, %error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: Duplex, peer: SocketAddr, shared: &Arc<Shared>) {
    let name = &*shared.settings.name;
    if !shared.settings.networks.iter().any(|network| network.contains(&peer.ip())) {
        tracing::warn!(target: "answer", server = name, %peer, "who asks is in none of the networks");
        return;
    }
    let respond = service_fn(|request: Request<Incoming>| async move {
        let (head, _) = request.into_parts();
        Ok::<_, Infallible>(auth_http::answer(&head, peer, shared).await)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .keep_alive(false)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), respond);
    match timeout(WHOLE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::info!(target: "answer", server = name, %peer, %error, "a question came to nothing");
        }
        Err(_) => {
            tracing::info!(target: "answer", server = name, %peer, "a question took too long")
        }
    }
}
