//! Unpacked servers, each running in a temporary folder on loopback ports of its own.
//! Nothing here outlives the value that stands for it.

pub mod configured;
pub mod cyrus;
pub mod dovecot;
pub mod foreground;
pub mod haproxy;
pub mod mariadb;
pub mod nginx;
pub mod postgres;
pub mod slapd;

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use crate::certs::CertError;
use crate::mail_clients::ClientError;
use crate::peers::PeerError;

/// How long a command line client of a server may take, in seconds.
const CLIENT_DEADLINE: &str = "40";

/// A port of a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// IMAP in clear, with STARTTLS.
    Imap,
    /// IMAP under TLS.
    Imaps,
    /// POP3 in clear, with STLS.
    Pop3,
    /// POP3 under TLS.
    Pop3s,
}

impl Service {
    /// All of them, in the order of the ports that the servers take.
    pub(crate) const ALL: [Self; 4] = [Self::Imap, Self::Imaps, Self::Pop3, Self::Pop3s];

    /// The service's port among `ports`, which are in the order of [`Service::ALL`].
    pub(crate) fn port_of(self, ports: &[u16]) -> u16 {
        let place = Self::ALL.iter().position(|service| *service == self);
        place.and_then(|place| ports.get(place)).copied().unwrap_or_default()
    }
}

/// Why a server does not run, or did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its packages are not there.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// Its certificate could not be made.
    #[error(transparent)]
    Cert(#[from] CertError),
    /// It did not come up.
    #[error("{server} {why}; its log:\n{log}")]
    NotReady {
        /// Which server.
        server: &'static str,
        /// What happened instead.
        why: String,
        /// All it logged.
        log: String,
    },
    /// A file or process of it could not be handled.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The answer.
        source: io::Error,
    },
    /// It did not take a message or a command of ours.
    #[error("{server} did not {what}: {source}")]
    Client {
        /// Which server.
        server: &'static str,
        /// What was tried.
        what: &'static str,
        /// The answer.
        source: ClientError,
    },
    /// A user's name or password that its files cannot hold.
    #[error("{0:?} holds a byte that a user of this server cannot have")]
    Name(String),
}

impl ServerError {
    /// For `map_err`: an error of the file system or of a process, with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs a server's own tool, which gets `input`, and gives what it printed; a failure holds its words.
fn fed(command: &Command, input: &[u8], what: &str) -> Result<String, ServerError> {
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after=2", CLIENT_DEADLINE]).arg(command.get_program());
    limited.args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = || {
        let mut child = limited.spawn()?;
        let feeder = child.stdin.take().map(|mut pipe| {
            let input = input.to_vec();
            // It ends as soon as it has heard enough; what it printed says why.
            std::thread::spawn(move || pipe.write_all(&input))
        });
        let output = child.wait_with_output()?;
        drop(feeder.map(std::thread::JoinHandle::join));
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("{}: {}", output.status, said.trim())))
    };
    run().map_err(ServerError::io(what))
}
