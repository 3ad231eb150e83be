//! `[backend.NAME]`: the servers that hold mail.

use std::{net::IpAddr, ops::Range};

use ::directory::KnownBackend;
use backends::{BackendSettings, Identities, IdentityMode, LoginMode, Ports, TestUser, Trusted};
use model::{BackendName, Host, Secret, UserName};
use transport::tls::{CertificateFiles, ClientTls, Verify};

use super::{
    listener::pair,
    refuse,
    secrets::{given_or_in_file, secret_file, warn_of_readers},
};
use crate::config::{
    Purpose,
    file::{self, Identity, Login, TlsMode, TrustedBy},
    mistake::Mistake,
    read::{At, Field, Listed, Named, Reader},
};

/// The greatest weight: with more, the others of a pool would hardly count.
const MAX_WEIGHT: u32 = 10_000;

/// A back end and what is needed to judge what refers to it.
pub(super) struct Checked {
    pub(super) name: BackendName,
    pub(super) hosts: Vec<At<Host>>,
    pub(super) ports: Ports,
    /// Where a login mode stands with which the back end does not judge the client's own proof.
    pub(super) judged_here: Option<Range<usize>>,
    /// Where it stands that it judges the client's own proof: the login mode, or its name where there is none.
    pub(super) forwards: Option<Range<usize>>,
    /// Its share of what is new in a pool.
    pub(super) weight: u32,
    /// What sources can ask for.
    pub(super) tags: Vec<String>,
    /// Missing where it was not asked for, or is mistaken.
    pub(super) settings: Option<BackendSettings>,
}

