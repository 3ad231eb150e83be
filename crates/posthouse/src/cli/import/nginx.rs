//! The mail part of nginx.conf, with what it includes.
//!
//! Nothing here looks at other parts than `mail { }`: they are counted up and left.

mod file;

use std::{net::IpAddr, path::Path};

use self::file::Directive;
use super::{Draft, Place, Unusable, draft::Table, yes_or_no};

/// Directives of `mail` and its servers without an equivalent, and what to know instead.
const WITHOUT: &[(&str, &str)] = &[
    ("auth_http_pass_client_cert", "the certificate is not passed on; see client_ca_file"),
    ("error_log", "the log goes to standard error, under systemd to the journal"),
    ("google_perftools_profiles", "not there"),
    ("imap_client_buffer", "buffers are not set: an idle connection holds none"),
    ("listen_backlog", "not set: the system's limit"),
    ("max_errors", "see `commands` in [limits]: how many there may be before a login"),
    ("pop3_client_buffer", "buffers are not set: an idle connection holds none"),
    ("proxy", "always on"),
    ("proxy_buffer", "buffers are not set: an idle connection holds none"),
    ("proxy_smtp_auth", "SMTP is not there"),
    ("resolver", "no client's address is ever looked up"),
    ("resolver_timeout", "no client's address is ever looked up"),
    ("server_name", "the greeting names no host; by SNI several certificates: `certificates`"),
    ("smtp_auth", "SMTP is not there"),
    ("smtp_capabilities", "SMTP is not there"),
    ("smtp_client_buffer", "SMTP is not there"),
    ("smtp_greeting_delay", "SMTP is not there"),
    ("so_keepalive", "always on"),
    ("ssl_ciphers", "the ciphers are those of rustls"),
    ("ssl_conf_command", "not there: TLS is rustls, not OpenSSL"),
    ("ssl_crl", "write the lists of revoked certificates into `client_ca_file` too"),
    ("ssl_dhparam", "not needed: keys are agreed on by elliptic curves"),
    ("ssl_ecdh_curve", "the curves are those of rustls"),
    ("ssl_password_file", "the key has to be without a passphrase: openssl pkey -in KEY -out NEW"),
    ("ssl_prefer_server_ciphers", "the server's preference counts"),
    ("ssl_protocols", "TLS 1.2 and 1.3"),
    ("ssl_session_cache", "sessions are resumed by tickets"),
    ("ssl_session_ticket_key", "keys of tickets are made and changed by the program"),
    ("ssl_session_tickets", "sessions are resumed by tickets"),
    ("ssl_session_timeout", "sessions are resumed by tickets"),
    ("ssl_trusted_certificate", "write all authorities for clients into `client_ca_file`"),
    ("ssl_verify_depth", "there is no limit of its own"),
    ("tcp_nodelay", "always on"),
    ("xclient", "it was for SMTP; towards back ends see `identity`"),
];

struct Import {
    draft: Draft,
    listeners: Vec<Table>,
    limits: Table,
    /// The first service that is asked, with its block's headers and deadline.
    asked: Option<Asked>,
    /// Whether back ends are told the client's address by a PROXY header.
    tells: bool,
}

struct Asked {
    url: String,
    headers: Vec<String>,
    timeout: Option<String>,
}

/// The directives of a server's block, and those that it inherits.
struct Scope<'d> {
    own: &'d [Directive],
    outer: &'d [Directive],
}

impl<'d> Scope<'d> {
    /// All directives of a name: the server's own, or else the outer ones.
    fn all(&self, name: &str) -> Vec<&'d Directive> {
        let named = |list: &'d [Directive]| {
            let found: Vec<_> = list.iter().filter(|one| one.name == name).collect();
            found
        };
        let own = named(self.own);
        if own.is_empty() { named(self.outer) } else { own }
    }

    fn last(&self, name: &str) -> Option<&'d Directive> {
        self.all(name).pop()
    }

    fn is_on(&self, name: &str) -> bool {
        self.last(name).is_some_and(|one| one.word(0).and_then(yes_or_no) == Some(true))
    }
}

