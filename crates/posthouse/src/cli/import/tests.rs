//! What is made of other programs' files is a configuration of ours, and leaves nothing out in silence.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::config::{Purpose, Surroundings, Unusable as Refused, parse};

type Importer = fn(&Path) -> Result<Draft, Unusable>;

/// The configuration that is made of a text, which has to be good.
fn made(importer: Importer, name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let made = importer(&path).unwrap_or_else(|error| panic!("{error}")).render(Path::new(name));
    let variable = |name: &str| (name == "HOME").then(|| "/home/operator".to_owned());
    let around = Surroundings {
        purpose: Purpose::Act,
        variable: &variable,
        root: false,
        owns_system_state: true,
    };
    match parse(&made, &path, Path::new("/etc/posthouse"), &around) {
        Ok(_) => made,
        Err(Refused::Mistaken(mistakes)) => panic!("{}\n{made}", mistakes.render(false)),
        Err(error) => panic!("{error}\n{made}"),
    }
}

fn refused(importer: Importer, name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    fs::write(&path, text).unwrap();
    importer(&path).err().unwrap().to_string()
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

const IMAPPROXY: &str = "\
server_hostname imap.example.org   # the one
server_port 1143
listen_port 144
listen_address 127.0.0.1
cache_size 3072
proc_username imapproxy
";

#[test]
fn imapproxy_becomes_a_listener_for_the_webmail_and_one_back_end() {
    let plain = made(imapproxy::import, "imapproxy.conf", IMAPPROXY);
    holds(
        &plain,
        &[
            "address = \"127.0.0.1:144\"",
            "address = \"imap.example.org\"",
            "imap_port = 1143",
            "tls = \"none\"",
            "user = \"imapproxy\"",
            "connections_per_address = 0",
            "imapproxy.conf:5: cache_size:",
            "without force_tls",
        ],
    );
    let tls = format!("{IMAPPROXY}force_tls yes\ntls_verify_server yes\ntls_ca_file /etc/ca.pem\n");
    let tls = made(imapproxy::import, "imapproxy.conf", &tls);
    holds(&tls, &["tls = \"starttls\"", "ca_file = \"/etc/ca.pem\""]);
}

#[test]
fn no_keyword_of_imapproxy_is_dropped_in_silence() {
    let before = made(imapproxy::import, "c", &format!("{IMAPPROXY}force_tls yes\n"));
    for keyword in [
        "connect_retries",
        "cache_expiration_time",
        "proc_groupname",
        "stat_filename",
        "protocol_log_filename",
        "syslog_facility",
        "send_tcp_keepalives",
        "enable_select_cache",
        "foreground_mode",
        "chroot_directory",
        "preauth_command",
        "enable_admin_commands",
        "tls_ca_file",
        "tls_ca_path",
        "tls_cert_file",
        "tls_ciphers",
        "tls_verify_server",
        "tls_no_tlsv1",
        "auth_sasl_plain_username",
        "auth_shared_secret",
        "dns_rr",
        "ipversion_only",
        "no_such_keyword",
    ] {
        let after =
            made(imapproxy::import, "c", &format!("{IMAPPROXY}force_tls yes\n{keyword} yes\n"));
        assert_ne!(before, after, "{keyword}");
    }
    let error = refused(imapproxy::import, "c.conf", "server_hostname a\nserver_port x\n");
    assert!(error.contains("c.conf:2: server_port"), "{error}");
}

const PERDITION: &str = "\
# The mail of example.org
P IMAP4
bind_address 192.0.2.1,[2001:db8::1]:1143
ssl_mode tls_listen_force,ssl_outgoing
ssl_ca_file /etc/perdition/ca.pem
M /usr/lib/libperditiondb_posix_regex.so.0
m /etc/perdition/popmap.re
query_key '\\U,\\u,\\d'
outgoing_server imap1.example.org:1993
username_from_database
lower_case servername_lookup,remote_login
strip_domain remote_login
t 600
ok_line 'You are in'
password_of_nobody x
";

#[test]
fn perdition_becomes_a_listener_a_template_and_its_map() {
    let made = made(perdition::import, "perdition.conf", PERDITION);
    holds(
        &made,
        &[
            "protocol = \"imap\"",
            "address = [\"192.0.2.1:143\", \"[2001:db8::1]:1143\"]",
            "tls = \"starttls\"",
            "certificate = \"/etc/perdition/perdition.crt.pem\"",
            "tls = \"implicit\"",
            "ca_file = \"/etc/perdition/ca.pem\"",
            "imap_port = 1993",
            "source = \"regex\"",
            "format = \"perdition\"",
            "keys = [\"{user}\", \"{local}\", \"{domain}\"]",
            "template = \"store\"",
            "source = \"static\"",
            "idle = \"600s\"",
            "perdition.conf:12: strip_domain for remote_login alone",
            "perdition.conf:14: ok_line",
            "perdition.conf:15: password_of_nobody: Perdition has no such option",
        ],
    );
    assert!(!made.contains("allow_clear_logins") && !made.contains("lower_case = false"), "{made}");
}

#[test]
fn every_map_of_perdition_becomes_a_source_or_a_command() {
    for (library, expected) in [
        ("gdbm", "posthouse user import --format perdition"),
        ("bdb", "db_dump"),
        ("cdb", "source = \"cdb\""),
        ("nis", "ypcat"),
        ("posix_regex", "source = \"regex\""),
        ("mysql", "FROM tbl WHERE `usr` = :user"),
        ("postgresql", "FROM tbl WHERE \\\"usr\\\" = :user"),
        ("odbc", "DSN=mail;UID=me;PWD= and behind it the password"),
        ("daemon", "source = \"http\""),
    ] {
        let option = "db:0:mail:tbl:me:hunter2:srv:usr:port";
        let text =
            format!("protocol POP3S\nM /usr/lib/libperditiondb_{library}.so.0\nm {option}\n");
        let made = made(perdition::import, "p", &text);
        holds(&made.replace("\n#   ", " "), &[expected]);
        // What holds a password there is not shown.
        let is_file = !matches!(library, "mysql" | "postgresql" | "odbc");
        assert!(is_file || !made.contains("hunter2"), "{made}");
    }
}

/// The table of the map that is made of a line of perdition.conf, and the remarks.
fn map(library: &str, option: &str, more: &str) -> String {
    let text = format!(
        "protocol IMAP4\nssl_mode tls_all_force\nM /usr/lib/libperditiondb_{library}.so.0\nm {option}\n\
         outgoing_server a\n{more}"
    );
    let made = made(perdition::import, "perdition.conf", &text);
    // Where a remark is broken depends on the folder.
    let unbroken = made.replace("\n#   ", " ");
    let remarks = unbroken.lines().filter_map(|line| line.split_once("perdition.conf:3: "));
    let remarks: String = remarks.map(|(_, remark)| format!("- {remark}\n")).collect();
    let of_map = made
        .split("\n\n")
        .find(|table| table.starts_with("[[directory]]") && !table.contains("source = \"static\""));
    format!("{remarks}\n{}\n", of_map.unwrap())
}

#[test]
fn perditions_databases_and_ldap_become_sources_that_ask_the_same() {
    let ldap = "'3:ldaps://ldap1/ou=people,dc=x?uid,mailhost,port?sub?(%26(objectClass=a)(uid=%s))?!BINDNAME=cn=p%2cdc=x,X-BINDPW=hunter2 \
                ldaps://ldap2:1636/ou=people,dc=x?uid,mailhost,port?sub?(%26(objectClass=a)(uid=%s))?!BINDNAME=cn=p%2cdc=x,X-BINDPW=hunter2'";
    let cases = [
        ("mysql", "''", ""),
        ("mysql", "db1,db2:3307:mail:tbl:me:hunter2:srv:usr:", "query_key '\\U,\\d'\n"),
        ("mysql", "127.0.0.1:0:mail:my-table:me:hunter2:srv:usr:prt", "U\n"),
        ("postgresql", "''", ""),
        ("postgresql", "db.example.org:5433:mail:tbl:me:hunter2:srv:usr:prt", ""),
        ("odbc", "''", ""),
        ("odbc", "'::mail {1};:my-table:me:hunter2:srv:usr:'", "query_key '\\U,\\d'\n"),
        ("ldap", "''", "U\n"),
        ("ldap", ldap, ""),
        ("ldap", "'ldap://127.0.0.1:1389/ou={x},dc=y?mail?one?(cn=%20s)'", "query_key '\\d'\n"),
    ];
    let made: Vec<_> = cases
        .iter()
        .map(|(library, option, more)| {
            format!("## {library} {option} {}\n\n{}", more.trim_end(), map(library, option, more))
        })
        .collect();
    let made = made.join("\n").replace(" \n", "\n");
    assert!(
        !made.replace("hunter2:", "").replace("X-BINDPW=hunter2", "").contains("hunter2"),
        "{made}"
    );
    let golden = include_str!("perdition/maps.txt");
    assert_eq!(made.trim_end(), golden.trim_end(), "\n{made}");
    let error =
        refused(perdition::import, "p.conf", "P IMAP4\nM libperditiondb_ldap.so\nm http://x/\n");
    assert!(error.contains("map_library_opt: this is no LDAP URL"), "{error}");
}

#[test]
fn no_option_of_perdition_is_dropped_in_silence() {
    let base = "P IMAP4\nssl_mode tls_all_force\noutgoing_server a\n";
    let before = made(perdition::import, "p", base);
    for option in "add_domain authenticate_in authenticate_timeout no_bind_banner bind_address connection_logging \
        connect_relog client_server_specification domain_delimiter debug explicit_domain log_facility config_file \
        group help inetd_mode capability imap_capability managesieve_capability pop_capability connection_limit \
        listen_port log_passwd map_library_opt no_lookup ok_line server_ok_line server_resp_line outgoing_port \
        strip_domain timeout username username_from_database quiet login_disabled lower_case pid_file no_daemon \
        tcp_keepalive ssl_ca_chain_file ssl_ca_file ssl_ca_path ssl_ca_accept_self_signed ssl_cert_file \
        ssl_dh_params_file ssl_cert_accept_expired ssl_cert_accept_not_yet_valid ssl_cert_accept_self_signed \
        ssl_cert_verify_depth ssl_key_file ssl_listen_ciphers ssl_outgoing_ciphers ssl_no_cert_verify \
        ssl_no_client_cert_verify ssl_no_cn_verify ssl_passphrase_fd ssl_passphrase_file \
        ssl_listen_min_proto_version ssl_outgoing_min_proto_version ssl_listen_max_proto_version \
        ssl_outgoing_max_proto_version ssl_listen_compression ssl_outgoing_compression \
        ssl_no_cipher_server_preference".split_whitespace()
    {
        let value = match option {
            "domain_delimiter" => "%",
            "strip_domain" | "lower_case" | "add_domain" => "all",
            _ => "77",
        };
        let after = made(perdition::import, "p", &format!("{base}{option} {value}\n"));
        assert_ne!(before, after, "{option}");
    }
}

#[test]
fn what_perdition_could_not_be_is_refused_with_its_line() {
    for (text, part) in [
        ("# a\nprotocol MANAGESIEVE\n", "p.conf:2: Posthouse speaks no ManageSieve"),
        ("P IMAP\n", "p.conf:1: protocol"),
        ("P POP3\nssl_mode tls_everything\n", "p.conf:2: ssl_mode"),
        ("P POP3\n\nlisten_port x\n", "p.conf:3: listen_port"),
        ("P POP3\nok_line 'open\n", "p.conf:2: a quotation mark"),
        ("P POP3\nM /opt/my.so\n", "p.conf:2: map_library"),
        ("P POP3\nquery_key '\\q'\n", "p.conf:2: query_key"),
    ] {
        let error = refused(perdition::import, "p.conf", text);
        assert!(error.contains(part), "{error}");
    }
    let all = made(perdition::import, "perdition.conf", "# nothing is set\n");
    holds(&all, &["address = \"0.0.0.0:993\"", "address = \"0.0.0.0:110\"", "protocol is not set"]);
    let one = made(perdition::import, "perdition.pop3s.conf", "");
    assert!(one.contains("0.0.0.0:995") && !one.contains("0.0.0.0:110"), "{one}");
}

const NGINX: &str = "\
user www-data;
worker_processes auto;
events { worker_connections 1024; }
http { include missing.types; server { listen 80; } }
mail {
    server_name mail.example.org;
    auth_http http://127.0.0.1:8080/auth;
    auth_http_header X-Auth-Key \"s3cret ; {x}\";
    ssl_certificate /etc/ssl/mail.pem;
    ssl_certificate_key /etc/ssl/mail.key;
    imap_capabilities \"IMAP4rev1\" \"UIDPLUS\" \"STARTTLS\";
    proxy_timeout 1h;
    server { listen 993 ssl; listen [::]:993 ssl; protocol imap; imap_auth plain login cram-md5; }
    server { listen 143 proxy_protocol; starttls only; set_real_ip_from 10.0.0.0/8; proxy_pass_error_message on; }
    server { listen 110; protocol pop3; starttls on; proxy_protocol on; no_such_thing 1; }
    server { listen 25; protocol smtp; }
}
";

#[test]
fn nginx_becomes_listeners_and_its_service_a_source() {
    let made = made(nginx::import, "nginx.conf", NGINX);
    holds(
        &made,
        &[
            "user = \"www-data\"",
            "address = \"0.0.0.0:993\"",
            "address = \"[::]:993\"",
            "capabilities = [\"IMAP4rev1\", \"UIDPLUS\"]",
            "proxy_networks = \"10.0.0.0/8\"",
            "relay_text = true",
            "allow_clear_logins = true",
            "identity = \"proxy-v1\"",
            "idle = \"1h\"",
            "source = \"http\"",
            "contract = \"nginx\"",
            "url = \"http://127.0.0.1:8080/auth\"",
            "headers = \"X-Auth-Key: s3cret ; {x}\"",
            "nginx.conf:2: worker_processes",
            "nginx.conf:4: http",
            "nginx.conf:6: server_name",
            "nginx.conf:11: imap_capabilities",
            "nginx.conf:13: imap_auth",
            "nginx.conf:15: no_such_thing",
            "nginx.conf:16: listen: SMTP",
        ],
    );
    // As in nginx, whoever sends LOGIN or USER and PASS is taken.
    assert!(!made.contains("mechanisms ="), "{made}");
}

#[test]
fn what_nginx_has_under_another_name_is_told_by_that_name() {
    let more = "    ssl_crl /etc/ssl/crl.pem;\n    max_errors 3;\n    proxy_timeout";
    let made = made(nginx::import, "nginx.conf", &NGINX.replace("    proxy_timeout", more));
    holds(&made, &["ssl_crl: write", "`client_ca_file` too", "max_errors: see `commands`"]);
}

#[test]
fn what_nginx_would_refuse_is_refused_with_its_line() {
    for (text, part) in [
        ("events {}\n", "n.conf: there is no `mail { }`"),
        ("mail {\n server { listen 143; }\n}\n", "n.conf:2: there is no `auth_http`"),
        (
            "mail {\n auth_http a;\n server { listen 1000; }\n}\n",
            "n.conf:3: this server has no `protocol`",
        ),
        ("mail {\n auth_http a;\n server { listen 993 ssl; }\n}\n", "n.conf:3: TLS without"),
        ("mail {\n auth_http a\n}\n", "n.conf:3:"),
        ("mail {\n server {\n", "n.conf:2: this block has no `}`"),
        ("mail {} }\n", "n.conf:1: `}`"),
        ("\ninclude missing.conf;\n", "n.conf:2: include"),
        ("include n.conf;\n", "too many"),
        ("a \"b\n", "n.conf:1: a quotation mark"),
    ] {
        let error = refused(nginx::import, "n.conf", text);
        assert!(error.contains(part), "{text}: {error}");
    }
}
