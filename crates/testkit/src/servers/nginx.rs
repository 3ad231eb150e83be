//! nginx, for comparing: the mail and stream modules under a configuration of the caller's.
//! Nothing here is a back end.

use super::ServerError;
use super::configured::{ConfigText, Configured, Kind};
use crate::peers::{self, Peer};

/// Starts nginx on `ports` free loopback ports and waits until all accept.
///
/// Set already are the two modules, `daemon off`, the pid file and the error log; number of workers, `events`,
/// `mail` and `stream` are the caller's, who reads the ports from the site.
///
/// # Errors
/// When it cannot be unpacked or does not come up; the error holds its log.
pub fn start(ports: usize, config: ConfigText<'_>) -> Result<Configured, ServerError> {
    let peer = peers::ensure(Peer::Nginx)?;
    let modules = peer.path("usr/lib/nginx/modules");
    let kind = Kind {
        name: "nginx",
        peer: &peer,
        program: "usr/sbin/nginx",
        arguments: &["-e", "stderr", "-c"],
        preamble: &|site| {
            let (modules, folder) = (modules.display(), site.folder.display());
            format!(
                "load_module {modules}/ngx_mail_module.so;
load_module {modules}/ngx_stream_module.so;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
"
            )
        },
    };
    Configured::start(&kind, ports, config)
}
