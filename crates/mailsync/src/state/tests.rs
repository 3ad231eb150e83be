use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    BodyHash, Fingerprint, Flags, InternalDate, MailboxPath, RawName, Uid,
    plan::{Facts, Standing},
    sides::{Both, Side},
};

fn open(folder: &TempDir) -> Result<PairState, StateError> {
    PairState::open(folder.path(), "imaps://a@old", "imaps://a@new")
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn mailbox(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    let raw = Both { left: RawName::new(*b"&AGE"), right: RawName::new(*b"x") };
    let path = Both { left: MailboxPath::new(["&AGE"]), right: MailboxPath::new(["a/b", ""]) };
    record::save_mailbox(tx, None, &raw, &path)
}

fn facts(byte: u8) -> Facts {
    Facts {
        fingerprint: Some(Fingerprint([byte; 16])),
        size: Some(u64::from(byte)),
        body: Some(BodyHash([byte; 16])),
    }
}

#[tokio::test]
async fn what_is_written_is_there_for_the_next_process() {
    let folder = TempDir::new().unwrap();
    let flags = Flags::read(["\\Seen", "\\Flagged", "Work", "$MDNSent"]);
    let pairing = Pairing {
        uids: Both { left: Some(uid(u32::MAX)), right: Some(uid(1)) },
        flags: flags.clone(),
        facts: facts(1),
    };
    let intended = Intended {
        uid: uid(9),
        fingerprint: Fingerprint([3; 16]),
        size: 77,
        body: BodyHash([4; 16]),
        date: Some(InternalDate { seconds: -5, zone: -90 }),
        flags: flags.clone(),
    };
    let messages = vec![intended.clone(), Intended { uid: uid(8), date: None, ..intended }];
    let intent =
        Intent { id: 0, to: Side::Right, validity: 5, uid_next: uid(6), looked: 0, messages };
    let state = open(&folder).unwrap();
    let (one, two) = (pairing.clone(), intent.clone());
    let wrote = state.write(move |tx| {
        let id = mailbox(tx)?;
        record::save_pairing(tx, id, &one)?;
        record::intend(tx, id, &two)
    });
    wrote.await.unwrap();
    drop(state);
    let state = open(&folder).unwrap();
    let read = state.write(|tx| {
        let known = record::mailboxes(tx)?;
        let id = known[0].id;
        Ok((known, record::rows(tx, id)?, record::intents(tx, id)?))
    });
    let (known, rows, intents) = read.await.unwrap();
    assert_eq!(known[0].path.right, MailboxPath::new(["a/b", ""]));
    assert_eq!((rows[0].uids, &rows[0].flags), (pairing.uids, &flags));
    assert_eq!((rows[0].facts, rows[0].standing), (facts(1), Standing::Done));
    assert_eq!(format!("{:?}", intents[0].messages), format!("{:?}", intent.messages));
}

#[tokio::test]
async fn a_message_is_in_one_row_whatever_it_was_before() {
    let folder = TempDir::new().unwrap();
    let state = open(&folder).unwrap();
    let rows = state.write(|tx| {
        let id = mailbox(tx)?;
        let single = |side, number| Single {
            side,
            uid: uid(number),
            flags: Flags::default(),
            facts: facts(1),
            standing: Standing::Failed,
            said: Some("NO".to_owned()),
        };
        record::save_single(tx, id, &single(Side::Left, 1))?;
        record::save_single(tx, id, &single(Side::Left, 1))?;
        record::save_single(tx, id, &single(Side::Right, 1))?;
        assert_eq!(record::failed(tx, id)?.len(), 2);
        let uids = Both { left: Some(uid(1)), right: Some(uid(1)) };
        record::save_pairing(tx, id, &Pairing { uids, flags: Flags::default(), facts: facts(1) })?;
        record::rows(tx, id)
    });
    assert_eq!(rows.await.unwrap().len(), 1);
}

#[test]
fn a_file_of_a_later_release_another_program_or_another_pair_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = open(&folder).unwrap().path().to_owned();
    let raw = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    raw("PRAGMA user_version = 99");
    assert!(matches!(open(&folder), Err(StateError::Newer { found: 99, .. })));
    raw("PRAGMA user_version = 1; UPDATE pair SET right = 'imaps://b@new'");
    let error = open(&folder).unwrap_err().to_string();
    assert!(error.contains("the pair of imaps://a@old and imaps://b@new"), "{error}");
    raw("PRAGMA application_id = 7");
    assert!(matches!(open(&folder), Err(StateError::NotOurs { .. })));
}

#[test]
fn the_names_of_files_stay_within_the_folder_and_tell_pairs_apart() {
    let stems = [
        stem("imaps://a/../../x", "b"),
        stem("..", "b"),
        stem("", ""),
        stem("a", "bc"),
        stem("ab", "c"),
    ];
    for stem in &stems {
        assert!(!stem.contains('/') && !stem.starts_with('.'), "{stem}");
    }
    let distinct: std::collections::BTreeSet<_> = stems.iter().collect();
    assert_eq!(distinct.len(), stems.len());
}
