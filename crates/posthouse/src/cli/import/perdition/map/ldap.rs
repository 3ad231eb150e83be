//! Perdition's map in LDAP as a source.
//!
//! Nothing here asks a server.

use super::or;
use crate::cli::import::{Draft, Place, Unusable, draft::Table};

/// What it asks where nothing is set.
const USUAL: &str = "ldap://localhost/ou=mailbox,dc=nodomain?username,mailhost,port?one?(uid=%s)";

/// Where the password is to be put: what is printed here may be read by others.
const PASSWORD_FILE: &str = "/etc/posthouse/map.password";

/// An LDAP URL (RFC 4516), taken apart.
struct Url<'u> {
    private: bool,
    server: &'u str,
    dn: String,
    attributes: Vec<String>,
    scope: &'u str,
    filter: String,
    /// As whom to search, and whether there is a password for it.
    bind: Option<(String, bool)>,
}

/// The source that asks the same of the same servers. `user_counts` is whether the name that the map says counts.
pub(super) fn source(
    option: &str,
    has_keys: bool,
    user_counts: bool,
    draft: &mut Draft,
    at: &Place,
) -> Result<Table, Unusable> {
    let option = or(option, USUAL);
    // A version of the protocol may stand before it.
    let urls = match option.split_once(':') {
        Some((version, rest)) if version.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => option,
    };
    let urls: Option<Vec<_>> = urls.split_ascii_whitespace().map(taken_apart).collect();
    let urls = urls.ok_or_else(|| at.unusable("map_library_opt: this is no LDAP URL"))?;
    let Some(first) = urls.first() else {
        return Err(at.unusable("map_library_opt: there is no LDAP URL"));
    };
    if urls.iter().any(|other| !first.asks_the_same(other)) {
        let said = "map_library_opt: the URLs ask for different things, and the first one's is taken: add a [[directory]] \
                    for each of the others";
        draft.remark(at, said);
    }
    let mut source = Table::new("[[directory]]");
    source.text("source", "ldap");
    let alike: Vec<_> = urls.iter().filter(|other| first.asks_the_same(other)).collect();
    let servers: Vec<_> = alike.iter().map(|url| url.server).collect();
    source.texts("address", &servers);
    if !first.private {
        source.comment(
            "As Perdition: in clear. Better tls = \"starttls\", or leave it out for LDAPS.",
        );
        source.text("tls", "none");
    }
    if let Some((dn, has_password)) = &first.bind {
        source.text("bind_dn", dn);
        if *has_password {
            source.comment(
                "Write the password of map_library_opt (X-BINDPW) into this file, for posthouse alone to read.",
            );
        }
        source.text("password_file", PASSWORD_FILE);
    }
    let placeholder = if has_keys { "{key}" } else { "{user}" };
    source.text("base", &with_name(&first.dn, placeholder));
    source.text("scope", first.scope);
    source.text("filter", &with_name(&first.filter, placeholder));
    attributes(&mut source, first, user_counts);
    if [&first.dn, &first.filter].into_iter().any(|text| is_padded(text)) {
        let said = "map_library_opt: a name is never filled up with spaces here, as %Ns did";
        draft.remark(at, said);
    }
    let said = "map_library_opt: an answer is remembered for five minutes ([directory.cache]), and a user's name is \
                escaped in what is asked; entries that say different things of one user are a mistake, where Perdition \
                took the first";
    draft.remark(at, said);
    Ok(source)
}

/// They are told by their places: the name there, the host, the port. One alone is `user@host:port`.
fn attributes(source: &mut Table, url: &Url<'_>, user_counts: bool) {
    let names: Vec<&str> = url.attributes.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => drop(source.text("attributes.host", "mailhost")),
        [one] => drop(source.text("attributes.backend", one)),
        [user, host, rest @ ..] => {
            if user_counts {
                source.text("attributes.user", user);
            }
            source.text("attributes.host", host);
            if let Some(port) = rest.first() {
                source.text("attributes.port", port);
            }
        }
    }
}

impl Url<'_> {
    fn asks_the_same(&self, other: &Self) -> bool {
        self.private == other.private
            && self.dn == other.dn
            && self.attributes == other.attributes
            && self.scope == other.scope
            && self.filter == other.filter
            && self.bind == other.bind
    }
}

fn taken_apart(text: &str) -> Option<Url<'_>> {
    let (private, rest) = match (text.strip_prefix("ldap://"), text.strip_prefix("ldaps://")) {
        (Some(rest), _) => (false, rest),
        (None, rest) => (true, rest?),
    };
    let (server, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let mut parts = rest.splitn(5, '?');
    let mut part = || parts.next().unwrap_or_default();
    let (dn, attributes, scope, filter, extensions) = (part(), part(), part(), part(), part());
    let scope = match scope {
        "" | "base" => "base",
        "one" => "one",
        "sub" => "subtree",
        _ => return None,
    };
    let attributes = attributes.split(',').filter(|name| !name.is_empty()).map(plain);
    let (mut dn_of_ours, mut has_password) = (None, false);
    for extension in extensions.split(',') {
        let extension = extension.strip_prefix('!').unwrap_or(extension);
        match extension.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("BINDNAME") => {
                dn_of_ours = Some(plain(value));
            }
            Some((name, _)) if name.eq_ignore_ascii_case("X-BINDPW") => has_password = true,
            _ => {}
        }
    }
    Some(Url {
        private,
        server: if server.is_empty() { "localhost" } else { server },
        dn: plain(dn),
        attributes: attributes.collect(),
        scope,
        filter: if filter.is_empty() { "(objectClass=*)".to_owned() } else { plain(filter) },
        bind: dn_of_ours.map(|dn| (dn, has_password)),
    })
}

/// Takes back the escapes of a URL; `%s` and `%10s` are none, and stay.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        let digits = behind.split_first_chunk::<2>().filter(|_| *byte == b'%');
        let value = digits
            .and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let is_padding = name_here(rest).is_some();
        match (value, digits) {
            (Some(value), Some((_, behind))) if !is_padding => {
                bytes.push(value);
                rest = behind;
            }
            _ => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How long `%s` or `%Ns` is, if it stands at the beginning.
fn name_here(text: &[u8]) -> Option<usize> {
    let behind = text.strip_prefix(b"%")?;
    let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (behind.get(digits) == Some(&b's')).then_some(digits + 2)
}

fn is_padded(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|at| bytes.get(at..).and_then(name_here).is_some_and(|length| length > 2))
}

/// A text of ours, with the placeholder where the user's name stood.
fn with_name(text: &str, placeholder: &str) -> String {
    let mut ours = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match name_here(rest.as_bytes()) {
            Some(length) => {
                ours.push_str(placeholder);
                length
            }
            None => {
                ours.push(c);
                if matches!(c, '{' | '}') {
                    ours.push(c);
                }
                c.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    ours
}
