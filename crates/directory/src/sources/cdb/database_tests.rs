use std::{collections::HashMap, fs, path::PathBuf};

use proptest::prelude::*;

use super::database::{Database, Failure};

/// Writes a database as its specification says.
fn write(records: &[(&[u8], &[u8])]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap();
    let mut bytes = vec![0; 2048];
    let mut tables: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
    for (key, value) in records {
        let hash = key
            .iter()
            .fold(5381_u32, |hash, byte| (hash << 5).wrapping_add(hash) ^ u32::from(*byte));
        tables.entry(hash & 255).or_default().push((hash, number(bytes.len())));
        bytes.extend(number(key.len()).to_le_bytes());
        bytes.extend(number(value.len()).to_le_bytes());
        bytes.extend(*key);
        bytes.extend(*value);
    }
    for table in 0..256 {
        let entries = tables.remove(&table).unwrap_or_default();
        let mut slots = vec![(0, 0); entries.len() * 2];
        let header = [number(bytes.len()), number(slots.len())];
        for (place, header) in bytes[8 * table as usize..].chunks_mut(4).zip(header) {
            place.copy_from_slice(&header.to_le_bytes());
        }
        for (hash, position) in entries {
            let mut slot = (hash >> 8) as usize % slots.len();
            while slots[slot].1 != 0 {
                slot = (slot + 1) % slots.len();
            }
            slots[slot] = (hash, position);
        }
        bytes.extend(
            slots
                .iter()
                .flat_map(|(hash, position)| [hash.to_le_bytes(), position.to_le_bytes()].concat()),
        );
    }
    bytes
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.cdb");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// What a file says of a key, in short.
fn said(bytes: &[u8], key: &[u8]) -> String {
    let (_folder, path) = file(bytes);
    let found = Database::open(&path).and_then(|database| database.find(key));
    match found {
        Ok(Some(value)) => String::from_utf8(value).unwrap(),
        Ok(None) => "unknown".to_owned(),
        Err(Failure::Damaged(what)) => what.to_owned(),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_found_with_and_without_a_nul_byte_behind_it() {
    let bytes = write(&[(b"ann", b"north"), (b"bob\0", b"south\0"), (b"ann", b"second")]);
    assert_eq!(said(&bytes, b"ann"), "north");
    assert_eq!(said(&bytes, b"bob"), "south");
    assert_eq!(said(&bytes, b"an"), "unknown");
    assert_eq!(said(&write(&[]), b"ann"), "unknown");
}

#[test]
fn a_file_that_is_cut_off_is_refused_wherever_that_is() {
    let bytes = write(&[(b"ann", b"north"), (b"bob", b"south")]);
    for length in 0..bytes.len() {
        let said = said(&bytes[..length], b"ann");
        assert!(said.contains("cut off"), "{length}: {said}");
    }
}

#[test]
fn a_record_or_a_value_of_four_gigabytes_is_not_believed() {
    let bytes = write(&[(b"ann", b"north")]);
    let with = |offset: usize, number: u32| {
        let mut bytes = bytes.clone();
        bytes[2048 + offset..2048 + offset + 4].copy_from_slice(&number.to_le_bytes());
        said(&bytes, b"ann")
    };
    let outside = "has a record outside of its records";
    assert_eq!([with(0, u32::MAX), with(4, u32::MAX)], [outside, outside]);
    assert_eq!(said(&write(&[(b"ann", &[b'a'; 5000])]), b"ann").split(' ').nth(2), Some("value"));
}

#[test]
fn a_table_without_an_empty_slot_comes_to_an_end() {
    // The header of every table points to the same slots, all of them full.
    let mut bytes = vec![0; 2048];
    for pair in bytes.chunks_mut(8) {
        pair.copy_from_slice(&[0, 8, 0, 0, 0, 0, 1, 0]);
    }
    bytes.extend([1; 8].repeat(65536));
    assert_eq!(said(&bytes, b"ann"), "has a table that is too full");
}

#[test]
fn a_file_that_is_written_to_in_its_place_says_nothing() {
    let bytes = write(&[(b"ann", b"north")]);
    let (_folder, path) = file(&bytes);
    let database = Database::open(&path).unwrap();
    fs::write(&path, write(&[(b"annabelle", b"north")])).unwrap();
    assert!(matches!(database.find(b"ann"), Err(Failure::Replaced)));
}

proptest! {
    #[test]
    fn what_was_written_is_found_and_nothing_else(
        users in proptest::collection::hash_map("[a-z]{1,6}", "[a-z]{0,8}", 0..200),
        stranger in "[a-z]{1,6}",
    ) {
        let records: Vec<_> =
            users.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
        let (_folder, path) = file(&write(&records));
        let database = Database::open(&path).unwrap();
        prop_assert_eq!(database.keys(), users.len() as u64);
        for key in users.keys().chain([&stranger]) {
            let value = database.find(key.as_bytes()).unwrap();
            let value = value.map(|value| String::from_utf8(value).unwrap());
            prop_assert_eq!(value.as_ref(), users.get(key));
        }
    }

    #[test]
    fn a_damaged_file_never_panics_nor_says_more_than_it_holds(
        changes in proptest::collection::vec((0..5000_usize, any::<u8>()), 1..40),
        length in 0..5000_usize,
    ) {
        let keys: Vec<String> = (0..60).map(|number| format!("user{number}")).collect();
        let records: Vec<_> = keys.iter().map(|key| (key.as_bytes(), &b"north"[..])).collect();
        let mut bytes = write(&records);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(length / 50));
        let (_folder, path) = file(&bytes);
        if let Ok(database) = Database::open(&path) {
            for key in &keys {
                if let Ok(Some(value)) = database.find(key.as_bytes()) {
                    prop_assert!(value.len() <= 4096);
                }
            }
        }
    }

    #[test]
    fn noise_is_no_database(noise in proptest::collection::vec(any::<u8>(), 0..6000)) {
        let (_folder, path) = file(&noise);
        if let Ok(database) = Database::open(&path) {
            let _ = database.find(b"ann");
        }
    }
}
