//! imapproxy.conf (up-imapproxy, SquirrelMail's IMAP proxy).
//!
//! Nothing here stands in for its cache of connections: we have none.

use std::{collections::BTreeMap, path::Path};

use model::Host;

use super::{Draft, Place, Unusable, draft::Table, read, yes_or_no};

/// A keyword's value and where it stands.
type Settings = BTreeMap<String, (String, Place)>;

/// Keywords without an equivalent, and what to know instead.
const WITHOUT: &[(&str, &str)] = &[
    ("connect_retries", "not needed: Posthouse starts whether the back end is there or not"),
    ("connect_delay", "not needed: Posthouse starts whether the back end is there or not"),
    (
        "cache_size",
        "connections are not kept open between logins: each login is one at the back end",
    ),
    ("cache_expiration_time", "connections are not kept open between logins"),
    ("proc_groupname", "the group is the main group of `user`"),
    ("stat_filename", "figures: posthouse session list, posthouse backend list"),
    ("protocol_log_filename", "there is no log of what is said: it holds passwords"),
    ("syslog_facility", "the log goes to standard error, under systemd to the journal"),
    ("syslog_prioritymask", "see [log] level"),
    ("send_tcp_keepalives", "always on, on both sides"),
    ("enable_select_cache", "answers to SELECT are not cached, on purpose"),
    ("foreground_mode", "Posthouse always stays in the foreground"),
    ("chroot_directory", "confine it by systemd, as the unit in examples/ does"),
    ("preauth_command", "nothing can be said to the back end before the login"),
    ("enable_admin_commands", "there are none within IMAP: see posthouse session"),
    ("tls_ca_path", "write the authorities into one file, for `ca_file`"),
    ("tls_ciphers", "the ciphers are those of rustls"),
    ("tls_no_tlsv1", "TLS 1.2 is the oldest"),
    ("tls_no_tlsv1.1", "TLS 1.2 is the oldest"),
    ("tls_no_tlsv1.2", "TLS 1.2 cannot be switched off; 1.3 is preferred"),
    ("dns_rr", "all addresses of a name are tried in turn, those that answer first"),
    ("ipversion_only", "write addresses of that family in place of the name"),
    (
        "auth_sasl_plain_username",
        "a shared secret in place of users' passwords is not there; see `authzid` in the manual",
    ),
    (
        "auth_sasl_plain_password",
        "a shared secret in place of users' passwords is not there; see `authzid` in the manual",
    ),
    (
        "auth_shared_secret",
        "a shared secret in place of users' passwords is not there; see `authzid` in the manual",
    ),
];

pub(super) fn import(file: &Path) -> Result<Draft, Unusable> {
    let mut draft = Draft::default();
    let mut settings = settings(file, &read(file)?, &mut draft)?;
    let whole = Place::new(file, 0);
    if let Some((user, _)) = settings.remove("proc_username") {
        let mut top = Table::new("");
        top.text("user", &user);
        draft.push(top);
    }
    listener(&mut settings, &mut draft)?;
    let said =
        "users of all back ends come in by the webmail's one address: limits by address are off";
    draft.remark(&whole, said);
    let mut limits = Table::new("[limits]");
    limits.number("connections_per_address", 0).number("logins_per_address", 0);
    draft.push(limits);
    backend(&mut settings, &mut draft, &whole)?;
    let mut everybody = Table::new("[[directory]]");
    everybody.text("source", "static").text("backend", "server");
    draft.push(everybody);
    for (keyword, (_, at)) in settings {
        match WITHOUT.iter().find(|(without, _)| *without == keyword) {
            Some((_, instead)) => draft.remark(&at, format!("{keyword}: {instead}")),
            None => {
                let keyword = keyword.escape_debug();
                draft.remark(&at, format!("{keyword}: imapproxy knows no such keyword"));
            }
        }
    }
    Ok(draft)
}

