//! Free loopback ports, chosen by the kernel and held until a server takes them over.
//! Nothing here guesses a number.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Ports that nobody else gets while this value lives.
///
/// They refuse connections. A server that binds with `SO_REUSEADDR` gets one while it is held; for any other release
/// them (by dropping) right before the server binds, and start again on a collision.
#[derive(Debug)]
pub struct HeldPorts {
    holders: Vec<Socket>,
}

impl HeldPorts {
    /// Holds `count` free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When the kernel has no free port or file descriptor left.
    pub fn take(count: usize) -> io::Result<Self> {
        let holders = (0..count).map(|_| held_port()).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { holders })
    }

    /// The numbers of the held ports, in a fixed order.
    ///
    /// # Errors
    /// When the kernel cannot name a bound socket.
    pub fn numbers(&self) -> io::Result<Vec<u16>> {
        let number = |holder: &Socket| {
            let address = holder.local_addr()?.as_socket();
            Ok(address.ok_or_else(|| io::Error::other("a socket without port"))?.port())
        };
        self.holders.iter().map(number).collect()
    }
}

/// Linux gives a port to a second socket if both say `SO_REUSEADDR` and the first does not listen, but never when it
/// is asked for any free one.
fn held_port() -> io::Result<Socket> {
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    holder.set_reuse_address(true)?;
    holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(holder)
}

/// One free port of 127.0.0.1, free at the time of the call.
///
/// # Errors
/// When the kernel has no free port or file descriptor left.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether a log tells of a port that somebody else took first.
#[must_use]
pub fn tells_of_collision(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("cannot bind socket")
}
