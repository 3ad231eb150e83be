//! The laws of the chain.

use std::fs;

use directory::{
    OpenError, PasswordChange, RuleSettings, Rules, SourceProblem, SourceSettings, StripDomain,
};
use model::{CanonicalUser, Reason, UserName};
use proptest::prelude::*;
use tempfile::tempdir;

use super::{ask, backend, everybody, file, open, said, settings, table};

/// Damages the table behind the back of a directory that has it open.
pub(super) fn break_table(state: &std::path::Path) {
    fs::remove_file(state.join("state").join(directory::Store::FILE)).unwrap();
}

#[tokio::test]
async fn the_first_source_that_knows_the_user_answers() {
    let folder = tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    fs::write(&first, "bob:a\n").unwrap();
    fs::write(&second, "bob:b\neve:b\n").unwrap();
    let directory = open(folder.path(), vec![file(&first), table(), file(&second)]);
    assert_eq!(said(&directory, "Bob").await, "bob -> bob@a");
    assert_eq!(said(&directory, "eve").await, "eve -> eve@b");
    assert_eq!(said(&directory, "Nobody").await, "unknown nobody");
}

#[tokio::test]
async fn the_source_that_answered_is_named() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("map");
    fs::write(&map, "bob:a\n").unwrap();
    let directory = open(folder.path(), vec![table(), file(&map)]);
    for (name, wanted) in [("bob", Some("file")), ("nobody", None)] {
        let user = directory.canonical(&UserName::new(name).unwrap()).unwrap();
        let query = directory::Query::without_client(user, model::Protocol::Imap);
        let source = directory.whereabouts(&query).await.unwrap().source;
        assert_eq!(source.as_deref(), wanted, "{name}");
    }
}

#[tokio::test]
async fn a_source_that_cannot_say_ends_the_search() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("map");
    fs::write(&map, "bob:a\n").unwrap();
    let directory = open(folder.path(), vec![file(&map), table(), everybody("b")]);
    break_table(folder.path());
    assert_eq!(said(&directory, "bob").await, "bob -> bob@a");
    let unavailable = ask(&directory, "eve").await.unwrap_err();
    assert_eq!(unavailable.reason, Reason::DirectoryUnavailable);
    assert_eq!(&*unavailable.source_name, "table");
}

#[tokio::test]
async fn an_answer_that_leads_nowhere_is_never_replaced_by_a_guess() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("map");
    fs::write(&map, "bob:c\neve:127.0.0.1\nann:127.0.0.1:11143\n").unwrap();
    let directory = open(folder.path(), vec![file(&map), everybody("b")]);
    for user in ["bob", "eve"] {
        let unavailable = ask(&directory, user).await.unwrap_err();
        assert_eq!(unavailable.reason, Reason::DirectoryMisconfigured);
        assert!(unavailable.detail.contains(user), "{unavailable}");
    }
    assert_eq!(said(&directory, "ann").await, "ann -> ann@b");
}

#[tokio::test]
async fn a_template_serves_addresses_that_no_back_end_has() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("map");
    fs::write(&map, "bob: robert@store7.example.org:1143\n").unwrap();
    let mut source = file(&map);
    source.template = Some(backend("a"));
    let directory = open(folder.path(), vec![source]);
    assert_eq!(said(&directory, "bob").await, "bob -> robert@a");
}

#[tokio::test]
async fn names_are_made_canonical_once_and_bad_ones_ask_nobody() {
    let folder = tempdir().unwrap();
    let map = folder.path().join("map");
    // A name in the file is read as a client would type it.
    fs::write(&map, "Bob@Example.org: a\neve: b\n").unwrap();
    let mut settings = settings(folder.path(), vec![file(&map), everybody("b")]);
    settings.rules = Rules::new(RuleSettings {
        detail: Some('+'),
        strip_domain: StripDomain::Listed(vec!["example.org".to_owned()]),
        ..RuleSettings::default()
    })
    .unwrap();
    let directory = directory::Directory::open(settings).unwrap();
    for typed in ["bob", "BOB@EXAMPLE.ORG", " bob+x@example.org "] {
        assert_eq!(said(&directory, typed).await, "bob -> bob@a");
    }
    assert_eq!(said(&directory, "@example.org").await, "misnamed");
    let kept = said(&directory, "bob@example.net").await;
    assert_eq!(kept, "bob@example.net -> bob@example.net@b");
}

#[test]
fn a_directory_that_cannot_work_is_not_opened() {
    let folder = tempdir().unwrap();
    let refused = |chain| directory::Directory::open(settings(folder.path(), chain)).unwrap_err();
    let problem = |chain| match refused(chain) {
        OpenError::Source { problem, .. } => problem,
        other => panic!("{other}"),
    };
    assert!(matches!(refused(vec![]), OpenError::Empty));
    assert!(matches!(problem(vec![everybody("c")]), SourceProblem::Answer(_)));
    let mut lent = table();
    lent.template = Some(backend("c"));
    assert!(matches!(problem(vec![lent]), SourceProblem::Template(_)));
    let map = folder.path().join("map");
    let told = refused(vec![file(&map)]).to_string();
    assert!(told.contains("map") && told.contains("file"), "{told}");
    fs::write(&map, "bob:a\nbroken\n").unwrap();
    let told = refused(vec![file(&map)]).to_string();
    assert!(told.contains("line 2"), "{told}");
    fs::create_dir(folder.path().join("state")).unwrap();
    let store = folder.path().join("state").join(directory::Store::FILE);
    fs::write(store, "not a database, but long enough to be looked at").unwrap();
    assert!(matches!(problem(vec![table()]), SourceProblem::Store(_)));
}

/// What a source of the chain is to a user `u`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Knows {
    Broken,
    Not,
    Yes,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_chain_says_what_its_first_source_that_is_not_a_no_says(
        chain in proptest::collection::vec(
            prop_oneof![3 => Just(Knows::Not), 1 => Just(Knows::Yes), 1 => Just(Knows::Broken)],
            1..6,
        ),
    ) {
        let folder = tempdir().unwrap();
        let member = |(number, knows): (usize, &Knows)| {
            let path = folder.path().join(number.to_string());
            match knows {
                Knows::Broken => return table(),
                Knows::Not => fs::write(&path, "other:a\n").unwrap(),
                Knows::Yes => fs::write(&path, format!("u: u{number}@a\n")).unwrap(),
            }
            file(&path)
        };
        let members = chain.iter().enumerate().map(member).collect();
        let directory = open(folder.path(), members);
        if chain.contains(&Knows::Broken) {
            // What it knows does not matter, for it cannot say so.
            let user = CanonicalUser::declare(UserName::new("u").unwrap());
            let answer = "b".parse().unwrap();
            let store = directory.table().unwrap();
            store.place("test", &user, &answer, PasswordChange::Keep).unwrap();
            break_table(folder.path());
        }
        let expected = match chain.iter().position(|knows| *knows != Knows::Not) {
            None => "unknown u".to_owned(),
            Some(number) if chain[number] == Knows::Yes => format!("u -> u{number}@a"),
            Some(_) => "directory-unavailable".to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        prop_assert_eq!(runtime.block_on(said(&directory, "U")), expected);
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_from_here_is_never_a_no() {
    let state = tempdir().unwrap();
    let cannot_ask = Some("its secret cannot be read".to_owned());
    let mute = SourceSettings { cannot_ask, ..everybody("a") };
    let directory = open(state.path(), vec![mute, everybody("b")]);
    let unavailable = ask(&directory, "ann").await.unwrap_err();
    assert_eq!(unavailable.to_string(), "source `static`: its secret cannot be read");
}
