//! Debian's slapd, PostgreSQL, MariaDB and unixODBC under their fixtures.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use testkit::certs::CertFiles;
use testkit::peers::odbc::Odbc;
use testkit::peers::{self, Peer};
use testkit::servers::mariadb::{self, Mariadb};
use testkit::servers::postgres::{self, Postgres};
use testkit::servers::slapd::{self, Slapd};
use testkit::workspace;

/// Runs a program for 20 seconds at most.
fn run(command: &mut Command) -> Output {
    run_for("20", command)
}

fn run_for(seconds: &str, command: &mut Command) -> Output {
    let mut limited = Command::new("timeout");
    limited.arg(seconds).arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.output().unwrap()
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn refuses(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()
}

fn search(server: &Slapd, url: &str, arguments: &[&str], client: Option<&CertFiles>) -> String {
    said(&run(&mut ldapsearch(server, url, arguments, client)))
}

/// An LDAP search that trusts the server's authority. By address: libldap looks for the host's own name in the
/// certificate of "localhost".
fn ldapsearch(
    server: &Slapd,
    url: &str,
    arguments: &[&str],
    client: Option<&CertFiles>,
) -> Command {
    let mut command = peers::ensure(Peer::Slapd).unwrap().command("usr/bin/ldapsearch").unwrap();
    // The host's settings are unknown; LDAPNOINIT would drop these as well.
    command.env("LDAPCONF", "/dev/null").env("LDAPTLS_CACERT", server.certificates().ca);
    command.env("LDAPTLS_REQCERT", "demand");
    if let Some(files) = client {
        command.env("LDAPTLS_CERT", &files.cert).env("LDAPTLS_KEY", &files.key);
    }
    command.args(["-LLL", "-H", url, "-b", slapd::SUFFIX]).args(arguments);
    command
}

#[test]
fn slapd_answers_in_clear_under_starttls_and_under_tls_to_who_binds() {
    let server = Slapd::start("").unwrap();
    server.add_user("ann,a", "s3cret \u{fc}", &[("mailHost", "store-1")]).unwrap();
    let ldap = format!("ldap://127.0.0.1:{}", server.ldap_port());
    let ldaps = format!("ldaps://127.0.0.1:{}", server.ldaps_port());
    let find = ["(uid=ann,a)", "mailHost"];
    let reader = ["-x", "-D", slapd::READER, "-w", slapd::READER_PASSWORD];
    for (url, options) in [(&ldap, &[][..]), (&ldap, &["-ZZ"][..]), (&ldaps, &[][..])] {
        let found = search(&server, url, &[options, &reader, &find].concat(), None);
        assert!(found.contains("mailHost: store-1"), "{url} {options:?}: {found}");
    }
    assert!(!search(&server, &ldap, &["-x", "(uid=*)"], None).contains("uid:"));
    let user = format!("uid=ann\\,a,{}", slapd::PEOPLE);
    let bind = |password| search(&server, &ldap, &["-x", "-D", &user, "-w", password], None);
    assert!(bind("s3cret \u{fc}").contains("mailHost"), "{}", server.log_text());
    assert!(bind("wrong").contains("Invalid credentials"));
}

#[test]
fn slapd_takes_a_client_certificate_for_a_name() {
    let server = Slapd::start("").unwrap();
    server.add_user("ann", "one", &[]).unwrap();
    let files = server.client_certificate("posthouse").unwrap();
    let ldap = format!("ldap://127.0.0.1:{}", server.ldap_port());
    let ldaps = format!("ldaps://127.0.0.1:{}", server.ldaps_port());
    for (url, options) in [(&ldap, &["-ZZ", "-Y", "EXTERNAL"][..]), (&ldaps, &["-Y", "EXTERNAL"])] {
        let found = search(&server, url, &[options, &["(uid=ann)"]].concat(), Some(&files));
        assert!(found.contains("uid: ann"), "{found}\n{}", server.log_text());
    }
    assert!(server.log_text().contains(&format!("dn=\"{}\"", slapd::READER)));
    let without = search(&server, &ldaps, &["-Y", "EXTERNAL", "(uid=ann)"], None);
    assert!(!without.contains("uid: ann"), "{without}");
}

#[test]
fn slapd_pauses_and_ends_and_comes_back_where_it_was() {
    let mut server = Slapd::start("").unwrap();
    server.add_user("ann", "one", &[]).unwrap();
    let ldap = format!("ldap://127.0.0.1:{}", server.ldap_port());
    let reader = ["-x", "-D", slapd::READER, "-w", slapd::READER_PASSWORD, "(uid=ann)"];
    server.pause().unwrap();
    let silent = run_for("1", &mut ldapsearch(&server, &ldap, &reader, None));
    assert_eq!(silent.status.code(), Some(124), "{}", said(&silent));
    server.resume().unwrap();
    assert!(search(&server, &ldap, &reader, None).contains("uid: ann"));
    server.stop();
    assert!(refuses(server.ldap_port()) && refuses(server.ldaps_port()));
    assert_eq!(server.pids(), Vec::<u32>::new());
    server.start_again().unwrap();
    assert!(search(&server, &ldap, &reader, None).contains("uid: ann"));
}

/// `psql` over TCP as [`postgres::USER`].
fn psql(server: &Postgres, password: &str, sql: &str) -> Output {
    let peer = peers::ensure(Peer::Postgres).unwrap();
    let mut command = peer.command("usr/lib/postgresql/15/bin/psql").unwrap();
    command.env("PGPASSWORD", password).args(["-X", "-A", "-t", "-c", sql]);
    run(command.arg(format!(
        "host=localhost port={} user={} dbname={} sslmode=verify-full sslrootcert={} \
         connect_timeout=2",
        server.port(),
        postgres::USER,
        postgres::DATABASE,
        server.certificates().ca.display()
    )))
}

#[test]
fn postgresql_serves_its_user_under_tls() {
    let server = Postgres::start().unwrap();
    let made = "CREATE TABLE users (name text, store text);
        GRANT SELECT ON users TO posthouse;
        INSERT INTO users VALUES ('ann', 'store-1');
        SELECT * FROM users";
    assert_eq!(server.execute(made).unwrap(), "ann|store-1\n");
    assert!(server.execute("SELECT nonsense").unwrap_err().to_string().contains("nonsense"));
    let tls = "SELECT store, ssl FROM users, pg_stat_ssl WHERE pid = pg_backend_pid()";
    let answer = psql(&server, postgres::PASSWORD, tls);
    assert_eq!(said(&answer), "store-1|t\n");
    assert!(said(&psql(&server, "wrong", tls)).contains("password authentication failed"));
}

#[test]
fn postgresql_pauses_and_ends_and_comes_back_where_it_was() {
    let mut server = Postgres::start().unwrap();
    server.execute("CREATE TABLE kept (number int); INSERT INTO kept VALUES (7)").unwrap();
    let select = |server: &Postgres| said(&psql(server, postgres::PASSWORD, "SELECT 6 + 1"));
    server.pause().unwrap();
    assert!(select(&server).contains("timeout expired"));
    server.resume().unwrap();
    assert_eq!(select(&server), "7\n");
    server.pause().unwrap();
    server.stop();
    assert!(refuses(server.port()));
    assert_eq!(server.pids(), Vec::<u32>::new());
    server.start_again().unwrap();
    assert_eq!(server.execute("SELECT number FROM kept").unwrap(), "7\n");
    assert_eq!(select(&server), "7\n");
}

/// `mariadb` over TCP as [`mariadb::USER`].
fn mysql(server: &Mariadb, password: &str, sql: &str) -> Output {
    let mut command = peers::ensure(Peer::Mariadb).unwrap().command("usr/bin/mariadb").unwrap();
    command.args(["--no-defaults", "--batch", "--skip-column-names", "--connect-timeout=2"]);
    command.args(["--protocol=tcp", "--host=localhost", "--ssl-verify-server-cert"]);
    command.arg(format!("--port={}", server.port())).arg(format!("--user={}", mariadb::USER));
    command.arg(format!("--password={password}"));
    command.arg(format!("--ssl-ca={}", server.certificates().ca.display()));
    run(command.args([mariadb::DATABASE, "--execute", sql]))
}

#[test]
fn mariadb_serves_its_user_under_tls() {
    let server = Mariadb::start().unwrap();
    let made = "CREATE TABLE users (name VARCHAR(80), store VARCHAR(80));
        INSERT INTO users VALUES ('ann', 'store-1');
        SELECT * FROM users";
    assert_eq!(server.execute(made).unwrap(), "ann\tstore-1\n");
    assert!(server.execute("SELECT nonsense").unwrap_err().to_string().contains("nonsense"));
    let answer = mysql(&server, mariadb::PASSWORD, "SELECT store FROM users");
    assert_eq!(said(&answer), "store-1\n", "{}", server.log_text());
    let cipher = said(&mysql(&server, mariadb::PASSWORD, "SHOW STATUS LIKE 'Ssl_version'"));
    assert!(cipher.contains("TLSv1.3"), "{cipher}");
    assert!(said(&mysql(&server, "wrong", "SELECT 1")).contains("Access denied"));
}

#[test]
fn mariadb_pauses_and_ends_and_comes_back_where_it_was() {
    let mut server = Mariadb::start().unwrap();
    server.execute("CREATE TABLE kept (number INT); INSERT INTO kept VALUES (7)").unwrap();
    let select =
        |server: &Mariadb| said(&mysql(server, mariadb::PASSWORD, "SELECT number FROM kept"));
    server.pause().unwrap();
    assert!(select(&server).contains("ERROR 2013"));
    server.resume().unwrap();
    assert_eq!(select(&server), "7\n");
    server.pause().unwrap();
    server.stop();
    assert!(refuses(server.port()));
    assert_eq!(server.pids(), Vec::<u32>::new());
    server.start_again().unwrap();
    assert_eq!(select(&server), "7\n");
}

/// What `isql` says to a query over the connection that this string describes.
fn isql(odbc: &Odbc, connection: &str, sql: &str) -> String {
    let mut command = Command::new("sh");
    // It reads queries from its standard input only.
    command.args(["-c", r#"echo "$1" | "$2" -k "$3" -b -v"#, "isql", sql]);
    command.arg(odbc.isql()).arg(connection);
    said(&run(command.env("LD_LIBRARY_PATH", odbc.library_path().unwrap())))
}

#[test]
fn unixodbc_has_headers_and_reaches_sqlite_and_postgresql() {
    let odbc = Odbc::ensure().unwrap();
    assert!(odbc.headers().join("sql.h").is_file());
    assert!(odbc.libraries().join("libodbc.so").exists());
    let folder = workspace::temporary_folder("odbc").unwrap();
    let (driver, file) = (odbc.sqlite_driver(), folder.path().join("users.db"));
    let connection = format!("DRIVER={};Database={}", driver.display(), file.display());
    let answer = isql(&odbc, &connection, "SELECT 'store-' || 1");
    assert!(answer.contains("store-1"), "{answer}");
    let server = Postgres::start().unwrap();
    let connection = format!(
        "DRIVER={};Server=127.0.0.1;Port={};Database={};UID={};PWD={};SSLmode=require",
        odbc.postgres_driver().display(),
        server.port(),
        postgres::DATABASE,
        postgres::USER,
        postgres::PASSWORD
    );
    let answer = isql(&odbc, &connection, "SELECT 'store-' || 2");
    assert!(answer.contains("store-2"), "{answer}");
}
