//! An account as it was asked for, piece by piece, and as it can be reached.
//!
//! Nothing here speaks to a server or reads a password.

use std::{fmt, path::PathBuf};

use model::{HostPort, Secret, UserName};
use transport::tls::{LEGACY, Verify};

use super::{Location, Preset, Provider, Scheme, SecretSource};

/// What was said of an account. Each piece may be missing.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Where it is.
    pub location: Option<Location>,
    /// Whose it is, where the location does not say so.
    pub user: Option<UserName>,
    /// Who logs in for the user, with a password of his own (SASL authorization).
    pub admin: Option<UserName>,
    /// By what one logs in.
    pub credential: Option<Credential>,
    /// A command that speaks IMAP over its standard input and output, logged in already.
    pub tunnel: Option<String>,
    /// PEM file of the authorities that are believed.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of certificates that are believed.
    pub pins: Vec<[u8; 32]>,
    /// Whether old TLS will do.
    pub tls_legacy: Option<bool>,
    /// Whether clear text will do where the server offers no TLS.
    pub clear_text: Option<bool>,
    /// What kind of provider it is.
    pub provider: Option<Provider>,
}

/// Which of the two accounts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Where the mail is.
    From,
    /// Where it goes to.
    To,
}

/// How pieces are called where they were asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelled {
    /// `from_password_file`, in a list.
    Key,
    /// `--from-password-file`, on the command line.
    Option,
}

/// By what one logs in.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A password.
    Password(SecretSource),
    /// An OAuth 2.0 access token. It is read anew for each connection: it may have run out.
    Token(SecretSource),
}

/// An account that can be reached.
#[derive(Clone, Debug)]
pub struct Account {
    /// By which way.
    pub way: Way,
    /// What its provider allows.
    pub preset: Preset,
}

/// How an account is reached.
#[derive(Clone, Debug)]
pub enum Way {
    /// By a server.
    Server(Box<Server>),
    /// By a command that speaks IMAP over its standard input and output, logged in already.
    Tunnel {
        /// What the shell is given.
        command: String,
        /// Whose account it is, where that was said.
        user: Option<UserName>,
    },
}

/// A server, and how to get in.
#[derive(Clone, Debug)]
pub struct Server {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where it is.
    pub at: HostPort,
    /// Whose account it is.
    pub user: UserName,
    /// Who logs in for him, with a secret of his own.
    pub admin: Option<UserName>,
    /// By what one logs in.
    pub credential: Credential,
    /// Whose certificate is believed.
    pub verify: Verify,
    /// Whether old TLS will do.
    pub tls_legacy: bool,
    /// Whether clear text will do where the server offers no TLS.
    pub clear_text: bool,
}

