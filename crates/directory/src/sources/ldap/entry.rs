//! What an entry says of a user, by the attributes that are set to.
//!
//! Nothing here asks a server. An attribute with more values than have a meaning is a mistake of the data.

use std::fmt::Write as _;

use ldap3::asn1::StructureTag;

use super::{
    LdapField,
    guard::{bytes, parts},
};
use crate::sources::{
    CannotSay, Found,
    fields::{Fields, Value},
};

/// The longest id as bytes, which become two digits each.
const LONGEST_BYTES: usize = 64;

/// The name of an entry.
pub(super) fn name(entry: &StructureTag) -> Result<&str, CannotSay> {
    let name = parts(entry).and_then(|parts| bytes(parts.first()?));
    let name = name.and_then(|name| std::str::from_utf8(name).ok());
    name.ok_or_else(|| CannotSay::misconfigured("the entry's name is not UTF-8"))
}

/// What an entry says of a user.
pub(super) fn found(
    entry: &StructureTag,
    attributes: &[(LdapField, String)],
) -> Result<Found, CannotSay> {
    let mut fields = Fields::default();
    for (field, attribute) in attributes {
        let values = values(entry, attribute);
        match (field, values.as_slice()) {
            (_, []) => {}
            (LdapField::Backend, several) => {
                let several = several.join(&b","[..]);
                fields.set(field.word(), Value::Bytes(&several))?;
            }
            (LdapField::Id, [id]) if !is_text(id) => {
                fields.set(field.word(), Value::Text(&in_hexadecimal(id, attribute)?))?;
            }
            (_, [one]) => fields.set(field.word(), Value::Bytes(one))?,
            (_, several) => {
                let (count, word) = (several.len(), field.word());
                return Err(CannotSay::misconfigured(format_args!(
                    "`{attribute}` has {count} values, and `{word}` can be only one"
                )));
            }
        }
    }
    fields.into_found()
}

/// An attribute's values; servers write its name in cases of their own.
fn values<'e>(entry: &'e StructureTag, attribute: &str) -> Vec<&'e [u8]> {
    let attributes = parts(entry).and_then(|parts_of| parts(parts_of.get(1)?));
    let named = |one: &&'e StructureTag| {
        let name = parts(one).and_then(|one| bytes(one.first()?));
        name.is_some_and(|name| name.eq_ignore_ascii_case(attribute.as_bytes()))
    };
    let all = attributes.unwrap_or_default().iter().filter(named);
    let values = all.filter_map(|one| parts(parts(one)?.get(1)?));
    values.flatten().filter_map(bytes).collect()
}

fn is_text(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| !text.chars().any(char::is_control))
}

fn in_hexadecimal(value: &[u8], attribute: &str) -> Result<String, CannotSay> {
    if value.len() > LONGEST_BYTES {
        return Err(CannotSay::misconfigured(format_args!(
            "`{attribute}` has {} bytes; an id of bytes has at most {LONGEST_BYTES}",
            value.len()
        )));
    }
    Ok(value.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String never fails.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use ldap3::asn1::{PL, TagClass};
    use model::Reason;

    use super::*;

    fn text(value: &[u8]) -> StructureTag {
        StructureTag { class: TagClass::Universal, id: 4, payload: PL::P(value.to_vec()) }
    }

    fn of(id: u64, parts: Vec<StructureTag>) -> StructureTag {
        StructureTag { class: TagClass::Universal, id, payload: PL::C(parts) }
    }

    fn entry(attributes: &[(&str, &[&[u8]])]) -> StructureTag {
        let attribute = |(name, values): &(&str, &[&[u8]])| {
            let values = values.iter().map(|value| text(value)).collect();
            of(16, vec![text(name.as_bytes()), of(17, values)])
        };
        let attributes = attributes.iter().map(attribute).collect();
        of(4, vec![text(b"uid=ann"), of(16, attributes)])
    }

    fn mapped() -> Vec<(LdapField, String)> {
        [
            (LdapField::Backend, "mailHost"),
            (LdapField::User, "uid"),
            (LdapField::Id, "objectGUID"),
            (LdapField::PasswordHash, "userPassword"),
            (LdapField::Disabled, "locked"),
        ]
        .map(|(field, attribute)| (field, attribute.to_owned()))
        .to_vec()
    }

    fn refused(attributes: &[(&str, &[&[u8]])]) -> String {
        let cannot = found(&entry(attributes), &mapped()).unwrap_err();
        assert_eq!(cannot.reason, Reason::DirectoryMisconfigured);
        cannot.detail
    }

    #[test]
    fn an_entry_says_what_its_attributes_are_set_to_say() {
        let entry = entry(&[
            ("MAILHOST", &[b"north", b"10.0.0.2:143"]),
            ("uid", &[b"ann"]),
            ("objectguid", &[b"\x00\xffabc"]),
            ("userPassword", &[b"{SSHA}x"]),
            ("locked", &[b"TRUE"]),
            ("other", &[b"\x00"]),
        ]);
        let found = found(&entry, &mapped()).unwrap();
        let places: Vec<_> = found.places.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["north", "10.0.0.2:143"]);
        assert_eq!(found.user.unwrap().as_str(), "ann");
        assert_eq!(found.id.as_deref(), Some("00ff616263"));
        assert_eq!(found.verifier.unwrap().reveal(), b"{SSHA}x");
        assert!(found.disabled);
        assert_eq!(name(&entry).unwrap(), "uid=ann");
    }

    #[test]
    fn an_entry_without_attributes_says_that_the_user_exists() {
        let found = found(&entry(&[]), &mapped()).unwrap();
        assert!(found.places.is_empty() && found.user.is_none() && !found.disabled);
    }

    #[test]
    fn hostile_values_are_told_by_their_attribute_and_not_kept() {
        let long = vec![b'x'; 1 << 20];
        let told = refused(&[("mailHost", &[&long])]);
        assert!(told.len() < 200 && told.contains("`backend`"), "{told}");
        assert!(refused(&[("uid", &[b"a", b"b"])]).contains("`uid` has 2 values"));
        assert!(refused(&[("uid", &[b"a\r\nb"])]).contains("`user`"));
        assert!(refused(&[("mailHost", &[b"\xff"])]).contains("not UTF-8"));
        assert!(refused(&[("userPassword", &[b"a\0b"])]).contains("`password_hash`"));
        assert!(refused(&[("locked", &[b"perhaps"])]).contains("`disabled`"));
        assert!(refused(&[("objectGUID", &[&[0; 65]])]).contains("65 bytes"));
    }
}
