//! Posthouse with one worker and a static directory, and without what would stop a single client; everything else at its default.
//! Nothing here is tuned for the measurement.

use std::process::Command;

use anyhow::Result;
use testkit::workspace;

use super::{NARROW, Plan};

pub(super) fn version() -> Result<Command> {
    let mut command = Command::new(workspace::built_program("posthouse")?);
    command.arg("version");
    Ok(command)
}

pub(super) fn command(plan: &Plan<'_>, framed: bool) -> Result<Command> {
    plan.write("cert.pem", &plan.certificate.chain)?;
    plan.write("key.pem", &plan.certificate.key)?;
    let text = format!(
        r#"state = "state"
workers = 1

[[listener]]
protocol = "imap"
address = "{clear}"
tls = "none"
allow_clear_logins = true
clean_bye = {framed}

[[listener]]
protocol = "imap"
address = "{tls}"
tls = "implicit"
certificate = "cert.pem"
key = "key.pem"

[[listener]]
protocol = "imap"
address = "{narrow}"
tls = "none"
allow_clear_logins = true
connections = {NARROW}

[limits]
connections_per_address = 0
logins_per_address = 0
logins_per_user = 0

[backend.a]
address = "{host}"
imap_port = {port}
tls = "none"
login = "forward"

[[directory]]
source = "static"
backend = "a"
"#,
        clear = plan.clear,
        tls = plan.tls,
        narrow = plan.narrow,
        host = plan.stub.imap.ip(),
        port = plan.stub.imap.port(),
    );
    let file = plan.write("posthouse.toml", &text)?;
    let mut command = Command::new(workspace::built_program("posthouse")?);
    command.arg("serve").arg("--config").arg(file);
    Ok(command)
}
