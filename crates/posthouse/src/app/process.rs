//! What the kernel is told about this process: limits, and whom it runs as. Nothing here serves anybody.

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
    },
    unistd::{Gid, Uid, User, initgroups, setgid, setgroups, setuid},
};

/// Descriptors that are not a session's: listeners, the table's files, the log, probes of back ends,
/// pipes.
const RESERVE: u64 = 256;
/// The client's connection and the back end's.
const PER_SESSION: u64 = 2;
/// The most connections that follow from open files: where these have no limit, memory has one.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// The process cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("the user \"{user}\" of the configuration cannot be looked up: {problem}")]
    LookUp { user: String, problem: String },
    #[error("the user \"{user}\" cannot be taken on: {act}: {problem}")]
    Become { user: String, act: &'static str, problem: Errno },
    #[error("{} cannot be given to the user \"{user}\": {problem}", path.display())]
    Give { path: PathBuf, user: String, problem: io::Error },
    #[error("after dropping root's privileges they could be had again")]
    StillRoot,
}

/// As many open files as the kernel allows us at all.
pub(crate) fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return soft;
    }
    hard
}

/// As many open files as [`raise_open_files`] could reach.
pub(crate) fn possible_open_files() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard)
}

/// How many connections fit in that many open files.
pub(crate) fn connections(open_files: u64) -> usize {
    let sessions = open_files.saturating_sub(RESERVE.min(open_files / 2)) / PER_SESSION;
    usize::try_from(sessions.clamp(1, MOST_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// No memory image of this process is written: there are passwords in it. Where `core_pattern` names a
/// program, the kernel pipes the image to it whatever the limit, except when that is 1 (fs/coredump.c). And
/// where it names a file, one of a single byte is less than the smallest that is written (`min_coredump`).
pub(super) fn forbid_core_dumps() -> Result<(), Errno> {
    match setrlimit(Resource::RLIMIT_CORE, 1, 1) {
        // It is 0 for us and may not be raised. The other way has a price: /proc/PID becomes root's.
        Err(Errno::EPERM) => prctl::set_dumpable(false),
        set => set,
    }
}

/// Whose the state folder is to be.
pub(crate) fn owner(user: Option<&User>) -> Option<(u32, u32)> {
    user.map(|user| (user.uid.as_raw(), user.gid.as_raw()))
}

/// The user to become, by the configuration; nobody where we are not root and could not.
pub(crate) fn account(user: Option<&str>) -> Result<Option<User>, ProcessError> {
    let Some(name) = user.filter(|_| Uid::effective().is_root()) else { return Ok(None) };
    let failed = |problem| ProcessError::LookUp { user: name.to_owned(), problem };
    let found = User::from_name(name).map_err(|error| failed(error.to_string()))?;
    found.map(Some).ok_or_else(|| failed("there is no such user".into()))
}

/// Whether that user is who we are.
pub(super) fn is(user: &str) -> bool {
    let we = User::from_uid(Uid::effective()).ok().flatten();
    we.is_some_and(|we| we.name == user)
}

/// Whether a folder is there and belongs to us.
pub(crate) fn owns(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|data| data.is_dir() && data.uid() == Uid::effective().as_raw())
}

/// Gives the plain files in a state folder that are root's to a user.
pub(crate) fn give_state_files(state: &Path, user: &User) -> Result<(), ProcessError> {
    let unreadable =
        |problem| ProcessError::Give { path: state.to_owned(), user: user.name.clone(), problem };
    for entry in fs::read_dir(state).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let data = entry.metadata().map_err(unreadable)?;
        // Whoever was this user before may have linked other files of root into his folder.
        if data.is_file() && data.nlink() == 1 && data.uid() == 0 {
            give_file(&entry.path(), user)?;
        }
    }
    Ok(())
}

/// Gives a single file to a user.
pub(super) fn give_file(path: &Path, user: &User) -> Result<(), ProcessError> {
    lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(|problem| {
        ProcessError::Give { path: path.to_owned(), user: user.name.clone(), problem }
    })
}

/// Becomes another user for good. There must be no other thread yet.
pub(super) fn drop_privileges(user: &User) -> Result<(), ProcessError> {
    become_user(&user.name, Some(user), user.uid, user.gid)?;
    // No program that we might be made to run gets more than we have.
    prctl::set_no_new_privs().map_err(|problem| ProcessError::Become {
        user: user.name.clone(),
        act: "no_new_privs",
        problem,
    })
}

/// Root acts in a state folder as the folder's owner, so that what he makes there is the owner's.
pub(crate) fn become_owner(state: &Path) -> Result<(), ProcessError> {
    let Ok(data) = fs::metadata(state) else { return Ok(()) };
    if !Uid::effective().is_root() || data.uid() == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(data.uid()), Gid::from_raw(data.gid()));
    // An owner without a name (in a container, for example) has no other groups.
    let user = User::from_uid(uid).ok().flatten();
    become_user(&data.uid().to_string(), user.as_ref(), uid, gid)
}

/// Takes on a user, his main group, and (where he has a name) all groups that the system knows him in.
fn become_user(name: &str, user: Option<&User>, uid: Uid, gid: Gid) -> Result<(), ProcessError> {
    let failed = |act| move |problem| ProcessError::Become { user: name.to_owned(), act, problem };
    // In this order: without root the groups could not be changed any more.
    match user.and_then(|user| CString::new(user.name.as_str()).ok()) {
        Some(name) => initgroups(&name, gid).map_err(failed("initgroups"))?,
        None => setgroups(&[gid]).map_err(failed("setgroups"))?,
    }
    setgid(gid).map_err(failed("setgid"))?;
    setuid(uid).map_err(failed("setuid"))?;
    if !uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err(ProcessError::StillRoot);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_two_descriptors_and_some_are_kept_back() {
        assert_eq!(connections(1024), 384);
        assert_eq!(connections(20_256), 10_000);
        // However few there are, some connections are possible.
        assert_eq!(connections(256), 64);
        assert_eq!(connections(0), 1);
        // However many there are, memory is not without end.
        assert_eq!(connections(u64::MAX), 1_000_000);
    }
}
