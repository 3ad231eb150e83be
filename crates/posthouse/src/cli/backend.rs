//! `posthouse backend`: what the daemon knows of the back ends.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Failure,
    output::{Output, table},
    reach::{block_on, daemon},
};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Backend {
    /// List the back ends: how they are reached, and how logins there went.
    List,
}

/// What a person sees of a back end.
#[derive(Deserialize)]
struct Row {
    name: String,
    hosts: Vec<String>,
    imap_port: u16,
    pop3_port: u16,
    tls: String,
    login: String,
    logins: u64,
    failures: u64,
    last_failure: Option<LastFailure>,
}

#[derive(Deserialize)]
struct LastFailure {
    reason: String,
    detail: String,
}

pub(super) fn act(config: &Config, act: Backend, output: Output) -> Result<(), Failure> {
    let Backend::List = act;
    let list: Value = block_on(daemon(config).get("/backends"))??;
    let rows: Vec<Row> = rows(&list)?;
    output.print(&list, |_| {
        table(
            ["NAME", "HOSTS", "IMAP", "POP3", "TLS", "LOGIN", "LOGINS", "FAILURES", "LAST FAILURE"],
            rows.into_iter().map(|row| {
                let last = row.last_failure;
                let last =
                    last.map_or_else(|| "-".into(), |it| format!("{}: {}", it.reason, it.detail));
                [
                    row.name,
                    row.hosts.join(","),
                    row.imap_port.to_string(),
                    row.pop3_port.to_string(),
                    row.tls,
                    row.login,
                    row.logins.to_string(),
                    row.failures.to_string(),
                    last,
                ]
            }),
        )
    })
}

/// Reads what is shown of an answer whose rest is passed on as it is.
pub(super) fn rows<T: for<'a> Deserialize<'a>>(list: &Value) -> Result<Vec<T>, Failure> {
    Vec::deserialize(list).map_err(|error| {
        Failure::new(format!("the daemon's answer is that of another release: {error}"))
    })
}
