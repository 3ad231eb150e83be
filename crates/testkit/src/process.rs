//! Servers as process groups: started in the foreground, ended as a whole, never outliving the program that started them.
//! Nothing here knows a configuration file.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg};
use nix::unistd::{Gid, Pid, Uid, User, getegid, geteuid};

use crate::wait;

/// User and group id of `nobody` and `nogroup`, as whom servers run when we are root.
const NOBODY: u32 = 65_534;
/// Open files that fixtures ask for, where the hard limit allows as many.
const OPEN_FILES: u64 = 65_536;
/// How long the kernel may take to end a group that got SIGKILL.
const KILL_DEADLINE: Duration = Duration::from_secs(5);

/// Waits until this program is gone; the leader's children are looked for because they may have left the group.
const WATCHER: &str = r#"read _
children=$(grep -ls "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | tr -cd '0-9\n')
kill -s KILL -- "-$1" $children
rm -rf -- "$2""#;

/// A server and all processes it started, in a process group of their own.
///
/// Dropping ends them all. If this program itself is killed, a watcher ends them and removes the folder.
#[derive(Debug)]
pub struct Group {
    leader: Child,
    id: Pid,
    watcher: Child,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts `command` as leader of a new group; `folder` is removed by the watcher if this program dies first.
    ///
    /// # Errors
    /// When the program or `sh` cannot be started; the error names it.
    pub fn start(mut command: Command, folder: &Path) -> io::Result<Self> {
        raise_open_file_limit();
        let mut leader = spawn(&mut command)?;
        let Ok(number) = i32::try_from(leader.id()) else {
            return Err(io::Error::other("process id out of range"));
        };
        match watch(number, folder) {
            Ok(watcher) => Ok(Self { leader, id: Pid::from_raw(number), watcher, ended: None }),
            Err(error) => {
                leader.kill()?;
                leader.wait()?;
                Err(error)
            }
        }
    }

    /// Process id of the leader, which is the id of the group too.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.leader.id()
    }

    /// The leader's standard error, once, if it was asked for as a pipe.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.leader.stderr.take()
    }

    /// The living processes of the group, and those below them that left it.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        living_members(self.id.as_raw())
    }

    /// Whether the leader still runs.
    pub fn runs(&mut self) -> bool {
        self.wait_exit(Duration::ZERO).is_none()
    }

    /// Sends a signal to the leader alone.
    ///
    /// # Errors
    /// When the leader is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.ended.is_some() {
            return Err(Errno::ESRCH.into());
        }
        Ok(kill(self.id, signal)?)
    }

    /// Sends a signal to all of them, to the leader first.
    ///
    /// # Errors
    /// When the leader is gone.
    pub fn signal_all(&self, signal: Signal) -> io::Result<()> {
        self.signal(signal)?;
        send(&self.pids(), signal);
        Ok(())
    }

    /// Waits for the leader's end; `None` if it still runs after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            let leader = &mut self.leader;
            self.ended = wait::poll(limit, || leader.try_wait().ok().flatten());
        }
        self.ended
    }

    /// Ends the group: SIGTERM to the leader, after `grace` SIGKILL to all, and waits until none is left.
    pub fn stop(&mut self, grace: Duration) {
        self.stop_by(Signal::SIGTERM, grace);
    }

    /// As [`Group::stop`], where another signal is the polite one.
    pub fn stop_by(&mut self, polite: Signal, grace: Duration) {
        let mut left = self.pids();
        if !grace.is_zero() && self.signal(polite).is_ok() {
            // Where it is paused it hears nothing.
            let _ = self.signal_all(Signal::SIGCONT);
            self.wait_exit(grace);
            left.extend(self.pids());
        }
        left.retain(|pid| Process::read(*pid).is_some());
        if !left.is_empty() {
            // Those that are being born just now are in the group.
            let _ = killpg(self.id, Signal::SIGKILL);
            send(&left, Signal::SIGKILL);
        }
        self.wait_exit(KILL_DEADLINE);
        wait::until(KILL_DEADLINE, || {
            self.pids().is_empty() && left.iter().all(|pid| Process::read(*pid).is_none())
        });
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// Starts a group's leader with no signal blocked, whatever this thread blocks: children inherit that.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let spawned = command.process_group(0).spawn();
    blocked.thread_set_mask()?;
    spawned
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start {command:?}: {error}")))
}

