//! Runs the program in a folder of its own and reads what it says.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{ports::free_port, wait};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const PROGRAM: &str = env!("CARGO_BIN_EXE_posthouse");

/// A folder with a configuration.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    /// The clear IMAP listener.
    pub(crate) imap: SocketAddr,
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:?}");
        self
    }
}

impl Place {
    /// One clear IMAP listener, two back ends where nobody answers, the table.
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same, with lines before the first table.
    pub(crate) fn with(first: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("posthouse-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let imap = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let nobody = free_port().unwrap();
        let place = Self { folder, imap };
        place.configure(&format!(
            "{first}\nstate = \"state\"\nworkers = 1\n\
             [[listener]]\nprotocol = \"imap\"\naddress = \"{imap}\"\ntls = \"none\"\n\
             allow_clear_logins = true\n\
             [backend.a]\naddress = \"127.0.0.1\"\nimap_port = {nobody}\ntls = \"none\"\n\
             [backend.b]\naddress = \"127.0.0.1\"\nimap_port = {nobody}\ntls = \"none\"\n"
        ));
        place
    }

    pub(crate) fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn add(&self, text: &str) {
        self.configure(&format!("{}{text}", fs::read_to_string(self.config()).unwrap()));
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("posthouse.toml")
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join("state").join(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--config").arg(self.config()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        done(&mut self.command(arguments))
    }

    /// Runs it with a text on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A program that refuses before it has read all is right to.
        let writing = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        told(output)
    }

    pub(crate) fn serve(&self) -> Daemon {
        let daemon = Daemon::start(self);
        daemon.wait_for("ready");
        daemon
    }
}

pub(crate) fn done(command: &mut Command) -> Done {
    told(command.output().unwrap())
}

fn told(output: std::process::Output) -> Done {
    Done {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A daemon, killed when the test is over.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    pub(crate) fn start(place: &Place) -> Self {
        let mut command = place.command(&["serve"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::<Mutex<String>>::default();
        let writing = Arc::clone(&log);
        thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|count| count > 0) {
                writing.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        Self { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) {
        let seen = wait::until(PATIENCE, || self.log().contains(words));
        assert!(seen, "no `{words}` in\n{}", self.log());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How it ended, within a limit.
    #[track_caller]
    pub(crate) fn ended(&mut self, limit: Duration) -> ExitStatus {
        let ended = wait::poll(limit, || self.child.try_wait().unwrap());
        ended.unwrap_or_else(|| panic!("it still runs\n{}", self.log.lock().unwrap()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a line from a peer.
pub(crate) fn line(peer: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") && peer.read(&mut byte).unwrap() > 0 {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}
