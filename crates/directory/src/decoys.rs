//! What SCRAM shows for names that nobody has, under a key that is kept in the state folder.
//!
//! Nothing here knows who exists.

use std::{
    fs,
    io::{self, Read, Write},
    num::NonZeroU32,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use aws_lc_rs::rand;
use model::{CanonicalUser, UserName};
use proto::sasl::scram::{self, KEY_BYTES, Verifier};
use zeroize::Zeroizing;

/// The name of the key within the state folder.
const FILE: &str = "scram-decoys.key";

/// The key in the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DecoyKeyError {
    /// The file cannot be read or made.
    #[error("`{path}` cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no key.
    #[error("`{0}` is no key of 32 bytes: remove it, and another is made")]
    NoKey(PathBuf),
}

/// Makes decoys that are the same for a name after a restart.
#[derive(Debug)]
pub(crate) struct Decoys {
    decoys: scram::Decoys,
    iterations: NonZeroU32,
    told: AtomicBool,
}

impl Decoys {
    /// Reads the key; makes it if there is none. It blocks on the disk.
    pub(crate) fn open(state: &Path, iterations: NonZeroU32) -> Result<Self, DecoyKeyError> {
        let key = key(&state.join(FILE))?;
        let decoys = scram::Decoys::new(*key, iterations);
        Ok(Self { decoys, iterations, told: AtomicBool::new(false) })
    }

    /// What is shown for a name.
    pub(crate) fn of(&self, name: &UserName) -> Verifier {
        self.decoys.verifier(&CanonicalUser::declare(name.clone()))
    }

    /// Tells the operator, once, if a real verifier can be told from decoys.
    pub(crate) fn compare(&self, real: &Verifier) {
        let (real, decoy) = (real.iterations(), self.iterations.get());
        if real != decoy && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a user's SCRAM verifier has {real} iterations, and names that nobody has are shown {decoy}: \
                 whoever asks can tell them apart; set scram_iterations in [passwords] to what most users have"
            );
        }
    }
}

fn key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, DecoyKeyError> {
    let failed = |source| DecoyKeyError::File { path: path.to_owned(), source };
    match read(path) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(DecoyKeyError::NoKey(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// None if it has another length.
fn read(path: &Path) -> io::Result<Option<Zeroizing<[u8; KEY_BYTES]>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    fs::File::open(path)?.take(64).read_to_end(&mut bytes)?;
    Ok(bytes.as_slice().try_into().ok().map(Zeroizing::new))
}

/// Whole or not at all: with another key the decoys of the next start would be others.
fn make(path: &Path) -> io::Result<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    rand::fill(&mut *key).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    if let Some(state) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    }
    let new = path.with_extension("new");
    // What a start that died has left.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&*key)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn shown(folder: &Path, name: &str) -> Vec<u8> {
        let decoys = Decoys::open(folder, NonZeroU32::new(4096).unwrap()).unwrap();
        decoys.of(&UserName::new(name).unwrap()).salt().to_vec()
    }

    #[test]
    fn a_decoy_is_the_same_after_a_restart_and_another_elsewhere() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = shown(here.path(), "nobody");
        assert_eq!(shown(here.path(), "nobody"), first);
        assert_ne!(shown(there.path(), "nobody"), first);
        let mode = fs::metadata(here.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_is_damaged_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for bytes in [&[1; 31][..], &[1; 33], &[]] {
            fs::write(&path, bytes).unwrap();
            let opened = Decoys::open(folder.path(), NonZeroU32::MIN);
            assert!(matches!(opened, Err(DecoyKeyError::NoKey(_))));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn what_a_dead_start_has_left_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scram-decoys.new"), "half").unwrap();
        assert_eq!(shown(folder.path(), "x"), shown(folder.path(), "x"));
    }
}
