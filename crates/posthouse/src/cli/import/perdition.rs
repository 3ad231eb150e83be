//! Perdition's perdition.conf.
//!
//! Nothing here runs Perdition's maps; they become sources, or a hint how to import them.

mod file;
mod map;

use std::{net::IpAddr, path::Path};

use model::HostPort;

use self::file::Settings;
use super::{Draft, Place, Unusable, draft::Table, read};

/// Options without an equivalent, and what to know instead.
const WITHOUT: &[(&str, &str)] = &[
    (
        "authenticate_in",
        "there is no PAM: the back end judges passwords, or stored ones do (`verify`)",
    ),
    (
        "capability",
        "capabilities are found out by asking the back ends; `capabilities` of a listener overrides",
    ),
    (
        "client_server_specification",
        "not there, on purpose: nobody says himself which server he goes to",
    ),
    ("config_file", "this is the file"),
    (
        "connect_relog",
        "a session is logged when it ends; posthouse session list shows who is there",
    ),
    ("connection_logging", "no log holds what is said: there are passwords in it"),
    ("group", "the group is the main group of `user`"),
    ("help", "posthouse --help"),
    (
        "imap_capability",
        "capabilities are found out by asking the back ends; `capabilities` of a listener overrides",
    ),
    ("inetd_mode", "not there: Posthouse listens itself"),
    ("log_facility", "the log goes to standard error, under systemd to the journal"),
    ("log_passwd", "no log holds passwords"),
    ("login_disabled", "nobody could log in: take the listeners out instead"),
    ("managesieve_capability", "there is no ManageSieve"),
    ("no_bind_banner", "the greeting names no host"),
    ("no_daemon", "Posthouse always stays in the foreground"),
    ("no_lookup", "no client's address is ever looked up"),
    ("ok_line", "the text after a login is fixed"),
    ("pid_file", "there is none: systemd knows it"),
    (
        "pop_capability",
        "capabilities are found out by asking the back ends; `capabilities` of a listener overrides",
    ),
    (
        "ssl_ca_accept_self_signed",
        "write `pin_sha256` for a back end whose certificate signs itself",
    ),
    ("ssl_ca_path", "write the authorities into one file, for `ca_file`"),
    (
        "ssl_cert_accept_expired",
        "write `pin_sha256` for a back end whose certificate is out of date",
    ),
    ("ssl_cert_accept_not_yet_valid", "write `pin_sha256` for such a back end"),
    (
        "ssl_cert_accept_self_signed",
        "write `pin_sha256` for a back end whose certificate signs itself",
    ),
    ("ssl_cert_verify_depth", "there is no limit of its own"),
    ("ssl_dh_params_file", "not needed: keys are agreed on by elliptic curves"),
    ("ssl_listen_ciphers", "the ciphers are those of rustls"),
    ("ssl_listen_compression", "there is none"),
    ("ssl_listen_max_proto_version", "TLS 1.2 and 1.3"),
    ("ssl_listen_min_proto_version", "TLS 1.2 is the oldest for clients"),
    ("ssl_no_cipher_server_preference", "the server's preference counts"),
    ("ssl_no_client_cert_verify", "clients are asked for no certificate without `client_ca_file`"),
    ("ssl_outgoing_ciphers", "the ciphers are those of rustls"),
    ("ssl_outgoing_compression", "there is none"),
    ("ssl_outgoing_max_proto_version", "TLS 1.2 and 1.3; older with `tls_legacy`"),
    ("ssl_outgoing_min_proto_version", "TLS 1.2 is the oldest, but with `tls_legacy`"),
    ("ssl_passphrase_fd", "the key has to be without a passphrase: openssl pkey -in KEY -out NEW"),
    (
        "ssl_passphrase_file",
        "the key has to be without a passphrase: openssl pkey -in KEY -out NEW",
    ),
    ("tcp_keepalive", "always on, on both sides"),
];

/// What a Perdition speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Spoken {
    Imap4,
    Imap4s,
    Pop3,
    Pop3s,
}

impl Spoken {
    const ALL: [Self; 4] = [Self::Imap4, Self::Imap4s, Self::Pop3, Self::Pop3s];

    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "imap4" => Self::Imap4,
            "imap4s" | "imaps" => Self::Imap4s,
            "pop3" => Self::Pop3,
            "pop3s" => Self::Pop3s,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Imap4 | Self::Imap4s => "imap",
            Self::Pop3 | Self::Pop3s => "pop3",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Imap4 => 143,
            Self::Imap4s => 993,
            Self::Pop3 => 110,
            Self::Pop3s => 995,
        }
    }

    /// Whether it speaks TLS on both sides where nothing is set.
    fn is_secure(self) -> bool {
        matches!(self, Self::Imap4s | Self::Pop3s)
    }
}

