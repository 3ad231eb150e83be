//! One reading connection per thread, so that a look-up needs no lock and no other thread.
//!
//! Nothing here writes.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::StoreError;

/// How long a look-up waits for another process, such as one that recovers the file after a crash.
/// It is short, for meanwhile the whole thread waits.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often a thread looks whether the file is still the one it has open.
const CHECK_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static OPEN: RefCell<Vec<Reader>> = const { RefCell::new(Vec::new()) };
}

/// A thread's connection to one database.
struct Reader {
    database: Weak<Database>,
    connection: Connection,
    checked_at: Instant,
}

/// Which file it is: its name, and what its name stood for when it was opened.
#[derive(Debug)]
struct Database {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The connections of all threads to one database. They are closed when their thread ends, or opens
/// another database after this value is gone.
#[derive(Debug)]
pub(super) struct Readers(Arc<Database>);

impl Readers {
    /// Prepares to read a file that exists.
    pub(super) fn new(path: PathBuf) -> Result<Self, StoreError> {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(source) => return Err(StoreError::File { path, source }),
        };
        Ok(Self(Arc::new(Database { path, device: metadata.dev(), inode: metadata.ino() })))
    }

    /// Fails if the file was exchanged: its locks and its log would be another file's.
    pub(super) fn check_file(&self) -> Result<(), StoreError> {
        let same = |metadata: fs::Metadata| {
            metadata.dev() == self.0.device && metadata.ino() == self.0.inode
        };
        if fs::metadata(&self.0.path).is_ok_and(same) {
            Ok(())
        } else {
            Err(StoreError::Replaced(self.0.path.clone()))
        }
    }

    /// Reads by this thread's connection.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut reader = match self.take() {
            Some(reader) => reader,
            None => self.open()?,
        };
        if reader.checked_at.elapsed() >= CHECK_EVERY {
            self.check_file()?;
            reader.checked_at = Instant::now();
        }
        let result = read(&reader.connection);
        // After a failure the next one starts afresh.
        if !matches!(result, Err(StoreError::Database(_))) {
            OPEN.with_borrow_mut(|open| open.push(reader));
        }
        result
    }

    fn take(&self) -> Option<Reader> {
        OPEN.with_borrow_mut(|open| {
            let ours = |reader: &Reader| std::ptr::eq(reader.database.as_ptr(), &*self.0);
            let position = open.iter().position(ours)?;
            Some(open.swap_remove(position))
        })
    }

    fn open(&self) -> Result<Reader, StoreError> {
        OPEN.with_borrow_mut(|open| open.retain(|reader| reader.database.strong_count() > 0));
        self.check_file()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.0.path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        // 4 MiB of pages: the upper levels of the tree of ten million users. No mmap: a file that
        // another program cuts short would end this one by a signal.
        connection.execute_batch(
            "PRAGMA cache_size = -4096; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;",
        )?;
        Ok(Reader { database: Arc::downgrade(&self.0), connection, checked_at: Instant::now() })
    }
}
