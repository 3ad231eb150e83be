//! Other people's mail programs, each told by a configuration file of its own to look at one account.
//! Nothing here runs them or judges what they bring, and nothing reads the host's settings of them.

use std::env::consts::ARCH;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::Security;
use crate::peers::{Peer, PeerError, ensure};
use crate::servers::ServerError;
use crate::wire::Trust;

/// Whose mail is where, at 127.0.0.1. Those that look for names alone in a certificate are told `localhost`.
#[derive(Debug, Clone, Copy)]
pub struct Account<'t> {
    /// The port.
    pub port: u16,
    /// How to reach it. These programs want [`Trust::Ca`].
    pub security: &'t Security,
    /// The user's name, without quotes and spaces.
    pub user: &'t str,
    /// The user's password, without quotes.
    pub password: &'t str,
}

impl Account<'_> {
    fn authority(&self) -> &Path {
        match self.security {
            Security::StartTls(Trust::Ca(file)) | Security::Tls(Trust::Ca(file)) => file,
            _ => Path::new("/nonexistent"),
        }
    }

    fn is_tls_at_once(&self) -> bool {
        matches!(self.security, Security::Tls(_))
    }
}

/// What fetchmail speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
}

fn write_private(folder: &Path, name: &str, text: &str) -> Result<std::path::PathBuf, ServerError> {
    let path = folder.join(name);
    let write = || {
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))
    };
    write().map_err(ServerError::io(format!("write {}", path.display())))?;
    Ok(path)
}

/// mutt with its settings and home in `folder`, to be called in batch mode, or on a terminal with `-e "push KEYS"`.
/// It opens the account's INBOX, keeps copies of sent mail there, sends nothing anywhere, and copies messages into
/// Maildirs.
///
/// # Errors
/// When it cannot be unpacked or its settings cannot be written.
pub fn mutt(account: &Account<'_>, folder: &Path) -> Result<Command, ServerError> {
    let Account { port, user, password, .. } = account;
    let scheme = if account.is_tls_at_once() { "imaps" } else { "imap" };
    // At the end of its standard input `script` types ^D, which would delete a thread.
    let text = format!(
        "set folder=\"{scheme}://{user}@127.0.0.1:{port}/\"
set spoolfile=\"{scheme}://{user}@127.0.0.1:{port}/INBOX\"
set record=\"{scheme}://{user}@127.0.0.1:{port}/INBOX\"
set imap_user=\"{user}\"
set imap_pass=\"{password}\"
set imap_authenticators=\"plain:login\"
set ssl_force_tls=yes
set ssl_starttls=yes
set certificate_file=\"{ca}\"
set sendmail=\"/bin/true\"
set from=\"ann@example.org\"
set realname=\"Ann\"
set hostname=\"example.org\"
set copy=yes
set confirmappend=no
set confirmcreate=no
set crypt_use_gpgme=no
set mbox_type=Maildir
set move=no
set sleep_time=0
set wait_key=no
bind index \\Cd noop
bind pager \\Cd noop
",
        ca = account.authority().display(),
    );
    let settings = write_private(folder, "muttrc", &text)?;
    let mut command = ensure(Peer::Mutt)?.command("usr/bin/mutt")?;
    command.env("HOME", folder).env("TERM", "xterm").arg("-n").arg("-F").arg(settings);
    Ok(command)
}

/// offlineimap with its settings and state in `folder`; one run makes `mail` there and the account the same, one
/// Maildir for each mailbox.
///
/// # Errors
/// When it cannot be unpacked or its settings cannot be written.
pub fn offlineimap(account: &Account<'_>, folder: &Path) -> Result<Command, ServerError> {
    let Account { port, user, password, .. } = account;
    let here = folder.display();
    let yes_no = |yes| if yes { "yes" } else { "no" };
    let text = format!(
        "[general]
accounts = door
metadata = {here}/state
ui = basic
[Account door]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {here}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = {at_once}
starttls = {later}
sslcacertfile = {ca}
auth_mechanisms = PLAIN
",
        at_once = yes_no(account.is_tls_at_once()),
        later = yes_no(!account.is_tls_at_once()),
        ca = account.authority().display(),
    );
    let settings = write_private(folder, "offlineimaprc", &text)?;
    let peer = ensure(Peer::Offlineimap)?;
    let packages =
        [peer.path("usr/share/offlineimap3"), peer.path("usr/lib/python3/dist-packages")];
    let mut command = python(&packages.map(|path| path.display().to_string()).join(":"));
    command.env("HOME", folder).arg(peer.path("usr/share/offlineimap3/run"));
    command.arg("-o").arg("-c").arg(settings);
    Ok(command)
}

/// fetchmail with its settings and state in `folder`; one run takes all mail away and puts it, with lines as Unix
/// ends them, into the file `mail` there.
///
/// # Errors
/// When it cannot be unpacked or its settings cannot be written.
pub fn fetchmail(
    account: &Account<'_>,
    protocol: Protocol,
    folder: &Path,
) -> Result<Command, ServerError> {
    let Account { port, user, password, .. } = account;
    let protocol = match protocol {
        Protocol::Imap => "IMAP",
        Protocol::Pop3 => "POP3",
    };
    let text = format!(
        "set no syslog
set no bouncemail
set invisible
poll localhost service {port} protocol {protocol} timeout 30 no dns auth password
  user \"{user}\" password \"{password}\" {ssl} sslproto \"TLS1.2+\" sslcertck sslcertfile \"{ca}\"
  fetchall no keep no rewrite pass8bits mda \"cat >> {file}\"
",
        ssl = if account.is_tls_at_once() { "ssl" } else { "no ssl" },
        ca = account.authority().display(),
        file = folder.join("mail").display(),
    );
    let settings = write_private(folder, "fetchmailrc", &text)?;
    let mut command = ensure(Peer::Fetchmail)?.command("usr/bin/fetchmail")?;
    command.env("HOME", folder).env("FETCHMAILHOME", folder).arg("-f").arg(settings);
    // Else there may be one of root's on the whole host.
    command.arg("--pidfile").arg(folder.join("fetchmail.pid"));
    Ok(command)
}

/// Python with the module `imapclient`; a script's arguments follow.
///
/// # Errors
/// When the module cannot be fetched.
pub fn python_with_imapclient() -> Result<Command, PeerError> {
    Ok(python(&ensure(Peer::PythonImapclient)?.root().display().to_string()))
}

fn python(path: &str) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", path).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Perl with the module `Mail::IMAPClient`; a script's arguments follow.
///
/// # Errors
/// When the module cannot be unpacked.
pub fn perl_with_imapclient() -> Result<Command, PeerError> {
    let peer = ensure(Peer::PerlImapclient)?;
    let compiled = peer.path(&format!("usr/lib/{ARCH}-linux-gnu/perl5/5.36"));
    let mut command = Command::new("perl");
    let modules = peer.path("usr/share/perl5");
    command.env("PERL5LIB", format!("{}:{}", compiled.display(), modules.display()));
    Ok(command)
}

/// Node with the module `imapflow`; a script's arguments follow.
///
/// # Errors
/// When the module cannot be fetched.
pub fn node_with_imapflow() -> Result<Command, PeerError> {
    let mut command = Command::new("node");
    command.env("NODE_PATH", ensure(Peer::Imapflow)?.path("node_modules"));
    Ok(command)
}
