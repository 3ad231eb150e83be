use std::{
    collections::BTreeMap,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    thread,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Backends, KnownBackend, Rules};

fn user(name: &str) -> CanonicalUser {
    CanonicalUser::declare(UserName::new(name).unwrap())
}

fn answer(text: &str) -> Answer {
    text.parse().unwrap()
}

fn opened() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn place(store: &Store, name: &str, text: &str) -> Change {
    let keep = PasswordChange::Keep;
    store.place("test", &user(name), &answer(text), keep).unwrap()
}

fn place_of(store: &Store, name: &str) -> Option<String> {
    let home = store.find(&user(name)).unwrap();
    home.map(|home| home.answer.unwrap().to_string())
}

fn names(store: &Store, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let range = Range { prefix: prefix.to_owned(), after: after.map(user), limit };
    let listed = store.list(&range).unwrap();
    listed.iter().map(|row| row.user.to_string()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn folder_and_files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("deep/state");
    let store = Store::open(&state).unwrap();
    place(&store, "bob", "a");
    assert_eq!(mode(&state), 0o700);
    for file in fs::read_dir(&state).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    drop(store);
    let file = state.join(Store::FILE);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Store::open(&state).unwrap());
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn what_was_placed_is_found_also_after_a_restart() {
    let (folder, store) = opened();
    assert_eq!(place_of(&store, "bob"), None);
    assert_eq!(place(&store, "bob", "a"), Change::Added);
    assert_eq!(place(&store, "bob", "a"), Change::Unchanged);
    assert_eq!(place(&store, "bob", "robert@x@[::1]:143"), Change::Changed);
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(place_of(&store, "bob").as_deref(), Some("robert@x@[::1]:143"));
    assert_eq!(store.remove("test", &user("bob")).unwrap(), Change::Removed);
    assert_eq!(store.remove("test", &user("bob")).unwrap(), Change::Unchanged);
    assert_eq!(place_of(&store, "bob"), None);
}

#[test]
fn names_are_data_and_never_sql_or_patterns() {
    let (_folder, store) = opened();
    let longest = "ü".repeat(256);
    let strange = [
        "x'; DROP TABLE users; --",
        "\" OR \"\"=\"",
        "%",
        "_",
        "*",
        "a?b[c]",
        "o'neil",
        "Bob",
        "BOB",
        "ＢＯＢ",
        "ΣΊΣΥΦΟΣ",
        "sísyfos\u{10ffff}",
        "\\",
        longest.as_str(),
    ];
    for (number, name) in strange.iter().enumerate() {
        assert_eq!(place_of(&store, name), None, "{name}");
        place(&store, name, &format!("b{number}"));
    }
    for (number, name) in strange.iter().enumerate() {
        assert_eq!(place_of(&store, name), Some(format!("b{number}")), "{name}");
        assert_eq!(names(&store, name, None, 9)[0], **name);
    }
    assert_eq!(place_of(&store, "bob"), None);
    assert_eq!(names(&store, "", None, 100).len(), strange.len());
}

#[test]
fn a_password_is_kept_until_it_is_changed_and_never_shown() {
    let (_folder, store) = opened();
    let secret = |text: &str| PasswordChange::Set(Secret::new(text).unwrap());
    let (bob, a) = (user("bob"), answer("a"));
    let change = |password| store.place("test", &bob, &a, password).unwrap();
    let password = || {
        let home = store.find(&bob).unwrap().unwrap();
        home.password.map(|secret| secret.reveal().to_vec())
    };
    assert_eq!(change(secret("hunter2")), Change::Added);
    assert_eq!(change(secret("hunter2")), Change::Unchanged);
    assert_eq!(place(&store, "bob", "b"), Change::Changed);
    assert_eq!(password().as_deref(), Some(&b"hunter2"[..]));
    let listed = store.list(&Range { prefix: String::new(), after: None, limit: 9 }).unwrap();
    assert!(listed[0].has_password);
    let home = store.find(&bob).unwrap().unwrap();
    let history = store.history(None, 99).unwrap();
    let shown = format!("{home:?} {listed:?} {history:?} {:?}", secret("hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(change(secret("other")), Change::Changed);
    assert_eq!(change(PasswordChange::Forget), Change::Changed);
    assert_eq!(change(PasswordChange::Forget), Change::Unchanged);
    assert_eq!(password(), None);
}

#[test]
fn the_history_tells_every_change_and_cannot_be_rewritten() {
    let (_folder, store) = opened();
    place(&store, "bob", "a");
    place(&store, "bob", "a");
    place(&store, "alice", "a");
    place(&store, "bob", "b");
    store.remove("root", &user("bob")).unwrap();
    let told = |event: &Event| {
        let text = |answer: &Option<String>| answer.clone().unwrap_or_default();
        format!("{} {} {}>{}", event.actor, event.act, text(&event.before), text(&event.after))
    };
    let bob = store.history(Some(&user("bob")), 9).unwrap();
    let bob: Vec<String> = bob.iter().map(told).collect();
    assert_eq!(bob, ["root remove b>", "test place a>b", "test place >a"]);
    assert_eq!(store.history(None, 9).unwrap().len(), 4);
    assert_eq!(store.history(None, 1).unwrap().len(), 1);
    let writer = store.writer.lock();
    assert!(writer.execute("DELETE FROM history", ()).is_err());
    assert!(writer.execute("UPDATE history SET actor = 'x'", ()).is_err());
}

#[test]
fn users_are_listed_page_by_page_and_counted() {
    let (_folder, store) = opened();
    for (name, backend) in
        [("ab", "a"), ("a", "a"), ("b", "b"), ("a\u{d7ff}", "b"), ("a\u{e000}", "b")]
    {
        place(&store, name, backend);
    }
    assert_eq!(names(&store, "a", None, 2), ["a", "ab"]);
    assert_eq!(names(&store, "a", Some("ab"), 2), ["a\u{d7ff}", "a\u{e000}"]);
    assert_eq!(names(&store, "a\u{d7ff}", None, 2), ["a\u{d7ff}"]);
    assert_eq!(names(&store, "c", None, 2), [""; 0]);
    let counts = store.count_by_place().unwrap();
    let counts: Vec<(String, u64)> =
        counts.iter().map(|(place, count)| (place.to_string(), *count)).collect();
    assert_eq!(counts, [("a".to_owned(), 2), ("b".to_owned(), 3)]);
}

#[test]
fn every_thread_sees_at_once_what_another_store_wrote() {
    let (folder, reading) = opened();
    let writing = Store::open(folder.path()).unwrap();
    thread::scope(|scope| {
        let (turn, turns) = std::sync::mpsc::channel::<String>();
        let (saw, seen) = std::sync::mpsc::channel();
        let reading = &reading;
        scope.spawn(move || {
            for expected in turns {
                saw.send(place_of(reading, "bob") == Some(expected)).unwrap();
            }
        });
        for round in 0..50 {
            let backend = format!("b{round}");
            place(&writing, "bob", &backend);
            assert_eq!(place_of(reading, "bob").as_ref(), Some(&backend));
            turn.send(backend).unwrap();
            assert_eq!(seen.recv_timeout(Duration::from_secs(10)), Ok(true));
        }
        drop(turn);
    });
}

#[test]
fn a_damaged_file_cannot_say_and_never_says_no() {
    let (folder, store) = opened();
    for number in 0..2_000 {
        place(&store, &format!("user{number}"), "a");
    }
    drop(store);
    let path = folder.path().join(Store::FILE);
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    // The first page holds the header and the schema; all behind it is lost.
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length - 4096).unwrap()]).unwrap();
    drop(file);
    let store = Store::open(folder.path()).unwrap();
    for name in ["user7", "nobody"] {
        let found = store.find(&user(name));
        assert!(matches!(found, Err(StoreError::Database(_))), "{found:?}");
    }
}

