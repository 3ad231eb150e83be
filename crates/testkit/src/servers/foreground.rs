//! A server program in the foreground, from free ports to the first answer.
//! Nothing here knows which server.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::ServerError;
use crate::certs::CertFiles;
use crate::ports::{HeldPorts, tells_of_collision};
use crate::process::{Clothes, Group};
use crate::wire::Wire;
use crate::{wait, workspace};

/// How long a server may take until it answers.
const READY_DEADLINE: Duration = Duration::from_secs(15);
/// How long a server may take to end by itself after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// Starts tried when another program took a port first.
const ATTEMPTS: usize = 4;

/// Given the folder and the ports.
type Prepare<'a> = &'a dyn Fn(&Path, &[u16]) -> Result<Command, ServerError>;

/// Whose the ports are while the server does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ports {
    /// Anybody's: it never starts again.
    LetGo,
    /// Its own until it is dropped, so that it can be stopped and started again where its clients look for it.
    /// It must bind with `SO_REUSEADDR`.
    Kept,
}

/// What to run, and how to see that it is up.
pub(super) struct Plan<'a> {
    pub(super) server: &'static str,
    pub(super) ports: usize,
    pub(super) between_runs: Ports,
    /// Whether the port at this place greets in clear; the others only accept.
    pub(super) greets: &'a dyn Fn(usize) -> bool,
    pub(super) clothes: Clothes,
    /// Writes the configuration into the folder and says how to start the program.
    pub(super) prepare: Prepare<'a>,
}

/// A running server's processes, ports and folder: what is the same for all of them.
#[derive(Debug)]
pub struct Foreground {
    // Fields are dropped in this order, so that the folder goes last.
    pub(super) group: Group,
    pub(super) ports: Vec<u16>,
    pub(super) folder: TempDir,
    server: &'static str,
    _kept: Option<HeldPorts>,
}

impl Foreground {
    /// Starts the server on free ports, and waits until all of them answer.
    pub(super) fn start(plan: &Plan<'_>) -> Result<Self, ServerError> {
        let mut attempt = 1;
        loop {
            match Self::start_once(plan) {
                Err(ServerError::NotReady { log, .. })
                    if attempt < ATTEMPTS && tells_of_collision(&log) =>
                {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    fn start_once(plan: &Plan<'_>) -> Result<Self, ServerError> {
        let folder = workspace::temporary_folder(plan.server)
            .map_err(ServerError::io(format!("start {}", plan.server)))?;
        let held = HeldPorts::take(plan.ports).map_err(ServerError::io("get free ports"))?;
        let ports = held.numbers().map_err(ServerError::io("get free ports"))?;
        let command = (plan.prepare)(folder.path(), &ports)?;
        let starting = ServerError::io(format!("start {}", plan.server));
        plan.clothes.give(folder.path()).map_err(starting)?;
        let kept = (plan.between_runs == Ports::Kept).then_some(held);
        let group = launch(plan.server, folder.path(), command)?;
        let mut server = Self { group, ports, folder, server: plan.server, _kept: kept };
        server.wait_ready(plan.greets)?;
        Ok(server)
    }

    /// Starts a stopped server again, in its folder and on its ports, and waits until all of them accept.
    pub(super) fn start_again(&mut self, command: Command) -> Result<(), ServerError> {
        self.group = launch(self.server, self.folder.path(), command)?;
        self.wait_ready(&|_| false)
    }

    /// The temporary folder it runs in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// PEM files of its certificate and the authority behind it, for a server that has one.
    #[must_use]
    pub fn certificates(&self) -> CertFiles {
        let file = |name| self.folder().join(name);
        CertFiles { ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem") }
    }

    /// Process id of its master.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    /// Its living processes, master and workers.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.group.pids()
    }

    /// Stops all its processes where they are (SIGSTOP): connections stay, the kernel still accepts new ones, and
    /// nobody answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<(), ServerError> {
        let what = format!("pause {}", self.server);
        self.group.signal_all(Signal::SIGSTOP).map_err(ServerError::io(what))
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<(), ServerError> {
        let what = format!("resume {}", self.server);
        self.group.signal_all(Signal::SIGCONT).map_err(ServerError::io(what))
    }

    fn wait_ready(&mut self, greets: &dyn Fn(usize) -> bool) -> Result<(), ServerError> {
        let end = Instant::now() + READY_DEADLINE;
        for (place, port) in self.ports.clone().into_iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let up = wait::poll(left, || match self.group.wait_exit(Duration::ZERO) {
                Some(status) => Some(Err(format!("ended at start with {status}"))),
                None if !answers(port, greets(place)) => None,
                None => Some(Ok(())),
            });
            let failure = match up {
                Some(Ok(())) => continue,
                Some(Err(why)) => why,
                None => format!("did not answer on port {port} within {READY_DEADLINE:?}"),
            };
            let log = self.log_text();
            return Err(ServerError::NotReady { server: self.server, why: failure, log });
        }
        Ok(())
    }

    /// All that the server wrote into files called `*.log` in its folder, for messages of failed tests.
    #[must_use]
    pub fn log_text(&self) -> String {
        let Ok(entries) = fs::read_dir(self.folder.path()) else { return String::new() };
        let mut logs: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort_unstable();
        let texts = logs.iter().map(|path| fs::read(path).unwrap_or_default());
        texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
    }

    /// Ends the server and all its processes, politely first; dropping it instead kills at once. The ports refuse from
    /// then on; the folder stays until it is dropped.
    pub fn stop(&mut self) {
        self.stop_by(Signal::SIGTERM);
    }

    /// As [`Foreground::stop`], where another signal is the polite one.
    pub(super) fn stop_by(&mut self, signal: Signal) {
        self.group.stop_by(signal, STOP_GRACE);
    }
}

/// Lets a server with a field `server` be used as what it is made of.
macro_rules! runs {
    ($server:ident) => {
        impl std::ops::Deref for $server {
            type Target = crate::servers::foreground::Foreground;

            fn deref(&self) -> &Self::Target {
                &self.server
            }
        }

        impl std::ops::DerefMut for $server {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.server
            }
        }
    };
}
pub(super) use runs;

/// The server's processes, with what they print in `output.log`.
fn launch(server: &str, folder: &Path, mut command: Command) -> Result<Group, ServerError> {
    let start = || {
        let path = folder.join("output.log");
        let output = File::options().create(true).append(true).open(path)?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Group::start(command, folder)
    };
    start().map_err(ServerError::io(format!("start {server}")))
}

fn answers(port: u16, greets: bool) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if !greets {
        return TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
    }
    let Ok(mut wire) = Wire::connect(address) else { return false };
    wire.read_line().is_ok_and(|line| line.is_some_and(|line| line.ends_with(b"\n")))
}
