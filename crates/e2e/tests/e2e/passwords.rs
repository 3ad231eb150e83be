//! Stored passwords as a real Dovecot makes them, scheme by scheme.

use std::process::Command;

use directory::passwords::{DefaultScheme, Limits, PlainText, Stored, Unusable};
use e2e::{cases, house::House, runner::Case};
use model::Secret;
use testkit::peers::{self, Peer};

pub(crate) fn cases() -> Vec<Case> {
    cases![every_scheme_of_dovecot_is_checked_or_said_not_to_be]
}

/// What is not checked: broken, or not a hash of the password alone.
const UNCHECKED: [&str; 14] = [
    "CRAM-MD5",
    "DES-CRYPT",
    "DIGEST-MD5",
    "HMAC-MD5",
    "LDAP-MD5",
    "MD5",
    "MD5-CRYPT",
    "NTLM",
    "OTP",
    "PLAIN-MD4",
    "PLAIN-MD5",
    "PLAIN-TRUNC",
    "SCRAM-SHA-1",
    "SMD5",
];

/// `doveadm pw`, without any configuration.
pub(crate) fn doveadm(arguments: &[&str]) -> String {
    let peer = peers::ensure(Peer::Dovecot).unwrap();
    let mut command: Command = peer.command("usr/bin/doveadm").unwrap();
    let output = command.args(["-O", "pw"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn every_scheme_of_dovecot_is_checked_or_said_not_to_be(_: &House) {
    let schemes = doveadm(&["-l"]);
    let mut checked = 0;
    for scheme in schemes.split_whitespace() {
        let password = "p\u{e4}ssword of 26 bytes, {x}";
        let made = doveadm(&["-s", scheme, "-u", "anna", "-p", password]);
        let stored = Secret::new(made.clone()).unwrap();
        let limits = Limits::default();
        let read = Stored::read(&stored, DefaultScheme::None, PlainText::Allowed, &limits);
        let is = |text: &str| read.as_ref().unwrap().is(&Secret::new(text).unwrap()).unwrap();
        match &read {
            Ok(_) => {
                assert!(is(password), "{made}");
                assert!(!is("p\u{e4}ssword of 26 bytes, {y}"), "{made}");
                checked += 1;
            }
            Err(unusable) => {
                assert!(UNCHECKED.contains(&scheme), "{scheme}: {unusable}");
                assert!(matches!(unusable, Unusable::Unsupported(Some(_))), "{scheme}: {unusable}");
            }
        }
    }
    assert!(checked >= 16, "{checked} of {schemes}");
}
