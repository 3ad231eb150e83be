//! Databases behind ODBC as sources of users: real drivers, asked by the real worker.
//! Nothing here starts a database.

use std::{fs, path::Path};

use testkit::{
    peers::odbc::Odbc,
    servers::postgres::{self, Postgres},
    workspace,
};

use crate::door::Door;

/// unixODBC and its drivers, for the worker that was built against it.
#[derive(Debug)]
pub struct Drivers {
    odbc: Odbc,
    library_path: String,
}

impl Drivers {
    /// Unpacks them unless they are there.
    pub fn ensure() -> Self {
        // Here it is said how it is built; Posthouse would only say where it is not.
        workspace::built_program("posthouse-worker").unwrap();
        let odbc = Odbc::ensure().unwrap();
        let library_path = odbc.library_path().unwrap().into_string().unwrap();
        Self { odbc, library_path }
    }

    /// The connection string for a PostgreSQL.
    pub fn postgres(&self, server: &Postgres) -> String {
        format!(
            "DRIVER={};Server=127.0.0.1;Port={};Database={};UID={};PWD={{{}}};SSLmode=require",
            self.odbc.postgres_driver().display(),
            server.port(),
            postgres::DATABASE,
            postgres::USER,
            postgres::PASSWORD
        )
    }

    /// The connection string for a file of SQLite.
    pub fn sqlite(&self, file: &Path) -> String {
        let driver = self.odbc.sqlite_driver();
        format!("DRIVER={};Database={}", driver.display(), file.display())
    }

    /// What the worker finds libodbc by. Posthouse itself needs none of it.
    pub fn environment(&self) -> [(&str, &str); 1] {
        [("LD_LIBRARY_PATH", &self.library_path)]
    }

    /// Starts Posthouse in their environment.
    pub fn open(&self, config: &str) -> Door {
        Door::open_with(config, &self.environment(), |_| {})
    }
}

/// A source of a configuration that asks by this connection. `keys` are added, or stand in place of it.
pub fn source(connection: &str, query: &str, keys: &str) -> String {
    let replaced = keys.lines().any(|line| line.starts_with("connection_file"));
    let connection =
        if replaced { String::new() } else { format!("connection = '{connection}'\n") };
    format!("[[directory]]\nsource = \"odbc\"\n{connection}query = '''{query}'''\n{keys}\n")
}

/// The workers of a Posthouse.
pub fn workers(door: &Door) -> Vec<u32> {
    let is_worker = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // The kernel keeps 15 letters.
        name.trim() == "posthouse-worke"
    };
    door.pids().into_iter().filter(is_worker).collect()
}
