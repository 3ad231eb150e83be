//! The laboratory of `bench`: its configurations work as they are, from the checkout.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use e2e::{
    cases,
    door::SOON,
    house::House,
    programs::printed,
    runner::Case,
    secrets::{password, showing_secrets},
    stub::{ImapWords, Stub},
};
use testkit::{
    mail_clients::{ImapClient, Pop3Client, Security},
    process::Group,
    wait,
    wire::Trust,
    workspace,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![the_laboratory_serves_from_the_checkout_as_it_is]
}

const IMAP: u16 = 27143;
const STARTTLS: u16 = 27144;
const IMAPS: u16 = 27993;
const POP3: u16 = 27110;
const BACK_ENDS: [(u16, u16); 2] = [(10143, 10110), (11143, 11110)];

/// A back end that says which it is.
fn back_end(name: &'static str, (imap, pop3): (u16, u16)) -> [Stub; 2] {
    let words = ImapWords::default();
    let greeting = format!("* OK [CAPABILITY {}] ready\r\n", words.before);
    let imap = Stub::start_at(imap, move |mut talk| {
        talk.send(&greeting)?;
        if talk.imap_login(&words)? {
            let line = talk.line()?;
            let tag = line.split(' ').next().unwrap_or_default();
            talk.send(&format!("* ID (\"name\" \"{name}\")\r\n{tag} OK done\r\n"))?;
        }
        Ok(())
    });
    let pop3 = Stub::start_at(pop3, move |mut talk| {
        talk.send("+OK ready\r\n")?;
        if talk.pop3_login()? {
            talk.line()?;
            talk.send(&format!("+OK {name}\r\n"))?;
        }
        Ok(())
    });
    [imap, pop3]
}

/// Posthouse with a configuration of the checkout, its log in a file.
struct Laboratory {
    group: Group,
    folder: tempfile::TempDir,
}

impl Laboratory {
    /// As it is called from the checkout, with its folder elsewhere.
    fn in_checkout(config: &str) -> Self {
        Self::open(config, |command, folder| {
            command.current_dir(workspace::checkout()).env("POSTHOUSE_LAB", folder.join("lab"));
        })
    }

    /// With no variable set, in a copy of the checkout: its folder is `target/lab` there.
    fn in_copy(config: &str) -> Self {
        Self::open(config, |command, folder| {
            copy_bench(folder);
            command.current_dir(folder).env_remove("POSTHOUSE_LAB");
        })
    }

    fn open(config: &str, place: impl FnOnce(&mut Command, &Path)) -> Self {
        let folder = workspace::temporary_folder("lab").unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(workspace::built_program("posthouse").unwrap());
        command.args(["serve", "--config", config]);
        place(&mut command, folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut group = Group::start(command, folder.path()).unwrap();
        let log = || fs::read_to_string(folder.path().join("log")).unwrap();
        let ready = wait::until(SOON, || log().contains("ready") || !group.runs());
        assert!(ready && group.runs(), "{config}: {}", log());
        Self { group, folder }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Ends it; all it logged.
    fn close(mut self) -> Vec<String> {
        self.group.stop(Duration::from_secs(5));
        let log = fs::read_to_string(self.file("log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

/// Which back end a user meets by IMAP.
fn imap(user: &str, port: u16, security: &Security) -> String {
    let mut client = ImapClient::connect(("127.0.0.1", port), security).unwrap();
    client.login(user, &password(user)).unwrap();
    let answer = client.command("ID NIL").unwrap();
    String::from_utf8(answer.untagged.concat()).unwrap()
}

fn pop3(user: &str) -> String {
    let mut client = Pop3Client::connect(("127.0.0.1", POP3), &Security::Clear).unwrap();
    client.login(user, &password(user)).unwrap();
    client.command("NOOP").unwrap()
}

fn the_laboratory_serves_from_the_checkout_as_it_is(_: &House) {
    for port in [IMAP, STARTTLS, IMAPS, POP3]
        .into_iter()
        .chain(BACK_ENDS.iter().flat_map(|(imap, pop3)| [*imap, *pop3]))
    {
        let free = || TcpListener::bind(("127.0.0.1", port)).is_ok();
        let why = "is in use: the laboratory has fixed ports, end what runs there";
        assert!(wait::until(SOON, free), "port {port} {why}");
    }
    let _back_ends = [back_end("a", BACK_ENDS[0]), back_end("b", BACK_ENDS[1])];
    for config in ["bench/lab.toml", "bench/two.toml"] {
        check_settings(config);
        let unset = Laboratory::in_copy(config);
        assert_eq!(imap("user0", IMAP, &Security::Clear), "* ID (\"name\" \"a\")");
        assert!(unset.file("target/lab/cert.pem").exists());
        assert!(unset.file("target/lab/state/control.sock").exists());
        assert_eq!(showing_secrets(&unset.close()), Vec::<String>::new());
        let laboratory = Laboratory::in_checkout(config);
        let certificate = laboratory.file("lab/cert.pem");
        let trust = || Trust::Ca(certificate.clone());
        let odd = if config.contains("two") { "b" } else { "a" };
        for (user, back_end) in
            [("user0", "a"), ("user1", odd), ("user2", "a"), ("user1999", odd), ("USER999", odd)]
        {
            for (port, security) in [
                (IMAP, Security::Clear),
                (STARTTLS, Security::Clear),
                (STARTTLS, Security::StartTls(trust())),
                (IMAPS, Security::Tls(trust())),
            ] {
                let met = imap(user, port, &security);
                assert_eq!(met, format!("* ID (\"name\" \"{back_end}\")"), "{config}: {user}");
            }
            assert_eq!(pop3(user), format!("+OK {back_end}"), "{config}: {user}");
        }
        if config.contains("two") {
            let mut client = ImapClient::connect(("127.0.0.1", IMAP), &Security::Clear).unwrap();
            let refused = client.login("user2000", &password("user2000")).unwrap_err();
            assert!(refused.refusal().unwrap().starts_with("NO [AUTHENTICATIONFAILED]"));
        } else {
            assert_eq!(imap("anybody", IMAP, &Security::Clear), "* ID (\"name\" \"a\")");
        }
        many_from_one_address();
        assert!(laboratory.file("lab/state/control.sock").exists());
        let log = laboratory.close();
        assert_eq!(showing_secrets(&log), Vec::<String>::new());
    }
}

/// Nothing stops what comes from a single address.
fn many_from_one_address() {
    let held: Vec<_> = (0..300).map(|_| TcpStream::connect(("127.0.0.1", IMAP)).unwrap()).collect();
    assert_eq!(imap("user0", IMAP, &Security::Clear), "* ID (\"name\" \"a\")");
    drop(held);
}

/// What the configurations of the laboratory need of the checkout.
fn copy_bench(folder: &Path) {
    fs::create_dir(folder.join("bench")).unwrap();
    for file in ["lab.toml", "two.toml", "two.map"] {
        let file = Path::new("bench").join(file);
        fs::copy(workspace::checkout().join(&file), folder.join(&file)).unwrap();
    }
}

/// One worker, and as many connections from one address as come.
fn check_settings(config: &str) {
    let folder = workspace::temporary_folder("lab").unwrap();
    copy_bench(folder.path());
    let mut command = Command::new(workspace::built_program("posthouse").unwrap());
    command.args(["--json", "check", "--config", config]).current_dir(folder.path());
    let checked = printed(&command.env_remove("POSTHOUSE_LAB").output().unwrap());
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    assert_eq!(checked["workers"], 1);
    assert_eq!(checked["connections"]["per_address"], 0);
    assert!(!folder.path().join("target").exists(), "a check makes no file");
}
