//! Asks a server by HTTP: one question, one answer, whose size is bounded.
//!
//! Nothing here knows what is asked. No redirection is followed, no proxy is taken from the environment, and no
//! deadline is kept: whoever asks keeps his own, and may stop waiting at any time.

mod names;
mod url;

use std::{
    error::Error,
    fmt,
    sync::Once,
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Version,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header::{CONNECTION, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use model::{Host, Secret};
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::task::AbortHandle;
use transport::{
    Duplex, Sources,
    tls::{CertificateFiles, ClientTls, ClientTlsError, Verify},
};
use zeroize::Zeroizing;

use self::names::Addresses;
use crate::sources::CannotSay;

pub use self::url::{InvalidUrl, Url};

/// The longest answer about a user that is taken, in bytes, behind its head.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;
/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// Fields in the head of an answer, at most.
const MAX_FIELDS: usize = 100;
/// Connections kept for the next question, at most.
const IDLE: usize = 8;
/// How long one is kept. Most servers give theirs up after 5 s (Apache) to 75 s (nginx).
const IDLE_FOR: Duration = Duration::from_secs(4);
/// For one address that does not answer, before the next is tried.
const CONNECT: Duration = Duration::from_secs(2);
/// Local ports between us and the server, from which on there is an alarm.
const PORTS: usize = 28_232;

/// Where a server is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct HttpServer {
    /// Where it is, and what of it is asked.
    pub url: Url,
    /// How its certificate is judged.
    pub verify: Verify,
    /// Our own certificate, where it asks for one.
    pub certificate: Option<CertificateFiles>,
    /// Fields that go with every question, as for a key by which the server knows us.
    pub fields: Vec<HttpField>,
}

/// A field of a request's head.
#[derive(Clone, Debug)]
pub struct HttpField {
    name: HeaderName,
    value: HeaderValue,
}

/// Why something is no field of a request's head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidField {
    /// The name cannot be one (RFC 9110 section 5.1).
    #[error("the name of the field has characters that none can have")]
    Name,
    /// It is one that this program writes itself.
    #[error("this field is written by posthouse itself")]
    Ours,
    /// The value cannot be one (RFC 9110 section 5.5).
    #[error("the value of the field has control characters")]
    Value,
}

