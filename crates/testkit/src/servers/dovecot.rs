//! Debian 12's Dovecot 2.3 as a back end.
//! Nothing here needs root or touches the host's Dovecot.

mod config;
mod delivery;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::foreground::{Foreground, Plan, Ports, runs};
use super::{ServerError, Service};
use crate::certs::{self, KeyKind};
use crate::peers::{self, Peer, PeerDir};
use crate::process::Clothes;

const USERS: &str = "users";
const MASTERS: &str = "masters";

/// How Dovecot stores mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailFormat {
    /// One file per message, known to all.
    Maildir,
    /// Dovecot's own, one file per message.
    Sdbox,
}

/// How a Dovecot is set up. `Default` is what most tests want.
#[derive(Debug, Clone)]
pub struct DovecotOptions {
    /// How mail is stored.
    pub format: MailFormat,
    /// Lets every name in with this one password, beside the users added.
    pub anyone_with: Option<String>,
    /// Whether passwords are refused in clear; Dovecot takes a client of its own address (127.0.0.1) all the same.
    pub require_tls: bool,
    /// `login_trusted_networks`, for example `127.0.0.0/8`.
    pub trusted_networks: String,
    /// How long a failed login is kept waiting.
    pub failure_delay: Duration,
    /// Settings added at the end of the configuration.
    pub extra: String,
}

impl Default for DovecotOptions {
    fn default() -> Self {
        Self {
            format: MailFormat::Maildir,
            anyone_with: None,
            require_tls: false,
            trusted_networks: String::new(),
            failure_delay: Duration::ZERO,
            extra: String::new(),
        }
    }
}

/// A running Dovecot; dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct Dovecot {
    server: Foreground,
    clothes: Clothes,
    options: DovecotOptions,
}

runs!(Dovecot);

impl Dovecot {
    /// Starts Dovecot on free loopback ports and waits until it greets.
    ///
    /// # Errors
    /// When it cannot be unpacked or does not come up; the error holds its log.
    pub fn start(options: DovecotOptions) -> Result<Self, ServerError> {
        let peer = peers::ensure(Peer::Dovecot)?;
        let clothes = Clothes::fitting();
        let server = Foreground::start(&Plan {
            server: "dovecot",
            ports: Service::ALL.len(),
            between_runs: Ports::LetGo,
            greets: &|place| matches!(Service::ALL.get(place), Some(Service::Imap | Service::Pop3)),
            clothes,
            prepare: &|folder, ports| prepare(&peer, clothes, &options, folder, ports),
        })?;
        Ok(Self { server, clothes, options })
    }

    /// The loopback port of a service.
    #[must_use]
    pub fn port(&self, service: Service) -> u16 {
        service.port_of(&self.server.ports)
    }

    /// Adds a user at once, or changes his password (which Dovecot notices within two seconds).
    ///
    /// # Errors
    /// When Dovecot's files cannot hold the name.
    pub fn add_user(&self, name: &str, password: &str) -> Result<(), ServerError> {
        self.write_account(USERS, name, password)
    }

    /// Adds a master user at once, who logs in as `USER*MASTER` with his own password.
    ///
    /// # Errors
    /// When Dovecot's files cannot hold the name.
    pub fn add_master(&self, name: &str, password: &str) -> Result<(), ServerError> {
        self.write_account(MASTERS, name, password)
    }

    /// A passwd-file per user: Dovecot looks at a known file once per second only, but at an unknown one at once.
    fn write_account(&self, kind: &str, name: &str, password: &str) -> Result<(), ServerError> {
        let name = account_name(name)?;
        let path = self.folder().join(kind).join(&name);
        let new = self.folder().join(kind).join(format!(".{name}.new"));
        let write = || {
            fs::write(&new, format!("{name}:{}::::::\n", scheme_and_password(password)))?;
            if path.exists() {
                // Seconds and size are all that Dovecot compares.
                let later = fs::metadata(&path)?.modified()? + Duration::from_secs(2);
                File::options().append(true).open(&new)?.set_modified(later)?;
            }
            self.clothes.give(&new)?;
            fs::rename(&new, &path)
        };
        write().map_err(ServerError::io(format!("write {}", path.display())))
    }

    /// Stores a message in the user's INBOX.
    ///
    /// # Errors
    /// When the user is unknown or the message is refused.
    pub fn deliver(&self, user: &str, message: &[u8]) -> Result<(), ServerError> {
        match self.options.format {
            MailFormat::Maildir => {
                delivery::into_maildir(self.folder(), self.clothes, user, message)
            }
            MailFormat::Sdbox => delivery::by_lmtp(self.folder(), user, message),
        }
    }
}

fn prepare(
    peer: &PeerDir,
    clothes: Clothes,
    options: &DovecotOptions,
    folder: &Path,
    ports: &[u16],
) -> Result<Command, ServerError> {
    certs::write_into(folder, &[], KeyKind::Ecdsa)?;
    // See `repointed` of the peer.
    let folders = || {
        for inner in ["run", "mail", USERS, MASTERS] {
            fs::create_dir(folder.join(inner))?;
        }
        symlink(peer.path("usr/lib/dovecot/modules"), folder.join("run/modules"))
    };
    folders().map_err(ServerError::io("make dovecot's folders"))?;
    let path: PathBuf = folder.join("dovecot.conf");
    let text = config::text(peer, clothes, options, folder, ports)?;
    fs::write(&path, text).map_err(ServerError::io(format!("write {}", path.display())))?;
    // dovecot itself would run /usr/bin/doveconf in this way, wherever its packages lie.
    let mut command = clothes.wrap(&peer.path("usr/bin/doveconf"));
    command
        .env("LD_LIBRARY_PATH", peer.library_path()?)
        .args(["-f", "service=master", "-m", "master", "-p", "-c"])
        .arg(&path)
        .arg("-e")
        .arg(peer.path("usr/sbin/dovecot"))
        .arg("-F")
        .arg("-c")
        .arg(&path);
    Ok(command)
}

/// The name as Dovecot uses it: in lower case, and fit to be a file's name.
fn account_name(name: &str) -> Result<String, ServerError> {
    if name.is_empty() || name.starts_with('.') || name.contains([':', '\n', '\0', '/']) {
        return Err(ServerError::Name(name.to_owned()));
    }
    Ok(name.to_lowercase())
}

/// A password in hexadecimal, for it may hold any byte.
fn scheme_and_password(password: &str) -> String {
    password.bytes().fold("{PLAIN.HEX}".to_owned(), |mut text, byte| {
        // Writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
