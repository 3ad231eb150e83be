//! `[backend.NAME]`: the servers that hold mail.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use ::directory::KnownBackend;
use backends::{BackendSettings, Identities, LoginMode, Ports};
use model::{BackendName, Host, Secret};
use transport::tls::{ClientTls, Verify};

use super::refuse;
use crate::config::{
    Purpose,
    file::{self, Login, TlsMode},
    mistake::Mistake,
    read::{At, Field, Named, Reader},
};

/// A back end and what is needed to judge what refers to it.
pub(super) struct Checked {
    pub(super) name: BackendName,
    hosts: Vec<Host>,
    ports: Ports,
    /// Where `login = "master"` stands.
    pub(super) master: Option<std::ops::Range<usize>>,
    /// Missing where it was not asked for, or is mistaken.
    pub(super) settings: Option<BackendSettings>,
}

impl Checked {
    /// What the directory must know of it.
    pub(super) fn known(&self) -> KnownBackend {
        KnownBackend {
            name: self.name.clone(),
            hosts: self.hosts.clone(),
            imap_port: self.ports.imap,
            pop3_port: self.ports.pop3,
        }
    }
}

pub(super) fn backends(
    field: &Field<Named<file::Backend>>,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Vec<Checked> {
    let tables: &[_] = field.value().map_or(&[], |tables| &tables.0);
    if tables.is_empty() && !matches!(field, Field::Wrong) {
        let mistake = Mistake::error(&(0..0), "there is no back end: nobody's mail could be found");
        reader.note(mistake.help("write [backend.a], then address = \"HOST\""));
    }
    tables.iter().map(|(name, table)| backend(name, table, purpose, reader)).collect()
}

fn backend(
    name: &At<BackendName>,
    table: &file::Backend,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Checked {
    let hosts = hosts(name, table, reader);
    let mode = table.tls.or(TlsMode::Implicit);
    let default = |protocol: model::Protocol| match mode {
        TlsMode::Implicit => protocol.tls_port(),
        TlsMode::None | TlsMode::StartTls => protocol.port(),
    };
    let ports = Ports {
        imap: table.imap_port.or(default(model::Protocol::Imap)),
        pop3: table.pop3_port.or(default(model::Protocol::Pop3)),
    };
    let verify = verify(table, mode, purpose, reader);
    let login = login(table, purpose, reader);
    let settings = login.map(|login| BackendSettings {
        name: name.value.clone(),
        hosts: hosts.clone(),
        ports,
        tls: match mode {
            TlsMode::Implicit => backends::Tls::Implicit,
            TlsMode::None => backends::Tls::None,
            TlsMode::StartTls => backends::Tls::StartTls,
        },
        verify,
        login,
        identity: Identities::default(),
        pipelining: true,
    });
    let master = table.login.given().filter(|login| login.value == Login::Master);
    let master = master.map(|login| login.span.clone());
    Checked { name: name.value.clone(), hosts, ports, master, settings }
}

fn hosts(name: &At<BackendName>, table: &file::Backend, reader: &mut Reader<'_>) -> Vec<Host> {
    let listed = table.addresses.given();
    let empty = listed.is_some_and(|listed| listed.value.0.is_empty());
    if table.addresses.is_absent() || empty {
        let span = listed.map_or(&name.span, |listed| &listed.span);
        let title = format!("the back end \"{}\" has no address", name.value);
        let help = "write address = \"HOST\", or a list of hosts to try in turn";
        reader.note(Mistake::error(span, title).help(help));
    }
    listed.map_or_else(Vec::new, |listed| {
        listed.value.0.iter().map(|host| host.value.clone()).collect()
    })
}

/// How the back end's certificate is judged.
fn verify(
    table: &file::Backend,
    mode: TlsMode,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Verify {
    if mode == TlsMode::None {
        let because = "this back end has tls = \"none\"";
        refuse!(reader, table, [verify, ca_file, pin_sha256], because);
        return Verify::Nothing;
    }
    if let Some(off) = table.verify.given().filter(|verify| !verify.value) {
        let because = "verify = false believes every certificate";
        refuse!(reader, table, [ca_file, pin_sha256], because);
        let title = "the back end's certificate is not verified: whoever stands between can read \
                     every password";
        let help = "leave `verify` out, and set ca_file or pin_sha256 where the system's \
                    authorities do not know it";
        reader.note(Mistake::warning(&off.span, title).help(help));
        return Verify::Nothing;
    }
    if let Some(pins) = table.pin_sha256.given() {
        let because = "a pinned certificate is believed for itself, whoever signed it";
        refuse!(reader, table, [ca_file], because);
        if pins.value.0.is_empty() {
            reader.note(Mistake::error(&pins.span, "no certificate fits an empty list"));
        }
        return Verify::Pins(pins.value.0.iter().map(|pin| pin.value).collect());
    }
    let verify = Verify::Roots { file: table.ca_file.value().cloned() };
    if let (true, Some(file)) = (purpose.reads_files(), table.ca_file.given())
        && let Err(error) = ClientTls::new(&verify)
    {
        let title = format!("this file cannot be used: {error}");
        reader.note(Mistake::error(&file.span, title));
    }
    verify
}

/// How users are logged in there; nothing where the secret was not read or there is a mistake.
fn login(table: &file::Backend, purpose: Purpose, reader: &mut Reader<'_>) -> Option<LoginMode> {
    let login = table.login.given();
    if table.login.or(Login::Forward) == Login::Forward {
        if !matches!(table.login, Field::Wrong) {
            refuse!(
                reader,
                table,
                [master_user, master_separator, master_secret_file, master_secret],
                "it belongs to login = \"master\""
            );
        }
        return Some(LoginMode::Forward);
    }
    let span = &login?.span;
    if table.master_user.is_absent() {
        let mistake = Mistake::error(span, "a master login needs `master_user`");
        reader.note(mistake.help("write master_user = \"NAME\""));
    }
    let separator = separator(&table.master_separator, reader);
    let secret = secret(table, span, purpose, reader)?;
    let user = table.master_user.value()?.clone();
    Some(LoginMode::Master { user, separator: separator?, secret })
}

fn separator(field: &Field<String>, reader: &mut Reader<'_>) -> Option<Box<str>> {
    let Some(given) = field.given() else {
        return field.is_absent().then(|| "*".into());
    };
    if given.value.is_empty() || given.value.chars().any(char::is_control) {
        let mistake = Mistake::error(&given.span, "this cannot stand between two names");
        reader.note(mistake.help("write one character or more; Dovecot's default is \"*\""));
        return None;
    }
    Some(given.value.as_str().into())
}

fn secret(
    table: &file::Backend,
    login: &std::ops::Range<usize>,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<Secret> {
    match (&table.master_secret_file, &table.master_secret) {
        (Field::Given(file), Field::Given(secret)) => {
            let title = "the master's secret is given twice";
            reader.note(Mistake::error(&secret.span, title).other(&file.span, "and here"));
            None
        }
        (Field::Absent, Field::Absent) => {
            let mistake = Mistake::error(login, "a master login needs the master's secret");
            reader.note(mistake.help("write master_secret_file = \"FILE\""));
            None
        }
        (_, Field::Given(secret)) => Some(secret.value.clone()),
        (Field::Given(file), _) if purpose.reads_files() => secret_file(file, reader),
        _ => None,
    }
}

/// The secret in a file, without the line end that editors leave behind it.
fn secret_file(file: &At<PathBuf>, reader: &mut Reader<'_>) -> Option<Secret> {
    let read = || -> Result<Secret, String> {
        let mut bytes = fs::read(&file.value).map_err(|error| error.to_string())?;
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        let secret = Secret::new(bytes).map_err(|error| error.to_string())?;
        if secret.reveal().is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(secret)
    };
    let secret = match read() {
        Ok(secret) => secret,
        Err(error) => {
            let title = format!("the secret cannot be read from {}: {error}", file.value.display());
            reader.note(Mistake::error(&file.span, title));
            return None;
        }
    };
    let mode = fs::metadata(&file.value).map_or(0, |data| data.permissions().mode());
    if mode & 0o004 != 0 {
        let title = format!("everybody on this machine can read {}", file.value.display());
        let help = format!("chmod 600 {}", file.value.display());
        reader.note(Mistake::warning(&file.span, title).help(help));
    }
    Some(secret)
}