fn settings(file: &Path, text: &str, draft: &mut Draft) -> Result<Settings, Unusable> {
    let mut settings = Settings::new();
    for (line, number) in text.lines().zip(1..) {
        let at = Place::new(file, number);
        let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
        if line.is_empty() {
            continue;
        }
        let Some((keyword, value)) = line.split_once([' ', '\t']) else {
            return Err(at.unusable(format!("`{}` has no value", line.escape_debug())));
        };
        let before =
            settings.insert(keyword.to_ascii_lowercase(), (value.trim().to_owned(), at.clone()));
        if let Some((_, before)) = before {
            draft.remark(&before, format!("{keyword}: a later line counts"));
        }
    }
    Ok(settings)
}

fn port(settings: &mut Settings, keyword: &str) -> Result<u16, Unusable> {
    let Some((port, at)) = settings.remove(keyword) else { return Ok(143) };
    match port.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(at.unusable(format!("{keyword}: `{}` is no port", port.escape_debug()))),
    }
}

fn switch(settings: &mut Settings, keyword: &str, draft: &mut Draft) -> bool {
    let Some((word, at)) = settings.remove(keyword) else { return false };
    yes_or_no(&word).unwrap_or_else(|| {
        draft.remark(&at, format!("{keyword}: neither yes nor no, which imapproxy takes for no"));
        false
    })
}

fn listener(settings: &mut Settings, draft: &mut Draft) -> Result<(), Unusable> {
    let port = port(settings, "listen_port")?;
    let mut address = "0.0.0.0".to_owned();
    if let Some((given, at)) = settings.remove("listen_address") {
        match given.parse::<std::net::IpAddr>() {
            Ok(ip) => address = ip.to_string(),
            Err(_) => {
                address = "127.0.0.1".to_owned();
                draft.remark(
                    &at,
                    "listen_address: write the name's IP address in place of 127.0.0.1",
                );
            }
        }
    }
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    let mut listener = Table::new("[[listener]]");
    listener.text("protocol", "imap").text("address", &format!("{address}:{port}"));
    listener.comment("As imapproxy: clients come in without TLS. Only within one machine, or a network of yours.");
    listener.text("tls", "none").flag("allow_clear_logins", true);
    draft.push(listener);
    Ok(())
}

fn backend(settings: &mut Settings, draft: &mut Draft, whole: &Place) -> Result<(), Unusable> {
    let port = port(settings, "server_port")?;
    let Some((host, at)) = settings.remove("server_hostname") else {
        return Err(whole.unusable("there is no `server_hostname`"));
    };
    if host.parse::<Host>().is_err() {
        return Err(at.unusable(format!("server_hostname: `{}` is no host", host.escape_debug())));
    }
    let force = switch(settings, "force_tls", draft);
    let verify = switch(settings, "tls_verify_server", draft);
    let mut backend = Table::new("[backend.server]");
    backend.text("address", &host).number("imap_port", port.into());
    if !force {
        let said = "without force_tls, imapproxy spoke TLS only where the server refused logins without; here \
                    it is never: write tls = \"starttls\" if the server can do it";
        draft.remark(&at, said);
        backend.text("tls", "none");
        draft.push(backend);
        return Ok(());
    }
    backend.text("tls", "starttls");
    let file =
        |settings: &mut Settings, keyword: &str| settings.remove(keyword).map(|given| given.0);
    let authorities = file(settings, "tls_ca_file");
    match (verify, authorities) {
        (true, Some(authorities)) => drop(backend.text("ca_file", &authorities)),
        (true, None) => {}
        (false, authorities) => {
            let said = "imapproxy believed every certificate (tls_verify_server); better write `ca_file` or \
                        `pin_sha256` in place of verify = false";
            draft.remark(&at, said);
            backend.flag("verify", false);
            if authorities.is_some() {
                draft.remark(&at, "tls_ca_file had no effect without tls_verify_server");
            }
        }
    }
    let (certificate, key) = (file(settings, "tls_cert_file"), file(settings, "tls_key_file"));
    if let Some(certificate) = certificate {
        backend.text("certificate", &certificate).text("key", &key.unwrap_or(certificate));
    }
    draft.push(backend);
    Ok(())
}
