//! Certificates by SNI that follow their files; whom we believe; ALPN; resumption.

use std::{fs, io, os::unix::fs::PermissionsExt, sync::Arc};

use aws_lc_rs::digest;
use model::Protocol;
use rustls::{ClientConfig, HandshakeKind, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use transport::{
    Stream,
    tls::{
        CertificateFiles, ClientTls, ServerSettings, ServerTls, TlsFileError, Verify,
        is_alpn_mismatch, make_self_signed,
    },
};

use crate::{
    keys::{self, Keys},
    peer::{self, Peer},
    within,
};

/// A client that is not ours visits our server's side and says one line.
pub(crate) async fn visit(
    server: &ServerTls,
    config: ClientConfig,
    name: &str,
) -> (Result<(), io::Error>, Peer) {
    let (mut client, mut ours) = peer::connected().await;
    client.speak_tls_as_client(config, name);
    let ours = async {
        ours.accept_tls(server.config()).await?;
        ours.receive(|_| ()).await?;
        // The tickets go out before it.
        ours.write_all(b"a OK\r\n").await
    };
    let theirs = async {
        if client.shake_hands().await.is_ok() {
            client.say("a NOOP\r\n").await;
            client.hear("a OK\r\n").await;
        }
        client
    };
    within(async { tokio::join!(ours, theirs) }).await
}

/// The certificate that a client is shown for a name.
async fn shown(server: &ServerTls, name: &str) -> CertificateDer<'static> {
    let mut config = Keys::new(&["unused"]).foreign_client();
    config.dangerous().set_certificate_verifier(anybody());
    let (result, client) = visit(server, config, name).await;
    result.unwrap();
    client.tls.unwrap().peer_certificates().unwrap()[0].clone().into_owned()
}

/// Believes every certificate.
fn anybody() -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    #[derive(Debug)]
    struct Anybody;
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::UnixTime,
    };
    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
    Arc::new(Anybody)
}

#[tokio::test]
async fn the_right_alpn_name_is_accepted_and_so_is_none() {
    let keys = Keys::new(&["localhost"]);
    let server = keys.server();
    let mut config = keys.foreign_client();
    visit(&server, config.clone(), "localhost").await.0.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"imap".to_vec()];
    let (result, client) = visit(&server, config, "localhost").await;
    result.unwrap();
    assert_eq!(client.tls.unwrap().alpn_protocol(), Some(&b"imap"[..]));
}

#[tokio::test]
async fn another_alpn_name_is_refused_by_its_alert() {
    let keys = Keys::new(&["localhost"]);
    let mut config = keys.foreign_client();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (mut client, mut ours) = peer::connected().await;
    client.speak_tls_as_client(config, "localhost");
    let server = keys.server();
    let (result, theirs) =
        within(async { tokio::join!(ours.accept_tls(server.config()), client.shake_hands()) })
            .await;
    assert!(is_alpn_mismatch(&result.unwrap_err()));
    let theirs = theirs.unwrap_err().to_string();
    assert!(theirs.contains("NoApplicationProtocol"), "{theirs}");
}

#[tokio::test]
async fn a_certificate_is_picked_by_the_name_that_the_client_asks_for() {
    let default = Keys::new(&["mail.example.org"]);
    let exact = Keys::new(&["imap.example.com"]);
    let wildcard = Keys::new(&["*.example.com"]);
    let server = keys::server(&[&default, &exact, &wildcard]);
    for (name, expected) in [
        ("mail.example.org", &default),
        ("imap.example.com", &exact),
        ("IMAP.Example.COM", &exact),
        ("pop.example.com", &wildcard),
        // A wildcard stands for one label (RFC 6125 section 6.4.3).
        ("a.b.example.com", &default),
        ("example.com", &default),
        ("elsewhere.net", &default),
        // No SNI for addresses (RFC 6066 section 3).
        ("127.0.0.1", &default),
    ] {
        assert_eq!(shown(&server, name).await, expected.certificate(), "{name}");
    }
}

#[tokio::test]
async fn new_files_count_for_new_connections_and_broken_ones_do_not() {
    let keys = Keys::new(&["localhost"]);
    let server = keys.server();
    let first = keys.certificate();
    // Changed between loading and following: seen all the same.
    keys.renew(&["localhost"]);
    let second = keys.certificate();
    assert_eq!(shown(&server, "localhost").await, first);
    let following = tokio::spawn(Arc::clone(&server).follow_files());
    within(async { while shown(&server, "localhost").await != second {} }).await;

    // A certificate without its key is not used; the old pair stays until both fit again.
    let other = Keys::new(&["localhost"]);
    let text = fs::read_to_string(&other.files.certificate).unwrap();
    keys.put(&keys.files.certificate, &text);
    let looked_again = tokio::time::Instant::now() + std::time::Duration::from_millis(2500);
    while tokio::time::Instant::now() < looked_again {
        assert_eq!(shown(&server, "localhost").await, second);
    }
    let key = fs::read_to_string(&other.files.key).unwrap();
    keys.put(&keys.files.key, &key);
    within(async { while shown(&server, "localhost").await != other.certificate() {} }).await;
    following.abort();
}

fn load(files: CertificateFiles) -> TlsFileError {
    let certificates = vec![files];
    ServerTls::load(ServerSettings { certificates, protocol: Protocol::Imap, clients: None })
        .unwrap_err()
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
    let keys = Keys::new(&["localhost"]);
    let other = Keys::new(&["localhost"]);
    let missing = keys.files.certificate.with_file_name("missing.pem");
    let empty = keys.files.certificate.with_file_name("empty.pem");
    fs::write(&empty, "").unwrap();
    let CertificateFiles { certificate, key } = keys.files.clone();
    let files = |certificate, key| CertificateFiles { certificate, key };

    let error = load(files(certificate.clone(), other.files.key.clone()));
    assert_eq!(error.file, other.files.key);
    assert!(error.problem.contains("not the key of the certificate"), "{error}");
    assert_eq!(load(files(missing.clone(), key.clone())).file, missing);
    assert_eq!(load(files(certificate.clone(), missing.clone())).file, missing);
    let error = load(files(empty.clone(), key));
    assert_eq!((error.file, error.problem.contains("no PEM certificate")), (empty.clone(), true));
    let error = load(files(certificate, empty.clone()));
    assert_eq!((error.file, error.problem.contains("no private key")), (empty, true));
}

