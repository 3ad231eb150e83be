//! `posthouse backend check`.

use admin::{CheckedBackend, Refused};
use backends::{Backends, Settings};
use clap::Args;
use model::Protocol;
use serde::Serialize;

use crate::{
    cli::{Failure, Spoken, output::Output, reach::block_on},
    config::Config,
};

#[derive(Args, Debug)]
pub(in crate::cli) struct Check {
    /// The back end's name.
    name: String,
    /// The protocol; without it, all that listeners speak.
    #[arg(long)]
    protocol: Option<Spoken>,
}

/// What came of one protocol.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Reached(CheckedBackend),
    Failed { backend: String, protocol: Protocol, error: Refused },
}

pub(super) fn check(config: &Config, arguments: &Check, output: Output) -> Result<(), Failure> {
    let name = &arguments.name;
    let mut settings = config.backends.clone();
    settings.retain(|backend| backend.name.as_str() == name);
    if settings.is_empty() {
        let names: Vec<_> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
        let names = names.join(", ");
        return Err(Failure::new(format!("there is no back end `{name}`; there are: {names}")));
    }
    let backends = Backends::prepare(Settings {
        backends: settings,
        deadlines: config.deadlines,
        health: config.health.clone(),
        // Nobody logs in.
        logins_at_once: 1,
        own: config.addresses(),
        state: config.state.clone(),
    })?;
    let outcomes: Vec<_> = block_on(async {
        let mut outcomes = Vec::new();
        for protocol in protocols(config, arguments) {
            let backend = name.clone();
            outcomes.push(match admin::backend_check(&backends, name, protocol).await {
                Ok(reached) => Outcome::Reached(reached),
                Err(error) => Outcome::Failed { backend, protocol, error },
            });
        }
        outcomes
    })?;
    output.print(&outcomes, |outcomes| outcomes.iter().map(text).collect())?;
    let failed: Vec<_> = outcomes.iter().filter_map(failed).collect();
    match failed.as_slice() {
        [] => Ok(()),
        failed => {
            let failed = failed.join(" and ");
            Err(Failure::new(format!("the back end `{name}` cannot be used for {failed}")))
        }
    }
}

fn protocols(config: &Config, arguments: &Check) -> Vec<Protocol> {
    if let Some(protocol) = arguments.protocol {
        return vec![protocol.into()];
    }
    let spoken = |protocol: &Protocol| {
        config.listeners.iter().any(|listener| listener.protocol == *protocol)
    };
    Protocol::ALL.into_iter().filter(spoken).collect()
}

fn failed(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Reached(_) => None,
        Outcome::Failed { protocol, .. } => Some(protocol.word()),
    }
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Reached(seen) => {
            let CheckedBackend { backend, protocol, address, tls, greeting, capabilities } = seen;
            let tls = tls.map_or_else(|| "without TLS".to_owned(), |tls| format!("TLS {tls}"));
            // What a back end says is shown without what moves a cursor.
            let greeting: String = greeting.chars().filter(|c| !c.is_control()).collect();
            let capabilities = capabilities.join(" ");
            format!(
                "{backend} {protocol}  good: {address}, {tls}\n  greeting      {greeting}\n  \
                 capabilities  {capabilities}\n"
            )
        }
        Outcome::Failed { backend, protocol, error } => {
            format!("{backend} {protocol}  failed: {error}\n")
        }
    }
}
