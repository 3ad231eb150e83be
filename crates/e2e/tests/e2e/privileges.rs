//! Root's privileges are used to listen and then dropped for good.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use e2e::{
    cases,
    door::{Door, HEAD, LISTENERS, SOON, backend, everybody_at, usual},
    house::House,
    processes::status,
    programs::text,
    runner::Case,
    secrets::password,
    stub::Stub,
};
use nix::unistd::{User, geteuid};
use testkit::{posthouse, wait};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        root_becomes_the_configured_user_with_all_ids,
        who_is_not_root_is_told_what_needs_root,
        the_state_folder_is_its_owners_alone,
    ]
}

const NOBODY: &str = "nobody";

fn stub() -> Stub {
    Stub::imap(|mut talk| talk.rest().map(|_| ()))
}

/// Lets others pass through the test's folder, but not into the state.
fn passable(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
}

fn root_becomes_the_configured_user_with_all_ids(_: &House) {
    let stub = stub();
    let rest = backend("a", stub.port(), stub.port());
    let config = format!("user = \"{NOBODY}\"\n{}", usual(&rest));
    let door = Door::open_with(&config, &[], passable);
    if geteuid().is_root() {
        let nobody = User::from_name(NOBODY).unwrap().unwrap();
        for pid in door.pids() {
            let all = |id: u32| [id; 4].map(|id| id.to_string()).join("\t");
            assert_eq!(status(pid, "Uid"), all(nobody.uid.as_raw()));
            assert_eq!(status(pid, "Gid"), all(nobody.gid.as_raw()));
            assert_eq!(status(pid, "Groups"), nobody.gid.as_raw().to_string());
            assert_eq!(status(pid, "NoNewPrivs"), "1");
            for capabilities in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
                assert_eq!(status(pid, capabilities).trim_start_matches('0'), "");
            }
        }
        let threads = fs::read_dir(format!("/proc/{}/task", door.pid())).unwrap();
        for thread in threads {
            let text = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            let line = text.lines().find(|line| line.starts_with("Uid:")).unwrap();
            assert!(!line.split_whitespace().any(|id| id == "0"), "{line}");
        }
        let state = fs::metadata(door.folder().join("state")).unwrap();
        assert_eq!((state.uid(), state.mode() & 0o077), (nobody.uid.as_raw(), 0));
    } else {
        // Who is nobody to change keeps the user he is.
        assert_eq!(status(door.pid(), "Uid").split('\t').next().unwrap(), geteuid().to_string());
    }
    // All goes on: the table is written, a login, a second look at the certificate.
    door.does(&["user", "place", "anna", "a"]);
    assert!(door.imap_answer("anna", &password("anna")).starts_with("OK "), "{}", door.log_text());
    let kept = door.folder().join("state/capabilities.json");
    assert!(wait::until(SOON, || kept.exists()), "{}", door.log_text());
    // An act without the daemon, done by root, leaves nothing behind that the daemon could not use.
    let mut door = door;
    door.terminate().unwrap();
    assert!(door.wait_exit(SOON).unwrap().success());
    door.does(&["user", "place", "bert", "a"]);
    let owner = fs::metadata(door.folder().join("state")).unwrap().uid();
    for entry in fs::read_dir(door.folder().join("state")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), owner, "{:?}", entry.path());
    }
}

fn who_is_not_root_is_told_what_needs_root(_: &House) {
    let folder = posthouse::new_folder().unwrap();
    let root = geteuid().is_root();
    // As root, a user that there is not; else a port that only root may have.
    let (user, port) = if root { ("user = \"no-such-user-here\"\n", 1143) } else { ("", 143) };
    let config = format!(
        "{user}{HEAD}[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:{port}\"\n\
         tls = \"none\"\nallow_clear_logins = true\n{}{}",
        backend("a", 1, 1),
        everybody_at("a")
    );
    let config = posthouse::write_config(folder.path(), &config).unwrap();
    let free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if !root && free.is_ok_and(|start| start.trim().parse::<u16>().is_ok_and(|start| start <= port))
    {
        // This host gives that port to everybody.
        return;
    }
    let output = posthouse::run(&config, &["serve"]).unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    let wanted = if root { "there is no user \"no-such-user-here\"" } else { "need root" };
    assert!(said.contains(wanted), "{said}");
}

fn the_state_folder_is_its_owners_alone(_: &House) {
    let stub = stub();
    let rest = backend("a", stub.port(), stub.port());
    let door = Door::open(&usual(&rest));
    door.does(&["user", "place", "anna", "a"]);
    let state = door.folder().join("state");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in ["control.sock", "directory.sqlite"] {
        assert_eq!(mode(&state.join(file)) & 0o077, 0, "{file}");
    }
    // One that others can write to is refused.
    let folder = posthouse::new_folder().unwrap();
    testkit::certs::write_into(folder.path(), &[], testkit::certs::KeyKind::Ecdsa).unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::set_permissions(folder.path().join("state"), Permissions::from_mode(0o777)).unwrap();
    let config = format!("{HEAD}{LISTENERS}{rest}")
        .replace("@IMAP@", "1143")
        .replace("@IMAPS@", "1993")
        .replace("@POP3@", "1110")
        .replace("@POP3S@", "1995");
    let config = posthouse::write_config(folder.path(), &config).unwrap();
    let output = posthouse::run(&config, &["serve"]).unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("others can write there"), "{}", text(&output));
}
