//! What is asked about a user, and the texts made of it: keys, filters, headers.
//!
//! Nothing here asks anybody. Every value is put into a text through the escape of that text's language,
//! so that no name can say more than a name.

use std::{borrow::Cow, net::IpAddr, str::FromStr, sync::Arc};

use model::{CanonicalUser, Protocol};

/// What a client's login, or an operator, asks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Query {
    /// Who; made by [`crate::Directory::canonical`].
    pub user: CanonicalUser,
    /// The protocol he came by.
    pub protocol: Protocol,
    /// The client's address; none where nobody connected, as when an operator asks.
    pub client_ip: Option<IpAddr>,
    /// The address that the client connected to.
    pub server_ip: Option<IpAddr>,
    /// The name that the client asked for by TLS (SNI).
    pub server_name: Option<Arc<str>>,
    /// Whether he came by TLS.
    pub tls: bool,
}

impl Query {
    /// A question that nobody's connection stands behind.
    pub fn without_client(user: CanonicalUser, protocol: Protocol) -> Self {
        Self { user, protocol, client_ip: None, server_ip: None, server_name: None, tls: false }
    }

    /// The value of a placeholder; empty where there is none. `key` is the key that is being tried.
    pub(crate) fn value<'q>(&'q self, placeholder: Placeholder, key: &'q str) -> Cow<'q, str> {
        let address = |ip: Option<IpAddr>| ip.map_or(Cow::Borrowed(""), |ip| ip.to_string().into());
        let user = self.user.as_str();
        match placeholder {
            Placeholder::User => user.into(),
            Placeholder::Local => user.rsplit_once('@').map_or(user, |(local, _)| local).into(),
            Placeholder::Domain => user.rsplit_once('@').map_or("", |(_, domain)| domain).into(),
            Placeholder::Key => key.into(),
            Placeholder::Protocol => self.protocol.word().into(),
            Placeholder::ClientIp => address(self.client_ip),
            Placeholder::ServerIp => address(self.server_ip),
            Placeholder::ServerName => self.server_name.as_deref().unwrap_or_default().into(),
            Placeholder::Tls => if self.tls { "on" } else { "" }.into(),
        }
    }
}

/// A part of a question that a text can name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Placeholder {
    /// The canonical name.
    User,
    /// What stands before its last `@`; all of it where there is none.
    Local,
    /// What stands behind its last `@`; nothing where there is none.
    Domain,
    /// The key that is being tried: of the source's `keys`, each in turn.
    Key,
    /// `imap` or `pop3`.
    Protocol,
    /// The client's address.
    ClientIp,
    /// The address that the client connected to.
    ServerIp,
    /// The name that the client asked for by TLS.
    ServerName,
    /// `on` if the client came by TLS; nothing if not.
    Tls,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::User,
        Self::Local,
        Self::Domain,
        Self::Key,
        Self::Protocol,
        Self::ClientIp,
        Self::ServerIp,
        Self::ServerName,
        Self::Tls,
    ];

    /// Its name in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Local => "local",
            Self::Domain => "domain",
            Self::Key => "key",
            Self::Protocol => "protocol",
            Self::ClientIp => "client_ip",
            Self::ServerIp => "server_ip",
            Self::ServerName => "server_name",
            Self::Tls => "tls",
        }
    }

    /// The placeholder of a name.
    ///
    /// # Errors
    /// [`InvalidTemplate::Unknown`] if there is none.
    pub fn named(name: &str) -> Result<Self, InvalidTemplate> {
        let known = Self::ALL.into_iter().find(|placeholder| placeholder.word() == name);
        known.ok_or_else(|| InvalidTemplate::Unknown(name.escape_debug().to_string()))
    }
}

/// Which placeholders a source uses: its answers depend on these, beside the key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DependsOn(u16);

impl DependsOn {
    /// Whether a placeholder is among them.
    pub fn contains(self, placeholder: Placeholder) -> bool {
        self.0 & Self::bit(placeholder) != 0
    }

    fn bit(placeholder: Placeholder) -> u16 {
        1 << (placeholder as u16)
    }

    /// Only what the answers depend on, so that equal questions are one.
    pub(crate) fn reduce(self, query: &Query) -> Query {
        let keep = |placeholder| self.contains(placeholder);
        Query {
            user: query.user.clone(),
            // A protocol has no value that means "any"; all sources may turn a place into its port.
            protocol: query.protocol,
            client_ip: query.client_ip.filter(|_| keep(Placeholder::ClientIp)),
            server_ip: query.server_ip.filter(|_| keep(Placeholder::ServerIp)),
            server_name: query.server_name.clone().filter(|_| keep(Placeholder::ServerName)),
            tls: query.tls && keep(Placeholder::Tls),
        }
    }
}

impl FromIterator<Placeholder> for DependsOn {
    fn from_iter<I: IntoIterator<Item = Placeholder>>(placeholders: I) -> Self {
        Self(placeholders.into_iter().fold(0, |set, placeholder| set | Self::bit(placeholder)))
    }
}

/// A text with placeholders in braces, as `{local}@{server_name}`; `{{` and `}}` are braces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

/// Why a text is no template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A brace has no partner.
    #[error("a brace has no partner; a brace itself is written twice")]
    Brace,
    /// There is no such placeholder.
    #[error(
        "`{0}` is no placeholder; there are user, local, domain, key, protocol, client_ip, server_ip, \
         server_name and tls"
    )]
    Unknown(String),
}

