//! `posthouse check`: is the configuration good, and what follows from it?

use std::net::{IpAddr, SocketAddr};

use directory::{
    Dialect, RegexRules, SourceKind,
    tokens::{Issuer, TokenSettings},
};
use serde::Serialize;

use super::{
    Common, Failure,
    backend::port,
    failure::{say, wants_colour},
    output::{Output, table},
};
use crate::{
    app::process,
    config::{Config, Listener, Privacy, Purpose},
};

/// What follows from a configuration.
#[derive(Serialize)]
struct Summary {
    state: String,
    workers: usize,
    connections: Connections,
    listeners: Vec<ListenerLine>,
    backends: Vec<BackendLine>,
    pools: Vec<PoolLine>,
    directory: Vec<SourceLine>,
    /// By what tokens are judged here.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<String>,
    answers: Vec<AnswerLine>,
    warnings: Vec<Warning>,
}

#[derive(Serialize)]
struct Connections {
    /// How many will be served at once.
    allowed: usize,
    /// How many the limit on open files has room for.
    possible: usize,
    open_files: u64,
    per_address: usize,
}

#[derive(Serialize)]
struct ListenerLine {
    name: String,
    protocol: &'static str,
    tls: &'static str,
    addresses: Vec<SocketAddr>,
    allow_clear_logins: bool,
}

#[derive(Serialize)]
struct BackendLine {
    name: String,
    hosts: Vec<String>,
    imap_port: u16,
    pop3_port: u16,
    imap_identity: &'static str,
    pop3_identity: &'static str,
    source_addresses: Vec<IpAddr>,
    tls: &'static str,
    login: &'static str,
}

#[derive(Serialize)]
struct SourceLine {
    name: String,
    source: &'static str,
    what: Option<String>,
    template: Option<String>,
    pool: Option<String>,
}

#[derive(Serialize)]
struct PoolLine {
    name: String,
    place: &'static str,
    policy: &'static str,
    /// The members that it begins with; later the store says who they are.
    backends: Vec<String>,
}

#[derive(Serialize)]
struct AnswerLine {
    name: String,
    addresses: Vec<SocketAddr>,
    networks: Vec<String>,
    /// Whether whoever asks has to show a secret.
    secret: bool,
}

#[derive(Serialize)]
struct Warning {
    line: usize,
    message: String,
}

pub(super) fn check(common: &Common, output: Output) -> Result<(), Failure> {
    let (config, warnings) = common.load(Purpose::Check)?;
    let mut summary = summary(&config);
    summary.warnings = warnings
        .warnings()
        .map(|(line, message)| Warning { line, message: message.to_owned() })
        .collect();
    if !warnings.is_empty() && !output.is_json() {
        say(&format!("{}\n\n", warnings.render(wants_colour())));
    }
    output.print(&summary, |summary| {
        let path = common.config.display();
        format!("{path} is good.\n\n{}", text(summary))
    })
}

fn summary(config: &Config) -> Summary {
    let open_files = process::possible_open_files();
    let possible = process::connections(open_files);
    Summary {
        state: config.state.display().to_string(),
        workers: config.workers.get(),
        connections: Connections {
            allowed: config.limits.connections.unwrap_or(possible).min(possible),
            possible,
            open_files,
            per_address: config.limits.others.connections_per_address,
        },
        listeners: config.listeners.iter().map(listener).collect(),
        backends: config.backends.iter().map(backend).collect(),
        pools: config.pools.pools.iter().map(pool).collect(),
        directory: config.sources.iter().map(source).collect(),
        tokens: config.tokens.as_ref().map(tokens),
        answers: config.answers.iter().map(answer).collect(),
        warnings: Vec::new(),
    }
}

fn listener(listener: &Listener) -> ListenerLine {
    ListenerLine {
        name: listener.name.clone(),
        protocol: listener.protocol.word(),
        tls: match &listener.tls {
            Privacy::Implicit(_) => "implicit",
            Privacy::None => "none",
            Privacy::StartTls(_) => "starttls",
        },
        addresses: listener.addresses.clone(),
        allow_clear_logins: listener.allow_clear_logins,
    }
}

fn backend(backend: &backends::BackendSettings) -> BackendLine {
    BackendLine {
        name: backend.name.to_string(),
        hosts: backend.hosts.iter().map(ToString::to_string).collect(),
        imap_port: backend.ports.imap,
        pop3_port: backend.ports.pop3,
        imap_identity: backend.identity.imap.word(),
        pop3_identity: backend.identity.pop3.word(),
        source_addresses: backend.source_addresses.clone(),
        tls: backend.tls_word(),
        login: backend.login.word(),
    }
}

fn source(source: &directory::SourceSettings) -> SourceLine {
    let (kind, what) = match &source.kind {
        SourceKind::Cdb(cdb) => ("cdb", Some(cdb.path.display().to_string())),
        SourceKind::File(file) => ("file", Some(file.path.display().to_string())),
        SourceKind::Hash => ("hash", None),
        SourceKind::Http(http) => ("http", Some(http.server.url.origin())),
        SourceKind::Ldap(ldap) => ("ldap", Some(ldap_servers(ldap))),
        SourceKind::Odbc(odbc) => ("odbc", odbc.connection.as_ref().map(ToString::to_string)),
        SourceKind::Regex(regex) => ("regex", Some(rules(&regex.rules))),
        SourceKind::Sql(sql) => (sql_word(sql.dialect), Some(sql.server.to_string())),
        SourceKind::Sqlite(sqlite) => ("sqlite", Some(sqlite.file.display().to_string())),
        SourceKind::Static(answer) => ("static", Some(answer.answer.to_string())),
        SourceKind::Table => ("table", None),
    };
    let template = source.template.as_ref().map(ToString::to_string);
    let pool = source.pool.as_ref().map(|used| match &used.tag {
        Some(tag) => format!("{} tag {tag}", used.pool),
        None => used.pool.to_string(),
    });
    SourceLine { name: source.name.clone(), source: kind, what, template, pool }
}

