//! HAProxy as a site would run it for mail: TCP mode, TLS terminated, one thread, no log, defaults otherwise.
//! Nothing here makes it look at IMAP.

use std::process::Command;

use anyhow::Result;
use testkit::peers::{self, Peer};

use super::Plan;

const PROGRAM: &str = "usr/sbin/haproxy";

pub(super) fn version() -> Result<Command> {
    let mut command = peers::ensure(Peer::Haproxy)?.command(PROGRAM)?;
    command.arg("-v");
    Ok(command)
}

pub(super) fn command(plan: &Plan<'_>) -> Result<Command> {
    plan.write("cert.pem", &format!("{}{}", plan.certificate.chain, plan.certificate.key))?;
    let text = format!(
        "global
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clear
    bind {clear}
    default_backend stub
frontend tls
    bind {tls} ssl crt {folder}/cert.pem
    default_backend stub
backend stub
    server stub {stub}
",
        clear = plan.clear,
        tls = plan.tls,
        folder = plan.folder.display(),
        stub = plan.stub.imap,
    );
    let file = plan.write("haproxy.cfg", &text)?;
    let mut command = peers::ensure(Peer::Haproxy)?.command(PROGRAM)?;
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}
