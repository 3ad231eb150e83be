//! Debian 12's MariaDB 10.11 as a user database: TLS, passwords in MySQL's usual way.
//! Nothing here touches the host's MariaDB or reads its settings.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::foreground::{Foreground, Plan, Ports, runs};
use super::{ServerError, fed};
use crate::certs::{self, KeyKind};
use crate::peers::{self, Peer, PeerDir};
use crate::process::Clothes;

/// The database made at start.
pub const DATABASE: &str = "mail";
/// The user who may do everything in [`DATABASE`].
pub const USER: &str = "posthouse";
/// The password of [`USER`].
pub const PASSWORD: &str = "door of the house";

/// What `mariadb-install-db` feeds it with, in this order, without questions about the host's name.
const SYSTEM_TABLES: [&str; 3] =
    ["mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"];

/// A running MariaDB; dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct Mariadb {
    server: Foreground,
    peer: PeerDir,
    clothes: Clothes,
}

runs!(Mariadb);

impl Mariadb {
    /// Starts MariaDB on a free loopback port with [`DATABASE`], [`USER`], and TLS on offer.
    ///
    /// # Errors
    /// When it cannot be unpacked or does not come up; the error holds its log.
    pub fn start() -> Result<Self, ServerError> {
        let peer = peers::ensure(Peer::Mariadb)?;
        let clothes = Clothes::fitting();
        let server = Foreground::start(&Plan {
            server: "mariadb",
            ports: 1,
            between_runs: Ports::Kept,
            greets: &|_| false,
            clothes,
            prepare: &|folder, ports| {
                certs::write_into(folder, &[], KeyKind::Ecdsa)?;
                fs::create_dir(folder.join("data")).map_err(ServerError::io("make a folder"))?;
                clothes.give(folder).map_err(ServerError::io("prepare mariadb's folder"))?;
                make_tables(&peer, clothes, folder)?;
                command(&peer, clothes, folder, ports)
            },
        })?;
        Ok(Self { server, peer, clothes })
    }

    /// Its loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.ports.first().copied().unwrap_or_default()
    }

    /// Runs statements as root in [`DATABASE`], up to the first that fails; what they gave, a line for each row with
    /// tabs between its columns.
    ///
    /// # Errors
    /// With the words of MariaDB.
    pub fn execute(&self, sql: &str) -> Result<String, ServerError> {
        let mut command = self.peer.command("usr/bin/mariadb")?;
        command.args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"]);
        command.args(["--default-character-set=utf8mb4", DATABASE, "--socket"]);
        command.arg(self.folder().join("socket"));
        fed(&command, sql.as_bytes(), "run statements with mariadb")
    }

    /// Starts it again after [`Foreground::stop`], on the same port and with the same data.
    ///
    /// # Errors
    /// When it does not come up; the error holds its log.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        let command = command(&self.peer, self.clothes, self.folder(), &self.server.ports)?;
        self.server.start_again(command)
    }
}

fn make_tables(peer: &PeerDir, clothes: Clothes, folder: &Path) -> Result<(), ServerError> {
    let mut statements = "CREATE DATABASE mysql;\nUSE mysql;\n".to_owned();
    for file in SYSTEM_TABLES {
        let path = peer.path("usr/share/mysql").join(file);
        let what = format!("read {}", path.display());
        statements += &fs::read_to_string(path).map_err(ServerError::io(what))?;
    }
    statements += &format!(
        "FLUSH PRIVILEGES;
CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;
CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON {DATABASE}.* TO '{USER}'@'%';
"
    );
    let mut command = server(peer, clothes, folder)?;
    command.arg("--bootstrap");
    fed(&command, statements.as_bytes(), "make MariaDB's tables").map(drop)
}

/// The program with what holds for its first tables and for its service.
fn server(peer: &PeerDir, clothes: Clothes, folder: &Path) -> Result<Command, ServerError> {
    let (here, root) = (folder.display(), peer.root().display());
    let mut command = clothes.wrap(&peer.path("usr/sbin/mariadbd"));
    command.env("LD_LIBRARY_PATH", peer.library_path()?).args([
        "--no-defaults".to_owned(),
        format!("--basedir={root}/usr"),
        format!("--datadir={here}/data"),
        format!("--tmpdir={here}"),
        "--innodb-flush-method=nosync".to_owned(),
        "--innodb-log-file-size=4M".to_owned(),
        "--innodb-buffer-pool-size=16M".to_owned(),
        "--innodb-temp-data-file-path=ibtmp1:1M:autoextend".to_owned(),
    ]);
    Ok(command)
}

fn command(
    peer: &PeerDir,
    clothes: Clothes,
    folder: &Path,
    ports: &[u16],
) -> Result<Command, ServerError> {
    let here = folder.display();
    let port = ports.first().copied().unwrap_or_default();
    let mut command = server(peer, clothes, folder)?;
    command.args([
        format!("--socket={here}/socket"),
        format!("--pid-file={here}/mariadb.pid"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--port={port}"),
        "--skip-name-resolve".to_owned(),
        format!("--ssl-ca={here}/ca.pem"),
        format!("--ssl-cert={here}/cert.pem"),
        format!("--ssl-key={here}/key.pem"),
        "--max-connections=200".to_owned(),
        // Clients that only look whether somebody listens would be locked out.
        "--max-connect-errors=1000000".to_owned(),
    ]);
    Ok(command)
}