impl Checked {
    /// What the directory must know of it.
    pub(super) fn known(&self) -> KnownBackend {
        KnownBackend {
            name: self.name.clone(),
            hosts: self.hosts.iter().map(|host| host.value.clone()).collect(),
            imap_port: self.ports.imap,
            pop3_port: self.ports.pop3,
            judges: self.judged_here.is_none(),
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
    if mode == TlsMode::None {
        warn_of_clear_text(table, &hosts, reader);
    }
    let source_addresses = source_addresses(table, &hosts, purpose, reader);
    let tls_legacy = tls_legacy(table, mode, reader);
    let verify = verify(table, mode, purpose, reader);
    let certificate = certificate(table, mode, purpose, reader);
    let login = login(table, mode, purpose, reader);
    let test_user = test_user(table, purpose, reader);
    let settings = login.map(|login| BackendSettings {
        name: name.value.clone(),
        hosts: hosts.iter().map(|host| host.value.clone()).collect(),
        ports,
        source_addresses,
        tls: match mode {
            TlsMode::Implicit => backends::Tls::Implicit,
            TlsMode::None => backends::Tls::None,
            TlsMode::StartTls => backends::Tls::StartTls,
        },
        tls_legacy,
        verify,
        certificate,
        login,
        identity: identities(table),
        pipelining: table.pipelining.or(true),
        logins_at_once: logins_at_once(&table.logins_at_once, reader),
        same_store: table.same_store.value().map(|word| word.as_str().into()),
        test_user,
    });
    let judged_here = table.login.given().filter(|login| login.value != Login::Forward);
    let judged_here = judged_here.map(|login| login.span.clone());
    let forwards = match &table.login {
        Field::Absent => Some(name.span.clone()),
        Field::Given(login) if login.value == Login::Forward => Some(login.span.clone()),
        Field::Given(_) | Field::Wrong => None,
    };
    Checked {
        name: name.value.clone(),
        hosts,
        ports,
        judged_here,
        forwards,
        weight: weight(&table.weight, reader),
        tags: tags(&table.tags, reader),
        settings,
    }
}

fn weight(field: &Field<u32>, reader: &mut Reader<'_>) -> u32 {
    if let Some(given) = field.given().filter(|given| !(1..=MAX_WEIGHT).contains(&given.value)) {
        let title = format!("a number from 1 to {MAX_WEIGHT} is expected here");
        let help = "a back end that is to get nothing new is drained: posthouse backend drain NAME";
        reader.note(Mistake::error(&given.span, title).help(help));
    }
    field.or(1)
}

fn tags(field: &Field<Listed<String>>, reader: &mut Reader<'_>) -> Vec<String> {
    let listed: &[_] = field.value().map_or(&[], |listed| &listed.0);
    for at in listed.iter().filter(|at| at.value.is_empty()) {
        reader.note(Mistake::error(&at.span, "a tag cannot be empty"));
    }
    listed.iter().map(|at| at.value.clone()).collect()
}

fn hosts(name: &At<BackendName>, table: &file::Backend, reader: &mut Reader<'_>) -> Vec<At<Host>> {
    let listed = table.addresses.given();
    let empty = listed.is_some_and(|listed| listed.value.0.is_empty());
    if table.addresses.is_absent() || empty {
        let span = listed.map_or(&name.span, |listed| &listed.span);
        let title = format!("the back end \"{}\" has no address", name.value);
        let help = "write address = \"HOST\", or a list of hosts to try in turn";
        reader.note(Mistake::error(span, title).help(help));
    }
    listed.map_or_else(Vec::new, |listed| listed.value.0.clone())
}

/// From where to connect.
fn source_addresses(
    table: &file::Backend,
    hosts: &[At<Host>],
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Vec<IpAddr> {
    let Some(listed) = table.source_addresses.given() else { return Vec::new() };
    let sources = &listed.value.0;
    if sources.is_empty() {
        let mistake = Mistake::error(&listed.span, "there is no address in this list");
        reader.note(mistake.help("leave it out to let the system pick one"));
    }
    for source in sources.iter().filter(|_| purpose.reads_files()) {
        if let Err(error) = transport::try_source(source.value) {
            let title = format!("nothing can connect from {}: {error}", source.value);
            let help = "give this address to one of the machine's interfaces; meanwhile the others \
                        are used";
            reader.note(Mistake::warning(&source.span, title).help(help));
        }
    }
    for host in hosts.iter().filter(|_| !sources.is_empty()) {
        let Host::Ip(ip) = &host.value else { continue };
        if !sources.iter().any(|source| source.value.is_ipv4() == ip.is_ipv4()) {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let title = format!("no source address is an {family} address, as this host has");
            let help = "add one; without it the system picks where connections to it come from";
            let mistake = Mistake::warning(&host.span, title).help(help);
            reader.note(mistake.other(&listed.span, "these are of the other family"));
        }
    }
    sources.iter().map(|at| at.value).collect()
}

/// Who is logged in to see whether it lives.
fn test_user(table: &file::Backend, purpose: Purpose, reader: &mut Reader<'_>) -> Option<TestUser> {
    let Some(name) = table.test_user.given() else {
        let because = "it belongs to `test_user`";
        refuse!(reader, table, [test_password_file, test_password], because);
        return None;
    };
    let password = (&table.test_password, &table.test_password_file);
    if password.0.is_absent() && password.1.is_absent() {
        let mistake = Mistake::error(&name.span, "the test user has no password");
        reader.note(mistake.help("write test_password_file = \"FILE\""));
    }
    let (what, reads_file) = ("the test user's password", purpose.reads_files());
    let password = given_or_in_file(what, password, reads_file, reader, secret_file)?;
    Some(TestUser { name: name.value.clone(), password })
}

/// Logins under way at a time, of which there cannot be none.
fn logins_at_once(field: &Field<u32>, reader: &mut Reader<'_>) -> Option<usize> {
    let given = field.given()?;
    if given.value == 0 {
        let title = "with 0 logins at once nobody could log in there";
        let help = "leave it out to have the default, or write a number from 1";
        reader.note(Mistake::error(&given.span, title).help(help));
    }
    usize::try_from(given.value).ok()
}

/// Warns of the first address to which the way leads out of this machine.
fn warn_of_clear_text(table: &file::Backend, hosts: &[At<Host>], reader: &mut Reader<'_>) {
    let Some(out) = hosts.iter().find(|host| !host.value.is_loopback()) else { return };
    let span = table.tls.given().map_or(&out.span, |tls| &tls.span);
    let title = "passwords cross the network in clear: this back end has no TLS";
    let help = "set tls = \"implicit\" or \"starttls\", or use an address of loopback";
    reader.note(Mistake::warning(span, title).help(help).other(&out.span, "not this machine"));
}

/// How the back end is told who the client is.
fn identities(table: &file::Backend) -> Identities {
    let both = table.identity.or(Identity::None);
    let mode = |field: &Field<Identity>| match field.or(both) {
        Identity::Native => IdentityMode::Native,
        Identity::None => IdentityMode::None,
        Identity::ProxyV1 => IdentityMode::ProxyV1,
        Identity::ProxyV2 => IdentityMode::ProxyV2,
    };
    Identities { imap: mode(&table.imap_identity), pop3: mode(&table.pop3_identity) }
}

/// Whether the back end is spoken to in old TLS, which has to be built in.
fn tls_legacy(table: &file::Backend, mode: TlsMode, reader: &mut Reader<'_>) -> bool {
    let Some(on) = table.tls_legacy.given().filter(|legacy| legacy.value) else { return false };
    if mode == TlsMode::None {
        refuse!(reader, table, [tls_legacy], "this back end has tls = \"none\"");
    } else if transport::tls::LEGACY {
        let title = "old TLS: whoever records the connection may read it later";
        let help = "let the server learn TLS 1.2 with ECDHE, then leave `tls_legacy` out";
        reader.note(Mistake::warning(&on.span, title).help(help));
    } else {
        let title = "this program was built without old TLS";
        let help = "build it with `cargo build --release -p posthouse --features legacy-tls`";
        reader.note(Mistake::error(&on.span, title).help(help));
    }
    transport::tls::LEGACY
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
    let legacy = transport::tls::LEGACY && table.tls_legacy.or(false);
    let prepared = || match legacy {
        true => ClientTls::legacy(&verify, None),
        false => ClientTls::new(&verify),
    };
    if let (true, Some(file)) = (purpose.reads_files(), table.ca_file.given())
        && let Err(error) = prepared()
    {
        let title = format!("this file cannot be used: {error}");
        reader.note(Mistake::error(&file.span, title));
    }
    verify
}

/// How users are logged in there; nothing where the secret was not read or there is a mistake.
fn login(
    table: &file::Backend,
    tls: TlsMode,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<LoginMode> {
    let mode = match &table.login {
        Field::Absent => Login::Forward,
        Field::Wrong => return None,
        Field::Given(at) => at.value,
    };
    refuse_of_other_modes(table, mode, reader);
    match mode {
        Login::Forward => Some(LoginMode::Forward),
        Login::Password => Some(LoginMode::Password),
        Login::Trusted => trusted(table, tls, reader).map(LoginMode::Trusted),
        Login::Master => {
            let separator = separator(&table.master_separator, reader);
            let (user, secret) = master(table, purpose, reader)?;
            Some(LoginMode::Master { user, separator: separator?, secret })
        }
        Login::Authzid => {
            let (user, secret) = master(table, purpose, reader)?;
            Some(LoginMode::Authzid { user, secret })
        }
    }
}

/// Notes the keys that another login mode would need.
fn refuse_of_other_modes(table: &file::Backend, mode: Login, reader: &mut Reader<'_>) {
    if mode != Login::Master {
        refuse!(reader, table, [master_separator], "it belongs to login = \"master\"");
    }
    if !matches!(mode, Login::Master | Login::Authzid) {
        let because = "it belongs to login = \"master\" or \"authzid\"";
        refuse!(reader, table, [master_user, master_secret_file, master_secret], because);
    }
    if mode != Login::Trusted {
        refuse!(reader, table, [trusted_by, trusted_secret], "it belongs to login = \"trusted\"");
    }
}

/// What the back end believes of us.
fn trusted(table: &file::Backend, tls: TlsMode, reader: &mut Reader<'_>) -> Option<Trusted> {
    match table.trusted_by.given() {
        Some(by) if by.value == TrustedBy::Certificate => {
            let because = "with trusted_by = \"certificate\" no secret is sent";
            refuse!(reader, table, [trusted_secret], because);
            if tls == TlsMode::None {
                let title = "without TLS there is nothing to show a certificate in";
                let help = "set tls = \"implicit\" or \"starttls\"";
                reader.note(Mistake::error(&by.span, title).help(help));
            } else if table.certificate.is_absent() && table.key.is_absent() {
                let title = "we have no certificate that this back end could believe";
                let help = "write certificate = \"FILE\" and key = \"FILE\"";
                reader.note(Mistake::error(&by.span, title).help(help));
            }
            Some(Trusted::Certificate)
        }
        _ => {
            let dummy = match &table.trusted_secret {
                Field::Absent => Secret::new("trusted").ok()?,
                given => given.value()?.clone(),
            };
            Some(Trusted::Address { dummy })
        }
    }
}

/// Our own certificate for this back end.
fn certificate(
    table: &file::Backend,
    mode: TlsMode,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<CertificateFiles> {
    if mode == TlsMode::None {
        refuse!(reader, table, [certificate, key], "this back end has tls = \"none\"");
        return None;
    }
    let files = pair(&table.certificate, &table.key, reader)?;
    let key = table.key.given()?;
    if !purpose.reads_files() {
        return Some(files);
    }
    if let Err(error) = files.check() {
        let named = [table.certificate.given()?, key];
        let at = named.into_iter().find(|at| at.value == error.file).unwrap_or(key);
        let title = format!("this file cannot be used: {error}");
        reader.note(Mistake::error(&at.span, title));
    }
    warn_of_readers(key, reader);
    Some(files)
}

/// Who logs in on everybody's behalf, and by which secret.
fn master(
    table: &file::Backend,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<(UserName, Secret)> {
    let span = &table.login.given()?.span;
    if table.master_user.is_absent() {
        let mistake = Mistake::error(span, "this login mode needs `master_user`");
        reader.note(mistake.help("write master_user = \"NAME\""));
    }
    let secret = secret(table, span, purpose, reader)?;
    Some((table.master_user.value()?.clone(), secret))
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
    login: &Range<usize>,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<Secret> {
    let secret = (&table.master_secret, &table.master_secret_file);
    if secret.0.is_absent() && secret.1.is_absent() {
        let mistake = Mistake::error(login, "this login mode needs the master's secret");
        reader.note(mistake.help("write master_secret_file = \"FILE\""));
    }
    given_or_in_file("the master's secret", secret, purpose.reads_files(), reader, secret_file)
}
