//! Posthouse as its users meet it: on four ports, with certificates, by its configuration.
//! Nothing here knows what is behind it.

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use nix::unistd::getpid;
use testkit::{
    certs::{self, KeyKind},
    mail_clients::{ClientError, ImapClient, Pop3Client, Security},
    posthouse::{Posthouse, PosthouseOptions, new_folder},
    scripted::Client,
    wait,
    wire::Trust,
};

use crate::{house::Person, programs, secrets};

/// Long enough for everything that happens at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(15);

/// Tries on other ports when somebody else was quicker.
const TRIES: usize = 5;

/// Ports are taken from below those that the kernel gives to clients (32768 and above), so that no
/// connection sits on one of them: 12000 to 26999.
const PORTS: (u16, u16) = (12_000, 15_000);

/// Stands for the four listeners of most tests.
pub const LISTENERS: &str = r#"
[[listener]]
protocol = "imap"
address = "127.0.0.1:@IMAP@"
tls = "starttls"
allow_clear_logins = true
certificate = "cert.pem"
key = "key.pem"

[[listener]]
protocol = "imap"
address = "127.0.0.1:@IMAPS@"
certificate = "cert.pem"
key = "key.pem"

[[listener]]
protocol = "pop3"
address = "127.0.0.1:@POP3@"
tls = "starttls"
allow_clear_logins = true
certificate = "cert.pem"
key = "key.pem"

[[listener]]
protocol = "pop3"
address = "127.0.0.1:@POP3S@"
certificate = "cert.pem"
key = "key.pem"
"#;

/// What most tests put before the listeners.
pub const HEAD: &str = "state = \"state\"\n";

/// Limits that most tests must not meet: they come by the hundred, and wait for no refusal.
const UNLIMITED: [(&str, &str); 3] =
    [("failure_delay", "\"0s\""), ("logins_per_address", "0"), ("logins_per_user", "0")];

/// Takes the limits off that a configuration does not set itself.
fn unlimited(config: &str) -> String {
    let sets = |key: &str| config.lines().any(|line| line.starts_with(key));
    let added: String = UNLIMITED
        .iter()
        .filter(|(key, _)| !sets(key))
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let table = "[limits]\n";
    if config.contains(table) {
        config.replacen(table, &format!("{table}{added}"), 1)
    } else {
        format!("{config}\n{table}{added}")
    }
}

/// The configuration of most tests: the usual head, all listeners, and what follows.
pub fn usual(rest: &str) -> String {
    format!("{HEAD}{LISTENERS}{rest}")
}

/// The same with these lines in each listener.
pub fn listening(lines: &str, rest: &str) -> String {
    let certificate = "key = \"key.pem\"\n";
    let listeners = LISTENERS.replace(certificate, &format!("{certificate}{lines}\n"));
    format!("{HEAD}{listeners}{rest}")
}

/// A back end's table, without TLS, forwarding.
pub fn backend(name: &str, imap_port: u16, pop3_port: u16) -> String {
    format!(
        "[backend.{name}]\naddress = \"127.0.0.1\"\nimap_port = {imap_port}\n\
         pop3_port = {pop3_port}\ntls = \"none\"\n"
    )
}

/// A directory that sends everybody to one back end.
pub fn everybody_at(backend: &str) -> String {
    format!("[[directory]]\nsource = \"static\"\nbackend = \"{backend}\"\n")
}

/// A running Posthouse. Dropped, it is ended, and its log is searched for passwords.
pub struct Door {
    posthouse: Posthouse,
    /// IMAP in clear and with STARTTLS.
    pub imap: u16,
    /// IMAP under TLS.
    pub imaps: u16,
    /// POP3 in clear and with STLS.
    pub pop3: u16,
    /// POP3 under TLS.
    pub pop3s: u16,
}

impl Deref for Door {
    type Target = Posthouse;

    fn deref(&self) -> &Posthouse {
        &self.posthouse
    }
}

impl DerefMut for Door {
    fn deref_mut(&mut self) -> &mut Posthouse {
        &mut self.posthouse
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        secrets::note_leaks(&self.posthouse.log_lines());
    }
}

/// Ports of 127.0.0.1 that nobody listens on, no two callers of this process the same.
pub fn ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, count) = PORTS;
    let start = u16::try_from(getpid().as_raw() % i32::from(count)).unwrap();
    std::array::from_fn(|_| {
        loop {
            let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count;
            if std::net::TcpListener::bind(("127.0.0.1", first + number)).is_ok() {
                return first + number;
            }
        }
    })
}

