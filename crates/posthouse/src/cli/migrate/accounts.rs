//! The two accounts as they are said on the command line.
//!
//! Nothing here knows what a word of it means. All are taken as texts: clap would repeat a wrong one, and with it
//! a password that somebody wrote where none belongs.

use admin::migrate::Asked;
use clap::Args;

/// The options of one account. They are the same for both but for their beginning.
macro_rules! account {
    ($name:ident, $side:literal, $place:literal) => {
        #[derive(Args, Debug)]
        pub(super) struct $name {
            #[arg(
                id = $side, long = $side, value_name = "URL", help_heading = "Accounts",
                help = concat!("The ", $place, " account: imaps://USER@HOST[:PORT] (TLS), or imap:// (STARTTLS)")
            )]
            place: Option<String>,
            #[arg(
                id = concat!($side, "_user"), long = concat!($side, "-user"), value_name = "USER",
                help_heading = "Accounts", help = "Its user, where the URL does not say so"
            )]
            user: Option<String>,
            #[arg(
                id = concat!($side, "_password_file"), long = concat!($side, "-password-file"),
                value_name = "FILE", help_heading = "Accounts", group = concat!($side, "_secret"),
                help = "A file with its password; one line end behind it is dropped"
            )]
            password_file: Option<String>,
            #[arg(
                id = concat!($side, "_password_env"), long = concat!($side, "-password-env"),
                value_name = "NAME", help_heading = "Accounts", group = concat!($side, "_secret"),
                help = "The variable of the environment that holds its password"
            )]
            password_env: Option<String>,
            #[arg(
                id = concat!($side, "_password_command"), long = concat!($side, "-password-command"),
                value_name = "COMMAND", help_heading = "Accounts", group = concat!($side, "_secret"),
                help = "A command of the shell that prints its password"
            )]
            password_command: Option<String>,
            #[arg(
                id = concat!($side, "_token_file"), long = concat!($side, "-token-file"),
                value_name = "FILE", help_heading = "Accounts", group = concat!($side, "_secret"),
                help = "A file with an OAuth 2.0 access token, read anew for each connection"
            )]
            token_file: Option<String>,
            #[arg(
                id = concat!($side, "_token_command"), long = concat!($side, "-token-command"),
                value_name = "COMMAND", help_heading = "Accounts", group = concat!($side, "_secret"),
                help = "A command of the shell that prints one, run anew for each connection"
            )]
            token_command: Option<String>,
            #[arg(
                id = concat!($side, "_admin"), long = concat!($side, "-admin"), value_name = "USER",
                help_heading = "Accounts",
                help = "Who logs in for the user, by a password of his own (SASL PLAIN with authorization)"
            )]
            admin: Option<String>,
            #[arg(
                id = concat!($side, "_tunnel"), long = concat!($side, "-tunnel"), value_name = "COMMAND",
                help_heading = "Accounts",
                help = "A command that speaks IMAP and is logged in already, such as 'ssh host imapd'"
            )]
            tunnel: Option<String>,
            #[arg(
                id = concat!($side, "_ca_file"), long = concat!($side, "-ca-file"), value_name = "FILE",
                help_heading = "Accounts",
                help = "PEM file of the authorities that are believed, in place of the system's"
            )]
            ca_file: Option<String>,
            #[arg(
                id = concat!($side, "_pin_sha256"), long = concat!($side, "-pin-sha256"),
                value_name = "DIGITS", help_heading = "Accounts",
                help = "SHA-256 of the server's certificate, which is believed for itself; again for more"
            )]
            pin_sha256: Vec<String>,
            #[arg(
                id = concat!($side, "_tls_legacy"), long = concat!($side, "-tls-legacy"),
                help_heading = "Accounts", help = "Take TLS 1.0 and 1.1 too, and keys of old servers"
            )]
            tls_legacy: bool,
            #[arg(
                id = concat!($side, "_provider"), long = concat!($side, "-provider"), value_name = "NAME",
                help_heading = "Accounts",
                help = "What is known of a provider's server and limits: exchange, gmail, icloud, office365, yahoo"
            )]
            provider: Option<String>,
        }

        impl $name {
            /// What was said, or what is wrong with it.
            pub(super) fn asked(&self) -> Result<Asked, String> {
                let said = [
                    ("", &self.place),
                    ("user", &self.user),
                    ("password_file", &self.password_file),
                    ("password_env", &self.password_env),
                    ("password_command", &self.password_command),
                    ("token_file", &self.token_file),
                    ("token_command", &self.token_command),
                    ("admin", &self.admin),
                    ("tunnel", &self.tunnel),
                    ("ca_file", &self.ca_file),
                    ("provider", &self.provider),
                ];
                let single = said.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?)));
                let pins = self.pin_sha256.iter().map(|pin| ("pin_sha256", pin));
                let mut asked = Asked::default();
                for (key, value) in single.chain(pins) {
                    let option = if key.is_empty() { key.to_owned() } else { format!("-{}", key.replace('_', "-")) };
                    asked.set(key, value).map_err(|what| format!(concat!("--", $side, "{}: {}"), option, what))?;
                }
                asked.tls_legacy = self.tls_legacy.then_some(true);
                Ok(asked)
            }
        }
    };
}

account!(From, "from", "old");
account!(To, "to", "new");