#[test]
fn a_locked_file_cannot_say() {
    let (folder, store) = opened();
    drop(store);
    let path = folder.path().join(Store::FILE);
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; \
             INSERT INTO users (name, place, changed_at) VALUES ('x', 'a', 0);",
        )
        .unwrap();
    let readers = Readers::new(path).unwrap();
    let found = readers.with(|connection| find(connection, &user("bob")));
    assert!(matches!(found, Err(StoreError::Database(_))), "{found:?}");
    drop(other);
    let found = readers.with(|connection| find(connection, &user("bob")));
    assert!(matches!(found, Ok(None)), "{found:?}");
}

#[test]
fn a_file_that_was_exchanged_is_neither_read_nor_written() {
    let (folder, store) = opened();
    place(&store, "bob", "a");
    let path = folder.path().join(Store::FILE);
    fs::rename(&path, folder.path().join("old")).unwrap();
    fs::copy(folder.path().join("old"), &path).unwrap();
    let keep = PasswordChange::Keep;
    let written = store.place("test", &user("bob"), &answer("b"), keep);
    assert!(matches!(written, Err(StoreError::Replaced(_))), "{written:?}");
    // Another thread has no connection yet and looks at once.
    let found = thread::scope(|scope| {
        let find = || store.find(&user("bob")).map(|_| ());
        scope.spawn(find).join().unwrap()
    });
    assert!(matches!(found, Err(StoreError::Replaced(_))), "{found:?}");
}

