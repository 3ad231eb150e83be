//! `posthouse user`: where users' mail is. With a daemon running it acts, else we do.

mod export;
mod import;
mod look_up;
mod mailbox;
mod source;

use std::{fs, path::PathBuf};

use admin::{
    ListPage, Mailbox, Password, PlaceUser, Placed, RemoveUser, ShownUser, UserLine, UserList,
    no_table,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use web::client::escape;

use super::{
    Failure,
    output::{Output, or_dash, write},
    reach::{on_directory, on_users},
};
use crate::{config::Config, time::rfc3339};

/// Users that are asked for at a time.
const PAGE: usize = 5000;

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Say on which back end a user's mail is.
    #[command(after_help = "Examples:\n  posthouse user place anna a\n  \
        posthouse user place anna@example.org a --as anna --password-file anna.secret")]
    Place(Place),
    /// Let nobody new in to a user's mailbox: logins wait up to ten seconds, then they are told to try later.
    #[command(after_help = "Example: posthouse user hold anna --kick")]
    Hold(mailbox::HoldArguments),
    /// Let those in who waited.
    Release {
        /// The user, as he logs in.
        user: String,
    },
    /// Let another name stand for a user's mailbox, and for his row in the table. Other sources and the back
    /// end have to know the new name by themselves.
    Rename(mailbox::RenameArguments),
    /// Print what was done to a user, newest first.
    History {
        /// The user.
        user: String,
    },
    /// Show what is stored of a user, in the table or of his mailbox, and what was done to him.
    Show {
        /// The user.
        user: String,
    },
    /// Take a user out of the table. His mail is not touched.
    Remove(Remove),
    /// List the users of the table, or of a database that has a `list`.
    List {
        /// Only names that begin so.
        #[arg(long, default_value = "", conflicts_with = "source")]
        prefix: String,
        /// The source, by its name in the configuration; it is asked from here, whether a daemon runs or not.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
    /// Print all users of the table as CSV, which `user import --format csv` reads.
    #[command(after_help = "Example: posthouse user export > users.csv")]
    Export(export::Export),
    /// Say where a login of this name would go: the name rules and all sources are asked.
    #[command(after_help = "Example: posthouse user look-up Ann@Example.org --protocol pop3")]
    LookUp(look_up::LookUpArguments),
    /// Place all users of a file, all or none. Users that are not in it stay as they are.
    #[command(after_help = "Formats:\n  \
        perdition  USER:BACKEND lines, as in a Perdition map; BACKEND may be [user@]host[:port]\n  \
        csv        user,backend[,user_there[,password]] lines; a first line may name other columns too:\n             \
                   password_hash, id, disabled\n  \
        passwd-file  Dovecot's user:{SCHEME}hash:... lines\n  \
        mysql      user, servername[, port]: the classic table as mysql or a CSV export writes it\n\n\
        Example: posthouse user import --format perdition popmap")]
    Import(import::Import),
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// The user, as he logs in.
    user: String,
    /// The back end's name; or host or host:port.
    backend: String,
    /// The user's name there, where it is another.
    #[arg(long = "as", value_name = "NAME-THERE")]
    name_there: Option<String>,
    /// A file with the user's password, for back ends with another login than `forward`. Without this, a
    /// password that is in the table stays.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Take the user's password out of the table.
    #[arg(long, conflicts_with = "password_file")]
    forget_password: bool,
    /// The mail has been brought there. Without this, a mailbox that exists is not looked for elsewhere.
    #[arg(long)]
    mail_is_already_there: bool,
}

#[derive(Args, Debug)]
pub(super) struct Remove {
    /// The user.
    user: String,
    /// The mail is where another source will have it looked for. Without this, no mailbox that exists is looked
    /// for elsewhere.
    #[arg(long)]
    mail_is_already_there: bool,
}

pub(super) fn act(config: &Config, act: User, output: Output) -> Result<(), Failure> {
    match act {
        User::Export(arguments) => export::export(config, &arguments, output),
        User::History { user } => mailbox::history(config, &user, output),
        User::Hold(arguments) => mailbox::hold(config, &arguments, output),
        User::LookUp(arguments) => look_up::look_up(config, &arguments, output),
        User::Import(arguments) => import::import(config, &arguments, output),
        User::List { source: Some(source), .. } => source::list(config, &source, output),
        User::List { prefix, source: None } => list(config, &prefix, output),
        User::Place(arguments) => place(config, &arguments, output),
        User::Release { user } => mailbox::release(config, &user, output),
        User::Rename(arguments) => mailbox::rename(config, &arguments, output),
        User::Remove(arguments) => remove(config, &arguments, output),
        User::Show { user } => show(config, &user, output),
    }
}

fn path(user: &str) -> String {
    format!("/users/{}", escape(user))
}

fn place(config: &Config, arguments: &Place, output: Output) -> Result<(), Failure> {
    let request = PlaceUser {
        backend: arguments.backend.clone(),
        name_there: arguments.name_there.clone(),
        password: password(arguments)?,
        mail_is_already_there: arguments.mail_is_already_there,
    };
    let user = &arguments.user;
    let placed = on_directory(
        config,
        async |daemon| daemon.put::<Placed>(&path(user), &request).await,
        async |directory, users, actor| {
            let at = admin::whereabouts(directory, user).await?;
            let at_source = admin::user_place_at_source(directory, actor, &at, &request);
            match at_source.await? {
                Some(placed) => Ok(placed),
                None => admin::user_place(directory, users, actor, &at, request.clone()),
            }
        },
    )?;
    output.print(&placed, |placed| {
        let Placed { user, change } = placed;
        format!("{user}: {change}, on {}\n", arguments.backend)
    })
}

/// The password, without the line end that editors leave behind it.
fn password(arguments: &Place) -> Result<Password, Failure> {
    let Some(file) = &arguments.password_file else {
        let forget = arguments.forget_password;
        return Ok(if forget { Password::Forget } else { Password::Keep });
    };
    let failed = |problem: String| Failure::new(format!("{}: {problem}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(failed("there is no password in it".into()));
    }
    Ok(Password::Set(line.to_owned()))
}

fn remove(config: &Config, arguments: &Remove, output: Output) -> Result<(), Failure> {
    let Remove { user, mail_is_already_there } = arguments;
    let request = RemoveUser { mail_is_already_there: *mail_is_already_there };
    let path = format!("{}?mail_is_already_there={mail_is_already_there}", path(user));
    let removed = on_directory(
        config,
        async |daemon| daemon.delete::<Placed>(&path).await,
        async |directory, users, actor| {
            let users = users.ok_or_else(no_table)?;
            let removal = admin::removal(directory, user, request).await?;
            admin::user_remove(users, actor, &removal)
        },
    )?;
    output.print(&removed, |removed| format!("{}: removed\n", removed.user))
}

fn show(config: &Config, user: &str, output: Output) -> Result<(), Failure> {
    let shown = on_directory(
        config,
        async |daemon| daemon.get::<ShownUser>(&path(user)).await,
        async |directory, users, _| {
            let at = admin::whereabouts(directory, user).await;
            admin::user_show(directory, users, user, at)
        },
    )?;
    output.print(&shown, |shown| {
        let password = if shown.has_password { "stored" } else { "-" };
        let facts = [
            ("user", shown.user.clone()),
            ("back end", or_dash(shown.backend.as_deref())),
            ("name there", or_dash(shown.name_there.as_deref())),
            ("password", password.to_owned()),
            ("changed", shown.changed_at.map_or_else(|| "-".to_owned(), rfc3339)),
            ("held", if shown.held { "yes" } else { "no" }.to_owned()),
        ];
        let facts: String =
            facts.iter().map(|(what, value)| format!("{what:<10}  {value}\n")).collect();
        let mailbox = shown.mailbox.as_ref().map(mailbox_facts).unwrap_or_default();
        let history = mailbox::history_table(&shown.history);
        format!("{facts}{mailbox}\n{history}")
    })
}

/// What a pool says of a mailbox, below other facts.
fn mailbox_facts(mailbox: &Mailbox) -> String {
    let Mailbox { pool, id, shard, epoch, from, .. } = mailbox;
    let from = if from == "own" { "home of its own" } else { "of its shard" };
    format!(
        "pool        {pool}\nmailbox     {id}\nshard       {shard}, epoch {epoch}\nfrom        {from}\n"
    )
}

fn list(config: &Config, prefix: &str, output: Output) -> Result<(), Failure> {
    print_pages(
        output,
        |after| page(config, prefix, after).map(|page| (page.users, page.more)),
        |line| &line.user,
        |users| Ok(as_lines(users)),
    )
}

/// Prints page after page, so that ten million users need no memory here.
fn print_pages<T: Serialize>(
    output: Output,
    mut page: impl FnMut(Option<&str>) -> Result<(Vec<T>, bool), Failure>,
    name: impl Fn(&T) -> &str,
    text: impl Fn(&[T]) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    let mut first = true;
    loop {
        let (users, more) = page(after.as_deref())?;
        write(&if output.is_json() { as_json(&users, first)? } else { text(&users)? })?;
        first = first && users.is_empty();
        after = users.last().map(|line| name(line).to_owned());
        if !more || after.is_none() {
            break;
        }
    }
    match (output.is_json(), first) {
        (true, true) => write("[]\n"),
        (true, false) => write("\n]\n"),
        (false, _) => Ok(()),
    }
}

fn page(config: &Config, prefix: &str, after: Option<&str>) -> Result<UserList, Failure> {
    let from = after.map_or_else(String::new, |after| format!("&after={}", escape(after)));
    let path = format!("/users?limit={PAGE}&prefix={}{from}", escape(prefix));
    on_users(
        config,
        async |daemon| daemon.get::<UserList>(&path).await,
        |users, _| {
            let after = after.map(str::to_owned);
            admin::user_list(users, ListPage { prefix: prefix.to_owned(), after, limit: PAGE })
        },
    )
}

fn as_json<T: Serialize>(users: &[T], first: bool) -> Result<String, Failure> {
    let mut text = String::new();
    for (number, line) in users.iter().enumerate() {
        text.push_str(if first && number == 0 { "[\n  " } else { ",\n  " });
        text.push_str(&serde_json::to_string(line).map_err(std::io::Error::other)?);
    }
    Ok(text)
}

/// One user on a line, without headings or padding, for the tools that come behind a pipe.
fn as_lines(users: &[UserLine]) -> String {
    let line = |line: &UserLine| {
        let backend = line.backend.as_deref().unwrap_or_default();
        match &line.name_there {
            Some(name_there) => format!("{}\t{backend}\t{name_there}\n", line.user),
            None => format!("{}\t{backend}\n", line.user),
        }
    };
    users.iter().map(line).collect()
}