impl HttpField {
    /// A field by which the server knows us; its value is never shown.
    ///
    /// # Errors
    /// [`InvalidField`] if it cannot be one.
    pub fn new(name: &str, value: &Secret) -> Result<Self, InvalidField> {
        let name: HeaderName = name.parse().map_err(|_| InvalidField::Name)?;
        let ours = ["connection", "content-length", "content-type", "host", "transfer-encoding"];
        if ours.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
            return Err(InvalidField::Ours);
        }
        let value = HeaderValue::from_bytes(value.reveal()).map_err(|_| InvalidField::Value)?;
        Ok(Self { name, value: hidden(value) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// A value that no `Debug` print shows.
pub(crate) fn hidden(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// What is asked.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// What of the server is asked: path and query, escaped.
    pub(crate) target: String,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) keeping: Keeping,
}

/// Whether the connection may be used again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keeping {
    /// It is one of HTTP/1.0, for this question alone, as nginx does it.
    Never,
    /// It is one of HTTP/1.1.
    WhileIdle,
}

/// What the server answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// One server, and a few connections to it.
pub(crate) struct Client {
    server: HttpServer,
    /// The longest answer that is taken, in bytes, behind its head.
    longest: usize,
    tls: Option<(ClientTls, ServerName<'static>)>,
    following: Once,
    host: HeaderValue,
    addresses: Addresses,
    sources: Sources,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// A connection; dropping it ends it, whatever the server is doing.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why a question over one connection came to nothing.
enum Failure {
    /// The server had given the connection up before it began to answer.
    GivenUp,
    CannotSay(CannotSay),
}

impl Client {
    /// Prepares to ask a server, of which no answer may be longer than so many bytes; it is not spoken to yet.
    ///
    /// # Errors
    /// [`ClientTlsError`] if the files that TLS needs cannot be used.
    pub(crate) fn new(server: HttpServer, longest: usize) -> Result<Self, ClientTlsError> {
        let tls = match (&server.certificate, server.url.is_private()) {
            (_, false) => None,
            (None, true) => Some(ClientTls::new(&server.verify)?),
            (Some(files), true) => Some(ClientTls::with_certificate(&server.verify, files)?),
        };
        let tls = match tls {
            Some(tls) => Some((tls, server_name(server.url.host())?)),
            None => None,
        };
        let shown = server.url.authority();
        let host = HeaderValue::from_str(&shown)
            .map_err(|error| ClientTlsError::Unusable(error.to_string()))?;
        Ok(Self {
            tls,
            host,
            longest,
            addresses: Addresses::new(server.url.host().clone(), server.url.port()),
            sources: Sources::new(Vec::new(), PORTS),
            following: Once::new(),
            idle: Mutex::default(),
            server,
        })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.server.url
    }

    /// Asks, and takes in the answer as a whole.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Answered, CannotSay> {
        while let Some(connection) = self.take_idle(ask.keeping) {
            match self.ask_over(connection, &ask).await {
                // A connection that was kept may have been given up meanwhile; nothing was answered.
                Err(Failure::GivenUp) => {}
                Err(Failure::CannotSay(cannot)) => return Err(cannot),
                Ok(answered) => return Ok(answered),
            }
        }
        match self.ask_over(self.connect().await?, &ask).await {
            Err(Failure::GivenUp) => {
                Err(self.unavailable("the connection was closed without an answer"))
            }
            Err(Failure::CannotSay(cannot)) => Err(cannot),
            Ok(answered) => Ok(answered),
        }
    }

    fn take_idle(&self, keeping: Keeping) -> Option<Connection> {
        if keeping == Keeping::Never {
            return None;
        }
        let mut idle = self.idle.lock();
        idle.retain(|(connection, since)| {
            !connection.sender.is_closed() && since.elapsed() < IDLE_FOR
        });
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE && !connection.sender.is_closed() {
            idle.push((connection, Instant::now()));
        }
    }

    async fn ask_over(&self, mut connection: Connection, ask: &Ask) -> Result<Answered, Failure> {
        let request = self.request(ask).map_err(Failure::CannotSay)?;
        let failed = |error: hyper::Error| self.failure(&error);
        connection.sender.ready().await.map_err(failed)?;
        let response = connection.sender.send_request(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.longest).collect().await.map_err(|error| {
            Failure::CannotSay(match error.downcast::<hyper::Error>() {
                Ok(error) if !error.is_parse() => {
                    self.unavailable(format_args!("the answer broke off: {}", told(&error)))
                }
                Ok(error) => self.misconfigured(format_args!("the answer is none: {error}")),
                Err(_) => self.misconfigured(format_args!(
                    "the answer is longer than {} bytes",
                    self.longest
                )),
            })
        })?;
        if ask.keeping == Keeping::WhileIdle {
            self.keep(connection);
        }
        let body = Zeroizing::new(body.to_bytes().to_vec());
        Ok(Answered { status: head.status, fields: head.headers, body })
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, CannotSay> {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(&ask.body)));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = ask.target.parse().map_err(|error| {
            CannotSay::misconfigured(format_args!("no address can be made of this name: {error}"))
        })?;
        let fields = request.headers_mut();
        fields.insert(HOST, self.host.clone());
        for HttpField { name, value } in &self.server.fields {
            fields.append(name.clone(), value.clone());
        }
        for (name, value) in &ask.fields {
            fields.insert(name.clone(), value.clone());
        }
        if ask.keeping == Keeping::Never {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
            *request.version_mut() = Version::HTTP_10;
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Connection, CannotSay> {
        let addresses = self.addresses.known().await.map_err(|error| self.unavailable(error))?;
        let connected = transport::connect(addresses.iter().copied(), &self.sources, CONNECT).await;
        let (mut stream, address) = connected.map_err(|error| self.unavailable(error))?;
        if let Some((tls, name)) = &self.tls {
            self.following.call_once(|| drop(tokio::spawn(tls.clone().follow_files())));
            stream.connect_tls(tls, name.clone()).await.map_err(|error| {
                let hint = tls.hint(&error).map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.unavailable(format_args!("{address}: TLS: {error}{hint}"))
            })?;
        }
        let shaken = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(Duplex::new(stream)))
            .await;
        let (sender, connection) = shaken.map_err(|error| self.unavailable(error))?;
        // What breaks the connection is told by the request that waits for its answer.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Connection { sender, driver })
    }

    fn failure(&self, error: &hyper::Error) -> Failure {
        if error.is_parse() {
            let told = told(error);
            return Failure::CannotSay(
                self.misconfigured(format_args!("what it says is no answer of HTTP: {told}")),
            );
        }
        // Nothing of an answer had come.
        if error.is_canceled() || error.is_incomplete_message() || error.is_closed() {
            return Failure::GivenUp;
        }
        Failure::CannotSay(self.unavailable(told(error)))
    }

    fn unavailable(&self, what: impl fmt::Display) -> CannotSay {
        CannotSay::unavailable(format_args!("{}: {what}", self.server.url.origin()))
    }

    fn misconfigured(&self, what: impl fmt::Display) -> CannotSay {
        CannotSay::misconfigured(format_args!("{}: {what}", self.server.url.origin()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.server.url.origin()).finish()
    }
}

/// An error with what it was caused by, where that says more.
fn told(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn server_name(host: &Host) -> Result<ServerName<'static>, ClientTlsError> {
    match host {
        Host::Ip(ip) => Ok(ServerName::from(*ip)),
        Host::Name(name) => ServerName::try_from(name.to_string())
            .map_err(|error| ClientTlsError::Unusable(error.to_string())),
    }
}

/// What a status says where it is the same for all questions: that the server cannot say.
pub(crate) fn cannot_say(status: StatusCode) -> CannotSay {
    let shown = format!("it answered with status {}", status.as_u16());
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            CannotSay::unavailable(shown)
        }
        status if status.is_server_error() => CannotSay::unavailable(shown),
        status if status.is_redirection() => {
            CannotSay::misconfigured(format_args!("{shown}; no redirection is followed"))
        }
        _ => CannotSay::misconfigured(shown),
    }
}
