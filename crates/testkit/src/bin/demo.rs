//! Two real Dovecots with Posthouse before them, and one message for each of two users on different back ends.
//! Nothing here stays: Ctrl-C ends all of it and removes its folders.
//!
//! With `CHECK=1` both messages are read through Posthouse over IMAPS and POP3S, one line is printed for each, and
//! the exit code says whether all came.

use std::env;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

use testkit::certs::{self, CertFiles, KeyKind};
use testkit::mail_clients::{ImapClient, Pop3Client, Security, header};
use testkit::peers::{self, Peer};
use testkit::ports::{HeldPorts, tells_of_collision};
use testkit::posthouse::{self, Posthouse, PosthouseOptions};
use testkit::servers::dovecot::{Dovecot, DovecotOptions};
use testkit::servers::{ServerError, Service};
use testkit::wire::Trust;

/// Starts of Posthouse tried when another program took a port first.
const ATTEMPTS: usize = 4;

/// Somebody with mail.
struct Person {
    name: &'static str,
    password: &'static str,
    back_end: &'static str,
}

const PEOPLE: [Person; 2] = [
    Person { name: "anna", password: "anna-secret", back_end: "a" },
    Person { name: "ben", password: "ben-secret", back_end: "b" },
];

impl Person {
    fn subject(&self) -> String {
        format!("Welcome {}, your mail is on back end {}", self.name, self.back_end)
    }

    fn message(&self) -> String {
        let (name, subject) = (self.name, self.subject());
        format!(
            "From: Posthouse <demo@localhost>\r\nTo: {name} <{name}@localhost>\r\n\
             Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <welcome-{name}@localhost>\r\n\
             Subject: {subject}\r\n\r\nThis message lies on one Dovecot alone.\r\n"
        )
    }
}

/// Everything that runs; dropped from the front to the back.
struct House {
    posthouse: Posthouse,
    imaps: SocketAddr,
    pop3s: SocketAddr,
    certificates: CertFiles,
    _back_ends: Vec<Dovecot>,
}

fn main() -> ExitCode {
    let check = env::var("CHECK").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "no"));
    match run(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<(), Box<dyn Error>> {
    println!("Unpacking Dovecot into the target folder, once (nothing is installed) ...");
    peers::ensure(Peer::Dovecot)?;
    // From here on Ctrl-C waits until all of it can be ended in order.
    let mut endings = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        endings.add(signal);
    }
    endings.thread_block()?;
    println!("Starting two Dovecots, and Posthouse before them ...");
    let house = open_house()?;
    if check {
        return check_all(&house);
    }
    explain(&house);
    endings.wait()?;
    println!("\nEnding all of it.");
    Ok(())
}

fn open_house() -> Result<House, Box<dyn Error>> {
    let mut back_ends = Vec::new();
    for person in &PEOPLE {
        let dovecot = Dovecot::start(DovecotOptions::default())?;
        // Both servers know both users; only the directory decides where each one's mail is.
        for user in &PEOPLE {
            dovecot.add_user(user.name, user.password)?;
        }
        dovecot.deliver(person.name, person.message().as_bytes())?;
        back_ends.push(dovecot);
    }
    let mut attempt = 1;
    let (posthouse, ports, certificates) = loop {
        match start_posthouse(&back_ends) {
            Err(ServerError::NotReady { log, .. })
                if attempt < ATTEMPTS && tells_of_collision(&log) =>
            {
                attempt += 1;
            }
            other => break other?,
        }
    };
    place_users(&posthouse)?;
    let [imaps, pop3s] = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    Ok(House { posthouse, imaps, pop3s, certificates, _back_ends: back_ends })
}

/// Certificates, free ports, configuration, start.
fn start_posthouse(back_ends: &[Dovecot]) -> Result<(Posthouse, [u16; 2], CertFiles), ServerError> {
    let what = || "get free ports".to_owned();
    let failed = |source| ServerError::Io { what: what(), source };
    let folder = posthouse::new_folder()?;
    let certificates = certs::write_into(folder.path(), &[], KeyKind::Ecdsa)?;
    let held = HeldPorts::take(2).map_err(failed)?;
    let ports: [u16; 2] = held
        .numbers()
        .map_err(failed)?
        .try_into()
        .map_err(|_| failed(io::Error::other("the kernel gave another number of ports")))?;
    let listeners = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).to_vec();
    drop(held);
    let options = PosthouseOptions { listeners, ..PosthouseOptions::default() };
    let posthouse = Posthouse::start_in(folder, &configuration(ports, back_ends), &options)?;
    Ok((posthouse, ports, certificates))
}