fn pool(pool: &directory::PoolSettings) -> PoolLine {
    PoolLine {
        name: pool.name.to_string(),
        place: pool.place.word(),
        policy: pool.policy.word(),
        backends: pool.members.iter().map(ToString::to_string).collect(),
    }
}

/// By what tokens are judged here, and which of their claims names the user.
fn tokens(tokens: &TokenSettings) -> String {
    let by = match &tokens.issuer {
        Issuer::Introspection { server, .. } => format!("asking {}", server.url.origin()),
        Issuer::KeyFile(path, _) => format!("the keys in {}", path.display()),
        Issuer::KeyServer(server, _) => format!("the keys of {}", server.url.origin()),
    };
    format!("judged by {by}; their user is `{}`", tokens.rules.user)
}

/// Whom it asks, and as whom. Never a password.
fn ldap_servers(ldap: &directory::LdapSettings) -> String {
    let servers: Vec<_> = ldap.servers.iter().map(ToString::to_string).collect();
    format!("{} as {}", servers.join(" "), ldap.login)
}

fn rules(rules: &RegexRules) -> String {
    match rules {
        RegexRules::File { path, .. } => path.display().to_string(),
        RegexRules::Fixed(rules) if rules.len() == 1 => "1 rule".to_owned(),
        RegexRules::Fixed(rules) => format!("{} rules", rules.len()),
    }
}

fn answer(answer: &answer::Settings) -> AnswerLine {
    AnswerLine {
        name: answer.name.to_string(),
        addresses: answer.addresses.clone(),
        networks: answer.networks.iter().map(ToString::to_string).collect(),
        secret: answer.key.is_some(),
    }
}

/// The servers that only answer; nothing where there are none.
fn answers(summary: &Summary) -> String {
    if summary.answers.is_empty() {
        return String::new();
    }
    let lines = summary.answers.iter().map(|line| {
        let addresses: Vec<_> = line.addresses.iter().map(SocketAddr::to_string).collect();
        let secret = if line.secret { "required" } else { "-" };
        [line.name.clone(), addresses.join(" "), line.networks.join(" "), secret.into()]
    });
    format!("{}\n", table(["ANSWER", "ADDRESSES", "FROM", "SECRET"], lines))
}

fn sql_word(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "mysql",
        Dialect::Odbc => "odbc",
        Dialect::Postgres => "postgres",
        Dialect::Sqlite => "sqlite",
    }
}

fn text(summary: &Summary) -> String {
    let listeners = table(
        ["LISTENER", "PROTOCOL", "TLS", "CLEAR LOGINS", "ADDRESSES"],
        summary.listeners.iter().map(|line| {
            let clear = if line.allow_clear_logins { "allowed" } else { "refused" };
            let addresses: Vec<_> = line.addresses.iter().map(SocketAddr::to_string).collect();
            let (name, addresses) = (line.name.clone(), addresses.join(" "));
            [name, line.protocol.into(), line.tls.into(), clear.into(), addresses]
        }),
    );
    let backends = table(
        ["BACK END", "HOSTS", "FROM", "IMAP", "POP3", "TLS", "LOGIN"],
        summary.backends.iter().map(|line| {
            let imap = port(line.imap_port, line.imap_identity);
            let pop3 = port(line.pop3_port, line.pop3_identity);
            let (name, hosts) = (line.name.clone(), line.hosts.join(" "));
            let from: Vec<_> = line.source_addresses.iter().map(IpAddr::to_string).collect();
            let from = if from.is_empty() { "-".to_owned() } else { from.join(" ") };
            [name, hosts, from, imap, pop3, line.tls.into(), line.login.into()]
        }),
    );
    let sources = table(
        ["SOURCE", "WHAT", "TEMPLATE", "POOL"],
        summary.directory.iter().map(|line| {
            let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
            [line.name.clone(), dash(&line.what), dash(&line.template), dash(&line.pool)]
        }),
    );
    let Connections { allowed, possible, open_files, .. } = summary.connections;
    let connections = format!(
        "connections  {allowed} allowed; {possible} are possible with {open_files} open files\n\
         workers      {}\n\
         state        {}\n",
        summary.workers, summary.state,
    );
    let tokens = summary.tokens.as_ref().map(|tokens| format!("tokens       {tokens}\n"));
    let tokens = tokens.unwrap_or_default();
    let mut pools = String::new();
    if !summary.pools.is_empty() {
        let lines = summary.pools.iter().map(|line| {
            let backends = line.backends.join(" ");
            [line.name.clone(), line.place.into(), line.policy.into(), backends]
        });
        pools = table(["POOL", "PLACE", "POLICY", "BEGINS WITH"], lines) + "\n";
    }
    let answers = answers(summary);
    format!("{listeners}\n{backends}\n{pools}{sources}\n{answers}{connections}{tokens}")
}
