//! A server that runs with a configuration of the caller's, in a temporary folder and on free ports.
//! Nothing here writes a configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::ServerError;
use super::foreground::{Foreground, Plan, Ports, runs};
use crate::peers::PeerDir;
use crate::process::Clothes;

/// Where a server runs, for the text of its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// Its temporary folder, where certificates may be put.
    pub folder: &'a Path,
    /// Free ports of 127.0.0.1, as many as were asked for.
    pub ports: &'a [u16],
}

impl Site<'_> {
    /// The port at this place; 0 where none was asked for, which no server takes.
    #[must_use]
    pub fn port(&self, place: usize) -> u16 {
        self.ports.get(place).copied().unwrap_or_default()
    }
}

/// Makes the text of a configuration file.
pub type ConfigText<'a> = &'a dyn Fn(&Site<'_>) -> Result<String, ServerError>;

/// A running server; dropped, it ends with all its processes and its folder goes.
#[derive(Debug)]
pub struct Configured {
    server: Foreground,
}

runs!(Configured);

/// What differs between servers of this kind.
pub(super) struct Kind<'a> {
    pub(super) name: &'static str,
    pub(super) peer: &'a PeerDir,
    /// The program, relative to the peer's root.
    pub(super) program: &'static str,
    /// Arguments before the configuration file's path.
    pub(super) arguments: &'a [&'a str],
    /// Lines before the caller's.
    pub(super) preamble: &'a dyn Fn(&Site<'_>) -> String,
}

impl Configured {
    pub(super) fn start(
        kind: &Kind<'_>,
        ports: usize,
        config: ConfigText<'_>,
    ) -> Result<Self, ServerError> {
        let clothes = Clothes::fitting();
        let server = Foreground::start(&Plan {
            server: kind.name,
            ports,
            between_runs: Ports::LetGo,
            greets: &|_| false,
            clothes,
            prepare: &|folder, ports| prepare(kind, clothes, config, &Site { folder, ports }),
        })?;
        Ok(Self { server })
    }

    /// The port at this place, in the order of the site's ports; 0 where there is none.
    #[must_use]
    pub fn port(&self, place: usize) -> u16 {
        self.server.ports.get(place).copied().unwrap_or_default()
    }
}

fn prepare(
    kind: &Kind<'_>,
    clothes: Clothes,
    config: ConfigText<'_>,
    site: &Site<'_>,
) -> Result<Command, ServerError> {
    let path = site.folder.join(format!("{}.conf", kind.name));
    let text = (kind.preamble)(site) + &config(site)? + "\n";
    fs::write(&path, text).map_err(ServerError::io(format!("write {}", path.display())))?;
    let mut command = clothes.wrap(&kind.peer.path(kind.program));
    command.env("LD_LIBRARY_PATH", kind.peer.library_path()?).args(kind.arguments).arg(path);
    Ok(command)
}
