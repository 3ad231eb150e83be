//! Real user databases with the same two users in each, and the mail servers that hold their mail, for the
//! configurations in `examples/sources`. Nothing here stays: Ctrl-C ends all of it and removes its folders.
//!
//! With `CHECK=1` Posthouse is started with each of those configurations, both users log in through it, one line is
//! printed for each, and the exit code says whether all came in.

use std::env;
use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use rusqlite::Connection;
use tempfile::TempDir;

use testkit::mail_clients::{ImapClient, Security};
use testkit::peers::odbc::Odbc;
use testkit::peers::{self, Peer, PeerError};
use testkit::ports::HeldPorts;
use testkit::posthouse::{self, Posthouse, PosthouseOptions};
use testkit::servers::Service;
use testkit::servers::dovecot::{Dovecot, DovecotOptions};
use testkit::servers::mariadb::Mariadb;
use testkit::servers::postgres::{self, Postgres};
use testkit::servers::slapd::Slapd;
use testkit::workspace;

/// Name, name at the back end, and password, of a user for each back end.
const PEOPLE: [(&str, &str, &str); 2] =
    [("anna@example.org", "anna", "anna-secret"), ("ben@example.org", "ben", "ben-secret")];

/// The configurations whose databases run here.
const EXAMPLES: [&str; 5] = ["ldap", "mysql", "odbc", "postgres", "sqlite"];

/// Everything that runs.
struct Lab {
    back_ends: Vec<Dovecot>,
    ldap: Slapd,
    postgres: Postgres,
    mariadb: Mariadb,
    odbc: Odbc,
    folder: TempDir,
}

fn main() -> ExitCode {
    let check = env::var("CHECK").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "no"));
    match run(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("source-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<(), Box<dyn Error>> {
    // Until all of it can be ended in order Ctrl-C waits.
    let mut endings = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        endings.add(signal);
    }
    endings.thread_block()?;
    println!("Starting two Dovecots, slapd, PostgreSQL and MariaDB (unpacked, not installed) ...");
    let lab = Lab::open()?;
    if check {
        return lab.check();
    }
    lab.explain()?;
    endings.wait()?;
    println!("\nEnding all of it.");
    Ok(())
}

impl Lab {
    fn open() -> Result<Self, Box<dyn Error>> {
        let mut back_ends = Vec::new();
        for (_, login, password) in PEOPLE {
            let dovecot = Dovecot::start(DovecotOptions::default())?;
            dovecot.add_user(login, password)?;
            back_ends.push(dovecot);
        }
        let lab = Self {
            back_ends,
            ldap: Slapd::start("")?,
            postgres: Postgres::start()?,
            mariadb: Mariadb::start()?,
            odbc: Odbc::ensure()?,
            folder: workspace::temporary_folder("source-lab")?,
        };
        lab.fill()?;
        Ok(lab)
    }

    /// Where each one's mail is.
    fn stores(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, String)> {
        PEOPLE.into_iter().zip(&self.back_ends).map(|((name, login, password), back_end)| {
            (name, login, password, format!("127.0.0.1:{}", back_end.port(Service::Imap)))
        })
    }

    fn fill(&self) -> Result<(), Box<dyn Error>> {
        let mut sql =
            "CREATE TABLE mailboxes (address VARCHAR(255) PRIMARY KEY, store VARCHAR(255), \
            login VARCHAR(255), active BOOLEAN NOT NULL);\n"
                .to_owned();
        for (name, login, password, store) in self.stores() {
            sql +=
                &format!("INSERT INTO mailboxes VALUES ('{name}', '{store}', '{login}', TRUE);\n");
            self.ldap.add_user(login, password, &[("mail", name), ("mailHost", &store)])?;
        }
        self.mariadb.execute(&sql)?;
        Connection::open(self.sqlite())?.execute_batch(&sql)?;
        let owner = postgres::USER;
        self.postgres.execute(&format!(
            "{sql} ALTER TABLE mailboxes OWNER TO {owner};
             CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_notify('mailboxes_changed', COALESCE(OLD.address, NEW.address)); RETURN NULL; END $$;
             CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON mailboxes
             FOR EACH ROW EXECUTE FUNCTION tell();"
        ))?;
        Ok(())
    }

    fn sqlite(&self) -> PathBuf {
        self.folder.path().join("users.sqlite")
    }

