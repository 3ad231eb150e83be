//! The real back ends and databases that all tests of a run share, each started when it is first asked for.
//! Nothing here is a test's own: users must have names that no other test takes.

use std::{
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use testkit::servers::{
    Service,
    cyrus::{Cyrus, CyrusOptions},
    dovecot::{Dovecot, DovecotOptions, MailFormat},
    mariadb::Mariadb,
    postgres::Postgres,
    slapd::Slapd,
};

use crate::secrets::password;

/// Dovecot knows what mailboxes are for by their names alone.
const SPECIAL_USES: &str = "namespace inbox {
  inbox = yes
  mailbox Sent {
    special_use = \\Sent
  }
  mailbox Drafts {
    special_use = \\Drafts
  }
}
";

/// The back ends. Dropped at the end of the run, with all their processes and folders.
#[derive(Default)]
pub struct House {
    maildir: OnceLock<Dovecot>,
    sdbox: OnceLock<Dovecot>,
    cyrus: OnceLock<Cyrus>,
    slapd: OnceLock<Slapd>,
    postgres: OnceLock<Postgres>,
    mariadb: OnceLock<Mariadb>,
    users: AtomicU32,
}

/// A kind of back end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Dovecot with Maildir.
    Maildir,
    /// Dovecot with sdbox.
    Sdbox,
    /// Cyrus.
    Cyrus,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Maildir, Self::Sdbox, Self::Cyrus];

    /// Its name, which is also that of its table in the tests' configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Maildir => "maildir",
            Self::Sdbox => "sdbox",
            Self::Cyrus => "cyrus",
        }
    }
}

/// Somebody with an account.
#[derive(Clone, Debug)]
pub struct Person {
    /// The user's name.
    pub name: String,
    /// The user's password.
    pub password: String,
}

impl House {
    fn dovecot(&self, format: MailFormat) -> &Dovecot {
        let place = match format {
            MailFormat::Maildir => &self.maildir,
            MailFormat::Sdbox => &self.sdbox,
        };
        let extra = SPECIAL_USES.to_owned();
        let options = DovecotOptions { format, extra, ..DovecotOptions::default() };
        place.get_or_init(|| Dovecot::start(options).unwrap())
    }

    fn cyrus(&self) -> &Cyrus {
        self.cyrus.get_or_init(|| Cyrus::start(&CyrusOptions::default()).unwrap())
    }

    /// The directory of users, which no test stops.
    pub fn slapd(&self) -> &Slapd {
        self.slapd.get_or_init(|| Slapd::start("").unwrap())
    }

    /// PostgreSQL. Tables must have names that no other test takes.
    pub fn postgres(&self) -> &Postgres {
        self.postgres.get_or_init(|| Postgres::start().unwrap())
    }

    /// MariaDB. Tables must have names that no other test takes.
    pub fn mariadb(&self) -> &Mariadb {
        self.mariadb.get_or_init(|| Mariadb::start().unwrap())
    }

    /// The port of a service.
    pub fn port(&self, kind: Kind, service: Service) -> u16 {
        match kind {
            Kind::Maildir => self.dovecot(MailFormat::Maildir).port(service),
            Kind::Sdbox => self.dovecot(MailFormat::Sdbox).port(service),
            Kind::Cyrus => self.cyrus().port(service),
        }
    }

    /// The authority behind the back end's certificate.
    pub fn authority(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Maildir => self.dovecot(MailFormat::Maildir).certificates().ca,
            Kind::Sdbox => self.dovecot(MailFormat::Sdbox).certificates().ca,
            Kind::Cyrus => self.cyrus().certificates().ca,
        }
    }

    /// The PEM file of the back end's own certificate.
    pub fn certificate(&self, kind: Kind) -> PathBuf {
        self.authority(kind).with_file_name("cert.pem")
    }

    /// Somebody new, with an account and an empty mailbox.
    pub fn person(&self, kind: Kind) -> Person {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        let name = format!("person{number}");
        let person = Person { password: password(&name), name };
        self.add(kind, &person);
        person
    }

    /// Gives somebody an account and an empty mailbox.
    pub fn add(&self, kind: Kind, person: &Person) {
        let Person { name, password } = person;
        let added = match kind {
            Kind::Maildir => self.dovecot(MailFormat::Maildir).add_user(name, password),
            Kind::Sdbox => self.dovecot(MailFormat::Sdbox).add_user(name, password),
            Kind::Cyrus => self.cyrus().add_user(name, password),
        };
        added.unwrap();
    }

    /// Adds a master user to the Dovecot with Maildir, who logs in as `USER*MASTER`.
    pub fn add_master(&self, name: &str, password: &str) {
        self.dovecot(MailFormat::Maildir).add_master(name, password).unwrap();
    }

    /// Puts a message into somebody's INBOX.
    pub fn deliver(&self, kind: Kind, person: &Person, message: &[u8]) {
        let delivered = match kind {
            Kind::Maildir => self.dovecot(MailFormat::Maildir).deliver(&person.name, message),
            Kind::Sdbox => self.dovecot(MailFormat::Sdbox).deliver(&person.name, message),
            Kind::Cyrus => self.cyrus().deliver(&person.name, message),
        };
        delivered.unwrap();
    }

    /// The back end's table of a configuration, without TLS, and with the users' own passwords.
    pub fn backend(&self, kind: Kind) -> String {
        let (imap, pop3) = (self.port(kind, Service::Imap), self.port(kind, Service::Pop3));
        crate::door::backend(kind.name(), imap, pop3)
    }
}
