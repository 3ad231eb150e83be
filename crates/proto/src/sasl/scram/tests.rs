//! Both sides against each other, and the example of RFC 7677 section 3.

use std::num::NonZeroU32;

use model::{CanonicalUser, Reason, Secret, UserName};
use proptest::prelude::*;

use super::server::{Chosen, Heard, Server};
use super::*;

const UNBOUND: Chosen = Chosen::Unbound { plus_offered: false };

fn user() -> UserName {
    UserName::new("user").unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn verifier(password: &str) -> Verifier {
    let salt = [
        0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa,
        0x81,
    ];
    Verifier::of(&secret(password), &salt, 4096).unwrap()
}

fn given(password: &str) -> Given {
    let nonce = Nonce::known("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    Given { verifier: verifier(password), nonce, unprovable: None }
}

fn client(password: &str, binding: Binding) -> Client {
    Client::new(&user(), secret(password), Nonce::known("rOprNGfwEbeRWgbNEkqO"), binding).unwrap()
}

fn bindings(exporter: Option<&[u8]>, end_point: Option<&[u8]>) -> ChannelBindings {
    ChannelBindings {
        exporter: exporter.map(Into::into),
        server_end_point: end_point.map(Into::into),
    }
}

/// Runs an exchange; whether each side believes the other.
fn exchange(mut client: Client, mut server: Server, given: Given) -> Option<(bool, bool)> {
    let Heard::Wanted(name) = server.hear(client.first().as_bytes()) else { return None };
    assert_eq!(name, user());
    let challenge = server.give(given).unwrap();
    let last = client.prove(challenge.as_bytes()).unwrap();
    match server.hear(last.as_bytes()) {
        Heard::Proven { proof, .. } => Some((true, client.verify(proof.as_bytes()).is_ok())),
        Heard::Unproven { .. } => Some((false, false)),
        Heard::Malformed | Heard::Wanted(_) => None,
    }
}

#[test]
fn the_example_of_rfc_7677_goes_as_written() {
    let mut client = client("pencil", Binding::Unable);
    let mut server = Server::new(UNBOUND, ChannelBindings::default());
    assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert!(matches!(server.hear(client.first().as_bytes()), Heard::Wanted(_)));
    let challenge = server.give(given("pencil")).unwrap();
    assert_eq!(
        challenge,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = client.prove(challenge.as_bytes()).unwrap();
    assert_eq!(
        *last,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let Heard::Proven { proof, .. } = server.hear(last.as_bytes()) else { panic!("not proven") };
    assert_eq!(proof, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(client.verify(proof.as_bytes()), Ok(()));
}

#[test]
fn another_password_and_a_decoy_prove_nothing() {
    let server = || Server::new(UNBOUND, ChannelBindings::default());
    let unable = || client("pencil", Binding::Unable);
    assert_eq!(exchange(unable(), server(), given("pencil")), Some((true, true)));
    assert_eq!(exchange(unable(), server(), given("other")), Some((false, false)));
    let decoy = Given { unprovable: Some(Reason::UnknownUser), ..given("pencil") };
    assert_eq!(exchange(unable(), server(), decoy), Some((false, false)));
}

#[test]
fn a_binding_must_be_that_of_this_connection() {
    let used = |name, data: &[u8]| client("pencil", Binding::Used(name, data.into()));
    let server = || Server::new(Chosen::Bound, bindings(Some(b"this"), Some(b"digest")));
    let done = |client| exchange(client, server(), given("pencil"));
    assert_eq!(done(used("tls-exporter", b"this")), Some((true, true)));
    assert_eq!(done(used("tls-server-end-point", b"digest")), Some((true, true)));
    assert_eq!(done(used("tls-exporter", b"that")), None);
    assert_eq!(done(used("tls-exporter", b"digest")), None);
    assert_eq!(done(used("tls-unique", b"this")), None);
    assert_eq!(done(client("pencil", Binding::Unable)), None);
    let unbound = Server::new(UNBOUND, bindings(Some(b"this"), None));
    assert_eq!(exchange(used("tls-exporter", b"this"), unbound, given("pencil")), None);
}

#[test]
fn a_client_that_was_told_that_we_cannot_bind_notices_only_if_we_can() {
    let with =
        |plus_offered| Server::new(Chosen::Unbound { plus_offered }, ChannelBindings::default());
    let done = |server, binding| exchange(client("pencil", binding), server, given("pencil"));
    assert_eq!(done(with(false), Binding::Unused), Some((true, true)));
    assert_eq!(done(with(true), Binding::Unused), None);
    assert_eq!(done(with(true), Binding::Unable), Some((true, true)));
}

#[test]
fn nobody_acts_as_another() {
    for (authzid, taken) in [("a=user", true), ("a=root", false), ("a=", false)] {
        let mut server = Server::new(UNBOUND, ChannelBindings::default());
        let heard = server.hear(format!("n,{authzid},n=user,r=x").as_bytes());
        assert_eq!(matches!(heard, Heard::Wanted(_)), taken, "{authzid}");
    }
}

#[test]
fn a_client_believes_no_impostor() {
    let first = |nonce: &str, iterations: u32| {
        format!("r=rOprNGfwEbeRWgbNEkqO{nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i={iterations}")
    };
    let prove = |text: &str| client("pencil", Binding::Unable).prove(text.as_bytes()).map(|_| ());
    assert_eq!(prove(&first("x", 4096)), Ok(()));
    assert_eq!(prove(&first("", 4096)), Err(Broken::Nonce));
    assert_eq!(prove("r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), Err(Broken::Nonce));
    for iterations in [0, 4095, 2_000_001, u32::MAX] {
        assert_eq!(prove(&first("x", iterations)), Err(Broken::Iterations(iterations)));
    }
    let mut client = client("pencil", Binding::Unable);
    assert_eq!(client.verify(b"v="), Err(Broken::Malformed));
    client.prove(first("x", 4096).as_bytes()).unwrap();
    assert_eq!(
        client.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
        Err(Broken::Impostor)
    );
    // A second try needs a second exchange.
    assert_eq!(client.verify(b"v=AAAA"), Err(Broken::Malformed));
}

#[test]
fn a_decoy_is_the_same_for_a_name_and_another_for_another() {
    let name = |name: &str| CanonicalUser::declare(UserName::new(name).unwrap());
    let decoys = |key| Decoys::new([key; 32], NonZeroU32::new(4096).unwrap());
    let shown = |key, user: &str| {
        let verifier = decoys(key).verifier(&name(user));
        (verifier.salt().to_vec(), verifier.iterations())
    };
    assert_eq!(shown(1, "alice"), shown(1, "alice"));
    assert_ne!(shown(1, "alice"), shown(1, "bob"));
    assert_ne!(shown(1, "alice"), shown(2, "alice"));
    assert_eq!((shown(1, "alice").0.len(), shown(1, "alice").1), (16, 4096));
}

proptest! {
    #[test]
    fn no_message_breaks_a_server(
        first in "[nyp=,ar\u{e4}0-9]{0,30}", last in "[c=,rpb0-9]{0,40}", bound in any::<bool>(),
    ) {
        let chosen = if bound { Chosen::Bound } else { UNBOUND };
        let mut server = Server::new(chosen, bindings(Some(b"x"), None));
        if let Heard::Wanted(_) = server.hear(first.as_bytes()) {
            server.give(given("pencil")).unwrap();
            let proven = matches!(server.hear(last.as_bytes()), Heard::Proven { .. });
            prop_assert!(!proven);
        }
        prop_assert!(matches!(server.hear(b"n,,n=user,r=x"), Heard::Malformed | Heard::Wanted(_)));
    }

    #[test]
    fn a_changed_byte_proves_nothing(place in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let mut client = client("pencil", Binding::Unable);
        let mut server = Server::new(UNBOUND, ChannelBindings::default());
        server.hear(client.first().as_bytes());
        let challenge = server.give(given("pencil")).unwrap();
        let mut last = client.prove(challenge.as_bytes()).unwrap().as_bytes().to_vec();
        let place = place.index(last.len());
        last[place] ^= 1 << bit;
        let proven = matches!(server.hear(&last), Heard::Proven { .. });
        prop_assert!(!proven);
    }
}
