//! The texts of `imapd.conf` and `cyrus.conf`.
//! Nothing here starts anything.

use std::env::consts::ARCH;
use std::path::Path;
use std::process::Command;

use super::{ADMIN, CyrusOptions, REALM};
use crate::peers::{PeerDir, PeerError};
use crate::servers::Service;

/// The SASL database, below the folder.
pub(super) const ACCOUNTS: &str = "sasldb2";
/// Folders that Cyrus expects to be there.
pub(super) const FOLDERS: [&str; 11] = [
    "config/db",
    "config/lock",
    "config/log",
    "config/msg",
    "config/proc",
    "config/ptclient",
    "config/quota",
    "config/sieve",
    "config/socket",
    "config/user",
    "spool",
];

/// Libraries and SASL plugins of the unpacked packages.
pub(super) fn environment(command: &mut Command, peer: &PeerDir) -> Result<(), PeerError> {
    command.env("LD_LIBRARY_PATH", peer.library_path()?);
    command.env("SASL_PATH", peer.path(&format!("usr/lib/{ARCH}-linux-gnu/sasl2")));
    Ok(())
}

pub(super) fn imapd_conf(user: &str, options: &CyrusOptions, folder: &Path) -> String {
    let here = folder.display();
    let plaintext = if options.allow_plaintext { "yes" } else { "no" };
    format!(
        "configdirectory: {here}/config
defaultpartition: default
partition-default: {here}/spool
sievedir: {here}/config/sieve
mboxname_lockpath: {here}/config/lock
proc_path: {here}/config/proc
cyrus_user: {user}
servername: {REALM}
admins: {ADMIN}
virtdomains: userid
defaultdomain: {REALM}
unixhierarchysep: yes
altnamespace: yes
allowplaintext: {plaintext}
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {here}/{ACCOUNTS}
sasl_mech_list: PLAIN LOGIN EXTERNAL
sasl_auto_transition: no
tls_server_cert: {here}/cert.pem
tls_server_key: {here}/key.pem
tls_sessions_db_path: {here}/config/tls_sessions.db
popminpoll: 0
failedloginpause: 0
duplicatesuppression: no
maxlogins_per_host: 0
maxlogins_per_user: 0
{}
",
        options.extra
    )
}

pub(super) fn cyrus_conf(peer: &PeerDir, folder: &Path, ports: &[u16]) -> String {
    let programs = peer.path("usr/lib/cyrus/bin");
    let program =
        |name: &str| format!("{}/{name} -C {}/imapd.conf", programs.display(), folder.display());
    let (imapd, pop3d, recover) = (program("imapd"), program("pop3d"), program("ctl_cyrusdb"));
    let listen = |service: Service| format!("127.0.0.1:{}", service.port_of(ports));
    format!(
        "START {{
  recover cmd=\"{recover} -r\"
}}
SERVICES {{
  imap cmd=\"{imapd} -U 250\" listen=\"{}\" prefork=0
  imaps cmd=\"{imapd} -s -U 250\" listen=\"{}\" prefork=0
  pop3 cmd=\"{pop3d} -U 250\" listen=\"{}\" prefork=0
  pop3s cmd=\"{pop3d} -s -U 250\" listen=\"{}\" prefork=0
}}
EVENTS {{
}}
",
        listen(Service::Imap),
        listen(Service::Imaps),
        listen(Service::Pop3),
        listen(Service::Pop3s),
    )
}