    /// What the configurations find in the environment.
    fn environment(&self) -> Result<Vec<(String, String)>, Box<dyn Error>> {
        let (driver, file) = (self.odbc.sqlite_driver(), self.sqlite());
        let libraries = self.odbc.library_path()?;
        Ok([
            ("LDAP_PORT", self.ldap.ldap_port().to_string()),
            ("POSTGRES_PORT", self.postgres.port().to_string()),
            ("MYSQL_PORT", self.mariadb.port().to_string()),
            ("SQLITE_FILE", file.display().to_string()),
            ("ODBC_CONNECTION", format!("DRIVER={};Database={}", driver.display(), file.display())),
            ("LD_LIBRARY_PATH", libraries.to_string_lossy().into_owned()),
            ("POSTHOUSE_STATE", self.folder.path().join("state").display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec())
    }

    fn check(&self) -> Result<(), Box<dyn Error>> {
        let mut wrong = 0;
        for file in examples() {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for line in self.try_out(&file)? {
                wrong += usize::from(line.starts_with("not ok"));
                println!("{line} by {name}");
            }
        }
        if wrong == 0 { Ok(()) } else { Err(format!("{wrong} users did not come in").into()) }
    }

    /// Logs both in through Posthouse with this configuration.
    fn try_out(&self, file: &Path) -> Result<Vec<String>, Box<dyn Error>> {
        let held = HeldPorts::take(1)?;
        let port = *held.numbers()?.first().ok_or("the kernel gave no port")?;
        drop(held);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut environment = self.environment()?;
        environment.retain(|(name, _)| name != "POSTHOUSE_STATE");
        environment.push(("IMAP_PORT".to_owned(), port.to_string()));
        let options = PosthouseOptions {
            environment,
            listeners: vec![address],
            ..PosthouseOptions::default()
        };
        let text = fs::read_to_string(file)?;
        let posthouse = Posthouse::start_in(posthouse::new_folder()?, &text, &options)?;
        let mut lines = Vec::new();
        for (name, _, password) in PEOPLE {
            let mut client = ImapClient::connect(address, &Security::Clear)?;
            lines.push(match client.login(name, password) {
                Ok(_) => format!("ok {name}"),
                Err(error) => format!("not ok {name} ({error}; {})", posthouse.log_text()),
            });
        }
        Ok(lines)
    }

    fn explain(&self) -> Result<(), Box<dyn Error>> {
        println!("\nIn another terminal:\n");
        for (name, value) in self.environment()? {
            println!("  export {name}='{value}'");
        }
        println!("\nThen one of these:\n");
        let (root, posthouse) = (workspace::checkout(), workspace::built_program("posthouse")?);
        for file in examples() {
            let file = file.strip_prefix(&root).unwrap_or(&file).display();
            println!("  {} --config {file} serve", posthouse.display());
        }
        println!("\nAnd in a third:\n");
        for (name, login, password) in PEOPLE {
            println!(
                "  curl --user {name}:{password} imap://127.0.0.1:14143/   # called {login} at his server"
            );
        }
        println!("\nThe databases, to change something:\n");
        println!(
            "  PostgreSQL  {} -h {} -p {} -U postgres mail",
            unpacked(Peer::Postgres, "usr/lib/postgresql/15/bin/psql")?,
            self.postgres.folder().display(),
            self.postgres.port()
        );
        println!(
            "  MariaDB     {} --no-defaults --socket={}/socket --user=root mail",
            unpacked(Peer::Mariadb, "usr/bin/mariadb")?,
            self.mariadb.folder().display()
        );
        println!("  SQLite      sqlite3 {}", self.sqlite().display());
        println!("\nCtrl-C ends all of it.");
        Ok(())
    }
}

/// How to run a program that is unpacked and not installed.
fn unpacked(peer: Peer, program: &str) -> Result<String, PeerError> {
    let peer = peers::ensure(peer)?;
    let (libraries, program) = (peer.library_path()?, peer.path(program));
    Ok(format!("LD_LIBRARY_PATH={} {}", libraries.display(), program.display()))
}

/// Their files.
fn examples() -> impl Iterator<Item = PathBuf> {
    let folder = workspace::checkout().join("examples/sources");
    EXAMPLES.into_iter().map(move |name| folder.join(format!("{name}.toml")))
}
