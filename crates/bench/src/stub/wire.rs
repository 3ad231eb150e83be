//! Lines in, lines out, and bulk in both directions, with one small buffer per connection.
//! Nothing here knows a protocol.

use std::cell::RefCell;
use std::io;
use std::sync::LazyLock;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What is written of a large message at a time.
const CHUNK: usize = 256 * 1024;
/// Longest line, continued by small literals.
const LONGEST: usize = 16 * 1024;

/// Responses of the kind that a look through a mailbox brings by the thousand, in whole lines.
static ROWS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let row = |number| format!("* {number} FETCH (UID {number} FLAGS (\\Seen))\r\n").into_bytes();
    let mut rows = Vec::with_capacity(CHUNK);
    for row in (1..).map(row) {
        if rows.len() + row.len() > CHUNK {
            break;
        }
        rows.extend(row);
    }
    rows
});

/// Text of a message without end: lines of 64 bytes.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let line = [&[b'x'; 62][..], b"\r\n"].concat();
    line.repeat(CHUNK / line.len())
});

thread_local! {
    /// Bytes are read here first, so that an idle connection holds none.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// A connection to a client of the stub.
pub(super) struct Wire {
    stream: TcpStream,
    /// Bytes that were read and not yet asked for.
    ahead: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// Writes all of `bytes`.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next line without its end; `None` when the client is gone.
    pub(super) async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let rest = self.ahead.split_off(end + 1);
                let line = std::mem::replace(&mut self.ahead, rest);
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            if self.ahead.len() > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
            if self.read_ahead().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads `count` bytes and forgets them.
    pub(super) async fn sink(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        let at_hand = left.min(u64::try_from(self.ahead.len()).unwrap_or(u64::MAX));
        self.ahead.drain(..usize::try_from(at_hand).unwrap_or(usize::MAX));
        left -= at_hand;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK);
            let read = self.read_some(most, |_| ()).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= u64::try_from(read).unwrap_or(left);
        }
        Ok(())
    }

    /// Writes `count` bytes of message text, which end with CRLF.
    pub(super) async fn pour(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            // The end of the text, so that the last line is whole.
            let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let (_, piece) = TEXT.split_at(CHUNK - size);
            self.stream.write_all(piece).await?;
            left -= u64::try_from(size).unwrap_or(left);
        }
        Ok(())
    }

    /// Writes at least `count` bytes of short responses.
    pub(super) async fn pour_rows(&mut self, count: u64) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            self.stream.write_all(&ROWS).await?;
            left = left.saturating_sub(u64::try_from(ROWS.len()).unwrap_or(left));
        }
        Ok(())
    }

    /// Shuts down writing, and waits until the client is gone too.
    pub(super) async fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        while self.read_some(CHUNK, |_| ()).await? > 0 {}
        Ok(())
    }

    async fn read_ahead(&mut self) -> io::Result<usize> {
        let mut ahead = std::mem::take(&mut self.ahead);
        let read = self.read_some(CHUNK, |bytes| ahead.extend_from_slice(bytes)).await;
        self.ahead = ahead;
        read
    }

    async fn read_some(&self, most: usize, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let room = scratch.get_mut(..most.min(CHUNK)).unwrap_or_default();
                let read = self.stream.try_read(room)?;
                take(room.get(..read).unwrap_or_default());
                Ok::<_, io::Error>(read)
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}
