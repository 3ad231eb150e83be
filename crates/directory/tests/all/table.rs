//! The source `table` and those who write it.

use std::{env, path::Path, process::Command, sync::Arc};

use directory::{Answer, Change, Directory, PasswordChange, Store};
use model::{CanonicalUser, Secret, UserName};
use tempfile::tempdir;

use super::{Verdict, ask, open, said, table};

/// Tells the test that is a child process which state folder to write to.
const CHILD_STATE: &str = "DIRECTORY_TEST_STATE";

fn place(store: &Store, user: &str, answer: &str) -> Change {
    let user = CanonicalUser::declare(UserName::new(user).unwrap());
    let answer: Answer = answer.parse().unwrap();
    let placed = store.place("test", &user, &answer, PasswordChange::Keep);
    placed.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_daemon_places_every_worker_sees_at_once() {
    let folder = tempdir().unwrap();
    let directory = Arc::new(open(folder.path(), vec![table()]));
    for round in 0..20 {
        let home = if round % 2 == 0 { "a" } else { "b" };
        place(directory.table().unwrap(), "bob", home);
        let askers = (0..8).map(|_| {
            let directory = Arc::clone(&directory);
            tokio::spawn(async move { said(&directory, "BOB").await })
        });
        for asker in askers.collect::<Vec<_>>() {
            assert_eq!(asker.await.unwrap(), format!("bob -> bob@{home}"));
        }
    }
}

#[tokio::test]
async fn what_another_process_places_is_seen_at_once() {
    let folder = tempdir().unwrap();
    let directory = open(folder.path(), vec![table()]);
    assert_eq!(said(&directory, "bob").await, "unknown bob");
    for home in ["a", "b"] {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "table::child_that_places_bob", "--ignored"])
            .env(CHILD_STATE, folder.path().join("state"))
            .env("DIRECTORY_TEST_HOME", home)
            .output()
            .unwrap();
        assert!(child.status.success(), "{child:?}");
        let expected = format!("bob -> bob@{home}");
        assert_eq!(said(&directory, "bob").await, expected);
        assert_eq!(place(directory.table().unwrap(), "bob", home), Change::Unchanged);
    }
}

#[test]
#[ignore = "the child process of the test above"]
fn child_that_places_bob() {
    let (Some(state), Ok(home)) = (env::var_os(CHILD_STATE), env::var("DIRECTORY_TEST_HOME"))
    else {
        return;
    };
    let store = Store::open(Path::new(&state)).unwrap();
    assert_ne!(place(&store, "bob", &home), Change::Unchanged);
}

#[tokio::test]
async fn names_and_passwords_of_all_sorts_come_back_as_they_were() {
    let folder = tempdir().unwrap();
    let directory = open(folder.path(), vec![table()]);
    let store = directory.table().unwrap();
    let longest = "x".repeat(UserName::MAX_BYTES);
    for name in ["o'neil", "x' or '1'='1", "%", "*", "a\"b", "ß", longest.as_str()] {
        let user = CanonicalUser::declare(UserName::new(name).unwrap());
        let answer = format!("{name}@b").parse().unwrap();
        let bytes = [&b"\xff\r\n'\""[..], name.as_bytes()].concat();
        let secret = Secret::new(bytes).unwrap();
        let set = PasswordChange::Set(secret.clone());
        store.place("test", &user, &answer, set).unwrap();
        let Verdict::Admit(route) = ask(&directory, name).await.unwrap() else {
            panic!("{name} is unknown");
        };
        assert_eq!(route.user.as_str(), name);
        assert!(route.secret.unwrap().matches(&secret));
    }
    for name in ["' OR ''='", "_", "o''neil", "SS"] {
        let verdict = said(&directory, name).await;
        assert_eq!(verdict, format!("unknown {}", name.to_lowercase()));
    }
}

#[test]
fn a_directory_is_shared_by_all_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Directory>();
}
