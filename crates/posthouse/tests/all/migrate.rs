//! Accounts are migrated between servers by the program, as its operator gives the command.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    imap_server::{Act, ImapServer, Mail, Privacy, Profile, Rule},
    wait,
};

use crate::program::{Done, PATIENCE, done};

const PROGRAM: &str = env!("CARGO_BIN_EXE_posthouse");

/// Two servers, and a folder with passwords and what is remembered.
struct Street {
    old: ImapServer,
    new: ImapServer,
    folder: TempDir,
}

impl Street {
    fn new(old: Privacy, new: Privacy) -> Self {
        let old = ImapServer::start_with(Profile::cyrus(), old).unwrap();
        let new = ImapServer::start_with(Profile::dovecot(), new).unwrap();
        let street = Self { old, new, folder: TempDir::new().unwrap() };
        for user in ["ann", "bob"] {
            street.old.world().add_account(user, "sesame");
            street.new.world().add_account(user, "hunter2");
        }
        street.file("old.secret", "sesame\n");
        street.file("new.secret", "hunter2\r\n");
        street
    }

    fn clear() -> Self {
        Self::new(Privacy::Clear, Privacy::Clear)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn deliver(&self, user: &str, mailbox: &str, messages: u32) {
        for number in 1..=messages {
            let text = format!("Message-ID: <{number}@{user}>\r\n\r\nbody {number}\r\n");
            self.old.world().deliver(user, mailbox, Mail::new(text).flag("\\Seen"));
        }
    }

    fn count(&self, user: &str, mailbox: &str) -> usize {
        self.new.world().messages(user, mailbox).len()
    }

    fn old(&self, scheme: &str, user: &str) -> String {
        format!("{scheme}://{user}@127.0.0.1:{}", self.old.port())
    }

    fn new_place(&self, user: &str) -> String {
        format!("imap://{user}@127.0.0.1:{}", self.new.port())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("migrate").args(words).arg("--state").arg(self.path("state"));
        command.env_remove("XDG_STATE_HOME").stdin(Stdio::null());
        command
    }

    /// Migrates ann in clear.
    fn ann(&self, more: &[&str]) -> Command {
        let (from, to) = (self.old("imap", "ann"), self.new_place("ann"));
        let (old, new) = (self.path("old.secret"), self.path("new.secret"));
        let mut words = vec!["--from", &from, "--to", &to, "--allow-clear-text"];
        words.extend(["--from-password-file", &old, "--to-password-file", &new]);
        words.extend(more);
        self.command(&words)
    }
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[track_caller]
fn mute(done: &Done) {
    let all = format!("{}{}", done.out, done.err);
    assert!(!all.contains("hunter2") && !all.contains("sesame"), "{all}");
}

#[test]
fn one_account_is_migrated_by_tls_and_starttls_and_again_only_what_is_new() {
    let street = Street::new(Privacy::Tls, Privacy::StartTls);
    street.deliver("ann", "INBOX", 3);
    street.old.world().create("ann", "Work");
    street.deliver("ann", "Work", 2);
    let (from, to) = (street.old("imaps", "ann"), street.new_place("ann"));
    let (old_ca, new_ca) = (street.old.ca().unwrap(), street.new.ca().unwrap());
    let run = || {
        let (old, new) = (street.path("old.secret"), street.path("new.secret"));
        let mut command = street.command(&["--from", &from, "--to", &to]);
        command.args(["--from-password-file", &old, "--to-password-file", &new]);
        command.arg("--from-ca-file").arg(&old_ca).arg("--to-ca-file").arg(&new_ca);
        let done = done(&mut command).good();
        mute(&done);
        done
    };
    let first = run();
    holds(&first.out, &["MAILBOX", "Work", "5 messages", "COMPLETE\n", "Report: "]);
    assert_eq!((street.count("ann", "INBOX"), street.count("ann", "Work")), (3, 2));
    street.deliver("ann", "Work", 1);
    let second = run();
    holds(&second.out, &["1 messages", "COMPLETE\n"]);
    assert_eq!(street.count("ann", "Work"), 3);
    let kept = second.out.lines().find_map(|line| line.strip_prefix("Report: ")).unwrap();
    let report: Value = serde_json::from_str(&fs::read_to_string(kept).unwrap()).unwrap();
    assert_eq!(report["outcome"], "complete");
}

#[test]
fn passwords_come_by_environment_and_command_too() {
    let street = Street::clear();
    street.deliver("ann", "INBOX", 1);
    let (from, to) = (street.old("imap", "ann"), street.new_place("ann"));
    let mut command = street.command(&["--from", &from, "--to", &to, "--allow-clear-text"]);
    command.args(["--from-password-env", "OLD_SECRET", "--to-password-command"]);
    command.arg(format!("cat {}", street.path("new.secret"))).env("OLD_SECRET", "sesame");
    done(&mut command).good();
    assert_eq!(street.count("ann", "INBOX"), 1);
}

#[test]
fn nothing_is_sent_in_clear_text_unasked_and_no_certificate_is_believed_unproved() {
    let street = Street::clear();
    let (from, to) = (street.old("imap", "ann"), street.new_place("ann"));
    let (old, new) = (street.path("old.secret"), street.path("new.secret"));
    let secrets = ["--from-password-file", &old, "--to-password-file", &new];
    let refused = done(street.command(&["--from", &from, "--to", &to]).args(secrets));
    assert_eq!(refused.status, Some(12), "{refused:?}");
    holds(&refused.out, &["FAILED", "STARTTLS"]);
    let log = street.old.log().join("\n");
    assert!(!log.contains("LOGIN") && !log.contains("AUTHENTICATE"), "{log}");
    let private = Street::new(Privacy::Tls, Privacy::Clear);
    let (from, to) = (private.old("imaps", "ann"), private.new_place("ann"));
    let refused = done(private.command(&["--from", &from, "--to", &to]).args(secrets));
    assert_eq!(refused.status, Some(12), "{refused:?}");
    holds(&refused.out, &["FAILED", "UnknownIssuer", "--from-ca-file"]);
}

#[test]
fn a_wrong_password_is_told_with_whose_it_is_and_its_own_status() {
    let street = Street::clear();
    street.file("old.secret", "wrong\n");
    let refused = done(&mut street.ann(&[]));
    assert_eq!(refused.status, Some(161), "{refused:?}");
    holds(&refused.out, &["FAILED: imap://ann@127.0.0.1"]);
    street.file("old.secret", "sesame\n");
    street.file("new.secret", "wrong\n");
    let refused = done(&mut street.ann(&[]));
    assert_eq!(refused.status, Some(162), "{refused:?}");
    assert!(!refused.out.contains("wrong"), "{refused:?}");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let street = Street::clear();
    street.deliver("ann", "INBOX", 3);
    street.old.world().create("ann", "Old");
    let planned = done(&mut street.ann(&["--dry-run", "--map", "Old", "Very Old"])).good();
    holds(&planned.out, &["Very Old", "create", "3 messages", "nothing was changed"]);
    assert_eq!(street.count("ann", "INBOX"), 0);
    assert!(!street.new.world().mailboxes("ann").contains(&b"Very Old".to_vec()));
}

#[test]
fn what_is_chosen_goes_along_and_what_is_refused_is_listed() {
    let street = Street::clear();
    street.deliver("ann", "INBOX", 3);
    street.old.world().create("ann", "Junk");
    street.deliver("ann", "Junk", 3);
    street.new.rule(Rule::new("APPEND", Act::Answer("NO [TOOBIG] no such mail here")));
    let done = done(&mut street.ann(&["--exclude", "Junk", "--subfolder", "from old"])).good();
    holds(&done.out, &["from old/INBOX", "was refused: NO", "COMPLETE WITH WARNINGS"]);
    assert!(!done.out.contains("Junk"), "{done:?}");
    assert_eq!(street.count("ann", "from old/INBOX"), 0);
}

#[test]
fn many_accounts_go_at_a_time_and_one_that_fails_stops_no_other() {
    let street = Street::clear();
    street.deliver("ann", "INBOX", 2);
    street.deliver("bob", "INBOX", 1);
    let (old, new) = (street.old.port(), street.new.port());
    let list = street.file(
        "accounts",
        &format!(
            "# host1;user1;password1;host2;user2;password2;\n\
             imap://127.0.0.1:{old};ann;sesame;imap://127.0.0.1:{new};ann;hunter2;\n\
             imap://127.0.0.1:{old};carl;sesame;imap://127.0.0.1:{new};carl;hunter2;\n\
             imap://127.0.0.1:{old};bob;sesame;imap://127.0.0.1:{new};bob;hunter2;\n"
        ),
    );
    let run = |more: &[&str]| {
        let words = [&["--jobs", &list, "--allow-clear-text", "--per-server", "3"], more].concat();
        let done = done(&mut street.command(&words));
        assert_eq!(done.status, Some(111), "{done:?}");
        mute(&done);
        done
    };
    let first = run(&[]);
    holds(
        &first.out,
        &["FAILED: imap://carl@", "3 accounts: 2 complete, 0 with warnings, 1 failed"],
    );
    assert_eq!((street.count("ann", "INBOX"), street.count("bob", "INBOX")), (2, 1));
    let again = run(&["--skip-complete", "--json"]);
    let events: Vec<Value> =
        again.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let result = |account: u64| {
        let ended = |event: &&Value| event["event"] == "ended" && event["account"] == account;
        events.iter().find(ended).unwrap()["result"].clone()
    };
    assert_eq!(
        (result(1), result(2), result(3)),
        ("skipped".into(), "failed".into(), "skipped".into())
    );
}

/// A server in the shell that has let us in: an INBOX with one message.
const TUNNEL: &str = r#"
printf '* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n'
while read -r tag verb rest; do
    case "$verb $rest" in
        CAPABILITY*) printf '* CAPABILITY IMAP4rev1\r\n' ;;
        LIST*'"*"'*|LIST*\**) printf '* LIST () "/" INBOX\r\n' ;;
        LIST*) printf '* LIST (\\Noselect) "/" ""\r\n' ;;
        STATUS*) printf '* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 7)\r\n' ;;
        EXAMINE*|SELECT*)
            printf '* FLAGS (\\Seen)\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 2] x\r\n' ;;
        *BODY.PEEK\[\]*) printf '* 1 FETCH (UID 1 BODY[] {12}\r\nA: b\r\n\r\nhi\r\n)\r\n' ;;
        *FETCH*) printf '* 1 FETCH (UID 1 FLAGS (\\Seen) RFC822.SIZE 12 INTERNALDATE "17-Jul-1996 02:44:25 +0000")\r\n' ;;
        LOGOUT*) printf '* BYE\r\n%s OK bye\r\n' "$tag"; exit ;;
    esac
    printf '%s OK done\r\n' "$tag"
