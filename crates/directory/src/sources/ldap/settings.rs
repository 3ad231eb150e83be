//! What is set for a source that is asked by LDAP.
//!
//! Nothing here connects. A filter that is no filter cannot be made.

use std::{fmt, str::FromStr, time::Duration};

use model::{HostPort, Secret};
use transport::tls::{CertificateFiles, Verify};

use super::escape::escaped;
use crate::{InvalidTemplate, Placeholder, Query, Template};

/// How users are looked for by LDAP (RFC 4511).
#[derive(Clone, Debug)]
pub struct LdapSettings {
    /// The servers, in the order in which they are tried. They hold the same.
    pub servers: Vec<HostPort>,
    /// When TLS begins.
    pub tls: LdapTls,
    /// How a server's certificate is judged.
    pub certificate: Verify,
    /// Our own certificate, for servers that ask for one.
    pub own_certificate: Option<CertificateFiles>,
    /// As whom users are looked for.
    pub login: LdapLogin,
    /// Where users are.
    pub users: LdapUsers,
    /// Whether a password is right is asked by a bind with it.
    pub bind: bool,
    /// The attributes that say something of a user: our word, and the attribute's name.
    pub attributes: Vec<(LdapField, String)>,
    /// Whether what a search says of further servers is left out; else it makes a search that finds nobody one
    /// that cannot say.
    pub ignore_referrals: bool,
    /// Connections to each server for searches at a time, and as many for users' binds.
    pub connections: usize,
    /// How long one server may take: to be connected to and bound to, and for each operation.
    pub timeout: Duration,
    /// How long a connection is used.
    pub max_age: Duration,
}

impl LdapSettings {
    /// Whether an attribute holds this.
    pub fn reads(&self, wanted: LdapField) -> bool {
        self.attributes.iter().any(|(field, _)| *field == wanted)
    }
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LdapTls {
    /// With the connection; port 636 unless set otherwise.
    Implicit,
    /// Never; port 389 unless set otherwise.
    None,
    /// After the `StartTLS` operation (RFC 4511 section 4.14); port 389 unless set otherwise.
    StartTls,
}

impl LdapTls {
    /// The port where none is given.
    pub fn port(self) -> u16 {
        match self {
            Self::Implicit => 636,
            Self::None | Self::StartTls => 389,
        }
    }
}

/// As whom we look for users.
#[derive(Clone, Debug)]
pub enum LdapLogin {
    /// As nobody.
    Anonymous,
    /// As whom our certificate says (SASL EXTERNAL, RFC 4422 appendix A).
    External,
    /// By a name and a password.
    Simple {
        /// The distinguished name.
        dn: String,
        /// The password.
        password: Secret,
    },
}

/// Where users are.
#[derive(Clone, Debug)]
pub enum LdapUsers {
    /// They are searched for.
    Searched {
        /// Below this entry; what is put into it is escaped (RFC 4514).
        base: Template,
        /// How far below.
        scope: LdapScope,
        /// By this.
        filter: LdapFilter,
    },
    /// A user's entry has this name; what is put into it is escaped (RFC 4514).
    Named(Template),
}

impl LdapUsers {
    /// What they are found by.
    pub(super) fn placeholders(&self) -> Vec<Placeholder> {
        match self {
            Self::Named(dn) => dn.placeholders().collect(),
            Self::Searched { base, filter, .. } => {
                base.placeholders().chain(filter.0.placeholders()).collect()
            }
        }
    }
}

/// How far below the base a search goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LdapScope {
    /// The base itself.
    Base,
    /// What stands right below it.
    One,
    /// It and all below it.
    #[default]
    Subtree,
}

/// A word that a source says users by, whose value an attribute holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LdapField {
    /// The back end or an address; several values are candidates.
    Backend,
    /// Whether he may not log in.
    Disabled,
    /// The host, in place of `Backend`.
    Host,
    /// What stands for his mailbox; bytes that are no text are written in hexadecimal digits.
    Id,
    /// His password at the back end, as it is.
    Password,
    /// What his password is compared with here.
    PasswordHash,
    /// The port, with `Host`.
    Port,
    /// His name at the back end.
    User,
}

impl LdapField {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Disabled => "disabled",
            Self::Host => "host",
            Self::Id => "id",
            Self::Password => "password",
            Self::PasswordHash => "password_hash",
            Self::Port => "port",
            Self::User => "user",
        }
    }
}

/// A search filter (RFC 4515) with placeholders, whose values are escaped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LdapFilter(Template);

/// Why a text is no filter.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidFilter {
    /// With its placeholders filled in, it is none.
    #[error("it is none by RFC 4515: it looks like (&(objectClass=person)(uid={{local}}))")]
    Filter,
    /// Its placeholders are wrong.
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
}

impl LdapFilter {
    /// The filter for a question.
    pub(super) fn render(&self, query: &Query, key: &str) -> String {
        self.0.render(query, key, escaped)
    }

    /// The placeholders in it.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.0.placeholders()
    }
}

impl FromStr for LdapFilter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let template: Template = text.parse()?;
        // A placeholder that stands where no value can would be filled with what is no filter there.
        let filled = template.filled_with(&escaped("(*)"));
        ldap3::parse_filter(filled).map_err(|()| InvalidFilter::Filter)?;
        Ok(Self(template))
    }
}

impl fmt::Display for LdapLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::External => f.write_str("external"),
            Self::Simple { dn, .. } => f.write_str(dn),
        }
    }
}