/// TLS on one side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tls {
    Implicit,
    None,
    Offered,
    Required,
}

struct Import {
    settings: Settings,
    draft: Draft,
    /// The file, for what follows from what is not set.
    whole: Place,
}

pub(super) fn import(path: &Path) -> Result<Draft, Unusable> {
    let whole = Place::new(path, 0);
    let mut draft = Draft::default();
    let settings = file::settings(path, &read(path)?, &mut draft)?;
    let mut import = Import { settings, draft, whole };
    import.top();
    let spoken = import.protocols(path)?;
    let modes = import.modes(&spoken)?;
    import.log();
    import.listeners(&spoken, &modes)?;
    import.limits();
    import.backend(&spoken, &modes)?;
    import.rest();
    Ok(import.draft)
}

impl Import {
    fn top(&mut self) {
        let mut top = Table::new("");
        if let Some(user) = self.settings.take("username") {
            top.text("user", &user.value);
        }
        self.draft.push(top);
    }

    fn log(&mut self) {
        let level = [("debug", "debug"), ("quiet", "error")];
        let set = level.into_iter().filter(|(key, _)| self.settings.take(key).is_some()).last();
        if let Some((_, level)) = set {
            let mut log = Table::new("[log]");
            log.text("level", level);
            self.draft.push(log);
        }
    }

    /// What is spoken: as is set, else as the file is called, else everything.
    fn protocols(&mut self, path: &Path) -> Result<Vec<Spoken>, Unusable> {
        let sieve = "Posthouse speaks no ManageSieve";
        if let Some(set) = self.settings.take("protocol") {
            if let Some(spoken) = Spoken::named(&set.value) {
                return Ok(vec![spoken]);
            }
            let shown = set.value.escape_debug();
            return Err(set.at.unusable(match set.value.to_ascii_lowercase().as_str() {
                "managesieve" => sieve.to_owned(),
                _ => format!("protocol: there is no protocol `{shown}`"),
            }));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase());
        let called =
            name.as_deref().and_then(|name| name.strip_prefix("perdition.")?.strip_suffix(".conf"));
        if let Some(spoken) = called.and_then(Spoken::named) {
            return Ok(vec![spoken]);
        }
        if called == Some("managesieve") {
            return Err(self.whole.unusable(sieve));
        }
        let said = "protocol is not set: Perdition takes it from the name it is started by. There is a listener \
                    for each; take out those that you do not need. ManageSieve is not there";
        self.draft.remark(&self.whole, said);
        Ok(Spoken::ALL.to_vec())
    }

    /// TLS towards clients and towards back ends, for each protocol.
    fn modes(&mut self, spoken: &[Spoken]) -> Result<Vec<(Tls, Tls)>, Unusable> {
        let Some(set) = self.settings.take("ssl_mode") else {
            let usual =
                |spoken: &Spoken| if spoken.is_secure() { Tls::Implicit } else { Tls::None };
            return Ok(spoken.iter().map(|spoken| (usual(spoken), usual(spoken))).collect());
        };
        let (mut listen, mut outgoing) = (Tls::None, Tls::None);
        for word in set.value.split(',').map(str::trim) {
            let (tls, sides) = match word {
                "none" => continue,
                word if word.starts_with("ssl_") => (Tls::Implicit, word),
                word if word.ends_with("_force") => (Tls::Required, word),
                word => (Tls::Offered, word),
            };
            let both = [("listen", &mut listen), ("outgoing", &mut outgoing)];
            let sides = sides.trim_end_matches("_force");
            if !["ssl_", "tls_"].iter().any(|start| {
                sides
                    .strip_prefix(start)
                    .is_some_and(|side| matches!(side, "all" | "listen" | "outgoing"))
            }) {
                let shown = word.escape_debug();
                return Err(set.at.unusable(format!("ssl_mode: there is no mode `{shown}`")));
            }
            for (side, mode) in both {
                if sides.ends_with("all") || sides.ends_with(side) {
                    *mode = tls;
                }
            }
        }
        Ok(vec![(listen, outgoing); spoken.len()])
    }

