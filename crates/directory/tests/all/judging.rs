//! Who is judged here, by what, and who is not.

use std::fs;

use directory::{
    Directory, Gives, KnownBackend, OnError, PlaceBy, Policy, PoolSettings, PoolUse, Pools, Query,
    SourceSettings, Verdict,
};
use model::{Proof, Protocol, Reason, Secret, UserName};
use tempfile::{TempDir, tempdir};

use super::{DEADLINE, backend, backends, file, settings, table};

/// Python's hashlib made it of `right` and a salt.
const HASHED: &str = "{SSHA512}hlZQ6o5lJ2xNb8/0qPDEpfLdxoGRylRfe9x6F2JSd7iefzH40tlJ+g5nVrbCezau5yKED45/isXhePkW034cbnNhbHRzYWx0";

fn password(text: &str) -> Proof {
    Proof::Password(Secret::new(text).unwrap())
}

/// Let in, judged or not; or the reason's word.
async fn admitted(directory: &Directory, user: &str, proof: &Proof) -> &'static str {
    let user = directory.canonical(&UserName::new(user).unwrap()).unwrap();
    let query = Query::without_client(user, Protocol::Imap);
    match tokio::time::timeout(DEADLINE, directory.admit(&query, proof, 1)).await.unwrap() {
        Ok(Verdict::Admit(route)) if route.judged => "judged",
        Ok(Verdict::Admit(_)) => "not judged",
        Ok(Verdict::Refused(refused)) => refused.reason.word(),
        Ok(Verdict::Unknown) => "unknown",
        Err(unavailable) => unavailable.reason.word(),
    }
}

fn written(folder: &TempDir, name: &str, users: &str) -> SourceSettings {
    let path = folder.path().join(name);
    fs::write(&path, format!("[users]\n{users}")).unwrap();
    file(&path)
}

fn open(folder: &TempDir, judges: bool, chain: Vec<SourceSettings>) -> Directory {
    let known = |backend| KnownBackend { judges, ..backend };
    let backends = backends().into_iter().map(known).collect();
    Directory::open(directory::Settings { backends, ..settings(folder.path(), chain) }).unwrap()
}

#[tokio::test]
async fn a_back_end_that_lets_in_whom_we_name_gets_only_whom_we_have_judged() {
    let folder = tempdir().unwrap();
    let users = format!(
        "hash = {{ backend = \"a\", password_hash = \"{HASHED}\" }}\n         plain = {{ backend = \"a\", password = \"right\" }}\nnone = \"a\"\n"
    );
    let directory = open(&folder, false, vec![written(&folder, "users.toml", &users)]);
    for user in ["hash", "plain"] {
        assert_eq!(admitted(&directory, user, &password("right")).await, "judged", "{user}");
        assert_eq!(
            admitted(&directory, user, &password("wrong")).await,
            "wrong-password",
            "{user}"
        );
        assert_eq!(admitted(&directory, user, &password("")).await, "wrong-password", "{user}");
    }
    assert_eq!(admitted(&directory, "none", &password("")).await, "directory-misconfigured");
    assert_eq!(admitted(&directory, "none", &Proof::Certificate).await, "judged");
    assert_eq!(admitted(&directory, "nobody", &password("right")).await, "unknown");
}

#[tokio::test]
async fn a_back_end_that_judges_is_left_to_it_unless_the_directory_is_to_verify() {
    let folder = tempdir().unwrap();
    let users = format!(
        "bob = {{ backend = \"a\", password_hash = \"{HASHED}\" }}\n         off = {{ backend = \"a\", password_hash = \"{HASHED}\", disabled = true }}\n"
    );
    let source = written(&folder, "users.toml", &users);
    let left = open(&folder, true, vec![source.clone()]);
    assert_eq!(admitted(&left, "bob", &password("wrong")).await, "not judged");
    assert_eq!(admitted(&left, "off", &password("right")).await, "user-disabled");
    let verifying = open(&folder, true, vec![SourceSettings { verify: true, ..source }]);
    assert_eq!(admitted(&verifying, "bob", &password("right")).await, "judged");
    assert_eq!(admitted(&verifying, "bob", &password("wrong")).await, "wrong-password");
}

