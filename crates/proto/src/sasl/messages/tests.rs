use super::*;

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn decoded(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

fn token_of(credentials: Option<Credentials>) -> Option<(String, Vec<u8>)> {
    let credentials = credentials?;
    let Proof::Token(token) = &credentials.proof else { panic!("no token") };
    Some((credentials.user.to_string(), token.secret().reveal().to_vec()))
}

#[test]
fn the_example_of_rfc_4616_is_read_and_written() {
    let read = read_plain(b"\0tim\0tanstaaftanstaaf").unwrap();
    assert_eq!(read.user, name("tim"));
    let secret = Secret::new("tanstaaftanstaaf").unwrap();
    assert!(read.password().unwrap().matches(&secret));
    assert_eq!(decoded(&plain(None, &name("tim"), &secret)), b"\0tim\0tanstaaftanstaaf");
}

#[test]
fn an_authorization_identity_stands_before_the_authentication_identity() {
    let secret = Secret::new("xipj3plmq").unwrap();
    let written = plain(Some(&name("ursel")), &name("kurt"), &secret);
    assert_eq!(decoded(&written), b"ursel\0kurt\0xipj3plmq");
    assert!(read_plain(b"ursel\0kurt\0xipj3plmq").is_none());
    assert!(read_plain(b"kurt\0kurt\0xipj3plmq").is_some());
}

#[test]
fn the_example_of_rfc_7628_is_read_and_written() {
    let message =
        b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
    let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==";
    let read = token_of(read_oauthbearer(message));
    assert_eq!(read, Some(("user@example.com".to_owned(), token.into())));
    let server: HostPort = "server.example.com:143".parse().unwrap();
    let token = Token::new(token).unwrap();
    let written = oauthbearer(&name("user@example.com"), &token, Some(&server));
    assert_eq!(decoded(&written), message);
}

#[test]
fn host_and_port_are_left_out_where_none_are_set() {
    let token = Token::new("t").unwrap();
    let written = oauthbearer(&name("a,b=c"), &token, None);
    assert_eq!(decoded(&written), b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01");
}

#[test]
fn the_example_of_xoauth2_is_read_and_written() {
    let message = b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01";
    let token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg";
    let read = token_of(read_xoauth2(message));
    assert_eq!(read, Some(("someuser@example.com".to_owned(), token.into())));
    let written = xoauth2(&name("someuser@example.com"), &Token::new(token).unwrap());
    assert_eq!(decoded(&written), message);
}

#[test]
fn a_token_message_of_the_wrong_form_gives_no_credentials() {
    for message in [
        &b""[..],
        b"n,,\x01auth=Bearer t\x01\x01",
        b"n,a=u,\x01auth=Bearer t\x01",
        b"n,a=u,\x01auth=Basic t\x01\x01",
        b"n,a=u,\x01auth=Bearer t\x01auth=Bearer v\x01\x01",
        b"n,a=u,\x01host=x\x01\x01",
        b"n,a=u,,\x01auth=Bearer t\x01\x01",
        b"n,a=u,x\x01auth=Bearer t\x01\x01",
        b"n,a=u=2,\x01auth=Bearer t\x01\x01",
        b"n,a=u=41,\x01auth=Bearer t\x01\x01",
        b"n,a=u\r\n,\x01auth=Bearer t\x01\x01",
        b"n,a=u,\x01auth=Bearer t\r\n\x01\x01",
        b"n,a=u,\x01auth=Bearer \x01\x01",
        b"p=tls-unique,a=u,\x01auth=Bearer t\x01\x01",
        b"u,\x01auth=Bearer t\x01\x01",
    ] {
        assert!(read_oauthbearer(message).is_none(), "{}", message.escape_ascii());
    }
    for message in [
        &b""[..],
        b"user=\x01auth=Bearer t\x01\x01",
        b"user=u\x01auth=Bearer t",
        b"user=u\x01\x01",
        b"u\x01auth=Bearer t\x01\x01",
        b"user=u\0\x01auth=Bearer t\x01\x01",
    ] {
        assert!(read_xoauth2(message).is_none(), "{}", message.escape_ascii());
    }
}

#[test]
fn other_fields_and_other_case_are_no_hindrance() {
    let message = b"y,a=u,\x01mthd=POST\x01Auth=bearer  t\x01path=/\x01\x01";
    assert_eq!(token_of(read_oauthbearer(message)), Some(("u".to_owned(), b"t".to_vec())));
}

#[test]
fn a_certificate_proves_its_own_name_only() {
    assert!(read_external(b"", name("alice")).is_some());
    assert!(read_external(b"alice", name("alice")).is_some());
    assert!(read_external(b"bob", name("alice")).is_none());
    assert_eq!(decoded(&external(&name("alice"))), b"alice");
}
