use super::*;

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn addresses(client: &str, connected: &str) -> Addresses {
    Addresses { client: socket(client), connected: socket(connected) }
}

fn done(bytes: &[u8]) -> (usize, Header) {
    match parse(bytes) {
        Parsed::Done { used, header } => (used, header),
        other => panic!("{other:?}"),
    }
}

fn bad(bytes: &[u8]) -> Bad {
    match parse(bytes) {
        Parsed::Bad(bad) => bad,
        other => panic!("{:?} is {other:?}", bytes.escape_ascii().to_string()),
    }
}

/// A header of version 2 with the fields in `body`.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, family], &length, body].concat()
}

const TCP4_BODY: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0x03, 0xe1];

/// The header of `TCP4_BODY` with these fields: type and value.
fn with_fields(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = TCP4_BODY.to_vec();
    for (kind, value) in fields {
        body.push(*kind);
        body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(*value);
    }
    v2(0x21, 0x11, &body)
}

#[test]
fn the_lines_of_version_1_are_read() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 993\r\nrest";
    let (used, header) = done(line);
    assert_eq!(&line[used..], b"rest");
    assert_eq!(header.addresses, Some(addresses("192.0.2.1:4711", "198.51.100.2:993")));
    let (_, header) = done(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
    assert_eq!(header.addresses, Some(addresses("[2001:db8::1]:1", "[::1]:65535")));
    for unknown in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff::1 x 1 2\r\n"] {
        assert_eq!(done(unknown), (unknown.len(), Header::default()));
    }
}

#[test]
fn version_1_is_read_to_the_letter() {
    for (line, why) in [
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Bad::Family),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Bad::Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Bad::Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Bad::Malformed),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", Bad::Address),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Bad::Address),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Bad::Address),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", Bad::Address),
        ("PROXY TCP4 ::1 192.0.2.2 1 2\r\n", Bad::Address),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Bad::Address),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Bad::Family),
        ("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", Bad::Family),
        ("PROXY \u{e4}\r\n", Bad::Family),
    ] {
        assert_eq!(bad(line.as_bytes()), why, "{line:?}");
    }
    assert_eq!(bad(b"PROXY \xff\r\n"), Bad::Malformed);
}

#[test]
fn a_line_of_version_1_has_at_most_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(done(line(107).as_bytes()).0, 107);
    assert_eq!(bad(line(108).as_bytes()), Bad::TooLong);
    assert_eq!(bad(&line(108).as_bytes()[..107]), Bad::TooLong);
    assert_eq!(parse(&line(107).as_bytes()[..106]), Parsed::NeedMore);
}

#[test]
fn what_is_no_header_is_known_by_its_first_byte() {
    for bytes in [&b"a"[..], b"PROXX", b"\r\n\r\n\x01", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n"] {
        assert_eq!(bad(bytes), Bad::NoHeader);
    }
    assert_eq!(parse(b""), Parsed::NeedMore);
    assert_eq!(parse(b"PRO"), Parsed::NeedMore);
    assert_eq!(parse(b"\r\n\r\n\0"), Parsed::NeedMore);
}

#[test]
fn exactly_the_header_of_version_2_is_used_up() {
    let bytes = [with_fields(&[(0x04, b"padding")]), b"a LOGIN x y\r\n".to_vec()].concat();
    let (used, header) = done(&bytes);
    assert_eq!(&bytes[used..], b"a LOGIN x y\r\n");
    assert_eq!(header.addresses, Some(addresses("192.0.2.1:4711", "198.51.100.2:993")));
    assert_eq!(header.tls, None);
    for cut in 0..used {
        assert_eq!(parse(&bytes[..cut]), Parsed::NeedMore, "{cut}");
    }
}

#[test]
fn a_local_connection_is_accepted_and_its_addresses_count_for_nothing() {
    for header in [v2(0x20, 0, b""), v2(0x20, 0x11, &TCP4_BODY), v2(0x20, 0x99, b"x")] {
        assert_eq!(done(&header), (header.len(), Header::default()));
    }
}