pub(super) fn import(path: &Path) -> Result<Draft, Unusable> {
    let directives = file::read(path)?;
    let mut import = Import {
        draft: Draft::default(),
        listeners: Vec::new(),
        limits: Table::new("[limits]"),
        asked: None,
        tells: false,
    };
    let mail: Vec<_> = directives.iter().filter(|one| one.name == "mail").collect();
    if mail.is_empty() {
        return Err(Place::new(path, 0).unusable("there is no `mail { }` in it: nothing to import"));
    }
    import.main(&directives);
    for block in &mail {
        import.mail(block)?;
    }
    if import.listeners.is_empty() {
        let at = mail.first().map_or_else(|| Place::new(path, 0), |mail| mail.at.clone());
        return Err(at.unusable("no server in it speaks IMAP or POP3: nothing to import"));
    }
    Ok(import.finish())
}

impl Import {
    /// What stands outside of all blocks.
    fn main(&mut self, directives: &[Directive]) {
        let mut top = Table::new("");
        for one in directives {
            let said = match one.name.as_str() {
                "mail" => continue,
                "user" => {
                    if let Some(user) = one.word(0) {
                        top.text("user", user);
                    }
                    if one.words.len() < 2 {
                        continue;
                    }
                    "the group is the main group of `user`"
                }
                "worker_processes" => match one.word(0).and_then(|count| count.parse::<u64>().ok())
                {
                    Some(count) if (1..=1024).contains(&count) => {
                        top.number("workers", count);
                        continue;
                    }
                    _ => "one worker for each processor is the default",
                },
                "events" | "worker_connections" | "worker_rlimit_nofile" => {
                    "how many connections there can be follows from the limit on open files; see [limits]"
                }
                "http" | "stream" => "only mail { } is looked at",
                "pid" | "error_log" | "load_module" | "env" | "daemon" | "master_process" => {
                    "has no meaning for Posthouse: systemd starts it, and it logs to standard error"
                }
                _ => "stands outside of mail { }, and is not looked at",
            };
            self.draft.remark(&one.at, format!("{}: {said}", one.shown()));
        }
        self.draft.push(top);
    }

    fn mail(&mut self, mail: &Directive) -> Result<(), Unusable> {
        let outer = mail.block.as_deref().unwrap_or_default();
        let mut servers = 0;
        for one in outer {
            if one.name == "server" {
                servers += 1;
                let own = one.block.as_deref().unwrap_or_default();
                self.server(&Scope { own, outer }, &one.at)?;
                self.leftover(own);
            }
        }
        if servers == 0 {
            return Err(mail.at.unusable("there is no `server { }` in `mail { }`"));
        }
        self.leftover(outer);
        Ok(())
    }

    fn server(&mut self, scope: &Scope<'_>, at: &Place) -> Result<(), Unusable> {
        let listens = scope.own.iter().filter(|one| one.name == "listen");
        let listens: Vec<Listen> = listens.map(Listen::read).collect::<Result<_, _>>()?;
        for unix in listens.iter().filter(|listen| listen.address.is_none()) {
            self.draft.remark(&unix.at, "listen: Posthouse listens at no unix sockets");
        }
        let mut protocols = Vec::new();
        for listen in listens.iter().filter(|listen| listen.address.is_some()) {
            let protocol = protocol(scope, listen)?;
            if let Some(protocol) = protocol {
                protocols.push(protocol);
                self.listener(scope, listen, protocol)?;
            } else {
                self.draft.remark(&listen.at, "listen: SMTP is not there; leave it with nginx");
            }
        }
        if listens.is_empty() {
            return Err(at.unusable("this server has no `listen`"));
        }
        if !protocols.is_empty() {
            self.ask(scope, at)?;
            self.time(scope);
            self.tells |= scope.is_on("proxy_protocol");
        }
        Ok(())
    }

