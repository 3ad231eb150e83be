//! Where a password comes from: a file, the environment, a command; or a row of a file that was read already.
//!
//! Nothing here keeps one, or asks a person.

use std::{
    env,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use model::Secret;
use zeroize::Zeroizing;

/// The longest secret that is read, in bytes: a token with many claims, and no disk image by mistake.
const MAX_BYTES: u64 = 64 * 1024;
/// How long a command may take. It may have to ask a vault over the network, and nobody should wait for ever.
const COMMAND: Duration = Duration::from_secs(60);

/// Where a secret comes from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// What a command of the shell prints.
    Command(String),
    /// A variable of the environment.
    Environment(String),
    /// A file.
    File(PathBuf),
    /// It is here.
    Given(Secret),
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[error("{of}: {problem}")]
pub struct NoSecret {
    of: String,
    problem: String,
}

impl SecretSource {
    /// Reads it; one line end behind it is dropped. Blocks, for a command up to a minute.
    ///
    /// # Errors
    /// [`NoSecret`] if it cannot be read, is empty, or cannot be sent.
    pub fn read(&self) -> Result<Secret, NoSecret> {
        let (of, bytes) = match self {
            Self::Given(secret) => return Ok(secret.clone()),
            // What is called is told by its first word: the rest may hold a secret.
            Self::Command(command) => {
                let program = command.split_whitespace().next().unwrap_or_default();
                (format!("the command `{program}`"), run(command))
            }
            Self::Environment(name) => (format!("${name}"), variable(name)),
            Self::File(path) => (path.display().to_string(), file(path)),
        };
        let failed = |problem: String| NoSecret { of: of.clone(), problem };
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
            return Err(failed(format!(
                "it is longer than {MAX_BYTES} bytes, so it is no password"
            )));
        }
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(failed("there is no password in it".to_owned()));
        }
        Secret::new(line).map_err(|error| failed(error.to_string()))
    }
}

fn variable(name: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    use std::os::unix::ffi::OsStringExt;
    let value = env::var_os(name).ok_or_else(|| io::Error::other("it is not set"))?;
    Ok(Zeroizing::new(value.into_vec()))
}

fn file(path: &PathBuf) -> io::Result<Zeroizing<Vec<u8>>> {
    all(File::open(path)?)
}

fn all(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn run(command: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    // What it complains of reaches the operator.
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
    let (send, printed) = mpsc::sync_channel(1);
    thread::spawn(move || drop(send.send(all(output))));
    let Ok(printed) = printed.recv_timeout(COMMAND) else {
        return Err(ended(child, format!("it took longer than {} s", COMMAND.as_secs())));
    };
    let printed = printed?;
    if u64::try_from(printed.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(ended(child, format!("it prints more than {MAX_BYTES} bytes")));
    }
    let status = child.wait()?;
    match status.code() {
        Some(0) => Ok(printed),
        Some(code) => Err(io::Error::other(format!("it ended with status {code}"))),
        None => Err(io::Error::other("it was ended by a signal")),
    }
}

fn ended(mut child: Child, why: String) -> io::Error {
    let _ = child.kill();
    let _ = child.wait();
    io::Error::other(why)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(source: &SecretSource) -> String {
        String::from_utf8(source.read().unwrap().reveal().to_vec()).unwrap()
    }

    #[test]
    fn one_line_end_behind_a_password_is_dropped_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        for (text, wanted) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("a b\r\n", "a b"),
            (" a \n\n", " a \n"),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(read(&SecretSource::File(file.clone())), wanted, "{text:?}");
        }
        assert_eq!(read(&SecretSource::Command("printf 'hunter2\\n'".into())), "hunter2");
    }

    #[test]
    fn what_is_wrong_with_a_password_is_told_with_its_place_and_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            SecretSource::File(path)
        };
        let cases = [
            (SecretSource::File(folder.path().join("none")), "none: No such file"),
            (file("empty", b"\n"), "empty: there is no password"),
            (file("nul", b"hunter2\0"), "nul: a secret cannot hold a NUL"),
            (file("disk", &vec![b'x'; 70_000]), "disk: it is longer than 65536"),
            (SecretSource::Environment("POSTHOUSE_NO_SUCH".into()), "it is not set"),
            (SecretSource::Command("exit 3 # hunter2".into()), "`exit`: it ended with status 3"),
            (SecretSource::Command("printf ''".into()), "there is no password"),
        ];
        for (source, told) in cases {
            let error = source.read().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_debug_print_shows_no_secret() {
        let given = SecretSource::Given(Secret::new("hunter2").unwrap());
        assert!(!format!("{given:?}").contains("hunter2"));
    }
}