    fn listeners(&mut self, spoken: &[Spoken], modes: &[(Tls, Tls)]) -> Result<(), Unusable> {
        let port = self.port("listen_port")?;
        let addresses = self.addresses();
        let own = |import: &mut Self, key: &str, usual: &str| {
            import.settings.take(key).map_or_else(|| usual.to_owned(), |set| set.value)
        };
        let certificate = own(self, "ssl_cert_file", "/etc/perdition/perdition.crt.pem");
        let key = own(self, "ssl_key_file", "/etc/perdition/perdition.key.pem");
        if let Some(chain) = self.settings.take("ssl_ca_chain_file") {
            let chain_file = chain.value.escape_debug();
            let said = format!(
                "ssl_ca_chain_file: the chain stands in the certificate's file: cat {chain_file} >> ITS-COPY"
            );
            self.draft.remark(&chain.at, said);
        }
        let relay =
            ["server_resp_line", "server_ok_line"].map(|key| self.settings.take(key).is_some());
        for (spoken, (tls, _)) in spoken.iter().zip(modes) {
            let mut listener = Table::new("[[listener]]");
            let port = port.unwrap_or_else(|| spoken.port());
            let at = addresses.iter().map(|(host, own)| format!("{host}:{}", own.unwrap_or(port)));
            listener.text("protocol", spoken.word()).texts("address", &at.collect::<Vec<_>>());
            let word = match tls {
                Tls::Implicit => "implicit",
                Tls::None => "none",
                Tls::Offered | Tls::Required => "starttls",
            };
            listener.text("tls", word);
            if matches!(tls, Tls::None | Tls::Offered) {
                listener.comment("As Perdition: passwords may come in clear.");
                listener.flag("allow_clear_logins", true);
            }
            if *tls != Tls::None {
                listener.text("certificate", &certificate).text("key", &key);
            }
            if relay.contains(&true) {
                listener.flag("relay_text", true);
            }
            self.draft.push(listener);
        }
        Ok(())
    }

