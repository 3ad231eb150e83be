use ldap3::{LdapResult, asn1::Tag};
use proptest::prelude::*;

use super::*;

/// A part with its header.
fn part(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut whole = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => whole.push(short),
        _ => {
            whole.push(0x84);
            whole.extend(u32::try_from(length).unwrap().to_be_bytes());
        }
    }
    whole.extend(content);
    whole
}

fn of(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    part(tag, &parts.concat())
}

fn message(id: u8, rest: &[Vec<u8>]) -> Vec<u8> {
    of(0x30, &[&[part(2, &[id])], rest].concat())
}

/// A result with a code, without words.
fn result(tag: u8, code: u8) -> Vec<u8> {
    of(tag, &[part(10, &[code]), part(4, b""), part(4, b"words")])
}

const BIND: Request = Request { id: 7, operation: operation::BIND_REQUEST };
const SEARCH: Request = Request { id: 7, operation: operation::SEARCH_REQUEST };

const BIND_RESPONSE: u8 = 0x61;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const REFERENCE: u8 = 0x73;
const EXTENDED: u8 = 0x78;

fn entry(value: &[u8]) -> Vec<u8> {
    let attribute = of(0x30, &[part(4, b"mailHost"), of(0x31, &[part(4, value)])]);
    of(ENTRY, &[part(4, b"uid=ann"), of(0x30, &[attribute])])
}

fn checked(message: &[u8], request: Request) -> Result<(), String> {
    check(message, Some(request)).map_err(|fault| fault.to_string())
}

#[test]
fn what_servers_say_gets_through() {
    checked(&message(7, &[result(BIND_RESPONSE, 49)]), BIND).unwrap();
    checked(&message(7, &[entry(&[0, 0xff])]), SEARCH).unwrap();
    checked(&message(7, &[result(DONE, 0)]), SEARCH).unwrap();
    checked(&message(7, &[of(REFERENCE, &[part(4, b"ldap://x/")])]), SEARCH).unwrap();
    let value = part(4, b"\x30\x00");
    let controls = [
        of(0xa0, &[of(0x30, &[part(4, b"1.2.3")])]),
        of(0xa0, &[of(0x30, &[part(4, b"1.2.3"), part(1, &[0xff]), value.clone()])]),
        of(0xa0, &[of(0x30, &[part(4, b"1.2.3"), value])]),
    ];
    for control in controls {
        checked(&message(7, &[result(BIND_RESPONSE, 0), control]), BIND).unwrap();
    }
}

#[test]
fn an_answer_to_something_else_does_not() {
    for (message, request) in [
        (message(8, &[result(BIND_RESPONSE, 0)]), BIND),
        (message(7, &[result(DONE, 0)]), BIND),
        (message(7, &[result(BIND_RESPONSE, 0)]), SEARCH),
        (message(7, &[result(EXTENDED, 0)]), SEARCH),
    ] {
        assert!(checked(&message, request).unwrap_err().contains("was not asked"));
    }
    check(&message(7, &[result(DONE, 0)]), None).unwrap_err();
    let notice = message(0, &[result(EXTENDED, 52)]);
    assert!(checked(&notice, SEARCH).unwrap_err().contains("notice of disconnection"));
}

#[test]
fn what_the_library_would_stumble_over_does_not() {
    let done = |parts: &[Vec<u8>]| message(7, &[of(DONE, parts)]);
    let control = |parts: &[Vec<u8>]| message(7, &[result(DONE, 0), of(0xa0, &[of(0x30, parts)])]);
    for bad in [
        part(0x30, b""),
        of(0x30, &[part(2, &[7])]),
        done(&[]),
        done(&[part(10, &[0]), part(4, b"")]),
        done(&[part(10, &[0]), part(4, b"\xff"), part(4, b"")]),
        done(&[part(2, &[0]), part(4, b""), part(4, b"")]),
        done(&[part(10, &[0]), part(4, b""), part(4, b""), part(0x83, b"x")]),
        message(7, &[part(0x45, b"")]),
        message(7, &[of(0x79, &[part(4, b"intermediate")])]),
        message(7, &[of(ENTRY, &[part(4, b"\xff"), of(0x30, &[])])]),
        message(7, &[of(ENTRY, &[part(4, b"dn")])]),
        control(&[]),
        control(&[part(4, b"\xff")]),
        control(&[part(4, b"1"), part(1, b"")]),
        message(7, &[result(DONE, 0), part(0x80, b"x")]),
    ] {
        assert!(checked(&bad, SEARCH).unwrap_err().contains("malformed"), "{bad:x?}");
    }
}

