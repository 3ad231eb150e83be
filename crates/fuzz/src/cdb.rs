//! What holds of a constant database whatever is in the file.
//!
//! Nothing here knows who writes one. The reader stands here alone, from its own file: with the rest of its crate,
//! databases and TLS among it, a target would take minutes to build.

#[path = "../../directory/src/sources/cdb/database.rs"]
#[expect(dead_code, reason = "its crate also counts the keys")]
mod database;

use std::{
    cell::Cell,
    env, fs,
    path::{Path, PathBuf},
};

use self::database::{Database, Failure};

use crate::input::Input;

/// Where the records begin.
const HEADER: u32 = 2048;
/// The longest value that may be believed.
const LONGEST: usize = 4096;

/// A file: where all tables are and how many slots they have, in 16 bits each, and what comes behind the header.
pub fn cdb(data: &[u8]) {
    let Some(input) = Input::read(data) else {
        return;
    };
    let Some(([p0, p1, s0, s1], body)) = input.stream.split_first_chunk::<4>() else {
        return;
    };
    let position = u32::from(u16::from_le_bytes([*p0, *p1])).saturating_add(HEADER);
    let slots = u32::from(u16::from_le_bytes([*s0, *s1]));
    let table = [position.to_le_bytes(), slots.to_le_bytes()].concat();
    let file = Temporary::holding(&[&table.repeat(256), body].concat());
    let Ok(database) = Database::open(file.path()) else {
        return;
    };
    let known: [&[u8]; 5] = [b"ann", b"bob", b"eve", b"", b"\0"];
    let keys = known.into_iter().chain(body.chunks(3).take(8));
    for key in keys {
        match database.find(key) {
            Ok(Some(value)) => {
                assert!(value.len() <= LONGEST);
                // It is there as it was written, behind its key.
                let stands = |between: &[u8]| {
                    let record = [key, between, &value].concat();
                    record.is_empty() || body.windows(record.len()).any(|part| part == record)
                };
                assert!(stands(b"") || stands(b"\0"), "{key:?} has {value:?}");
            }
            Ok(None) | Err(Failure::Damaged(_)) => {}
            Err(Failure::Replaced | Failure::Unreadable(_)) => unreachable!("nobody touches it"),
        }
    }
}

/// A file that is gone when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn holding(bytes: &[u8]) -> Self {
        thread_local! {
            static COUNT: Cell<u64> = const { Cell::new(0) };
        }
        let count = COUNT.get();
        COUNT.set(count + 1);
        let (process, thread) = (std::process::id(), std::thread::current().id());
        let path = env::temp_dir().join(format!("posthouse-fuzz-{process}-{thread:?}-{count}"));
        fs::write(&path, bytes).expect("a file can be written");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clear away.
        let _ = fs::remove_file(&self.0);
    }
}