    fn listener(
        &mut self,
        scope: &Scope<'_>,
        listen: &Listen,
        protocol: &str,
    ) -> Result<(), Unusable> {
        let mut table = Table::new("[[listener]]");
        table.text("protocol", protocol);
        table.text("address", listen.address.as_deref().unwrap_or_default());
        let starttls = scope.last("starttls").and_then(|one| one.word(0)).unwrap_or("off");
        let (tls, clear) = match (listen.ssl || scope.is_on("ssl"), starttls) {
            (true, _) => ("implicit", false),
            (false, "only") => ("starttls", false),
            (false, "on") => ("starttls", true),
            (false, _) => ("none", true),
        };
        table.text("tls", tls);
        if clear {
            table
                .comment("As nginx: passwords may come in clear.")
                .flag("allow_clear_logins", true);
        }
        if tls != "none" {
            self.certificates(scope, listen, &mut table)?;
        }
        if listen.proxy_protocol {
            let networks: Vec<_> =
                scope.all("set_real_ip_from").into_iter().filter_map(|one| one.word(0)).collect();
            let networks: Vec<_> = networks.into_iter().filter(|one| *one != "unix:").collect();
            if networks.is_empty() {
                let said = "proxy_protocol: nginx takes the header from everybody. Write your load balancers into \
                            proxy_networks";
                self.draft.remark(&listen.at, said);
                table.texts("proxy_networks", &["0.0.0.0/0", "::/0"]);
            } else {
                table.texts("proxy_networks", &networks);
            }
        }
        self.words(scope, protocol, &mut table);
        if scope.is_on("proxy_pass_error_message") {
            table.flag("relay_text", true);
        }
        self.listeners.push(table);
        Ok(())
    }

    fn certificates(
        &mut self,
        scope: &Scope<'_>,
        listen: &Listen,
        table: &mut Table,
    ) -> Result<(), Unusable> {
        let files = |name: &str| {
            let all = scope.all(name).into_iter();
            all.filter_map(|one| Some((one.word(0)?, one.at.clone()))).collect::<Vec<_>>()
        };
        let (certificates, keys) = (files("ssl_certificate"), files("ssl_certificate_key"));
        let (Some((certificate, _)), Some((key, _))) = (certificates.first(), keys.first()) else {
            return Err(listen
                .at
                .unusable("TLS without `ssl_certificate` and `ssl_certificate_key`"));
        };
        table.text("certificate", certificate).text("key", key);
        for (_, at) in certificates.iter().skip(1) {
            self.draft.remark(at, "ssl_certificate: a second one for other algorithms is left out; for other names see `certificates`");
        }
        let wanted = scope.last("ssl_verify_client").and_then(|one| one.word(0)).unwrap_or("off");
        match (wanted, scope.last("ssl_client_certificate").and_then(|one| one.word(0))) {
            ("on", Some(authorities)) => {
                table.text("client_ca_file", authorities).text("client_certificate", "required");
            }
            ("off", None) => {}
            _ => {
                let at = scope
                    .last("ssl_verify_client")
                    .or_else(|| scope.last("ssl_client_certificate"));
                let at = at.map_or(&listen.at, |one| &one.at);
                self.draft.remark(at, "ssl_verify_client: clients are asked for no certificate here; see client_ca_file and the mechanism external");
            }
        }
        Ok(())
    }

