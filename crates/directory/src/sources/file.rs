//! The source `file`: a text map or a TOML file, held in memory and read again when it changes.
//!
//! Nothing here asks back ends.

mod read;

use std::{path::PathBuf, time::Duration};

use model::CanonicalUser;

use super::{Found, held::Held};

pub(crate) use self::read::Reader;
pub use self::read::{FileProblem, Problems};

/// Settings of the source `file`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileSettings {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: FileFormat,
    /// How often to look whether it has changed, at most. A change is taken over once the file has
    /// been still for as long, so that a half-written one is not.
    pub check_every: Duration,
}

impl FileSettings {
    /// Settings for a file whose format follows from its name: TOML if it ends in `.toml`, else a
    /// text map. It is looked at once a second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let is_toml = path.extension().is_some_and(|ending| ending == "toml");
        Self {
            path,
            format: if is_toml { FileFormat::Toml } else { FileFormat::Map },
            check_every: Duration::from_secs(1),
        }
    }
}

/// How a file of users is written. Names are read as if a client had typed them: the name rules are
/// applied to them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileFormat {
    /// One `user: [user@]host[:port]` or `user: backend` to a line, as Perdition's text maps.
    Map,
    /// `[users]` with `"name" = "ANSWER"` or
    /// `"name" = { backend = "ANSWER", user = "there", password = "there" }`.
    Toml,
}

#[derive(Debug)]
pub(crate) struct File(Held<Reader>);

impl File {
    /// Reads the file for the first time.
    pub(crate) fn open(reader: Reader) -> Result<Self, FileProblem> {
        let every = reader.settings.check_every;
        Ok(Self(Held::open(reader, every)?))
    }

    pub(super) async fn find(&self, user: &CanonicalUser) -> Option<Found> {
        self.0.content().await.get(user).cloned()
    }
}
