//! `[[listener]]`: where clients connect to.

use std::{collections::HashMap, net::SocketAddr, ops::Range, path::PathBuf};

use ipnet::IpNet;
use model::{Mechanism, Mechanisms, Protocol};
use transport::tls::{CertificateFiles, ServerSettings, ServerTls};

use super::{clients, limits::count, refuse};
use crate::config::{
    Certificates, Listener, Privacy, Purpose,
    file::{self, ListenAddress, TlsMode},
    mistake::Mistake,
    read::{At, Field, Listed, Reader, Tables},
};

pub(super) fn listeners(
    field: &Field<Tables<file::Listener>>,
    purpose: Purpose,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Vec<Listener> {
    let tables: &[_] = field.value().map_or(&[], |tables| &tables.0);
    if tables.is_empty() && !matches!(field, Field::Wrong) {
        let mistake = Mistake::error(&(0..0), "there is no [[listener]]: nobody could connect");
        reader.note(
            mistake.help("write [[listener]], then protocol = \"imap\" and address = \"[::]:993\""),
        );
    }
    tables.iter().filter_map(|table| listener(table, purpose, taken, reader)).collect()
}

/// What earlier listeners have.
#[derive(Default)]
pub(super) struct Taken {
    addresses: HashMap<SocketAddr, Range<usize>>,
    names: HashMap<String, Range<usize>>,
}

impl Taken {
    /// Notes who listens where; a second one there is a mistake.
    pub(super) fn address(
        &mut self,
        address: SocketAddr,
        span: &Range<usize>,
        reader: &mut Reader<'_>,
    ) {
        // Of port 0 the kernel makes another one each time.
        let other = self.addresses.iter().find(|(other, _)| collide(other, &address));
        if let Some((other, place)) = other {
            let title = format!("two listeners on one address: {address} is taken by {other}");
            reader.note(Mistake::error(span, title).other(place, "taken here"));
        }
        self.addresses.insert(address, span.clone());
    }
}

fn listener(
    at: &At<file::Listener>,
    purpose: Purpose,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Option<Listener> {
    let table = &at.value;
    if table.protocol.is_absent() {
        let mistake = Mistake::error(&at.span, "this listener has no `protocol`");
        reader.note(mistake.help("write protocol = \"imap\" or protocol = \"pop3\""));
    }
    if table.addresses.is_absent() {
        let mistake = Mistake::error(&at.span, "this listener has no `address`");
        reader.note(mistake.help("write address = \"[::]:993\", or a list of addresses"));
    }
    let mode = table.tls.or(TlsMode::Implicit);
    let allow_clear_logins = clear_logins(at, mode, reader);
    let certificates = certificates(at, mode, purpose, reader);
    let protocol = *table.protocol.value()?;
    if let (true, Some(certificates)) = (purpose.reads_files(), &certificates) {
        try_files(at, certificates, protocol, reader);
    }
    let addresses = addresses(&table.addresses.given()?.value.0, protocol, mode, taken, reader);
    let name = name(at, protocol, &addresses, taken, reader);
    let capabilities = capabilities(table, protocol, reader);
    let tls = match mode {
        TlsMode::None => Privacy::None,
        TlsMode::StartTls => Privacy::StartTls(certificates?),
        TlsMode::Implicit => Privacy::Implicit(certificates?),
    };
    Some(Listener {
        name,
        protocol,
        addresses,
        tls,
        allow_clear_logins,
        capabilities,
        mechanisms: mechanisms(&table.mechanisms, reader),
        relay_text: table.relay_text.or(false),
        clean_bye: table.clean_bye.or(false),
        forward_client_id: table.forward_client_id.or(false),
        proxy_networks: networks(&table.proxy_networks, reader),
        trusted_networks: networks(&table.trusted_networks, reader),
        connections: count(&table.connections, 0),
    })
}

fn mechanisms(field: &Field<Listed<Mechanism>>, reader: &mut Reader<'_>) -> Mechanisms {
    let Some(listed) = field.given() else { return Mechanisms::default() };
    if listed.value.0.is_empty() {
        let mistake = Mistake::error(&listed.span, "with an empty list nobody could log in");
        reader.note(mistake.help("leave it out to have \"command\", \"plain\" and \"login\""));
    }
    listed.value.0.iter().map(|at| at.value).collect()
}

/// Networks whose word is believed.
fn networks(field: &Field<Listed<IpNet>>, reader: &mut Reader<'_>) -> Vec<IpNet> {
    let listed: &[_] = field.value().map_or(&[], |listed| &listed.0);
    for whole in listed.iter().filter(|at| at.value.prefix_len() == 0) {
        let title = "everybody is believed here, whoever he says he is";
        let help = "name the addresses of your own proxies or webmails only";
        reader.note(Mistake::warning(&whole.span, title).help(help));
    }
    listed.iter().map(|at| at.value).collect()
}

fn clear_logins(at: &At<file::Listener>, mode: TlsMode, reader: &mut Reader<'_>) -> bool {
    let allow = &at.value.allow_clear_logins;
    match (mode, allow.given()) {
        (TlsMode::Implicit, Some(given)) if given.value => {
            let title = "`allow_clear_logins` does nothing where TLS is implicit";
            reader.note(Mistake::warning(&given.span, title).help("leave it out"));
        }
        (TlsMode::None, given) if !given.is_some_and(|given| given.value) => {
            let span = at.value.tls.given().map_or(&at.span, |tls| &tls.span);
            let title = "nobody can log in here: there is no TLS, and clear logins are not allowed";
            let help = "set tls = \"starttls\", or allow_clear_logins = true";
            reader.note(Mistake::warning(span, title).help(help));
        }
        _ => {}
    }
    allow.or(false)
}

fn certificates(
    at: &At<file::Listener>,
    mode: TlsMode,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<Certificates> {
    let table = &at.value;
    let self_signed = table.self_signed.or(false);
    let clients = clients::clients(table, mode, purpose, reader);
    if mode == TlsMode::None {
        for given in [table.certificate.given(), table.key.given()].into_iter().flatten() {
            let mistake = Mistake::warning(&given.span, "without TLS this file is not used");
            reader.note(mistake.help("leave it out, or set tls = \"implicit\" or \"starttls\""));
        }
        refuse!(reader, table, [certificates, self_signed], "this listener has tls = \"none\"");
        return None;
    }
    let files = match table.certificates.given() {
        None => pair(&table.certificate, &table.key, reader).into_iter().collect(),
        Some(several) => {
            refuse!(reader, table, [certificate, key], "put the pair into `certificates`");
            let pairs = several.value.0.iter();
            let mut files = Vec::new();
            for each in pairs {
                files.extend(pair(&each.value.certificate, &each.value.key, reader));
                missing_pair(&each.span, &each.value.certificate, &each.value.key, reader);
            }
            files
        }
    };
    let absent =
        table.certificates.is_absent() && table.certificate.is_absent() && table.key.is_absent();
    if absent || table.certificates.value().is_some_and(|several| several.0.is_empty()) {
        let (span, title) = match table.self_signed.given().filter(|at| at.value) {
            Some(given) => (&given.span, "`self_signed` needs to know where the files shall be"),
            None => (&at.span, "this listener speaks TLS and has no certificate"),
        };
        let help = "write certificate = \"cert.pem\" and key = \"key.pem\"";
        reader.note(Mistake::error(span, title).help(help));
    }
    (!files.is_empty()).then_some(Certificates { files, self_signed, clients })
}

/// A certificate with its key; one without the other is a mistake.
pub(super) fn pair(
    certificate: &Field<PathBuf>,
    key: &Field<PathBuf>,
    reader: &mut Reader<'_>,
) -> Option<CertificateFiles> {
    match (certificate, key) {
        (Field::Given(certificate), Field::Given(key)) => {
            let (certificate, key) = (certificate.value.clone(), key.value.clone());
            return Some(CertificateFiles { certificate, key });
        }
        (Field::Given(certificate), Field::Absent) => {
            let mistake = Mistake::error(&certificate.span, "this certificate has no key");
            reader.note(mistake.help("write key = \"FILE\" beside it"));
        }
        (Field::Absent, Field::Given(key)) => {
            let mistake = Mistake::error(&key.span, "this key has no certificate");
            reader.note(mistake.help("write certificate = \"FILE\" beside it"));
        }
        _ => {}
    }
    None
}

fn missing_pair(
    span: &Range<usize>,
    certificate: &Field<PathBuf>,
    key: &Field<PathBuf>,
    reader: &mut Reader<'_>,
) {
    if certificate.is_absent() && key.is_absent() {
        reader.note(Mistake::error(span, "`certificate` and `key` are missing here"));
    }
}

/// Reads the files as `serve` will, so that what it would stumble over is told before.
fn try_files(
    at: &At<file::Listener>,
    certificates: &Certificates,
    protocol: Protocol,
    reader: &mut Reader<'_>,
) {
    for files in &certificates.files {
        let missing = !files.certificate.exists() && !files.key.exists();
        if certificates.self_signed && missing {
            continue;
        }
        let settings =
            ServerSettings { certificates: vec![files.clone()], protocol, clients: None };
        let Err(error) = ServerTls::load(settings) else { continue };
        let span = place_of(at, &error.file);
        let mistake = Mistake::error(&span, format!("this file cannot be used: {error}"));
        reader.note(if missing && !certificates.self_signed {
            mistake.help("self_signed = true makes both files when they are missing")
        } else {
            mistake
        });
    }
}

/// Where a file is named.
fn place_of(at: &At<file::Listener>, file: &std::path::Path) -> Range<usize> {
    let table = &at.value;
    let several = table.certificates.value().into_iter().flat_map(|several| &several.0);
    let more = several.flat_map(|pair| [&pair.value.certificate, &pair.value.key]);
    let mut named = [&table.certificate, &table.key].into_iter().chain(more);
    let found = named.find_map(|field| field.given().filter(|at| at.value == file));
    found.map_or_else(|| at.span.clone(), |found| found.span.clone())
}

fn addresses(
    given: &[At<ListenAddress>],
    protocol: Protocol,
    mode: TlsMode,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Vec<SocketAddr> {
    let default = if mode == TlsMode::Implicit { protocol.tls_port() } else { protocol.port() };
    let mut addresses = Vec::with_capacity(given.len());
    for at in given {
        let address = SocketAddr::new(at.value.ip, at.value.port.unwrap_or(default));
        taken.address(address, &at.span, reader);
        addresses.push(address);
    }
    addresses
}

/// Whether the kernel would refuse one of the two: an address of all interfaces takes the port on
/// each of them, of its own family.
fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let whole = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (whole || one.ip() == other.ip())
}

/// The given name, else PROTOCOL-PORT, with a number where that is taken.
fn name(
    at: &At<file::Listener>,
    protocol: Protocol,
    addresses: &[SocketAddr],
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> String {
    if let Some(name) = at.value.name.given() {
        if name.value.is_empty() || name.value.chars().any(char::is_control) {
            reader.note(Mistake::error(&name.span, "this is no name for a listener"));
        }
        if let Some(other) = taken.names.insert(name.value.clone(), name.span.clone()) {
            let title = format!("two listeners have the name \"{}\"", name.value);
            reader.note(Mistake::error(&name.span, title).other(&other, "the other one"));
        }
        return name.value.clone();
    }
    let port = addresses.first().map_or(0, SocketAddr::port);
    let plain = format!("{protocol}-{port}");
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.clone()).chain(numbered);
    let free = names.find(|name| !taken.names.contains_key(name)).unwrap_or_default();
    taken.names.insert(free.clone(), at.span.clone());
    free
}

fn capabilities(
    table: &file::Listener,
    protocol: Protocol,
    reader: &mut Reader<'_>,
) -> Option<Vec<String>> {
    let listed = table.capabilities.value()?;
    for at in &listed.0 {
        if protocol == Protocol::Imap && at.value.0.contains(' ') {
            let title = "an IMAP capability is one word";
            reader.note(Mistake::error(&at.span, title).help("write each as a text of its own"));
        }
    }
    Some(listed.0.iter().map(|at| at.value.0.clone()).collect())
}
