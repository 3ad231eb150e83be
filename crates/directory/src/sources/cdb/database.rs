//! Reads D. J. Bernstein's constant databases (<https://cr.yp.to/cdb/cdb.txt>), as cdbmake, TinyCDB and Postfix
//! write them.
//!
//! Nothing here believes a number in the file: what it points to lies within the file, and no buffer is as long
//! as it says before that was compared with what is allowed.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

/// The header: 256 pairs of position and number of slots.
const HEADER: u64 = 2048;

/// A slot, or what stands before a record: two numbers of 32 bits.
const PAIR: u64 = 8;

/// The longest value that is read, in bytes: no answer is as long.
const LONGEST_VALUE: u64 = 4096;

/// How many slots are looked at for a key, at most. Half of a table's slots are empty, so that the
/// longest run of full ones in a table of millions has some hundreds.
const MOST_SLOTS: u64 = 8192;

/// Why there is nothing to say of a key.
#[derive(Debug)]
pub(super) enum Failure {
    /// What is in the file makes no sense.
    Damaged(&'static str),
    /// It is not what it was when it was opened.
    Replaced,
    Unreadable(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("is cut off"),
            _ => Self::Unreadable(error),
        }
    }
}

/// An open database. It stays what it was while another takes its name.
#[derive(Debug)]
pub(super) struct Database {
    file: File,
    /// Length and time of the last change when it was opened.
    stamp: (u64, i64, i64),
    tables: Vec<Table>,
    /// Where the records end and the tables begin.
    records_end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Table {
    position: u64,
    slots: u64,
}

impl Table {
    /// Where its last slot ends: below 2 to the power of 36.
    fn end(&self) -> u64 {
        self.position + self.slots * PAIR
    }
}

impl Database {
    /// Opens a file and looks whether it can be a database.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(Failure::Damaged("is no file"));
        }
        let mut header = [0; 2048];
        file.read_exact_at(&mut header, 0)?;
        let (pairs, _) = header.as_chunks::<8>();
        let tables = pairs.iter().map(|pair| {
            let (position, slots) = numbers(*pair);
            Table { position: position.into(), slots: slots.into() }
        });
        let tables: Vec<Table> = tables.collect();
        let filled = || tables.iter().filter(|table| table.slots > 0);
        if filled().any(|table| table.position < HEADER || table.end() > data.len()) {
            return Err(Failure::Damaged("is no cdb file, or cut off"));
        }
        let records_end = filled().map(|table| table.position).min();
        let stamp = stamp(&file)?;
        let records_end = records_end.unwrap_or(HEADER);
        Ok(Self { file, stamp, tables, records_end })
    }

    /// How many keys there are: a table has twice as many slots.
    pub(super) fn keys(&self) -> u64 {
        self.tables.iter().map(|table| table.slots / 2).sum()
    }

    /// The value of a key, without the NUL byte that some programs end keys and values with.
    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let mut value = self.find_exactly(key);
        if matches!(value, Ok(None)) {
            value = self.find_exactly(&[key, b"\0"].concat());
        }
        // A file that is written to in its place may say anything, also that there is no such key.
        if stamp(&self.file)? != self.stamp {
            return Err(Failure::Replaced);
        }
        let mut value = value?;
        if let Some(value) = value.as_mut().filter(|value| value.ends_with(b"\0")) {
            value.pop();
        }
        Ok(value)
    }

    fn find_exactly(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let hash =
            key.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33) ^ u32::from(*byte));
        let table = usize::try_from(hash % 256).ok().and_then(|number| self.tables.get(number));
        let Some(table) = table.filter(|table| table.slots > 0) else { return Ok(None) };
        let first = u64::from(hash >> 8) % table.slots;
        for step in 0..table.slots.min(MOST_SLOTS) {
            let slot = (first + step) % table.slots;
            let (found, position) = self.pair(table.position + slot * PAIR)?;
            if position == 0 {
                return Ok(None);
            }
            if found == hash
                && let Some(value) = self.value(position.into(), key)?
            {
                return Ok(Some(value));
            }
        }
        if table.slots > MOST_SLOTS {
            return Err(Failure::Damaged("has a table that is too full"));
        }
        Ok(None)
    }

    /// The value of a record, if its key is this one.
    fn value(&self, position: u64, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let (key_length, length) = self.pair(position)?;
        let length = u64::from(length);
        let key_at = position + PAIR;
        let value_at = key_at + u64::from(key_length);
        if position < HEADER || value_at + length > self.records_end {
            return Err(Failure::Damaged("has a record outside of its records"));
        }
        if usize::try_from(key_length) != Ok(key.len()) || self.bytes(key_at, key.len())? != key {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(count) if length <= LONGEST_VALUE => Ok(Some(self.bytes(value_at, count)?)),
            _ => Err(Failure::Damaged("has a value that is too long to be an answer")),
        }
    }

    fn pair(&self, position: u64) -> Result<(u32, u32), Failure> {
        let mut pair = [0; 8];
        self.file.read_exact_at(&mut pair, position)?;
        Ok(numbers(pair))
    }

    fn bytes(&self, position: u64, count: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(bytes)
    }
}

/// Two numbers, their lowest bytes first.
fn numbers(pair: [u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = pair;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn stamp(file: &File) -> io::Result<(u64, i64, i64)> {
    let data = file.metadata()?;
    Ok((data.len(), data.mtime(), data.mtime_nsec()))
}
