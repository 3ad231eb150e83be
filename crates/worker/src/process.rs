//! What this process is and has: its pipes, its memory, its end.
//!
//! Nothing here speaks to a database.

use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    os::fd::{AsFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::{Signal, raise},
    },
    unistd::{close, dup2_stderr, dup2_stdin, dup2_stdout},
};

/// No memory image of this process is written: there are passwords in it. Why the limit is 1 and not 0 stands at
/// Posthouse's own.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    let set = match setrlimit(Resource::RLIMIT_CORE, 1, 1) {
        Err(Errno::EPERM) => prctl::set_dumpable(false),
        set => set,
    };
    Ok(set?)
}

/// Closes whatever else was open when Posthouse was started, and went on to us. There must be no other thread yet.
pub(crate) fn close_all_else() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let open: Vec<RawFd> = entries.filter_map(number).collect();
    for descriptor in open.into_iter().filter(|number| *number > 2) {
        // One of them was that of the folder, which is closed already.
        let _ = close(descriptor);
    }
}

/// The pipes to Posthouse. A driver finds nothing where they were: what it prints is no answer, and what it reads
/// no question.
pub(crate) fn take_pipes() -> io::Result<(File, File)> {
    if io::stdin().is_terminal() {
        eprintln!("posthouse-worker is started by posthouse, for a source of the kind \"odbc\"");
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok((input.into(), output.into()))
}

/// Ends this process at once, whatever a driver is doing and whatever it wanted to do at the end.
pub(crate) fn end() {
    let _ = raise(Signal::SIGKILL);
}
