//! `posthouse backend`: what the daemon knows of the back ends, and what they say when we ask them.

mod check;
pub(super) mod pool;

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Common, Failure,
    output::{Output, table},
    reach::{block_on, daemon},
};
use crate::{
    config::{Config, Purpose},
    time::ago,
};

#[derive(Debug, Subcommand)]
pub(super) enum Backend {
    /// List the back ends: how they are reached, and how logins there went.
    List,
    /// Make a back end of the configuration a member of a pool: new mailboxes may get there. Nothing that exists
    /// moves.
    #[command(after_help = "Example: posthouse backend add east --pool main")]
    Add(pool::Add),
    /// Give a back end no new mailboxes. Who is there stays, and logs in as ever.
    Drain {
        /// The back end's name.
        name: String,
    },
    /// Give a back end new mailboxes again.
    Enable {
        /// The back end's name.
        name: String,
    },
    /// Let nobody new in at a back end: logins wait up to ten seconds, then they are told to try later.
    #[command(after_help = "Example: posthouse backend hold south --kick")]
    Hold(pool::HoldArguments),
    /// Let those in who waited.
    Release {
        /// The back end's name.
        name: String,
    },
    /// Reach a back end as a login would, without logging in, and say what it says.
    ///
    /// Done by this command itself, whether posthouse is running or not. Exits with 1 if the back end
    /// cannot be used.
    #[command(after_help = "Example: posthouse backend check north --protocol imap")]
    Check(check::Check),
}

/// What a person sees of a back end.
#[derive(Deserialize)]
struct Row {
    name: String,
    hosts: Vec<String>,
    imap_port: u16,
    pop3_port: u16,
    imap_identity: String,
    pop3_identity: String,
    tls: String,
    login: String,
    local_ports: Option<LocalPorts>,
    state: String,
    health: String,
    logins: u64,
    failures: u64,
    logins_under_way: usize,
    logins_at_once: usize,
    last_failure: Option<LastFailure>,
}

#[derive(Deserialize)]
struct LocalPorts {
    percent: usize,
    usable: usize,
    alarm: bool,
}

#[derive(Deserialize)]
struct LastFailure {
    at: u64,
    reason: String,
    detail: String,
}

pub(super) fn act(common: &Common, act: Backend, output: Output) -> Result<(), Failure> {
    match act {
        // To reach it all that serving needs is needed too: authorities, for example.
        Backend::Check(arguments) => {
            check::check(&common.quietly(Purpose::Serve)?, &arguments, output)
        }
        Backend::Add(arguments) => pool::add(&act_on(common)?, &arguments, output),
        Backend::Drain { name } => pool::drain(&act_on(common)?, &name, true, output),
        Backend::Enable { name } => pool::drain(&act_on(common)?, &name, false, output),
        Backend::Hold(arguments) => pool::hold(&act_on(common)?, &arguments, output),
        Backend::Release { name } => pool::release(&act_on(common)?, &name, output),
        Backend::List => list(&common.quietly(Purpose::Act)?, output),
    }
}

fn act_on(common: &Common) -> Result<Config, Failure> {
    common.quietly(Purpose::Act)
}

fn list(config: &Config, output: Output) -> Result<(), Failure> {
    let list: Value = block_on(daemon(config).get("/backends"))??;
    let rows: Vec<Row> = rows(&list)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    output.print(&list, |_| {
        table(
            [
                "NAME",
                "HOSTS",
                "IMAP",
                "POP3",
                "TLS",
                "LOGIN",
                "LOCAL PORTS",
                "STATE",
                "HEALTH",
                "LOGINS",
                "NOW",
                "FAILURES",
                "LAST FAILURE",
            ],
            rows.into_iter().map(|row| {
                let last = row.last_failure.map_or_else(
                    || "-".into(),
                    |it| {
                        format!("{}, {}: {}", ago(now.saturating_sub(it.at)), it.reason, it.detail)
                    },
                );
                [
                    row.name,
                    row.hosts.join(","),
                    port(row.imap_port, &row.imap_identity),
                    port(row.pop3_port, &row.pop3_identity),
                    row.tls,
                    row.login,
                    row.local_ports.map_or_else(|| "-".into(), |ports| ports.shown()),
                    row.state,
                    row.health,
                    row.logins.to_string(),
                    format!("{}/{}", row.logins_under_way, row.logins_at_once),
                    row.failures.to_string(),
                    last,
                ]
            }),
        )
    })
}

impl LocalPorts {
    fn shown(&self) -> String {
        let alarm = if self.alarm { ", alarm" } else { "" };
        format!("{} % of {}{alarm}", self.percent, self.usable)
    }
}

/// A port, and how the back end is told there who the client is.
pub(super) fn port(port: u16, identity: &str) -> String {
    match identity {
        "none" => port.to_string(),
        told => format!("{port} {told}"),
    }
}

/// Reads what is shown of an answer whose rest is passed on as it is.
pub(super) fn rows<T: for<'a> Deserialize<'a>>(list: &Value) -> Result<Vec<T>, Failure> {
    Vec::deserialize(list).map_err(|error| {
        Failure::new(format!("the daemon's answer is that of another release: {error}"))
    })
}
