//! What each peer is made of.
//! Nothing here fetches or unpacks.

use super::{Peer, Recipe, Repointed};

/// The recipe of a peer.
pub(super) fn of(peer: Peer) -> &'static Recipe {
    match peer {
        Peer::Dovecot => &Recipe {
            name: "dovecot",
            packages: &["dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"],
            left_out: &["ssl-cert", "ucf"],
            programs: &["usr/sbin/dovecot", "usr/lib/dovecot/auth", "usr/lib/dovecot/imap"],
            // Its TLS module is looked for there whatever mail_plugin_dir says.
            repointed: &[Repointed {
                file: "usr/lib/dovecot/libdovecot.so.0.0.0",
                compiled_in: "/usr/lib/dovecot/modules",
                instead: "modules",
            }],
        },
        Peer::Cyrus => &Recipe {
            name: "cyrus",
            packages: &[
                "cyrus-common",
                "cyrus-imapd",
                "cyrus-pop3d",
                "libsasl2-modules-db",
                "sasl2-bin",
            ],
            left_out: &[
                "db-util",
                "db5.3-util",
                "exim4-base",
                "exim4-config",
                "exim4-daemon-light",
                "gawk",
                "libsigsegv2",
                "perl",
                "perl-base",
                "perl-modules-5.36",
            ],
            programs: &[
                "usr/lib/cyrus/bin/master",
                "usr/lib/cyrus/bin/imapd",
                "usr/sbin/saslpasswd2",
            ],
            repointed: &[],
        },
        Peer::Nginx => &Recipe {
            name: "nginx",
            packages: &["nginx", "libnginx-mod-mail", "libnginx-mod-stream"],
            left_out: &["iproute2"],
            programs: &["usr/sbin/nginx"],
            repointed: &[],
        },
        Peer::Haproxy => &Recipe {
            name: "haproxy",
            packages: &["haproxy"],
            left_out: &["adduser"],
            programs: &["usr/sbin/haproxy"],
            repointed: &[],
        },
        Peer::Isync => &Recipe {
            name: "isync",
            packages: &["isync"],
            left_out: &[],
            programs: &["usr/bin/mbsync"],
            repointed: &[],
        },
        Peer::Slapd => &Recipe {
            name: "slapd",
            packages: &["slapd", "ldap-utils"],
            left_out: &[
                "adduser",
                "libodbc2",
                "libperl5.36",
                "perl",
                "perl-base",
                "perl-modules-5.36",
                "psmisc",
            ],
            programs: &["usr/sbin/slapd", "usr/bin/ldapmodify"],
            repointed: &[],
        },
        Peer::Postgres => &Recipe {
            name: "postgresql",
            packages: &["postgresql-15", "postgresql-client-15", "libpq5"],
            left_out: &[
                "adduser",
                "libjson-perl",
                "libllvm14",
                "libperl5.36",
                "libpq-dev",
                "libz3-4",
                "locales",
                "perl",
                "perl-base",
                "perl-modules-5.36",
                "postgresql-client-common",
                "postgresql-common",
                "sensible-utils",
                "ssl-cert",
                "tzdata",
                "ucf",
            ],
            programs: &[
                "usr/lib/postgresql/15/bin/initdb",
                "usr/lib/postgresql/15/bin/postgres",
                "usr/lib/postgresql/15/bin/psql",
            ],
            repointed: &[],
        },
        Peer::Mariadb => &Recipe {
            name: "mariadb",
            packages: &["mariadb-server-core", "mariadb-client-core"],
            left_out: &["mariadb-common", "mysql-common", "ucf"],
            programs: &["usr/sbin/mariadbd", "usr/bin/mariadb"],
            repointed: &[],
        },
        Peer::Odbc => &Recipe {
            name: "odbc",
            packages: &[
                "libltdl7",
                "libodbc2",
                "libodbccr2",
                "libodbcinst2",
                "libpq5",
                "libsqliteodbc",
                "odbc-postgresql",
                "unixodbc",
                "unixodbc-dev",
            ],
            // A host that has PostgreSQL would fetch it anew, of the same version as libpq5.
            left_out: &[
                "libpq-dev",
                "odbcinst",
                "postgresql-15",
                "postgresql-client-15",
                "unixodbc-common",
            ],
            programs: &["usr/bin/isql"],
            repointed: &[],
        },
    }
}
