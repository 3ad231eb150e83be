use super::claims::{InvalidClaim, Pair};
use super::*;

fn identity() -> Identity {
    Identity {
        client: "192.0.2.1:4711".parse().unwrap(),
        connected: "[2001:db8::1]:993".parse().unwrap(),
        forward: vec![("country".to_owned(), "se".to_owned())],
        server_name: Some("mail.example.org".parse().unwrap()),
        session: SessionName::new("0000000100000002").unwrap(),
        transport: Transport::Tls,
        ttl: 7,
    }
}

#[test]
fn the_id_line_is_dovecot_s() {
    assert_eq!(
        identity().id_list(),
        "(\"x-session-id\" \"0000000100000002\" \"x-originating-ip\" \"192.0.2.1\" \
         \"x-originating-port\" \"4711\" \"x-connected-ip\" \"2001:db8::1\" \
         \"x-connected-port\" \"993\" \"x-proxy-ttl\" \"7\" \"x-client-transport\" \"TLS\" \
         \"x-connected-name\" \"mail.example.org\" \"x-forward-country\" \"se\")"
    );
}

#[test]
fn the_xclient_line_is_dovecot_s() {
    let identity = Identity { forward: Vec::new(), ..identity() };
    assert_eq!(
        identity.xclient(),
        "XCLIENT ADDR=192.0.2.1 PORT=4711 DESTADDR=2001:db8::1 DESTPORT=993 \
         SESSION=0000000100000002 TTL=7 CLIENT-TRANSPORT=TLS DESTNAME=mail.example.org"
    );
}

#[test]
fn what_is_not_known_is_left_out_and_mapped_addresses_are_unmapped() {
    let client = "[::ffff:192.0.2.1]:1".parse().unwrap();
    let identity = Identity {
        client,
        server_name: None,
        transport: Transport::Insecure,
        forward: Vec::new(),
        ..identity()
    };
    assert!(identity.xclient().starts_with("XCLIENT ADDR=192.0.2.1 PORT=1 "));
    assert!(identity.xclient().ends_with(" CLIENT-TRANSPORT=insecure"));
}

#[test]
fn names_over_20_bytes_and_odd_ones_are_left_out() {
    let forward = |name: &str| (name.to_owned(), "v".to_owned());
    let (fits, long) = ("n".repeat(20), "n".repeat(21));
    let forward = vec![forward(&fits), forward(&long), forward("a b"), forward(""), forward("a\"")];
    let identity = Identity { forward, ..identity() };
    assert!(identity.id_list().ends_with(&format!(" \"x-forward-{fits}\" \"v\")")));
    let encoded = STANDARD.encode(format!("{fits}=v"));
    assert!(identity.xclient().ends_with(&format!(" FORWARD={encoded}")));
}

#[test]
fn lists_and_lines_are_bounded() {
    let forward = (0..50).map(|number| (format!("n{number}"), "v".repeat(200))).collect();
    let many = Identity { forward, ..identity() };
    assert_eq!(many.id_list().matches(" \"x-forward-").count(), 22);
    assert!(many.xclient().contains(" FORWARD=") && many.xclient().len() <= 1022);
    let forward = (0..20).map(|number| (format!("n{number}"), "v".repeat(1024))).collect();
    let long = Identity { forward, ..identity() };
    assert!(long.id_list().len() <= MAX_ID + 2);
    assert!(!long.xclient().contains("FORWARD"));
    let forward = vec![("n".to_owned(), "v".repeat(1025))];
    assert!(!Identity { forward, ..identity() }.id_list().contains("x-forward"));
    let value = "v".repeat(1025);
    let claim: Pair<'_> = (b"x-forward-n", Some(value.as_bytes()));
    assert_eq!(Claims::in_id([claim], true), Err(InvalidClaim));
}