/// A shell that waits for the end of this program (its standard input closes) and then cleans up after it.
fn watch(group: i32, folder: &Path) -> io::Result<Child> {
    let mut command = Command::new("sh");
    command
        .args(["-c", WATCHER, "posthouse-watcher"])
        .arg(group.to_string())
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    spawn(&mut command)
}

/// Already gone is what a signal is for, or no matter.
fn send(pids: &[u32], signal: Signal) {
    for pid in pids.iter().filter_map(|pid| i32::try_from(*pid).ok()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// A living process.
struct Process {
    id: u32,
    parent: u32,
    group: i32,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        // proc_pid_stat(5): the name in parentheses may hold anything; state, parent and group follow it.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (state != "Z").then_some(Self { id, parent, group })
    }
}

/// The processes of a group, and their children, and so on.
fn living_members(group: i32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let (members, mut others): (Vec<Process>, Vec<Process>) = entries
        .filter_map(number)
        .filter_map(Process::read)
        .partition(|process| process.group == group);
    let mut members: Vec<u32> = members.into_iter().map(|process| process.id).collect();
    loop {
        let (children, rest): (Vec<Process>, Vec<Process>) =
            others.into_iter().partition(|process| members.contains(&process.parent));
        if children.is_empty() {
            return members;
        }
        members.extend(children.into_iter().map(|process| process.id));
        others = rest;
    }
}

/// Raises this program's soft limit of open files (and so its children's) as far as useful and allowed.
pub fn raise_open_file_limit() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
            && soft < OPEN_FILES
        {
            // Where it is refused, tests of many connections say so themselves.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.min(hard), hard);
        }
    });
}

/// How a server that refuses to run as root is started from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clothes {
    /// We are an ordinary user already.
    Own,
    /// Root in a user namespace, where it is called `nobody`.
    Namespace,
    /// The real `nobody`, where the kernel forbids user namespaces.
    Nobody,
}

impl Clothes {
    /// What this host needs and allows.
    #[must_use]
    pub fn fitting() -> Self {
        static FITTING: OnceLock<Clothes> = OnceLock::new();
        *FITTING.get_or_init(|| {
            if !geteuid().is_root() {
                return Self::Own;
            }
            let allowed = Self::Namespace.wrap(Path::new("true")).output();
            if allowed.is_ok_and(|output| output.status.success()) {
                Self::Namespace
            } else {
                Self::Nobody
            }
        })
    }

    /// The command that runs `program` in these clothes; arguments follow.
    #[must_use]
    pub fn wrap(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Own => return Command::new(program),
            Self::Namespace => {
                let mut command = Command::new("unshare");
                command.args(["-U", "--map-user=65534", "--map-group=65534"]);
                command
            }
            Self::Nobody => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
                command
            }
        };
        command.arg("--").arg(program);
        command
    }

    /// Names of the user and group that the wrapped program runs as.
    ///
    /// # Errors
    /// When the host has no name for them, which mail servers need.
    pub fn names(self) -> io::Result<(String, String)> {
        let (user, group) = match self {
            Self::Own => (geteuid(), getegid()),
            Self::Namespace | Self::Nobody => (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)),
        };
        let nameless = |what: &str| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("{what} has no name in /etc/passwd or /etc/group, which mail servers need"),
            )
        };
        let user = User::from_uid(user)?.ok_or_else(|| nameless("the current user"))?;
        let group = nix::unistd::Group::from_gid(group)?;
        Ok((user.name, group.ok_or_else(|| nameless("the current group"))?.name))
    }

    /// Gives `path` and all below it to the wrapped program.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn give(self, path: &Path) -> io::Result<()> {
        if self != Self::Nobody {
            return Ok(());
        }
        lchown(path, Some(NOBODY), Some(NOBODY))?;
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path)? {
                self.give(&entry?.path())?;
            }
        }
        Ok(())
    }
}
