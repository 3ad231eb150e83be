//! Debian 12's Cyrus IMAP 3.6 as a back end.
//! Nothing here needs root or touches the host's Cyrus.

mod config;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use super::foreground::{Foreground, Plan, Ports, runs};
use super::{ServerError, Service, fed};
use crate::certs::{self, KeyKind};
use crate::mail_clients::{ClientError, ImapClient, Security};
use crate::peers::{self, Peer, PeerDir};
use crate::process::Clothes;

/// Realm of all accounts in the SASL database: Cyrus' `servername`.
const REALM: &str = "localhost";
const ADMIN: &str = "cyrus";
const ADMIN_PASSWORD: &str = "cyrus admin";

/// How a Cyrus is set up. `Default` is what most tests want.
#[derive(Debug, Clone)]
pub struct CyrusOptions {
    /// Whether passwords are taken in clear.
    pub allow_plaintext: bool,
    /// Settings added at the end of imapd.conf.
    pub extra: String,
}

impl Default for CyrusOptions {
    fn default() -> Self {
        Self { allow_plaintext: true, extra: String::new() }
    }
}

/// A running Cyrus; dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct Cyrus {
    server: Foreground,
    peer: PeerDir,
    clothes: Clothes,
    passwords: Passwords,
}

runs!(Cyrus);

/// What `deliver` needs to log in as the user.
type Passwords = std::sync::Mutex<std::collections::HashMap<String, String>>;

impl Cyrus {
    /// Starts Cyrus on free loopback ports and waits until it greets.
    ///
    /// # Errors
    /// When it cannot be unpacked or does not come up; the error holds its log.
    pub fn start(options: &CyrusOptions) -> Result<Self, ServerError> {
        let peer = peers::ensure(Peer::Cyrus)?;
        let clothes = Clothes::fitting();
        let server = Foreground::start(&Plan {
            server: "cyrus",
            ports: Service::ALL.len(),
            between_runs: Ports::LetGo,
            greets: &|place| matches!(Service::ALL.get(place), Some(Service::Imap | Service::Pop3)),
            clothes,
            prepare: &|folder, ports| prepare(&peer, clothes, options, folder, ports),
        })?;
        let cyrus = Self { server, peer, clothes, passwords: Passwords::default() };
        cyrus.set_password(ADMIN, ADMIN_PASSWORD)?;
        Ok(cyrus)
    }

    /// The loopback port of a service.
    #[must_use]
    pub fn port(&self, service: Service) -> u16 {
        service.port_of(&self.server.ports)
    }

    /// Adds a user with an INBOX, or changes his password, at once.
    ///
    /// # Errors
    /// When Cyrus refuses the name.
    pub fn add_user(&self, name: &str, password: &str) -> Result<(), ServerError> {
        self.set_password(name, password)?;
        let known = self.passwords().insert(name.to_owned(), password.to_owned()).is_some();
        if known {
            return Ok(());
        }
        let create = || {
            let mut admin = self.log_in(ADMIN, ADMIN_PASSWORD)?;
            let answer = admin.command(&format!("CREATE \"user/{name}\""))?;
            admin.logout()?;
            if answer.is_ok() { Ok(()) } else { Err(ClientError::Refused(answer.status)) }
        };
        create().map_err(failed("create a mailbox"))
    }

    fn passwords(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, String>> {
        self.passwords.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set_password(&self, name: &str, password: &str) -> Result<(), ServerError> {
        let mut command = self.clothes.wrap(&self.peer.path("usr/sbin/saslpasswd2"));
        config::environment(&mut command, &self.peer)?;
        command.args(["-p", "-c", "-u", REALM, "-f"]).arg(self.folder().join(config::ACCOUNTS));
        command.arg(name);
        fed(&command, password.as_bytes(), "add a user with saslpasswd2").map(drop)
    }

    fn log_in(&self, user: &str, password: &str) -> Result<ImapClient, ClientError> {
        let security = Security::StartTls(crate::wire::Trust::Anything);
        let address = (Ipv4Addr::LOCALHOST, self.port(Service::Imap));
        let mut client = ImapClient::connect(address, &security)?;
        client.login(user, password)?;
        Ok(client)
    }

    /// Stores a message in the INBOX of a user added before, logged in as him.
    ///
    /// # Errors
    /// When the user was not added or the message is refused.
    pub fn deliver(&self, user: &str, message: &[u8]) -> Result<(), ServerError> {
        let password = self.passwords().get(user).cloned().unwrap_or_default();
        let append = || {
            let mut client = self.log_in(user, &password)?;
            client.append("INBOX", message)?;
            client.logout()
        };
        append().map_err(failed("take a message"))
    }
}

fn failed(what: &'static str) -> impl FnOnce(ClientError) -> ServerError {
    move |source| ServerError::Client { server: "cyrus", what, source }
}

fn prepare(
    peer: &PeerDir,
    clothes: Clothes,
    options: &CyrusOptions,
    folder: &Path,
    ports: &[u16],
) -> Result<Command, ServerError> {
    certs::write_into(folder, &[], KeyKind::Ecdsa)?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(ServerError::io(format!("write {}", path.display())))
    };
    for inner in config::FOLDERS {
        let path = folder.join(inner);
        let what = format!("make folder {}", path.display());
        fs::create_dir_all(&path).map_err(ServerError::io(what))?;
    }
    let (user, _) = clothes.names().map_err(ServerError::io("start cyrus"))?;
    write("imapd.conf", config::imapd_conf(&user, options, folder))?;
    write("cyrus.conf", config::cyrus_conf(peer, folder, ports))?;
    let mut command = clothes.wrap(&peer.path("usr/lib/cyrus/bin/master"));
    config::environment(&mut command, peer)?;
    command.arg("-C").arg(folder.join("imapd.conf")).arg("-M").arg(folder.join("cyrus.conf"));
    command.arg("-p").arg(folder.join("master.pid"));
    Ok(command)
}
