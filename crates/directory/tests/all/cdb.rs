//! The source `cdb` while it is replaced, and `regex` beside it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use directory::{
    CdbSettings, Directory, RegexFormat, RegexRule, RegexRules, RegexSettings, SourceKind,
};
use tempfile::tempdir;

use super::{DEADLINE, open, said, source};

/// A database as its specification says, with one table for all keys.
fn database(records: &[(&str, &str)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let hash = |key: &str| {
        key.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte))
    };
    let mut bytes = vec![0; 2048];
    let mut slots = vec![[0; 8]; records.len() * 2];
    for (key, value) in records {
        let mut slot = (hash(key) >> 8) as usize % slots.len();
        while slots[slot] != [0; 8] {
            slot = (slot + 1) % slots.len();
        }
        slots[slot][..4].copy_from_slice(&hash(key).to_le_bytes());
        slots[slot][4..].copy_from_slice(&number(bytes.len()));
        bytes.extend([number(key.len()), number(value.len())].concat());
        bytes.extend([key.as_bytes(), value.as_bytes()].concat());
    }
    let table = [number(bytes.len()), number(slots.len())].concat();
    bytes[..2048].copy_from_slice(&table.repeat(256));
    bytes.extend(slots.concat());
    bytes
}

fn opened(folder: &Path, path: &Path) -> Directory {
    let settings = CdbSettings { check_every: Duration::ZERO, ..CdbSettings::new(path) };
    open(folder, vec![source("cdb", SourceKind::Cdb(settings))])
}

/// Asks until the directory says what is expected.
async fn comes_to_say(directory: &Directory, user: &str, expected: &str) {
    let started = Instant::now();
    while said(directory, user).await != expected {
        assert!(started.elapsed() < DEADLINE, "it is not {expected}");
        tokio::task::yield_now().await;
    }
}

fn exchange(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[tokio::test]
async fn a_database_that_takes_the_place_of_another_counts_from_then_on() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("users.cdb");
    fs::write(&path, database(&[("ann", "a"), ("bob", "robert@b")])).unwrap();
    let directory = opened(folder.path(), &path);
    assert_eq!(said(&directory, "Ann").await, "ann -> ann@a");
    assert_eq!(said(&directory, "bob").await, "bob -> robert@b");
    assert_eq!(said(&directory, "eve").await, "unknown eve");
    exchange(&path, &database(&[("ann", "b")]));
    comes_to_say(&directory, "ann", "ann -> ann@b").await;
    assert_eq!(said(&directory, "bob").await, "unknown bob");
}

#[tokio::test]
async fn a_database_that_is_cut_off_empty_or_gone_leaves_the_old_one_in_force() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("users.cdb");
    let whole = database(&[("ann", "a")]);
    fs::write(&path, &whole).unwrap();
    let directory = opened(folder.path(), &path);
    let shorter = whole.len() - 1;
    for broken in [&whole[..shorter], &whole[..2000], b"", b"ann:a", &[0; 2048]] {
        exchange(&path, broken);
        for _ in 0..4 {
            assert_eq!(said(&directory, "ann").await, "ann -> ann@a");
        }
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(said(&directory, "ann").await, "ann -> ann@a");
}

#[tokio::test]
async fn a_value_of_no_use_concerns_its_user_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("users.cdb");
    let long = "x".repeat(1 << 20);
    let records =
        [("ann", "a"), ("bob", "a\r\nb"), ("eve", &long), ("dan", "elsewhere"), ("fay", "")];
    fs::write(&path, database(&records)).unwrap();
    let directory = opened(folder.path(), &path);
    assert_eq!(said(&directory, "ann").await, "ann -> ann@a");
    for user in ["bob", "eve", "dan", "fay"] {
        assert_eq!(said(&directory, user).await, "directory-misconfigured", "{user}");
    }
}

#[tokio::test]
async fn rules_answer_in_order_and_a_wrong_file_of_them_changes_nothing() {
    let folder = tempdir().unwrap();
    let rule = |pattern, backend, user| RegexRule::new(pattern, backend, user).unwrap();
    let rules = vec![rule("^ann@", "a", None), rule("^(.*)@example$", "b", Some("$1"))];
    let fixed = RegexSettings::new(RegexRules::Fixed(rules));
    let path = folder.path().join("popmap.re");
    fs::write(&path, "^[c-f]: a\n").unwrap();
    let mut file =
        RegexSettings::new(RegexRules::File { path: path.clone(), format: RegexFormat::Perdition });
    file.check_every = Duration::ZERO;
    let chain =
        vec![source("fixed", SourceKind::Regex(fixed)), source("file", SourceKind::Regex(file))];
    let directory = open(folder.path(), chain);
    assert_eq!(said(&directory, "ann@example").await, "ann@example -> ann@example@a");
    assert_eq!(said(&directory, "dan@example").await, "dan@example -> dan@b");
    assert_eq!(said(&directory, "dan").await, "dan -> dan@a");
    assert_eq!(said(&directory, "bob").await, "unknown bob");
    exchange(&path, b"(\n");
    for _ in 0..4 {
        assert_eq!(said(&directory, "dan").await, "dan -> dan@a");
    }
    exchange(&path, b"^b: $0ob@a\n");
    comes_to_say(&directory, "bob", "bob -> bob@a").await;
    assert_eq!(said(&directory, "dan").await, "unknown dan");
}
