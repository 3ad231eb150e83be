//! Where the parts of unpacked unixODBC lie.
//! Nothing here registers a driver: connection strings name it by its file.

use std::env::consts::ARCH;
use std::ffi::OsString;
use std::path::PathBuf;

use super::{Peer, PeerDir, PeerError, ensure};

/// unixODBC and its drivers.
#[derive(Debug, Clone)]
pub struct Odbc {
    peer: PeerDir,
}

impl Odbc {
    /// Unpacks it unless it is there already.
    ///
    /// # Errors
    /// When it is not there and cannot be fetched.
    pub fn ensure() -> Result<Self, PeerError> {
        Ok(Self { peer: ensure(Peer::Odbc)? })
    }

    /// The folder with `sql.h`, for compilers.
    #[must_use]
    pub fn headers(&self) -> PathBuf {
        self.peer.path("usr/include")
    }

    /// The folder with `libodbc.so`, for linkers.
    #[must_use]
    pub fn libraries(&self) -> PathBuf {
        self.peer.path(&format!("usr/lib/{ARCH}-linux-gnu"))
    }

    /// The value of `LD_LIBRARY_PATH` under which programs find libodbc, and drivers what they need.
    ///
    /// # Errors
    /// When the target folder's path holds a colon.
    pub fn library_path(&self) -> Result<OsString, PeerError> {
        self.peer.library_path()
    }

    /// PostgreSQL's driver, for `DRIVER=` in a connection string.
    #[must_use]
    pub fn postgres_driver(&self) -> PathBuf {
        self.libraries().join("odbc/psqlodbcw.so")
    }

    /// SQLite's driver, for `DRIVER=` in a connection string.
    #[must_use]
    pub fn sqlite_driver(&self) -> PathBuf {
        self.libraries().join("odbc/libsqlite3odbc.so")
    }

    /// Its command line client, `isql`.
    #[must_use]
    pub fn isql(&self) -> PathBuf {
        self.peer.path("usr/bin/isql")
    }
}
