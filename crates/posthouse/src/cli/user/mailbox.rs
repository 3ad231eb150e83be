//! `posthouse user rename|hold|release|history`, and the mailboxes that pools have placed.

use admin::{HistoryLine, Hold, ListPage, MailboxLine, MailboxList, RenameUser, RenamedUser};
use clap::Args;
use directory::Directory;
use web::client::escape;

use super::{PAGE, export::field, path, print_pages};
use crate::{
    cli::{
        Failure,
        backend::pool::{hold_at, release_at},
        output::{Output, or_dash, table, write},
        reach::{on_directory, on_state, on_store, stored},
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

#[derive(Args, Debug)]
pub(in crate::cli) struct RenameArguments {
    /// His name so far.
    old: String,
    /// His name from now on.
    new: String,
    /// The mail is where it will be looked for, under either name. Without this, no mailbox that exists is looked
    /// for elsewhere.
    #[arg(long)]
    mail_is_already_there: bool,
}

pub(super) fn rename(
    config: &Config,
    arguments: &RenameArguments,
    output: Output,
) -> Result<(), Failure> {
    let RenameArguments { old, new, mail_is_already_there } = arguments;
    let request = RenameUser { to: new.clone(), mail_is_already_there: *mail_is_already_there };
    let renamed = on_directory(
        config,
        async |daemon| daemon.post::<RenamedUser>(&format!("{}/rename", path(old)), &request).await,
        async |directory, _, actor| {
            let renaming = admin::renaming(directory, old, &request).await?;
            admin::user_rename(directory, actor, &renaming)
        },
    )?;
    output.print(&renamed, |renamed| format!("{} is {} now\n", renamed.user, renamed.to))
}

pub(super) fn history(config: &Config, user: &str, output: Output) -> Result<(), Failure> {
    let history = on_store(
        config,
        async |daemon| daemon.get::<Vec<HistoryLine>>(&format!("{}/history", path(user))).await,
        |directory, _| admin::user_history(directory, user),
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
    // For all pages: to open what is stored takes longer than to read one.
    let mut opened = None;
    print_pages(
        output,
        |after| page(config, prefix, after, &mut opened).map(|page| (page.mailboxes, page.more)),
        |line| &line.user,
        |lines| Ok(lines.iter().map(csv).collect()),
    )
}

fn page(
    config: &Config,
    prefix: &str,
    after: Option<&str>,
    opened: &mut Option<Directory>,
) -> Result<MailboxList, Failure> {
    let from = after.map_or_else(String::new, |after| format!("&after={}", escape(after)));
    let path = format!("/mailboxes?limit={PAGE}&prefix={}{from}", escape(prefix));
    on_state(
        config,
        async |daemon| daemon.get::<MailboxList>(&path).await,
        |_| {
            let directory = opened.take().map_or_else(|| stored(config), Ok)?;
            let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
            let request = ListPage { prefix, after, limit: PAGE };
            let list = admin::mailbox_list(opened.insert(directory), request)?;
            Ok(list)
        },
    )
}

fn csv(line: &MailboxLine) -> String {
    let MailboxLine { user, mailbox } = line;
    let admin::Mailbox { pool, id, shard, epoch, backend, from } = mailbox;
    let backend = backend.as_deref().unwrap_or_default();
    format!("{},{pool},{},{shard},{epoch},{backend},{from}\n", field(user), field(id))
}
