//! `posthouse user rename|hold|release|history`, and the mailboxes that pools have placed.

use admin::{HistoryLine, Hold, ListMailboxes, MailboxLine, MailboxList, RenameUser, RenamedUser};
use clap::Args;
use web::client::escape;

use super::{PAGE, export::field, path, print_pages};
use crate::{
    cli::{
        Failure,
        backend::pool::{hold_at, release_at},
        output::{Output, or_dash, table, write},
        reach::on_directory,
    },
    config::Config,
    time::rfc3339,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct HoldArguments {
    /// The user, as he logs in.
    user: String,
    /// End the sessions that are open.
    #[arg(long)]
    kick: bool,
}

pub(super) fn hold(
    config: &Config,
    arguments: &HoldArguments,
    output: Output,
) -> Result<(), Failure> {
    let HoldArguments { user, kick } = arguments;
    let path = format!("/holds/users/{}", escape(user));
    hold_at(config, &path, Hold::User(user), *kick, output)
}

pub(super) fn release(config: &Config, user: &str, output: Output) -> Result<(), Failure> {
    release_at(config, &format!("/holds/users/{}", escape(user)), Hold::User(user), output)
}

pub(super) fn rename(config: &Config, old: &str, new: &str, output: Output) -> Result<(), Failure> {
    let request = RenameUser { to: new.to_owned() };
    let renamed = on_directory(
        config,
        async |daemon| daemon.post::<RenamedUser>(&format!("{}/rename", path(old)), &request).await,
        async |directory, _, actor| {
            let old = admin::whereabouts(directory, old).await?;
            admin::user_rename(directory, actor, &old, &request)
        },
    )?;
    output.print(&renamed, |renamed| format!("{} is {} now\n", renamed.user, renamed.to))
}

pub(super) fn history(config: &Config, user: &str, output: Output) -> Result<(), Failure> {
    let history = on_directory(
        config,
        async |daemon| daemon.get::<Vec<HistoryLine>>(&format!("{}/history", path(user))).await,
        async |directory, _, _| admin::user_history(directory, user),
    )?;
    output.print(&history, |history| history_table(history))
}

pub(super) fn history_table(history: &[HistoryLine]) -> String {
    table(
        ["AT", "BY", "ACT", "BEFORE", "AFTER"],
        history.iter().map(|line| {
            let (before, after) = (line.before.as_deref(), line.after.as_deref());
            let (act, actor) = (line.act.clone(), line.actor.clone());
            [rfc3339(line.at), actor, act, or_dash(before), or_dash(after)]
        }),
    )
}

/// Prints the mailboxes that pools have seen, page by page.
pub(super) fn export(config: &Config, prefix: &str, output: Output) -> Result<(), Failure> {
    if !output.is_json() {
        write("user,pool,mailbox,shard,epoch,backend,from\n")?;
    }
    print_pages(
        output,
        |after| page(config, prefix, after).map(|page| (page.mailboxes, page.more)),
        |line| &line.user,
        |lines| Ok(lines.iter().map(csv).collect()),
    )
}

fn page(config: &Config, prefix: &str, after: Option<&str>) -> Result<MailboxList, Failure> {
    let from = after.map_or_else(String::new, |after| format!("&after={}", escape(after)));
    let path = format!("/mailboxes?limit={PAGE}&prefix={}{from}", escape(prefix));
    on_directory(
        config,
        async |daemon| daemon.get::<MailboxList>(&path).await,
        async |directory, _, _| {
            let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
            admin::mailbox_list(directory, ListMailboxes { prefix, after, limit: PAGE })
        },
    )
}

fn csv(line: &MailboxLine) -> String {
    let MailboxLine { user, mailbox } = line;
    let admin::Mailbox { pool, id, shard, epoch, backend, from } = mailbox;
    let backend = backend.as_deref().unwrap_or_default();
    format!("{},{pool},{},{shard},{epoch},{backend},{from}\n", field(user), field(id))
}
