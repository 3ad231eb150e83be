//! Servers of an older age, on loopback.

use std::{
    fs, io,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread::{self, JoinHandle},
    time::Duration,
};

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    dh::Dh,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::Rsa,
    ssl::{ShutdownResult, SslContext, SslContextBuilder, SslMethod},
    x509::{
        X509Name,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};
use tempfile::TempDir;

use super::*;
use crate::{Received, Stream, tls::ClientTls};

/// The server's end of a connection.
type Peer = SslStream<TcpStream>;

const AES: &str = "AES128-SHA";
const DAY: i64 = 24 * 60 * 60;

/// A key with its certificate.
struct Keys {
    key: PKey<Private>,
    certificate: X509,
    folder: TempDir,
}

/// What a test's certificate is like.
struct Wanted<'w> {
    name: &'w str,
    bits: u32,
    digest: MessageDigest,
    /// Days from now to its end.
    until: i64,
    signer: Option<&'w Keys>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        let digest = MessageDigest::sha1();
        Self { name: "localhost", bits: 1024, digest, until: 30, signer: None }
    }
}

impl Keys {
    /// As old as may be: RSA with 1024 bits, signed by itself with SHA-1.
    fn old() -> Self {
        Self::new(&Wanted::default())
    }

    fn new(wanted: &Wanted<'_>) -> Self {
        let key = PKey::from_rsa(Rsa::generate(wanted.bits).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder
            .set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap())
            .unwrap();
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, wanted.name).unwrap();
        let name = name.build();
        builder.set_subject_name(&name).unwrap();
        let issuer = wanted.signer.map(|signer| signer.certificate.subject_name());
        builder.set_issuer_name(issuer.unwrap_or(&name)).unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(now - 90 * DAY).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(now + wanted.until * DAY).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        let names = SubjectAlternativeName::new()
            .dns(wanted.name)
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(names).unwrap();
        let mut constraints = BasicConstraints::new();
        if wanted.signer.is_none() {
            constraints.ca();
        }
        builder.append_extension(constraints.build().unwrap()).unwrap();
        let signer = wanted.signer.map_or(&key, |signer| &signer.key);
        builder.sign(signer, wanted.digest).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let certificate = builder.build();
        fs::write(folder.path().join("cert.pem"), certificate.to_pem().unwrap()).unwrap();
        fs::write(folder.path().join("key.pem"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        Self { key, certificate, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Both files.
    fn files(&self) -> CertificateFiles {
        CertificateFiles { certificate: self.file(), key: self.folder.path().join("key.pem") }
    }

    /// Believes what this certificate signed, and itself.
    fn roots(&self) -> Verify {
        Verify::Roots { file: Some(self.file()) }
    }

    fn pin(&self) -> [u8; 32] {
        self.certificate.digest(MessageDigest::sha256()).unwrap().as_ref().try_into().unwrap()
    }
}

/// The settings of a server that speaks one version with some ciphers.
fn server(keys: &Keys, version: SslVersion, ciphers: &str) -> SslContextBuilder {
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    builder.set_cipher_list(&format!("{ciphers}:@SECLEVEL=0")).unwrap();
    builder.set_certificate(&keys.certificate).unwrap();
    builder.set_private_key(&keys.key).unwrap();
    builder.set_tmp_dh(&Dh::get_1024_160().unwrap()).unwrap();
    builder
}

/// A server that speaks one version with some ciphers, to one client.
struct Old<T> {
    address: std::net::SocketAddr,
    done: JoinHandle<Result<T, String>>,
}

impl<T: Send + 'static> Old<T> {
    fn start(
        keys: &Keys,
        version: SslVersion,
        ciphers: &str,
        talk: impl FnOnce(&mut Peer) -> T + Send + 'static,
    ) -> Self {
        Self::start_as(server(keys, version, ciphers).build(), talk)
    }

    fn start_as(context: SslContext, talk: impl FnOnce(&mut Peer) -> T + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let done = thread::spawn(move || {
            let (tcp, _) = listener.accept().map_err(|error| error.to_string())?;
            tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            tcp.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
            let ssl = Ssl::new(&context).unwrap();
            let mut peer = ssl.accept(tcp).map_err(|error| error.to_string())?;
            Ok(talk(&mut peer))
        });
        Self { address, done }
    }

    /// What the talk gave back, or why there was none.
    fn done(self) -> Result<T, String> {
        self.done.join().unwrap()
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.unwrap()
}

async fn connect(address: std::net::SocketAddr, tls: &ClientTls) -> io::Result<Stream> {
    let mut stream = Stream::plain(tokio::net::TcpStream::connect(address).await.unwrap());
    within(stream.connect_tls(tls, ServerName::try_from("localhost").unwrap())).await?;
    within(stream.write_all(b"")).await?;
    Ok(stream)
}

async fn connect_legacy(address: std::net::SocketAddr, verify: &Verify) -> io::Result<Stream> {
    connect(address, &ClientTls::legacy(verify, None).unwrap()).await
}

/// The error of a client that must not come through, and that the server heard nothing.
async fn refused(keys: &Keys, verify: &Verify) -> io::Error {
    let server = Old::start(keys, SslVersion::TLS1, AES, |peer| {
        let mut heard = Vec::new();
        let _ = peer.read_to_end(&mut heard);
        heard
    });
    let error = connect_legacy(server.address, verify).await.err().unwrap();
    assert_eq!(server.done().unwrap_or_default(), b"");
    error
}

async fn hear(stream: &mut Stream, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let received = within(stream.receive(|bytes| heard.extend_from_slice(bytes))).await;
        assert_ne!(received.unwrap(), Received::Closed);
    }
    heard
}

fn hint(error: &io::Error) -> Option<&'static str> {
    ClientTls::legacy(&Verify::Nothing, None).unwrap().hint(error)
}

/// Says back one line.
fn echo(peer: &mut Peer) {
    let mut line = [0; 6];
    peer.read_exact(&mut line).unwrap();
    peer.write_all(&line).unwrap();
}

#[tokio::test]
async fn old_versions_key_exchanges_and_ciphers_are_spoken() {
    let keys = Keys::old();
    for (version, ciphers, word) in [
        (SslVersion::TLS1, AES, "1.0"),
        (SslVersion::TLS1, "DES-CBC3-SHA", "1.0"),
        (SslVersion::TLS1, "ECDHE-RSA-AES256-SHA", "1.0"),
        (SslVersion::TLS1, "DHE-RSA-AES128-SHA", "1.0"),
        (SslVersion::TLS1_1, "AES256-SHA", "1.1"),
        (SslVersion::TLS1_2, "AES256-SHA256", "1.2"),
        (SslVersion::TLS1_2, "ECDHE-RSA-AES128-GCM-SHA256", "1.2"),
    ] {
        let server = Old::start(&keys, version, ciphers, echo);
        let mut stream = connect_legacy(server.address, &keys.roots()).await.unwrap();
        assert_eq!(stream.tls_version(), Some(word));
        within(stream.write_all(b"a NOOP")).await.unwrap();
        assert_eq!(hear(&mut stream, 6).await, b"a NOOP", "{ciphers}");
        server.done().unwrap();
    }
}

#[tokio::test]
async fn an_old_server_that_asks_is_shown_our_certificate_with_its_chain() {
    let keys = Keys::old();
    let authority = Keys::new(&Wanted { name: "authority", bits: 2048, ..Wanted::default() });
    let ours = Keys::new(&Wanted { signer: Some(&authority), bits: 2048, ..Wanted::default() });
    let chain = [&ours, &authority].map(|keys| keys.certificate.to_pem().unwrap()).concat();
    fs::write(ours.file(), chain).unwrap();
    let asking = || {
        let mut asking = server(&keys, SslVersion::TLS1, AES);
        asking.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        asking.set_cert_store(store(&[authority.certificate.to_der().unwrap().into()]).unwrap());
        asking.build()
    };
    let server = Old::start_as(asking(), |peer| {
        echo(peer);
        let shown = peer.ssl().peer_certificate().unwrap().to_der().unwrap();
        (shown, peer.ssl().peer_cert_chain().map_or(0, |chain| chain.len()))
    });
    let tls = ClientTls::legacy(&keys.roots(), Some(&ours.files())).unwrap();
    let mut stream = connect(server.address, &tls).await.unwrap();
    within(stream.write_all(b"a NOOP")).await.unwrap();
    assert_eq!(hear(&mut stream, 6).await, b"a NOOP");
    let (shown, links) = server.done().unwrap();
    assert!(shown == ours.certificate.to_der().unwrap() && links >= 1, "{links}");

    let server = Old::start_as(asking(), echo);
    if let Ok(mut stream) = connect_legacy(server.address, &keys.roots()).await {
        within(stream.receive(|_| {})).await.unwrap_err();
    }
    server.done().unwrap_err();

    let files = CertificateFiles { key: keys.files().key, ..ours.files() };
    let error = ClientTls::legacy(&keys.roots(), Some(&files)).unwrap_err().to_string();
    assert!(error.contains("is not the key of the certificate in"), "{error}");
}

#[tokio::test]
async fn what_only_legacy_tls_reaches_is_refused_otherwise_with_a_hint_at_it() {
    let keys = Keys::old();
    let strong =
        Keys::new(&Wanted { bits: 2048, digest: MessageDigest::sha256(), ..Wanted::default() });
    for (keys, version, ciphers) in [
        (&strong, SslVersion::TLS1, AES),
        (&strong, SslVersion::TLS1_1, "ECDHE-RSA-AES256-SHA"),
        (&strong, SslVersion::TLS1_2, "AES128-GCM-SHA256"),
        (&keys, SslVersion::TLS1_2, "ECDHE-RSA-AES128-GCM-SHA256"),
    ] {
        let server = Old::start(keys, version, ciphers, |_| ());
        let verify = keys.roots();
        let tls = ClientTls::new(&verify).unwrap();
        let error = connect(server.address, &tls).await.err().unwrap();
        let hinted = tls.hint(&error).unwrap_or_default();
        assert!(hinted.contains("`tls_legacy = true`"), "{ciphers}: {error} ({hinted})");
        let _ = server.done();
    }
}

#[tokio::test]
async fn a_certificate_is_judged_as_by_the_other_library() {
    let keys = Keys::old();
    let other = Keys::old();
    let authority = Keys::new(&Wanted { name: "authority", ..Wanted::default() });
    let leaf = Keys::new(&Wanted { signer: Some(&authority), ..Wanted::default() });
    for (shown, verify) in [
        (&keys, Verify::Nothing),
        (&keys, keys.roots()),
        (&keys, Verify::Pins(vec![[0; 32], keys.pin()])),
        (&leaf, authority.roots()),
        (&leaf, leaf.roots()),
    ] {
        let server = Old::start(shown, SslVersion::TLS1, AES, echo);
        let mut stream = connect_legacy(server.address, &verify).await.unwrap();
        within(stream.write_all(b"a NOOP")).await.unwrap();
        server.done().unwrap();
    }
    for (verify, said, hinted) in [
        (other.roots(), "invalid peer certificate: ", Some(hints::ISSUER)),
        (authority.roots(), "invalid peer certificate: ", Some(hints::ISSUER)),
        (Verify::Roots { file: None }, "invalid peer certificate: ", Some(hints::ISSUER)),
        (Verify::Pins(vec![other.pin()]), "not the pinned one; its SHA-256 is ", None),
    ] {
        let error = refused(&keys, &verify).await;
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(hint(&error), hinted, "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_or_out_of_date_is_refused() {
    let named = Keys::new(&Wanted { name: "other.test", ..Wanted::default() });
    let error = refused(&named, &named.roots()).await;
    assert_eq!(hint(&error), Some(hints::NAME), "{error}");
    let expired = Keys::new(&Wanted { until: -1, ..Wanted::default() });
    let error = refused(&expired, &expired.roots()).await;
    assert_eq!(hint(&error), Some(hints::DATES), "{error}");
    let error = refused(&expired, &Verify::Pins(vec![[1; 32]])).await;
    assert!(error.to_string().contains("pinned"), "{error}");
}

#[tokio::test]
async fn a_key_that_anybody_breaks_is_refused_whatever_is_believed() {
    let weak = Keys::new(&Wanted { bits: 768, ..Wanted::default() });
    let error = refused(&weak, &Verify::Nothing).await;
    assert!(error.to_string().contains("certificate's key has 768 bits"), "{error}");
}

#[tokio::test]
async fn an_end_without_close_notify_is_a_truncation_and_one_with_it_is_not() {
    let keys = Keys::old();
    let server =
        Old::start(&keys, SslVersion::TLS1, AES, |peer| peer.write_all(b"* BYE\r\n").unwrap());
    let mut stream = connect_legacy(server.address, &keys.roots()).await.unwrap();
    hear(&mut stream, 7).await;
    let end = within(stream.receive(|_| ())).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let server = Old::start(&keys, SslVersion::TLS1, AES, |peer| {
        peer.write_all(b"* BYE\r\n").unwrap();
        peer.shutdown().unwrap();
    });
    let mut stream = connect_legacy(server.address, &keys.roots()).await.unwrap();
    hear(&mut stream, 7).await;
    assert_eq!(within(stream.receive(|_| ())).await.unwrap(), Received::Closed);
}

#[tokio::test]
async fn either_side_may_end_its_direction_and_go_on_in_the_other() {
    let keys = Keys::old();
    // The server ends first and still hears, to a clean end.
    let server = Old::start(&keys, SslVersion::TLS1, AES, |peer| {
        assert_eq!(peer.shutdown().unwrap(), ShutdownResult::Sent);
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        heard
    });
    let mut stream = connect_legacy(server.address, &keys.roots()).await.unwrap();
    assert_eq!(within(stream.receive(|_| ())).await.unwrap(), Received::Closed);
    within(stream.write_all(b"a NOOP")).await.unwrap();
    within(stream.close_and_drain(Duration::from_secs(5))).await;
    assert_eq!(server.done().unwrap(), b"a NOOP");
    // We end first and still hear.
    let server = Old::start(&keys, SslVersion::TLS1, AES, |peer| {
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        peer.write_all(b"a OK\r\n").unwrap();
    });
    let mut stream = connect_legacy(server.address, &keys.roots()).await.unwrap();
    stream.queue_close();
    within(std::future::poll_fn(|cx| stream.poll_shut(cx))).await.unwrap();
    assert_eq!(hear(&mut stream, 6).await, b"a OK\r\n");
    server.done().unwrap();
}

#[tokio::test]
async fn much_comes_through_both_ways_and_leaves_no_buffer() {
    const MUCH: usize = 5_000_000;
    let keys = Keys::old();
    let server = Old::start(&keys, SslVersion::TLS1, AES, |peer| {
        let mut heard = vec![0; MUCH];
        peer.read_exact(&mut heard).unwrap();
        peer.write_all(&heard).unwrap();
    });
    let mut stream = connect_legacy(server.address, &keys.roots()).await.unwrap();
    let said: Vec<u8> = (0..=250).cycle().take(MUCH).collect();
    within(stream.write_all(&said)).await.unwrap();
    assert!(hear(&mut stream, MUCH).await == said);
    assert!(stream.holds_nothing());
    server.done().unwrap();
}

#[tokio::test]
async fn a_server_without_tls_comes_with_where_to_look() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        tcp.write_all(b"* OK IMAP4rev1 ready\r\n").unwrap();
        let _ = tcp.read(&mut [0; 512]);
    });
    let error = connect_legacy(address, &Verify::Nothing).await.err().unwrap();
    assert_eq!(hint(&error), Some(hints::NO_TLS), "{error}");
    server.join().unwrap();
}