#[test]
fn what_is_written_is_read_back() {
    let forward =
        vec![("country".to_owned(), "a \"b\" \\ c".to_owned()), ("x_2".to_owned(), String::new())];
    let told = Identity { forward, ..identity() };
    let expected = Claims {
        client: Some(told.client),
        connected: Some(told.connected),
        forward: told.forward.clone(),
        server_name: told.server_name.clone(),
        session: Some(told.session.clone()),
        transport: Some(told.transport),
        ttl: Some(told.ttl),
    };
    let arguments = told.xclient();
    let arguments = arguments.strip_prefix("XCLIENT").unwrap().as_bytes();
    assert_eq!(Claims::in_xclient(arguments), Ok(expected));
    let controls = vec![("a".to_owned(), "\t\r\n\u{1}\0=".to_owned())];
    let line = Identity { forward: controls.clone(), ..told }.xclient();
    assert_eq!(Claims::in_xclient(&line.as_bytes()[7..]).unwrap().forward, controls);
}

#[test]
fn a_claim_that_cannot_be_is_refused() {
    for bad in [
        "ADDR=x",
        "ADDR=300.0.0.1",
        "PORT=65536",
        "TTL=-1",
        "TTL=256",
        "SESSION=",
        "DESTNAME=a..b",
        "DESTNAME=10.0.0.1",
        "CLIENT-TRANSPORT=maybe",
        "FORWARD=%",
        "FORWARD=YQ==",
        "ADDR",
    ] {
        assert_eq!(Claims::in_xclient(bad.as_bytes()), Err(InvalidClaim), "{bad}");
    }
    let claims = Claims::in_xclient(b"addr=IPV6:2001:db8::1 NEW=thing").unwrap();
    assert_eq!(claims.client, Some("[2001:db8::1]:0".parse().unwrap()));
}

const PAIRS: [Pair<'static>; 5] = [
    (b"X-ORIGINATING-IP", Some(b"192.0.2.9")),
    (b"X-Proxy-TTL", Some(b"3")),
    (b"x-forward-a", Some(b"b")),
    (b"x-unknown", None),
    (b"name", Some(b"Mail\"er")),
];

#[test]
fn of_a_peer_that_is_not_trusted_only_the_ttl_is_read() {
    let claims = Claims::in_id(PAIRS, false).unwrap();
    assert_eq!(claims, Claims { ttl: Some(3), ..Claims::default() });
    let claims = Claims::in_id(PAIRS, true).unwrap();
    assert_eq!(claims.client, Some("192.0.2.9:0".parse().unwrap()));
    assert_eq!(claims.forward, [("a".to_owned(), "b".to_owned())]);
    let odd: Pair<'_> = (b"x-proxy-ttl", Some(b"x"));
    assert_eq!(Claims::in_id([odd], false), Ok(Claims::default()));
    assert_eq!(Claims::in_id([odd], true), Err(InvalidClaim));
}

#[test]
fn of_a_client_s_own_id_nothing_internal_is_kept() {
    let kept = ClientId::keep(PAIRS).unwrap();
    assert_eq!(kept.as_str(), "(\"name\" \"Mail\\\"er\")");
    assert_eq!(ClientId::keep([(&b"name"[..], Some(&b"a\r\nb"[..]))]), None);
    assert_eq!(ClientId::keep([(&b"name"[..], None)]).unwrap().as_str(), "(\"name\" NIL)");
    let name = [b'n'; 31];
    assert_eq!(
        ClientId::keep([(&name[..30], None), (&name[..], None)]).unwrap().as_str().len(),
        38
    );
    let long: Vec<Pair<'_>> = vec![(b"vendor", Some(b"0123456789")); 40];
    assert!(ClientId::keep(long).unwrap().as_str().len() <= 256);
}

#[test]
fn each_proxy_counts_down_and_the_last_one_refuses() {
    assert_eq!(ttl_onwards(None), Some(7));
    assert_eq!(ttl_onwards(Some(7)), Some(6));
    assert_eq!(ttl_onwards(Some(2)), Some(1));
    assert_eq!(ttl_onwards(Some(1)), None);
    assert_eq!(ttl_onwards(Some(0)), None);
    assert_eq!(ttl_onwards(Some(200)), Some(6));
}
