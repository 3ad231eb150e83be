//! HAProxy, for comparing, under a configuration of the caller's.
//! Nothing here is a back end.

use super::ServerError;
use super::configured::{ConfigText, Configured, Kind};
use crate::peers::{self, Peer};

/// Starts HAProxy on `ports` free loopback ports and waits until all accept.
///
/// It runs as one process in the foreground; the whole configuration is the caller's, who reads the ports from the site.
///
/// # Errors
/// When it cannot be unpacked or does not come up; the error holds its log.
pub fn start(ports: usize, config: ConfigText<'_>) -> Result<Configured, ServerError> {
    let peer = peers::ensure(Peer::Haproxy)?;
    let kind = Kind {
        name: "haproxy",
        peer: &peer,
        program: "usr/sbin/haproxy",
        arguments: &["-db", "-f"],
        preamble: &|_| String::new(),
    };
    Configured::start(&kind, ports, config)
}
