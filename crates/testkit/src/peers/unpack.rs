//! One peer at a time into its folder: fetched, unpacked beside it, checked, then moved into place.
//! Nothing here is seen half done by another process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{Apt, file, run};
use super::{Origin, PeerDir, PeerError, Recipe, Repointed};

/// Changes whenever the way of unpacking does, so that old folders are made anew.
const LAYOUT: u32 = 2;
const STAMP: &str = ".unpacked";

/// The peer of `recipe` below `peers`, unpacked now if it was not.
pub(super) fn ensure_below(peers: &Path, recipe: &Recipe) -> Result<PeerDir, PeerError> {
    let dir = PeerDir { root: peers.join(recipe.name) };
    if is_current(&dir, recipe) {
        return Ok(dir);
    }
    fs::create_dir_all(peers).map_err(|source| file("make folder", peers, source))?;
    let lock_path = peers.join(format!(".{}.lock", recipe.name));
    let lock = File::options()
        .create(true)
        .append(true)
        .open(&lock_path)
        .map_err(|source| file("open", &lock_path, source))?;
    lock.lock().map_err(|source| file("lock", &lock_path, source))?;
    // Another process may have done it while we waited.
    if !is_current(&dir, recipe) {
        unpack(peers, &dir, recipe)?;
    }
    Ok(dir)
}

fn stamp_text(recipe: &Recipe) -> String {
    format!(
        "layout {LAYOUT}\npackages {}\nleft out {}\n",
        recipe.packages.join(" "),
        recipe.left_out.join(" ")
    )
}

/// Whether what lies there was made from this recipe and runs on this host (a target folder may come from another one).
fn is_current(dir: &PeerDir, recipe: &Recipe) -> bool {
    fs::read_to_string(dir.path(STAMP)).is_ok_and(|stamp| stamp == stamp_text(recipe))
        && check_libraries(dir, recipe).is_ok()
}

fn unpack(peers: &Path, dir: &PeerDir, recipe: &Recipe) -> Result<(), PeerError> {
    let work = peers.join(format!(".{}.new", recipe.name));
    remove(&work)?;
    let root = work.join("root");
    fs::create_dir_all(&root).map_err(|source| file("make folder", &root, source))?;
    match recipe.origin {
        Origin::Debian => unpack_debian(peers, &work.join("packages"), &root, recipe)?,
        Origin::Pip => {
            let mut command = Command::new("python3");
            command.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]);
            command.args(["--no-deps", "--no-compile", "--target"]).arg(&root);
            run(command.args(recipe.packages), recipe.name, "fetching Python packages")?;
        }
        Origin::Npm => {
            let mut command = Command::new("npm");
            command.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
            run(command.arg(&root).args(recipe.packages), recipe.name, "fetching Node packages")?;
        }
    }
    let unpacked = PeerDir { root };
    for change in recipe.repointed {
        repoint(&unpacked.path(change.file), change)?;
    }
    check_libraries(&unpacked, recipe)?;
    let stamp = unpacked.path(STAMP);
    fs::write(&stamp, stamp_text(recipe)).map_err(|source| file("write", &stamp, source))?;
    remove(&dir.root)?;
    fs::rename(&unpacked.root, &dir.root).map_err(|source| file("make", &dir.root, source))?;
    remove(&work)
}

fn unpack_debian(
    peers: &Path,
    packages: &Path,
    root: &Path,
    recipe: &Recipe,
) -> Result<(), PeerError> {
    fs::create_dir_all(packages).map_err(|source| file("make folder", packages, source))?;
    fetch(&Apt::below(peers.join("apt"))?, recipe, packages)?;
    for package in fs::read_dir(packages).map_err(|source| file("read", packages, source))? {
        let package = package.map_err(|source| file("read", packages, source))?.path();
        let mut command = Command::new("dpkg-deb");
        run(command.arg("-x").arg(package).arg(root), recipe.name, "unpacking a package")?;
    }
    Ok(())
}

/// Replaces a C string in a binary file by a shorter one, filled up with zeros.
fn repoint(path: &Path, change: &Repointed) -> Result<(), PeerError> {
    let mut bytes = fs::read(path).map_err(|source| file("read", path, source))?;
    let old = format!("\0{}\0", change.compiled_in).into_bytes();
    let mut new = format!("\0{}", change.instead).into_bytes();
    new.resize(old.len(), 0);
    let places: Vec<usize> = places_of(&bytes, &old);
    let place = match places.as_slice() {
        [place] => *place..*place + old.len(),
        _ => {
            let expected = change.compiled_in;
            return Err(PeerError::OtherBuild { path: path.to_path_buf(), expected });
        }
    };
    bytes.splice(place, new);
    fs::write(path, bytes).map_err(|source| file("write", path, source))
}

fn places_of(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(wanted.len()).enumerate();
    windows.filter(|(_, window)| *window == wanted).map(|(at, _)| at).collect()
}

/// Downloads what the recipe needs; a mirror forgets old versions, so lists are fetched anew once when that fails.
fn fetch(apt: &Apt, recipe: &Recipe, folder: &Path) -> Result<(), PeerError> {
    let attempt = |forced| {
        apt.update(recipe.name, forced)?;
        apt.download(recipe.name, &apt.resolve(recipe)?, folder)
    };
    match attempt(false) {
        Err(PeerError::Tool { .. }) => attempt(true),
        other => other,
    }
}

fn remove(folder: &Path) -> Result<(), PeerError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file("remove", folder, error))
        }
        _ => Ok(()),
    }
}

fn check_libraries(dir: &PeerDir, recipe: &Recipe) -> Result<(), PeerError> {
    for program in recipe.programs {
        let program: PathBuf = dir.path(program);
        let mut command = Command::new("ldd");
        command.arg(&program).env("LD_LIBRARY_PATH", dir.library_path()?).env("LC_ALL", "C");
        let output = run(&mut command, recipe.name, "asking for shared libraries")?;
        let listing = String::from_utf8_lossy(&output.stdout);
        let missing: Vec<&str> =
            listing.lines().filter(|line| line.contains("not found")).map(str::trim).collect();
        if !missing.is_empty() {
            let (missing, folder) = (missing.join(", "), dir.root.clone());
            return Err(PeerError::Libraries { program, missing, folder });
        }
    }
    Ok(())
}
