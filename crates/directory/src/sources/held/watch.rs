//! Tells when a file has changed and come to rest.
//!
//! Nothing here reads what is in the file.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// What a file's name stands for, as far as that can be seen without reading it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stamp {
    Gone,
    There { device: u64, inode: u64, length: u64, modified: (i64, i64), changed: (i64, i64) },
}

/// What a look at the file showed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// It is another than before and at rest.
    Changed,
    /// It is gone; said once.
    Gone,
    /// It is as before, or still being written.
    Same,
}

/// Compares a file with what it was.
#[derive(Debug)]
pub(super) struct Watch {
    /// How long a file has to be still to be at rest.
    rest: Duration,
    /// The file as it was read, or refused.
    taken: Option<Stamp>,
    /// The file as it was at the last look, where that was not at rest.
    pending: Option<Stamp>,
}

impl Watch {
    pub(super) fn new(rest: Duration) -> Self {
        Self { rest, taken: None, pending: None }
    }

    /// Notes the file before it is read for the first time.
    pub(super) fn begin(&mut self, path: &Path) {
        let (stamp, age) = Stamp::of(path);
        // A file this young may still be being written, and is worth a second look.
        self.taken = (age >= self.rest).then_some(stamp);
    }

    /// Looks at the file.
    pub(super) fn look(&mut self, path: &Path) -> Seen {
        let (stamp, age) = Stamp::of(path);
        if self.taken == Some(stamp) {
            self.pending = None;
            return Seen::Same;
        }
        // At rest: it was last written long enough ago, or is as it was at the look before (its clock
        // may be ahead of ours).
        if age < self.rest && self.pending != Some(stamp) {
            self.pending = Some(stamp);
            return Seen::Same;
        }
        self.pending = None;
        self.taken = Some(stamp);
        match stamp {
            Stamp::Gone => Seen::Gone,
            Stamp::There { .. } => Seen::Changed,
        }
    }

    /// Whether the file is, after it was read, what [`Self::look`] saw before.
    pub(super) fn confirm(&mut self, path: &Path) -> bool {
        let (stamp, _) = Stamp::of(path);
        if self.taken == Some(stamp) {
            return true;
        }
        self.taken = None;
        self.pending = Some(stamp);
        false
    }
}

impl Stamp {
    /// The stamp of a file, and how long ago its content was written.
    fn of(path: &Path) -> (Self, Duration) {
        let Ok(metadata) = fs::metadata(path) else {
            // Between the two steps of an exchange a file may be gone for a moment.
            return (Self::Gone, Duration::ZERO);
        };
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let age = SystemTime::now().duration_since(modified);
        let stamp = Self::There {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        (stamp, age.unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    const REST: Duration = Duration::from_secs(1);

    fn write(path: &Path, text: &str, age: Duration) {
        fs::write(path, text).unwrap();
        let modified = SystemTime::now() - age;
        let file = File::options().append(true).open(path).unwrap();
        let times = FileTimes::new().set_modified(modified);
        file.set_times(times).unwrap();
    }

    fn watched(text: &str, age: Duration) -> (tempfile::TempDir, std::path::PathBuf, Watch) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        write(&path, text, age);
        let mut watch = Watch::new(REST);
        watch.begin(&path);
        (folder, path, watch)
    }

    #[test]
    fn a_file_at_rest_is_not_read_twice() {
        let (_folder, path, mut watch) = watched("a", REST * 9);
        assert_eq!(watch.look(&path), Seen::Same);
        write(&path, "b", REST * 9);
        assert_eq!(watch.look(&path), Seen::Changed);
        assert!(watch.confirm(&path));
        assert_eq!(watch.look(&path), Seen::Same);
    }

    #[test]
    fn a_file_just_written_waits_for_a_second_look_that_finds_it_the_same() {
        let (_folder, path, mut watch) = watched("a", REST * 9);
        // Written in the future, as by a server whose clock is ahead.
        let ahead = SystemTime::now() + REST * 9;
        for text in ["ab", "abc"] {
            fs::write(&path, text).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            file.set_times(FileTimes::new().set_modified(ahead)).unwrap();
            assert_eq!(watch.look(&path), Seen::Same, "{text}");
        }
        assert_eq!(watch.look(&path), Seen::Changed);
    }

    #[test]
    fn a_file_written_while_it_was_read_is_read_again() {
        let (_folder, path, mut watch) = watched("a", REST * 9);
        write(&path, "bb", REST * 9);
        assert_eq!(watch.look(&path), Seen::Changed);
        write(&path, "ccc", REST * 9);
        assert!(!watch.confirm(&path));
        assert_eq!(watch.look(&path), Seen::Changed);
        assert!(watch.confirm(&path));
    }

    #[test]
    fn a_young_file_is_read_twice_at_the_start() {
        let (_folder, path, mut watch) = watched("a", Duration::ZERO);
        assert_eq!(watch.look(&path), Seen::Same);
        assert_eq!(watch.look(&path), Seen::Changed);
        assert_eq!(watch.look(&path), Seen::Same);
    }

    #[test]
    fn a_file_that_is_gone_is_told_once_and_comes_back() {
        let (_folder, path, mut watch) = watched("a", REST * 9);
        fs::remove_file(&path).unwrap();
        let looks: Vec<Seen> = (0..4).map(|_| watch.look(&path)).collect();
        assert_eq!(looks, [Seen::Same, Seen::Gone, Seen::Same, Seen::Same]);
        write(&path, "a", REST * 9);
        assert_eq!(watch.look(&path), Seen::Changed);
    }
}
