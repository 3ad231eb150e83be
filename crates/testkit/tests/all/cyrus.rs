//! Debian's Cyrus under the fixture.

use testkit::mail_clients::{ClientError, ImapClient, Pop3Client, Security, header};
use testkit::servers::Service;
use testkit::servers::cyrus::{Cyrus, CyrusOptions};
use testkit::wire::Trust;

const MESSAGE: &[u8] =
    b"From: a@example.org\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nSubject: a first message\r\n\r\n.dots\r\nbody\r\n";

fn try_login(server: &Cyrus, user: &str, password: &str) -> Result<ImapClient, ClientError> {
    let address = ("127.0.0.1", server.port(Service::Imap));
    let mut client = ImapClient::connect(address, &Security::Clear)?;
    client.login(user, password)?;
    Ok(client)
}

#[test]
fn cyrus_serves_a_message_appended_by_its_user() {
    let mut server = Cyrus::start(&CyrusOptions::default()).unwrap();
    server.add_user("alice", "s3cret word").unwrap();
    server.deliver("alice", MESSAGE).unwrap();
    let trust = Trust::Ca(server.certificates().ca);
    for (service, security) in [
        (Service::Imap, Security::Clear),
        (Service::Imap, Security::StartTls(trust.clone())),
        (Service::Imaps, Security::Tls(trust.clone())),
    ] {
        let address = ("127.0.0.1", server.port(service));
        let mut client = ImapClient::connect(address, &security).unwrap();
        client.login("alice", "s3cret word").unwrap();
        let exists = client.select("INBOX").unwrap();
        assert_eq!(client.subject(exists).unwrap(), "a first message");
        client.logout().unwrap();
    }
    for (service, security) in [
        (Service::Pop3, Security::Clear),
        (Service::Pop3, Security::StartTls(trust.clone())),
        (Service::Pop3s, Security::Tls(trust)),
    ] {
        let address = ("127.0.0.1", server.port(service));
        let mut client = Pop3Client::connect(address, &security).unwrap();
        client.login("alice", "s3cret word").unwrap();
        let message = client.retrieve(1).unwrap();
        assert_eq!(header(&message, "subject").as_deref(), Some("a first message"));
        client.quit().unwrap();
    }
    assert!(!server.pids().is_empty());
    server.stop();
    assert_eq!(server.pids(), Vec::<u32>::new());
}

#[test]
fn cyrus_checks_passwords_and_knows_domains() {
    let server = Cyrus::start(&CyrusOptions::default()).unwrap();
    server.add_user("alice", "one").unwrap();
    server.add_user("alice@example.org", "two").unwrap();
    try_login(&server, "alice", "one").unwrap();
    assert!(try_login(&server, "alice", "two").is_err());
    assert!(try_login(&server, "bob", "one").is_err());
    try_login(&server, "alice@example.org", "two").unwrap();
    server.add_user("alice", "three").unwrap();
    try_login(&server, "alice", "three").unwrap();
}
