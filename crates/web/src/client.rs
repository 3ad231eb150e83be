//! Calls the API of the daemon that listens on a control socket. Each call is a connection of its own.

use std::{
    io,
    path::{Path, PathBuf},
};

use admin::Refused;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request,
    body::{Bytes, Frame},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

/// The longest answer that is taken, in bytes: a list of 100,000 sessions.
const MAX_ANSWER: usize = 64 << 20;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens on the socket: no daemon runs here.
    #[error("posthouse is not running here (no one listens on {})", .0.display())]
    NotRunning(PathBuf),
    /// The socket cannot be used.
    #[error("{}: {problem}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        problem: io::Error,
    },
    /// The daemon refused; it changed nothing.
    #[error(transparent)]
    Refused(Refused),
    /// The connection broke, or what came is no answer. The act may have been done or not.
    #[error("the daemon gave no usable answer, and may have done it or not: {0}")]
    Broken(String),
}

#[derive(Deserialize)]
struct Wrapped {
    error: Refused,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The daemon behind a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon that listens, or does not, on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::GET, path, empty()).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.call(Method::DELETE, path, empty()).await
    }

    /// Puts something in its place.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        sent: &impl Serialize,
    ) -> Result<T, CallError> {
        self.call(Method::PUT, path, json(sent)?).await
    }

    /// Has something done.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        sent: &impl Serialize,
    ) -> Result<T, CallError> {
        self.call(Method::POST, path, json(sent)?).await
    }

    /// Sends a text piece by piece; `pieces` is called once somebody listens. An error among the
    /// pieces breaks the call off, and the daemon then does nothing.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send<T, S>(&self, path: &str, pieces: impl FnOnce() -> S) -> Result<T, CallError>
    where
        T: DeserializeOwned,
        S: Stream<Item = io::Result<Vec<u8>>> + Send + 'static,
    {
        let stream = connect(&self.socket).await?;
        let frames = pieces().map_ok(|piece| Frame::data(Bytes::from(piece)));
        self.exchange(stream, Method::POST, path, BodyExt::boxed_unsync(StreamBody::new(frames)))
            .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, CallError> {
        self.exchange(connect(&self.socket).await?, method, path, body).await
    }

    /// Sends a request and reads its answer.
    async fn exchange<T: DeserializeOwned>(
        &self,
        stream: UnixStream,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<T, CallError> {
        // A daemon that stopped before it took the request has done nothing. One that stopped before it
        // answered may have; what comes to the same when done twice is as good as not asked.
        let idempotent = method != Method::POST;
        let broken = |error: hyper::Error| {
            if error.is_canceled() || (idempotent && error.is_incomplete_message()) {
                CallError::NotRunning(self.socket.clone())
            } else {
                CallError::Broken(error.to_string())
            }
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(HOST, "posthouse")
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| CallError::Broken(error.to_string()))?;
        // What breaks the connection is told by the request that waits for its answer.
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let succeeded = response.status().is_success();
        let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let answer = answer.map_err(|error| CallError::Broken(error.to_string()))?.to_bytes();
        connection.abort();
        let unreadable = |error: serde_json::Error| CallError::Broken(error.to_string());
        if succeeded {
            return serde_json::from_slice(&answer).map_err(unreadable);
        }
        let refused: Wrapped = serde_json::from_slice(&answer).map_err(unreadable)?;
        Err(CallError::Refused(refused.error))
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, CallError> {
    UnixStream::connect(socket).await.map_err(|problem| match problem.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            CallError::NotRunning(socket.to_owned())
        }
        _ => CallError::Socket { path: socket.to_owned(), problem },
    })
}

fn empty() -> Body {
    Full::default().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync()
}

fn json(sent: &impl Serialize) -> Result<Body, CallError> {
    let bytes = serde_json::to_vec(sent).map_err(|error| CallError::Broken(error.to_string()))?;
    let body = Full::new(Bytes::from(bytes));
    Ok(body.map_err(|never: std::convert::Infallible| match never {}).boxed_unsync())
}

/// A text as one piece of a path or a query (RFC 3986 section 2.1).
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
