//! nginx, HAProxy and mbsync, in front of or beside Debian's Dovecot.

use std::fs;

use testkit::mail_clients::{ImapClient, Security};
use testkit::peers::{self, Peer};
use testkit::servers::Service;
use testkit::servers::configured::Configured;
use testkit::servers::dovecot::{Dovecot, DovecotOptions};
use testkit::servers::{haproxy, nginx};

fn subject_through(port: u16) -> String {
    let mut client = ImapClient::connect(("127.0.0.1", port), &Security::Clear).unwrap();
    client.login("alice", "one").unwrap();
    let exists = client.select("INBOX").unwrap();
    client.subject(exists).unwrap()
}

fn back_end() -> Dovecot {
    let server = Dovecot::start(DovecotOptions::default()).unwrap();
    server.add_user("alice", "one").unwrap();
    server.deliver("alice", b"Subject: through\r\n\r\nx\r\n").unwrap();
    server
}

fn relays(mut server: Configured) {
    assert_eq!(subject_through(server.port(0)), "through");
    assert!(server.pids().contains(&server.pid()));
    server.stop();
    assert_eq!(server.pids(), Vec::<u32>::new());
}

#[test]
fn haproxy_relays_with_a_configuration_of_the_callers() {
    let back_end = back_end();
    let server = haproxy::start(1, &|site| {
        Ok(format!(
            "global
  nbthread 1
defaults
  mode tcp
  timeout connect 2s
  timeout client 1m
  timeout server 1m
listen imap
  bind 127.0.0.1:{}
  server a 127.0.0.1:{}
",
            site.port(0),
            back_end.port(Service::Imap)
        ))
    });
    relays(server.unwrap());
}

#[test]
fn nginx_relays_with_a_configuration_of_the_callers() {
    let back_end = back_end();
    let server = nginx::start(1, &|site| {
        Ok(format!(
            "worker_processes 1;
events {{
}}
stream {{
  server {{
    listen 127.0.0.1:{};
    proxy_pass 127.0.0.1:{};
  }}
}}
",
            site.port(0),
            back_end.port(Service::Imap)
        ))
    });
    relays(server.unwrap());
}

#[test]
fn a_configuration_that_is_refused_says_why() {
    let failure = nginx::start(1, &|_| Ok("nonsense;\n".to_owned())).unwrap_err();
    assert!(failure.to_string().contains("nonsense"), "{failure}");
}

#[test]
fn mbsync_copies_a_mailbox_from_dovecot() {
    let back_end = back_end();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display();
    let config = folder.path().join("mbsyncrc");
    fs::create_dir(folder.path().join("mail")).unwrap();
    let text = format!(
        "IMAPStore remote
Host 127.0.0.1
Port {}
User alice
Pass one
SSLType None
AuthMechs LOGIN

MaildirStore local
Path {here}/mail/
Inbox {here}/mail/INBOX

Channel all
Far :remote:
Near :local:
Patterns INBOX
Create Near
SyncState *
",
        back_end.port(Service::Imap)
    );
    fs::write(&config, text).unwrap();
    let mut command = peers::ensure(Peer::Isync).unwrap().command("usr/bin/mbsync").unwrap();
    let output = command.arg("-c").arg(&config).arg("all").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let new = fs::read_dir(folder.path().join("mail/INBOX/new")).unwrap();
    assert_eq!(new.count(), 1);
}
