//! The shape of sources that speak SQL.

use std::path::PathBuf;

use model::{HostPort, Secret};
use toml::{Spanned, de::DeValue};

use super::words;
use crate::config::read::{Field, Keyed, Listed, Literally, Read, Reader, table};

table! {
    /// A database over a network.
    SqlSource, "source = \"postgres\" or \"mysql\"" {
        /// One host or several, tried in turn, each perhaps with a port.
        "address" = addresses: Listed<HostPort>,
        /// In place of addresses: PostgreSQL's folder of sockets, MySQL's socket.
        "socket" = socket: PathBuf,
        "database" = database: String,
        "user" = user: String,
        "password" = password: Secret,
        "password_file" = password_file: PathBuf,
        "tls" = tls: SqlTlsMode,
        /// Whether the certificate is verified.
        "tls_verify" = tls_verify: bool,
        /// Authorities to trust beside the public ones.
        "ca_file" = ca_file: PathBuf,
        /// Our own certificate, and its key.
        "certificate" = certificate: PathBuf,
        "key" = key: PathBuf,
        /// How many connections it gets at most.
        "connections" = connections: u32,
        /// Looks a user up.
        "query" = query: Literally,
        /// Writes where a user is.
        "assign" = assign: Literally,
        /// Gives all users.
        "list" = list: Literally,
        /// The channel on which PostgreSQL tells of changes.
        "listen" = listen: String,
    }
}

table! {
    /// A database in a file.
    SqliteSource, "source = \"sqlite\"" {
        "file" = file: PathBuf,
        /// Looks a user up.
        "query" = query: Literally,
        /// Writes where a user is.
        "assign" = assign: Literally,
        /// Gives all users.
        "list" = list: Literally,
    }
}

table! {
    /// A database behind an ODBC driver.
    OdbcSource, "source = \"odbc\"" {
        /// The connection string.
        "connection" = connection: Secret,
        /// In place of it: the file with it.
        "connection_file" = connection_file: PathBuf,
        /// How many connections it gets at most, each by a worker of its own.
        "connections" = connections: u32,
        /// The worker's program.
        "worker" = worker: PathBuf,
        /// Looks a user up.
        "query" = query: Literally,
    }
}

words! {
    /// How a connection to a database is kept private.
    SqlTlsMode, "a TLS mode of a database" {
        "none" = None,
        "required" = Required,
    }
}
