//! What holds for all inputs. `PROPTEST_CASES` asks for more of them.

use std::sync::Arc;

use model::{Credentials, Mechanism, Proof, Protocol, Refusal, Secret, Token, UserName};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proto::back::{self, Back, How, Login, Tls, Whose};
use proto::front::{self, Front, Limits, Privacy, Said, Welcome};
use proto::identity::{Claims, Identity, SessionName, Transport};
use proto::probe::Probe;
use proto::proxy_protocol::{self, Addresses, Header, Parsed};
use proto::sasl::TokenMechanism;
use proto::sasl::scram::ChannelBindings;
use proto::{Machine, Step};

use crate::drive::{Did, Driver, Shown};

const LIMITS: Limits = Limits { commands: 12, literal: 20, line: 60, sasl_line: 90 };
/// What a back end may say before its verdict, and a line more.
const BACK_BOUND: usize = 72 * 1024;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

pub(crate) fn settings(privacy: Privacy, limits: Limits) -> front::Settings {
    front::Settings {
        privacy,
        starttls: false,
        offer: ["IDLE".to_owned(), "UIDL".to_owned()].into(),
        greeting_name: Arc::from("test"),
        limits,
        mechanisms: Mechanism::ALL.into_iter().collect(),
        certificate: UserName::new("alice").ok(),
        bindings: ChannelBindings { exporter: Some(Box::from([1])), server_end_point: None },
        relay_text: false,
        trusted: true,
    }
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(Protocol::ALL.to_vec())
}

fn privacy() -> impl Strategy<Value = Privacy> {
    select(vec![Privacy::Tls, Privacy::Tls, Privacy::ClearAllowed, Privacy::ClearRefused])
}

/// Pieces of which clients' and back ends' words are made, in any order.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        " ",
        "a ",
        "b1 ",
        "LOGIN ",
        "alice ",
        "\"",
        "\\",
        "{3}\r\n",
        "{3+}\r\n",
        "~{2+}\r\n",
        "{0}\r\n",
        "{21}\r\n",
        "{21+}\r\n",
        "{999999999999999999999}\r\n",
        "abc",
        "AUTHENTICATE ",
        "EXTERNAL",
        "XOAUTH2",
        "OAUTHBEARER ",
        "dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0AQE=",
        "bixhPWFsaWNlLAFhdXRoPUJlYXJlciB0AQE=",
        "XCLIENT ADDR=192.0.2.1",
        " TTL=1",
        "x-proxy-ttl\" \"1",
        "PLAIN",
        "LOGIN",
        " =",
        "*",
        "AGEAYg==",
        "YQ==",
        "NOOP",
        "CAPABILITY",
        "ID (\"",
        "\")",
        "NIL",
        "LOGOUT",
        "STARTTLS",
        "SELECT x",
        "USER a",
        "PASS b",
        "AUTH ",
        "CAPA",
        "STLS",
        "QUIT",
        "GET / HTTP/1.1",
        "\u{16}",
        "* OK ",
        "[CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN]",
        "* CAPABILITY X",
        "ph1 OK",
        "ph2 OK",
        "ph4 OK",
        "ph4 NO ",
        "ph7 OK",
        "ph7 NO [SERVERBUG]",
        "+ eyJ9",
        "ph5 OK",
        "+ ",
        "+OK",
        "-ERR ",
        "[AUTH]",
        "* BYE",
        ".",
    ];
    prop_oneof![
        9 => select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..30),
    ]
}

/// Commands as clients send them.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let lines = [
        "a LOGIN alice sesame",
        "a LOGIN \"al\\\"ice\" {3+}\r\nx\r\n",
        "a LOGIN {5}\r\nalice {3}\r\n\r\n\0",
        "a LOGIN {21}",
        "a LOGIN {5+}\r\nb LOG",
        "a AUTHENTICATE PLAIN AGEAYg==",
        "a AUTHENTICATE PLAIN\r\n*",
        "a AUTHENTICATE LOGIN\r\nYQ==\r\nYg==",
        "a AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0AQE=",
        "a AUTHENTICATE OAUTHBEARER\r\nbixhPWFsaWNlLAFhdXRoPUJlYXJlciB0AQE=",
        "a AUTHENTICATE EXTERNAL =",
        "AUTH XOAUTH2 dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0AQE=",
        "AUTH EXTERNAL\r\nYWxpY2U=",
        "XCLIENT ADDR=192.0.2.1 TTL=3",
        "a ID (\"x-originating-ip\" \"192.0.2.1\")",
        "a CAPABILITY",
        "a ID (\"x\" NIL)",
        "a NOOP",
        "a SELECT {4}",
        "a FOO {3+}\r\nabc",
        "",
        "USER alice",
        "PASS sesame",
        "AUTH PLAIN AGEAYg==",
        "AUTH LOGIN YQ==\r\nYg==",
        "AUTH",
        "CAPA",
        "STAT",
        "NOOP",
    ];
    let line = select(lines.to_vec()).prop_map(|line| [line.as_bytes(), b"\r\n"].concat());
    prop_oneof![6 => line, 1 => piece()]
}

