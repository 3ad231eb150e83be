//! Peers that are not ours: a socket with the library's buffered TLS, or without.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};
use transport::Stream;

/// One end of a connection that the code under test has the other end of.
pub(crate) struct Peer {
    pub(crate) tcp: TcpStream,
    pub(crate) tls: Option<Box<Connection>>,
    /// Whether each byte goes into a packet of its own.
    pub(crate) dripping: bool,
}

/// A connection: one end is the peer's, the other ours.
pub(crate) async fn connected() -> (Peer, Stream) {
    let (peer, ours) = sockets().await;
    (Peer::plain(peer), Stream::plain(ours))
}

/// A connected pair of sockets.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (one, other) = (one.unwrap(), other.unwrap().0);
    one.set_nodelay(true).unwrap();
    other.set_nodelay(true).unwrap();
    (one, other)
}

impl Peer {
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self { tcp, tls: None, dripping: false }
    }

    /// Prepares TLS without a handshake.
    pub(crate) fn speak_tls_as_client(&mut self, config: ClientConfig, name: &str) {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        self.tls = Some(Box::new(tls.into()));
    }

    /// Prepares TLS without a handshake.
    pub(crate) fn speak_tls_as_server(&mut self, config: ServerConfig) {
        self.tls = Some(Box::new(ServerConnection::new(Arc::new(config)).unwrap().into()));
    }

    pub(crate) async fn shake_hands(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_handshake(cx)).await
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx))?;
            if !self.tls.as_ref().unwrap().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_take(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Sends what the library has for the peer.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Ok(())) };
        while tls.wants_write() {
            let mut wire = Wire { tcp: &mut self.tcp, cx, dripping: self.dripping };
            match tls.write_tls(&mut wire) {
                Ok(_) if self.dripping => {
                    // The other side gets a turn after each byte.
                    cx.waker().wake_by_ref();
                    return if tls.wants_write() { Poll::Pending } else { Poll::Ready(Ok(())) };
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the socket into the library.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let tls = self.tls.as_mut().unwrap();
        let mut wire = Wire { tcp: &mut self.tcp, cx, dripping: false };
        match tls.read_tls(&mut wire) {
            Ok(count) => {
                let result = tls.process_new_packets();
                // The alert, if there is one.
                let _ = self.poll_send(cx);
                Poll::Ready(result.map(|_| count).map_err(io::Error::other))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Ends its direction: close_notify under TLS, then FIN.
    pub(crate) async fn finish(&mut self) {
        self.shutdown().await.unwrap();
    }

    /// FIN without close_notify.
    pub(crate) async fn cut_off(&mut self) {
        self.tcp.shutdown().await.unwrap();
    }

    /// Closes by a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.write_all(text.as_bytes()).await.unwrap();
        self.flush().await.unwrap();
    }

    pub(crate) async fn hear(&mut self, text: &str) {
        let mut heard = vec![0; text.len()];
        self.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), text);
    }

    /// Reads to the end, which must be a clean one.
    pub(crate) async fn hear_end(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        self.read_to_end(&mut heard).await.unwrap();
        heard
    }

    /// Reads to an end that must not be a clean one.
    pub(crate) async fn hear_break(&mut self) -> (Vec<u8>, io::ErrorKind) {
        let mut heard = Vec::new();
        let error = self.read_to_end(&mut heard).await.unwrap_err();
        (heard, error.kind())
    }
}

/// The socket as the library wants it.
struct Wire<'w, 'c> {
    tcp: &'w mut TcpStream,
    cx: &'w mut Context<'c>,
    dripping: bool,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(space);
        match Pin::new(&mut *self.tcp).poll_read(self.cx, &mut buffer)? {
            Poll::Ready(()) => Ok(buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = if self.dripping { &bytes[..1] } else { bytes };
        match Pin::new(&mut *self.tcp).poll_write(self.cx, bytes)? {
            Poll::Ready(count) => Ok(count),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Some(tls) = &mut self.tls else {
                return Pin::new(&mut self.tcp).poll_read(cx, buffer);
            };
            match tls.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.poll_take(cx))?;
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let Some(tls) = &mut self.tls else {
            return Pin::new(&mut self.tcp).poll_write(cx, bytes);
        };
        let count = tls.writer().write(bytes)?;
        let _ = self.poll_send(cx)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
