//! The source `file` while it changes.

use std::{fs, path::Path, time::Instant};

use directory::Directory;
use model::Secret;
use tempfile::tempdir;

use super::{DEADLINE, Verdict, ask, file, open, said};

/// Asks until the directory says what is expected.
async fn comes_to_say(directory: &Directory, user: &str, expected: &str) {
    let started = Instant::now();
    loop {
        let verdict = said(directory, user).await;
        if verdict == expected {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{verdict} is not {expected}");
        tokio::task::yield_now().await;
    }
}

fn exchange(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[tokio::test]
async fn two_thousand_users_are_split_by_a_map() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("two.map");
    let home = |number| if number % 2 == 0 { "a" } else { "b" };
    let lines: String =
        (0..2000).map(|number| format!("user{number}:{}\n", home(number))).collect();
    fs::write(&map, lines).unwrap();
    let directory = open(folder.path(), vec![file(&map)]);
    for number in 0..2000 {
        let expected = format!("user{number} -> user{number}@{}", home(number));
        assert_eq!(said(&directory, &format!("user{number}")).await, expected);
    }
    assert_eq!(said(&directory, "user2000").await, "unknown user2000");
}

#[tokio::test]
async fn a_password_from_a_toml_file_is_in_the_route_and_nowhere_else() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("users.toml");
    let text = "[users]\nbob = { backend = \"a\", user = \"Robert\", password = \"hunter2\" }\n";
    fs::write(&path, text).unwrap();
    let directory = open(folder.path(), vec![file(&path)]);
    let verdict = ask(&directory, "bob").await.unwrap();
    let shown = format!("{verdict:?} {directory:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let Verdict::Admit(route) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(route.user.as_str(), "Robert");
    let hunter2 = Secret::new("hunter2").unwrap();
    assert!(route.secret.is_some_and(|secret| secret.matches(&hunter2)));
}

#[tokio::test]
async fn a_changed_file_is_read_again() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("map");
    fs::write(&map, "bob:a\n").unwrap();
    let directory = open(folder.path(), vec![file(&map)]);
    assert_eq!(said(&directory, "bob").await, "bob -> bob@a");
    exchange(&map, "bob:b\n");
    comes_to_say(&directory, "bob", "bob -> bob@b").await;
    fs::write(&map, "eve:a\n# longer\n").unwrap();
    comes_to_say(&directory, "bob", "unknown bob").await;
    comes_to_say(&directory, "eve", "eve -> eve@a").await;
}

#[tokio::test]
async fn a_broken_empty_or_missing_file_leaves_the_users_read_before() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("map");
    fs::write(&map, "bob:a\n").unwrap();
    let directory = open(folder.path(), vec![file(&map)]);
    for text in ["bob:b\nbroken\n", "", "# nobody\n"] {
        exchange(&map, text);
        // Each question looks at the file, and two looks settle it.
        for _ in 0..3 {
            assert_eq!(said(&directory, "bob").await, "bob -> bob@a", "{text:?}");
        }
    }
    fs::remove_file(&map).unwrap();
    for _ in 0..3 {
        assert_eq!(said(&directory, "bob").await, "bob -> bob@a");
    }
    exchange(&map, "bob:b\n");
    comes_to_say(&directory, "bob", "bob -> bob@b").await;
}