fn decisions() -> impl Strategy<Value = Vec<bool>> {
    vec(any::<bool>(), 0..6)
}

fn front_answers(decisions: &[bool]) -> Vec<front::Answer> {
    let answer = |yes: &bool| match yes {
        true => front::Answer::Welcome(welcome()),
        false => front::Answer::Refuse(Refusal::AuthenticationFailed, Said::default()),
    };
    decisions.iter().map(answer).collect()
}

fn welcome() -> Welcome {
    Welcome { capabilities: Some(vec!["IDLE".to_owned()]), unauthenticate: false }
}

/// Cuts a stream at these places.
fn cut<'a>(stream: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(stream.len() + 1)).collect();
    places.push(stream.len());
    places.sort_unstable();
    let mut start = 0;
    places.iter().map(|end| &stream[std::mem::replace(&mut start, *end)..*end]).collect()
}

/// All that a front does with a stream, and what is left over.
fn fronts_work(mut driver: Driver<Front>, pieces: &[&[u8]]) -> (Vec<Did>, Vec<u8>) {
    driver.run();
    for piece in pieces {
        driver.feed(piece, usize::MAX);
    }
    let mut rest = driver.machine.into_rest();
    if !matches!(driver.did.last(), Some(Did::Asked(what)) if what.starts_with("closed")) {
        rest.extend(driver.unfed);
        return (driver.did, rest);
    }
    (driver.did, Vec::new())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn how_a_client_s_stream_is_cut_changes_nothing(
        protocol in protocol(),
        privacy in privacy(),
        small in any::<bool>(),
        commands in vec(command(), 0..10),
        decisions in decisions(),
        places in vec(any::<Index>(), 0..8),
    ) {
        let stream = commands.concat();
        let limits = if small { LIMITS } else { Limits::default() };
        let driver = || {
            let front = Front::new(protocol, settings(privacy, limits));
            Driver::new(front, front_answers(&decisions))
        };
        let whole = fronts_work(driver(), &[&stream]);
        prop_assert_eq!(&fronts_work(driver(), &cut(&stream, &places)), &whole);
        let bytes: Vec<_> = stream.chunks(1).collect();
        prop_assert_eq!(&fronts_work(driver(), &bytes), &whole);
    }

    #[test]
    fn no_client_makes_a_front_panic_or_keep_more_than_its_limits(
        protocol in protocol(),
        privacy in privacy(),
        starttls in any::<bool>(),
        pieces in vec(piece(), 0..60),
    ) {
        let settings = front::Settings { starttls, ..settings(privacy, LIMITS) };
        let mut front = Front::new(protocol, settings);
        for piece in pieces.concat().chunks(7) {
            refuse_everything(&mut front);
            front.receive(piece);
        }
        refuse_everything(&mut front);
        // A command's text, two literals, line ends and the piece that came last.
        let bound = LIMITS.sasl_line + 2 * LIMITS.literal + 20 + 7;
        prop_assert!(front.into_rest().len() <= bound);
    }

    #[test]
    fn no_back_end_makes_a_back_or_a_probe_panic_or_keep_more_than_its_limits(
        protocol in protocol(),
        starttls in any::<bool>(),
        plain in any::<bool>(),
        (identified, pipelining) in any::<(bool, bool)>(),
        how in how(),
        pieces in vec(piece(), 0..60),
        flood in (any::<bool>(), piece()),
    ) {
        let settings = back::Settings {
            identity: identified.then(|| Arc::new(identity())),
            pipelining,
            ..back::Settings::new(if starttls { Tls::StartTls } else { Tls::AsItIs })
        };
        let greeting: &[u8] = match (protocol, plain) {
            (Protocol::Imap, true) => b"* OK [CAPABILITY AUTH=PLAIN AUTH=XOAUTH2 STARTTLS ID] x\r\n",
            (Protocol::Imap, false) => b"* OK [CAPABILITY STARTTLS] x\r\n",
            (Protocol::Pop3, _) => b"+OK [XCLIENT]\r\n",
        };
        let pieces = [pieces, if flood.0 { vec![flood.1; 3000] } else { Vec::new() }].concat();
        let login = login(UserName::new("al ice").unwrap(), how);
        let back = Back::new(protocol, settings.clone(), login);
        let mut back = Driver::new(back, [back::Answer::TlsStarted]);
        let mut probe = Driver::new(Probe::new(protocol, settings), [back::Answer::TlsStarted]);
        back.feed(greeting, usize::MAX);
        probe.feed(greeting, usize::MAX);
        for piece in &pieces {
            back.feed(piece, 7);
            probe.feed(piece, 7);
        }
        prop_assert!(back.machine.into_rest().len() <= BACK_BOUND);
    }

    #[test]
    fn how_a_back_end_s_stream_is_cut_changes_nothing(
        protocol in protocol(),
        how in how(),
        pieces in vec(piece(), 0..30),
        places in vec(any::<Index>(), 0..8),
    ) {
        let greeting = match protocol {
            Protocol::Imap => "* OK [CAPABILITY AUTH=PLAIN AUTH=OAUTHBEARER SASL-IR] x\r\n",
            Protocol::Pop3 => "+OK\r\n",
        };
        let stream = [greeting.as_bytes().to_vec(), pieces.concat()].concat();
        let work = |pieces: &[&[u8]]| {
            let settings = back::Settings::new(Tls::AsItIs);
            let login = login(UserName::new("alice").unwrap(), how.clone());
            let mut driver = Driver::new(Back::new(protocol, settings, login), []);
            for piece in pieces {
                driver.feed(piece, usize::MAX);
            }
            (driver.did, [driver.machine.into_rest(), driver.unfed].concat())
        };
        prop_assert_eq!(work(&cut(&stream, &places)), work(&[&stream]));
    }

    #[test]
    fn a_front_reads_the_credentials_that_a_back_writes(
        protocol in protocol(),
        user in user_name(),
        how in how(),
        list in subsequence(
            vec![
                "AUTH=PLAIN",
                "AUTH=EXTERNAL",
                "AUTH=OAUTHBEARER",
                "AUTH=XOAUTH2",
                "SASL-IR",
                "LITERAL+",
                "LITERAL-",
            ],
            0..=7,
        ),
    ) {
        let sent = login(user, how);
        match meet(protocol, sent.clone(), &list) {
            Met::LoggedIn { credentials, welcome } => {
                prop_assert_eq!(&credentials.user, &sent.user);
                prop_assert!(is_proof(&sent.how, &credentials));
                let list = (protocol == Protocol::Imap).then(|| vec!["IDLE".to_owned()]);
                prop_assert_eq!(welcome.capabilities, list);
            }
            Met::Not(why) => prop_assert!(has_no_way(protocol, &sent.how, &list), "{}", why),
        }
    }

    #[test]
    fn a_trusted_front_hears_what_a_back_says_of_the_client(
        protocol in protocol(),
        pipelining in any::<bool>(),
        (client, connected) in any::<(std::net::SocketAddr, std::net::SocketAddr)>(),
        forward in vec(("[a-z0-9_-]{1,20}", "[ -~]{0,60}"), 0..4),
        how in how(),
    ) {
        let plain = |address: std::net::SocketAddr| {
            std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
        };
        let (client, connected) = (plain(client), plain(connected));
        let told = Identity { client, connected, forward, ..identity() };
        let settings = back::Settings {
            identity: Some(Arc::new(told.clone())),
            pipelining,
            ..back::Settings::new(Tls::AsItIs)
        };
        let heard = Claims {
            client: Some(told.client),
            connected: Some(told.connected),
            forward: told.forward,
            server_name: None,
            session: Some(told.session),
            transport: Some(told.transport),
            ttl: Some(told.ttl),
        };
        let back = Back::new(protocol, settings, login(UserName::new("alice").unwrap(), how));
        prop_assert_eq!(heard_before_login(protocol, back), Some(heard));
    }

    #[test]
    fn a_proxy_header_is_read_as_it_was_built(
        client in any::<std::net::SocketAddr>(),
        connected in any::<std::net::SocketAddr>(),
        tls in any::<Option<(bool, bool)>>(),
        unique_id in proptest::option::of(vec(any::<u8>(), 0..=128)),
        rest in vec(any::<u8>(), 0..40),
    ) {
        let plain = |address: std::net::SocketAddr| {
            std::net::SocketAddr::new(address.ip().to_canonical(), address.port())
        };
        let (client, connected) = (plain(client), plain(connected));
        let addresses = Addresses { client, connected };
        let tls = tls.map(|(certificate, version)| proxy_protocol::Tls {
            certificate,
            common_name: UserName::new("alice").ok().filter(|_| certificate),
            version: version.then(|| "TLSv1.3".to_owned()),
        });
        let header = Header { addresses: Some(addresses), tls, unique_id, ..Header::default() };
        let built = proxy_protocol::build_v2(&header);
        let parsed = proxy_protocol::parse(&[&built[..], &rest].concat());
        prop_assert_eq!(parsed, Parsed::Done { used: built.len(), header });
        let built = proxy_protocol::build_v1(addresses);
        let header = Header { addresses: Some(addresses), ..Header::default() };
        let parsed = proxy_protocol::parse(&[&built[..], &rest].concat());
        prop_assert_eq!(parsed, Parsed::Done { used: built.len(), header });
    }

    #[test]
    fn how_a_proxy_header_is_cut_changes_nothing(
        kind in 0..3_u8,
        command in select(vec![0x20_u8, 0x21, 0x22]),
        family in select(vec![0_u8, 0x11, 0x21, 0x31]),
        bytes in vec(any::<u8>(), 0..300),
        place in any::<Index>(),
    ) {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let start = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length].concat();
        let start: &[u8] = match kind { 0 => b"PROXY ", 1 => &start, _ => b"" };
        let stream = [start, &bytes].concat();
        let whole = proxy_protocol::parse(&stream);
        let part = proxy_protocol::parse(&stream[..place.index(stream.len() + 1)]);
        prop_assert!(part == Parsed::NeedMore || part == whole, "{:?} {:?}", part, whole);
    }
}

