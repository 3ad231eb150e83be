//! Databases as sources of users: their tables of a configuration, and what tests do to them.
//! Nothing here starts one.

use std::path::PathBuf;

use testkit::servers::{
    mariadb::{self, Mariadb},
    postgres::{self, Postgres},
};

use crate::house::House;

/// A real database.
#[derive(Clone, Copy, Debug)]
pub enum Database<'d> {
    /// MariaDB.
    Mariadb(&'d Mariadb),
    /// PostgreSQL.
    Postgres(&'d Postgres),
}

impl<'d> Database<'d> {
    /// Those that all tests share.
    pub fn shared(house: &'d House) -> [Self; 2] {
        [Self::Postgres(house.postgres()), Self::Mariadb(house.mariadb())]
    }

    /// Its word in a configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mariadb(_) => "mysql",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Its loopback port.
    pub fn port(self) -> u16 {
        match self {
            Self::Mariadb(database) => database.port(),
            Self::Postgres(database) => database.port(),
        }
    }

    /// The authority behind its certificate.
    pub fn authority(self) -> PathBuf {
        match self {
            Self::Mariadb(database) => database.certificates().ca,
            Self::Postgres(database) => database.certificates().ca,
        }
    }

    /// What stands in a configuration for its socket.
    pub fn socket(self) -> PathBuf {
        match self {
            Self::Mariadb(database) => database.folder().join("socket"),
            Self::Postgres(database) => {
                database.folder().join(format!(".s.PGSQL.{}", database.port()))
            }
        }
    }

    /// Runs statements.
    pub fn execute(self, sql: &str) -> String {
        let done = match self {
            Self::Mariadb(database) => database.execute(sql),
            Self::Postgres(database) => database.execute(sql),
        };
        done.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes a table that we may read and write, with these columns and rows.
    pub fn table(self, name: &str, columns: &str, rows: &str) {
        let owner = format!("ALTER TABLE {name} OWNER TO {};", postgres::USER);
        let owner = if matches!(self, Self::Postgres(_)) { owner.as_str() } else { "" };
        let rows = if rows.is_empty() {
            rows.to_owned()
        } else {
            format!("INSERT INTO {name} VALUES {rows};")
        };
        self.execute(&format!("CREATE TABLE {name} ({columns}); {owner} {rows}"));
    }

    /// A source of a configuration that asks it this. `keys` are added, or stand in place of the usual.
    pub fn source(self, query: &str, keys: &str) -> String {
        let (database, user, password) = match self {
            Self::Mariadb(_) => (mariadb::DATABASE, mariadb::USER, mariadb::PASSWORD),
            Self::Postgres(_) => (postgres::DATABASE, postgres::USER, postgres::PASSWORD),
        };
        let mut text = format!("[[directory]]\nsource = \"{}\"\n", self.word());
        let socket = keys.lines().any(|line| line.starts_with("socket ="));
        for (key, value) in [
            ("address", format!("127.0.0.1:{}", self.port())),
            ("ca_file", self.authority().display().to_string()),
            ("database", database.to_owned()),
            ("user", user.to_owned()),
            ("password", password.to_owned()),
        ] {
            let replaced = keys.lines().any(|line| line.starts_with(&format!("{key} =")));
            let left_out = match key {
                "address" => socket,
                "ca_file" => socket || keys.contains("tls =") || keys.contains("tls_verify ="),
                _ => false,
            };
            if !(replaced || left_out) {
                text += &format!("{key} = \"{value}\"\n");
            }
        }
        format!("{text}query = '''{query}'''\n{keys}\n")
    }
}
