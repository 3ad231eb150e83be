//! One leg of a session: a TCP connection, with TLS or without.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use model::DnsName;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, ServerName},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Watch,
    scratch::{self, Outgoing, Scratch},
    sources::LocalPort,
    tls::{ClientTls, asked, engine::Engine, session::Progress},
};

/// Bytes taken from a socket at once before login. A machine never has to keep more than this beyond its
/// own limits; under TLS, than this and what it completes, a record of 16 KiB.
const BEFORE_LOGIN: usize = 4 * 1024;

/// A TCP connection, with TLS or without. While it is idle it owns no buffer.
pub struct Stream {
    tcp: TcpStream,
    tls: Option<Box<Tls>>,
    /// What the socket has not taken yet, ready for the wire.
    unsent: Option<Box<Unsent>>,
    /// Of a connection that we opened; held, never read: it counts as long as the socket is there.
    _port: Option<LocalPort>,
}

struct Tls {
    session: Engine,
    /// Plain bytes that came together with the handshake's end.
    early: Vec<u8>,
}

struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

/// What came from the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// So many bytes, given to the sink.
    Bytes(usize),
    /// The peer has ended its direction: FIN, and under TLS close_notify before it.
    Closed,
}

impl Stream {
    /// A connection without TLS so far.
    pub fn plain(tcp: TcpStream) -> Self {
        Self { tcp, tls: None, unsent: None, _port: None }
    }