/// Steps until the front wants bytes; makes TLS where it is asked to and lets nobody in.
fn refuse_everything(front: &mut Front) {
    loop {
        match front.step() {
            Step::Event(
                front::Event::Login(_) | front::Event::Unproven { .. } | front::Event::Verifier(_),
            ) => {
                let refusal = Refusal::AuthenticationFailed;
                front.answer(front::Answer::Refuse(refusal, Said::default()));
            }
            Step::Event(front::Event::StartTls) => {
                let (certificate, bindings) = (None, ChannelBindings::default());
                front.answer(front::Answer::TlsStarted { certificate, bindings });
            }
            Step::Event(_) | Step::Write(_) => {}
            Step::Read => return,
        }
    }
}

fn login(user: UserName, how: How) -> Login {
    Login { user, how, whose: Whose::Client }
}

fn identity() -> Identity {
    Identity {
        client: "192.0.2.1:4711".parse().unwrap(),
        connected: "192.0.2.2:993".parse().unwrap(),
        forward: Vec::new(),
        server_name: None,
        session: SessionName::new("s1").unwrap(),
        transport: Transport::Tls,
        ttl: 7,
    }
}

/// What a trusting front hears of the client before a back logs in; both speak with nobody between.
fn heard_before_login(protocol: Protocol, mut back: Back) -> Option<Claims> {
    let mut front = Front::new(protocol, settings(Privacy::Tls, Limits::default()));
    let mut heard = None;
    for _ in 0..100 {
        match front.step() {
            Step::Write(bytes) => back.receive(&bytes),
            Step::Event(front::Event::Identity(claims)) => heard = Some(claims),
            Step::Event(front::Event::Login(_)) => return heard,
            Step::Event(event) => panic!("{}", event.shown()),
            Step::Read => match back.step() {
                Step::Write(bytes) => front.receive(&bytes),
                Step::Event(event) => panic!("{}", event.shown()),
                Step::Read => panic!("both wait"),
            },
        }
    }
    panic!("there is no end");
}

