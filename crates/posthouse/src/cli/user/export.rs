//! `posthouse user export`.

use admin::{ExportUsers, Exported, ExportedLine};
use clap::Args;
use web::client::escape;

use super::{PAGE, mailbox, print_pages};
use crate::{
    cli::{
        Failure,
        output::{Output, write},
        reach::on_users,
    },
    config::Config,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Export {
    /// Only names that begin so.
    #[arg(long, default_value = "")]
    prefix: String,
    /// With the stored passwords, in clear: keep the output to yourself.
    #[arg(long)]
    with_passwords: bool,
    /// In place of the table: the mailboxes that pools have placed, each with its id, shard, epoch and why it
    /// is where it is.
    #[arg(long, conflicts_with = "with_passwords")]
    mailboxes: bool,
}

pub(super) fn export(config: &Config, arguments: &Export, output: Output) -> Result<(), Failure> {
    if arguments.mailboxes {
        return mailbox::export(config, &arguments.prefix, output);
    }
    let passwords = arguments.with_passwords;
    if !output.is_json() {
        // More columns than a line without a heading may have: an empty back end is then meant so.
        write(if passwords {
            "user,backend,user_there,id,disabled,password,password_hash\n"
        } else {
            "user,backend,user_there,id,disabled\n"
        })?;
    }
    print_pages(
        output,
        |after| page(config, arguments, after).map(|page| (page.users, page.more)),
        |line| &line.user,
        |users| users.iter().map(|line| csv(line, passwords)).collect(),
    )
}

fn page(config: &Config, arguments: &Export, after: Option<&str>) -> Result<Exported, Failure> {
    let from = after.map_or_else(String::new, |after| format!("&after={}", escape(after)));
    let (prefix, passwords) = (&arguments.prefix, arguments.with_passwords);
    let escaped = escape(prefix);
    let path = format!("/export/users?limit={PAGE}&passwords={passwords}&prefix={escaped}{from}");
    on_users(
        config,
        async |daemon| daemon.get::<Exported>(&path).await,
        |users, actor| {
            let (prefix, after) = (prefix.clone(), after.map(str::to_owned));
            admin::user_export(users, actor, ExportUsers { prefix, after, limit: PAGE, passwords })
        },
    )
}

/// One user on a line (RFC 4180).
fn csv(line: &ExportedLine, passwords: bool) -> Result<String, Failure> {
    let name_there = line.name_there.as_deref().map(field).unwrap_or_default();
    let backend = line.backend.as_deref().map(field).unwrap_or_default();
    let id = line.id.as_deref().map(field).unwrap_or_default();
    let disabled = if line.disabled { "yes" } else { "no" };
    let mut text = format!("{},{backend},{name_there},{id},{disabled}", field(&line.user));
    for password in [&line.password, &line.password_hash].into_iter().filter(|_| passwords) {
        text.push(',');
        if let Some(password) = password {
            if password.contains(['\r', '\n']) {
                let user = &line.user;
                return Err(Failure::new(format!(
                    "the password of `{user}` does not fit on a line"
                )));
            }
            text.push_str(&quoted(password));
        }
    }
    text.push('\n');
    Ok(text)
}

/// A field as it is where it can stand so, else in quotation marks.
pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"']) || text.trim() != text { quoted(text) } else { text.to_owned() }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