impl Door {
    /// Starts Posthouse. In the text, `@IMAP@`, `@IMAPS@`, `@POP3@` and `@POP3S@` become free ports;
    /// `ca.pem`, `cert.pem` and `key.pem` lie beside it. Logins are as many as may be and refusals as
    /// quick as can be, unless the text says otherwise.
    pub fn open(config: &str) -> Self {
        Self::open_with(config, &[], |_| {})
    }

    /// As [`Self::open`], with variables, and with files that `prepare` makes in its folder.
    pub fn open_with(config: &str, environment: &[(&str, &str)], prepare: impl Fn(&Path)) -> Self {
        let mut problem = String::new();
        for _ in 0..TRIES {
            let [imap, imaps, pop3, pop3s] = ports();
            let text = unlimited(config)
                .replace("@IMAP@", &imap.to_string())
                .replace("@IMAPS@", &imaps.to_string())
                .replace("@POP3@", &pop3.to_string())
                .replace("@POP3S@", &pop3s.to_string());
            let folder = new_folder().unwrap();
            certs::write_into(folder.path(), &["mail.example.org"], KeyKind::Ecdsa).unwrap();
            prepare(folder.path());
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let options = PosthouseOptions {
                environment: environment.iter().map(own).collect(),
                ..PosthouseOptions::default()
            };
            match Posthouse::start_in(folder, &text, &options) {
                Ok(posthouse) => return Self { posthouse, imap, imaps, pop3, pop3s },
                Err(error) => problem = error.to_string(),
            }
            if !problem.contains("ddress already in use") {
                break;
            }
        }
        panic!("{problem}");
    }

    /// The authority behind its certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// Believes its authority only.
    pub fn trust(&self) -> Trust {
        Trust::Ca(self.authority())
    }

    /// An IMAP client at the clear port, before login.
    pub fn imap(&self) -> ImapClient {
        ImapClient::connect(("127.0.0.1", self.imap), &Security::Clear).unwrap()
    }

    /// A POP3 client at the clear port, before login.
    pub fn pop3(&self) -> Pop3Client {
        Pop3Client::connect(("127.0.0.1", self.pop3), &Security::Clear).unwrap()
    }

    /// A client that is led byte by byte, at the clear IMAP port; the greeting has been read.
    pub fn raw_imap(&self) -> Client {
        let mut client = Client::connect(("127.0.0.1", self.imap)).unwrap();
        client.set_deadline(SOON);
        let greeting = client.read_line().unwrap();
        assert!(greeting.starts_with("* OK "), "{greeting}");
        client
    }

    /// A client that is led byte by byte, at the clear POP3 port; the greeting has been read.
    pub fn raw_pop3(&self) -> Client {
        let mut client = Client::connect(("127.0.0.1", self.pop3)).unwrap();
        client.set_deadline(SOON);
        let greeting = client.read_line().unwrap();
        assert!(greeting.starts_with("+OK"), "{greeting}");
        client
    }

    /// Somebody logged in by IMAP.
    pub fn logged_in(&self, person: &Person) -> ImapClient {
        let mut client = self.imap();
        let result = client.login(&person.name, &person.password);
        assert!(result.is_ok(), "{result:?}; the log:\n{}", self.log_text());
        client
    }

    /// What an IMAP login answers to somebody, from the status on.
    pub fn imap_answer(&self, name: &str, password: &str) -> String {
        answer(self.imap().login(name, password).map(|answer| answer.status))
    }

    /// What a POP3 login answers to somebody.
    pub fn pop3_answer(&self, name: &str, password: &str) -> String {
        answer(self.pop3().login(name, password))
    }

    /// Runs another command of the program, which must end well; what it printed.
    pub fn does(&self, arguments: &[&str]) -> String {
        programs::printed(&self.command(arguments).unwrap())
    }

    /// Runs another command with `--json`; what it printed.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let printed = self.does(&all);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Waits for a line of the log.
    pub fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        let found = self.wait_log(SOON, fits);
        found.unwrap_or_else(|| panic!("no such line; the log:\n{}", self.log_text()))
    }

    /// Waits until both capability lists of a back end are known, so that logins find them.
    pub fn wait_probed(&self, backend: &str) {
        let probed = || {
            let kept = fs::read_to_string(self.folder().join("state/capabilities.json")).ok()?;
            let kept: serde_json::Value = serde_json::from_str(&kept).ok()?;
            let kept = kept.get(backend)?;
            (kept.get("imap").is_some() && kept.get("pop3").is_some()).then_some(())
        };
        let found = wait::poll(SOON, probed);
        assert!(found.is_some(), "{backend} was not probed; the log:\n{}", self.log_text());
    }
}

fn answer(result: Result<String, ClientError>) -> String {
    match result {
        Ok(status) => status,
        Err(ClientError::Refused(words)) => words,
        Err(other) => panic!("{other}"),
    }
}
