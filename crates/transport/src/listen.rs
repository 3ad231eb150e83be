//! Listening sockets.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::{Stream, socket};

/// Connections that may wait in the kernel for us; capped by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens a listening socket. Done before privileges are dropped and before the runtime starts.
///
/// An IPv6 socket takes IPv6 only, so that `0.0.0.0` and `[::]` can stand side by side in a
/// configuration whatever the kernel's default.
///
/// # Errors
/// Those of the kernel: the address is in use, or may not be used.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    listener.set_reuse_address(true)?;
    if address.is_ipv6() {
        listener.set_only_v6(true)?;
    }
    socket::configure(&SockRef::from(&listener))?;
    listener.bind(&address.into())?;
    listener.listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

/// A listening socket within the runtime.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Registers a socket of [`bind`] with the runtime.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn register(socket: std::net::TcpListener) -> io::Result<Self> {
        TcpListener::from_std(socket).map(Self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next connection and the client's address (an IPv4 address mapped into IPv6 is given as IPv4).
    ///
    /// # Errors
    /// Those of the kernel; the caller waits before it tries again.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, client): (TcpStream, _) = self.0.accept().await?;
        Ok((Stream::plain(stream), SocketAddr::new(client.ip().to_canonical(), client.port())))
    }
}