#[test]
fn families_without_an_address_of_a_client_are_accepted_and_others_are_not() {
    assert_eq!(done(&v2(0x21, 0x00, b"")).1, Header::default());
    assert_eq!(done(&v2(0x21, 0x31, &[0; 216])).1, Header::default());
    assert_eq!(bad(&v2(0x21, 0x31, &[0; 215])), Bad::Malformed);
    assert_eq!(bad(&v2(0x21, 0x12, &TCP4_BODY)), Bad::Family);
    assert_eq!(bad(&v2(0x21, 0x11, &TCP4_BODY[..11])), Bad::Malformed);
    assert_eq!(bad(&v2(0x21, 0x21, &TCP4_BODY)), Bad::Malformed);
    assert_eq!(bad(&v2(0x22, 0x11, &TCP4_BODY)), Bad::Version);
    assert_eq!(bad(&v2(0x11, 0x11, &TCP4_BODY)), Bad::Version);
}

#[test]
fn a_header_of_version_2_has_at_most_1500_bytes() {
    let padding = [0; 1500 - 16 - 12 - 3];
    assert_eq!(done(&with_fields(&[(0x04, &padding)])).0, 1500);
    let too_long = with_fields(&[(0x04, &[0; 1500 - 16 - 12 - 2])]);
    assert_eq!(bad(&too_long[..16]), Bad::TooLong);
}

#[test]
fn fields_are_read_and_unknown_ones_are_not() {
    let (_, header) = done(&with_fields(&[
        (0x01, b"imap"),
        (0x02, b"Mail.Example.ORG"),
        (0x05, b"id-1"),
        (0x30, b"netns"),
        (0xe0, b"private"),
    ]));
    assert_eq!(header.alpn.as_deref(), Some(&b"imap"[..]));
    assert_eq!(header.server_name.unwrap().as_str(), "mail.example.org");
    assert_eq!(header.unique_id.as_deref(), Some(&b"id-1"[..]));
}

#[test]
fn a_server_name_that_is_none_is_not_known() {
    for name in [&b"a b\r\n"[..], b"192.0.2.1", b"", b"\xff", b"a..b"] {
        assert_eq!(done(&with_fields(&[(0x02, name)])).1.server_name, None);
    }
}

#[test]
fn a_field_that_cannot_be_is_refused() {
    assert_eq!(bad(&with_fields(&[(0x05, &[0; 129])])), Bad::Malformed);
    assert_eq!(done(&with_fields(&[(0x05, &[0; 128])])).1.unique_id, Some(vec![0; 128]));
    assert_eq!(bad(&with_fields(&[(0x20, &[1, 0, 0, 0])])), Bad::Malformed);
    assert_eq!(bad(&v2(0x21, 0x11, &[&TCP4_BODY[..], &[4, 0]].concat())), Bad::Malformed);
    assert_eq!(bad(&v2(0x21, 0x11, &[&TCP4_BODY[..], &[4, 0, 9, 1]].concat())), Bad::Malformed);
}

/// The field SSL with the common name `alice`.
fn ssl(flags: u8, verify: u8) -> Vec<u8> {
    let fields = [&b"\x21\x00\x07TLSv1.3"[..], b"\x22\x00\x05alice"].concat();
    [&[flags, 0, 0, 0, verify][..], &fields].concat()
}

