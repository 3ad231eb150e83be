//! Other people's servers and tools, unpacked from Debian packages into `peers/NAME` below the cargo target folder.
//! Nothing here installs a package, starts a service or needs root.

mod apt;
pub mod odbc;
mod recipes;
mod unpack;

use std::collections::HashMap;
use std::env::consts::ARCH;
use std::env::join_paths;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::workspace;

/// Where packages keep shared libraries that only their own programs use.
const PRIVATE_LIBRARIES: [&str; 2] = ["usr/lib/dovecot", "usr/lib/dovecot/modules/old-stats"];

/// A peer that can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Dovecot 2.3: IMAP, POP3, LMTP.
    Dovecot,
    /// Cyrus IMAP 3.6: IMAP, POP3, and Cyrus SASL's tools.
    Cyrus,
    /// TinyCDB 0.78, whose program is `cdb`.
    Tinycdb,
    /// nginx with the mail and stream modules.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// isync, whose program is `mbsync`.
    Isync,
    /// OpenLDAP 2.5: slapd and its command line clients.
    Slapd,
    /// PostgreSQL 15, server and `psql`.
    Postgres,
    /// MariaDB 10.11, server and client.
    Mariadb,
    /// unixODBC with headers, and drivers for PostgreSQL and SQLite.
    Odbc,
    /// mutt 2.2.
    Mutt,
    /// fetchmail 6.4.
    Fetchmail,
    /// offlineimap3, run by the host's Python.
    Offlineimap,
    /// Python's `imapclient`, fetched with the host's pip.
    PythonImapclient,
    /// Perl's `Mail::IMAPClient` with TLS, run by the host's Perl.
    PerlImapclient,
    /// Node's `imapflow`, fetched with the host's npm and run by its node.
    Imapflow,
}

/// Where a peer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Debian packages, unpacked with dpkg.
    Debian,
    /// Python packages, put where `PYTHONPATH` may point to.
    Pip,
    /// Node packages, below `node_modules`.
    Npm,
}

/// What a peer is made of.
struct Recipe {
    name: &'static str,
    origin: Origin,
    /// Always fetched, even when the host has them installed.
    packages: &'static [&'static str],
    /// Dependencies that the programs run without.
    left_out: &'static [&'static str],
    /// What must run afterwards, relative to the root.
    programs: &'static [&'static str],
    /// Absolute paths compiled into a file that no setting overrides, and the shorter ones put in their place.
    repointed: &'static [Repointed],
}

/// A path inside a binary file: servers look there relative to the folder they run in.
struct Repointed {
    file: &'static str,
    compiled_in: &'static str,
    instead: &'static str,
}

impl Peer {
    /// All peers.
    pub const ALL: [Self; 16] = [
        Self::Dovecot,
        Self::Cyrus,
        Self::Tinycdb,
        Self::Nginx,
        Self::Haproxy,
        Self::Isync,
        Self::Slapd,
        Self::Postgres,
        Self::Mariadb,
        Self::Odbc,
        Self::Mutt,
        Self::Fetchmail,
        Self::Offlineimap,
        Self::PythonImapclient,
        Self::PerlImapclient,
        Self::Imapflow,
    ];

    /// The name of its folder, and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.recipe().name
    }

    /// The peer called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    fn recipe(self) -> &'static Recipe {
        recipes::of(self)
    }
}

/// An unpacked peer.
#[derive(Debug, Clone)]
pub struct PeerDir {
    root: PathBuf,
}

impl PeerDir {
    /// The folder that stands for `/` of the packages.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the packages: `path("usr/sbin/dovecot")`.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The value of `LD_LIBRARY_PATH` under which its programs run.
    ///
    /// # Errors
    /// When the target folder's path holds a colon.
    pub fn library_path(&self) -> Result<OsString, PeerError> {
        let triplet = format!("{ARCH}-linux-gnu");
        let folders = ["usr/lib", "lib"]
            .iter()
            .flat_map(|lib| [self.root.join(lib).join(&triplet), self.root.join(lib)])
            .chain(PRIVATE_LIBRARIES.iter().map(|folder| self.root.join(folder)))
            .filter(|folder| folder.is_dir());
        join_paths(folders).map_err(|_| PeerError::ColonInPath(self.root.clone()))
    }

    /// A command that runs one of its programs: `command("usr/bin/mbsync")`.
    ///
    /// # Errors
    /// When the target folder's path holds a colon.
    pub fn command(&self, program: &str) -> Result<Command, PeerError> {
        let mut command = Command::new(self.path(program));
        command.env("LD_LIBRARY_PATH", self.library_path()?);
        Ok(command)
    }
}

/// Why a peer is not there. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// A program of the host is missing.
    #[error(
        "cannot run `{program}` ({source}); other people's programs are unpacked from Debian packages, which needs Debian 12 with apt and dpkg, and for some mail clients python3 with pip, perl, node and npm"
    )]
    NoProgram {
        /// Its name.
        program: String,
        /// Why it did not start.
        source: io::Error,
    },
    /// apt, dpkg, pip or npm ended with an error.
    #[error(
        "{what} failed for {peer}: {said}\ncheck the network and the host's settings (sources in /etc/apt, of pip, of npm), then try again"
    )]
    Tool {
        /// The peer that was being unpacked.
        peer: &'static str,
        /// The step.
        what: &'static str,
        /// Its standard error.
        said: String,
    },
    /// A program lacks shared libraries.
    #[error("{program} misses shared libraries: {missing}; its packages in {folder} do not fit this host (made for Debian 12)", program = program.display(), folder = folder.display())]
    Libraries {
        /// The program.
        program: PathBuf,
        /// The libraries not found, in words of `ldd`.
        missing: String,
        /// The peer's root.
        folder: PathBuf,
    },
    /// A program is not built as expected.
    #[error("{path} does not hold the path {expected} once; these are not the packages of Debian 12", path = path.display())]
    OtherBuild {
        /// The file.
        path: PathBuf,
        /// The path that should be compiled into it.
        expected: &'static str,
    },
    /// The file system said no.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// `LD_LIBRARY_PATH` cannot express the folder.
    #[error("the path {path} holds a colon, which no library path may; set CARGO_TARGET_DIR to another folder", path = .0.display())]
    ColonInPath(PathBuf),
}

/// Unpacks `peer` unless it is there already, and says where it is. Safe to call from many threads and processes at once.
///
/// # Errors
/// When it is not there and cannot be fetched.
pub fn ensure(peer: Peer) -> Result<PeerDir, PeerError> {
    static READY: LazyLock<Mutex<HashMap<Peer, PeerDir>>> = LazyLock::new(Mutex::default);
    let known = || READY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(dir) = known().get(&peer) {
        return Ok(dir.clone());
    }
    let dir = unpack::ensure_below(&workspace::target_folder().join("peers"), peer.recipe())?;
    known().insert(peer, dir.clone());
    Ok(dir)
}
