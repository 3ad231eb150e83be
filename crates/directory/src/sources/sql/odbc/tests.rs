//! Workers that say what a test has them say, good or hostile: shell scripts.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use model::{CanonicalUser, Protocol, Reason, Secret, UserName};
use tempfile::{TempDir, tempdir};
use tokio::time::timeout;

use super::*;
use crate::{
    Dialect, Query, Task,
    sources::{Found, Said},
};

const SOON: Duration = Duration::from_secs(10);
const BRIEFLY: Duration = Duration::from_millis(400);

/// A worker of a script, which tells the ids of its processes in `pids`.
struct Stage {
    folder: TempDir,
    odbc: Odbc,
}

impl Stage {
    fn new(script: &str) -> Self {
        Self::with_frames(script, &[])
    }

    /// The script finds these frames in `frames`.
    fn with_frames(script: &str, frames: &[(u64, Report<'_>)]) -> Self {
        let folder = tempdir().unwrap();
        let bytes: Vec<_> = frames
            .iter()
            .flat_map(|(number, report)| report.frame(*number).unwrap().to_vec())
            .collect();
        fs::write(folder.path().join("frames"), bytes).unwrap();
        let program = folder.path().join("worker");
        let text = format!("#!/bin/sh\ncd {}\necho $$ >>pids\n{script}\n", folder.path().display());
        make_program(&program, &text);
        let odbc = Odbc::new(&settings(vec![program]), SOON);
        Self { folder, odbc }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn ask(&self, user: &str) -> Result<Said, CannotSay> {
        timeout(SOON, ask(&self.odbc, user)).await.unwrap()
    }

    async fn found(&self, user: &str) -> Found {
        match self.ask(user).await {
            Ok(Said::Found(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    async fn cannot(&self, user: &str) -> CannotSay {
        self.ask(user).await.unwrap_err()
    }

    /// The processes that were started.
    fn started(&self) -> Vec<u32> {
        let pids = fs::read_to_string(self.path("pids")).unwrap_or_default();
        pids.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// What it was told, as soon as these words have come so often.
    async fn heard(&self, words: &str, times: usize) -> String {
        let began = Instant::now();
        loop {
            let heard = fs::read(self.path("heard")).unwrap_or_default();
            let heard = String::from_utf8_lossy(&heard).into_owned();
            if heard.matches(words).count() == times {
                return heard;
            }
            assert!(began.elapsed() < SOON, "{heard}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until none of them is left.
    async fn wait_until_all_are_gone(&self) {
        let began = Instant::now();
        while self.started().iter().any(|pid| is_alive(*pid)) {
            assert!(began.elapsed() < SOON, "a worker outlives its use");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Made by another process: while one of this process has a program open to write it, and another thread starts
/// anything, it cannot be started.
fn make_program(path: &Path, text: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"cat >"$1"; chmod 755 "$1""#, "sh"]).arg(path).stdin(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// Whether a process has not ended yet.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, behind)| !behind.starts_with('Z'))
}

fn settings(programs: Vec<PathBuf>) -> OdbcSettings {
    let secret = Secret::new("DSN=mail;UID=posthouse;PWD=hunter2").unwrap();
    let query = "SELECT backend FROM users WHERE name = :user AND home = :domain";
    OdbcSettings {
        connection: Some(ConnectionString::new(secret).unwrap()),
        programs,
        connections: 2,
        query: Statement::parse(query, Dialect::Odbc, Task::LookUp).unwrap(),
    }
}

async fn ask(odbc: &Odbc, user: &str) -> Result<Said, CannotSay> {
    let user = CanonicalUser::declare(UserName::new(user).unwrap());
    let query = Arc::new(Query::without_client(user.clone(), Protocol::Imap));
    odbc.ask(Question { query, key: user.as_str().into(), offer: None }).await
}

/// What a good worker says to its first question.
fn north(number: u64) -> [(u64, Report<'static>); 3] {
    [
        (number, Report::Columns(vec!["BACKEND", "password", "disabled"])),
        (
            number,
            Report::Row(vec![Cell::Text("north"), Cell::Bytes(b"s3cret"), Cell::Boolean(false)]),
        ),
        (number, Report::End),
    ]
}

const OPENED: (u64, Report<'static>) = (0, Report::Opened);

/// Says all that it has to say, and hears what it is told until it is hung up on.
const SPEAKS: &str = "cat frames; exec cat >heard";

#[tokio::test]
async fn what_a_worker_says_is_an_answer_and_the_worker_is_kept() {
    let [columns, row, end] = north(1);
    let frames = [
        [OPENED].as_slice(),
        &[columns, row, end],
        &[(2, Report::Columns(vec!["backend"])), (2, Report::End)],
        &north(3),
    ]
    .concat();
    let stage = Stage::with_frames(SPEAKS, &frames);
    let found = stage.found("anna@example.org").await;
    assert_eq!(found.places.len(), 1);
    assert_eq!(found.secret.unwrap().reveal(), b"s3cret");
    assert!(matches!(stage.ask("nobody").await, Ok(Said::Unknown)));
    stage.found("anna@example.org").await;
    assert_eq!(stage.started().len(), 1);
    let heard = stage.heard("anna@example.org", 2).await;
    assert!(heard.contains("DSN=mail;UID=posthouse;PWD=hunter2"), "{heard}");
    assert!(heard.contains("name = ? AND home = ?"), "{heard}");
    assert!(!heard.contains("'anna"), "{heard}");
}

#[tokio::test]
async fn what_no_worker_would_say_is_no_answer_and_costs_it_its_life() {
    let endless = "cat frames; while cat row; do :; done";
    let [columns, row, _] = north(1);
    let row_frame = row.1.frame(1).unwrap();
    let begun = [OPENED, columns.clone()];
    for (script, frames, expected) in [
        ("exec head -c 3 /dev/zero", vec![], "worker has ended, exit status: 0"),
        ("printf 'GET / HTTP/1.1'; exec cat >heard", vec![], "sent a frame of 1195725856 bytes"),
        ("printf '\\0\\0\\0\\0'; exec cat >heard", vec![], "sent a frame of 0 bytes"),
        ("printf '\\0\\0\\0\\1Z'; exec cat >heard", vec![], "sent a frame"),
        ("cat frames; kill -SEGV $$", vec![OPENED], "worker has ended, signal: 11"),
        (SPEAKS, vec![(7, Report::Opened)], "does not keep to what was agreed"),
        (SPEAKS, vec![(0, Report::End)], "does not keep to what was agreed"),
        // Of another question: it must never be taken for this one.
        (SPEAKS, [vec![OPENED], north(2).to_vec()].concat(), "does not keep to"),
        (SPEAKS, vec![OPENED, row.clone()], "does not keep to"),
        (SPEAKS, vec![OPENED, OPENED], "does not keep to"),
        (SPEAKS, [begun.to_vec(), vec![columns.clone()]].concat(), "does not keep to"),
        (SPEAKS, [begun.to_vec(), vec![(1, Report::Row(vec![]))]].concat(), "does not keep to"),
        (endless, begun.to_vec(), "does not keep to"),
    ] {
        let stage = Stage::with_frames(script, &frames);
        fs::write(stage.path("row"), &*row_frame).unwrap();
        let cannot = stage.cannot("anna").await;
        assert_eq!(cannot.reason, Reason::DirectoryUnavailable, "{script}");
        assert!(cannot.detail.contains(expected), "{script}: {cannot:?}");
        stage.wait_until_all_are_gone().await;
    }
}

#[tokio::test]
async fn an_answer_of_no_use_is_of_one_user_and_the_worker_is_kept() {
    let rows = |number, name, cells: Vec<Cell<'static>>| {
        let mut frames = vec![(number, Report::Columns(vec![name]))];
        frames.extend(cells.into_iter().map(|cell| (number, Report::Row(vec![cell]))));
        frames.push((number, Report::End));
        frames
    };
    let answers = [
        (rows(1, "backend", vec![Cell::Long]), "`backend` has more than 4096 bytes"),
        (rows(2, "backend", vec![Cell::Other]), "`backend` is of another type"),
        (rows(3, "backend", vec![Cell::Integer(7)]), "`backend` is a number"),
        (rows(4, "colour", vec![Cell::Text("red")]), "`colour`"),
        (rows(5, "backend", vec![Cell::Text("a"), Cell::Text("b")]), "several rows that differ"),
        (rows(6, "backend", vec![Cell::Text("a"); MOST_ROWS + 1]), "more than 16 rows"),
        (rows(7, "backend", vec![Cell::Text("a\r\nb")]), "`backend` holds a line end"),
    ];
    let frames = answers.iter().flat_map(|(frames, _)| frames.clone());
    let frames: Vec<_> = [OPENED].into_iter().chain(frames).chain(north(8)).collect();
    let stage = Stage::with_frames(SPEAKS, &frames);
    for (_, expected) in &answers {
        let cannot = stage.cannot("anna").await;
        assert_eq!(cannot.reason, Reason::DirectoryMisconfigured, "{expected}");
        assert!(cannot.detail.contains(expected), "{cannot:?}");
    }
    stage.found("anna").await;
    assert_eq!(stage.started().len(), 1);
}

#[tokio::test]
async fn what_a_driver_says_is_told_without_secrets() {
    let failed = |state, text| Report::Failed(Told { state, text });
    let words = "[unixODBC]\r\nno access for posthouse with hunter2";
    let stage = Stage::with_frames(SPEAKS, &[(0, failed("28000", words))]);
    let cannot = stage.cannot("anna").await;
    assert_eq!(cannot.reason, Reason::DirectoryUnavailable);
    assert_eq!(cannot.detail, "[unixODBC]  no access for posthouse with ... (28000)");
    for (state, reason) in
        [("22003", Reason::DirectoryMisconfigured), ("HYT00", Reason::DirectoryUnavailable)]
    {
        let frames = [[OPENED, (1, failed(state, "no"))].as_slice(), &north(2)].concat();
        let stage = Stage::with_frames(SPEAKS, &frames);
        assert_eq!(stage.cannot("anna").await.reason, reason);
        // It was of that question alone.
        stage.found("anna").await;
        assert_eq!(stage.started().len(), 1);
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_killed_with_the_question() {
    for script in ["exec sleep 1000", "cat frames; exec sleep 1000"] {
        let stage = Stage::with_frames(script, &[OPENED]);
        assert!(timeout(BRIEFLY, ask(&stage.odbc, "anna")).await.is_err(), "it answered");
        stage.wait_until_all_are_gone().await;
        assert!(!stage.started().is_empty());
    }
}

#[tokio::test]
async fn after_a_crash_there_is_another_worker() {
    let stage = Stage::with_frames(SPEAKS, &[[OPENED].as_slice(), &north(1)].concat());
    for count in 1..=3 {
        stage.found("anna").await;
        let started = stage.started();
        assert_eq!(started.len(), count);
        let pid = started.last().unwrap().to_string();
        assert!(Command::new("kill").args(["-SEGV", &pid]).status().unwrap().success());
        stage.wait_until_all_are_gone().await;
    }
}

#[tokio::test]
async fn a_worker_that_cannot_be_loaded_is_told_with_its_words() {
    let stage = Stage::new("echo 'libodbc.so.2: cannot open shared object file' >&2; exit 127");
    let cannot = stage.cannot("anna").await;
    assert_eq!(cannot.reason, Reason::DirectoryUnavailable);
    let told = "the worker has ended, exit status: 127: libodbc.so.2: cannot open";
    assert!(cannot.detail.starts_with(told), "{cannot:?}");
}

#[tokio::test]
async fn without_a_worker_it_says_where_it_looked() {
    let folder = tempdir().unwrap();
    let program = |name: &str| folder.path().join(name);
    let odbc = Odbc::new(&settings(vec![program("one"), program("other")]), SOON);
    let cannot = ask(&odbc, "anna").await.unwrap_err();
    assert_eq!(cannot.reason, Reason::DirectoryUnavailable);
    assert!(cannot.detail.contains("/one or ") && cannot.detail.contains("/other"), "{cannot:?}");
    fs::write(program("one"), "no program").unwrap();
    let cannot = CannotSay::unavailable(Worker::start(&[program("one")]).err().unwrap().detail);
    assert!(cannot.detail.contains("denied") && cannot.detail.contains("/one"), "{cannot:?}");
    let unread = OdbcSettings { connection: None, ..settings(vec![program("one")]) };
    let cannot = ask(&Odbc::new(&unread, SOON), "anna").await.unwrap_err();
    assert!(cannot.detail.contains("could not be read"), "{cannot:?}");
}

#[tokio::test]
async fn a_question_that_is_too_long_is_of_that_user_alone() {
    let stage = Stage::with_frames(SPEAKS, &[[OPENED].as_slice(), &north(2)].concat());
    let long = "x".repeat(proto::worker::LONGEST_BODY);
    let workers = &stage.odbc.workers;
    let job = Job { statement: Arc::clone(&stage.odbc.query), values: vec![long] };
    let cannot = workers.look_up(job).await.err().unwrap();
    assert_eq!(cannot.reason, Reason::DirectoryMisconfigured);
    stage.found("anna").await;
}

#[test]
fn what_is_printed_holds_no_secret() {
    let settings = settings(vec![Path::new("/nowhere").to_owned()]);
    let shown = format!("{settings:?} {:?}", Odbc::new(&settings, SOON));
    assert!(!shown.contains("hunter2"), "{shown}");
}
