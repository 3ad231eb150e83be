//! `posthouse version`.

use serde::Serialize;

use super::{Failure, output::Output};

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

pub(super) fn version(output: Output) -> Result<(), Failure> {
    let version = Version { name: "posthouse", version: env!("CARGO_PKG_VERSION") };
    output.print(&version, |version| format!("{} {}\n", version.name, version.version))
}