impl Asked {
    /// Takes in one piece, named as in a file of jobs without `from_` or `to_`; the location's name is empty.
    ///
    /// # Errors
    /// What is wrong with it, without the value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let told = |error: &dyn fmt::Display| error.to_string();
        let secret = || Secret::new(value).map(SecretSource::Given).map_err(|error| told(&error));
        match key {
            "" => self.location = Some(value.parse().map_err(|error| told(&error))?),
            "user" => self.user = Some(UserName::new(value).map_err(|error| told(&error))?),
            "admin" => self.admin = Some(UserName::new(value).map_err(|error| told(&error))?),
            "password" => return self.password(secret()?),
            "password_command" => return self.password(SecretSource::Command(value.into())),
            "password_env" => return self.password(SecretSource::Environment(value.into())),
            "password_file" => return self.password(SecretSource::File(value.into())),
            "token_command" => return self.token(SecretSource::Command(value.into())),
            "token_env" => return self.token(SecretSource::Environment(value.into())),
            "token_file" => return self.token(SecretSource::File(value.into())),
            "tunnel" => self.tunnel = Some(value.to_owned()),
            "ca_file" => self.ca_file = Some(value.into()),
            "pin_sha256" => self.pins.push(pin(value)?),
            "tls_legacy" => self.tls_legacy = Some(truth(value)?),
            "allow_clear_text" => self.clear_text = Some(truth(value)?),
            "provider" => self.provider = Some(value.parse().map_err(|error| told(&error))?),
            _ => return Err("there is no such key".to_owned()),
        }
        Ok(())
    }

    fn password(&mut self, source: SecretSource) -> Result<(), String> {
        self.credential(Credential::Password(source))
    }

    fn token(&mut self, source: SecretSource) -> Result<(), String> {
        self.credential(Credential::Token(source))
    }

    fn credential(&mut self, credential: Credential) -> Result<(), String> {
        match self.credential.replace(credential) {
            None => Ok(()),
            Some(_) => Err("a password or token was said already".to_owned()),
        }
    }

    /// These pieces, and those of `base` where one is missing here. What belongs together goes together: where
    /// a location is said here, `base` says nothing of how to reach another.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        let elsewhere = self.location.is_some() || self.tunnel.is_some();
        let tunnel = if elsewhere { self.tunnel } else { base.tunnel.clone() };
        let named = self.location.as_ref().is_some_and(|location| location.user.is_some());
        Self {
            location: self.location.or_else(|| base.location.clone()),
            user: if named { self.user } else { self.user.or_else(|| base.user.clone()) },
            admin: self.admin.or_else(|| base.admin.clone()),
            credential: self.credential.or_else(|| base.credential.clone()),
            tunnel,
            ca_file: self.ca_file.or_else(|| base.ca_file.clone()),
            pins: if self.pins.is_empty() { base.pins.clone() } else { self.pins },
            tls_legacy: self.tls_legacy.or(base.tls_legacy),
            clear_text: self.clear_text.or(base.clear_text),
            provider: self.provider.or(base.provider),
        }
    }

    /// The account, if enough was said and nothing contradicts.
    ///
    /// # Errors
    /// What is missing or contradicts, in the words of the command line or of a list.
    pub fn account(&self, side: Side, spelled: Spelled) -> Result<Account, String> {
        let key = |name: &str| spelled.key(side, name);
        let preset = self.provider.map(Provider::preset).unwrap_or_default();
        let user = self.whose(&key)?;
        if let Some(command) = &self.tunnel {
            if self.credential.is_some() || self.admin.is_some() {
                let tunnel = key("tunnel");
                return Err(format!(
                    "behind {tunnel} the server is logged in already: leave the password out"
                ));
            }
            let way = Way::Tunnel { command: command.clone(), user };
            return Ok(Account { way, preset });
        }
        let known = || Some((Scheme::Imaps, preset.host?.parse().ok()?));
        let place = self.location.as_ref().map(|place| (place.scheme, place.at.clone()));
        let Some((scheme, at)) = place.or_else(known) else {
            let what = key("");
            return Err(format!(
                "{what} is missing: {}",
                spelled.value(&what, "imaps://USER@HOST")
            ));
        };
        let Some(user) = user else {
            let (place, user) = (key(""), key("user"));
            return Err(format!("{place} names no user: write imaps://USER@HOST, or give {user}"));
        };
        let Some(credential) = self.credential.clone() else {
            let (file, variable) = (key("password-file"), key("password-env"));
            let command = key("password-command");
            return Err(format!(
                "there is no password for {side}: give {file}, {variable} or {command}"
            ));
        };
        if self.admin.is_some() && matches!(credential, Credential::Token(_)) {
            let admin = key("admin");
            return Err(format!("{admin} goes with a password alone, not with a token"));
        }
        let server = Server {
            scheme,
            at,
            user,
            admin: self.admin.clone(),
            credential,
            verify: self.verify(&key)?,
            tls_legacy: self.legacy(&key)?,
            clear_text: self.clear_text.unwrap_or(false) && scheme == Scheme::Imap,
        };
        Ok(Account { way: Way::Server(Box::new(server)), preset })
    }

    fn whose(&self, key: &impl Fn(&str) -> String) -> Result<Option<UserName>, String> {
        let located = self.location.as_ref().and_then(|location| location.user.as_ref());
        match (located, &self.user) {
            (Some(one), Some(two)) if one != two => {
                let (place, user) = (key(""), key("user"));
                Err(format!("{place} and {user} name different users: leave one out"))
            }
            (one, two) => Ok(one.or(two.as_ref()).cloned()),
        }
    }

    fn verify(&self, key: &impl Fn(&str) -> String) -> Result<Verify, String> {
        match (&self.ca_file, self.pins.as_slice()) {
            (file, []) => Ok(Verify::Roots { file: file.clone() }),
            (None, pins) => Ok(Verify::Pins(pins.to_vec())),
            (Some(_), _) => {
                let (file, pin) = (key("ca-file"), key("pin-sha256"));
                Err(format!("{file} and {pin} contradict: a pinned certificate needs no authority"))
            }
        }
    }

    fn legacy(&self, key: &impl Fn(&str) -> String) -> Result<bool, String> {
        let wanted = self.tls_legacy.unwrap_or(false);
        if wanted && !LEGACY {
            let wanted = key("tls-legacy");
            return Err(format!(
                "{wanted}: this program was built without old TLS: build it with `cargo build \
                 --release -p posthouse --features legacy-tls`"
            ));
        }
        Ok(wanted)
    }
}

impl Side {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Spelled {
    /// A piece under its full name.
    fn key(self, side: Side, name: &str) -> String {
        let word = side.word();
        match (self, name) {
            (Self::Key, "") => word.to_owned(),
            (Self::Key, name) => format!("{word}_{}", name.replace('-', "_")),
            (Self::Option, "") => format!("--{word}"),
            (Self::Option, name) => format!("--{word}-{name}"),
        }
    }

    fn value(self, key: &str, value: &str) -> String {
        match self {
            Self::Key => format!("{key} = \"{value}\""),
            Self::Option => format!("{key} {value}"),
        }
    }
}

impl Account {
    /// Its server; none for a tunnel.
    pub fn server(&self) -> Option<&Server> {
        match &self.way {
            Way::Server(server) => Some(server),
            Way::Tunnel { .. } => None,
        }
    }
}

impl Server {
    /// The port: the one that was said, or the scheme's.
    pub fn port(&self) -> u16 {
        self.at.port.unwrap_or_else(|| self.scheme.port())
    }
}

/// Whose account it is and where, without a secret: by this it is remembered.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Server(server) => {
                let Server { scheme, at, user, .. } = &**server;
                Location { scheme: *scheme, user: Some(user.clone()), at: at.clone() }.fmt(f)
            }
            Way::Tunnel { command, user: None } => write!(f, "tunnel:{command}"),
            Way::Tunnel { command, user: Some(user) } => write!(f, "tunnel:{user}@{command}"),
        }
    }
}

