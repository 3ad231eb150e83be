//! Opening the listening sockets, while we may still be root.

use std::{io, net::SocketAddr, sync::Arc};

use crate::{ListenerSettings, Settings};

/// Listening sockets that nobody serves yet.
pub struct Bound {
    pub(crate) listeners: Vec<(ListenerSettings, Vec<std::net::TcpListener>)>,
}

/// A socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener `{name}`: {address}: {problem}{}", hint(.problem))]
pub struct BindError {
    /// Which listener.
    pub name: Arc<str>,
    /// Which address.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub problem: io::Error,
}

fn hint(problem: &io::Error) -> &'static str {
    match problem.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there (see `ss -ltnp`)",
        io::ErrorKind::AddrNotAvailable => "; this host has no such address",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root (with `user = \"NAME\"`) or CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

/// Opens all listening sockets. Needs no runtime, and is done before privileges are dropped.
///
/// # Errors
/// [`BindError`] for the first that cannot be opened.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let mut listeners = Vec::new();
    for listener in &settings.listeners {
        let mut sockets = Vec::new();
        for address in &listener.addresses {
            let socket = transport::bind(*address).map_err(|problem| BindError {
                name: Arc::clone(&listener.name),
                address: *address,
                problem,
            })?;
            sockets.push(socket);
        }
        listeners.push((listener.clone(), sockets));
    }
    Ok(Bound { listeners })
}
