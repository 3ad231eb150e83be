//! The built `posthouse` program, run as its users run it.
//! Nothing here knows its configuration format.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::Group;
use crate::servers::ServerError;
use crate::{wait, workspace};

/// How long Posthouse may take until it says that it is ready.
const READY_DEADLINE: Duration = Duration::from_secs(15);
/// What the log line of a started Posthouse holds.
const READY_WORD: &str = "ready";
/// Placeholder in configuration texts for the fixture's temporary folder.
pub const FOLDER: &str = "@FOLDER@";

/// Lines of standard error, filled by a reader thread.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        self.lines().push(line);
        self.more.notify_all();
    }
}

/// A running Posthouse; dropped, it is killed and its folder goes.
#[derive(Debug)]
pub struct Posthouse {
    group: Group,
    log: Arc<Log>,
    folder: TempDir,
}

/// How to start Posthouse where `Posthouse::start` is not enough.
#[derive(Debug, Default)]
pub struct PosthouseOptions {
    /// Environment variables set for it.
    pub environment: Vec<(String, String)>,
    /// Arguments after `serve --config FILE`.
    pub arguments: Vec<String>,
    /// Addresses that must accept before it counts as started.
    pub listeners: Vec<SocketAddr>,
}

impl Posthouse {
    /// Starts `posthouse serve` with this configuration and waits until it is ready; `@FOLDER@` in the text
    /// becomes the fixture's temporary folder.
    ///
    /// # Errors
    /// When it is not built, or does not become ready; the error holds its log.
    pub fn start(config: &str) -> Result<Self, ServerError> {
        Self::start_in(new_folder()?, config, &PosthouseOptions::default())
    }

    /// As [`Posthouse::start`], in a folder that the caller has filled (see [`new_folder`]).
    ///
    /// # Errors
    /// As [`Posthouse::start`].
    pub fn start_in(
        folder: TempDir,
        config: &str,
        options: &PosthouseOptions,
    ) -> Result<Self, ServerError> {
        let program = program()?;
        let path = write_config(folder.path(), config)?;
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .arg("--config")
            .arg(&path)
            .args(&options.arguments)
            .envs(options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut group =
            Group::start(command, folder.path()).map_err(ServerError::io("start posthouse"))?;
        let log = Arc::new(Log::default());
        if let Some(stderr) = group.take_stderr() {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    log.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                }
            });
        }
        let mut started = Self { group, log, folder };
        started.wait_ready(&options.listeners)?;
        Ok(started)
    }

    fn wait_ready(&mut self, listeners: &[SocketAddr]) -> Result<(), ServerError> {
        let end = Instant::now() + READY_DEADLINE;
        let ready = wait::poll(READY_DEADLINE, || {
            if let Some(status) = self.wait_exit(Duration::ZERO) {
                return Some(Err(format!("ended at start with {status}")));
            }
            self.log.lines().iter().any(|line| tells_ready(line)).then_some(Ok(()))
        });
        let ready = ready.unwrap_or_else(|| Err(format!("did not say {READY_WORD:?} in time")));
        let failure = ready.err().or_else(|| {
            let left = end.saturating_duration_since(Instant::now());
            let deaf = listeners.iter().find(|address| {
                !wait::until(left, || std::net::TcpStream::connect(address).is_ok())
            })?;
            Some(format!("does not listen on {deaf}"))
        });
        match failure {
            None => Ok(()),
            Some(why) => {
                // The last words may still be on their way through the pipe.
                self.wait_log(Duration::from_millis(200), |_| false);
                Err(ServerError::NotReady { server: "posthouse", why, log: self.log_text() })
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    /// Its living processes.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.group.pids()
    }

    /// The temporary folder with its configuration, `posthouse.toml`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All lines it has logged so far.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lines().clone()
    }

    /// All it has logged so far, for messages of failed tests.
    #[must_use]
    pub fn log_text(&self) -> String {
        self.log_lines().join("\n")
    }

    /// The first logged line (past or coming) that fits; `None` after `deadline`.
    pub fn wait_log(&self, deadline: Duration, fits: impl Fn(&str) -> bool) -> Option<String> {
        let end = Instant::now() + deadline;
        let mut seen = 0;
        let mut lines = self.log.lines();
        loop {
            if let Some(line) = lines.iter().skip(seen).find(|line| fits(line)) {
                return Some(line.clone());
            }
            seen = lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.log.more.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.group.signal(signal)
    }

    /// Sends SIGTERM: it lets its sessions go on and ends.
    ///
    /// # Errors
    /// When it is gone.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Waits for its end; `None` if it still runs after `deadline`.
    pub fn wait_exit(&mut self, deadline: Duration) -> Option<ExitStatus> {
        self.group.wait_exit(deadline)
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.group.stop(Duration::ZERO);
    }

    /// Runs another `posthouse` command with this instance's configuration: `command(&["user", "place", ...])`.
    ///
    /// # Errors
    /// When it cannot be started. A failed command is no error here.
    pub fn command(&self, arguments: &[&str]) -> Result<Output, ServerError> {
        run(&self.folder.path().join("posthouse.toml"), arguments)
    }
}

/// Whether a log line, text or JSON, has the word by itself ("already" is none).
fn tells_ready(line: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == READY_WORD)
}

/// A temporary folder for [`Posthouse::start_in`].
///
/// # Errors
/// Whatever the file system says.
pub fn new_folder() -> Result<TempDir, ServerError> {
    workspace::temporary_folder("run").map_err(ServerError::io("start posthouse"))
}

/// Writes `posthouse.toml` into `folder`, with `@FOLDER@` replaced by its path.
///
/// # Errors
/// Whatever the file system says.
pub fn write_config(folder: &Path, config: &str) -> Result<std::path::PathBuf, ServerError> {
    let path = folder.join("posthouse.toml");
    let text = config.replace(FOLDER, &folder.to_string_lossy());
    fs::write(&path, text).map_err(ServerError::io(format!("write {}", path.display())))?;
    Ok(path)
}

/// Runs a `posthouse` command to its end, with the configuration file at `config`.
///
/// # Errors
/// When it is not built or cannot be started. A failed command is no error here.
pub fn run(config: &Path, arguments: &[&str]) -> Result<Output, ServerError> {
    let mut command = Command::new(program()?);
    command.args(arguments).arg("--config").arg(config).stdin(Stdio::null());
    command.output().map_err(ServerError::io(format!("run {command:?}")))
}

fn program() -> Result<std::path::PathBuf, ServerError> {
    workspace::built_program("posthouse").map_err(ServerError::io("find posthouse"))
}
