//! Connecting to a back end.

use std::{io, net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{net::TcpSocket, time::timeout};

use crate::{Stream, socket};

/// No address accepted the connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// The last address tried, and what the kernel said.
    #[error("{0}: {1}")]
    Refused(SocketAddr, #[source] io::Error),
    /// The last address tried did not answer in time.
    #[error("{0}: no answer within {1:?}")]
    TimedOut(SocketAddr, Duration),
    /// There was no address to try.
    #[error("no address is known")]
    NoAddress,
}

/// Connects to the first address that accepts; each may take `limit`.
///
/// # Errors
/// [`ConnectFailure`] tells of the last address.
pub async fn connect(
    addresses: impl IntoIterator<Item = SocketAddr>,
    limit: Duration,
) -> Result<(Stream, SocketAddr), ConnectFailure> {
    let mut failure = ConnectFailure::NoAddress;
    for address in addresses {
        match timeout(limit, open(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => failure = ConnectFailure::Refused(address, error),
            Err(_) => failure = ConnectFailure::TimedOut(address, limit),
        }
    }
    Err(failure)
}

async fn open(address: SocketAddr) -> io::Result<Stream> {
    let tcp = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket::configure(&SockRef::from(&tcp))?;
    Ok(Stream::plain(tcp.connect(address).await?))
}
