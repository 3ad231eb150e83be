//! nginx as a mail proxy: one worker, the stub's HTTP answers as `auth_http`, errors logged only.
//! Nothing here serves HTTP through it.

use std::process::Command;

use anyhow::Result;
use testkit::peers::{self, Peer};

use super::Plan;

const PROGRAM: &str = "usr/sbin/nginx";

pub(super) fn version() -> Result<Command> {
    let mut command = peers::ensure(Peer::Nginx)?.command(PROGRAM)?;
    command.arg("-v");
    Ok(command)
}

pub(super) fn command(plan: &Plan<'_>) -> Result<Command> {
    let peer = peers::ensure(Peer::Nginx)?;
    plan.write("cert.pem", &plan.certificate.chain)?;
    plan.write("key.pem", &plan.certificate.key)?;
    // Only root's nginx changes its user, and nobody is here to be protected from it.
    let user = if nix::unistd::geteuid().is_root() { "user root root;" } else { "" };
    let text = format!(
        r#"load_module "{module}";
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 19500; }}
mail {{
    auth_http {auth_http}/;
    imap_capabilities IMAP4rev1 LITERAL+ SASL-IR;
    imap_auth plain;
    timeout 1h;
    proxy_timeout 1h;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{ listen {clear}; protocol imap; }}
    server {{ listen {tls} ssl; protocol imap; }}
}}
"#,
        module = peer.path("usr/lib/nginx/modules/ngx_mail_module.so").display(),
        folder = plan.folder.display(),
        auth_http = plan.stub.auth_http,
        clear = plan.clear,
        tls = plan.tls,
    );
    let file = plan.write("nginx.conf", &text)?;
    let mut command = peer.command(PROGRAM)?;
    command.arg("-p").arg(plan.folder).args(["-e", "stderr", "-c"]).arg(file);
    Ok(command)
}
