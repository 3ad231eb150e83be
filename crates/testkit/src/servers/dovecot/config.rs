//! The text of `dovecot.conf`.
//! Nothing here starts anything.

use std::path::Path;

use super::{DovecotOptions, MASTERS, MailFormat, USERS, scheme_and_password};
use crate::peers::PeerDir;
use crate::process::Clothes;
use crate::servers::{ServerError, Service};

/// The whole configuration for these options, running in `folder` on `ports` (in the order of `Service::ALL`).
pub(super) fn text(
    peer: &PeerDir,
    clothes: Clothes,
    options: &DovecotOptions,
    folder: &Path,
    ports: &[u16],
) -> Result<String, ServerError> {
    let (user, group) = clothes.names().map_err(ServerError::io("start dovecot"))?;
    let here = folder.display();
    let library = peer.path("usr/lib/dovecot");
    let library = library.display();
    let mail = match options.format {
        MailFormat::Maildir => "maildir:~/Maildir",
        MailFormat::Sdbox => "sdbox:~/sdbox",
    };
    let yes_no = |yes| if yes { "yes" } else { "no" };
    let settings = format!(
        "protocols = imap pop3 lmtp
listen = 127.0.0.1
base_dir = {here}/run
state_dir = {here}/state
libexec_dir = {library}
mail_plugin_dir = {library}/modules
login_plugin_dir = {library}/modules/login
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
import_environment = TZ LD_LIBRARY_PATH
log_path = {here}/dovecot.log
ssl = yes
ssl_cert = <{here}/cert.pem
ssl_key = <{here}/key.pem
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = {plaintext_disabled}
auth_mechanisms = plain login
auth_failure_delay = {delay} secs
auth_username_chars = abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@+'!#$&=
auth_master_user_separator = *
login_trusted_networks = {trusted}
mail_location = {mail}
mail_home = {here}/mail/%u
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = never
mail_max_userip_connections = 10000
postmaster_address = postmaster@localhost
hostname = localhost
default_process_limit = 3000
default_client_limit = 12000
default_vsz_limit = 1G
",
        plaintext_disabled = yes_no(options.require_tls),
        delay = options.failure_delay.as_secs(),
        trusted = options.trusted_networks,
    );
    let mut text = settings + &databases(options, folder) + &services(ports, &group);
    text.push_str(&options.extra);
    text.push('\n');
    Ok(text)
}

fn databases(options: &DovecotOptions, folder: &Path) -> String {
    let here = folder.display();
    let mut text = format!(
        "passdb {{
  driver = passwd-file
  master = yes
  args = username_format=%u {here}/{MASTERS}/%u
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {here}/{USERS}/%u
}}
"
    );
    if let Some(password) = &options.anyone_with {
        let password = scheme_and_password(password);
        text += &format!("passdb {{\n  driver = static\n  args = password={password}\n}}\n");
    }
    let anyone = if options.anyone_with.is_some() { "allow_all_users=yes" } else { "" };
    text += &format!("userdb {{\n  driver = static\n  args = {anyone} home={here}/mail/%u\n}}\n");
    text
}

/// Services for a thousand logins at once: login processes shared and started early, nobody slowed down for failing.
fn services(ports: &[u16], group: &str) -> String {
    let port = |service: Service| service.port_of(ports);
    let login = |protocol: &str, clear: u16, tls: u16| {
        format!(
            "service {protocol}-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  process_limit = 4
  client_limit = 4000
  inet_listener {protocol} {{
    port = {clear}
  }}
  inet_listener {protocol}s {{
    port = {tls}
    ssl = yes
  }}
}}
service {protocol} {{
  process_limit = 3000
  service_count = 0
}}
"
        )
    };
    let mut text = login("imap", port(Service::Imap), port(Service::Imaps));
    text += &login("pop3", port(Service::Pop3), port(Service::Pop3s));
    text += &format!(
        "service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
  unix_listener stats-writer {{
    group = {group}
    mode = 0660
  }}
}}
service ipc {{
  chroot =
}}
service dns-client {{
  chroot =
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0600
  }}
}}
service submission-login {{
  chroot =
}}
service imap-urlauth-login {{
  chroot =
}}
"
    );
    text
}