    /// Where to listen, each perhaps with a port.
    fn addresses(&mut self) -> Vec<(String, Option<u16>)> {
        let Some(set) = self.settings.take("bind_address") else {
            return vec![("0.0.0.0".to_owned(), None)];
        };
        let mut addresses = Vec::new();
        for word in set.value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (host, port) = match word.parse::<IpAddr>() {
                Ok(ip) => (ip.to_string(), None),
                Err(_) => match word.rsplit_once(':') {
                    Some((host, port)) => (host.to_owned(), service(port)),
                    None => (word.to_owned(), None),
                },
            };
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            match host.parse::<IpAddr>() {
                Ok(IpAddr::V6(ip)) => addresses.push((format!("[{ip}]"), port)),
                Ok(IpAddr::V4(ip)) => addresses.push((ip.to_string(), port)),
                Err(_) => {
                    let host = host.escape_debug();
                    let said = format!(
                        "bind_address: write the IP address of {host} in place of 127.0.0.1"
                    );
                    self.draft.remark(&set.at, said);
                    addresses.push(("127.0.0.1".to_owned(), port));
                }
            }
        }
        if addresses.is_empty() { vec![("0.0.0.0".to_owned(), None)] } else { addresses }
    }

    fn port(&mut self, key: &str) -> Result<Option<u16>, Unusable> {
        let Some(set) = self.settings.take(key) else { return Ok(None) };
        let port = service(&set.value);
        let shown = set.value.escape_debug();
        port.map(Some).ok_or_else(|| set.at.unusable(format!("{key}: `{shown}` is no port")))
    }

    fn limits(&mut self) {
        let mut limits = Table::new("[limits]");
        let keys = [
            ("timeout", "idle"),
            ("authenticate_timeout", "client_wait"),
            ("connection_limit", "connections"),
        ];
        for (theirs, ours) in keys {
            let Some(set) = self.settings.take(theirs) else { continue };
            match set.value.parse::<u32>() {
                Ok(0) => {
                    let said = format!(
                        "{theirs}: 0 is no limit there; here the default of [limits] {ours} holds"
                    );
                    self.draft.remark(&set.at, said);
                }
                Ok(count) if ours == "connections" => drop(limits.number(ours, count.into())),
                Ok(seconds) => drop(limits.text(ours, &format!("{seconds}s"))),
                Err(_) => {
                    self.draft.remark(&set.at, format!("{theirs}: this is no number, and left out"))
                }
            }
        }
        self.draft.push(limits);
    }

    /// The back end whose settings hold for all hosts, and how they are found.
    fn backend(&mut self, spoken: &[Spoken], modes: &[(Tls, Tls)]) -> Result<(), Unusable> {
        let servers = self.servers()?;
        let port = self.port("outgoing_port")?;
        let mut backend = Table::new("[backend.store]");
        backend.comment("Its settings hold for all hosts that the sources name.");
        if servers.is_empty() {
            backend.comment(
                "Perdition has no default server: this address is never asked. Write one of yours.",
            );
            backend.text("address", "store.invalid");
        } else {
            let hosts: Vec<_> = servers.iter().map(|server| server.host.to_string()).collect();
            backend.texts("address", &hosts);
        }
        let first = servers.first().and_then(|server| server.port);
        if servers.iter().any(|server| server.port != first) {
            let said = "outgoing_server: the servers have several ports, and the first one's is taken for all: \
                        give each a [backend.NAME] of its own";
            self.draft.remark(&self.whole, said);
        }
        if let Some(port) = first.or(port) {
            let key = |spoken: &Spoken| format!("{}_port", spoken.word());
            let mut keys: Vec<_> = spoken.iter().map(key).collect();
            keys.dedup();
            for key in keys {
                backend.number(&key, port.into());
            }
        }
        self.outgoing_tls(modes, &mut backend);
        self.draft.push(backend);
        self.names();
        let map = map::source(&mut self.settings, &mut self.draft, &self.whole)?;
        let has_map = map.is_some();
        if let Some(map) = map {
            self.draft.push(map);
        }
        self.everybody_else(!servers.is_empty(), has_map);
        Ok(())
    }

    /// The servers for those whom no map knows.
    fn servers(&mut self) -> Result<Vec<HostPort>, Unusable> {
        let Some(set) = self.settings.take("outgoing_server") else { return Ok(Vec::new()) };
        let mut servers = Vec::new();
        for word in set.value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let server = word.parse::<HostPort>();
            let shown = word.escape_debug();
            servers.push(server.map_err(|_| {
                set.at.unusable(format!("outgoing_server: `{shown}` is neither host nor host:port"))
            })?);
        }
        if servers.len() > 1 {
            let said = "outgoing_server: Perdition spreads users over the servers; here the first one that can be \
                        reached gets them";
            self.draft.remark(&set.at, said);
        }
        Ok(servers)
    }

    fn everybody_else(&mut self, has_servers: bool, has_map: bool) {
        if has_servers {
            let mut last = Table::new("[[directory]]");
            last.text("source", "static").text("backend", "store");
            self.draft.push(last);
        }
        if has_servers && has_map {
            let said = "outgoing_server: those whom nobody knows go there. Perdition sent people there also while \
                        a map could not be asked; here they are told to try later";
            self.draft.remark(&self.whole, said);
        }
        if !has_servers && !has_map {
            let said = "there is neither a map nor an outgoing_server: the embedded table is asked, which posthouse \
                        user place fills";
            self.draft.remark(&self.whole, said);
        }
    }

    fn outgoing_tls(&mut self, modes: &[(Tls, Tls)], backend: &mut Table) {
        let first = modes.iter().map(|(_, outgoing)| *outgoing).find(|tls| *tls != Tls::None);
        let tls = first.unwrap_or(Tls::None);
        if modes.iter().any(|(_, outgoing)| *outgoing != tls) {
            let said = "ssl_mode is not set: Perdition speaks TLS to the back ends for IMAP4S and POP3S and none for \
                        IMAP4 and POP3; here it is the same for all";
            self.draft.remark(&self.whole, said);
        }
        let files = ["ssl_ca_file", "ssl_no_cert_verify", "ssl_no_cn_verify"];
        let [authorities, unverified, any_name] = files.map(|key| self.settings.take(key));
        if tls == Tls::None {
            backend.text("tls", "none");
            for set in [authorities, unverified, any_name].into_iter().flatten() {
                self.draft
                    .remark(&set.at, "without TLS towards back ends there is nothing to verify");
            }
            return;
        }
        backend.text("tls", if tls == Tls::Implicit { "implicit" } else { "starttls" });
        if tls == Tls::Offered {
            let said = "ssl_mode tls_outgoing: Perdition goes on in clear where a server offers no TLS; Posthouse \
                        never does";
            self.draft.remark(&self.whole, said);
        }
        if let Some(set) = any_name {
            self.draft.remark(
                &set.at,
                "ssl_no_cn_verify: names are compared; write `pin_sha256` where they are wrong",
            );
        }
        match (authorities, unverified) {
            (given, Some(set)) => {
                self.draft.remark(&set.at, "ssl_no_cert_verify: better `pin_sha256` or `ca_file` in place of verify = false");
                backend.flag("verify", false);
                if let Some(given) = given {
                    self.draft
                        .remark(&given.at, "ssl_ca_file has no effect beside ssl_no_cert_verify");
                }
            }
            (Some(given), None) => drop(backend.text("ca_file", &given.value)),
            (None, None) => {
                let said = "ssl_ca_file is not set: Perdition believes any certificate then; Posthouse asks the \
                            system's authorities";
                self.draft.remark(&self.whole, said);
            }
        }
    }

    /// What is done to names before the look-up.
    fn names(&mut self) {
        let mut names = Table::new("[names]");
        if let Some(set) = self.settings.take("domain_delimiter") {
            let mut characters = set.value.chars();
            match (characters.next(), characters.next()) {
                (Some('@'), None) => {}
                (Some(one), None) if one.is_ascii_punctuation() => {
                    self.draft.remark(
                        &set.at,
                        "domain_delimiter: it becomes `@` in the name, for maps and back ends too",
                    );
                    names.text("delimiters", &one.to_string());
                }
                _ => self.draft.remark(
                    &set.at,
                    "domain_delimiter: only one punctuation mark can stand for `@`",
                ),
            }
        }
        let lower_case = self.state("lower_case");
        if !lower_case {
            names.comment("Perdition keeps capitals. Better without this line: people write their names as they like.");
            names.flag("lower_case", false);
        }
        if self.state("strip_domain") {
            names.flag("strip_domain", true);
        }
        let explicit = self.settings.take("explicit_domain");
        let at = self.settings.place("add_domain");
        match (self.state("add_domain"), explicit) {
            (true, Some(domain)) => drop(names.text("add_domain", &domain.value)),
            (true, None) => {
                let said = "add_domain: the domain is not looked up in the DNS; write [names] add_domain = \"DOMAIN\"";
                self.draft.remark(&at, said);
            }
            (false, Some(domain)) => {
                self.draft.remark(
                    &domain.at,
                    "explicit_domain has no effect without add_domain for the look-up",
                );
            }
            (false, None) => {}
        }
        self.draft.push(names);
    }

    /// Whether an option holds for the look-up. For the other states there is only a remark.
    fn state(&mut self, key: &str) -> bool {
        let Some(set) = self.settings.take(key) else { return false };
        let is = |words: &[&str]| set.value.split(',').any(|word| words.contains(&word.trim()));
        let look_up = is(&["all", "servername_lookup", "server_lookup"]);
        if !look_up && is(&["remote_login"]) {
            let said = format!(
                "{key} for remote_login alone: names are made once, before the look-up; let the map say the name \
                 there, as in ann@example.org: ann@HOST"
            );
            self.draft.remark(&set.at, said);
        } else if look_up != is(&["all", "remote_login"]) {
            self.draft.remark(
                &set.at,
                format!("{key}: what is made of a name holds for the back end too"),
            );
        } else if !look_up {
            self.draft.remark(&set.at, format!("{key}: there is no local authentication"));
        }
        if key == "add_domain" && set.value.split(',').any(|word| word.trim().parse::<u8>().is_ok())
        {
            self.draft.remark(
                &set.at,
                "add_domain: the depth has no meaning: the domain is not looked up in the DNS",
            );
        }
        look_up
    }

    /// What is left is known to have no equivalent, or not known.
    fn rest(&mut self) {
        for (key, set) in self.settings.rest() {
            let said = match WITHOUT.iter().find(|(without, _)| *without == key) {
                Some((_, instead)) => format!("{key}: {instead}"),
                None => format!("{}: Perdition has no such option", key.escape_debug()),
            };
            self.draft.remark(&set.at, said);
        }
    }
}

/// A port by its number or by its service's name.
fn service(word: &str) -> Option<u16> {
    match word.trim() {
        "imap" | "imap2" | "imap4" => Some(143),
        "imaps" => Some(993),
        "pop3" | "pop-3" => Some(110),
        "pop3s" => Some(995),
        "sieve" => Some(4190),
        number => number.parse().ok().filter(|port| *port > 0),
    }
}
