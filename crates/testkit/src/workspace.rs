//! Where things lie: the cargo target folder, built programs, temporary folders.
//! Nothing here starts a program.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Longest temporary folder under which the sockets of a mail server still fit into `sun_path` (108 bytes).
const LONGEST_TEMP_FOLDER: usize = 40;

/// The cargo target folder: an absolute `CARGO_TARGET_DIR`, else the one this program lies in, else `target` in the checkout.
#[must_use]
pub fn target_folder() -> PathBuf {
    let named = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    if let Some(folder) = named.as_ref().filter(|folder| folder.is_absolute()) {
        return folder.clone();
    }
    if let Some(folder) = env::current_exe().ok().as_deref().and_then(target_folder_above) {
        return folder;
    }
    checkout().join(named.unwrap_or_else(|| PathBuf::from("target")))
}

/// The root of the checkout this library was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}

fn target_folder_above(program: &Path) -> Option<PathBuf> {
    let tagged = |folder: &Path| folder.join("CACHEDIR.TAG").is_file();
    if let Some(folder) = program.ancestors().find(|folder| tagged(folder)) {
        // `cargo build --target TRIPLE` tags target/TRIPLE as well.
        let above = folder.parent().filter(|above| tagged(above));
        return Some(above.unwrap_or(folder).to_path_buf());
    }
    let holds_profile =
        |folder: &Path| folder.join("debug").is_dir() || folder.join("release").is_dir();
    program.ancestors().find(|folder| holds_profile(folder)).map(Path::to_path_buf)
}

/// The program `name` of this workspace, built with the same profile as the running program.
///
/// # Errors
/// `NotFound`, saying which command builds it.
pub fn built_program(name: &str) -> io::Result<PathBuf> {
    let own = env::current_exe()?;
    let mut folder = own.parent().unwrap_or(&own);
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder = folder.parent().unwrap_or(folder);
    }
    let program = folder.join(name);
    if program.is_file() {
        return Ok(program);
    }
    let hint = match name {
        "posthouse-worker" => "make worker",
        _ if folder.ends_with("release") => "make release",
        _ => "make build",
    };
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!("{} is not built; run `{hint}` first", program.display()),
    ))
}

/// A new temporary folder, removed when dropped; its path is short enough for unix sockets inside.
///
/// # Errors
/// Whatever the file system says.
pub fn temporary_folder(purpose: &str) -> io::Result<TempDir> {
    let usual = env::temp_dir();
    let parent =
        if usual.as_os_str().len() > LONGEST_TEMP_FOLDER { Path::new("/tmp") } else { &usual };
    tempfile::Builder::new().prefix(&format!("posthouse-{purpose}-")).tempdir_in(parent).map_err(
        |error| {
            io::Error::new(
                error.kind(),
                format!("cannot make a temporary folder in {}: {error}", parent.display()),
            )
        },
    )
}
