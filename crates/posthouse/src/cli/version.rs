//! `posthouse version`.

use serde::Serialize;

use super::{Failure, output::Output};

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    /// Whether back ends that know only old TLS can be reached.
    legacy_tls: bool,
}

pub(super) fn version(output: Output) -> Result<(), Failure> {
    let version = Version {
        name: "posthouse",
        version: env!("CARGO_PKG_VERSION"),
        legacy_tls: transport::tls::LEGACY,
    };
    output.print(&version, |version| {
        let old_tls = if version.legacy_tls { ", with old TLS towards back ends" } else { "" };
        format!("{} {}{old_tls}\n", version.name, version.version)
    })
}