/// What an administrator would write.
fn configuration([imaps, pop3s]: [u16; 2], back_ends: &[Dovecot]) -> String {
    let listener = |protocol: &str, port: u16| {
        format!(
            "[[listener]]
protocol = \"{protocol}\"
address = \"127.0.0.1:{port}\"
certificate = \"cert.pem\"
key = \"key.pem\"

"
        )
    };
    let back_end = |(person, dovecot): (&Person, &Dovecot)| {
        format!(
            "[backend.{}]
address = \"127.0.0.1\"
imap_port = {}
pop3_port = {}
tls = \"none\"

",
            person.back_end,
            dovecot.port(Service::Imap),
            dovecot.port(Service::Pop3)
        )
    };
    let mut text = "state = \"state\"\n\n".to_owned();
    text += &listener("imap", imaps);
    text += &listener("pop3", pop3s);
    text.extend(PEOPLE.iter().zip(back_ends).map(back_end));
    text + "[[directory]]\nsource = \"table\"\n"
}

fn place_users(posthouse: &Posthouse) -> Result<(), Box<dyn Error>> {
    for person in &PEOPLE {
        let output = posthouse.command(&["user", "place", person.name, person.back_end])?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("posthouse user place {} failed: {said}", person.name).into());
        }
    }
    Ok(())
}

fn check_all(house: &House) -> Result<(), Box<dyn Error>> {
    let security = Security::Tls(Trust::Ca(house.certificates.ca.clone()));
    let mut wrong = 0;
    for person in &PEOPLE {
        let imaps = subject_over_imaps(house.imaps, &security, person);
        let pop3s = subject_over_pop3s(house.pop3s, &security, person);
        for (service, subject) in [("imaps", imaps), ("pop3s", pop3s)] {
            let Person { name, back_end, .. } = person;
            match subject {
                Ok(subject) if subject == person.subject() => {
                    println!("ok {service} {name} {back_end} {subject}");
                }
                Ok(subject) => {
                    wrong += 1;
                    println!("not ok {service} {name} {back_end} got {subject:?}");
                }
                Err(error) => {
                    wrong += 1;
                    println!("not ok {service} {name} {back_end} {error}");
                }
            }
        }
    }
    if wrong == 0 {
        return Ok(());
    }
    Err(format!(
        "{wrong} of the messages did not come; Posthouse's log:\n{}",
        house.posthouse.log_text()
    )
    .into())
}

fn subject_over_imaps(
    address: SocketAddr,
    security: &Security,
    person: &Person,
) -> Result<String, Box<dyn Error>> {
    let mut client = ImapClient::connect(address, security)?;
    client.login(person.name, person.password)?;
    let exists = client.select("INBOX")?;
    let subject = client.subject(exists)?;
    client.logout()?;
    Ok(subject)
}

fn subject_over_pop3s(
    address: SocketAddr,
    security: &Security,
    person: &Person,
) -> Result<String, Box<dyn Error>> {
    let mut client = Pop3Client::connect(address, security)?;
    client.login(person.name, person.password)?;
    let newest = client.count()?;
    let message = client.retrieve(newest)?;
    client.quit()?;
    Ok(header(&message, "Subject").ok_or("a message without subject")?)
}

fn explain(house: &House) {
    let ca = house.certificates.ca.display();
    let config: &Path = &house.posthouse.folder().join("posthouse.toml");
    println!("\nPosthouse is at {} (IMAPS) and {} (POP3S).", house.imaps, house.pop3s);
    for Person { name, password, back_end } in &PEOPLE {
        println!("  {name} with the password {password} has mail on back end {back_end}");
    }
    println!("\nRead it:\n");
    for Person { name, password, .. } in &PEOPLE {
        println!(
            "  curl --cacert {ca} --user {name}:{password} 'imaps://{}/INBOX;MAILINDEX=1'",
            house.imaps
        );
    }
    for Person { name, password, .. } in &PEOPLE {
        println!(
            "  printf 'USER {name}\\r\\nPASS {password}\\r\\nRETR 1\\r\\nQUIT\\r\\n' | \
             openssl s_client -quiet -verify_return_error -CAfile {ca} -connect {}",
            house.pop3s
        );
    }
    println!("\nIts configuration is {}.\nCtrl-C ends all of it.", config.display());
}
