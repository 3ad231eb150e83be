//! `source = "ldap"`: what can be said of it without asking it.

use std::time::Duration;

use ::directory::{
    LdapField, LdapFilter, LdapLogin, LdapScope, LdapSettings, LdapTls, LdapUsers, SourceKind,
    Template,
};
use model::{HostPort, Secret};
use transport::tls::{CertificateFiles, ClientTls, Verify};

use super::super::{
    listener::pair,
    refuse,
    secrets::{given_or_in_file, secret_file},
};
use crate::config::{
    Purpose,
    file::{self, LdapScopeWord, TlsMode},
    mistake::Mistake,
    read::{At, Field, Listed, Reader},
};

/// Connections to each server for searches, and as many for users' binds, unless it is set.
const CONNECTIONS: u32 = 4;
/// More than any server likes to keep for one client.
const MOST_CONNECTIONS: u32 = 100;
/// How long one server may take, unless it is set: a second one has to have its turn within the usual deadline.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection is used, unless it is set: servers and firewalls end those that idle for long.
const MAX_AGE: Duration = Duration::from_secs(300);

/// A directory behind LDAP.
pub(super) fn ldap(
    at: &At<file::Source>,
    table: &file::LdapSource,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<SourceKind> {
    let servers = servers(at, table, reader);
    let tls = match table.tls.or(TlsMode::Implicit) {
        TlsMode::Implicit => LdapTls::Implicit,
        TlsMode::None => LdapTls::None,
        TlsMode::StartTls => LdapTls::StartTls,
    };
    let (certificate, own_certificate) = certificates(table, tls, &servers, purpose, reader);
    let login = login(table, own_certificate.is_some(), purpose, reader);
    let users = users(at, table, reader);
    deadline(at, table, servers.len(), reader);
    Some(SourceKind::Ldap(Box::new(LdapSettings {
        servers: servers.into_iter().map(|at| at.value).collect(),
        tls,
        certificate,
        own_certificate,
        login: login?,
        users: users?,
        bind: table.bind.or(false),
        attributes: attributes(table.attributes.value(), reader),
        ignore_referrals: table.ignore_referrals.or(false),
        connections: connections(&table.connections, reader),
        timeout: table.timeout.or(TIMEOUT),
        max_age: table.max_age.or(MAX_AGE),
    })))
}

fn servers(
    at: &At<file::Source>,
    table: &file::LdapSource,
    reader: &mut Reader<'_>,
) -> Vec<At<HostPort>> {
    let listed: &[_] = table.addresses.value().map_or(&[], |Listed(listed)| listed);
    if table.addresses.is_absent() {
        let mistake = Mistake::error(&at.span, "this source has no `address`");
        reader.note(mistake.help("write address = \"HOST\", or several in brackets"));
    }
    if let Some(given) = table.addresses.given().filter(|_| listed.is_empty()) {
        reader.note(Mistake::error(&given.span, "there is no address in this list"));
    }
    listed.to_vec()
}

/// How the server's certificate is judged, and our own.
fn certificates(
    table: &file::LdapSource,
    tls: LdapTls,
    servers: &[At<HostPort>],
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> (Verify, Option<CertificateFiles>) {
    if tls == LdapTls::None {
        let because = "this source has tls = \"none\"";
        refuse!(reader, table, [tls_verify, ca_file, certificate, key], because);
        warn_of_clear_text(table, servers, reader);
        return (Verify::Nothing, None);
    }
    let verify = match table.tls_verify.given().filter(|verify| !verify.value) {
        Some(off) => {
            refuse!(reader, table, [ca_file], "tls_verify = false believes every certificate");
            let title = "the server's certificate is not verified: whoever stands between can read \
                         every password, and say where users are";
            let help = "leave `tls_verify` out, and set ca_file where the system's authorities do \
                        not know it";
            reader.note(Mistake::warning(&off.span, title).help(help));
            Verify::Nothing
        }
        None => Verify::Roots { file: table.ca_file.value().cloned() },
    };
    let own = pair(&table.certificate, &table.key, reader);
    if purpose.reads_files() {
        let place = [&table.ca_file, &table.certificate].into_iter().find_map(Field::given);
        let tried = match &own {
            Some(own) => ClientTls::with_certificate(&verify, own),
            None => ClientTls::new(&verify),
        };
        if let (Some(place), Err(error)) = (place, tried) {
            let title = format!("this file cannot be used: {error}");
            reader.note(Mistake::error(&place.span, title));
        }
    }
    (verify, own)
}

fn warn_of_clear_text(table: &file::LdapSource, servers: &[At<HostPort>], reader: &mut Reader<'_>) {
    let Some(out) = servers.iter().find(|at| !at.value.host.is_loopback()) else { return };
    let Some(tls) = table.tls.given() else { return };
    let title = "what is asked and answered crosses the network in clear, passwords too";
    let mistake = Mistake::warning(&tls.span, title).other(&out.span, "not this machine");
    reader.note(mistake.help("leave `tls` out, or set it to \"starttls\""));
}

/// As whom we look for users.
fn login(
    table: &file::LdapSource,
    has_certificate: bool,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<LdapLogin> {
    if let Some(external) = table.external.given().filter(|external| external.value) {
        let because = "with external = true our certificate says who we are";
        refuse!(reader, table, [bind_dn, password, password_file], because);
        if !has_certificate && table.certificate.is_absent() {
            let mistake =
                Mistake::error(&external.span, "there is no certificate to say who we are");
            reader.note(mistake.help("write certificate = \"FILE\" and key = \"FILE\""));
        }
        return Some(LdapLogin::External);
    }
    let Some(dn) = table.bind_dn.given() else {
        refuse!(
            reader,
            table,
            [password, password_file],
            "there is no `bind_dn` that it belongs to"
        );
        return Some(LdapLogin::Anonymous);
    };
    let password = password(table, dn, purpose, reader);
    match (password, purpose.reads_files()) {
        (Some(password), _) => Some(LdapLogin::Simple { dn: dn.value.clone(), password }),
        // The source is not asked then, see `unread`.
        (None, false) => Some(LdapLogin::Anonymous),
        (None, true) => None,
    }
}

/// Our password. Without one a server would let us in as nobody (RFC 4513 section 5.1.2).
fn password(
    table: &file::LdapSource,
    dn: &At<String>,
    purpose: Purpose,
    reader: &mut Reader<'_>,
) -> Option<Secret> {
    if table.password.is_absent() && table.password_file.is_absent() {
        let mistake = Mistake::error(&dn.span, "this name has no password");
        reader.note(mistake.help("write password_file = \"FILE\""));
    }
    let reads_file = purpose.reads_secret_of_source(&table.password_file);
    let given = (&table.password, &table.password_file);
    given_or_in_file("the password", given, reads_file, reader, secret_file)
}

/// Where users are.
fn users(
    at: &At<file::Source>,
    table: &file::LdapSource,
    reader: &mut Reader<'_>,
) -> Option<LdapUsers> {
    if let Some(dn) = table.dn.given() {
        let because = "with `dn` a user's entry is not searched for";
        refuse!(reader, table, [base, scope, filter], because);
        if dn.value.placeholders().next().is_none() {
            let mistake = Mistake::error(&dn.span, "this would be the same entry for everybody");
            reader.note(mistake.help("write {user} or {local} where his name goes"));
        }
        return Some(LdapUsers::Named(dn.value.clone()));
    }
    for (missing, help) in [
        (table.base.is_absent(), "base = \"ou=people,dc=example,dc=org\""),
        (table.filter.is_absent(), "filter = \"(uid={user})\""),
    ] {
        if missing {
            let key = help.split(' ').next().unwrap_or_default();
            let mistake = Mistake::error(&at.span, format!("this source has no `{key}`"));
            reader.note(mistake.help(format!("write {help}, or `dn` in place of a search")));
        }
    }
    let (base, filter): (&Template, &LdapFilter) = (table.base.value()?, table.filter.value()?);
    let mut placeholders = base.placeholders().chain(filter.placeholders());
    if let (None, Some(given)) = (placeholders.next(), table.filter.given()) {
        let mistake = Mistake::error(&given.span, "this would find the same entry for everybody");
        reader.note(mistake.help("write {user} or {local} where his name goes"));
    }
    let scope = match table.scope.or(LdapScopeWord::Subtree) {
        LdapScopeWord::Base => LdapScope::Base,
        LdapScopeWord::One => LdapScope::One,
        LdapScopeWord::Subtree => LdapScope::Subtree,
    };
    Some(LdapUsers::Searched { base: base.clone(), scope, filter: filter.clone() })
}

fn attributes(
    table: Option<&file::LdapAttributes>,
    reader: &mut Reader<'_>,
) -> Vec<(LdapField, String)> {
    let Some(table) = table else { return Vec::new() };
    if let (Some(backend), Some(host)) = (table.backend.given(), table.host.given()) {
        let title = "an entry would say twice where mail is";
        reader.note(Mistake::error(&host.span, title).other(&backend.span, "and here"));
    }
    if let (Some(port), None) = (table.port.given(), table.host.given()) {
        let mistake = Mistake::error(&port.span, "there is no `host` that this port belongs to");
        reader.note(mistake.help("`backend` can hold `host:port` itself"));
    }
    let is_name = |name: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';');
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits)
    };
    let mut attributes = Vec::new();
    for (field, given) in [
        (LdapField::Backend, &table.backend),
        (LdapField::Host, &table.host),
        (LdapField::Port, &table.port),
        (LdapField::User, &table.user),
        (LdapField::Password, &table.password),
        (LdapField::PasswordHash, &table.password_hash),
        (LdapField::Id, &table.id),
        (LdapField::Disabled, &table.disabled),
    ] {
        let Some(given) = given.given() else { continue };
        if !is_name(&given.value) {
            let mistake = Mistake::error(&given.span, "this is no name of an attribute");
            reader.note(mistake.help("it has letters, digits and hyphens, such as \"mailHost\""));
        }
        attributes.push((field, given.value.clone()));
    }
    attributes
}