/// Every way to log in that a front can read.
fn how() -> impl Strategy<Value = How> {
    let token = "[!-~]{1,20}|[!-~]{3000}".prop_map(|token| Token::new(token).unwrap());
    let mechanism = select(vec![TokenMechanism::OAuthBearer, TokenMechanism::XOAuth2]);
    prop_oneof![
        3 => secret().prop_map(How::Password),
        2 => (mechanism, token).prop_map(|(mechanism, token)| How::Token { mechanism, token }),
        1 => Just(How::External),
    ]
}

/// Whether a front read what a back was to prove.
fn is_proof(how: &How, read: &Credentials) -> bool {
    match (how, &read.proof) {
        (How::Password(sent), Proof::Password(read)) => sent.matches(read),
        (How::Token { token, .. }, Proof::Token(read)) => token.secret().matches(read.secret()),
        (How::External, Proof::Certificate) => true,
        _ => false,
    }
}

/// Whether a back end that can do `list` cannot be logged in to so.
fn has_no_way(protocol: Protocol, how: &How, list: &[&str]) -> bool {
    let lacks = |mechanism: &str| !list.contains(&mechanism);
    match how {
        How::Authzid { .. } => true,
        How::External => lacks("AUTH=EXTERNAL"),
        // POP3 without SASL has no way to write a line end.
        How::Password(secret) => {
            let line_end = secret.reveal().iter().any(|byte| b"\r\n".contains(byte));
            protocol == Protocol::Pop3 && lacks("AUTH=PLAIN") && line_end
        }
        How::Token { .. } => lacks("AUTH=OAUTHBEARER") && lacks("AUTH=XOAUTH2"),
    }
}