done
"#;

#[test]
fn behind_a_tunnel_no_password_is_needed() {
    let street = Street::clear();
    let script = street.file("imapd", TUNNEL);
    let (to, new) = (street.new_place("ann"), street.path("new.secret"));
    let migrate = |tunnel: &str| {
        let mut command =
            street.command(&["--from-tunnel", tunnel, "--to", &to, "--allow-clear-text"]);
        done(command.args(["--to-password-file", &new]))
    };
    let migrated = migrate(&format!("sh {script}")).good();
    holds(&migrated.out, &["tunnel:sh ", "1 messages", "COMPLETE"]);
    let held = street.new.world().messages("ann", "INBOX");
    assert_eq!(&*held[0].body, b"A: b\r\n\r\nhi\r\n");
    let login = migrate("printf '* OK who is there?\\r\\n'; cat");
    assert_eq!(login.status, Some(161), "{login:?}");
    holds(&login.out, &["PREAUTH"]);
    let missing = migrate("exec /no/such/imapd");
    assert_eq!(missing.status, Some(161), "{missing:?}");
    holds(&missing.out, &["status 127"]);
}

#[test]
fn two_runs_for_the_same_accounts_exclude_each_other_and_a_signal_ends_one() {
    let street = Street::clear();
    // Nobody answers here.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = format!("imap://ann@{}", silent.local_addr().unwrap());
    let (to, secret) = (street.new_place("ann"), street.path("old.secret"));
    let command = || {
        let mut command = street.command(&["--from", &from, "--to", &to]);
        command.args(["--from-password-file", &secret, "--to-password-file", &secret]);
        command
    };
    let mut first = command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // It has the lock before it connects.
    let (_held, _) = silent.accept().unwrap();
    let second = done(&mut command());
    assert_eq!(second.status, Some(8), "{second:?}");
    holds(&second.out, &["another process"]);
    kill(Pid::from_raw(i32::try_from(first.id()).unwrap()), Signal::SIGINT).unwrap();
    let ended = wait::poll(PATIENCE, || first.try_wait().unwrap());
    assert_eq!(ended.and_then(|status| status.code()), Some(6));
}