#[tokio::test]
async fn a_source_of_attributes_completes_what_another_knows_and_knows_nobody_itself() {
    let folder = tempdir().unwrap();
    let homes = written(&folder, "homes.toml", "bob = \"a\"\n");
    let users = format!(
        "bob = {{ backend = \"b\", password_hash = \"{HASHED}\" }}\n         eve = {{ password_hash = \"{HASHED}\" }}\n"
    );
    let passwords = written(&folder, "passwords.toml", &users);
    let attributes = SourceSettings { gives: Gives::Attributes, ..passwords };
    for chain in [vec![homes.clone(), attributes.clone()], vec![attributes, homes]] {
        let directory = open(&folder, false, chain);
        assert_eq!(admitted(&directory, "bob", &password("right")).await, "judged");
        assert_eq!(super::said(&directory, "bob").await, "bob -> bob@a");
        assert_eq!(admitted(&directory, "eve", &password("right")).await, "unknown");
    }
}

#[tokio::test]
async fn a_password_for_the_back_end_stands_for_no_verifier_that_cannot_be_had() {
    let folder = tempdir().unwrap();
    let homes = "bob = { backend = \"a\", password = \"there\" }\n";
    let homes = written(&folder, "homes.toml", homes);
    let attributes =
        SourceSettings { gives: Gives::Attributes, on_error: OnError::Continue, ..table() };
    let directory = open(&folder, false, vec![homes, attributes]);
    super::chain::break_table(folder.path());
    for offered in ["right", "there"] {
        let unavailable = Reason::DirectoryUnavailable.word();
        assert_eq!(admitted(&directory, "bob", &password(offered)).await, unavailable, "{offered}");
    }
}

#[tokio::test]
async fn a_source_done_without_makes_nobody_unknown_and_lets_nobody_in_unjudged() {
    let folder = tempdir().unwrap();
    let homes = written(&folder, "homes.toml", "bob = \"a\"\n");
    let attributes =
        SourceSettings { gives: Gives::Attributes, on_error: OnError::Continue, ..table() };
    let directory = open(&folder, false, vec![attributes, homes]);
    super::chain::break_table(folder.path());
    let unavailable = Reason::DirectoryUnavailable.word();
    assert_eq!(admitted(&directory, "eve", &password("right")).await, unavailable);
    assert_eq!(admitted(&directory, "bob", &password("right")).await, unavailable);
    assert_eq!(super::said(&directory, "bob").await, "bob -> bob@a");
}

/// Whether a pool has placed somebody.
async fn is_placed(directory: &Directory, user: &str) -> bool {
    let user = directory.canonical(&UserName::new(user).unwrap()).unwrap();
    let query = Query::without_client(user, Protocol::Imap);
    let looked = tokio::time::timeout(DEADLINE, directory.whereabouts(&query)).await.unwrap();
    looked.unwrap().placed.is_some()
}

#[tokio::test]
async fn whoever_is_refused_here_gives_nobody_a_home() {
    for (place, verify, judges) in [
        (PlaceBy::User, true, true),
        (PlaceBy::Shard, true, true),
        // Judged here, because a back end that may get him would not ask.
        (PlaceBy::User, false, false),
    ] {
        let folder = tempdir().unwrap();
        let users = format!(
            "bob = {{ password_hash = \"{HASHED}\" }}\noff = {{ password_hash = \"{HASHED}\", disabled = true }}\n\
             unsure = {{ }}\n"
        );
        let pool = Some(PoolUse { pool: "main".into(), tag: None });
        let source = SourceSettings { verify, pool, ..written(&folder, "users.toml", &users) };
        let members = vec![backend("a"), backend("b")];
        let pool = PoolSettings { name: "main".into(), place, policy: Policy::Weighted, members };
        let directory = Directory::open(directory::Settings {
            backends: backends()
                .into_iter()
                .map(|known| KnownBackend { judges, ..known })
                .collect(),
            pools: Pools { pools: vec![pool], shares: Vec::new() },
            ..settings(folder.path(), vec![source])
        })
        .unwrap();
        for (user, answer) in [
            ("bob", "wrong-password"),
            ("off", "user-disabled"),
            ("unsure", "directory-misconfigured"),
            ("nobody", "unknown"),
        ] {
            assert_eq!(admitted(&directory, user, &password("wrong")).await, answer);
            assert!(!is_placed(&directory, user).await, "{user}");
        }
        assert_eq!(admitted(&directory, "bob", &password("right")).await, "judged");
        assert!(is_placed(&directory, "bob").await);
        assert_eq!(admitted(&directory, "bob", &password("wrong")).await, "wrong-password");
    }
}
