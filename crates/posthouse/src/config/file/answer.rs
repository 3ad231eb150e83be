//! The shape of `[[answer]]`: servers that only say where users are.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use model::Secret;
use toml::{Spanned, de::DeValue};

use super::{ListenAddress, words};
use crate::config::read::{Field, Keyed, Listed, Read, Reader, table};

table! {
    /// A server that says where users are.
    Answer, "[[answer]]" {
        /// How log and messages call it.
        "name" = name: String,
        "protocol" = protocol: AnswerProtocol,
        /// One address or several, with their ports.
        "address" = addresses: Listed<ListenAddress>,
        /// Who may ask; default this machine.
        "networks" = networks: Listed<IpNet>,
        /// What whoever asks has to show.
        "secret" = secret: Secret,
        "secret_file" = secret_file: PathBuf,
        /// The header in which it is shown.
        "secret_header" = secret_header: String,
        /// How long a client is made to wait after a wrong password.
        "wait" = wait: Duration,
        /// Whether back ends set to have STARTTLS may be reached without TLS by whoever asks.
        "allow_clear_backends" = allow_clear_backends: bool,
        /// Questions at a time.
        "connections" = connections: u32,
    }
}

words! {
    /// How a server is asked.
    AnswerProtocol, "how to answer" {
        "auth_http" = AuthHttp,
    }
}