#[test]
fn what_is_wrong_on_the_command_line_is_told_with_what_to_write_and_without_secrets() {
    let street = Street::clear();
    let (from, to) = (street.old("imap", "ann"), street.new_place("ann"));
    let secret = street.path("old.secret");
    let both = ["--from-password-file", &secret, "--to-password-file", &secret];
    let list = street.file("list", "old;ann;hunter2\n");
    let cases: [(&[&str], &str); 9] = [
        (&[], "--from is missing: --from imaps://USER@HOST"),
        (&["--from", &from], "--from-password-file"),
        (&["--from", "imaps://ann:hunter2@old.test"], "put it into a file"),
        (&["--from", "old.test"], "imaps://"),
        (&["--from", &from, "--to", &from, both[0], both[1], both[2], both[3]], "to itself"),
        (&["--from", &from, "--from-pin-sha256", "hunter2"], "64 hexadecimal digits"),
        (&["--from", &from, "--from-tunnel", "imapd", both[0], both[1]], "leave the password out"),
        (
            &[
                "--from", &from, "--to", &to, both[0], both[1], both[2], both[3], "--rename", "(",
                "x",
            ],
            "--rename",
        ),
        (&["--jobs", &list], "list: line 1: there are 3 values"),
    ];
    for (words, told) in cases {
        let refused = done(&mut street.command(words));
        assert_eq!(refused.status, Some(2), "{words:?}: {refused:?}");
        holds(&refused.err, &[told]);
        assert!(!refused.err.contains("hunter2"), "{refused:?}");
    }
    let none = street.path("no such file");
    let words = [
        "--from",
        &from,
        "--to",
        &to,
        "--from-password-file",
        &none,
        "--to-password-file",
        &secret,
    ];
    let refused = done(&mut street.command(&words));
    assert_eq!(refused.status, Some(1), "{refused:?}");
    holds(&refused.out, &["no such file: No such file or directory"]);
}

#[test]
fn options_of_imapsync_become_a_command_of_ours() {
    let street = Street::clear();
    let options =
        "--host1 old.test --user1 ann --password1 hunter2 --host2 new.test --user2 ann --delete1";
    let mut command = Command::new(PROGRAM);
    let translated = done(command.args(["migrate", "--from-imapsync", options])).good();
    mute(&translated);
    holds(
        &translated.out,
        &[
            "# --delete1: the old server is never changed\n",
            "posthouse migrate \\\n  --from imaps://ann@old.test \\\n  --from-password-file password1 \\\n",
        ],
    );
    let unclear = done(&mut street.command(&["--from-imapsync", "--host1"]));
    assert_eq!(unclear.status, Some(2), "{unclear:?}");
}
