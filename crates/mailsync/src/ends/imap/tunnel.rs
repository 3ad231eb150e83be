//! A command that speaks IMAP over its standard input and output, logged in already, such as `ssh host imapd`.
//!
//! Nothing here sends a secret: there is none.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
};

use tokio::time::timeout;
use transport::{Received, Stream};

use super::{super::Fault, FaultKind, ImapSettings, into_client, wire::Wire};

/// The longest greeting, in bytes: one with all capabilities has a thousand.
const MAX_GREETING: usize = 64 * 1024;

/// A running command. It ends with this value.
pub(super) struct Tunnel(Child);

impl Tunnel {
    /// Starts the command and waits for its greeting.
    pub(super) async fn open(
        command: &str,
        settings: &ImapSettings,
    ) -> Result<(Wire, Self), Fault> {
        let started = start(command);
        let (mut stream, mut tunnel) = started
            .map_err(|error| Fault::new(FaultKind::Access, format!("the tunnel: {error}")))?;
        let limit = settings.connect_limit;
        let greeted = timeout(limit, greeting(&mut stream)).await;
        let said = match greeted {
            Err(_) => return Err(Fault::lost(format!("the tunnel: no greeting within {limit:?}"))),
            Ok(Err(error)) => return Err(Fault::lost(format!("the tunnel: {error}"))),
            Ok(Ok(None)) => return Err(tunnel.ended()),
            Ok(Ok(Some(said))) => said,
        };
        let rest = behind(&said)?;
        let machine = into_client(None, rest, settings);
        Ok((Wire::new(stream, machine, settings.answer_limit), tunnel))
    }

    /// Why it has said nothing.
    fn ended(&mut self) -> Fault {
        match self.0.wait().ok().and_then(|status| status.code()) {
            // The shell's words for a command that is not there: it will not be there later.
            Some(code @ (126 | 127)) => {
                let said = format!("the tunnel: its command cannot be run (status {code})");
                Fault::new(FaultKind::Access, said)
            }
            Some(code) => Fault::lost(format!("the tunnel: it ended with status {code}")),
            None => Fault::lost("the tunnel: it was ended by a signal"),
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It has lost its input and is about to end by itself; who waits for it does not wait long.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &str) -> io::Result<(Stream, Tunnel)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    let tunnel = Tunnel(child);
    Ok((Stream::local(ours)?, tunnel))
}

/// All that has come when the greeting is whole; none if the command has ended before.
async fn greeting(stream: &mut Stream) -> io::Result<Option<Vec<u8>>> {
    let mut said = Vec::new();
    while !said.contains(&b'\n') {
        if said.len() > MAX_GREETING {
            return Err(io::Error::other("its greeting has no end"));
        }
        match stream.receive(|bytes| said.extend_from_slice(bytes)).await? {
            Received::Bytes(_) => {}
            Received::Closed => return Ok(None),
        }
    }
    Ok(Some(said))
}

/// What has come behind the greeting, which has to say that one is logged in.
fn behind(said: &[u8]) -> Result<&[u8], Fault> {
    let end = said.iter().position(|byte| *byte == b'\n').unwrap_or(said.len());
    let (line, rest) = said.split_at_checked(end.saturating_add(1)).unwrap_or((said, &[]));
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end();
    let mut words = line.split(' ');
    match (words.next(), words.next().map(str::to_ascii_uppercase).as_deref()) {
        (Some("*"), Some("PREAUTH")) => Ok(rest),
        (Some("*"), Some("OK")) => {
            let said = "the tunnel: its server wants a login; a tunnel has to be logged in already (PREAUTH)";
            Err(Fault::new(FaultKind::Access, said))
        }
        (Some("*"), Some("BYE")) => Err(Fault::lost(format!("the tunnel: {line}"))),
        _ => {
            let shown: String = line.chars().filter(|c| !c.is_control()).take(80).collect();
            Err(Fault::new(FaultKind::Access, format!("the tunnel speaks no IMAP: {shown}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_has_let_us_in_is_spoken_with() {
        assert_eq!(behind(b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n* 1 E"), Ok(&b"* 1 E"[..]));
        assert_eq!(behind(b"* preauth\n"), Ok(&b""[..]));
        for (said, kind) in [
            (&b"* OK ready\r\n"[..], FaultKind::Access),
            (b"* BYE later\r\n", FaultKind::Lost),
            (b"Welcome to the house!\r\n", FaultKind::Access),
            (b"\n", FaultKind::Access),
        ] {
            assert_eq!(behind(said).unwrap_err().kind, kind);
        }
    }
}
