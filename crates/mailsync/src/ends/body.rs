//! Whole messages on their way: in memory while they are small, else in a file that has no name.
//!
//! Nothing here looks into a message, but at its header for the fingerprint.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Fault, FaultKind};
use crate::{BodyHash, Fingerprint, Fingerprinter, Uid, identity::BodyHasher};

/// A whole message. The memory it takes is given back when it is dropped.
#[derive(Debug)]
pub struct Body {
    /// Its number where it comes from.
    pub uid: Uid,
    /// Its bytes.
    pub content: Content,
    /// How many bytes there are.
    pub length: u64,
    /// What they are.
    pub hash: BodyHash,
    /// What its header says.
    pub fingerprint: Fingerprint,
    /// Whether there is a NUL in it, which RFC 3501 lets into no literal.
    pub has_nul: bool,
    /// Held, never read.
    _room: Option<OwnedSemaphorePermit>,
}

/// Where a message's bytes are.
#[derive(Debug)]
pub enum Content {
    /// In a file without a name, from its beginning.
    File(File),
    /// In memory.
    Memory(Vec<u8>),
}

impl Content {
    /// A reader at the message's beginning. It blocks on a local disk for what lies in a file.
    ///
    /// # Errors
    /// Those of the file.
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        match self {
            Self::Memory(bytes) => Ok(Box::new(bytes.as_slice())),
            Self::File(file) => {
                let mut file = file;
                file.seek(SeekFrom::Start(0))?;
                Ok(Box::new(file))
            }
        }
    }
}

/// Takes messages in from an end and hands them on, as far as there is room.
#[derive(Debug)]
pub struct Bodies {
    out: mpsc::Sender<Body>,
    room: Room,
}

/// Memory that messages on their way share.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    bytes: Arc<Semaphore>,
    spill_above: u32,
    folder: PathBuf,
}

/// How many messages may lie ready. Small ones are held back by their number, large ones by their bytes.
const READY: usize = 1024;

/// What each message costs besides its bytes.
const OVERHEAD: u32 = 512;

impl Room {
    /// Room for so many bytes, and for a batch of small messages in any case. A message of more than a fourth
    /// goes to a file in `folder`.
    pub(crate) fn new(bytes: u32, folder: &Path) -> Self {
        let bytes = bytes.max(1024 * 1024);
        let spill_above = bytes / 4;
        let permits = usize::try_from(bytes).unwrap_or(Semaphore::MAX_PERMITS);
        Self { bytes: Arc::new(Semaphore::new(permits)), spill_above, folder: folder.to_owned() }
    }
}

impl Bodies {
    /// A way for messages, and where they come out.
    pub(crate) fn new(room: Room) -> (Self, mpsc::Receiver<Body>) {
        let (out, ready) = mpsc::channel(READY);
        (Self { out, room }, ready)
    }

    /// Begins a message of `announced` bytes. Waits until there is room for it.
    ///
    /// # Errors
    /// [`FaultKind::Disk`] if a file for it cannot be made.
    pub async fn begin(&mut self, uid: Uid, announced: u64) -> Result<Incoming, Fault> {
        let in_memory = u32::try_from(announced).ok().filter(|size| *size <= self.room.spill_above);
        let wanted = in_memory.unwrap_or(0).saturating_add(OVERHEAD);
        let room = self.room.bytes.clone().acquire_many_owned(wanted).await.ok();
        let content = match in_memory {
            Some(size) => Content::Memory(Vec::with_capacity(usize::try_from(size).unwrap_or(0))),
            None => Content::File(nameless_file(&self.room.folder).map_err(disk)?),
        };
        Ok(Incoming {
            uid,
            announced,
            content,
            length: 0,
            hash: BodyHasher::default(),
            fingerprint: Fingerprinter::default(),
            has_nul: false,
            room,
        })
    }

    /// Hands a message on. One that is shorter or longer than was announced is a broken stream.
    ///
    /// # Errors
    /// [`FaultKind::Lost`] if the message is not whole, or nobody waits for it any more.
    pub async fn finish(&mut self, incoming: Incoming) -> Result<(), Fault> {
        if incoming.length != incoming.announced {
            let Incoming { announced, length, .. } = incoming;
            return Err(Fault::lost(format!("a message of {announced} bytes came with {length}")));
        }
        let body = incoming.whole();
        let nobody = |_| Fault::lost("nobody waits for the messages any more");
        self.out.send(body).await.map_err(nobody)
    }

    /// Hands on a message that is in memory already.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::finish`].
    pub async fn give(&mut self, uid: Uid, bytes: &[u8]) -> Result<(), Fault> {
        let announced = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut incoming = self.begin(uid, announced).await?;
        incoming.take(bytes)?;
        self.finish(incoming).await
    }
}

/// A message that is coming in.
#[derive(Debug)]
pub struct Incoming {
    uid: Uid,
    announced: u64,
    content: Content,
    length: u64,
    hash: BodyHasher,
    fingerprint: Fingerprinter,
    has_nul: bool,
    room: Option<OwnedSemaphorePermit>,
}

impl Incoming {
    /// Takes more of its bytes.
    ///
    /// # Errors
    /// [`FaultKind::Disk`] if they cannot be written, [`FaultKind::Lost`] if they are more than announced.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(count);
        if self.length > self.announced {
            return Err(Fault::lost("a message came with more bytes than were announced"));
        }
        self.hash.take(bytes);
        self.fingerprint.take(bytes);
        self.has_nul |= memchr::memchr(0, bytes).is_some();
        match &mut self.content {
            Content::Memory(memory) => memory.extend_from_slice(bytes),
            Content::File(file) => file.write_all(bytes).map_err(disk)?,
        }
        Ok(())
    }

    /// The same, now that its number is known: some ends tell it behind the message.
    pub(super) fn named(self, uid: Uid) -> Self {
        Self { uid, ..self }
    }

    fn whole(self) -> Body {
        Body {
            uid: self.uid,
            content: self.content,
            length: self.length,
            hash: self.hash.finish(),
            fingerprint: self.fingerprint.finish(),
            has_nul: self.has_nul,
            _room: self.room,
        }
    }
}

/// A file that is gone as soon as nobody has it open, so that a crash leaves nothing behind.
fn nameless_file(folder: &Path) -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".message-{}-{count}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn disk(error: io::Error) -> Fault {
    Fault::new(FaultKind::Disk, format!("a large message cannot be kept on disk: {error}"))
}
