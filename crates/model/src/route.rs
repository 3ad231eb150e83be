//! Where a user's mail is.

use crate::{BackendName, Host, Secret, UserName};

/// What the directory knows of a user: where his mail is and who he is there.
#[derive(Clone, Debug)]
pub struct Route {
    /// The back ends that hold the user's mail, in the order in which to try them. Never empty;
    /// several only where a source gave several.
    pub targets: Vec<Target>,
    /// The user's name at the back end.
    pub user: UserName,
    /// The user's password, where the source knows one.
    pub secret: Option<Secret>,
    /// Whether the directory has judged the client's proof, and found it right.
    pub judged: bool,
    /// Whether it is from before, because a source cannot say now.
    pub stale: bool,
}

/// One place to reach. The settings (TLS, login mode, ports) are those of the back end `backend`;
/// host and port are others where the source's answer named an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The configured back end whose settings count.
    pub backend: BackendName,
    /// The host to connect to in place of the back end's own addresses (an answer `host` whose
    /// settings come from a template).
    pub host: Option<Host>,
    /// The port to connect to in place of the back end's own, for the protocol that asked.
    pub port: Option<u16>,
}

impl Target {
    /// The back end itself, at its own addresses.
    pub fn backend(backend: BackendName) -> Self {
        Self { backend, host: None, port: None }
    }
}