    /// A connection on this machine, such as to a program that we started. What is done with a stream is the
    /// same for all of the kernel's sockets that carry streams.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn local(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let same = std::net::TcpStream::from(OwnedFd::from(socket));
        Ok(Self::plain(TcpStream::from_std(same)?))
    }

    /// A connection that we opened, by a port that is counted as long as it lasts.
    pub(crate) fn from_port(tcp: TcpStream, port: LocalPort) -> Self {
        Self { _port: Some(port), ..Self::plain(tcp) }
    }

    /// Our own end's address.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        let local = self.tcp.local_addr()?;
        Ok(SocketAddr::new(local.ip().to_canonical(), local.port()))
    }

    /// The TLS version in use, as it stands in the log.
    pub fn tls_version(&self) -> Option<&'static str> {
        Some(self.tls.as_ref()?.session.version())
    }

    /// The certificates that the peer has shown in the handshake, or in the one of the session that was
    /// resumed; its own first.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.as_ref()?.session.peer_certificates()
    }

    /// Does the server's side of a TLS handshake; gives back the name that the client asks for.
    ///
    /// # Errors
    /// What the kernel or the TLS library said. An alert has been sent where there was one to send.
    pub async fn accept_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<Option<DnsName>> {
        let session = Engine::server(config)?;
        self.shake_hands(session).await
    }

    /// Does the client's side of a TLS handshake.
    ///
    /// # Errors
    /// What the kernel or the TLS library said, as for a certificate that is not the right one.
    pub async fn connect_tls(
        &mut self,
        tls: &ClientTls,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let session = Engine::client(tls, name)?;
        self.shake_hands(session).await.map(|_| ())
    }

    async fn shake_hands(&mut self, session: Engine) -> io::Result<Option<DnsName>> {
        self.tls = Some(Box::new(Tls { session, early: Vec::new() }));
        let mut progress = scratch::lend(|scratch| self.open(0, scratch))?;
        let mut asked = None;
        while progress == Progress::Handshaking {
            progress = poll_fn(|cx| {
                let (progress, name) = asked::during(|| self.poll_handshake(cx));
                asked = name.or_else(|| asked.take());
                progress
            })
            .await?;
        }
        // What is still unsent (session tickets, a client's last words) goes out before whatever comes
        // next, in the same packet where that is a write.
        Ok(asked)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Progress>> {
        ready!(self.poll_flush(cx))?;
        scratch::lend(|scratch| {
            let progress = ready!(self.poll_open(cx, BEFORE_LOGIN, scratch))?;
            if let Some(tls) = &mut self.tls {
                tls.early.extend_from_slice(&scratch.opened);
            }
            Poll::Ready(Ok(progress))
        })
    }

    /// Receives into `sink`, at most a few thousand bytes at once. For conversations before login.
    ///
    /// # Errors
    /// What the kernel or the TLS library said; `UnexpectedEof` where TLS was cut off without
    /// close_notify.
    pub async fn receive(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Received> {
        self.receive_at_most(BEFORE_LOGIN, sink).await
    }

    /// The same in bulk, at most [`READ`](scratch::READ) bytes at once. For conversations after login in which we
    /// are the client: what a peer may make us keep is their machine's to bound.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn receive_much(&mut self, sink: impl FnMut(&[u8])) -> io::Result<Received> {
        self.receive_at_most(scratch::READ, sink).await
    }

    async fn receive_at_most(
        &mut self,
        limit: usize,
        mut sink: impl FnMut(&[u8]),
    ) -> io::Result<Received> {
        poll_fn(|cx| {
            ready!(self.poll_flush(cx))?;
            scratch::lend(|scratch| {
                let plain = ready!(self.poll_fill(cx, limit, scratch))?;
                let plain = plain.within(&scratch.read, &scratch.opened);
                Poll::Ready(Ok(match plain.len() {
                    0 => Received::Closed,
                    count => {
                        sink(plain);
                        Received::Bytes(count)
                    }
                }))
            })
        })
        .await
    }

    /// Shows `take` what has come, without TLS, and takes as many bytes of it as it says; the rest is left to
    /// whoever receives next. For a PROXY header, behind which another protocol begins.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn receive_some(
        &mut self,
        mut take: impl FnMut(&[u8]) -> usize,
    ) -> io::Result<Received> {
        poll_fn(|cx| {
            scratch::lend(|scratch| {
                let space = scratch.read.get_mut(..BEFORE_LOGIN).unwrap_or_default();
                let mut buffer = ReadBuf::new(space);
                let seen = ready!(self.tcp.poll_peek(cx, &mut buffer))?;
                if seen == 0 {
                    return Poll::Ready(Ok(Received::Closed));
                }
                let count = take(buffer.filled()).min(seen);
                let taken = self.tcp.try_read(space.get_mut(..count).unwrap_or_default())?;
                Poll::Ready(Ok(Received::Bytes(taken)))
            })
        })
        .await
    }

    /// Gives a fresh connection without TLS its only words, as far as the kernel takes them at once. It has
    /// room for a line; whoever has none is not waited for.
    pub fn say_at_once(&self, words: &[u8]) {
        // A client that is gone hears nothing.
        let _ = SockRef::from(&self.tcp).send(words);
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What the kernel or the TLS library said.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut queued = false;
        poll_fn(|cx| {
            if !queued {
                queued = true;
                scratch::lend(|scratch| self.push(cx, bytes, &mut scratch.sealed))?;
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// Ends our direction (what is unsent, close_notify, FIN), then reads what the peer still sends
    /// until it ends too: closing with unread input would reset the connection and eat what we said
    /// last. Gives up after `limit`. The stream is of no use afterwards.
    pub async fn close_and_drain(&mut self, limit: Duration) {
        self.queue_close();
        self.shut_and_drain(limit).await;
    }

    /// The same without close_notify: a peer that speaks TLS can tell that the end was not a clean one.
    pub(crate) async fn cut_off_and_drain(&mut self, limit: Duration) {
        self.shut_and_drain(limit).await;
    }

    async fn shut_and_drain(&mut self, limit: Duration) {
        // The peer may be gone already; whatever happens now, the connection is over.
        let _ = timeout(limit, async {
            poll_fn(|cx| self.poll_shut(cx)).await?;
            self.discard().await
        })
        .await;
    }

    /// Lets the peer wait for so long, unless it ends before or the watcher ends the wait. What it says
    /// meanwhile is for nobody. The stream is of no use afterwards but to be closed.
    pub(crate) async fn hold(&mut self, limit: Duration, watch: &impl Watch) {
        if limit.is_zero() {
            return;
        }
        let left = poll_fn(|cx| {
            let mut gone =
                watch.poll_end(cx).is_ready() || matches!(self.poll_flush(cx), Poll::Ready(Err(_)));
            while !gone {
                gone = !ready!(self.poll_discard(cx)).is_ok_and(|count| count > 0);
            }
            Poll::Ready(())
        });
        // Past the limit it is its turn.
        let _ = timeout(limit, left).await;
    }

    async fn discard(&mut self) -> io::Result<()> {
        while poll_fn(|cx| self.poll_discard(cx)).await? > 0 {}
        Ok(())
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        scratch::lend(|scratch| {
            let mut buffer = ReadBuf::new(&mut scratch.read);
            ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Makes the coming close a reset, so that the peer cannot take a broken stream for a whole one.
    pub fn reset_on_close(&self) {
        // Without it the close is an ordinary one.
        let _ = SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
    }

    /// Adds close_notify to what is unsent.
    pub(crate) fn queue_close(&mut self) {
        scratch::lend(|scratch| self.queue_close_with(&mut scratch.sealed));
    }

    /// The same, with a buffer that the caller has been lent.
    pub(crate) fn queue_close_with(&mut self, sealed: &mut Outgoing) {
        let Some(tls) = &mut self.tls else { return };
        sealed.clear();
        tls.session.close(sealed);
        append(&mut self.unsent, sealed.filled());
    }

    /// Sends what is unsent, then FIN.
    pub(crate) fn poll_shut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        match ready!(Pin::new(&mut self.tcp).poll_shutdown(cx)) {
            // The peer has reset the connection after it was told all: nobody is left to be told of the end.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    /// Forgets what is unsent, after the peer has stopped taking anything.
    pub(crate) fn drop_unsent(&mut self) {
        self.unsent = None;
    }

    /// Whether the socket has not taken all yet.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent.is_some()
    }

    /// Whether it owns no buffer.
    #[cfg(test)]
    pub(crate) fn holds_nothing(&self) -> bool {
        let tls_holds_nothing =
            |tls: &Tls| tls.session.holds_nothing() && tls.early.capacity() == 0;
        self.unsent.is_none() && self.tls.as_deref().is_none_or(tls_holds_nothing)
    }

    /// The error that the connection has come to without anybody reading or writing, as a reset.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.tcp.take_error().ok().flatten()
    }

    /// Whether TLS is in use.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Adds plain bytes to what is unsent, for the beginning of a relay.
    pub(crate) fn queue(&mut self, plain: &[u8]) -> io::Result<()> {
        if plain.is_empty() {
            return Ok(());
        }
        scratch::lend(|Scratch { sealed, .. }| {
            let wire = seal(&mut self.tls, plain, sealed)?;
            append(&mut self.unsent, wire);
            Ok(())
        })
    }

    /// Sends what is unsent. Ready when there is nothing left.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(unsent) = &mut self.unsent {
            let rest = unsent.bytes.get(unsent.sent..).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.tcp).poll_write(cx, rest))?;
            unsent.sent = unsent.sent.saturating_add(count);
            if unsent.sent >= unsent.bytes.len() {
                self.unsent = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends plain bytes; what the socket does not take at once becomes unsent.
    pub(crate) fn push(
        &mut self,
        cx: &mut Context<'_>,
        plain: &[u8],
        sealed: &mut Outgoing,
    ) -> io::Result<()> {
        let mut wire = seal(&mut self.tls, plain, sealed)?;
        while self.unsent.is_none() && !wire.is_empty() {
            match Pin::new(&mut self.tcp).poll_write(cx, wire)? {
                Poll::Ready(count) => wire = wire.get(count..).unwrap_or_default(),
                Poll::Pending => break,
            }
        }
        append(&mut self.unsent, wire);
        Ok(())
    }

    /// Reads and, under TLS, decrypts. Ready with where the plain bytes are; none when the peer has closed.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<Plain>> {
        let Some(tls) = &mut self.tls else {
            return self.poll_read(cx, limit, scratch).map_ok(Plain::Read);
        };
        scratch.opened.clear();
        scratch.opened.append(&mut std::mem::take(&mut tls.early));
        if tls.session.peer_closed() || !scratch.opened.is_empty() {
            return Poll::Ready(Ok(Plain::Opened));
        }
        // Without this, a stream that failed would wait for bytes it can do nothing with.
        tls.session.check()?;
        loop {
            let progress = ready!(self.poll_open(cx, limit, scratch))?;
            if progress == Progress::PeerClosed || !scratch.opened.is_empty() {
                return Poll::Ready(Ok(Plain::Opened));
            }
        }
    }

    /// Reads once and decrypts into `opened`.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<Progress>> {
        let count = ready!(self.poll_read(cx, limit, scratch))?;
        if count == 0 {
            // RFC 8446 section 6.1: without close_notify the end may be an attacker's.
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let progress = self.open(count, scratch);
        if progress.is_err() {
            // The alert, as far as the socket takes it at once.
            let _ = self.poll_flush(cx);
        }
        Poll::Ready(progress)
    }

    /// Reads from the socket into the thread's buffer, behind the beginning of a record that is kept.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
        scratch: &mut Scratch,
    ) -> Poll<io::Result<usize>> {
        let kept = self.tls.as_ref().map_or(0, |tls| tls.session.kept());
        let end = kept.saturating_add(limit).min(scratch.read.len());
        let space = scratch.read.get_mut(kept..end).unwrap_or_default();
        let mut buffer = ReadBuf::new(space);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Decrypts the `count` bytes that [`Self::poll_read`] read into `opened`. What TLS itself has to
    /// say becomes unsent.
    fn open(&mut self, count: usize, scratch: &mut Scratch) -> io::Result<Progress> {
        let Some(tls) = &mut self.tls else { return Ok(Progress::Open) };
        let Scratch { read, sealed, opened } = scratch;
        opened.clear();
        sealed.clear();
        let progress = tls.session.receive(read, count, opened, sealed);
        append(&mut self.unsent, sealed.filled());
        progress
    }
}

/// Where plain bytes lie in the thread's buffers.
#[derive(Clone, Copy)]
pub(crate) enum Plain {
    Opened,
    Read(usize),
}

impl Plain {
    pub(crate) fn within<'s>(self, read: &'s [u8], opened: &'s [u8]) -> &'s [u8] {
        match self {
            Self::Opened => opened,
            Self::Read(count) => read.get(..count).unwrap_or_default(),
        }
    }
}

/// The bytes for the wire: encrypted into `sealed` under TLS, else as they are.
fn seal<'b>(
    tls: &mut Option<Box<Tls>>,
    plain: &'b [u8],
    sealed: &'b mut Outgoing,
) -> io::Result<&'b [u8]> {
    let Some(tls) = tls else { return Ok(plain) };
    sealed.clear();
    tls.session.encrypt(plain, sealed)?;
    Ok(sealed.filled())
}

fn append(unsent: &mut Option<Box<Unsent>>, wire: &[u8]) {
    match unsent {
        _ if wire.is_empty() => {}
        Some(unsent) => unsent.bytes.extend_from_slice(wire),
        None => *unsent = Some(Box::new(Unsent { bytes: wire.to_vec(), sent: 0 })),
    }
}
