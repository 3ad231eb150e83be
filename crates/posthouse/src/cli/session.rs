//! `posthouse session`: who is logged in.

use admin::{Kick, Kicked};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;
use web::client::escape;

use super::{
    Failure,
    backend::rows,
    output::{Output, or_dash, table},
    reach::{block_on, daemon},
};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Session {
    /// List the sessions, oldest first.
    #[command(after_help = "Example: posthouse session list --backend a")]
    List(List),
    /// End a session, or all of a user.
    #[command(after_help = "Examples:\n  posthouse session kick 6921f3a100000007\n  \
                            posthouse session kick --user anna")]
    Kick(KickArguments),
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Only this user's, by a name that he may log in with.
    #[arg(long)]
    user: Option<String>,
    /// Only those on this back end.
    #[arg(long)]
    backend: Option<String>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct KickArguments {
    /// The session's id, as in the list and the log.
    session: Option<String>,
    /// All sessions of this user, by a name that he may log in with.
    #[arg(long)]
    user: Option<String>,
}

/// What a person sees of a session.
#[derive(Deserialize)]
struct Row {
    session: String,
    protocol: String,
    user: String,
    client: String,
    backend: String,
    tls: Option<String>,
    seconds: u64,
    bytes_in: u64,
    bytes_out: u64,
}

pub(super) fn act(config: &Config, act: Session, output: Output) -> Result<(), Failure> {
    match act {
        Session::Kick(arguments) => kick(config, arguments, output),
        Session::List(filter) => list(config, &filter, output),
    }
}

fn list(config: &Config, filter: &List, output: Output) -> Result<(), Failure> {
    let part = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{name}={}", escape(value)))
    };
    let parts = [part("user", &filter.user), part("backend", &filter.backend)];
    let query: Vec<_> = parts.into_iter().flatten().collect();
    let path = format!("/sessions?{}", query.join("&"));
    let list: Value = block_on(daemon(config).get(&path))??;
    let rows: Vec<Row> = rows(&list)?;
    output.print(&list, |_| {
        table(
            ["SESSION", "PROTOCOL", "USER", "CLIENT", "BACK END", "TLS", "SECONDS", "IN", "OUT"],
            rows.into_iter().map(|row| {
                [
                    row.session,
                    row.protocol,
                    row.user,
                    row.client,
                    row.backend,
                    or_dash(row.tls.as_deref()),
                    row.seconds.to_string(),
                    row.bytes_in.to_string(),
                    row.bytes_out.to_string(),
                ]
            }),
        )
    })
}

fn kick(config: &Config, arguments: KickArguments, output: Output) -> Result<(), Failure> {
    let kick = match (arguments.session, arguments.user) {
        (Some(session), _) => Kick::Session(session),
        (None, Some(user)) => Kick::User(user),
        (None, None) => return Err(Failure::Usage("which session? give its id, or --user".into())),
    };
    let kicked: Kicked = block_on(daemon(config).post("/sessions/kick", &kick))??;
    output.print(&kicked, |kicked| match kicked.kicked {
        1 => "1 session ended\n".to_owned(),
        count => format!("{count} sessions ended\n"),
    })
}
