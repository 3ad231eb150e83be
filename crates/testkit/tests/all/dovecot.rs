//! Debian's Dovecot under the fixture.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use testkit::mail_clients::{ClientError, ImapClient, Pop3Client, Security, header};
use testkit::servers::Service;
use testkit::servers::dovecot::{Dovecot, DovecotOptions, MailFormat};
use testkit::wait;
use testkit::wire::{Trust, Wire};

const MESSAGE: &[u8] = b"From: a@example.org\r\nSubject: a first message\r\n\r\n.dots\r\nbody\r\n";

fn imap_login(
    server: &Dovecot,
    service: Service,
    security: &Security,
    user: &str,
    password: &str,
) -> Result<ImapClient, ClientError> {
    let mut client = ImapClient::connect(("127.0.0.1", server.port(service)), security)?;
    client.login(user, password)?;
    Ok(client)
}

fn message_goes_in_and_comes_out(format: MailFormat) {
    let mut server = Dovecot::start(DovecotOptions { format, ..Default::default() }).unwrap();
    server.add_user("alice", "s3cret \"ü:\\").unwrap();
    server
        .deliver("alice", MESSAGE)
        .unwrap_or_else(|error| panic!("{error}\n{}", server.log_text()));
    let trust = Trust::Ca(server.certificates().ca);
    for (service, security) in [
        (Service::Imap, Security::Clear),
        (Service::Imap, Security::StartTls(trust.clone())),
        (Service::Imaps, Security::Tls(trust.clone())),
    ] {
        let mut client = imap_login(&server, service, &security, "alice", "s3cret \"ü:\\")
            .unwrap_or_else(|error| panic!("{error}\n{}", server.log_text()));
        let exists = client.select("INBOX").unwrap();
        assert_eq!(exists, 1);
        assert_eq!(client.subject(exists).unwrap(), "a first message");
        client.logout().unwrap();
    }
    for (service, security) in [
        (Service::Pop3, Security::Clear),
        (Service::Pop3, Security::StartTls(trust.clone())),
        (Service::Pop3s, Security::Tls(trust)),
    ] {
        let mut client =
            Pop3Client::connect(("127.0.0.1", server.port(service)), &security).unwrap();
        client.login("alice", "s3cret \"ü:\\").unwrap();
        let message = client.retrieve(1).unwrap();
        assert_eq!(header(&message, "subject").as_deref(), Some("a first message"));
        assert!(message.ends_with(b".dots\r\nbody\r\n"), "{}", String::from_utf8_lossy(&message));
        client.quit().unwrap();
    }
    assert!(!server.pids().is_empty());
    server.stop();
    assert_eq!(server.pids(), Vec::<u32>::new());
}

#[test]
fn dovecot_serves_a_message_delivered_to_a_maildir() {
    message_goes_in_and_comes_out(MailFormat::Maildir);
}

#[test]
fn dovecot_serves_a_message_delivered_to_an_sdbox() {
    message_goes_in_and_comes_out(MailFormat::Sdbox);
}

#[test]
fn dovecot_refuses_wrong_passwords_and_takes_users_while_running() {
    let server = Dovecot::start(DovecotOptions::default()).unwrap();
    let login = |user: &str, password: &str| {
        imap_login(&server, Service::Imap, &Security::Clear, user, password).map(drop)
    };
    server.add_user("alice", "one").unwrap();
    login("alice", "one").unwrap();
    assert!(login("alice", "two").unwrap_err().refusal().unwrap().contains("AUTHENTICATIONFAILED"));
    assert!(login("bob", "one").is_err());
    server.add_user("bob", "one").unwrap();
    login("bob", "one").unwrap();
    server.add_user("alice", "two").unwrap();
    assert!(wait::until(Duration::from_secs(5), || login("alice", "two").is_ok()));
}

#[test]
fn dovecot_knows_master_users_for_users_that_exist() {
    let server = Dovecot::start(DovecotOptions::default()).unwrap();
    server.add_user("alice", "one").unwrap();
    server.add_master("house", "key").unwrap();
    let login =
        |user: &str| imap_login(&server, Service::Imap, &Security::Clear, user, "key").map(drop);
    login("alice*house").unwrap();
    assert!(login("nobody*house").is_err());
    assert!(login("house").is_err());
}

#[test]
fn dovecot_wants_tls_where_it_is_required() {
    let server =
        Dovecot::start(DovecotOptions { require_tls: true, ..Default::default() }).unwrap();
    server.add_user("alice", "one").unwrap();
    // Dovecot takes a client of its own address for secured.
    let elsewhere = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    elsewhere.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.port(Service::Imap)));
    elsewhere.connect(&address.into()).unwrap();
    let greeting = Wire::over(elsewhere.into()).unwrap().read_line().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&greeting).contains("LOGINDISABLED"));
    let trust = Trust::Ca(server.certificates().ca);
    imap_login(&server, Service::Imap, &Security::StartTls(trust), "alice", "one").unwrap();
}

#[test]
fn dovecot_lets_a_thousand_users_in_quickly() {
    let options =
        DovecotOptions { anyone_with: Some("pass word".to_owned()), ..Default::default() };
    let server = Dovecot::start(options).unwrap();
    thread::scope(|scope| {
        for worker in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for number in (worker..1000).step_by(8) {
                    let user = format!("user{number}");
                    let message = format!("Subject: for {user}\r\n\r\nx\r\n");
                    server.deliver(&user, message.as_bytes()).unwrap();
                    let mut client =
                        imap_login(server, Service::Imap, &Security::Clear, &user, "pass word")
                            .unwrap();
                    let exists = client.select("INBOX").unwrap();
                    assert_eq!(client.subject(exists).unwrap(), format!("for {user}"));
                }
            });
        }
    });
}

#[test]
fn curl_reads_from_dovecot() {
    let server = Dovecot::start(DovecotOptions::default()).unwrap();
    server.add_user("alice", "one").unwrap();
    server.deliver("alice", MESSAGE).unwrap();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "10", "--user", "alice:one", "--cacert"])
        .arg(server.certificates().ca)
        .arg(format!("imaps://localhost:{}/INBOX;MAILINDEX=1", server.port(Service::Imaps)))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("a first message"));
}
