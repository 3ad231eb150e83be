//! What SCRAM is judged by, and what it shows for names that nobody has.

use std::fs;

use directory::{
    Directory, FileFormat, FileSettings, Gives, Query, SourceKind, SourceSettings, Verdict,
};
use model::{Proof, Protocol, Reason, Secret, StoredKey, UserName};
use proto::sasl::scram::Verifier;
use tempfile::{TempDir, tempdir};

use super::{DEADLINE, settings};

/// The example of RFC 7677 section 3: the password is `pencil`.
const PENCIL: &str = "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,\
                      WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,\
                      wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
/// That of `pencil` with another salt.
const OTHER: &str = "{SCRAM-SHA-256}4096,AAAAAAAAAAAAAAAAAAAAAA==,\
                     WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qA=,\
                     wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn source(folder: &TempDir, users: &str) -> SourceSettings {
    let path = folder.path().join("users.toml");
    fs::write(&path, format!("[users]\n{users}")).unwrap();
    let check_every = std::time::Duration::ZERO;
    let kind = SourceKind::File(FileSettings { path, format: FileFormat::Toml, check_every });
    SourceSettings { scram: true, ..SourceSettings::new("users", kind) }
}

fn open(folder: &TempDir, chain: Vec<SourceSettings>) -> Directory {
    Directory::open(settings(folder.path(), chain)).unwrap()
}

fn query(directory: &Directory, user: &str) -> Query {
    let user = directory.canonical(&UserName::new(user).unwrap()).unwrap();
    Query::without_client(user, Protocol::Imap)
}

/// The salt that a name is shown, and why nothing would prove it.
async fn shown(directory: &Directory, user: &str) -> Result<(Vec<u8>, Option<Reason>), Reason> {
    let asked = tokio::time::timeout(DEADLINE, directory.to_prove(&query(directory, user))).await;
    let to_prove = asked.unwrap().map_err(|unavailable| unavailable.reason)?;
    assert_eq!(to_prove.verifier.iterations(), 4096);
    Ok((to_prove.verifier.salt().to_vec(), to_prove.unprovable))
}

async fn admitted(directory: &Directory, user: &str, key: StoredKey) -> &'static str {
    let proof = Proof::Scram(key);
    match directory.admit(&query(directory, user), &proof, 1).await {
        Ok(Verdict::Admit(route)) if route.judged => "judged",
        Ok(Verdict::Admit(_)) => "not judged",
        Ok(Verdict::Refused(refused)) => refused.reason.word(),
        Ok(Verdict::Unknown) => "unknown",
        Err(unavailable) => unavailable.reason.word(),
    }
}

/// The key that `PENCIL` holds.
fn pencil() -> StoredKey {
    StoredKey::new([
        0x58, 0x6e, 0x5d, 0xf2, 0x83, 0xe6, 0xdc, 0xeb, 0x5c, 0x3e, 0x79, 0x1d, 0x8b, 0x85, 0x28,
        0xec, 0x19, 0x1e, 0x66, 0x40, 0x45, 0xce, 0x97, 0x17, 0x92, 0xe2, 0xe6, 0xb5, 0xbb, 0x13,
        0xe2, 0xa6,
    ])
}

#[tokio::test]
async fn a_user_is_shown_his_own_salt_and_nobody_a_decoy_that_stays() {
    let folder = tempdir().unwrap();
    let users = format!(
        "bob = {{ backend = \"a\", password_hash = \"{PENCIL}\" }}\n\
         off = {{ backend = \"a\", password_hash = \"{PENCIL}\", disabled = true }}\n\
         crypt = {{ backend = \"a\", password_hash = \"{{SHA}}qUqP5cyxm6YcTAhz05Hph5gvu9M=\" }}\n\
         none = \"a\"\n\
         bad = {{ backend = \"a\", password_hash = \"{{SCRAM-SHA-256}}1,2\" }}\n"
    );
    let source = source(&folder, &users);
    let directory = open(&folder, vec![source.clone()]);
    let salt = [
        0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa,
        0x81,
    ];
    assert_eq!(shown(&directory, "bob").await, Ok((salt.to_vec(), None)));
    assert_eq!(shown(&directory, "off").await, Ok((salt.to_vec(), Some(Reason::UserDisabled))));
    let mut decoys = Vec::new();
    for (name, reason) in [
        ("nobody", Reason::UnknownUser),
        ("nobody else", Reason::UnknownUser),
        ("crypt", Reason::DirectoryMisconfigured),
        ("none", Reason::DirectoryMisconfigured),
    ] {
        let (salt, unprovable) = shown(&directory, name).await.unwrap();
        assert_eq!((salt.len(), unprovable), (16, Some(reason)), "{name}");
        assert_eq!(shown(&directory, name).await.unwrap().0, salt);
        decoys.push((name, salt));
    }
    decoys.sort_by(|one, other| one.1.cmp(&other.1));
    decoys.dedup_by(|one, other| one.1 == other.1);
    assert_eq!(decoys.len(), 4);
    // It cannot be said what his password is.
    assert_eq!(shown(&directory, "bad").await, Err(Reason::DirectoryMisconfigured));
    drop(directory);
    let again = open(&folder, vec![source]);
    for (name, salt) in decoys {
        assert_eq!(shown(&again, name).await.unwrap().0, salt, "{name}");
    }
}

