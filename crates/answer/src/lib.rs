//! Servers that only answer where a user's mail is, for programs that go there themselves: nginx's `auth_http`.
//!
//! Nothing here relays, and nothing here decides: the directory does.

mod auth_http;
mod serve;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use model::Secret;

pub use serve::{Running, serve};

/// One server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How log and messages call it.
    pub name: Arc<str>,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Who may ask.
    pub networks: Vec<IpNet>,
    /// What else whoever asks has to show.
    pub key: Option<Key>,
    /// How long who has asks is told to let a client wait after a wrong password.
    pub wait: Duration,
    /// Whether it may be sent, without TLS, to back ends that we speak to under STARTTLS.
    pub backends_in_clear: bool,
    /// Questions at a time; those beyond wait in the kernel.
    pub connections: usize,
}

/// A secret that stands in a field of each question.
#[derive(Clone, Debug)]
pub struct Key {
    /// The field's name, in lower case.
    pub field: String,
    /// The secret.
    pub secret: Secret,
}

/// Listening sockets that nobody serves yet.
pub struct Bound(pub(crate) Vec<(Settings, std::net::TcpListener)>);

/// A socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("answer `{name}`: {address}: {problem}")]
pub struct BindError {
    /// Which server.
    pub name: Arc<str>,
    /// Which address.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub problem: io::Error,
}

/// Opens all listening sockets. Needs no runtime, and is done before privileges are dropped.
///
/// # Errors
/// [`BindError`] for the first that cannot be opened.
pub fn bind(settings: &[Settings]) -> Result<Bound, BindError> {
    let mut bound = Vec::new();
    for server in settings {
        for address in &server.addresses {
            let socket = transport::bind(*address).map_err(|problem| BindError {
                name: Arc::clone(&server.name),
                address: *address,
                problem,
            })?;
            bound.push((server.clone(), socket));
        }
    }
    Ok(Bound(bound))
}
