//! Makes a value harmless in a filter (RFC 4515 section 3) and in a distinguished name (RFC 4514 section 2.4).
//!
//! Nothing here knows which characters mean something where: all but a few that never do are escaped, and both
//! languages write an escaped byte alike.

use std::fmt::Write as _;

/// The value, every byte but letters, digits and `@ - _ .` as `\` and two hexadecimal digits.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            // Writing to a String never fails.
            let _ = write!(text, "\\{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::{StructureTag, Tag};
    use proptest::prelude::*;

    use super::{
        super::guard::{bytes, parts},
        *,
    };

    /// The value in `(uid=VALUE)` as it goes over the wire.
    fn asserted(filter: &str) -> Option<Vec<u8>> {
        let filter: StructureTag = into_structure(ldap3::parse_filter(filter).ok()?);
        // equalityMatch [3] AttributeValueAssertion
        let [attribute, value] = parts(&filter)? else { return None };
        (filter.id == 3 && bytes(attribute)? == b"uid").then(|| bytes(value).map(<[u8]>::to_vec))?
    }

    fn into_structure(tag: Tag) -> StructureTag {
        use ldap3::asn1::ASNTag;
        tag.into_structure()
    }

    /// The values of `uid=VALUE,ou=people`, by the rules of RFC 4514.
    fn named(dn: &str) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        let mut rest = dn.strip_prefix("uid=")?.bytes();
        loop {
            match rest.next()? {
                b'\\' => {
                    let digits = [rest.next()?, rest.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    value.push(u8::from_str_radix(digits, 16).ok()?);
                }
                b',' => break,
                byte if b"\"+;<>=# ".contains(&byte) => return None,
                byte => value.push(byte),
            }
        }
        (rest.collect::<Vec<_>>() == b"ou=people").then_some(value)
    }

    #[test]
    fn tries_to_say_more_than_a_name_stay_a_name() {
        for name in
            ["*", "a)(uid=*", "a*)(|(cn=*", "\\2a", "a,ou=x", " #a", "a+b=c", "ä\u{1F600}", ""]
        {
            assert_eq!(asserted(&format!("(uid={})", escaped(name))), Some(name.into()), "{name}");
            assert_eq!(named(&format!("uid={},ou=people", escaped(name))), Some(name.into()));
        }
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_it_stays_one_value(name in "\\PC{0,20}|[*()\\\\,+=#<> a-f0-9]{0,20}") {
            let filter = format!("(uid={})", escaped(&name));
            prop_assert_eq!(asserted(&filter), Some(name.clone().into_bytes()));
            let dn = format!("uid={},ou=people", escaped(&name));
            prop_assert_eq!(named(&dn), Some(name.into_bytes()));
        }
    }
}
