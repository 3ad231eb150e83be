//! Connecting to a back end.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::IpBindAddressNoPort},
};
use socket2::SockRef;
use tokio::{net::TcpSocket, time::timeout};

use crate::{Sources, Stream, socket};

/// No address accepted the connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// The last address tried, and what the kernel said.
    #[error("{0}: {1}")]
    Refused(SocketAddr, #[source] io::Error),
    /// The last address tried did not answer in time.
    #[error("{0}: no answer within {1:?}")]
    TimedOut(SocketAddr, Duration),
    /// No local address could be used, or none had a port left, towards the last address tried.
    #[error("{0}: no local address has a port left to connect from ({1})")]
    NoLocalPort(SocketAddr, NoLocalPort),
    /// The kernel had no file descriptor or memory for a socket.
    #[error("{0}: no socket to connect from ({1})")]
    NoSocket(SocketAddr, #[source] io::Error),
    /// There was no address to try.
    #[error("no address is known")]
    NoAddress,
}

/// What was wrong with each local address.
#[derive(Debug, Default)]
pub struct NoLocalPort(Vec<(Option<IpAddr>, io::Error)>);

impl fmt::Display for NoLocalPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (source, error)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            match source {
                Some(source) => write!(f, "{separator}from {source}: {error}")?,
                None => write!(f, "{separator}{error}")?,
            }
        }
        Ok(())
    }
}

/// Connects to the first address that accepts, from the sources in turn; each address may take `limit`.
///
/// # Errors
/// [`ConnectFailure`] tells of the last address.
pub async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
    sources: &Sources,
    limit: Duration,
) -> Result<(Stream, SocketAddr), ConnectFailure> {
    let mut failure = ConnectFailure::NoAddress;
    for address in addresses {
        match timeout(limit, open(address, sources)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(refused)) => failure = refused,
            Err(_) => failure = ConnectFailure::TimedOut(address, limit),
        }
    }
    Err(failure)
}

/// Connects to one address from the first local address that has a port left for it.
async fn open(destination: SocketAddr, sources: &Sources) -> Result<Stream, ConnectFailure> {
    let mut tried = NoLocalPort::default();
    for source in sources.for_destination(destination) {
        let refused = |error| ConnectFailure::Refused(destination, error);
        let tcp = socket(destination).map_err(|error| {
            if is_shortage(&error) {
                ConnectFailure::NoSocket(destination, error)
            } else {
                refused(error)
            }
        })?;
        if let Some(ip) = source
            && let Err(error) = bind(&tcp, ip)
        {
            tried.0.push((source, error));
            continue;
        }
        // Counted before, so that those who come at once see one another.
        let port = sources.take((source, destination));
        match tcp.connect(destination).await {
            Ok(tcp) => return Ok(Stream::from_port(tcp, port)),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                tried.0.push((source, error));
            }
            Err(error) => return Err(refused(error)),
        }
    }
    Err(ConnectFailure::NoLocalPort(destination, tried))
}

fn socket(destination: SocketAddr) -> io::Result<TcpSocket> {
    let tcp = if destination.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket::configure(&SockRef::from(&tcp))?;
    Ok(tcp)
}

/// Whether something ran out here, which says nothing of the destination.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&Errno::from_raw(code)))
}

/// Binds to an address and leaves the port to connect: a port that was bound before the destination is
/// known would be taken for all destinations (ip(7), IP_BIND_ADDRESS_NO_PORT).
fn bind(tcp: &TcpSocket, source: IpAddr) -> io::Result<()> {
    setsockopt(tcp, IpBindAddressNoPort, &true)?;
    tcp.bind(SocketAddr::new(source, 0))
}
