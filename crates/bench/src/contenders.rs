//! The proxies that are measured: Posthouse, HAProxy in TCP mode, nginx mail; one worker each, before the same stub.
//! Nothing here puts load on them.

mod certificate;
mod haproxy;
mod nginx;
mod posthouse;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::ports::HeldPorts;
use testkit::process::Group;
use testkit::{wait, workspace};

use crate::load::{self, Target};
use crate::stub::Ports;

pub(crate) use certificate::Certificate;

/// The connections that the narrow listener takes.
pub(crate) const NARROW: u32 = 100;
/// How long a proxy may take until the first visit through it succeeds.
const START: Duration = Duration::from_secs(15);
/// How long a proxy may take to end when asked to.
const END: Duration = Duration::from_secs(3);
/// Lines of its log that are shown when something went wrong.
const SHOWN_LINES: usize = 5;

/// One of the proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contender {
    /// This project, from the same build as this program.
    Posthouse,
    /// The same with the relay that follows the protocol.
    Framed,
    /// HAProxy in TCP mode, which terminates TLS and is blind to IMAP.
    Haproxy,
    /// The mail module of nginx.
    Nginx,
}

impl Contender {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Posthouse, Self::Framed, Self::Haproxy, Self::Nginx];

    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Posthouse => "posthouse",
            Self::Framed => "framed",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// What its program says of its version; unpacks it first where needed.
    ///
    /// # Errors
    /// When there is no such program.
    pub(crate) fn version(self) -> Result<String> {
        let mut command = match self {
            Self::Posthouse | Self::Framed => posthouse::version()?,
            Self::Haproxy => haproxy::version()?,
            Self::Nginx => nginx::version()?,
        };
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        // nginx speaks on the other channel.
        let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let said = String::from_utf8_lossy(&said);
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Starts it in a fresh folder before the stub, and waits until a visit through it succeeds.
    ///
    /// # Errors
    /// When it does not start or does not serve; the end of its log is in the error.
    pub(crate) fn start(self, stub: Ports, certificate: &Certificate) -> Result<Running> {
        let folder = workspace::temporary_folder(self.name())?;
        let held = HeldPorts::take(3)?;
        let numbers = held.numbers()?;
        let [clear, tls, narrow] = numbers.as_slice() else { bail!("three ports were asked for") };
        let on = |port: &u16| SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        let (clear, tls, narrow) = (on(clear), on(tls), on(narrow));
        let plan = Plan { folder: folder.path(), clear, tls, narrow, stub, certificate };
        let mut command = match self {
            Self::Posthouse => posthouse::command(&plan, false)?,
            Self::Framed => posthouse::command(&plan, true)?,
            Self::Haproxy => haproxy::command(&plan)?,
            Self::Nginx => nginx::command(&plan)?,
        };
        let log = folder.path().join("log");
        let output = fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        drop(held);
        let group = Group::start(command, folder.path())?;
        let narrow = matches!(self, Self::Posthouse | Self::Framed).then_some(narrow);
        let mut running =
            Running { contender: self, group, clear, tls, narrow, log, _folder: folder };
        running.wait_until_it_serves()?;
        Ok(running)
    }
}

/// What the configuration of a proxy is made of.
struct Plan<'a> {
    folder: &'a Path,
    clear: SocketAddr,
    tls: SocketAddr,
    narrow: SocketAddr,
    stub: Ports,
    certificate: &'a Certificate,
}

impl Plan<'_> {
    /// Writes a file into the folder and returns its path.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// A proxy that serves; dropping ends it and removes its folder.
pub(crate) struct Running {
    contender: Contender,
    group: Group,
    /// The listener without TLS.
    pub(crate) clear: SocketAddr,
    /// The listener with implicit TLS.
    pub(crate) tls: SocketAddr,
    /// One without TLS that takes [`NARROW`] connections, where there is one.
    pub(crate) narrow: Option<SocketAddr>,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Running {
    /// All its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.group.pids()
    }

    /// What to add to an error: whether it still runs, and the end of its log.
    pub(crate) fn last_words(&mut self) -> String {
        let state = match self.group.wait_exit(Duration::ZERO) {
            Some(status) => format!("{} ended ({status})", self.contender.name()),
            None => format!("{} still runs", self.contender.name()),
        };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(SHOWN_LINES).collect();
        lines.iter().rev().fold(state, |said, line| format!("{said}\n    {line}"))
    }

    fn wait_until_it_serves(&mut self) -> Result<()> {
        let target = Target { address: self.clear, tls: None };
        let mut last = None;
        let served = wait::poll(START, || match load::visit(&target, 0) {
            Ok(()) => Some(true),
            Err(error) => {
                last = Some(error);
                (!self.group.runs()).then_some(false)
            }
        });
        if served == Some(true) {
            return Ok(());
        }
        let why = last.map(|error| format!("{error:#}")).unwrap_or_default();
        bail!("{} does not serve: {why}\n    {}", self.contender.name(), self.last_words())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, so that a master reaps its worker itself.
        self.group.stop(END);
    }
}
