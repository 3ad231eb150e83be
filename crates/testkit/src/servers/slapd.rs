//! Debian 12's OpenLDAP as a directory of users: LDAP with StartTLS, LDAPS, simple binds and SASL EXTERNAL.
//! Nothing here touches the host's slapd or reads its `ldap.conf`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::foreground::{Foreground, Plan, Ports, runs};
use super::{ServerError, fed};
use crate::certs::{Authority, CertFiles, KeyKind};
use crate::peers::{self, Peer, PeerDir};
use crate::process::Clothes;

/// Above all entries.
pub const SUFFIX: &str = "dc=example,dc=org";
/// Where [`Slapd::add_user`] puts users.
pub const PEOPLE: &str = "ou=people,dc=example,dc=org";
/// A name that may write everything.
pub const ADMIN: &str = "cn=admin,dc=example,dc=org";
/// The password of [`ADMIN`].
pub const ADMIN_PASSWORD: &str = "admin of the directory";
/// A name that may read everything but passwords. A client certificate `CN=posthouse` is this name too.
pub const READER: &str = "cn=posthouse,ou=services,dc=example,dc=org";
/// The password of [`READER`].
pub const READER_PASSWORD: &str = "reader of the directory";

/// Its ports: LDAP, LDAPS.
const PORTS: usize = 2;

/// A running slapd; dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct Slapd {
    server: Foreground,
    peer: PeerDir,
    clothes: Clothes,
    authority: Authority,
}

runs!(Slapd);

impl Slapd {
    /// Starts slapd on free loopback ports, with [`READER`] and no users; `extra` ends its `slapd.conf`.
    ///
    /// Nobody reads without a bind.
    ///
    /// # Errors
    /// When it cannot be unpacked or does not come up; the error holds its log.
    pub fn start(extra: &str) -> Result<Self, ServerError> {
        let peer = peers::ensure(Peer::Slapd)?;
        let clothes = Clothes::fitting();
        let authority = Authority::new(KeyKind::Ecdsa)?;
        let server = Foreground::start(&Plan {
            server: "slapd",
            ports: PORTS,
            between_runs: Ports::Kept,
            greets: &|_| false,
            clothes,
            prepare: &|folder, ports| {
                authority.write_into(folder, &[])?;
                fs::create_dir(folder.join("data")).map_err(ServerError::io("make a folder"))?;
                fs::write(folder.join("slapd.conf"), slapd_conf(&peer, folder, extra))
                    .map_err(ServerError::io("write slapd.conf"))?;
                command(&peer, clothes, folder, ports)
            },
        })?;
        let slapd = Self { server, peer, clothes, authority };
        slapd.load(&first_entries())?;
        Ok(slapd)
    }

    /// The port of LDAP in clear and with StartTLS.
    #[must_use]
    pub fn ldap_port(&self) -> u16 {
        self.server.ports.first().copied().unwrap_or_default()
    }

    /// The port of LDAPS.
    #[must_use]
    pub fn ldaps_port(&self) -> u16 {
        self.server.ports.get(1).copied().unwrap_or_default()
    }

    /// PEM files of a client that SASL EXTERNAL lets in as `cn=COMMON_NAME,ou=services,dc=example,dc=org`.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn client_certificate(&self, common_name: &str) -> Result<CertFiles, ServerError> {
        Ok(self.authority.write_client_into(self.folder(), common_name)?)
    }

    /// Adds the user `uid=NAME,ou=people,...` with these attributes of any object class slapd knows.
    ///
    /// # Errors
    /// With the words of slapd.
    pub fn add_user(
        &self,
        name: &str,
        password: &str,
        attributes: &[(&str, &str)],
    ) -> Result<(), ServerError> {
        let all = [("uid", name), ("cn", name), ("sn", name), ("userPassword", password)];
        let mut ldif = format!(
            "dn:: {}\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\n",
            BASE64.encode(format!("uid={},{PEOPLE}", escaped(name)))
        );
        for (attribute, value) in all.iter().chain(attributes) {
            // Writing to a String never fails.
            let _ = writeln!(ldif, "{attribute}:: {}", BASE64.encode(value));
        }
        self.load(&ldif)
    }

    /// Adds the entries of an LDIF text (RFC 2849), or makes its changes.
    ///
    /// # Errors
    /// With the words of slapd.
    pub fn load(&self, ldif: &str) -> Result<(), ServerError> {
        let mut command = self.peer.command("usr/bin/ldapmodify")?;
        command
            .env("LDAPNOINIT", "1")
            .args(["-a", "-x", "-D", ADMIN, "-w", ADMIN_PASSWORD, "-H"])
            .arg(format!("ldap://127.0.0.1:{}", self.ldap_port()));
        fed(&command, ldif.as_bytes(), "change slapd's entries").map(drop)
    }

    /// Starts it again after [`Foreground::stop`], on the same ports and with the same entries.
    ///
    /// # Errors
    /// When it does not come up; the error holds its log.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        let command = command(&self.peer, self.clothes, self.folder(), &self.server.ports)?;
        self.server.start_again(command)
    }
}

fn command(
    peer: &PeerDir,
    clothes: Clothes,
    folder: &Path,
    ports: &[u16],
) -> Result<Command, ServerError> {
    let addresses: Vec<String> = ["ldap", "ldaps"]
        .iter()
        .zip(ports)
        .map(|(scheme, port)| format!("{scheme}://127.0.0.1:{port}/"))
        .collect();
    let mut command = clothes.wrap(&peer.path("usr/sbin/slapd"));
    command.env("LD_LIBRARY_PATH", peer.library_path()?).env("LDAPNOINIT", "1");
    // With -d it stays in the foreground.
    command.args(["-d", "stats", "-h", &addresses.join(" "), "-f"]).arg(folder.join("slapd.conf"));
    Ok(command)
}

fn slapd_conf(peer: &PeerDir, folder: &Path, extra: &str) -> String {
    let (here, root) = (folder.display(), peer.root().display());
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson", "nis", "misc"] {
        // Writing to a String never fails.
        let _ = writeln!(text, "include {root}/etc/ldap/schema/{schema}.schema");
    }
    text + &format!(
        "pidfile {here}/slapd.pid
modulepath {root}/usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {here}/ca.pem
TLSCertificateFile {here}/cert.pem
TLSCertificateKeyFile {here}/key.pem
TLSVerifyClient try
authz-regexp ^cn=([^,]+)$ cn=$1,ou=services,{SUFFIX}
access to attrs=userPassword by self write by anonymous auth by * none
access to * by users read by * none
database mdb
suffix {SUFFIX}
rootdn {ADMIN}
rootpw \"{ADMIN_PASSWORD}\"
directory {here}/data
maxsize 268435456
dbnosync
index objectClass,uid,mail eq
{extra}
"
    )
}

fn first_entries() -> String {
    format!(
        "dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: Example

dn: {PEOPLE}
objectClass: organizationalUnit

dn: ou=services,{SUFFIX}
objectClass: organizationalUnit

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: {READER_PASSWORD}
"
    )
}

/// A value within a distinguished name (RFC 4514, section 2.4), every byte that might mean something in hexadecimal.
fn escaped(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            // Writing to a String never fails.
            let _ = write!(text, "\\{byte:02x}");
        }
        text
    })
}
