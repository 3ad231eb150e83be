//! apt as an ordinary user may run it: the host's sources and settings, but lists and cache of our own.
//! Nothing here writes outside the folder it is given.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{PeerError, Recipe};

/// Package lists older than this are fetched anew before something is unpacked.
const LISTS_GOOD_FOR: Duration = Duration::from_secs(12 * 60 * 60);
/// Packages that must be the host's own, for its program loader belongs to them.
const ALWAYS_FROM_HOST: [&str; 2] = ["libc6", "libc-bin"];

/// apt with its state in one folder.
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// apt with its lists and cache below `folder`, which is made.
    pub(super) fn below(folder: PathBuf) -> Result<Self, PeerError> {
        for inner in ["state/lists/partial", "cache/archives/partial", "log"] {
            let path = folder.join(inner);
            fs::create_dir_all(&path).map_err(|source| file("make folder", &path, source))?;
        }
        let apt = Self { folder };
        apt.write_settings()?;
        Ok(apt)
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    /// Settings read after the host's own, so that they win.
    fn write_settings(&self) -> Result<(), PeerError> {
        let at = self.folder.display();
        let text = format!(
            r##"Dir::State "{at}/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "{at}/cache";
Dir::Log "{at}/log";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"##
        );
        let path = self.settings();
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        // Others may be reading it; and of this process too, several may be writing.
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let new = self.folder.join(format!("apt.conf.{}.{number}", std::process::id()));
        fs::write(&new, text).map_err(|source| file("write", &new, source))?;
        fs::rename(&new, &path).map_err(|source| file("write", &path, source))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.arg("-qq").arg("-c").arg(self.settings()).env("LC_ALL", "C");
        command
    }

    /// Fetches the package lists if they are missing or old, or in any case if `forced`.
    pub(super) fn update(&self, peer: &'static str, forced: bool) -> Result<(), PeerError> {
        let path = self.folder.join("updated");
        let stamp = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| file("open", &path, source))?;
        stamp.lock().map_err(|source| file("lock", &path, source))?;
        let fresh = stamp.metadata().is_ok_and(|data| {
            let age = data.modified().ok().and_then(|time| time.elapsed().ok());
            data.len() > 0 && age.is_some_and(|age| age < LISTS_GOOD_FOR)
        });
        if fresh && !forced {
            return Ok(());
        }
        run(self.command().arg("update"), peer, "fetching Debian's package lists")?;
        fs::write(&path, "package lists fetched\n").map_err(|source| file("write", &path, source))
    }

    /// The named packages and what of their dependencies the host lacks.
    pub(super) fn resolve(&self, recipe: &Recipe) -> Result<Vec<String>, PeerError> {
        let mut command = self.command();
        command.args(["--simulate", "--no-remove", "install"]).args(recipe.packages);
        let output = match run(&mut command, recipe.name, "computing the missing packages") {
            Ok(output) => output,
            // A host that has a package in conflict with these would have to remove it: only a thought.
            Err(PeerError::Tool { .. }) => {
                let mut command = self.command();
                command.args(["--simulate", "install"]).args(recipe.packages);
                run(&mut command, recipe.name, "computing the missing packages")?
            }
            Err(error) => return Err(error),
        };
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(packages_to_fetch(recipe, &listing))
    }

    /// Downloads `packages` into `folder`.
    pub(super) fn download(
        &self,
        peer: &'static str,
        packages: &[String],
        folder: &Path,
    ) -> Result<(), PeerError> {
        let mut command = self.command();
        command.arg("download").args(packages).current_dir(folder);
        run(&mut command, peer, "downloading packages").map(|_| ())
    }
}

/// Reads the `Inst NAME ...` lines of a simulated installation.
fn packages_to_fetch(recipe: &Recipe, simulation: &str) -> Vec<String> {
    let missing = simulation
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_ascii_whitespace().next())
        .filter(|name| !recipe.left_out.contains(name) && !ALWAYS_FROM_HOST.contains(name));
    let mut all: Vec<String> =
        recipe.packages.iter().copied().chain(missing).map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Runs a tool of the host to its end.
pub(super) fn run(
    command: &mut Command,
    peer: &'static str,
    what: &'static str,
) -> Result<Output, PeerError> {
    let output = command.output().map_err(|source| PeerError::NoProgram {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(PeerError::Tool { peer, what, said })
}

/// An error of the file system with its file.
pub(super) fn file(what: &'static str, path: &Path, source: std::io::Error) -> PeerError {
    PeerError::File { what, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peer;

    #[test]
    fn many_at_a_time_in_a_new_folder_find_their_settings() {
        let folder = crate::workspace::temporary_folder("apt").unwrap();
        std::thread::scope(|scope| {
            let below = || Apt::below(folder.path().join("apt")).map(drop);
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(below)).collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
    }

    #[test]
    fn named_packages_come_even_when_the_host_has_them() {
        assert_eq!(packages_to_fetch(Peer::Isync.recipe(), ""), ["isync"]);
    }

    #[test]
    fn missing_dependencies_come_and_the_c_library_does_not() {
        let simulation = "Inst libc6 (2.36 Debian:12 [amd64])\nInst libwrap0 [1] (2 Debian:12 [amd64])\nConf libwrap0\n";
        assert_eq!(packages_to_fetch(Peer::Isync.recipe(), simulation), ["isync", "libwrap0"]);
    }
}
