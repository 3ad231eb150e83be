//! Certificates that clients show to us, and that we show to back ends; the name a client asks for.

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use model::{InvalidUserName, Protocol};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, DnValue, IsCa,
    Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
    string::BmpString,
};
use rustls::{
    ClientConfig, HandshakeKind, SupportedProtocolVersion, server::ClientCertVerifierBuilder,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use transport::tls::{
    Accepted, CertificateFiles, ClientCertificates, ClientTls, NamesNobody, ServerSettings,
    ServerTls, UserField, Verify, is_client_certificate,
};

use crate::{
    keys::Keys,
    peer,
    tls::{VERSIONS, call},
    within,
};

/// Who signs the certificates of clients.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, both PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Each has a name of its own, as in life.
        params.distinguished_name.push(DnType::CommonName, format!("{:?}", key.public_key_raw()));
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// The list of revoked certificates, with one in it.
    fn revoke(&self, serial: SerialNumber) -> String {
        let (now, later) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
        let revoked = RevokedCertParams {
            serial_number: serial,
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: later,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// What a certificate with these common names and alternative names is made of.
fn naming(common: &[DnValue], alternative: &[SanType]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (number, name) in common.iter().enumerate() {
        // The generator keeps one of each kind; by its number it is the same kind to all others.
        let kind = match number {
            0 => DnType::CommonName,
            _ => DnType::CustomDnType(vec![2, 5, 4, 3]),
        };
        params.distinguished_name.push(kind, name.clone());
    }
    params.subject_alt_names = alternative.to_vec();
    params
}

fn utf8(name: &str) -> DnValue {
    DnValue::Utf8String(name.to_owned())
}

fn email(address: &str) -> SanType {
    SanType::Rfc822Name(address.try_into().unwrap())
}

/// A listener that asks for certificates.
struct Door {
    keys: Keys,
    server: Arc<ServerTls>,
}

impl Door {
    fn new(authority: &Authority, required: bool, user: UserField) -> Self {
        let keys = Keys::new(&["localhost"]);
        let authorities = keys.files.key.with_file_name("clients.pem");
        fs::write(&authorities, &authority.pem).unwrap();
        let server = ServerTls::load(ServerSettings {
            certificates: vec![keys.files.clone()],
            protocol: Protocol::Imap,
            clients: Some(ClientCertificates { authorities, required, user }),
        });
        Self { keys, server: server.unwrap() }
    }

    /// A client with a certificate, or without.
    fn client(
        &self,
        pair: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut config = self.keys.foreign_client_of(versions);
        if let Some(pair) = pair {
            let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
            let own = rustls::sign::CertifiedKey::new(chain, key);
            config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(own));
        }
        config
    }

    /// What comes of a visit, and whether the session was a resumed one.
    async fn visit(&self, config: ClientConfig) -> (io::Result<Accepted>, Option<HandshakeKind>) {
        let (mut client, mut ours) = peer::connected().await;
        client.speak_tls_as_client(config, "localhost");
        let server = &self.server;
        // It closes when it is done.
        let ours = async move {
            let accepted = server.accept(&mut ours).await?;
            // The tickets go out before it.
            ours.write_all(b"* OK\r\n").await?;
            Ok(accepted)
        };
        let theirs = async {
            let mut greeting = [0; 6];
            let shaken = client.shake_hands().await;
            if shaken.is_ok() {
                // Under TLS 1.3 a refusal comes behind the client's end of the handshake.
                let _ = tokio::io::AsyncReadExt::read_exact(&mut client, &mut greeting).await;
            }
            client.tls.unwrap().handshake_kind()
        };
        within(async { tokio::join!(ours, theirs) }).await
    }

    async fn shows(&self, pair: Option<&Pair>) -> io::Result<Option<Result<String, NamesNobody>>> {
        let config = self.client(pair, rustls::ALL_VERSIONS);
        let accepted = self.visit(config).await.0?;
        let certificate = accepted.certificate;
        Ok(certificate.map(|named| named.map(|user| user.to_string())))
    }
}

#[tokio::test]
async fn a_certificate_names_its_user_and_so_does_the_session_that_is_resumed() {
    let authority = Authority::new();
    let door = Door::new(&authority, false, UserField::CommonName);
    let pair = authority.sign(&naming(&[utf8("ännchen")], &[]));
    for versions in VERSIONS {
        let config = door.client(Some(&pair), versions);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (accepted, kind) = door.visit(config.clone()).await;
            let accepted = accepted.unwrap();
            assert_eq!(kind, Some(expected), "{versions:?}");
            assert_eq!(accepted.certificate.unwrap().unwrap().as_str(), "ännchen", "{versions:?}");
            // The library shows the name asked for to no one but the resolver, in both cases.
            assert_eq!(accepted.server_name.unwrap().to_string(), "localhost", "{versions:?}");
        }
    }
}

#[tokio::test]
async fn a_session_without_a_certificate_is_resumed_without_one() {
    let authority = Authority::new();
    let door = Door::new(&authority, false, UserField::CommonName);
    for versions in VERSIONS {
        let config = door.client(None, versions);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let (accepted, kind) = door.visit(config.clone()).await;
            assert_eq!(kind, Some(expected), "{versions:?}");
            assert!(accepted.unwrap().certificate.is_none(), "{versions:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_ran_out_is_worth_nothing_in_a_resumed_session_either() {
    let authority = Authority::new();
    let door = Door::new(&authority, false, UserField::CommonName);
    for versions in VERSIONS {
        let mut params = naming(&[utf8("ann")], &[]);
        params.not_after = (SystemTime::now() + Duration::from_secs(4)).into();
        let pair = authority.sign(&params);
        let config = door.client(Some(&pair), versions);
        door.visit(config.clone()).await.0.unwrap();
        let error = within(async {
            loop {
                // Resumed each time, until it has run out.
                if let (Err(error), kind) = door.visit(config.clone()).await {
                    assert_eq!(kind, Some(HandshakeKind::Resumed));
                    return error;
                }
            }
        })
        .await;
        assert!(is_client_certificate(&error), "{error}");
    }
}

#[tokio::test]
async fn what_no_authority_here_has_signed_or_is_out_of_date_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for required in [false, true] {
        let door = Door::new(&authority, required, UserField::CommonName);
        let mut old = naming(&[utf8("ann")], &[]);
        old.not_before = date_time_ymd(2001, 1, 1);
        old.not_after = date_time_ymd(2002, 1, 1);
        for pair in [stranger.sign(&naming(&[utf8("ann")], &[])), authority.sign(&old)] {
            let error = door.shows(Some(&pair)).await.unwrap_err();
            assert!(is_client_certificate(&error), "{error}");
        }
        let good = authority.sign(&naming(&[utf8("ann")], &[]));
        assert_eq!(door.shows(Some(&good)).await.unwrap(), Some(Ok("ann".into())));
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_sent_away_only_where_one_is_required() {
    let authority = Authority::new();
    let optional = Door::new(&authority, false, UserField::CommonName);
    assert_eq!(optional.shows(None).await.unwrap(), None);
    let required = Door::new(&authority, true, UserField::CommonName);
    let error = required.shows(None).await.unwrap_err();
    assert!(is_client_certificate(&error), "{error}");
}

#[tokio::test]
async fn the_user_is_in_the_field_that_is_set_and_in_no_other() {
    let authority = Authority::new();
    let both = naming(&[utf8("ann")], &[email("ann@example.org")]);
    let both = authority.sign(&both);
    for (field, user) in [(UserField::CommonName, "ann"), (UserField::Email, "ann@example.org")] {
        let door = Door::new(&authority, false, field);
        assert_eq!(door.shows(Some(&both)).await.unwrap(), Some(Ok(user.into())));
    }
}

#[tokio::test]
async fn a_name_that_could_carry_a_command_or_leaves_a_doubt_is_no_name() {
    let authority = Authority::new();
    let invalid = |why| Err(NamesNobody::Invalid(why));
    let common = Door::new(&authority, false, UserField::CommonName);
    for (names, expected) in [
        (vec![utf8("ann\r\na LOGOUT")], invalid(InvalidUserName::ControlCharacter)),
        (vec![utf8("ann\0")], invalid(InvalidUserName::ControlCharacter)),
        (vec![utf8("ann\u{7f}")], invalid(InvalidUserName::ControlCharacter)),
        (vec![utf8("")], invalid(InvalidUserName::Empty)),
        (vec![utf8(&"a".repeat(513))], invalid(InvalidUserName::TooLong)),
        (vec![utf8("ann"), utf8("bob")], Err(NamesNobody::Ambiguous)),
        (vec![], Err(NamesNobody::Missing)),
        (
            vec![DnValue::BmpString(BmpString::try_from("ann").unwrap())],
            Err(NamesNobody::Unreadable),
        ),
    ] {
        let pair = authority.sign(&naming(&names, &[]));
        assert_eq!(common.shows(Some(&pair)).await.unwrap(), Some(expected), "{names:?}");
    }
    let by_mail = Door::new(&authority, false, UserField::Email);
    for (names, expected) in [
        (vec![email("ann@example.org\r\n")], invalid(InvalidUserName::ControlCharacter)),
        (vec![email("a@example.org"), email("b@example.org")], Err(NamesNobody::Ambiguous)),
        (vec![SanType::DnsName("ann.example".try_into().unwrap())], Err(NamesNobody::Missing)),
        (vec![], Err(NamesNobody::Missing)),
    ] {
        let pair = authority.sign(&naming(&[utf8("ann")], &names));
        assert_eq!(by_mail.shows(Some(&pair)).await.unwrap(), Some(expected), "{names:?}");
    }
}

#[tokio::test]
async fn a_revoked_certificate_counts_no_more_once_the_list_is_there() {
    let authority = Authority::new();
    let door = Door::new(&authority, false, UserField::CommonName);
    let params = |user: &str, serial: u64| {
        let mut params = naming(&[utf8(user)], &[]);
        params.serial_number = Some(SerialNumber::from(serial));
        authority.sign(&params)
    };
    let (lost, kept) = (params("ann", 7), params("bob", 8));
    let following = tokio::spawn(Arc::clone(&door.server).follow_files());
    // It holds a ticket.
    let config = door.client(Some(&lost), rustls::ALL_VERSIONS);
    door.visit(config.clone()).await.0.unwrap();
    let list = authority.revoke(SerialNumber::from(7));
    let authorities = door.keys.files.key.with_file_name("clients.pem");
    door.keys.put(&authorities, &format!("{}{list}", authority.pem));
    within(async { while door.visit(config.clone()).await.0.is_ok() {} }).await;
    assert_eq!(door.shows(Some(&kept)).await.unwrap(), Some(Ok("bob".into())));
    following.abort();
}

#[test]
fn authorities_that_cannot_be_used_are_named() {
    let keys = Keys::new(&["localhost"]);
    let authorities = keys.files.key.with_file_name("clients.pem");
    for text in
        [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        if let Some(text) = text {
            fs::write(&authorities, text).unwrap();
        }
        let error = ServerTls::load(ServerSettings {
            certificates: vec![keys.files.clone()],
            protocol: Protocol::Imap,
            clients: Some(ClientCertificates {
                authorities: authorities.clone(),
                required: false,
                user: UserField::Email,
            }),
        });
        assert_eq!(error.unwrap_err().file, authorities);
    }
}

/// A back end that requires a certificate of this authority.
fn back_end(authority: &Authority, keys: &Keys) -> rustls::ServerConfig {
    asking(authority, keys, rustls::ALL_VERSIONS, |verifier| verifier)
}

/// A back end that asks for a certificate of this authority.
fn asking(
    authority: &Authority,
    keys: &Keys,
    versions: &[&'static SupportedProtocolVersion],
    how: fn(ClientCertVerifierBuilder) -> ClientCertVerifierBuilder,
) -> rustls::ServerConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::clone(&provider),
    );
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(how(verifier).build().unwrap())
        .with_single_cert(
            vec![keys.certificate()],
            PrivateKeyDer::from_pem_file(&keys.files.key).unwrap(),
        )
        .unwrap()
}

#[tokio::test]
async fn a_back_end_that_asks_is_shown_our_certificate_as_it_is_in_its_files_now() {
    let (authority, keys) = (Authority::new(), Keys::new(&["localhost"]));
    let server = back_end(&authority, &keys);
    let believing = Verify::Roots { file: Some(keys.files.certificate.clone()) };
    let without = ClientTls::new(&believing).unwrap();
    assert!(call(&without, server.clone(), "localhost").await.0.is_err());

    let stranger = Authority::new();
    let own = Keys::new(&["unused"]);
    let put = |pair: &Pair| {
        own.put(&own.files.key, &pair.key);
        own.put(&own.files.certificate, &pair.certificate);
    };
    put(&stranger.sign(&naming(&[utf8("posthouse")], &[])));
    let ours = ClientTls::with_certificate(&believing, &own.files).unwrap();
    assert!(call(&ours, server.clone(), "localhost").await.0.is_err());
    put(&authority.sign(&naming(&[utf8("posthouse")], &[])));
    let following = tokio::spawn(ours.clone().follow_files());
    within(async { while call(&ours, server.clone(), "localhost").await.0.is_err() {} }).await;
    following.abort();
}

#[tokio::test]
async fn a_back_end_that_asks_for_a_certificate_is_never_asked_to_resume_a_session() {
    let (authority, keys) = (Authority::new(), Keys::new(&["localhost"]));
    let own = Keys::new(&["unused"]);
    let pair = authority.sign(&naming(&[utf8("posthouse")], &[]));
    own.put(&own.files.key, &pair.key);
    own.put(&own.files.certificate, &pair.certificate);
    let believing = Verify::Roots { file: Some(keys.files.certificate.clone()) };
    let asks = ClientCertVerifierBuilder::allow_unauthenticated;
    for versions in VERSIONS {
        let mut server = asking(&authority, &keys, versions, asks);
        server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
        for ours in [
            ClientTls::new(&believing).unwrap(),
            ClientTls::with_certificate(&believing, &own.files).unwrap(),
        ] {
            for _ in 0..3 {
                let (result, kind) = call(&ours, server.clone(), "localhost").await;
                result.unwrap();
                assert_eq!(kind, Some(HandshakeKind::Full), "{versions:?}");
            }
        }
    }
}

#[test]
fn our_own_certificate_is_told_of_by_its_file_and_its_key_is_never_shown() {
    let keys = Keys::new(&["localhost"]);
    let ours = ClientTls::with_certificate(&Verify::Nothing, &keys.files).unwrap();
    let key = PrivateKeyDer::from_pem_file(&keys.files.key).unwrap();
    // The private number of an EC key stands in the middle of its PKCS #8 form.
    let part = format!("{:?}", &key.secret_der()[40..48]);
    let part = part.trim_matches(['[', ']']);
    assert!(!format!("{ours:?}").contains(part));

    let other = Keys::new(&["localhost"]);
    let files = CertificateFiles { key: other.files.key.clone(), ..keys.files.clone() };
    let error = ClientTls::with_certificate(&Verify::Nothing, &files).unwrap_err().to_string();
    assert!(error.contains("is not the key of the certificate"), "{error}");
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    keys.put(&keys.files.key, locked);
    let error = ClientTls::with_certificate(&Verify::Nothing, &keys.files).unwrap_err().to_string();
    assert!(error.contains("key.pem") && error.contains("passphrase"), "{error}");
}