fn connections(field: &Field<u32>, reader: &mut Reader<'_>) -> usize {
    let count = field.or(CONNECTIONS);
    if let Some(given) = field.given().filter(|_| !(1..=MOST_CONNECTIONS).contains(&count)) {
        let title = format!("a number from 1 to {MOST_CONNECTIONS} is expected here");
        reader.note(Mistake::error(&given.span, title));
    }
    usize::try_from(count).unwrap_or(1)
}

/// A server that hangs must leave time for the next one.
fn deadline(
    at: &At<file::Source>,
    table: &file::LdapSource,
    servers: usize,
    reader: &mut Reader<'_>,
) {
    let timeout = table.timeout.or(TIMEOUT);
    let cache = at.value.common.cache.value();
    let usual = ::directory::CacheSettings::default().deadline;
    let deadline = cache.map_or(usual, |cache| cache.deadline.or(usual));
    let whole = timeout.saturating_mul(u32::try_from(servers.max(1)).unwrap_or(u32::MAX));
    let span = table.timeout.given().map_or(&at.span, |given| &given.span);
    if timeout.is_zero() {
        reader.note(Mistake::error(span, "nobody can answer in no time"));
    } else if whole > deadline {
        let title = format!(
            "if every server but the last hangs, there is no time left to ask that one: {whole:?} \
             are needed, and the deadline of an answer is {deadline:?}"
        );
        let help = "shorten `timeout`, or lengthen `deadline` in [directory.cache]";
        reader.note(Mistake::warning(span, title).help(help));
    }
}
