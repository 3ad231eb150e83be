//! A blocking connection, clear or TLS, read line by line under a deadline.
//! Nothing here knows a mail protocol.

mod tls;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use socket2::SockRef;

pub use tls::{TlsError, Trust, server_config};

/// How long one read or write waits, unless told otherwise.
pub const STEP_DEADLINE: Duration = Duration::from_secs(5);
/// Longest line accepted, in bytes, so that a broken peer fails fast.
const LONGEST_LINE: usize = 64 << 20;

/// A TCP stream whose first bytes may have been read already.
#[derive(Debug)]
struct Socket {
    ahead: Vec<u8>,
    tcp: TcpStream,
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ahead.is_empty() {
            return self.tcp.read(into);
        }
        let count = self.ahead.as_slice().read(into)?;
        self.ahead.drain(..count);
        Ok(count)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

#[derive(Debug)]
enum Stream {
    Clear(Socket),
    Client(Box<StreamOwned<ClientConnection, Socket>>),
    Server(Box<StreamOwned<ServerConnection, Socket>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(socket) => &socket.tcp,
            Self::Client(tls) => &tls.sock.tcp,
            Self::Server(tls) => &tls.sock.tcp,
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => socket.read(into),
            Self::Client(tls) => tls.read(into),
            Self::Server(tls) => tls.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Clear(socket) => socket.write_all(bytes),
            Self::Client(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            Self::Server(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

/// A connection with a read buffer.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    deadline: Duration,
}

impl Wire {
    /// Connects within [`STEP_DEADLINE`].
    ///
    /// # Errors
    /// What the kernel says, with the address.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, STEP_DEADLINE) {
                Ok(tcp) => return Self::over(tcp),
                Err(error) => {
                    last =
                        io::Error::new(error.kind(), format!("connecting to {address}: {error}"));
                }
            }
        }
        Err(last)
    }

    /// Wraps a connected socket.
    ///
    /// # Errors
    /// When the socket is dead already.
    pub fn over(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(STEP_DEADLINE))?;
        let stream = Stream::Clear(Socket { ahead: Vec::new(), tcp });
        Ok(Self { stream, buffer: Vec::new(), deadline: STEP_DEADLINE })
    }

    /// Sets how long each later read waits.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// The socket below, for its addresses and options.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }

    /// Hands all of `bytes` to the kernel.
    ///
    /// # Errors
    /// When the peer is gone or does not read for [`STEP_DEADLINE`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads once into the buffer; false at the end of the stream.
    fn fill(&mut self, end: Instant) -> io::Result<bool> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.timed_out());
        }
        self.stream.tcp().set_read_timeout(Some(left))?;
        let mut room = vec![0; 16 << 10];
        let count = match self.stream.read(&mut room) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(self.timed_out());
            }
            // A peer that closes without TLS close_notify has closed all the same.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        room.truncate(count);
        self.buffer.append(&mut room);
        Ok(count > 0)
    }

    fn timed_out(&self) -> io::Error {
        let got = String::from_utf8_lossy(&self.buffer).into_owned();
        io::Error::new(
            ErrorKind::TimedOut,
            format!("nothing more within {:?}; so far {got:?}", self.deadline),
        )
    }

    /// One line with its line end; `None` when the peer has closed before any byte of it.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` for half a line; what the kernel says.
    pub fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let end = Instant::now() + self.deadline;
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer.iter().skip(searched).position(|byte| *byte == b'\n') {
                return Ok(Some(self.buffer.drain(..=searched + at).collect()));
            }
            searched = self.buffer.len();
            if searched > LONGEST_LINE {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line without end"));
            }
            if !self.fill(end)? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(self.cut_short()) };
            }
        }
    }

    fn cut_short(&self) -> io::Error {
        let got = String::from_utf8_lossy(&self.buffer).into_owned();
        io::Error::new(ErrorKind::UnexpectedEof, format!("the peer closed after {got:?}"))
    }

    /// Exactly `count` bytes.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` when the peer closes earlier; what the kernel says.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let end = Instant::now() + self.deadline;
        while self.buffer.len() < count {
            if !self.fill(end)? {
                return Err(self.cut_short());
            }
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// What has come, as soon as anything has; nothing when the peer has closed.
    ///
    /// # Errors
    /// `TimedOut`; what the kernel says.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        let end = Instant::now() + self.deadline;
        while self.buffer.is_empty() && self.fill(end)? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// All bytes until the peer closes.
    ///
    /// # Errors
    /// `TimedOut`; what the kernel says, `ConnectionReset` included.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let end = Instant::now() + self.deadline;
        while self.fill(end)? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Says that nothing more will be sent, and goes on reading.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn close_sending(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Clear(_) => {}
            Stream::Client(tls) => {
                tls.conn.send_close_notify();
                tls.flush()?;
            }
            Stream::Server(tls) => {
                tls.conn.send_close_notify();
                tls.flush()?;
            }
        }
        self.tcp().shutdown(Shutdown::Write)
    }

    /// Closes with a TCP reset instead of a polite end.
    ///
    /// # Errors
    /// When the socket option is refused.
    pub fn reset(self) -> io::Result<()> {
        SockRef::from(self.tcp()).set_linger(Some(Duration::ZERO))
    }

    fn into_socket(self) -> io::Result<Socket> {
        match self.stream {
            Stream::Clear(socket) => Ok(Socket { ahead: self.buffer, ..socket }),
            Stream::Client(_) | Stream::Server(_) => {
                Err(io::Error::new(ErrorKind::InvalidInput, "the connection is under TLS already"))
            }
        }
    }
}
