//! Nothing outlives what started it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::certs::{self, KeyKind};
use testkit::process::Group;
use testkit::{wait, workspace};

/// A shell and two of its children, one of which left the group, as PostgreSQL's do.
fn group_of_three(folder: &std::path::Path) -> Group {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 30 & setsid sleep 30 & wait"]).stdout(Stdio::null());
    let group = Group::start(command, folder).unwrap();
    let commands = || {
        let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mut names: Vec<String> = group.pids().into_iter().map(name).collect();
        names.sort_unstable();
        names
    };
    assert!(wait::until(Duration::from_secs(5), || commands() == ["sh\n", "sleep\n", "sleep\n"]));
    group
}

#[test]
fn a_dropped_group_leaves_no_process() {
    let folder = workspace::temporary_folder("test").unwrap();
    let group = group_of_three(folder.path());
    let pids = group.pids();
    drop(group);
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(" Z "), "{stat}");
    }
}

#[test]
fn a_group_ends_with_the_program_that_started_it_even_when_that_is_killed() {
    // This test runs itself as another program, which is killed while it holds a group.
    const FOLDER: &str = "TESTKIT_HELD_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let group = group_of_three(folder.as_ref());
        fs::write(std::path::Path::new(&folder).join("pids"), format!("{:?}", group.pids()))
            .unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let folder = workspace::temporary_folder("test").unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let name = "processes::a_group_ends_with_the_program_that_started_it_even_when_that_is_killed";
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(FOLDER, &inner)
        .spawn()
        .unwrap();
    let pids = wait::poll(Duration::from_secs(10), || {
        let text = fs::read_to_string(inner.join("pids")).ok()?;
        let inside = text.strip_prefix('[')?.strip_suffix(']')?;
        Some(inside.split(", ").map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>())
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    for pid in pids.unwrap() {
        assert!(wait::until(Duration::from_secs(5), || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(" Z ")
        }));
    }
    assert!(wait::until(Duration::from_secs(5), || !inner.exists()));
}

#[test]
fn openssl_accepts_certificates_of_both_kinds_for_loopback_and_given_names() {
    for kind in [KeyKind::Ecdsa, KeyKind::Rsa2048] {
        let folder = workspace::temporary_folder("test").unwrap();
        let files = certs::write_into(folder.path(), &["mail.example.org"], kind).unwrap();
        for (option, name) in [
            ("-verify_hostname", "localhost"),
            ("-verify_ip", "127.0.0.1"),
            ("-verify_ip", "::1"),
            ("-verify_hostname", "mail.example.org"),
        ] {
            let mut command = Command::new("openssl");
            command.args(["verify", option, name, "-CAfile"]).arg(&files.ca).arg(&files.cert);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