#[test]
fn a_foreign_or_newer_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(Store::FILE);
    fs::write(&path, "these are my notes, not a database at all").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Database(_))));
    fs::remove_file(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE x (y)").unwrap();
    drop(other);
    assert!(matches!(Store::open(folder.path()), Err(StoreError::NotOurs(_))));
    fs::remove_file(&path).unwrap();
    drop(Store::open(folder.path()).unwrap());
    let later = Connection::open(&path).unwrap();
    later.pragma_update(None, "user_version", 99).unwrap();
    drop(later);
    let newer = Store::open(folder.path());
    assert!(matches!(newer, Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_row_no_release_writes_is_reported_and_not_guessed() {
    let (_folder, store) = opened();
    for row in ["('bob', 'not a place', NULL, 0)", "('eve', 'a', '', 0)"] {
        let sql = format!("INSERT INTO users (name, place, user_there, changed_at) VALUES {row}");
        store.writer.lock().execute(&sql, ()).unwrap();
    }
    for name in ["bob", "eve"] {
        let found = store.find(&user(name));
        assert!(matches!(found, Err(StoreError::Row { .. })), "{found:?}");
    }
}

fn backends() -> Backends {
    let known = |name: &str, host: &str| KnownBackend {
        name: model::BackendName::new(name).unwrap(),
        hosts: vec![host.parse().unwrap()],
        imap_port: 143,
        pop3_port: 110,
        judges: true,
    };
    Backends::new(vec![known("a", "a.example.org"), known("b", "b.example.org")])
}

fn import(
    store: &Store,
    text: &str,
    format: ImportFormat,
    wrong_lines: WrongLines,
) -> ImportReport {
    let import = Import {
        format,
        rules: &Rules::default(),
        backends: &backends(),
        template: None,
        has_pool: false,
        mail_is_already_there: true,
        wrong_lines,
    };
    let mut told = 0;
    let report = store
        .import("test", &import, &mut text.as_bytes(), &mut |lines| {
            assert!(lines >= told);
            told = lines;
        })
        .unwrap();
    assert_eq!(told, report.lines);
    report
}

#[test]
fn a_map_is_imported_under_canonical_names() {
    let (_folder, store) = opened();
    place(&store, "bob", "b");
    place(&store, "eve", "b");
    let text = "# users\n Bob : a\n\nalice: al@B.example.org:143\neve: b\nbob:a\n";
    let report = import(&store, text, ImportFormat::Perdition, WrongLines::RefuseAll);
    assert!(report.written, "{report:?}");
    assert_eq!((report.lines, report.added), (6, 1));
    assert_eq!((report.changed, report.unchanged), (1, 2));
    assert_eq!(place_of(&store, "bob").as_deref(), Some("a"));
    assert_eq!(place_of(&store, "alice").as_deref(), Some("al@b.example.org:143"));
    let newest = &store.history(Some(&user("bob")), 1).unwrap()[0];
    assert_eq!(newest.act, "import");
}

#[test]
fn one_wrong_line_keeps_an_import_from_writing_unless_told_so() {
    let (_folder, store) = opened();
    let text = "user,backend\nbob,a\ncarol,c\n,a\nbob,b\ndave\nerin,b,e\n";
    let refused = import(&store, text, ImportFormat::Csv, WrongLines::RefuseAll);
    assert!(!refused.written);
    assert_eq!(names(&store, "", None, 9), [""; 0]);
    let lines: Vec<u64> = refused.problems.iter().map(|wrong| wrong.line).collect();
    assert_eq!(lines, [3, 4, 5, 6]);
    assert!(refused.problems[0].to_string().contains("`c`"));
    assert!(refused.problems[2].to_string().contains("line 2"));
    let skipped = import(&store, text, ImportFormat::Csv, WrongLines::Skip);
    assert!(skipped.written);
    assert_eq!((skipped.added, skipped.problem_count), (2, 4));
    assert_eq!(names(&store, "", None, 9), ["bob", "erin"]);
    assert_eq!(place_of(&store, "bob").as_deref(), Some("a"));
}

#[test]
fn an_import_keeps_passwords_and_tells_of_a_thousand_wrong_lines_only() {
    let (_folder, store) = opened();
    let secret = PasswordChange::Set(Secret::new("x").unwrap());
    store.place("test", &user("bob"), &answer("a"), secret).unwrap();
    let text = "bob:b\n".to_owned() + &"nonsense\n".repeat(1_500);
    let report = import(&store, &text, ImportFormat::Perdition, WrongLines::Skip);
    assert_eq!((report.problem_count, report.problems.len()), (1_500, 1_000));
    let home = store.find(&user("bob")).unwrap().unwrap();
    assert!(home.password.is_some());
    assert_eq!(home.answer, Some(answer("b")));
}

#[test]
fn a_list_brings_passwords_in_its_fourth_field() {
    let (_folder, store) = opened();
    let text = "user,backend,user_there,password\nbob,a,,x\nbob,a,,x\neve,b\n";
    let report = import(&store, text, ImportFormat::Csv, WrongLines::RefuseAll);
    assert_eq!((report.added, report.unchanged, report.written), (2, 1, true));
    let password = |name: &str| store.find(&user(name)).unwrap().unwrap().password;
    assert!(password("bob").unwrap().matches(&Secret::new("x").unwrap()));
    assert!(password("eve").is_none());
    let another = import(&store, "bob,a,,y\n", ImportFormat::Csv, WrongLines::RefuseAll);
    assert_eq!(another.changed, 1);
    let both = "bob,a,,y\nbob,a,,z\n";
    let both = import(&store, both, ImportFormat::Csv, WrongLines::RefuseAll);
    assert_eq!((both.problem_count, both.written), (1, false));
}

#[test]
fn the_history_tells_of_all_that_an_import_changes() {
    let (_folder, store) = opened();
    let lists = ["bob,a,1,yes", "bob,a,1,yes", "bob,a,1,no", "bob,a,2,no", "bob,b,2,yes"];
    for line in lists {
        let text = format!("user,backend,id,disabled\n{line}\n");
        let report = import(&store, &text, ImportFormat::Csv, WrongLines::RefuseAll);
        assert!(report.written, "{report:?}");
    }
    let history = store.history(Some(&user("bob")), 10).unwrap();
    let told = history.iter().map(|event| {
        let [before, after] =
            [&event.before, &event.after].map(|text| text.as_deref().unwrap_or("-"));
        format!("{} {before} {after}", event.act)
    });
    let told: Vec<String> = told.collect();
    assert_eq!(told, ["import a b", "change-id 1 2", "import - -", "import - a"]);
}

#[test]
fn who_was_unlocked_in_a_passwd_file_is_unlocked_by_its_import() {
    let (_folder, store) = opened();
    for (line, disabled) in [("bob:*::::::host=a", true), ("bob:::::::host=a", false)] {
        let report = import(&store, line, ImportFormat::PasswdFile, WrongLines::RefuseAll);
        assert!(report.written, "{report:?}");
        assert_eq!(store.find(&user("bob")).unwrap().unwrap().disabled, disabled);
    }
}

#[test]
fn who_is_held_keeps_his_name() {
    let (_folder, store) = opened();
    place(&store, "ann", "a");
    let rename = |store: &Store| store.rename("test", (&user("ann"), &user("anna")), None).unwrap();
    for held in ["ann", "anna"] {
        store.set_held("test", ("user", held), true).unwrap();
        assert_eq!(rename(&store), Renamed::Held);
        store.set_held("test", ("user", held), false).unwrap();
    }
    assert_eq!(rename(&store), Renamed::Done);
}

#[test]
fn a_list_that_breaks_off_changes_nothing() {
    struct Broken(bool);
    impl std::io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(std::io::Error::other("the disk is gone"));
            }
            buffer[..6].copy_from_slice(b"bob:a\n");
            Ok(6)
        }
    }
    let (_folder, store) = opened();
    let import = Import {
        format: ImportFormat::Perdition,
        rules: &Rules::default(),
        backends: &backends(),
        template: None,
        has_pool: false,
        mail_is_already_there: true,
        wrong_lines: WrongLines::Skip,
    };
    let mut input = std::io::BufReader::new(Broken(false));
    let result = store.import("test", &import, &mut input, &mut |_| {});
    assert!(matches!(result, Err(StoreError::Input(_))), "{result:?}");
    assert_eq!(place_of(&store, "bob"), None);
    assert_eq!(place(&store, "bob", "b"), Change::Added);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_store_holds_what_a_map_would(
        acts in proptest::collection::vec(("[a-c'%]{1,2}", proptest::option::of("[a-c]")), 1..20),
    ) {
        let (_folder, store) = opened();
        let mut expected = BTreeMap::new();
        for (name, backend) in acts {
            match backend {
                Some(backend) => {
                    place(&store, &name, &backend);
                    expected.insert(name, backend);
                }
                None => {
                    store.remove("test", &user(&name)).unwrap();
                    expected.remove(&name);
                }
            }
        }
        for (name, backend) in &expected {
            prop_assert_eq!(place_of(&store, name), Some(backend.clone()));
        }
        prop_assert_eq!(names(&store, "", None, 99), expected.into_keys().collect::<Vec<_>>());
    }

    #[test]
    fn past_a_prefix_lies_everything_that_does_not_begin_with_it(
        prefix in "\\PC{0,3}", other in "\\PC{0,4}",
    ) {
        let inside = other >= prefix && past(&prefix).is_none_or(|end| other < end);
        prop_assert_eq!(inside, other.starts_with(&prefix));
    }
}