#[test]
fn a_failed_connection_is_not_asked_again() {
    let context = Context::new(&Verify::Nothing, None).unwrap();
    let mut session = context.session(&ServerName::try_from("localhost").unwrap()).unwrap();
    let mut outgoing = Outgoing::default();
    let mut plain = Vec::new();
    let first = session.receive(b"", 0, &mut plain, &mut outgoing).unwrap();
    assert_eq!(first, Progress::Handshaking);
    assert!(outgoing.filled().starts_with(&[22, 3]));
    assert!(session.encrypt(b"secret", &mut outgoing).is_err());
    let again = session.receive(b"", 0, &mut plain, &mut outgoing).unwrap_err();
    assert!(matches!(again, Failure::Before));
    session.close(&mut outgoing);
    assert!(plain.is_empty());
}

#[test]
fn a_handshake_and_data_cut_into_single_bytes_come_through() {
    let keys = Keys::old();
    let ssl = Ssl::new(&server(&keys, SslVersion::TLS1, AES).build()).unwrap();
    let mut server = SslStream::new(ssl, Wire::default()).unwrap();
    let context = Context::new(&keys.roots(), None).unwrap();
    let mut client = context.session(&ServerName::try_from("localhost").unwrap()).unwrap();
    let (mut outgoing, mut plain) = (Outgoing::default(), Vec::new());
    let mut progress = client.receive(b"", 0, &mut plain, &mut outgoing).unwrap();
    while progress == Progress::Handshaking {
        server.get_mut().incoming.extend(outgoing.filled());
        outgoing.clear();
        let done = server.accept().is_ok();
        if done {
            server.write_all(b"* OK ready\r\n").unwrap();
        }
        let answer = std::mem::take(&mut server.get_mut().outgoing);
        assert!(!answer.is_empty());
        for byte in answer {
            progress = client.receive(&[byte], 1, &mut plain, &mut outgoing).unwrap();
        }
    }
    assert_eq!(progress, Progress::Open);
    assert_eq!(plain, b"* OK ready\r\n");
    assert!(client.holds_nothing());
}