#[test]
fn no_answer_is_so_deep_that_it_ends_the_program() {
    let mut deep = Vec::new();
    for _ in 0..100_000 {
        // Each within a header of six bytes.
        let length = u32::try_from(deep.len()).unwrap();
        if deep.len() > LONGEST - 6 {
            break;
        }
        let header = [&[0x30, 0x84][..], &length.to_be_bytes()].concat();
        deep.extend(header.iter().rev());
    }
    deep.reverse();
    assert!(deep.len() > 500_000);
    assert!(checked(&deep, SEARCH).unwrap_err().contains("nested too deep"));
    let wide = part(0x30, &[5, 0].repeat(MOST_PARTS + 1));
    assert!(checked(&wide, SEARCH).unwrap_err().contains("too many parts"));
}

#[test]
fn messages_are_cut_however_they_arrive_and_none_is_longer_than_it_may_be() {
    let bytes = [message(7, &[entry(&[b'x'; 300])]), message(7, &[result(DONE, 0)])].concat();
    let mut incoming = Incoming::default();
    let mut count = 0;
    for byte in &bytes {
        incoming.0.push(*byte);
        count += usize::from(incoming.next(Some(SEARCH)).unwrap().is_some());
    }
    assert_eq!(count, 2);
    assert!(incoming.is_empty());
    for (bad, expected) in [
        (&b"HTTP/1.1"[..], "does not speak LDAP"),
        (b"\x30\x80", "does not speak LDAP"),
        (b"\x30\x85\x01\x01\x01\x01\x01", "does not speak LDAP"),
        (b"\x30\x84\x7f\xff\xff\xff", "longer than 4 MiB"),
    ] {
        let mut incoming = Incoming(bad.to_vec());
        let fault = incoming.next(Some(SEARCH)).unwrap_err();
        assert!(fault.to_string().contains(expected), "{fault}");
    }
}

proptest! {
    /// The library does not return an error where it is surprised, it panics.
    #[test]
    fn whatever_gets_through_the_library_can_read(
        at in 0..200_usize,
        byte in any::<u8>(),
        which in 0..4_usize,
    ) {
        let control = of(0xa0, &[of(0x30, &[part(4, b"1.2"), part(1, &[1]), part(4, b"v")])]);
        let referral = of(0xa3, &[part(4, b"ldap://x/")]);
        let with_referral =
            of(DONE, &[part(10, &[10]), part(4, b"o=x"), part(4, b"words"), referral]);
        let (request, mut bytes) = match which {
            0 => (BIND, message(7, &[result(BIND_RESPONSE, 49), control])),
            1 => (SEARCH, message(7, &[entry(b"north")])),
            2 => (SEARCH, message(7, &[with_referral])),
            _ => (SEARCH, message(7, &[result(DONE, 0), control])),
        };
        let at = at % bytes.len();
        bytes[at] = byte;
        if check(&bytes, Some(request)).is_ok() {
            let (_, tag) = parse_tag(&bytes).unwrap();
            let body = parts(&tag).unwrap()[1].clone();
            match body.id {
                operation::SEARCH_ENTRY => {
                    let entry = ldap3::ResultEntry::new(body);
                    ldap3::SearchEntry::construct(entry);
                }
                operation::SEARCH_REFERENCE => drop(ldap3::parse_refs(body)),
                _ => drop(LdapResult::from(Tag::StructureTag(body))),
            }
        }
    }
}