    /// Capabilities and mechanisms.
    fn words(&mut self, scope: &Scope<'_>, protocol: &str, table: &mut Table) {
        if let Some(one) = scope.last(&format!("{protocol}_capabilities")) {
            let fits = |word: &&String| {
                word.bytes().all(|byte| byte.is_ascii_graphic() && !br#"(){%*"\]"#.contains(&byte))
            };
            let made = ["AUTH=", "SASL", "STARTTLS", "STLS", "LOGINDISABLED", "USER"];
            let made = |word: &&String| {
                made.iter().any(|start| word.to_ascii_uppercase().starts_with(start))
            };
            let words: Vec<_> = one.words.iter().filter(fits).filter(|word| !made(word)).collect();
            if words.len() < one.words.len() {
                let said = "those of TLS and of ways to log in follow from the other settings, those of several words are left out";
                self.draft.remark(&one.at, format!("{}: {said}", one.shown()));
            }
            if !words.is_empty() {
                table.texts("capabilities", &words);
            }
        }
        // Whatever is listed, nginx takes LOGIN and USER/PASS: with plain and login that is what is offered here
        // without `mechanisms`.
        if let Some(one) = scope.last(&format!("{protocol}_auth"))
            && one.words.iter().any(|word| !matches!(word.as_str(), "plain" | "login"))
        {
            let said = "plain and login, and the commands for a name and a password, are always offered; external needs `client_ca_file`, and the others are not there";
            self.draft.remark(&one.at, format!("{}: {said}", one.shown()));
        }
    }

    /// Whom nginx asks.
    fn ask(&mut self, scope: &Scope<'_>, at: &Place) -> Result<(), Unusable> {
        let Some(one) = scope.last("auth_http") else {
            return Err(at.unusable("there is no `auth_http` for this server"));
        };
        let url = one.word(0).unwrap_or_default();
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        // A URL without a path is asked for its root.
        let url = if url.splitn(4, '/').count() < 4 { format!("{url}/") } else { url };
        let headers = scope
            .all("auth_http_header")
            .into_iter()
            .filter_map(|header| Some(format!("{}: {}", header.word(0)?, header.word(1)?)));
        let headers: Vec<String> = headers.collect();
        let timeout = scope.last("auth_http_timeout").and_then(|one| duration(one.word(0)?));
        match &self.asked {
            Some(asked) if asked.url == url && asked.headers == headers => {}
            Some(_) => {
                self.draft.remark(&one.at, "auth_http: the sources are the same for all listeners; the first server's is taken");
            }
            None => self.asked = Some(Asked { url, headers, timeout }),
        }
        Ok(())
    }

    fn time(&mut self, scope: &Scope<'_>) {
        for (theirs, ours) in [("proxy_timeout", "idle"), ("timeout", "client_wait")] {
            let Some(one) = scope.last(theirs) else { continue };
            match one.word(0).and_then(duration) {
                Some(time) if self.limits.has(ours) => {
                    if !self.limits.says(ours, &time) {
                        self.draft.remark(&one.at, format!("{theirs}: [limits] {ours} is one for all listeners, the first server's"));
                    }
                }
                Some(time) => drop(self.limits.text(ours, &time)),
                None => {
                    self.draft.remark(&one.at, format!("{theirs}: this is no time, and left out"))
                }
            }
        }
    }

    /// Tells of directives that nothing was made of.
    fn leftover(&mut self, directives: &[Directive]) {
        const TAKEN: &[&str] = &[
            "auth_http",
            "auth_http_header",
            "auth_http_timeout",
            "imap_auth",
            "imap_capabilities",
            "listen",
            "pop3_auth",
            "pop3_capabilities",
            "protocol",
            "proxy_pass_error_message",
            "proxy_protocol",
            "proxy_timeout",
            "server",
            "set_real_ip_from",
            "ssl",
            "ssl_certificate",
            "ssl_certificate_key",
            "ssl_client_certificate",
            "ssl_verify_client",
            "starttls",
            "timeout",
        ];
        for one in directives.iter().filter(|one| !TAKEN.contains(&one.name.as_str())) {
            let said = match WITHOUT.iter().find(|(without, _)| *without == one.name) {
                Some((_, instead)) => format!("{}: {instead}", one.name),
                None => format!("{}: not known to mean anything for mail", one.shown()),
            };
            self.draft.remark(&one.at, said);
        }
    }

    fn finish(mut self) -> Draft {
        for listener in std::mem::take(&mut self.listeners) {
            self.draft.push(listener);
        }
        self.draft.push(self.limits);
        let mut backend = Table::new("[backend.store]");
        backend.comment("Its settings hold for all servers that auth_http names (Auth-Server, Auth-Port). This address is never asked: write one of yours.");
        backend.text("address", "store.invalid");
        backend.comment("As nginx: no TLS towards the servers. Better tls = \"starttls\" or \"implicit\", where they can.");
        backend.text("tls", "none");
        if self.tells {
            backend.text("identity", "proxy-v1");
        }
        self.draft.push(backend);
        let mut source = Table::new("[[directory]]");
        if let Some(asked) = self.asked {
            source.text("source", "http").text("contract", "nginx");
            source.comment("If the service judges passwords, and does not leave that to the servers: judges = true. With Auth-Pass it must.");
            // Braces would begin a placeholder.
            source.text("url", &asked.url.replace('{', "{{").replace('}', "}}"));
            if !asked.headers.is_empty() {
                source.texts("headers", &asked.headers);
            }
            source.text("template", "store");
            self.draft.push(source);
            if let Some(timeout) = asked.timeout {
                let mut cache = Table::new("[directory.cache]");
                cache.text("deadline", &timeout);
                self.draft.push(cache);
            }
        }
        self.draft
    }
}

/// A `listen`.
struct Listen {
    at: Place,
    /// None for a unix socket.
    address: Option<String>,
    port: u16,
    ssl: bool,
    proxy_protocol: bool,
}

impl Listen {
    fn read(one: &Directive) -> Result<Self, Unusable> {
        let word = one.word(0).unwrap_or_default();
        let has = |parameter: &str| one.words.iter().skip(1).any(|word| word == parameter);
        let listen = |address: Option<String>, port| Self {
            at: one.at.clone(),
            address,
            port,
            ssl: has("ssl"),
            proxy_protocol: has("proxy_protocol"),
        };
        if word.starts_with("unix:") {
            return Ok(listen(None, 0));
        }
        let wrong = || {
            one.at.unusable(format!(
                "listen: `{}` is neither IP:PORT nor a port",
                word.escape_debug()
            ))
        };
        let (host, port) = word.rsplit_once(':').unwrap_or(("*", word));
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        let host = match host {
            "*" => "0.0.0.0".to_owned(),
            "localhost" => "127.0.0.1".to_owned(),
            host => match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => ip.to_string(),
                Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
                Err(_) => return Err(wrong()),
            },
        };
        Ok(listen(Some(format!("{host}:{port}")), port))
    }
}

