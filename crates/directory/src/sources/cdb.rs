//! The source `cdb`: a constant database, asked where it lies and opened again when it is replaced.
//!
//! Nothing here applies the name rules to what is in it: a key is found if its bytes are those that are asked
//! for.

mod database;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CannotSay, Found,
    held::{Held, Reread},
};
use crate::{Answer, FileProblem};

use self::database::{Database, Failure};

/// Settings of the source `cdb`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CdbSettings {
    /// The file.
    pub path: PathBuf,
    /// How often to look whether it has been replaced, at most.
    pub check_every: Duration,
}

impl CdbSettings {
    /// Settings for a file that is looked at once a second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), check_every: Duration::from_secs(1) }
    }
}

#[derive(Debug)]
pub(crate) struct Cdb(Held<Opener>);

impl Cdb {
    /// Opens the database for the first time.
    pub(crate) fn open(settings: &CdbSettings) -> Result<Self, FileProblem> {
        let opener = Opener(settings.path.clone());
        Ok(Self(Held::open(opener, settings.check_every)?))
    }

    pub(super) async fn find(&self, key: &str) -> Result<Option<Found>, CannotSay> {
        let database = self.0.content().await;
        let value = database.find(key.as_bytes());
        let shown = self.0.path().display();
        let value = value.map_err(|failure| match failure {
            Failure::Damaged(what) => CannotSay::misconfigured(format_args!("`{shown}` {what}")),
            Failure::Replaced => CannotSay::unavailable(format_args!(
                "`{shown}` was written to in its place: write beside it and rename"
            )),
            Failure::Unreadable(error) => {
                CannotSay::unavailable(format_args!("`{shown}` cannot be read: {error}"))
            }
        })?;
        let Some(value) = value else { return Ok(None) };
        match answer(&value) {
            Ok(answer) => Ok(Some(answer.into())),
            Err(what) => Err(CannotSay::misconfigured(format_args!(
                "`{shown}`: the value of `{}` cannot be used: {what}",
                key.escape_debug()
            ))),
        }
    }
}

/// The answer in a value.
fn answer(value: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(value).map_err(|_| "it is not UTF-8".to_owned())?;
    text.trim().parse().map_err(|error: crate::InvalidAnswer| error.to_string())
}

/// Opens the database anew.
#[derive(Debug)]
struct Opener(PathBuf);

impl Reread for Opener {
    type Content = Database;
    type Problem = FileProblem;
    const ENTRIES: &'static str = "keys";

    fn path(&self) -> &Path {
        &self.0
    }

    fn read(&self) -> Result<Database, FileProblem> {
        let path = self.0.clone();
        Database::open(&self.0).map_err(|failure| match failure {
            Failure::Damaged(what) => FileProblem::Damaged { path, what: what.to_owned() },
            Failure::Replaced => {
                FileProblem::Damaged { path, what: "is being written to".to_owned() }
            }
            Failure::Unreadable(source) => FileProblem::Unreadable { path, source },
        })
    }

    fn count(database: &Database) -> u64 {
        database.keys()
    }
}
