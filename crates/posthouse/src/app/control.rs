//! The control socket: where it is, and how it is opened and given up.

use std::{
    fs, io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use admin::StateLock;
use nix::sys::stat::{Mode, umask};

/// The socket's place in the state folder.
pub(crate) fn path(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// The control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the control socket {}: {problem}{}", path.display(), hint(path))]
pub(crate) struct ControlError {
    path: PathBuf,
    problem: io::Error,
}

fn hint(path: &Path) -> &'static str {
    // struct sockaddr_un, unix(7).
    if path.as_os_str().len() > 107 { "; a socket's path has at most 107 bytes" } else { "" }
}

/// Opens the socket, which is its owner's alone from the beginning. What lies in its place is left over from somebody who is gone: we have the lock.
pub(super) fn open(state: &Path, _lock: &StateLock) -> Result<UnixListener, ControlError> {
    let path = path(state);
    let open = || {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The whole process's for a moment: what others make meanwhile is no more open than it should be.
        let before = umask(Mode::from_bits_truncate(0o077));
        let socket = UnixListener::bind(&path);
        umask(before);
        socket
    };
    open().map_err(|problem| ControlError { path: path.clone(), problem })
}

/// Takes the socket away from its place. Nobody finds it any more.
pub(super) fn remove(state: &Path) {
    if let Err(error) = fs::remove_file(path(state)) {
        tracing::warn!(%error, "the control socket could not be removed");
    }
}