/// What a server speaks at a port; nothing where that is SMTP.
fn protocol(scope: &Scope<'_>, listen: &Listen) -> Result<Option<&'static str>, Unusable> {
    let set = scope.own.iter().rev().find(|one| one.name == "protocol");
    let set = set.or_else(|| scope.outer.iter().rev().find(|one| one.name == "protocol"));
    match (set.and_then(|one| one.word(0)), listen.port) {
        (Some("imap"), _) | (None, 143 | 993) => Ok(Some("imap")),
        (Some("pop3"), _) | (None, 110 | 995) => Ok(Some("pop3")),
        (Some("smtp"), _) | (None, 25 | 465 | 587) => Ok(None),
        (Some(_), _) => Err(set
            .map_or(&listen.at, |one| &one.at)
            .unusable("protocol: it is imap, pop3 or smtp")),
        (None, _) => {
            Err(listen.at.unusable("this server has no `protocol`, and the port tells none"))
        }
    }
}

/// A time of nginx's (`60`, `60s`, `500ms`, `1h 30m`) as one of ours.
fn duration(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().ok().filter(|count| *count > 0)?;
    match text.get(digits.len()..)? {
        "" | "s" => Some(format!("{count}s")),
        unit @ ("ms" | "m" | "h" | "d") => Some(format!("{count}{unit}")),
        "w" => Some(format!("{}d", count.checked_mul(7)?)),
        "M" => Some(format!("{}d", count.checked_mul(30)?)),
        "y" => Some(format!("{}d", count.checked_mul(365)?)),
        _ => None,
    }
}
