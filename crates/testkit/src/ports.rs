//! Free loopback ports, chosen by the kernel and held until a server takes them over.
//! Nothing here guesses a number.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Ports that nobody else gets while this value lives.
///
/// Release them (by dropping) right before the server binds; start again on a collision.
#[derive(Debug)]
pub struct HeldPorts {
    holders: Vec<TcpListener>,
}

impl HeldPorts {
    /// Holds `count` free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When the kernel has no free port or file descriptor left.
    pub fn take(count: usize) -> io::Result<Self> {
        let holders = (0..count)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { holders })
    }

    /// The numbers of the held ports, in a fixed order.
    ///
    /// # Errors
    /// When the kernel cannot name a bound socket.
    pub fn numbers(&self) -> io::Result<Vec<u16>> {
        self.holders.iter().map(|holder| Ok(holder.local_addr()?.port())).collect()
    }
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
