//! New mail for users of a running Dovecot, by the quickest way its mail format has.
//! Nothing here logs in as the user.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::account_name;
use crate::mail_clients::ClientError;
use crate::process::Clothes;
use crate::servers::ServerError;
use crate::wire::STEP_DEADLINE;

/// A Maildir is delivered to by whoever may write to it: written in `tmp`, then moved to `new`.
pub(super) fn into_maildir(
    folder: &Path,
    clothes: Clothes,
    user: &str,
    message: &[u8],
) -> Result<(), ServerError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let user = account_name(user)?;
    let home = folder.join("mail").join(&user);
    let maildir = home.join("Maildir");
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}.M{number}P{}.localhost", seconds_now(), std::process::id());
    let write = || {
        if !maildir.join("new").is_dir() {
            for inner in ["cur", "new", "tmp"] {
                fs::create_dir_all(maildir.join(inner))?;
            }
            clothes.give(&home)?;
        }
        let fresh = maildir.join("tmp").join(&name);
        fs::write(&fresh, message)?;
        clothes.give(&fresh)?;
        fs::rename(&fresh, maildir.join("new").join(&name))
    };
    write().map_err(ServerError::io(format!("deliver to {}", maildir.display())))
}

fn seconds_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// LMTP (RFC 2033) over Dovecot's own socket.
pub(super) fn by_lmtp(folder: &Path, user: &str, message: &[u8]) -> Result<(), ServerError> {
    lmtp_dialogue(&folder.join("run/lmtp"), user, message).map_err(|source| ServerError::Client {
        server: "dovecot",
        what: "take a message by LMTP",
        source,
    })
}

fn lmtp_dialogue(socket: &Path, user: &str, message: &[u8]) -> Result<(), ClientError> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(STEP_DEADLINE * 2))?;
    stream.set_write_timeout(Some(STEP_DEADLINE * 2))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    expect(&mut reader, '2')?;
    let recipient = format!("RCPT TO:<{user}>\r\n");
    for (line, answer) in [
        ("LHLO localhost\r\n", '2'),
        ("MAIL FROM:<>\r\n", '2'),
        (recipient.as_str(), '2'),
        ("DATA\r\n", '3'),
    ] {
        stream.write_all(line.as_bytes())?;
        expect(&mut reader, answer)?;
    }
    stream.write_all(&dot_stuffed(message))?;
    expect(&mut reader, '2')?;
    stream.write_all(b"QUIT\r\n")?;
    expect(&mut reader, '2')
}

fn expect(reader: &mut impl BufRead, class: char) -> Result<(), ClientError> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if line.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        let line = line.trim_end().to_owned();
        return if line.starts_with(class) { Ok(()) } else { Err(ClientError::Refused(line)) };
    }
}

/// The message with CRLF line ends and doubled dots, and the line that ends it (RFC 5321, section 4.5.2).
fn dot_stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}
