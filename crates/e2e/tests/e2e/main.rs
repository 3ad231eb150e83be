//! Posthouse between real clients and real servers, as a whole.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "whatever goes wrong here fails a test"
)]

mod answers;
mod assigning;
mod auth_http;
mod backend_tls;
mod behind_proxies;
mod capabilities;
mod certificates;
mod clients;
mod databases;
mod descriptors;
mod dying;
mod failures;
mod files;
mod goodbye;
mod health;
mod holding;
mod hung;
mod identity;
mod injection;
mod introductions;
mod issuer;
mod lab;
mod ldap;
mod limits;
mod log;
mod logins;
mod loops;
mod mail_programs;
mod odbc;
mod outages;
mod pace;
mod passwords;
mod placing;
mod privileges;
mod program;
mod relay;
mod right_door;
mod scram;
mod sources;
mod stopping;
mod syncing;
mod tls;
mod tokens;
mod words;

use std::process::ExitCode;

/// Most tests wait more than they work.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let cases = [
        tls::cases(),
        certificates::cases(),
        backend_tls::cases(),
        answers::cases(),
        auth_http::cases(),
        injection::cases(),
        clients::cases(),
        mail_programs::cases(),
        relay::cases(),
        placing::cases(),
        privileges::cases(),
        lab::cases(),
        stopping::cases(),
        program::cases(),
        log::cases(),
        limits::cases(),
        capabilities::cases(),
        right_door::cases(),
        files::cases(),
        goodbye::cases(),
        health::cases(),
        holding::cases(),
        behind_proxies::cases(),
        outages::cases(),
        pace::cases(),
        identity::cases(),
        logins::cases(),
        loops::cases(),
        words::cases(),
        tokens::cases(),
        issuer::cases(),
        introductions::cases(),
        failures::cases(),
        sources::cases(),
        ldap::cases(),
        databases::cases(),
        odbc::cases(),
        assigning::cases(),
        passwords::cases(),
        scram::cases(),
        dying::cases(),
        descriptors::cases(),
        hung::cases(),
        syncing::cases(),
    ];
    e2e::runner::run(cases.into_iter().flatten().collect(), THREADS)
}
