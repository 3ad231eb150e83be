//! Whether the user whom we will become can read what is read as him. Nothing here tries it: mode bits
//! and ownership are judged, and rights beyond them (ACLs, other file systems) are not seen.

use std::{
    ffi::CString,
    fs::{self, Metadata},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::{User, getgrouplist};

use crate::config::{
    Purpose, Surroundings,
    file::{File, SourceShape},
    mistake::Mistake,
    read::{At, Field, Reader},
};

/// Warns about files that the configured user will not be able to read.
pub(super) fn foresee(file: &File, around: &Surroundings<'_>, reader: &mut Reader<'_>) {
    let Some(name) = file.user.value() else { return };
    if !around.root || around.purpose != Purpose::Check {
        return;
    }
    let Some(reads) = Identity::of(name) else { return };
    for (at, then) in read_as_user(file) {
        let Some(closed) = reads.stopped_at(&at.value) else { continue };
        let title = if closed == at.value {
            format!("the user \"{name}\" cannot read this file: {then}")
        } else {
            let closed = closed.display();
            format!("the user \"{name}\" cannot read this file, {closed} is closed to it: {then}")
        };
        let help = format!("give it the right, and try: sudo -u {name} posthouse check");
        reader.note(Mistake::warning(&at.span, title).help(help));
    }
}

/// The files that are read after we have become the user, and what comes of it if they cannot be.
fn read_as_user(file: &File) -> impl Iterator<Item = (&At<PathBuf>, &'static str)> {
    let listeners = file.listeners.value().into_iter().flat_map(|tables| &tables.0);
    let pairs = listeners.flat_map(|at| {
        let several = at.value.certificates.value().into_iter().flat_map(|several| &several.0);
        let several = several.flat_map(|pair| [&pair.value.certificate, &pair.value.key]);
        let own = [&at.value.certificate, &at.value.key, &at.value.client_ca_file];
        own.into_iter().chain(several)
    });
    let backends = file.backends.value().into_iter().flat_map(|named| &named.0);
    let for_backends =
        backends.flat_map(|(_, backend)| [&backend.ca_file, &backend.certificate, &backend.key]);
    let tokens = file.tokens.value();
    let for_tokens =
        tokens.into_iter().flat_map(|table| [&table.ca_file, &table.certificate, &table.key]);
    let keys = tokens.map(|table| &table.jwks_file);
    let sources = file.directory.value().into_iter().flat_map(|tables| &tables.0);
    let shapes = sources.filter_map(|at| at.value.shape.as_ref());
    let (maps, later) =
        (shapes.clone().flat_map(SourceShape::files), shapes.flat_map(SourceShape::later_files));
    let asked = "its users could not be looked up";
    let renewed = "it would not be read again when it changes";
    let judged = "no token could be judged";
    let needed = "posthouse would not start";
    let given = |then| move |field| Field::given(field).map(|at| (at, then));
    pairs
        .filter_map(given(renewed))
        .chain(for_backends.filter_map(given(needed)))
        .chain(maps.filter_map(given(needed)))
        .chain(for_tokens.filter_map(given(needed)))
        .chain(keys.into_iter().filter_map(given(judged)))
        .chain(later.filter_map(given(asked)))
}

/// A user and all groups the system knows him in.
struct Identity {
    user: u32,
    groups: Vec<u32>,
}

impl Identity {
    fn of(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok()??;
        let groups = getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
        let groups = groups.into_iter().map(|group| group.as_raw()).collect();
        Some(Self { user: user.uid.as_raw(), groups })
    }

    /// The first file or folder on the way that is closed to him; nothing where all are open, or
    /// the file is not there, which is told elsewhere.
    fn stopped_at(&self, file: &Path) -> Option<PathBuf> {
        let whole = fs::canonicalize(file).ok()?;
        let mut way: Vec<&Path> =
            whole.ancestors().skip(1).chain(file.ancestors().skip(1)).collect();
        way.sort();
        let search = |folder: &&Path| self.may(0o1, &fs::metadata(folder).ok()?).then_some(());
        let folder =
            way.iter().find(|folder| !folder.as_os_str().is_empty() && search(folder).is_none());
        if let Some(folder) = folder {
            return Some(folder.to_path_buf());
        }
        (!self.may(0o4, &fs::metadata(file).ok()?)).then(|| file.to_owned())
    }

    /// Whether the kernel would grant this bit of `rwx` (path_resolution(7)).
    fn may(&self, bit: u32, data: &Metadata) -> bool {
        let mode = data.permissions().mode();
        let class = if data.uid() == self.user {
            6
        } else if self.groups.contains(&data.gid()) {
            3
        } else {
            0
        };
        self.user == 0 || mode >> class & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn rights_are_those_of_owner_group_or_others_whichever_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let file = inner.join("key.pem");
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        let data = fs::metadata(&file).unwrap();
        let set =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set(folder.path(), 0o755);
        let stranger = Identity { user: data.uid() + 7, groups: vec![] };
        let member = Identity { user: data.uid() + 7, groups: vec![data.gid()] };
        set(&inner, 0o755);
        set(&file, 0o640);
        assert_eq!(stranger.stopped_at(&file), Some(file.clone()));
        assert_eq!(member.stopped_at(&file), None);
        set(&file, 0o604);
        assert_eq!(stranger.stopped_at(&file), None);
        assert_eq!(member.stopped_at(&file), Some(file.clone()));
        set(&inner, 0o700);
        assert_eq!(stranger.stopped_at(&file), Some(inner));
        assert_eq!(stranger.stopped_at(&folder.path().join("missing")), None);
    }
}
