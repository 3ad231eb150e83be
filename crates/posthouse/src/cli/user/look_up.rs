//! `posthouse user look-up`.

use admin::{LookUp, LookedUp};
use clap::Args;
use directory::Directory;

use crate::{
    app,
    cli::{
        Failure, Spoken,
        output::Output,
        reach::{block_on, on_state},
        user::mailbox_facts,
    },
    config::Config,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct LookUpArguments {
    /// The user, as he logs in.
    user: String,
    /// The protocol he comes by: an address in a map may have a port for one of them only.
    #[arg(long, default_value = "imap")]
    protocol: Spoken,
}

pub(super) fn look_up(
    config: &Config,
    arguments: &LookUpArguments,
    output: Output,
) -> Result<(), Failure> {
    let LookUpArguments { user, protocol } = arguments;
    let request = LookUp { protocol: (*protocol).into() };
    let path = format!("/look-up/{}?protocol={}", web::client::escape(user), request.protocol);
    let found = on_state(
        config,
        async |daemon| daemon.get::<LookedUp>(&path).await,
        |_| {
            block_on(async {
                let directory = Directory::open(app::directory_settings(config)?)?;
                Ok(admin::user_look_up(&directory, user, &request).await?)
            })?
        },
    )?;
    output.print(&found, |found| {
        let facts = [
            ("user", found.user.as_str()),
            ("source", &found.source),
            ("back end", &found.backend),
            ("address", &found.addresses.join(" ")),
            ("name there", &found.name_there),
            ("password", if found.has_password { "known" } else { "-" }),
        ];
        let mut text: String =
            facts.iter().map(|(what, value)| format!("{what:<10}  {value}\n")).collect();
        if let Some(mailbox) = &found.mailbox {
            text.push_str(&mailbox_facts(mailbox));
        }
        text
    })
}
