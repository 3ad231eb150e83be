//! The shape of `source = "ldap"`.

use std::{path::PathBuf, time::Duration};

use ::directory::{LdapFilter, Template};
use model::{HostPort, Secret};
use toml::{Spanned, de::DeValue};

use super::{TlsMode, words};
use crate::config::read::{Field, Keyed, Listed, Read, Reader, table};

table! {
    /// A directory behind LDAP.
    LdapSource, "source = \"ldap\"" {
        /// One server or several, tried in turn.
        "address" = addresses: Listed<HostPort>,
        "tls" = tls: TlsMode,
        /// Whether the certificate is verified.
        "tls_verify" = tls_verify: bool,
        /// Authorities to trust in place of the system's.
        "ca_file" = ca_file: PathBuf,
        /// Our own certificate, with `key`.
        "certificate" = certificate: PathBuf,
        "key" = key: PathBuf,
        /// As whom users are looked for.
        "bind_dn" = bind_dn: String,
        "password" = password: Secret,
        "password_file" = password_file: PathBuf,
        /// Whether we are whom our certificate says.
        "external" = external: bool,
        /// Where users are searched for.
        "base" = base: Template,
        "scope" = scope: LdapScopeWord,
        "filter" = filter: LdapFilter,
        /// A user's entry, in place of a search.
        "dn" = dn: Template,
        /// Whether passwords are tried by a bind.
        "bind" = bind: bool,
        "attributes" = attributes: LdapAttributes,
        "ignore_referrals" = ignore_referrals: bool,
        "connections" = connections: u32,
        /// How long one server may take.
        "timeout" = timeout: Duration,
        /// How long a connection is used.
        "max_age" = max_age: Duration,
    }
}

table! {
    /// Which attributes say what.
    LdapAttributes, "attributes" {
        "backend" = backend: String,
        "host" = host: String,
        "port" = port: String,
        "user" = user: String,
        "password" = password: String,
        "password_hash" = password_hash: String,
        "id" = id: String,
        "disabled" = disabled: String,
    }
}

words! {
    /// How far below the base a search goes.
    LdapScopeWord, "how far a search goes" {
        "base" = Base,
        "one" = One,
        "subtree" = Subtree,
    }
}

impl Read for LdapFilter {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.parsed(value, "a filter", str::parse)
    }
}