#[test]
fn a_self_signed_pair_is_made_once_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let files = CertificateFiles {
        certificate: folder.path().join("new/cert.pem"),
        key: folder.path().join("new/key.pem"),
    };
    make_self_signed(&files).unwrap();
    let mode = fs::metadata(&files.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let made = fs::read(&files.certificate).unwrap();
    make_self_signed(&files).unwrap();
    assert_eq!(fs::read(&files.certificate).unwrap(), made);
    let certificates = vec![files.clone()];
    ServerTls::load(ServerSettings { certificates, protocol: Protocol::Pop3, clients: None })
        .unwrap();

    fs::remove_file(&files.key).unwrap();
    assert_eq!(make_self_signed(&files).unwrap_err().file, files.key);
    assert!(!files.key.exists());
    fs::remove_file(&files.certificate).unwrap();
    make_self_signed(&files).unwrap();
    fs::remove_file(&files.certificate).unwrap();
    assert_eq!(make_self_signed(&files).unwrap_err().file, files.certificate);
}

pub(crate) const VERSIONS: [&[&SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];

#[tokio::test]
async fn a_client_that_comes_back_is_resumed() {
    let keys = Keys::new(&["localhost"]);
    let server = keys.server();
    for versions in VERSIONS {
        let config = keys.foreign_client_of(versions);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (result, client) = visit(&server, config.clone(), "localhost").await;
            result.unwrap();
            assert_eq!(client.tls.unwrap().handshake_kind(), Some(expected), "{versions:?}");
        }
    }
}

/// Our client's side visits a server that is not ours.
pub(crate) async fn call(
    tls: &ClientTls,
    server: ServerConfig,
    name: &str,
) -> (Result<(), io::Error>, Option<HandshakeKind>) {
    let (mut server_peer, mut ours) = peer::connected().await;
    server_peer.speak_tls_as_server(server);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let ours = async {
        ours.connect_tls(tls, name).await?;
        greeted(&mut ours).await
    };
    let theirs = async {
        if server_peer.shake_hands().await.is_ok() {
            server_peer.say("* OK\r\n").await;
        }
        server_peer.tls.unwrap().handshake_kind()
    };
    within(async { tokio::join!(ours, theirs) }).await
}

async fn greeted(stream: &mut Stream) -> io::Result<()> {
    let mut heard = Vec::new();
    stream.receive(|bytes| heard.extend_from_slice(bytes)).await?;
    assert_eq!(heard, b"* OK\r\n");
    Ok(())
}

#[tokio::test]
async fn we_are_resumed_when_we_come_back_to_a_back_end() {
    let keys = Keys::new(&["localhost"]);
    for versions in VERSIONS {
        let mut server = keys.foreign_server_of(versions);
        server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        let ours = keys.client();
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (result, kind) = call(&ours, server.clone(), "localhost").await;
            result.unwrap();
            assert_eq!(kind, Some(expected), "{versions:?}");
        }
    }
}

#[tokio::test]
async fn a_back_end_is_believed_by_a_root_and_its_name_only() {
    let keys = Keys::new(&["localhost", "127.0.0.1"]);
    let ours = keys.client();
    call(&ours, keys.foreign_server(), "localhost").await.0.unwrap();
    call(&ours, keys.foreign_server(), "127.0.0.1").await.0.unwrap();
    let error = call(&ours, keys.foreign_server(), "imap.example.com").await.0.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let stranger = Keys::new(&["localhost"]);
    let error = call(&ours, stranger.foreign_server(), "localhost").await.0.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_back_end_signed_by_itself_is_not_believed_by_default() {
    let keys = Keys::new(&["localhost"]);
    // A system without roots refuses earlier.
    let Ok(ours) = ClientTls::new(&Verify::default()) else { return };
    let error = call(&ours, keys.foreign_server(), "localhost").await.0.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_pinned_certificate_is_believed_under_any_name_and_no_other_is() {
    let keys = Keys::new(&["localhost"]);
    let pin: [u8; 32] =
        digest::digest(&digest::SHA256, &keys.certificate()).as_ref().try_into().unwrap();
    let ours = ClientTls::new(&Verify::Pins(vec![[0; 32], pin])).unwrap();
    for versions in VERSIONS {
        let server = keys.foreign_server_of(versions);
        call(&ours, server, "elsewhere.net").await.0.unwrap();
    }
    let stranger = Keys::new(&["localhost"]);
    let error = call(&ours, stranger.foreign_server(), "localhost").await.0.unwrap_err();
    assert!(error.to_string().contains("its SHA-256 is"), "{error}");
}

#[tokio::test]
async fn where_nothing_is_verified_any_certificate_will_do() {
    let keys = Keys::new(&["localhost"]);
    let ours = ClientTls::new(&Verify::Nothing).unwrap();
    call(&ours, keys.foreign_server(), "elsewhere.net").await.0.unwrap();
}

#[test]
fn roots_that_cannot_be_had_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    let verify = Verify::Roots { file: Some(file.clone()) };
    for text in
        [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let error = ClientTls::new(&verify).unwrap_err().to_string();
        assert!(error.contains("roots.pem"), "{error}");
    }
}
