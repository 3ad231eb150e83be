//! Foreign programs, run to their end under a deadline. Nothing here reads what they print.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// How long a foreign program may take, in seconds: it waits for little, and the machine may be busy.
const DEADLINE: &str = "40";

/// A program that is ended when it takes too long (exit status 124).
pub fn program(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=2", DEADLINE, name]).stdin(Stdio::null());
    command
}

/// The same for a command that has its arguments and environment already.
pub fn limited(command: &Command) -> Command {
    let mut limited = program(command.get_program().to_str().unwrap());
    limited.args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}

/// A Python 3 script given as text.
pub fn python(script: &str, arguments: &[&str]) -> Output {
    let mut command = program("python3");
    command.args(["-c", script]).args(arguments).output().unwrap()
}

/// `openssl s_client` towards a port of this host, with something to say.
pub fn s_client(port: u16, arguments: &[&str], says: &str) -> String {
    let mut command = program("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-ign_eof"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A refused handshake ends it before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(says.as_bytes());
    text(&child.wait_with_output().unwrap())
}

/// All that a program printed.
pub fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// What a program printed, which must have ended well.
pub fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