impl Template {
    /// The text for a question. `escape` makes a value harmless in the text's language.
    pub(crate) fn render(
        &self,
        query: &Query,
        key: &str,
        escape: impl Fn(&str) -> String,
    ) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Value(placeholder) => {
                    text.push_str(&escape(&query.value(*placeholder, key)));
                }
            }
        }
        text
    }

    /// The text with the same value for all placeholders, to see whether it is well-formed then.
    pub(crate) fn filled_with(&self, value: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(fixed) => fixed.clone(),
            Piece::Value(_) => value.to_owned(),
        };
        self.0.iter().map(piece).collect()
    }

    /// Of a list with commas, the last members that are the same for all questions; none if the last one is not.
    pub(crate) fn fixed_end(&self) -> Option<&str> {
        let Some(Piece::Text(text)) = self.0.last() else { return None };
        if self.0.len() == 1 {
            return Some(text);
        }
        let end = text.split_once(',').map(|(_, end)| end.trim_start());
        end.filter(|end| !end.is_empty())
    }

    /// The placeholders in it.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(placeholder) => Some(*placeholder),
        })
    }
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            fixed.push_str(before);
            if let Some(behind) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                fixed.extend(from.chars().next());
                rest = behind;
                continue;
            }
            let inside = from.strip_prefix('{').ok_or(InvalidTemplate::Brace)?;
            let (name, behind) = inside.split_once('}').ok_or(InvalidTemplate::Brace)?;
            if !fixed.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut fixed)));
            }
            pieces.push(Piece::Value(Placeholder::named(name)?));
            rest = behind;
        }
        fixed.push_str(rest);
        if !fixed.is_empty() {
            pieces.push(Piece::Text(fixed));
        }
        Ok(Self(pieces))
    }
}

/// The keys under which a source is asked for a user, each in turn until it knows one; Perdition's
/// `query_key`. By default the canonical name alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keys(pub Vec<Template>);

impl Keys {
    /// The keys for a question, in order, each once. A key that comes out empty, as `{domain}` of a name
    /// without one, is left out.
    pub(crate) fn of(&self, query: &Query) -> Vec<String> {
        if self.0.is_empty() {
            return vec![query.user.as_str().to_owned()];
        }
        let mut keys: Vec<String> = Vec::with_capacity(self.0.len());
        for template in &self.0 {
            let key = template.render(query, query.user.as_str(), str::to_owned);
            if !key.is_empty() && !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use model::UserName;

    use super::*;

    fn query(user: &str) -> Query {
        Query {
            user: CanonicalUser::declare(UserName::new(user).unwrap()),
            protocol: Protocol::Imap,
            client_ip: Some("192.0.2.1".parse().unwrap()),
            server_ip: None,
            server_name: Some("mail.example.org".into()),
            tls: true,
        }
    }

    fn rendered(template: &str, user: &str) -> String {
        let template: Template = template.parse().unwrap();
        template.render(&query(user), "the key", |value| value.replace('*', "\\2a"))
    }

    #[test]
    fn a_template_names_the_parts_of_a_question() {
        let all =
            "{user} {local} {domain} {key} {protocol} {client_ip} {server_ip} {server_name} {tls}";
        let expected = "a@b@c a@b c the key imap 192.0.2.1  mail.example.org on";
        assert_eq!(rendered(all, "a@b@c"), expected);
        assert_eq!(rendered("{local}|{domain}", "alice"), "alice|");
        assert_eq!(rendered("{{{user}}} }}{{", "alice"), "{alice} }{");
    }

    #[test]
    fn only_values_are_escaped() {
        assert_eq!(rendered("(*={user})", "a*b"), "(*=a\\2ab)");
    }

    #[test]
    fn the_end_of_a_list_is_what_is_the_same_for_all() {
        let end = |text: &str| text.parse::<Template>().unwrap().fixed_end().map(str::to_owned);
        assert_eq!(end("uid={user},ou=people, o=x").as_deref(), Some("ou=people, o=x"));
        assert_eq!(end("ou={domain}.mail,o=x").as_deref(), Some("o=x"));
        assert_eq!(end("o=x").as_deref(), Some("o=x"));
        assert_eq!(end("o={domain}"), None);
        assert_eq!(end("o={domain}.x"), None);
    }

    #[test]
    fn a_wrong_template_says_what_is_wrong() {
        for bad in ["{", "}", "{user", "a}b", "{user}}"] {
            assert_eq!(bad.parse::<Template>(), Err(InvalidTemplate::Brace), "{bad}");
        }
        let unknown = "{usr}".parse::<Template>().unwrap_err().to_string();
        assert!(unknown.contains("`usr`") && unknown.contains("client_ip"), "{unknown}");
    }

    #[test]
    fn keys_are_tried_in_order_and_empty_ones_are_not() {
        let keys = |texts: &[&str]| Keys(texts.iter().map(|text| text.parse().unwrap()).collect());
        let composite = keys(&["{user}", "{domain}", "{user}", "*"]);
        assert_eq!(composite.of(&query("a@b")), ["a@b", "b", "*"]);
        assert_eq!(composite.of(&query("a")), ["a", "*"]);
        assert_eq!(Keys::default().of(&query("a@b")), ["a@b"]);
    }

    #[test]
    fn a_reduced_question_holds_nothing_that_does_not_matter() {
        let depends: DependsOn = [Placeholder::ServerName, Placeholder::User].into_iter().collect();
        let reduced = depends.reduce(&query("a"));
        assert_eq!(reduced.client_ip, None);
        assert_eq!(reduced.server_name.as_deref(), Some("mail.example.org"));
    }
}
