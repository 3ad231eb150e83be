//! Debian 12's PostgreSQL 15 as a user database: TLS, passwords by SCRAM.
//! Nothing here touches the host's PostgreSQL.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::foreground::{Foreground, Plan, Ports, runs};
use super::{ServerError, fed};
use crate::certs::{self, KeyKind};
use crate::peers::{self, Peer, PeerDir};
use crate::process::Clothes;
use crate::wait;

/// The database made at start.
pub const DATABASE: &str = "mail";
/// The role that owns [`DATABASE`].
pub const USER: &str = "posthouse";
/// The password of [`USER`].
pub const PASSWORD: &str = "door of the house";

/// Its superuser, who comes in over the socket in its folder alone.
const SUPERUSER: &str = "postgres";
/// How long it may take from listening to answering: it may have to repair what a sudden end left.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// A running PostgreSQL; dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct Postgres {
    server: Foreground,
    peer: PeerDir,
    clothes: Clothes,
}

runs!(Postgres);

impl Postgres {
    /// Starts PostgreSQL on a free loopback port with [`DATABASE`], [`USER`], TLS on offer and SCRAM asked for.
    ///
    /// # Errors
    /// When it cannot be unpacked or does not come up; the error holds its log.
    pub fn start() -> Result<Self, ServerError> {
        let peer = peers::ensure(Peer::Postgres)?;
        let clothes = Clothes::fitting();
        let server = Foreground::start(&Plan {
            server: "postgresql",
            ports: 1,
            between_runs: Ports::Kept,
            greets: &|_| false,
            clothes,
            prepare: &|folder, ports| {
                certs::write_into(folder, &[], KeyKind::Ecdsa)?;
                clothes.give(folder).map_err(ServerError::io("prepare postgresql's folder"))?;
                make_cluster(&peer, clothes, folder)?;
                command(&peer, clothes, folder, ports)
            },
        })?;
        let postgres = Self { server, peer, clothes };
        postgres.wait_answer()?;
        postgres.ask(SUPERUSER, &format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"))?;
        postgres.ask(SUPERUSER, &format!("CREATE DATABASE {DATABASE} OWNER {USER}"))?;
        Ok(postgres)
    }

    /// Its loopback port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.ports.first().copied().unwrap_or_default()
    }

    /// Runs statements as superuser in [`DATABASE`], up to the first that fails; what they gave, a line for each row
    /// with `|` between its columns.
    ///
    /// # Errors
    /// With the words of PostgreSQL.
    pub fn execute(&self, sql: &str) -> Result<String, ServerError> {
        self.ask(DATABASE, sql)
    }

    fn ask(&self, database: &str, sql: &str) -> Result<String, ServerError> {
        let mut command = self.peer.command("usr/lib/postgresql/15/bin/psql")?;
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d"]);
        command.args([database, "-p", &self.port().to_string(), "-h"]).arg(self.folder());
        fed(&command, sql.as_bytes(), "run statements with psql")
    }

    fn wait_answer(&self) -> Result<(), ServerError> {
        let mut answer = self.ask(SUPERUSER, "SELECT 1");
        wait::until(ANSWER_DEADLINE, || {
            if answer.is_err() {
                answer = self.ask(SUPERUSER, "SELECT 1");
            }
            answer.is_ok()
        });
        answer.map(drop).map_err(|error| ServerError::NotReady {
            server: "postgresql",
            why: error.to_string(),
            log: self.log_text(),
        })
    }

    /// Ends it and all its connections; the port refuses from then on, and its data stays.
    pub fn stop(&mut self) {
        // SIGTERM would wait until all clients are gone.
        self.server.stop_by(Signal::SIGINT);
    }

    /// Starts it again after [`Postgres::stop`], on the same port and with the same data.
    ///
    /// # Errors
    /// When it does not come up; the error holds its log.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        let command = command(&self.peer, self.clothes, self.folder(), &self.server.ports)?;
        self.server.start_again(command)?;
        self.wait_answer()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed, it would leave a segment of System V memory to the host.
        self.server.stop_by(Signal::SIGQUIT);
    }
}

fn make_cluster(peer: &PeerDir, clothes: Clothes, folder: &Path) -> Result<(), ServerError> {
    let mut command = clothes.wrap(&peer.path("usr/lib/postgresql/15/bin/initdb"));
    command
        .env("LD_LIBRARY_PATH", peer.library_path()?)
        .args(["--username", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C"])
        .args(["--no-sync", "--no-instructions", "--pgdata"])
        .arg(folder.join("data"));
    fed(&command, b"", "make a database cluster with initdb")?;
    let access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    fs::write(folder.join("data/pg_hba.conf"), access).map_err(ServerError::io("write pg_hba.conf"))
}

fn command(
    peer: &PeerDir,
    clothes: Clothes,
    folder: &Path,
    ports: &[u16],
) -> Result<Command, ServerError> {
    let port = ports.first().copied().unwrap_or_default();
    let here = folder.display();
    let mut command = clothes.wrap(&peer.path("usr/lib/postgresql/15/bin/postgres"));
    command.env("LD_LIBRARY_PATH", peer.library_path()?).arg("-D").arg(folder.join("data"));
    for setting in [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={here}"),
        "ssl=on".to_owned(),
        format!("ssl_ca_file={here}/ca.pem"),
        format!("ssl_cert_file={here}/cert.pem"),
        format!("ssl_key_file={here}/key.pem"),
        "max_connections=200".to_owned(),
        "shared_buffers=16MB".to_owned(),
        "dynamic_shared_memory_type=mmap".to_owned(),
        "fsync=off".to_owned(),
        // Its compiler is left out of the packages.
        "jit=off".to_owned(),
    ] {
        command.args(["-c", &setting]);
    }
    Ok(command)
}