#[tokio::test]
async fn a_proof_lets_in_only_by_the_key_that_is_still_the_user_s() {
    let folder = tempdir().unwrap();
    let users = format!(
        "bob = {{ backend = \"a\", password_hash = \"{PENCIL}\" }}\n\
         eve = {{ backend = \"a\", password_hash = \"{OTHER}\" }}\n\
         off = {{ backend = \"a\", password_hash = \"{PENCIL}\", disabled = true }}\n\
         none = \"a\"\n"
    );
    // All back ends judge by themselves: that does not count here.
    let directory = open(&folder, vec![source(&folder, &users)]);
    assert_eq!(admitted(&directory, "bob", pencil()).await, "judged");
    assert_eq!(admitted(&directory, "bob", StoredKey::new([0; 32])).await, "wrong-password");
    for (user, said) in [
        ("eve", "wrong-password"),
        ("off", "user-disabled"),
        ("none", "wrong-password"),
        ("nobody", "unknown"),
    ] {
        assert_eq!(admitted(&directory, user, pencil()).await, said, "{user}");
    }
    let by_password = Proof::Password(Secret::new("pencil").unwrap());
    let verifying = SourceSettings { verify: true, ..source(&folder, &users) };
    let verifying = open(&folder, vec![verifying]);
    let verdict = verifying.admit(&query(&verifying, "bob"), &by_password, 1).await;
    assert!(matches!(verdict, Ok(Verdict::Admit(route)) if route.judged));
}

#[tokio::test]
async fn a_password_that_is_changed_within_an_exchange_lets_nobody_in() {
    let folder = tempdir().unwrap();
    let bob = |stored: &str| format!("bob = {{ backend = \"a\", password_hash = \"{stored}\" }}\n");
    let directory = open(&folder, vec![source(&folder, &bob(PENCIL))]);
    assert_eq!(shown(&directory, "bob").await.unwrap().1, None);
    source(&folder, &bob(OTHER));
    let until = std::time::Instant::now() + DEADLINE;
    while admitted(&directory, "bob", pencil()).await != "wrong-password" {
        assert!(std::time::Instant::now() < until, "the file is not read again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_source_of_attributes_has_the_verifiers_of_those_whom_another_knows() {
    let folder = tempdir().unwrap();
    let users = format!(
        "bob = {{ password_hash = \"{PENCIL}\" }}\neve = {{ password_hash = \"{PENCIL}\" }}\n"
    );
    let attributes = SourceSettings { gives: Gives::Attributes, ..source(&folder, &users) };
    let homes = folder.path().join("homes.toml");
    fs::write(&homes, "[users]\nbob = \"a\"\n").unwrap();
    let directory = open(&folder, vec![super::file(&homes), attributes]);
    assert_eq!(shown(&directory, "bob").await.unwrap().1, None);
    assert_eq!(shown(&directory, "eve").await.unwrap().1, Some(Reason::UnknownUser));
    assert_eq!(admitted(&directory, "bob", pencil()).await, "judged");
}

#[tokio::test]
async fn without_a_source_that_has_verifiers_nothing_is_shown_and_no_key_is_made() {
    let folder = tempdir().unwrap();
    let users = format!("bob = {{ backend = \"a\", password_hash = \"{PENCIL}\" }}\n");
    let undeclared = SourceSettings { scram: false, ..source(&folder, &users) };
    let directory = open(&folder, vec![undeclared]);
    assert_eq!(shown(&directory, "bob").await, Err(Reason::DirectoryMisconfigured));
    assert!(directory.decoy(&UserName::new("x").unwrap()).is_err());
    assert!(!folder.path().join("state/scram-decoys.key").exists());
}

#[tokio::test]
async fn the_verifier_that_is_shown_is_that_of_the_password() {
    let folder = tempdir().unwrap();
    let users = format!("bob = {{ backend = \"a\", password_hash = \"{PENCIL}\" }}\n");
    let directory = open(&folder, vec![source(&folder, &users)]);
    let to_prove = directory.to_prove(&query(&directory, "bob")).await.unwrap();
    let is_of = |verifier: &Verifier, text: &str| verifier.is_of(&Secret::new(text).unwrap());
    assert!(is_of(&to_prove.verifier, "pencil") && !is_of(&to_prove.verifier, "pen"));
    let decoy = directory.to_prove(&query(&directory, "nobody")).await.unwrap();
    assert!(!is_of(&decoy.verifier, "pencil") && !is_of(&decoy.verifier, ""));
}