#[test]
fn a_common_name_counts_only_if_a_certificate_was_shown_and_verified() {
    let tls = |value: &[u8]| done(&with_fields(&[(0x20, value)])).1.tls;
    let name = |value: &[u8]| tls(value).and_then(|tls| tls.common_name);
    let alice = UserName::new("alice").ok();
    assert_eq!(name(&ssl(0x03, 0)), alice);
    assert_eq!(name(&ssl(0x05, 0)), alice);
    assert_eq!(name(&ssl(0x01, 0)), None);
    assert_eq!(name(&ssl(0x03, 1)), None);
    assert_eq!(name(&ssl(0x05, 18)), None);
    assert_eq!(tls(&ssl(0x02, 0)), None);
    assert_eq!(tls(b"\x01\0\0\0\x01\x21\0\x02a\n"), Some(Tls::default()));
    let version = Some("TLSv1.3".to_owned());
    assert_eq!(tls(&ssl(0x01, 1)), Some(Tls { version, ..Tls::default() }));
}

#[test]
fn a_checksum_is_verified_wherever_it_stands() {
    let good = build_v2(&Header {
        addresses: Some(addresses("192.0.2.1:4711", "198.51.100.2:993")),
        ..Header::default()
    });
    assert_eq!(done(&good).0, good.len());
    // But for the type of the checksum's own field: without it there is no checksum.
    for at in (16..good.len()).filter(|at| *at != 28) {
        let mut other = good.clone();
        other[at] ^= 0x40;
        assert!(matches!(parse(&other), Parsed::Bad(_)), "{at}");
    }
    assert_eq!(bad(&with_fields(&[(0x03, &[0; 4])])), Bad::Checksum);
    assert_eq!(bad(&with_fields(&[(0x03, &[0; 3])])), Bad::Malformed);
    let mut first = with_fields(&[(0x03, &[0; 4]), (0x04, b"padding")]);
    let checksum = crc32c::crc32c([&first[..]]).to_be_bytes();
    first[16 + 12 + 3..][..4].copy_from_slice(&checksum);
    assert_eq!(done(&first).0, first.len());
}

#[test]
fn the_header_is_built_as_haproxy_builds_it() {
    let header = Header {
        addresses: Some(addresses("192.0.2.1:4711", "198.51.100.2:993")),
        tls: Some(Tls { version: Some("TLSv1.3".to_owned()), ..Tls::default() }),
        ..Header::default()
    };
    let built = build_v2(&header);
    let ssl = b"\x20\x00\x0f\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3";
    let expected = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x25"[..], &TCP4_BODY, ssl, b"\x03\x00\x04"];
    assert_eq!(built[..built.len() - 4], expected.concat());
}

#[test]
fn what_cannot_be_said_in_a_header_is_left_out() {
    let addresses = Some(addresses("192.0.2.1:4711", "198.51.100.2:993"));
    let plain = Header { addresses, ..Header::default() };
    let long =
        Header { alpn: Some(vec![b'x'; 256]), unique_id: Some(vec![b'x'; 129]), ..plain.clone() };
    assert_eq!(build_v2(&long), build_v2(&plain));
    let tls = |tls| build_v2(&Header { tls: Some(tls), ..plain.clone() });
    let version = Some("x".repeat(33));
    assert_eq!(tls(Tls { version, ..Tls::default() }), tls(Tls::default()));
    // Whoever reads it must not have to check.
    let common_name = UserName::new("alice").ok();
    assert_eq!(tls(Tls { common_name, ..Tls::default() }), tls(Tls::default()));
}

#[test]
fn our_own_connections_are_local_in_version_2() {
    assert_eq!(build_v2(&Header::default()), b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
}

#[test]
fn mixed_families_are_mapped_and_never_a_lie() {
    let mixed = addresses("192.0.2.1:1", "[2001:db8::1]:993");
    assert_eq!(build_v1(mixed), b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 993\r\n");
    assert_eq!(done(&build_v1(mixed)).1.addresses, Some(mixed));
    let header = Header { addresses: Some(mixed), ..Header::default() };
    assert_eq!(done(&build_v2(&header)).1, header);
    let mapped = addresses("[::ffff:192.0.2.1]:1", "192.0.2.2:2");
    assert_eq!(build_v1(mapped), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
}
