//! One IMAP client on a blocking socket, clear or TLS.
//! Nothing here interprets a response beyond its tag and its literal.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::Target;

/// A proxy that says nothing for so long has hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connected client that has read the greeting.
pub(crate) struct Client {
    wire: Wire,
    line: Vec<u8>,
}

impl Client {
    /// Connects, makes the TLS handshake, and reads the greeting. `room` bytes are read at a time.
    ///
    /// # Errors
    /// When the proxy is not there, or does not greet.
    pub(crate) fn connect(target: &Target, room: usize) -> Result<Self> {
        let stream = connect(target.address)?;
        let wire = match &target.tls {
            None => Wire::Clear(BufReader::with_capacity(room, stream)),
            Some(config) => Wire::tls(Arc::clone(config), stream, room)?,
        };
        let mut client = Self { wire, line: Vec::new() };
        client.read_line().context("no greeting")?;
        ensure!(client.line.starts_with(b"* OK"), "greeting is {}", client.shown());
        Ok(client)
    }

    /// Logs in as user number `number`.
    ///
    /// # Errors
    /// When the answer is not OK.
    pub(crate) fn log_in(&mut self, number: u32) -> Result<()> {
        let name = super::user(number);
        self.command(&format!("l LOGIN {name} secret\r\n"), "l")
    }

    /// Says LOGOUT and reads to the end.
    ///
    /// # Errors
    /// When the end does not come.
    pub(crate) fn log_out(mut self) -> Result<()> {
        self.command("z LOGOUT\r\n", "z")?;
        match self.read_line() {
            Ok(0) => Ok(()),
            Ok(_) => bail!("after LOGOUT came {}", self.shown()),
            // Some peers close without close_notify.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error).context("no end after LOGOUT"),
        }
    }

    /// Sends `line` and reads to the answer tagged `tag`.
    ///
    /// # Errors
    /// When that is not OK.
    pub(crate) fn command(&mut self, line: &str, tag: &str) -> Result<()> {
        self.send(line.as_bytes())?;
        self.finish(tag)
    }

    /// Reads to the answer tagged `tag`.
    ///
    /// # Errors
    /// When that is not OK.
    pub(crate) fn finish(&mut self, tag: &str) -> Result<()> {
        loop {
            ensure!(self.read_line()? > 0, "connection closed before {tag} was answered");
            if let Some(answer) = self.line.strip_prefix(tag.as_bytes())
                && let Some(answer) = answer.strip_prefix(b" ")
            {
                ensure!(answer.starts_with(b"OK"), "answer is {}", self.shown());
                return Ok(());
            }
        }
    }

    /// Sends `line` and reads to the answer tagged `tag`, in blocks: for answers of many lines, none of
    /// which may hold what looks like that answer. Returns the number of bytes read.
    ///
    /// # Errors
    /// When that is not OK.
    pub(crate) fn exchange(&mut self, line: &[u8], tag: &str) -> Result<u64> {
        self.send(line)?;
        let end = format!("\n{tag} OK done\r\n");
        // The end of what was read, as long as the answer's last line.
        let (mut count, mut last) = (0, Vec::new());
        loop {
            let block = self.wire.reader().fill_buf().context("answer broken off")?;
            ensure!(!block.is_empty(), "connection closed before {tag} was answered");
            let taken = block.len();
            last.extend_from_slice(block.get(taken.saturating_sub(end.len())..).unwrap_or(block));
            last.drain(..last.len().saturating_sub(end.len()));
            self.wire.reader().consume(taken);
            count += u64::try_from(taken)?;
            if last == end.as_bytes() {
                return Ok(count);
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// When the proxy does not take them.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let write = match &mut self.wire {
            Wire::Clear(stream) => stream.get_mut().write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        write.context("the proxy does not take what is sent")
    }

    /// Reads a line that announces a literal, and the literal; returns its size in bytes.
    ///
    /// # Errors
    /// When another line comes.
    pub(crate) fn skip_literal(&mut self) -> Result<u64> {
        ensure!(self.read_line()? > 0, "connection closed instead of a literal");
        let shown = self.shown();
        let number = shown.trim_end().strip_suffix('}').and_then(|line| line.rsplit_once('{'));
        let Some(size) = number.and_then(|(_, size)| size.parse::<u64>().ok()) else {
            bail!("no literal in {shown}");
        };
        let mut left = size;
        while left > 0 {
            let at_hand = self.wire.reader().fill_buf().context("literal broken off")?.len();
            ensure!(at_hand > 0, "connection closed inside a literal");
            let taken = at_hand.min(usize::try_from(left).unwrap_or(at_hand));
            self.wire.reader().consume(taken);
            left -= u64::try_from(taken)?;
        }
        Ok(size)
    }

    fn read_line(&mut self) -> io::Result<usize> {
        self.line.clear();
        self.wire.reader().read_until(b'\n', &mut self.line)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.line).into_owned()
    }
}

enum Wire {
    Clear(BufReader<TcpStream>),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Wire {
    fn tls(config: Arc<ClientConfig>, stream: TcpStream, room: usize) -> Result<Self> {
        let name = ServerName::try_from("localhost").context("server name")?;
        let session = ClientConnection::new(config, name)?;
        let socket = Socket { reader: BufReader::with_capacity(room, stream) };
        Ok(Self::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    fn reader(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => stream.as_mut(),
        }
    }
}

/// A socket under TLS: rustls reads 4 KiB at a time, which would make the client slower than the proxies.
struct Socket {
    reader: BufReader<TcpStream>,
}

impl Read for Socket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.reader.read(room)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reader.get_mut().write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.reader.get_mut().write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.reader.get_mut().flush()
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