fn user_name() -> impl Strategy<Value = UserName> {
    let text = prop_oneof![3 => "[a-z0-9.@*\"\\\\ ]{1,20}", 1 => "\\PC{1,100}"];
    text.prop_filter_map("no user name", |text| UserName::new(text).ok())
}

fn secret() -> impl Strategy<Value = Secret> {
    let bytes = prop_oneof![
        3 => "[ -~]{0,20}".prop_map(String::into_bytes),
        3 => vec(1..=u8::MAX, 0..40),
        1 => (1..=u8::MAX, 200..=4096_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    bytes.prop_map(|bytes| Secret::new(bytes).unwrap())
}

enum Met {
    LoggedIn { credentials: Credentials, welcome: Welcome },
    Not(String),
}

/// Lets a back log in to a front that claims to be able to do `list`.
fn meet(protocol: Protocol, login: Login, list: &[&str]) -> Met {
    let settings = front::Settings {
        certificate: Some(login.user.clone()),
        ..settings(Privacy::Tls, Limits::default())
    };
    let mut front = Front::new(protocol, settings);
    let mut back = Back::new(protocol, back::Settings::new(Tls::AsItIs), login);
    assert!(matches!(front.step(), Step::Write(_)), "a front greets first");
    let names: Vec<_> = list.iter().filter_map(|word| word.strip_prefix("AUTH=")).collect();
    let (greeting, capa) = match protocol {
        Protocol::Imap => {
            (format!("* OK [CAPABILITY {}] hello\r\n", list.join(" ")), String::new())
        }
        Protocol::Pop3 if names.is_empty() => ("+OK\r\n".to_owned(), "-ERR\r\n".to_owned()),
        Protocol::Pop3 => {
            ("+OK\r\n".to_owned(), format!("+OK\r\nSASL {}\r\n.\r\n", names.join(" ")))
        }
    };
    back.receive(greeting.as_bytes());
    let mut read = None;
    loop {
        match back.step() {
            Step::Write(bytes) if bytes == b"CAPA\r\n" => back.receive(capa.as_bytes()),
            Step::Write(bytes) => front.receive(&bytes),
            Step::Event(back::Event::LoggedIn(welcome)) => {
                return Met::LoggedIn { credentials: read.unwrap(), welcome };
            }
            Step::Event(event) => return Met::Not(event.shown()),
            Step::Read => match front.step() {
                Step::Write(bytes) => back.receive(&bytes),
                Step::Event(front::Event::Login(credentials)) => {
                    read = Some(credentials);
                    front.answer(front::Answer::Welcome(welcome()));
                }
                Step::Event(event) => return Met::Not(event.shown()),
                Step::Read => return Met::Not("both wait".to_owned()),
            },
        }
    }
}

#[test]
fn a_debug_print_of_a_machine_never_shows_what_it_holds() {
    for protocol in Protocol::ALL {
        let secret = Secret::new("hunter2").unwrap();
        let back_settings = back::Settings::new(Tls::AsItIs);
        let login = login(UserName::new("alice").unwrap(), How::Password(secret));
        let mut back = Back::new(protocol, back_settings, login);
        back.receive(b"* OK [CAPABILITY X]\r\n+OK\r\n");
        let mut front = Front::new(protocol, settings(Privacy::Tls, Limits::default()));
        for _ in 0..3 {
            let shown = format!("{front:?} {front:#?} {back:?} {back:#?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            front.receive(b"a LOGIN alice hunter2\r\nUSER alice\r\nPASS hunter2");
            let (_, _) = (front.step(), back.step());
        }
    }
}
