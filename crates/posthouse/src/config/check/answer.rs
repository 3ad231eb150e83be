//! `[[answer]]`: servers that only say where users are.

use std::{net::SocketAddr, time::Duration};

use ::answer::{Key, Settings};
use backends::{LoginMode, Tls};
use ipnet::IpNet;

use super::{
    backend::Checked,
    listener::Taken,
    refuse,
    secrets::{given_or_in_file, secret_file},
};
use crate::config::{
    Purpose,
    file::{self, ListenAddress},
    mistake::Mistake,
    read::{At, Field, Reader, Tables},
};

/// After a wrong password: as long as our own clients wait at least.
const WAIT: Duration = Duration::from_secs(2);

/// Questions at a time, unless it is set.
const CONNECTIONS: u32 = 256;

/// The header that shows the secret, unless it is set.
const HEADER: &str = "X-Auth-Key";

pub(super) fn answers(
    field: &Field<Tables<file::Answer>>,
    backends: &[Checked],
    purpose: Purpose,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Vec<Settings> {
    let tables: &[_] = field.value().map_or(&[], |tables| &tables.0);
    tables.iter().filter_map(|at| answer(at, backends, purpose, taken, reader)).collect()
}

fn answer(
    at: &At<file::Answer>,
    backends: &[Checked],
    purpose: Purpose,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Option<Settings> {
    let table = &at.value;
    if table.protocol.is_absent() {
        let mistake = Mistake::error(&at.span, "this answer has no `protocol`");
        reader.note(mistake.help("write protocol = \"auth_http\""));
    }
    if table.addresses.is_absent() {
        let mistake = Mistake::error(&at.span, "this answer has no `address`");
        reader.note(mistake.help("write address = \"127.0.0.1:9143\""));
    }
    let key = key(table, purpose, reader);
    let networks = networks(table, reader);
    let in_clear = table.allow_clear_backends.or(false);
    reachable(at, backends, in_clear, reader);
    shared(at, backends, reader);
    let connections = table.connections.or(CONNECTIONS);
    if let Some(given) = table.connections.given().filter(|given| given.value == 0) {
        reader.note(Mistake::error(&given.span, "with 0 nothing could ever be asked"));
    }
    let listed = table.addresses.value()?;
    let addresses = listed.0.iter().filter_map(|at| address(at, taken, reader)).collect();
    table.protocol.value()?;
    Some(Settings {
        name: table.name.or("auth_http".to_owned()).into(),
        addresses,
        networks,
        key,
        wait: table.wait.or(WAIT),
        backends_in_clear: in_clear,
        connections: usize::try_from(connections).unwrap_or(1),
    })
}

fn address(
    at: &At<ListenAddress>,
    taken: &mut Taken,
    reader: &mut Reader<'_>,
) -> Option<SocketAddr> {
    let Some(port) = at.value.port else {
        let mistake = Mistake::error(&at.span, "this address has no port");
        reader.note(mistake.help(format!("write \"{}\"", SocketAddr::new(at.value.ip, 9143))));
        return None;
    };
    let address = SocketAddr::new(at.value.ip, port);
    taken.address(address, &at.span, reader);
    Some(address)
}

fn networks(table: &file::Answer, reader: &mut Reader<'_>) -> Vec<IpNet> {
    let Some(given) = table.networks.given() else {
        let here = ["127.0.0.0/8", "::1/128"];
        return here.iter().filter_map(|network| network.parse().ok()).collect();
    };
    if given.value.0.is_empty() {
        reader.note(Mistake::error(&given.span, "nobody could ask: there is no network"));
    }
    for whole in given.value.0.iter().filter(|at| at.value.prefix_len() == 0) {
        let title = "everybody may ask here, and try passwords as fast as he likes";
        let help = "name the addresses of your own proxies only";
        reader.note(Mistake::warning(&whole.span, title).help(help));
    }
    given.value.0.iter().map(|at| at.value).collect()
}

fn key(table: &file::Answer, purpose: Purpose, reader: &mut Reader<'_>) -> Option<Key> {
    let secret = (&table.secret, &table.secret_file);
    if secret.0.given().is_none() && secret.1.given().is_none() {
        refuse!(reader, table, [secret_header], "there is no secret to be shown in it");
        return None;
    }
    let field = table.secret_header.or(HEADER.to_owned());
    if file::header(&format!("{field}: x")).is_err() {
        let span = table.secret_header.given().map_or(0..0, |given| given.span.clone());
        reader.note(Mistake::error(&span, "this is not the name of a header"));
    }
    let secret =
        given_or_in_file("the secret", secret, purpose.reads_files(), reader, secret_file)?;
    Some(Key { field: field.to_ascii_lowercase(), secret })
}

/// Notes that whoever asks is sent to no server of a store: who is on which of them is known of our own sessions alone.
fn shared(at: &At<file::Answer>, backends: &[Checked], reader: &mut Reader<'_>) {
    let store = |of: &Checked| of.settings.as_ref().is_some_and(|of| of.same_store.is_some());
    if let Some(first) = backends.iter().find(|backend| store(backend)) {
        let title = format!(
            "whoever asks here is told to try later for users whose mail \"{}\" shares with others",
            first.name
        );
        let help = "let all of them come here, or have nginx ask for users of other back ends only";
        reader.note(Mistake::warning(&at.span, title).help(help));
    }
}

/// Notes back ends that whoever asks cannot enter: nginx's mail proxy speaks no TLS to them, and knows only
/// passwords.
fn reachable(at: &At<file::Answer>, backends: &[Checked], in_clear: bool, reader: &mut Reader<'_>) {
    for backend in backends {
        let Some(settings) = &backend.settings else { continue };
        let (why, help) = match (settings.tls, &settings.login) {
            (_, LoginMode::Master { .. } | LoginMode::Authzid { .. } | LoginMode::Trusted(_)) => (
                "nobody else is told how we log in there",
                "set login = \"forward\" or \"password\"",
            ),
            (Tls::Implicit, _) => ("it is entered by TLS only", "set tls = \"none\" for it"),
            (Tls::StartTls, _) if !in_clear => (
                "it is set to have TLS, which nginx's mail proxy cannot do",
                "set tls = \"none\" for it, or allow_clear_backends = true here",
            ),
            _ => continue,
        };
        let title =
            format!("whoever asks here cannot enter the back end \"{}\": {why}", backend.name);
        reader.note(Mistake::warning(&at.span, title).help(help));
    }
}