fn truth(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "it is either true or false".to_owned())
}

/// 64 hexadecimal digits; colons between them as `openssl x509 -fingerprint` prints them.
fn pin(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "it is not a SHA-256: 64 hexadecimal digits, with or without colons".to_owned();
    let digits: Option<Vec<u32>> =
        text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect();
    let bytes: Vec<u8> = (digits.ok_or_else(wrong)?.chunks(2))
        .filter_map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect();
    bytes.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pieces: &[(&str, &str)]) -> Asked {
        let mut asked = Asked::default();
        for (key, value) in pieces {
            asked.set(key, value).unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        asked
    }

    fn shown(pieces: &[(&str, &str)]) -> String {
        asked(pieces).account(Side::From, Spelled::Option).unwrap().to_string()
    }

    #[test]
    fn an_account_is_made_of_its_pieces_and_shown_without_its_password() {
        let password = ("password", "hunter2");
        assert_eq!(shown(&[("", "imaps://ann@old.test"), password]), "imaps://ann@old.test");
        assert_eq!(
            shown(&[("", "imap://old.test"), ("user", "ann@a.test"), password]),
            "imap://ann@a.test@old.test"
        );
        let gmail = [("provider", "gmail"), ("user", "ann@gmail.com"), ("token_file", "t")];
        assert_eq!(shown(&gmail), "imaps://ann@gmail.com@imap.gmail.com");
        assert_eq!(shown(&[("tunnel", "ssh old imapd")]), "tunnel:ssh old imapd");
        let all = format!("{:?}", asked(&[("", "imaps://ann@old.test"), password]));
        assert!(!all.contains("hunter2"), "{all}");
    }

    #[test]
    fn what_is_missing_or_contradicts_is_told_with_what_to_do() {
        let place = ("", "imaps://ann@old.test");
        let password = ("password", "hunter2");
        let pin = "aa".repeat(32);
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[], "from is missing: from = \"imaps://USER@HOST\""),
            (&[("", "imaps://old.test"), password], "from_user"),
            (&[place], "from_password_file"),
            (&[place, ("user", "bob"), password], "different users"),
            (&[("tunnel", "imapd"), password], "leave the password out"),
            (&[place, password, ("ca_file", "x"), ("pin_sha256", &pin)], "contradict"),
            (&[("user", "ann"), ("provider", "exchange"), password], "from is missing"),
        ];
        for (pieces, told) in cases {
            let error = asked(pieces).account(Side::From, Spelled::Key).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        if !LEGACY {
            let error = asked(&[place, password, ("tls_legacy", "true")])
                .account(Side::To, Spelled::Option)
                .unwrap_err();
            assert!(error.contains("--features legacy-tls"), "{error}");
        }
    }

    #[test]
    fn a_wrong_piece_is_refused_without_repeating_it() {
        let cases = [
            ("", "imaps://ann:hunter2@old.test", "file"),
            ("pin_sha256", "hunter2", "64 hexadecimal digits"),
            ("pin_sha256", "aabb", "64 hexadecimal digits"),
            ("tls_legacy", "hunter2", "true or false"),
            ("provider", "hunter2", "gmail"),
            ("pasword", "hunter2", "no such key"),
            ("password", "hunter2\0", "NUL"),
        ];
        for (key, value, told) in cases {
            let error = Asked::default().set(key, value).unwrap_err();
            assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
        }
        let mut twice = asked(&[("password_file", "a")]);
        assert!(twice.set("token_env", "b").unwrap_err().contains("already"));
    }

    #[test]
    fn a_row_stands_above_the_command_line_and_a_place_of_its_own_above_its_tunnel() {
        let base = asked(&[("", "imaps://old.test"), ("password_file", "f"), ("user", "all")]);
        let row = asked(&[("user", "ann"), ("password", "hunter2")]).over(&base);
        let account = row.account(Side::From, Spelled::Option).unwrap();
        assert_eq!(account.to_string(), "imaps://ann@old.test");
        let credential = &account.server().unwrap().credential;
        assert!(matches!(credential, Credential::Password(SecretSource::Given(_))));
        let named = asked(&[("", "imaps://bob@other.test")]).over(&base);
        assert_eq!(
            named.account(Side::From, Spelled::Option).unwrap().to_string(),
            "imaps://bob@other.test"
        );
        let tunnelled = asked(&[("tunnel", "imapd")]);
        let server = asked(&[("", "imaps://ann@old.test"), ("password", "x")]).over(&tunnelled);
        assert_eq!(
            server.account(Side::From, Spelled::Option).unwrap().to_string(),
            "imaps://ann@old.test"
        );
    }
}
